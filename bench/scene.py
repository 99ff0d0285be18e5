"""What benchmarks work on: cores of HERMES with as many rows and columns as asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import fastaimc as fa
from fastaimc import engine as engines
from fastaimc.config import CoreConfig
from fastaimc.core import Core
from fastaimc.engine import Engine
from fastaimc.job import method_key
from fastaimc.programming.method import State
from fastaimc.terminals import Terminals

THREADS = 2
AGE_S = 200.0  # of cells that are read


def config(n: int) -> CoreConfig:
    """Return HERMES with `n` rows and columns: converters, drift and read noise on."""
    return fa.override(fa.presets.hermes(), {"rows": n, "columns": n})


def gaussian(n: int) -> np.ndarray:
    """Return an `n` × `n` matrix of weights."""
    return np.random.default_rng(n).standard_normal((n, n), dtype=np.float32)


def inputs(n: int, batch: int) -> np.ndarray:
    """Return (batch, n) inputs in [-1, 1]."""
    return np.random.default_rng(batch).uniform(-1, 1, (batch, n)).astype(np.float32)


def windows(n: int, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images, and the windows of a 3×3 convolution with `n` inputs that is 16×16 large."""
    channels, rest = divmod(n, 9)
    if rest:
        raise ValueError(f"n must be nine times the channels, got {n}")
    place = np.arange(18 * 18 * channels).reshape(18, 18, channels)
    bases, offsets = place[:16, :16, 0], place[:3, :3].transpose(2, 0, 1)
    return inputs(place.size, batch), bases.reshape(-1), offsets.reshape(-1)


def targets_of(n: int) -> np.ndarray:
    """Return what one tile's cells are to hold, (1, n, n), µS."""
    weights = gaussian(n)
    targets = weights / np.abs(weights).max(axis=0) * np.float32(config(n).g_max_us)
    return np.ascontiguousarray(targets[None], dtype=np.float32)


def blank(n: int, engine: str = "numba") -> tuple[Core, np.ndarray]:
    """Return an unformed core of one tile, and its targets."""
    backend, targets = engines.load(engine), targets_of(n)
    identity = np.array([[11, 12, 0]], dtype=np.uint32)
    with backend.threads(THREADS):
        core = Core.blank(config(n), backend, targets, identity, np.array([[n, n]]))
    return core, targets


def holding(n: int, engine: str = "numba") -> Core:
    """Return a core whose first device of each polarity holds what the cell is to hold.

    Programming one would take minutes at 4096, and no time of a read depends on the values.
    """
    core, targets = blank(n, engine)
    core.conductance[:, 0] = np.maximum(targets, 0)
    core.conductance[:, core.config.devices // 2] = np.maximum(-targets, 0)
    core.wait(AGE_S)
    with core.engine.threads(THREADS):
        core.matrices()
        core.columns(0)
    return core


def in_phases(n: int, phases: int, engine: str = "numba") -> Core:
    """Return the core of `holding`, whose MVMs go in so many phases, in a range that fits them."""
    from fastaimc.circuit.ranges import (
        full_scales,  # `bench_compare` also loads revisions without it
    )

    core = twin(holding(n, engine))
    core.config = fa.override(core.config, {"dac.phases": phases})
    core.full_scale_us = full_scales(targets_of(n), core.extents, core.config)
    with core.engine.threads(THREADS):
        core.matrices()
        core.columns(0)
    return core


@dataclass
class Phase:
    """The iterations of GDP from a started core, to be run again and again from the same state."""

    method: fa.GradientDescentProgramming
    started: Core
    started_state: State
    targets: np.ndarray
    key: np.ndarray

    @classmethod
    def of(cls, n: int, method: fa.GradientDescentProgramming) -> Phase:
        """Start a core of one tile."""
        core, targets = blank(n)
        key = method_key(0)
        with core.engine.threads(THREADS):
            state = method.start(Terminals(core, targets), core.engine, key)
        return cls(method, core, state, targets, key)

    def restore(self, engine: Engine | None = None) -> tuple[Core, State]:
        """Return core and state as they were started."""
        core = twin(self.started)
        core.engine = core.engine if engine is None else engine
        return core, {name: value.copy() for name, value in self.started_state.items()}

    def run(self, core: Core, state: State, iterations: int) -> None:
        """Run iterations: all that `fastaimc.program` does but start, recording and result."""
        terminals = Terminals(core, self.targets)
        with core.engine.threads(THREADS):
            for index in range(iterations):
                self.method.iterate(terminals, core.engine, self.key, state, index)


def twin(core: Core) -> Core:
    """Return a core with arrays of its own in the same state."""
    return core.part(slice(None), *core.shape[1:])
