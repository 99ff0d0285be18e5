"""A program of one or more matrices as one stack of tiles."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastaimc.circuit.phases import held, multiply
from fastaimc.config import CoreConfig
from fastaimc.core import Core
from fastaimc.engine import NO_PATTERN, Engine
from fastaimc.faults import stick
from fastaimc.mapping import Mapping
from fastaimc.matrix import METRICS
from fastaimc.programming.loop import Run

OBSERVED = 64  # vectors of an observation
OBSERVER_KEY = np.array([0x0B5E, 0x77E2], dtype=np.uint32)
METHOD_WORD = 0x6E7D  # tells the method's random key from the core's


@dataclass(frozen=True, slots=True)
class Layer:
    """One matrix of a program: its name (None for a lone one), mapping and input range."""

    name: str | None
    mapping: Mapping
    input_range: float


@dataclass(frozen=True, slots=True)
class Job:
    """A program: its layers and the run of their tiles."""

    layers: list[Layer]
    run: Run
    seed: int
    engine_name: str


def core_key(seed: int, name: str | None) -> np.ndarray:
    """Return the key of a matrix's devices and noise: of the seed, and of a layer's name."""
    words = (seed,) if name is None else (seed, zlib.crc32(name.encode()))
    return np.random.SeedSequence(words).generate_state(2)


def method_key(seed: int) -> np.ndarray:
    """Return the key of a method's own random numbers."""
    return np.random.SeedSequence((seed, METHOD_WORD, METHOD_WORD)).generate_state(2)


def stack_layers(
    layers: list[Layer],
    blocks: list[np.ndarray],
    config: CoreConfig,
    engine: Engine,
    seed: int,
    faults: list[np.ndarray | None],
) -> tuple[Core, np.ndarray]:
    """Return a blank core of all layers' tiles and their targets (tile, row, column).

    `faults` are maps of the layers' stuck devices, (tile, device, row, column), or None.
    """
    rows = max(block.shape[1] for block in blocks)
    columns = max(block.shape[2] for block in blocks)
    tiles = sum(len(block) for block in blocks)
    alone = len(blocks) == 1  # nothing to stack, nothing to copy
    targets = blocks[0] if alone else np.zeros((tiles, rows, columns), dtype=np.float32)
    identity = np.empty((tiles, 3), dtype=np.uint32)
    low = 0
    for layer, block in zip(layers, blocks, strict=True):
        high = low + len(block)
        if not alone:
            targets[low:high, : block.shape[1], : block.shape[2]] = block
        identity[low:high, :2] = core_key(seed, layer.name)
        identity[low:high, 2] = np.arange(len(block))
        low = high
    extents = np.concatenate([layer.mapping.extents for layer in layers])
    with engine.threads(None):
        core = Core.blank(config, engine, targets, identity, extents)
        stick(core, _stack_faults(layers, faults, core))
    return core, targets


def _stack_faults(
    layers: list[Layer], faults: list[np.ndarray | None], core: Core
) -> np.ndarray | None:
    """Return the layers' maps of stuck devices as one; None if there are none."""
    if all(one is None for one in faults):
        return None
    kind = np.zeros(core.conductance.shape, dtype=np.uint8)
    low = 0
    for layer, one in zip(layers, faults, strict=True):
        high = low + layer.mapping.tiles
        if one is not None:
            kind[low:high, :, : one.shape[2], : one.shape[3]] = one
        low = high
    return kind


def observer(job: Run, engine: Engine) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    """Return a function that looks at every tile as it would be at the evaluation.

    It returns the relative MVM error, after one scale a tile, and the relative weight error,
    each (tile,); neither counters, clock nor the method's noise move.
    """
    core, targets = job.core, job.targets
    x = engine.inputs(0, OBSERVER_KEY, 0, OBSERVED, core.shape[1])
    group = np.zeros(core.shape[0], dtype=np.int32)

    def observe() -> tuple[np.ndarray, np.ndarray]:
        matrices = core.conducted(core.clock_s + core.config.t_eval_s)
        mean, adcs = held(matrices), core.mvm_adcs(programming=False)
        inputs = (x[None], group, NO_PATTERN, matrices, core.identity, METRICS)
        y = multiply(engine, core.config.dac.phases, *inputs, adcs)
        if "scale" in job.state:
            y = y * job.state["scale"][:, None, :] + job.state["offset"][:, None, :]
        errors = np.zeros((2, core.shape[0]))
        for tile, (rows, columns) in enumerate(core.extents):
            wanted = x[:, :rows] @ targets[tile, :rows, :columns]
            seen = y[tile, :, :columns]
            scale = np.vdot(seen, wanted) / max(float(np.vdot(seen, seen)), 1e-30)
            errors[0, tile] = _relative(seen * scale, wanted)
            used = mean[tile, :rows, :columns]
            errors[1, tile] = _relative(used, targets[tile, :rows, :columns])
        return errors[0], errors[1]

    return observe


def _relative(value: np.ndarray, wanted: np.ndarray) -> float:
    norm = float(np.linalg.norm(wanted))
    return float(np.linalg.norm(value - wanted)) / norm if norm > 0 else float("nan")
