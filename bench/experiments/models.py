"""What each model of the config costs: bytes of a cell, and time with it over time without it.

Cores of 256×256 on `presets.hermes()`.  A model's core and that of the same config without it take
turns, call by call, in one process; a figure is the ratio of their medians with the quartiles of
the single turns' ratios.  Times are of the processor, on one thread: a call that waits while others
use the machine does not count as work.  Bytes are those of the arrays that are kept: of core and
method after the last iteration of GDP, and of the finished matrix.

    python bench/experiments/models.py                       # some minutes; writes models.md
    python bench/experiments/models.py --only "IR drop*"     # some models; prints alone
    python bench/experiments/models.py --size 64 --rounds 3  # a look
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.progress import track
from tables import RESULTS, ROOT, made, provenance, table

import fastaimc as fa
from fastaimc import engine as engines
from fastaimc.config import CoreConfig
from fastaimc.core import Core
from fastaimc.job import Layer, method_key, stack_layers
from fastaimc.mapping import to_tiles
from fastaimc.matrix import AnalogMatrix
from fastaimc.programming.method import Method, State
from fastaimc.terminals import Terminals

if TYPE_CHECKING:
    from measure import Figure, Work

SIZE = 256
BATCH = 256
ROUNDS = 9  # turns of either alternative
PAUSE_S = 0.0  # of a turn: on one thread none spins
MVMS = 30  # batches in a turn
THREADS = 1

Changes = dict[str, Any]  # of the config, as `fa.override` takes them


@dataclass(frozen=True, slots=True)
class Model:
    """A model: what switches it on in `presets.hermes()`, or off where HERMES has it."""

    on: Changes = dataclasses.field(default_factory=dict)
    off: Changes = dataclasses.field(default_factory=dict)


STUCK = {"kind": "Faults", "set_rate": 0.005, "reset_rate": 0.005}
SPREADS = {
    **{f"device.{name}_spread": 0.1 for name in ("decades", "jitter", "floor")},
    "drift.t_on_spread": 0.1,
    "read_noise.spread": 0.1,
}
IDEAL_COLUMNS = {"adc.gain_std": 0.0, "adc.offset_std": 0.0, "adc.inl_std": 0.0}
MODELS = {
    "drift": Model(off={"drift": None}),
    "read noise": Model(off={"read_noise": None}),
    "slow read noise": Model({"read_noise.slow": True}),
    "1 % of devices stuck": Model({"faults": STUCK}),
    "two devices more a cell, of four": Model(off={"devices_per_polarity": 1, "g_max_us": 10.0}),
    "four devices more a cell, of eight": Model({"devices_per_polarity": 4}),
    "devices of significance 4 and 1": Model({"significance": (4.0, 1.0)}),
    "spreads of all that may differ": Model(SPREADS),
    "an exponent for every pulse": Model({"drift.redraw": True}),
    "accumulative SET, not melt-quench": Model({"device": {"kind": "AccumulativeSet"}}),
    "soft bounds, not melt-quench": Model({"device": {"kind": "SoftBounds"}}),
    "two phases": Model({"dac.phases": 2}),
    "four phases": Model({"dac.phases": 4}),
    "gain, offset and INL of columns": Model(off=IDEAL_COLUMNS),
    "a range for each column": Model({"adc.range": "column"}),
    "a calibrated range": Model({"adc.range": "calibrated"}),
    "a calibrated range for each column": Model({"adc.range": "calibrated_column"}),
    "noise of conversions": Model({"adc.noise_std": 0.005}),
    "dead time": Model({"adc.dead_time": 0.1, "adc.dead_time_std": 0.02}),
    "IR drop, estimate": Model({"wires": {"kind": "Wires", "solver": "estimate"}}),
    "IR drop, iterative": Model({"wires": {"kind": "Wires", "solver": "iterative"}}),
    "global compensation": Model(off={"compensation": "none"}),
    "compensation of columns": Model({"compensation": "column"}, {"compensation": "none"}),
    "affine compensation of columns": Model({"compensation": "affine"}, {"compensation": "none"}),
}


# --- bytes ----------------------------------------------------------------------------------------


def arrays(thing: object) -> Iterator[np.ndarray]:
    """Yield the arrays that a core, a matrix or a method's state holds."""
    if isinstance(thing, np.ndarray):
        yield thing
        return
    parts: Sequence[object] = ()
    if isinstance(thing, dict):
        parts = list(thing.values())
    elif isinstance(thing, list | tuple):
        parts = thing
    elif isinstance(thing, AnalogMatrix):
        parts = list(vars(thing).values())
    elif dataclasses.is_dataclass(thing):
        parts = [getattr(thing, field.name) for field in dataclasses.fields(thing)]
    for part in parts:
        yield from arrays(part)


def kept_bytes(*things: object) -> int:
    """Return the bytes of all their arrays, of each piece of memory once."""
    whole = (array if array.base is None else array.base for array in arrays(things))
    memory = {id(array): array.nbytes for array in whole if isinstance(array, np.ndarray)}
    return sum(memory.values())


# --- what is timed --------------------------------------------------------------------------------


def weights(n: int) -> np.ndarray:
    """Return an `n` × `n` matrix."""
    return np.random.default_rng(n).standard_normal((n, n), dtype=np.float32)


