"""The phases of an MVM: which inputs and which devices take part in each, and their sum.

A phase draws read noise of its own: in the counter that keys it, the number of the tile has the
phase in its upper two bits, so that the first phase draws what an MVM in one phase does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastaimc.engine import NO_PATTERN, Engine
from fastaimc.parameters import F32, mask_dtype

Pair = tuple[np.ndarray, np.ndarray]  # mean and variance, (tile, row, column), float32
ADCs = tuple[np.ndarray, np.ndarray, np.float32]  # columns, full scale, codes; see Engine.mvm

PHASE_BIT = 30  # of a tile's number


class Phase(NamedTuple):
    """One go: the sign of the inputs (0: both), the devices, and the sign of its outputs."""

    inputs: int
    polarity: int
    sign: int


PHASES = {
    1: (Phase(0, 0, 1),),
    2: (Phase(1, 0, 1), Phase(-1, 0, -1)),
    4: (Phase(1, 0, 1), Phase(-1, 1, 1), Phase(1, 1, -1), Phase(-1, 0, -1)),
}


def selections(phases: int, devices: int) -> tuple[np.ndarray, ...]:
    """Return the devices of each cell that conduct together, as `Engine.drift` takes them.

    All; or in four phases those that add, and those that subtract.
    """
    half = 2 ** (devices // 2) - 1
    chosen = (half, half << devices // 2) if phases == 4 else (2**devices - 1,)
    return tuple(np.full((1, 1, 1), bits, dtype=mask_dtype(devices)) for bits in chosen)


def turn(pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
    """Make the currents of devices that subtract positive, in place, as their phases see them."""
    for mean, _ in pairs[1:]:
        np.negative(mean, out=mean)
    return pairs


def held(pairs: tuple[Pair, ...]) -> np.ndarray:
    """Return what whole cells conduct, (tile, row, column), µS."""
    return pairs[0][0] if len(pairs) == 1 else pairs[0][0] - pairs[1][0]


def currents(
    engine: Engine,
    phases: int,
    x: np.ndarray,
    group: np.ndarray,
    pairs: tuple[Pair, ...],
    identity: np.ndarray,
    number: int,
    adcs: ADCs,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield sign and codes of each phase; arguments as for `multiply`."""
    for index, phase in enumerate(PHASES[phases]):
        driven = x if phase.inputs == 0 else np.maximum(x if phase.inputs > 0 else -x, F32(0))
        own = identity.copy()
        own[:, 2] |= np.uint32(index << PHASE_BIT)
        mean, variance = pairs[phase.polarity]
        y = engine.mvm(driven, group, NO_PATTERN, mean, variance, own, number, *adcs)
        yield phase.sign, y


def multiply(
    engine: Engine,
    phases: int,
    x: np.ndarray,
    group: np.ndarray,
    pattern: np.ndarray,
    pairs: tuple[Pair, ...],
    identity: np.ndarray,
    number: int,
    adcs: ADCs,
) -> np.ndarray:
    """Multiply in one, two or four phases: (tile, batch, column), float32, µS.

    Parameters
    ----------
    x : ndarray
        As the DAC drives them, (group, batch, row), float32.
    group, pattern, identity, number
        As for `reference.crossbar.mvm`; tiles below 2**30.
    pairs : tuple
        What the devices of each of `selections` conduct, in four phases both positive.
    adcs : tuple
        Columns, full scale and codes of each phase.
    """
    if phases == 1:
        mean, variance = pairs[0]
        return engine.mvm(x, group, pattern, mean, variance, identity, number, *adcs)
    parts = currents(engine, phases, x, group, pairs, identity, number, adcs)
    _, total = next(parts)
    for sign, y in parts:
        if sign > 0:
            total += y
        else:
            total -= y
    return total
