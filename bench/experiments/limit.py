"""How low a method can get that pulses cells as often as IP does: with perfect reads, and a seer.

IP is shown, without noise or rounding, what every cell conducts *now*, or what it *will* conduct
at the evaluation unless it is pulsed again.  What the seer leaves is the scatter of pulses, of
which it has a number of tries, and the floor of reading.  What perfect reads leave on top is drift,
as its exponents differ from device to device.  Either has the best step of a search on other seeds.

    python bench/experiments/limit.py             # some minutes; writes bench/results/limit.md
    python bench/experiments/limit.py --trials 5  # a look
"""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np
from read_range import SIZE, families
from rich.progress import track
from tables import RESULTS, mean_and_error, table

import fastaimc as fa
from fastaimc.core import Core
from fastaimc.engine import Engine
from fastaimc.programming.method import State
from fastaimc.terminals import Terminals

ROUNDS = 25
PASSES = 5  # last rounds with a wait of their own
SEEDS = 5
SEARCHED = 101  # the seed of the search


class Truth(Terminals):
    """Terminals whose reads of single rows are the truth of now, or of the evaluation."""

    def __init__(self, core: Core, targets: np.ndarray, ahead: bool) -> None:
        super().__init__(core, targets)
        self._later_s = self.t_eval_s if ahead else 0.0
        if ahead:  # nothing is left to foresee
            still = np.zeros_like(self.nominal.drift_exponent)
            self.nominal = dataclasses.replace(self.nominal, drift_exponent=still)

    def read_rows(
        self, rows: np.ndarray, select: np.ndarray | None = None, fine: bool = False
    ) -> np.ndarray:
        """Return what the selected devices conduct."""
        super().read_rows(rows, select, fine)  # takes its time
        core = self._core
        mean, variance = np.empty((2, *self.shape), dtype=np.float32)
        everything = np.full((1, 1, 1), 2**self.devices - 1, dtype=np.uint8)
        seen = everything if select is None else select
        core.conduct(core.clock_s + self._later_s, seen, (mean, variance))
        return mean[:, rows]


@dataclasses.dataclass(frozen=True)
class SeeingIP:
    """IP on such terminals."""

    ip: fa.IterativeProgramming
    ahead: bool

    @property
    def iterations(self) -> int:
        """Rounds."""
        return self.ip.iterations

    def truth(self, terminals: Terminals) -> Truth:
        """Return what no method may see."""
        return Truth(terminals._core, terminals.targets, self.ahead)  # noqa: SLF001

    def start(self, terminals: Terminals, engine: Engine, key: np.ndarray) -> State:
        """Start as IP does."""
        return self.ip.start(self.truth(terminals), engine, key)

    def iterate(
        self, terminals: Terminals, engine: Engine, key: np.ndarray, state: State, index: int
    ) -> None:
        """Do one round of IP."""
        state["count"][...] = 0  # the truth needs no mean
        state["total"][...] = 0
        self.ip.iterate(self.truth(terminals), engine, key, state, index)


def error(weights: np.ndarray, values: dict[str, float], ahead: bool, seed: int) -> fa.MvmError:
    """Return the error of one matrix."""
    wait = values["final_delay"]
    ip = fa.IterativeProgramming(
        fine=True,
        calibrate=False,
        step=fa.Step(**{name: values[name] for name in fa.Step.__dataclass_fields__}),
        final_passes=PASSES,
        final_delay=wait,
        verify_delay=(1 - PASSES * wait) / (ROUNDS - PASSES + 1),
    )
    return fa.mvm_error(fa.program(weights, fa.presets.hermes(), SeeingIP(ip, ahead), seed=seed))


def search(trials: int, ahead: bool) -> dict[str, float]:
    """Return the best of so many steps around IP's."""
    rng = np.random.default_rng(1)
    weights = rng.logistic(size=(SIZE, SIZE))
    best = dataclasses.asdict(fa.IterativeProgramming().step)
    best |= {"kappa": 0.0, "final_delay": 1 / (ROUNDS + 1)}
    most = {"gain": 2.0, "gain_end": 2.0, "max_step": 1.0, "final_delay": 1 / PASSES}
    least = np.inf
    for trial in track(range(trials), description="steps"):
        values = {
            name: min(value * rng.lognormal(0, 0.35 if trial else 0), most.get(name, np.inf))
            for name, value in best.items()
        }
        found = error(weights, values, ahead, SEARCHED).residual
        if found < least:
            best, least = values, found
    return best


def main() -> None:
    """Search, measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=150)
    arguments = parser.parse_args()
    best = {ahead: search(arguments.trials, ahead) for ahead in (False, True)}
    lines = []
    for family in families(0):
        found = {
            ahead: [error(families(s)[family], best[ahead], ahead, s) for s in range(SEEDS)]
            for ahead in best
        }
        cells = [mean_and_error([e.residual for e in found[ahead]]) for ahead in best]
        lines.append([family, *cells, mean_and_error([e.floor for e in found[True]])])
    text = (
        f"Residual error after {ROUNDS} rounds with the best of {arguments.trials} steps each:\n\n"
    )
    text += table(["weights", "perfect reads", "a seer of the evaluation", "floor"], lines)
    print(text)
    if arguments.trials >= 150:
        (RESULTS / "limit.md").write_text(text)


if __name__ == "__main__":
    main()
