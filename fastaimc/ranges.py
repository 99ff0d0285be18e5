"""Ranges of the ADCs as the targets ask for them, before anything is programmed."""

from __future__ import annotations

import math

import numpy as np

from fastaimc.config import CoreConfig, MeltQuench

# Of an input uniform in ±1, and of its positive part: x² on average, and the variance.
SQUARE = 1 / 3
HALF_MEAN, HALF_VARIANCE = 1 / 4, 5 / 48


def full_scales(targets: np.ndarray, extents: np.ndarray, config: CoreConfig) -> np.ndarray:
    """Return the full scale of every tile's ADCs, from its targets unless it is given.

    In one phase: 4 sigma (`full_scale_sigmas`) of its outputs for uniform inputs, the root mean
    square over its columns.  In more, as much beyond the mean of what a phase gives, the largest of
    its columns: the means of no two are alike, and one beyond the range would not be seen at all.

    Parameters
    ----------
    targets : ndarray
        (tile, row, column), float32, µS.
    extents : ndarray
        Rows and columns in use, (tile, 2).

    Returns
    -------
    ndarray
        (tile,), float32, µS; a tile of zeros gets g_max.
    """
    out = np.full(len(targets), config.g_max_us, dtype=np.float32)
    if not isinstance(config.adc.range, str):
        out[:] = config.adc.range
        return out
    for tile, (_, columns) in enumerate(extents):
        power = float(np.vdot(targets[tile], targets[tile]))
        if power > 0 and config.dac.phases == 1:
            out[tile] = config.adc.full_scale_sigmas * math.sqrt(power / columns * SQUARE)
        elif power > 0:
            own = column_scales(targets[tile], extents[tile], config)[:columns]
            out[tile] = own.max()
    return out


def column_scales(targets: np.ndarray, extent: np.ndarray, config: CoreConfig) -> np.ndarray:
    """Return the full scale of every column of a tile, (column,), float64, µS; 0: of zeros."""
    sigmas, phases = config.adc.full_scale_sigmas, config.dac.phases
    values = targets.astype(np.float64)
    if phases == 1:
        return np.asarray(sigmas * np.sqrt(np.square(values).sum(axis=0) * SQUARE))
    parts = (values,) if phases == 2 else (np.maximum(values, 0), np.maximum(-values, 0))
    spread = [np.sqrt(np.square(part).sum(axis=0) * HALF_VARIANCE) for part in parts]
    mean = [np.abs(part.sum(axis=0)) * HALF_MEAN for part in parts]
    own = np.max([m + sigmas * s for m, s in zip(mean, spread, strict=True)], axis=0)
    return np.asarray(np.where(own > 0, own + _leak(extent, config), 0.0))


def _leak(extent: np.ndarray, config: CoreConfig) -> float:
    """Return what RESET devices add to a phase that sees one polarity alone, µS."""
    device = config.device
    if config.dac.phases < 4 or not isinstance(device, MeltQuench):
        return 0.0
    reset = device.g_set_us * 10**-device.decades
    return float(HALF_MEAN * extent[0] * config.devices_per_polarity * reset)


def own_ranges(
    targets: np.ndarray, extents: np.ndarray, full_scale_us: np.ndarray, config: CoreConfig
) -> np.ndarray:
    """Return every column's full scale in units of its tile's, (tile, column), float32.

    One of zeros gets the tile's.
    """
    out = np.ones((len(targets), targets.shape[2]), dtype=np.float32)
    for tile, extent in enumerate(extents):
        own = column_scales(targets[tile], extent, config) / float(full_scale_us[tile])
        out[tile] = np.where(own > 0, own, 1.0)
    return out
