"""Which device of a cell is analog, which stay SET, and what is left for the analog one."""

from __future__ import annotations

import numpy as np

from fastaimc.parameters import MOST_BITS
from fastaimc.reference.pcm import NONE


def allocate(
    targets: np.ndarray,
    values: np.ndarray,
    curve: np.ndarray,
    device: np.ndarray,
    filled: np.ndarray,
    aim: np.ndarray,
    surplus: np.ndarray,
    rest: np.ndarray,
) -> None:
    """From the largest device on they stay SET while they fit into the target; the next is analog.

    Parameters
    ----------
    targets : ndarray
        (tile, row, column), float32, µS.
    values : ndarray
        What the devices of each target's polarity conduct when SET, float32, µS: (device, tile,
        row, column), or (device, 1, 1, 1) where all cells have the same.
    curve : ndarray
        Nominal conductance for every code, falling, (256,), float32, µS.
    device, filled, aim : ndarray
        Outputs, (tile, row, column), uint8: the analog device; the ones that stay SET, a bit each;
        the code that nominally reaches what is left of the target.
    surplus : ndarray
        Output: the devices beyond the analog one (255: none, as where the target is 0), smallest
        last, (device - 1, tile, row, column), uint8.
    rest : ndarray
        Output: what is left for the analog device, with the target's sign, (tile, row, column),
        float32, µS; (0, 0, 0) where nobody asks.
    """
    half = len(values)
    values = np.broadcast_to(values, (half, *targets.shape))
    order = np.argsort(-values, axis=0, kind="stable").astype(np.uint8)
    offset = np.where(targets >= 0, np.uint8(0), np.uint8(half))
    left = np.abs(targets)
    device[...] = NONE
    filled[...] = 0
    for rank in range(half):
        this = order[rank] + offset
        g = np.take_along_axis(values, order[rank][None], axis=0)[0]
        found = device != NONE
        if rank > 0:
            surplus[rank - 1] = np.where(found & (targets != 0), this, NONE)
        fits = ~found & ((left <= g) | (rank == half - 1))
        more = ~found & ~fits
        device[fits] = this[fits]
        filled[more] |= np.left_shift(np.uint8(1), this % MOST_BITS)[more]
        left = np.where(more, left - g, left)
    aim[...] = np.rint(np.interp(left, curve[::-1].astype(np.float64), np.arange(255.0, -1, -1)))
    if rest.size:
        rest[...] = np.where(targets >= 0, left, -left)
