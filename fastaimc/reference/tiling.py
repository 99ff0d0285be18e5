"""What goes to the tiles, and what comes from them."""

from __future__ import annotations

import numpy as np


def patches(images: np.ndarray, bases: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the inputs of a convolution's windows, as vectors of the tiles (im2col).

    Parameters
    ----------
    images : ndarray
        (image, value), float32.
    bases : ndarray
        Where each window begins, (window,), int64.
    offsets : ndarray
        How far from there the value of each row is, (block, row), int64; negative for rows beyond
        a block's extent, which get zero.

    Returns
    -------
    ndarray
        (block, image * window, row), float32.
    """
    found = images[:, np.maximum(offsets, 0)[:, None] + bases[:, None]]
    found = np.where(offsets[:, None] >= 0, found, np.float32(0))
    return np.moveaxis(found, 0, 1).reshape(len(offsets), -1, offsets.shape[1])


def join(
    y: np.ndarray,
    programmed: np.ndarray,
    compensated: np.ndarray,
    edges: np.ndarray,
    unit: np.ndarray,
    input_range: np.float32,
) -> np.ndarray:
    """Correct what columns report, sum over the blocks of inputs, and return weights times inputs.

    Parameters
    ----------
    y : ndarray
        (tile, batch, column), float32, µS; tile ``i * column_blocks + j`` holds block (i, j).
    programmed, compensated : ndarray
        Scale and offset that programming left, and then those of compensation,
        (2, tile, column), float32.
    edges : ndarray
        Where the outputs are cut, (column blocks + 1,), int64.
    unit : ndarray
        Weight per µS, (out,), float32.
    input_range : float32
        Input per full scale of the DAC.

    Returns
    -------
    ndarray
        (batch, out), float32.
    """
    for scale, offset in (programmed, compensated):
        y = y * scale[:, None] + offset[:, None]
    out = np.zeros((y.shape[1], len(unit)), dtype=np.float32)
    for tile, values in enumerate(y):
        low, high = edges[tile % (len(edges) - 1) :][:2]
        out[:, low:high] += values[:, : high - low]
    return out * unit * input_range
