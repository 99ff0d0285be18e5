"""Stuck devices as a core knows them: a bit for each."""

from __future__ import annotations

import numpy as np

from fastaimc.config import MeltQuench, ProgrammedState
from fastaimc.config.core import Device
from fastaimc.config.incremental import counted

FINE, AT_SET, AT_RESET, ANYWHERE = range(4)
NONE = 255  # no device


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


def in_vain(
    stuck: np.ndarray | None,
    device: np.ndarray,
    code: np.ndarray,
    part: Device,
) -> tuple[np.ndarray, np.ndarray]:
    """Return which devices a pulse of (tile, row, column) moves, and what it costs the others.

    The second are pulses at stuck devices that would SET and that would RESET, (tile, 2).
    """
    if stuck is None:
        return device, np.zeros((len(device), 2), dtype=np.int64)
    lost = (device != NONE) & ((stuck >> (device & 7)) & 1 == 1)
    sets = np.zeros_like(lost)
    if isinstance(part, MeltQuench):
        p = part.parameters()
        sets = p.current_min_ua + code * p.current_step_ua < p.knee_ua
    ups, downs = sets, ~sets
    if not isinstance(part, MeltQuench | ProgrammedState):
        ups, downs = counted(code)
    counts = np.stack([np.where(lost, ups, 0), np.where(lost, downs, 0)], axis=1)
    return np.where(lost, np.uint8(NONE), device), counts.sum(axis=(2, 3))
