"""Stuck devices: what a user says of them, and what it means to a stack of tiles."""

from __future__ import annotations

from collections.abc import Mapping as Dictionary

import numpy as np

from fastaimc.config import CoreConfig
from fastaimc.errors import InputError
from fastaimc.mapping import Mapping, split_cells

FINE, AT_SET, AT_RESET, ANYWHERE = range(4)


def check_map(label: str, given: object, config: CoreConfig, shape: tuple[int, int]) -> np.ndarray:
    """Return a map of stuck devices as uint8, (device, out, in).

    Raises
    ------
    InputError
        For another shape, or values other than 0 to 3.
    """
    array = np.asarray(given)
    wanted = (config.devices, *shape)
    if array.shape != wanted or array.dtype.kind not in "iu":
        raise InputError(
            f"{label} must be integers of shape (device, out, in) = {wanted}, "
            f"got {array.dtype} of shape {array.shape}"
        )
    if array.size and not 0 <= array.min() <= array.max() <= ANYWHERE:
        raise InputError(
            f"{label} must hold 0 (fine), 1 (stuck at SET), 2 (at RESET) or 3 (anywhere), "
            f"got {array.min()} to {array.max()}"
        )
    return array.astype(np.uint8)


def of_layer(
    given: object, name: str | None, config: CoreConfig, mapping: Mapping
) -> np.ndarray | None:
    """Return a layer's map on its tiles, (tile, device, row, column), uint8; None: no map."""
    if isinstance(given, Dictionary):
        given = given.get(name)
    if given is None:
        return None
    label = "faults" if name is None else f"faults[{name!r}]"
    devices = check_map(label, given, config, mapping.shape)
    return np.stack([split_cells(mapping, one) for one in devices], axis=1)


def count(stuck: np.ndarray | None, extents: np.ndarray) -> int:
    """Return how many devices are stuck within the tiles' extents (tile, 2)."""
    total = 0
    for tile, (rows, columns) in enumerate(extents if stuck is not None else ()):
        total += int(np.bitwise_count(stuck[tile, :rows, :columns]).sum())  # type: ignore[index]
    return total


def bits(kind: np.ndarray) -> np.ndarray:
    """Return a bit for each stuck device of every cell, (tile, row, column), uint8."""
    out = np.zeros((kind.shape[0], *kind.shape[2:]), dtype=np.uint8)
    for index in range(kind.shape[1]):
        out |= (kind[:, index] != FINE).astype(np.uint8) << np.uint8(index)
    return out
