"""Stuck devices as a core knows them: a bit for each."""

from __future__ import annotations

import numpy as np

from fastaimc.config import MeltQuench, ProgrammedState
from fastaimc.config.core import Device
from fastaimc.config.incremental import counted
from fastaimc.parameters import mask_dtype

FINE, AT_SET, AT_RESET, ANYWHERE = range(4)
NONE = 255  # no device


def count(stuck: np.ndarray | None, extents: np.ndarray) -> int:
    """Return how many devices are stuck within the tiles' extents (tile, 2)."""
    total = 0
    for tile, (rows, columns) in enumerate(extents if stuck is not None else ()):
        total += int(np.bitwise_count(stuck[tile, :rows, :columns]).sum())  # type: ignore[index]
    return total


def bits(kind: np.ndarray) -> np.ndarray:
    """Return a bit for each stuck device of every cell, (tile, row, column), of `mask_dtype`."""
    mask = mask_dtype(kind.shape[1])
    out = np.zeros((kind.shape[0], *kind.shape[2:]), dtype=mask)
    for index in range(kind.shape[1]):
        out |= (kind[:, index] != FINE).astype(mask) << mask(index)
    return out


def in_vain(
    stuck: np.ndarray | None,
    device: np.ndarray,
    code: np.ndarray,
    part: Device,
) -> tuple[np.ndarray, np.ndarray]:
    """Return which devices a pulse of (tile, row, column) moves, and what it costs the others.

    The second are pulses at stuck devices as `Engine.pulse` counts them, (tile, 4): none of them
    clips a conductance.
    """
    if stuck is None:
        return device, np.zeros((len(device), 4), dtype=np.int64)
    lost = (device != NONE) & ((stuck >> (device & 15)) & 1 == 1)
    sets, beyond, none = np.zeros((3, *lost.shape), dtype=bool)
    if isinstance(part, MeltQuench):
        p = part.parameters()
        current = p.current_min_ua + code * p.current_step_ua
        sets, beyond = current < p.knee_ua, current > p.compliance_ua
    kinds = (sets, ~sets, none, beyond)
    if not isinstance(part, MeltQuench | ProgrammedState):
        kinds = (*counted(code), none, none)
    counts = np.stack([np.where(lost, kind, 0).sum(axis=(1, 2)) for kind in kinds], axis=1)
    return np.where(lost, np.uint8(NONE), device), counts