@dataclass
class Programming:
    """A method on a core that it has started, to be run again and again from the same state."""

    method: Method
    core: Core
    targets: np.ndarray
    state: State

    @classmethod
    def of(cls, n: int, config: CoreConfig, method: Method) -> Programming:
        """Start a method."""
        engine = engines.load("numba")
        mapping, block = to_tiles(weights(n), config)
        layers = [Layer(None, mapping, 1.0)]
        core, targets = stack_layers(layers, [block], config, engine, 0, [None])
        with engine.threads(THREADS):
            state = method.start(Terminals(core, targets), engine, method_key(0))
        return cls(method, core, targets, state)

    def again(self) -> tuple[Core, State]:
        """Return core and state as they were started."""
        core = self.core.part(slice(None), *self.core.shape[1:])
        core.corrections = dict(self.core.corrections)  # each is replaced, never changed
        core.watch = copy.deepcopy(self.core.watch)
        return core, {name: value.copy() for name, value in self.state.items()}

    def run(self, core: Core, state: State) -> None:
        """Run all iterations."""
        terminals, engine, key = Terminals(core, self.targets), core.engine, method_key(0)
        with engine.threads(THREADS):
            for index in range(self.method.iterations):
                self.method.iterate(terminals, engine, key, state, index)


def work(call: Callable[[Any], object], prepare: Callable[[], object] = lambda: None) -> Work:
    """Return what is timed once a turn: the call, of what is prepared before."""
    from measure import Work

    prepared: list[object] = []

    def ready() -> None:
        prepared[:] = [prepare()]

    def seconds() -> float:
        start = time.process_time()
        call(prepared[0])
        return time.process_time() - start

    return Work(seconds, ready, measures=True)


def products(matrix: AnalogMatrix) -> Work:
    """Return MVMs, as a caller meets them."""
    x = np.random.default_rng(1).uniform(-1, 1, (BATCH, matrix.shape[1])).astype(np.float32)
    return work(lambda _: [matrix.mvm(x, draw=0) for _ in range(MVMS)])


def iterations(started: Programming) -> Work:
    """Return all iterations of a method; their number is the same with a model and without."""
    return work(lambda again: started.run(*again), started.again)


def whole(n: int, config: CoreConfig) -> Work:
    """Return a program by the default method, its start and the matrix included."""
    held = weights(n)
    return work(lambda _: fa.program(held, config, threads=THREADS))


# --- the comparison -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cost:
    """What a model costs: bytes of a cell while programming and in a matrix, ratios of times."""

    bytes_programming: float
    bytes_matrix: float
    ratios: tuple[Figure, ...]


def ratio(with_it: Work, without_it: Work, rounds: int) -> Figure:
    """Return the ratio of two works that take turns."""
    from measure import Rounds, figure

    turns = Rounds([with_it, without_it], rounds, PAUSE_S)
    turns.run()
    return figure(turns.times, "ratio")


def cost(model: Model, n: int, rounds: int) -> Cost:
    """Return what a model costs on `n` × `n` cells."""
    configs = [
        fa.override(fa.presets.hermes(), {"rows": n, "columns": n} | changes)
        for changes in (model.on, model.off)
    ]
    matrices = [fa.program(weights(n), config, threads=THREADS) for config in configs]
    sizes = [kept_bytes(matrix) / n**2 for matrix in matrices]
    ratios = [ratio(products(matrices[0]), products(matrices[1]), rounds)]
    running: list[float] = []
    for method in (fa.GradientDescentProgramming(), fa.IterativeProgramming()):
        on, off = (Programming.of(n, config, method) for config in configs)
        ratios.append(ratio(iterations(on), iterations(off), rounds))
        if not running:
            running = [during(on) / n**2, during(off) / n**2]
    ratios.append(ratio(whole(n, configs[0]), whole(n, configs[1]), rounds))
    return Cost(running[0] - running[1], sizes[0] - sizes[1], tuple(ratios))


def during(started: Programming) -> int:
    """Return the bytes that core, targets and method hold once all iterations are done."""
    core, state = started.again()
    started.run(core, state)
    return kept_bytes(core, state, started.targets)


def shown(found: Figure) -> str:
    """Return a figure as text."""
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def report(found: dict[str, Cost], n: int, rounds: int) -> str:
    """Return the table."""
    lines = [
        [name, f"{one.bytes_programming:+.1f}", f"{one.bytes_matrix:+.1f}", *map(shown, one.ratios)]
        for name, one in found.items()
    ]
    header = ["model", "programming [B a cell]", "matrix [B a cell]", f"MVM, batch {BATCH}"]
    text = table([*header, "GDP iteration", "IP round", "program"], lines)
    return (
        f"What each model adds on {n}² cells of `presets.hermes()`: bytes of a cell that are kept, "
        "and time of the processor, on one thread, with the model over that without it, medians of "
        f"{rounds} turns (quartiles of their ratios). GDP iteration and IP round: the mean of a "
        "whole program's; program: start, GDP and matrix."
        f"\n\n{text}\n{made(provenance())}\n"
    )


def main() -> None:
    """Measure, print and write."""
    sys.path.insert(0, str(ROOT / "bench"))  # for `measure`
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=SIZE, metavar="N")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="models by name")
    options = parser.parse_args()
    chosen = [name for name in MODELS if fnmatch(name, options.only)]
    found = {
        name: cost(MODELS[name], options.size, options.rounds)
        for name in track(chosen, description="models")
    }
    text = report(found, options.size, options.rounds)
    print(text)
    if options.size == SIZE and options.rounds >= ROUNDS and chosen == list(MODELS):
        (RESULTS / "models.md").write_text(text)


if __name__ == "__main__":
    main()
