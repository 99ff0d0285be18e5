"""Weights to conductances, a matrix to tiles, and back.

The only module that knows both orders: weights are (out, in), crossbars (row = in, column = out).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastaimc.config import CoreConfig
from fastaimc.errors import InputError


@dataclass(frozen=True, slots=True)
class Mapping:
    """How one matrix lies on its tiles; tile ``i * column_blocks + j`` holds block (i, j).

    Attributes
    ----------
    shape : tuple of int
        (out, in).
    row_edges, column_edges : ndarray
        Where the inputs and the outputs are cut, (blocks + 1,), int64.
    scale : ndarray
        Weight per µS of each output, (out,), float64; 0 for an output without weights.
    clipped : int
        Weights beyond the quantile that became g_max.
    """

    shape: tuple[int, int]
    row_edges: np.ndarray
    column_edges: np.ndarray
    scale: np.ndarray
    clipped: int

    @property
    def blocks(self) -> tuple[int, int]:
        """Tiles along the inputs and along the outputs."""
        return len(self.row_edges) - 1, len(self.column_edges) - 1

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return self.blocks[0] * self.blocks[1]

    @property
    def group(self) -> np.ndarray:
        """Block of inputs that each tile takes, (tile,), int32."""
        return np.repeat(np.arange(self.blocks[0], dtype=np.int32), self.blocks[1])

    @property
    def extents(self) -> np.ndarray:
        """Rows and columns in use of every tile, (tile, 2), int64."""
        rows, columns = np.diff(self.row_edges), np.diff(self.column_edges)
        return np.stack([np.repeat(rows, len(columns)), np.tile(columns, len(rows))], axis=1)

    def spans(self, tile: int) -> tuple[slice, slice]:
        """Return the inputs and the outputs of a tile."""
        i, j = divmod(tile, self.blocks[1])
        return (
            slice(int(self.row_edges[i]), int(self.row_edges[i + 1])),
            slice(int(self.column_edges[j]), int(self.column_edges[j + 1])),
        )


def real_array(name: str, value: object, kinds: str) -> np.ndarray:
    """Return `value` as an array of one of the dtype `kinds`, or raise `InputError`."""
    if isinstance(value, np.ma.MaskedArray):
        raise InputError(f"{name} must not be a masked array: fill what is masked")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists, tensors with gradients
        raise InputError(f"{name} must be an array of real numbers, got: {error}") from None
    if array.dtype.kind not in kinds:
        raise InputError(f"{name} must be real numbers, got an array of {array.dtype}")
    return array


def check_weights(name: str, weights: object) -> np.ndarray:
    """Return `weights` as a float array (out, in), or raise `InputError`.

    Integers are taken as they are; float64 is kept until it has been scaled.
    """
    array = real_array(name, weights, "fiu")
    if array.ndim != 2:
        raise InputError(f"{name} must be 2-D (out_features, in_features), got shape {array.shape}")
    if array.size == 0:
        raise InputError(f"{name} must not be empty, got shape {array.shape}")
    with np.errstate(over="ignore"):  # a long double may become inf, which is refused
        array = array.astype(np.float64 if array.dtype.itemsize > 4 else np.float32, copy=False)
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(int(index) for index in np.argwhere(bad)[0])
        raise InputError(
            f"{name} must be finite, got {int(bad.sum())} NaN or inf, the first at {first}"
        )
    if np.abs(array).max() > np.finfo(np.float32).max:
        raise InputError(
            f"{name} must fit into float32, got |weight| up to {np.abs(array).max():g}"
        )
    return array


def cuts(length: int, most: int) -> np.ndarray:
    """Return the edges of the fewest parts of at most `most`, as even as possible."""
    parts = -(-length // most)
    return np.linspace(0, length, parts + 1).round().astype(np.int64)


def to_tiles(weights: np.ndarray, config: CoreConfig) -> tuple[Mapping, np.ndarray]:
    """Return the mapping of a checked matrix and its targets.

    Per output, the largest |weight| (or the quantile of the config) becomes g_max.

    Returns
    -------
    tuple
        The mapping, and the conductances the cells are to hold, (tile, row, column), float32, µS:
        every tile as large as the largest, zero beyond its extent.
    """
    magnitude = np.abs(weights)
    if config.weight_quantile < 1:
        largest = np.quantile(magnitude, config.weight_quantile, axis=1)
    else:
        largest = magnitude.max(axis=1).astype(np.float64)
    clipped = int((magnitude > largest[:, None]).sum())
    scale = largest.astype(np.float64) / config.g_max_us
    mapping = Mapping(
        shape=(weights.shape[0], weights.shape[1]),
        row_edges=cuts(weights.shape[1], config.rows),
        column_edges=cuts(weights.shape[0], config.columns),
        scale=scale,
        clipped=clipped,
    )
    size = mapping.extents.max(axis=0)
    targets = np.zeros((mapping.tiles, size[0], size[1]), dtype=np.float32)
    for tile in range(mapping.tiles):
        inputs, outputs = mapping.spans(tile)
        unit = np.where(largest[outputs] > 0, largest[outputs], 1.0)[:, None]
        block = np.clip(weights[outputs, inputs] / unit, -1, 1) * config.g_max_us
        targets[tile, : block.shape[1], : block.shape[0]] = block.T
    return mapping, targets


def split_cells(mapping: Mapping, values: np.ndarray) -> np.ndarray:
    """Return one value of each weight, (out, in), as cells lie on tiles; zero beyond the extents.

    The inverse of `join_cells`: (tile, row, column).
    """
    rows, columns = mapping.extents.max(axis=0)
    out = np.zeros((mapping.tiles, rows, columns), dtype=values.dtype)
    for tile in range(mapping.tiles):
        inputs, outputs = mapping.spans(tile)
        part = values[outputs, inputs].T
        out[tile, : part.shape[0], : part.shape[1]] = part
    return out


def join_cells(mapping: Mapping, cells: np.ndarray) -> np.ndarray:
    """Return one value of each cell, (tile, row, column), as weights are laid out, (out, in)."""
    out = np.empty(mapping.shape, dtype=cells.dtype)
    for tile in range(mapping.tiles):
        inputs, outputs = mapping.spans(tile)
        rows, columns = mapping.extents[tile]
        out[outputs, inputs] = cells[tile, :rows, :columns].T
    return out


def from_tiles(mapping: Mapping, conductances: np.ndarray) -> np.ndarray:
    """Return the weights that conductances (tile, row, column) stand for, (out, in), float32."""
    out = join_cells(mapping, conductances)
    out *= mapping.scale[:, None]
    return out


def split_inputs(mapping: Mapping, x: np.ndarray, rows: int, beyond: float = 0) -> np.ndarray:
    """Return each block's inputs, (block, batch, row), `beyond` what its extent has."""
    blocks = mapping.blocks[0]
    if blocks == 1 and x.shape[1] == rows:
        return x[None]  # as it is
    out = np.empty((blocks, len(x), rows), dtype=x.dtype)
    for block in range(blocks):
        low, high = mapping.row_edges[block], mapping.row_edges[block + 1]
        out[block, :, : high - low] = x[:, low:high]
        out[block, :, high - low :] = beyond
    return out
