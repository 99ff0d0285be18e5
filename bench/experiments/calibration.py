"""Device parameters with which IP leaves the spread of cells that is published of HERMES.

A walk over the device's parameters alone: the scatter of pulses as a current, the spread of SET
conductances, the age at which drift begins; slow noise on or off; and, apart from that, the
scatter as a conductance.  IP's step is tuned to IP's own least error at every one of its trials.
The walk goes down the largest relative deviation from the published curve of one device at 200 s.
That of two devices at 300 s is predicted: of it nothing is fitted but IP's step to IP's error.

IP verifies whole cells in the ADC's cell range of 0.129 µS a count, in two loops: at the core's own
speed, or with 200 s of waits (more waiting always has less error, so what it may wait is given).
Converters have no errors but rounding: what is published was read by those that had verified it.
Searches use other seeds than what is reported, and IP's step is tuned on smaller matrices.

    python bench/experiments/calibration.py             # half an hour; goes on where it stopped
    python bench/experiments/calibration.py --report    # tables and plot of what was found
    python bench/experiments/calibration.py --trials 5 --out /tmp/calibration  # a look

Written are calibration.json (all trials), calibration.md and calibration.png in bench/results.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from calibration_ip import (
    FIRST_STEPS,
    ROUNDS,
    SIZE,
    STRIDE,
    TUNING_SEEDS,
    WAITS,
    Numbers,
    core,
    ip,
    near,
    programmed,
    rounded,
    tuned,
)
from calibration_report import write
from rich.progress import Progress
from spread import published, spread_us
from tables import RESULTS

import fastaimc as fa
from fastaimc.config import CoreConfig, MeltQuench

FITTING_SEEDS = (111, 112)
FITTING_SIZE = 256  # 6,500 cells a bin: few far off carry much of the spread in the lowest
STEPS = 10  # trials of IP's step at every trial of a device
PREDICTING_STEPS = 150  # and for two devices, after which more bring nothing
START = {"jitter_ua": 5.0, "g_set_spread": 0.15, "t_on_s": 0.3}


@dataclasses.dataclass(frozen=True)
class Case:
    """What a walk does not change: IP's waits, slow noise, and whether the floor is free."""

    waits: str
    slow: bool
    floor: bool

    @property
    def name(self) -> str:
        """For tables and the file."""
        parts = (self.waits, "slow noise" if self.slow else "", "floor" if self.floor else "")
        return ", ".join(part for part in parts if part)


CASES = [Case(waits, slow, floor=False) for waits in WAITS for slow in (False, True)]
NEAREST = CASES[1]  # to the published curve
CASES.append(dataclasses.replace(NEAREST, floor=True))  # goes on from what that has found


def deviations(config: CoreConfig, step: Numbers, waits: float) -> np.ndarray:
    """Return the spread of cells over the published one, less 1, (bin,)."""
    method = ip(step, waits)
    found = [spread_us(programmed(config, method, seed)) for seed in FITTING_SEEDS]
    spread = np.sqrt(np.mean(np.square(found), axis=0))
    return np.asarray(spread / published(config.devices_per_polarity) - 1)


def loss(deviation: np.ndarray) -> float:
    """Return what the walk goes down: the largest deviation, and some of the mean one."""
    return float(np.abs(deviation).max() + 0.2 * np.sqrt(np.square(deviation).mean()))


def walk(case: Case, trials: int, before: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Return the best parameters and IP's step for one device after so many trials, and all trials.

    `before` is what an earlier walk returned, or empty: the first trial is its best, again.
    """
    kept: list[dict[str, Any]] = list(before.get("trials", ()))
    rng = np.random.default_rng([1, len(kept)])
    waits, parameters = WAITS[case.waits], before.get("parameters", START)
    default = dataclasses.asdict(fa.IterativeProgramming().step)
    step = before["steps"]["1"] if before else default
    least, stride = np.inf, STRIDE / 3 if before else STRIDE
    for index in progress.track(range(trials - len(kept)), description=case.name):
        new = near(parameters, stride, rng) if index else parameters
        small, full = (core(1, size, new, case.slow) for size in (SIZE, FITTING_SIZE))
        new_step, error = tuned(small, step, waits, STEPS if index else FIRST_STEPS, rng)
        deviation = deviations(full, new_step, waits)
        kept.append(
            {
                "parameters": rounded(new),
                "step": rounded(new_step),
                "error_us": round(error, 4),
                "largest": round(float(np.abs(deviation).max()), 4),
                "size": FITTING_SIZE,
            }
        )
        better = (value := loss(deviation)) < least
        # one trial in five is to be better: strides grow where more are, and shrink where fewer
        stride = min(stride * (1.2 if better else 1.2**-0.25), STRIDE)
        if better:
            parameters, step, least = new, new_step, value
    found = {"parameters": rounded(parameters), "steps": {"1": rounded(step)}}
    return dataclasses.asdict(case) | found | {"trials": kept}


def predict(case: Case, found: dict[str, Any]) -> None:
    """Add IP's step for two devices with the parameters found for one."""
    config = core(2, SIZE, found["parameters"], case.slow)
    rng = np.random.default_rng(2)
    step, _ = tuned(config, found["steps"]["1"], WAITS[case.waits], PREDICTING_STEPS, rng)
    found["steps"]["2"] = rounded(step)


def provenance() -> dict[str, Any]:
    """Return versions, machine, method and seeds."""
    matrix = programmed(core(1, 8, START, slow=False), fa.IterativeProgramming(fine=True), 0)
    seeds = {"tuning": TUNING_SEEDS, "fitting": FITTING_SEEDS}
    return {**matrix.provenance, "seed": seeds, "size": SIZE, "rounds": ROUNDS}


def search(path: Path, trials: int) -> None:
    """Walk in all cases that have fewer trials in a file, if it has them at all."""
    document = json.loads(path.read_text()) if path.exists() else {"cases": {}}
    with Progress() as progress:
        for case in CASES:
            before = document["cases"].get(case.name, {})
            if case.floor and not before:
                start = document["cases"][NEAREST.name]
                floor = {"floor_us": MeltQuench().floor_us}
                before = start | {"parameters": start["parameters"] | floor, "trials": []}
            if len(before.get("trials", ())) < trials:
                found = walk(case, trials, before, progress)
                predict(case, found)
                document["cases"][case.name] = found
                document["provenance"] = provenance()
                path.write_text(json.dumps(document, indent=1) + "\n")


def main() -> None:
    """Search, measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=120, help="devices tried in every case")
    parser.add_argument("--report", action="store_true", help="only measure what was found before")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of what is written")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "calibration.json"
    if not arguments.report:
        search(path, arguments.trials)
    write(path)


if __name__ == "__main__":
    main()
