"""An MVM of devices as they are now."""

from __future__ import annotations

import numpy as np

from fastaimc.parameters import StateParameters, mask_dtype
from fastaimc.reference.crossbar import mvm
from fastaimc.reference.pcm import drift


def measure(
    x: np.ndarray,
    pattern: np.ndarray,
    conductance: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    clock_s: np.ndarray,
    identity: np.ndarray,
    fits: np.ndarray,
    parameters: StateParameters,
    significance: np.ndarray,
    slow: np.ndarray,
    number: int,
    columns: np.ndarray,
    full_scale: np.ndarray,
    half_codes: np.float32,
) -> np.ndarray:
    """Multiply one batch by all tiles, all of their devices selected: `drift` and `mvm` in one.

    For one MVM after each pulse the matrices need not be kept.

    Parameters
    ----------
    x : ndarray
        (batch, row), float32, as driven.

    Returns
    -------
    ndarray
        (tile, batch, column), float32, µS.
    """
    tiles, devices, rows, width = conductance.shape
    mean = np.empty((tiles, rows, width), dtype=np.float32)
    variance = np.empty_like(mean)
    every = np.full((1, 1, 1), 2**devices - 1, dtype=mask_dtype(devices))
    state = (conductance, last_device, last_s, clock_s, every, identity)
    drift(*state, fits, parameters, significance, slow, 0, mean, variance)
    group = np.zeros(tiles, dtype=np.int32)
    return mvm(
        x[None],
        group,
        pattern,
        mean,
        variance,
        identity,
        number,
        columns,
        full_scale,
        half_codes,
    )
