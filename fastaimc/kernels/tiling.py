"""What goes to the tiles, and what comes from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastaimc.kernels.jit import helper, kernel, run
from fastaimc.kernels.launch import launch

VALUES_A_CELL = 4  # so many take no longer than what `jit.run` counts as a cell

_ZERO = np.float32(0.0)


@helper
def _patches_share(
    begin: int,
    end: int,
    images: np.ndarray,
    bases: np.ndarray,
    offsets: np.ndarray,
    out: np.ndarray,
) -> None:
    """Vectors from `begin` to `end`."""
    for vector in range(begin, end):
        source = images[vector // bases.shape[0]]
        base = bases[vector % bases.shape[0]]
        for block in range(offsets.shape[0]):
            offset, target = offsets[block], out[block, vector]
            for row in range(target.shape[0]):
                # Unsigned: Numba would look for negative ones to count from the end.
                value = source[np.uint64(base + max(offset[row], 0))]
                target[row] = value if offset[row] >= 0 else _ZERO


@kernel
def _patches(shares: int, begin: int, end: int, *arguments: Any) -> None:
    launch(_patches_share, shares, begin, end, arguments)


def patches(images: np.ndarray, bases: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the inputs of windows; see `fastaimc.reference.tiling.patches`."""
    vectors = len(images) * len(bases)
    out = np.empty((offsets.shape[0], vectors, offsets.shape[1]), np.float32)
    run(_patches, vectors, offsets.size // VALUES_A_CELL + 1, images, bases, offsets, out)
    return out


@helper
def _join_share(
    begin: int,
    end: int,
    y: np.ndarray,
    programmed: np.ndarray,
    compensated: np.ndarray,
    edges: np.ndarray,
    unit: np.ndarray,
    input_range: np.float32,
    out: np.ndarray,
) -> None:
    """Vectors from `begin` to `end`."""
    blocks = edges.shape[0] - 1
    for vector in range(begin, end):
        out[vector] = _ZERO
        for tile in range(y.shape[0]):
            block = tile % blocks
            reported, sums = y[tile, vector], out[vector, edges[block] : edges[block + 1]]
            a, b = programmed[0, tile], programmed[1, tile]
            c, d = compensated[0, tile], compensated[1, tile]
            for column in range(sums.shape[0]):
                sums[column] += (reported[column] * a[column] + b[column]) * c[column] + d[column]
        for column in range(out.shape[1]):
            out[vector, column] = out[vector, column] * unit[column] * input_range


@kernel
def _join(shares: int, begin: int, end: int, *arguments: Any) -> None:
    launch(_join_share, shares, begin, end, arguments)


def join(
    y: np.ndarray,
    programmed: np.ndarray,
    compensated: np.ndarray,
    edges: np.ndarray,
    unit: np.ndarray,
    input_range: np.float32,
) -> np.ndarray:
    """Return weights times inputs; see `fastaimc.reference.tiling.join`."""
    tiles, batch, width = y.shape
    out = np.empty((batch, len(unit)), np.float32)
    corrections = (programmed, compensated, edges, unit, input_range)
    run(_join, batch, tiles * width // VALUES_A_CELL + 1, y, *corrections, out)
    return out
