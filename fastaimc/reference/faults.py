"""Devices that are stuck, by chance."""

from __future__ import annotations

import numpy as np

from fastaimc.reference import philox
from fastaimc.reference.pcm import cell_words

FINE, AT_SET, AT_RESET, ANYWHERE = range(4)


def faults(identity: np.ndarray, rates: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """Let devices be stuck, each by itself, of which `kind` says nothing yet.

    Parameters
    ----------
    rates : ndarray
        Probabilities of being stuck at SET, at RESET and anywhere, (3,), float32.
    kind : ndarray
        0: fine; 1: stuck at SET; 2: at RESET; 3: anywhere; (tile, device, row, column), uint8,
        changed in place.

    Returns
    -------
    ndarray
        Where between RESET and SET a device is that is stuck anywhere, as a fraction, else 0;
        (tile, device, row, column), float32.
    """
    u = philox.uniform(cell_words(identity, kind.shape, 0, philox.FAULT))
    limits = np.cumsum(rates, dtype=np.float32)
    drawn = np.select([u < limit for limit in limits], [AT_SET, AT_RESET, ANYWHERE], FINE)
    kind[kind == FINE] = drawn[kind == FINE]
    value = philox.uniform(cell_words(identity, kind.shape, 0, philox.FAULT_VALUE))
    return np.where(kind == ANYWHERE, value, np.float32(0)).astype(np.float32)
