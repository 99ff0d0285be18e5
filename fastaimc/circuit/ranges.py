"""Ranges of the ADCs as the targets ask for them, before anything is programmed."""

from __future__ import annotations

import math

import numpy as np

from fastaimc.config import CoreConfig, MeltQuench
from fastaimc.parameters import F32

CELL_HEADROOM = 1.25  # assumption: a cell range of n µS a count reaches at least g_max times this
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
    return float(HALF_MEAN * extent[0] * config.whole_significance * reset)


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


def cell_range(config: CoreConfig, full_scale_us: np.ndarray) -> tuple[np.ndarray, np.float32]:
    """Return full scale (tile,) and codes on either side of zero of the ADC's cell range."""
    half, lsb = config.adc.half_codes(programming=True), config.adc.cell_lsb_us
    if lsb is None or half == 0:
        return full_scale_us, F32(half)
    codes = max(half, math.ceil(CELL_HEADROOM * config.g_max_us / lsb))
    return np.full(len(full_scale_us), codes * lsb, dtype=np.float32), F32(codes)


def numbers(drawn: np.ndarray, config: CoreConfig, own_ranges: np.ndarray | None) -> np.ndarray:
    """Return the numbers of columns as `Engine.mvm` takes them, of what `Engine.columns` has drawn.

    (tile, 4 or 7, column): dead time, noise and ranges of their own (tile, column) beside the rest.
    """
    if config.plain_columns:
        return drawn
    adc = config.adc
    out = np.empty((len(drawn), 7, drawn.shape[2]), dtype=np.float32)
    out[:, :4] = drawn[:, :4]
    deviation = drawn[:, 4] if adc.dead_time_std > 0 else F32(0)
    out[:, 4] = np.maximum(F32(adc.dead_time) + deviation, 0)
    out[:, 5] = adc.noise_std
    out[:, 6] = 1 if own_ranges is None else own_ranges
    return out
