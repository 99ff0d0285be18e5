"""Which device of a cell is analog, which stay SET, and what is left for the analog one."""

from __future__ import annotations

import numpy as np

from fastaimc.parameters import MOST_BITS
from fastaimc.reference.pcm import NONE


def allocate(
    targets: np.ndarray,
    values: np.ndarray,
    curve: np.ndarray,
    significance: np.ndarray,
    device: np.ndarray,
    filled: np.ndarray,
    aim: np.ndarray,
    surplus: np.ndarray,
    rest: np.ndarray,
) -> None:
    """From the largest device on they stay SET while they fit into the target; the next is analog.

    Where devices differ in significance, one is passed over if those after it can hold the target
    together: less significant devices scatter less.

    Parameters
    ----------
    targets : ndarray
        (tile, row, column), float32, µS.
    values : ndarray
        What the devices of each target's polarity add to cells when SET, float32, µS: (device,
        tile, row, column), or (device, 1, 1, 1) where all cells have the same.
    curve : ndarray
        Nominal conductance for every code, falling, (256,), float32, µS.
    significance : ndarray
        Factor on each device of a cell, (device,), float32; (0,): all are 1.
    device, filled, aim : ndarray
        Outputs, (tile, row, column), uint8: the analog device; the ones that stay SET, a bit each;
        the code that nominally reaches what is left of the target.
    surplus : ndarray
        Output: the devices passed over and beyond the analog one (255: none, as where the target
        is 0), smallest last, (device - 1, tile, row, column), uint8.
    rest : ndarray
        Output: what is left for the analog device to add, with the target's sign, (tile, row,
        column), float32, µS; (0, 0, 0) where nobody asks.
    """
    values = np.broadcast_to(values, (len(values), *targets.shape))
    filled[...] = 0
    left = _fill(targets, values, bool(significance.size), device, filled, surplus)
    own = left / significance[device] if significance.size else left
    aim[...] = np.rint(np.interp(own, curve[::-1].astype(np.float64), np.arange(255.0, -1, -1)))
    if rest.size:
        rest[...] = np.where(targets >= 0, left, -left)


def _fill(
    targets: np.ndarray,
    values: np.ndarray,
    differ: bool,
    device: np.ndarray,
    filled: np.ndarray,
    surplus: np.ndarray,
) -> np.ndarray:
    """Choose the devices; return what is left for the analog ones."""
    half = len(values)
    order = np.argsort(-values, axis=0, kind="stable").astype(np.uint8)
    offset = np.where(targets >= 0, np.uint8(0), np.uint8(half))
    left = np.abs(targets)
    later = np.zeros_like(left)  # what the devices after this one add together
    for one in values:
        later = later + one
    found = np.zeros(targets.shape, dtype=bool)
    passed = np.full(targets.shape, NONE, dtype=np.uint8)
    for rank in range(half):
        this = order[rank] + offset
        g = np.take_along_axis(values, order[rank][None], axis=0)[0]
        last = rank == half - 1
        if rank > 0:
            surplus[rank - 1] = np.where(targets != 0, np.where(found, this, passed), NONE)
        later = later - g
        over = ~found & (left <= later) & differ & (not last)
        passed = np.where(over, this, NONE)
        analog = ~found & ~over & ((left <= g) | last)
        is_set = ~found & ~over & ~analog
        device[analog] = this[analog]
        filled[is_set] |= np.left_shift(np.uint8(1), this % MOST_BITS)[is_set]
        left = np.where(is_set, left - g, left)
        found |= analog
    return left
