"""Ranges of the ADCs as a programmed core asks for them."""

from __future__ import annotations

import numpy as np

from fastaimc.circuit.phases import Pair, currents
from fastaimc.config import CoreConfig
from fastaimc.engine import Engine
from fastaimc.parameters import F32

VECTORS = 1024  # assumption: the largest of so many normals is 3.3 sigma
AT_A_TIME = 128  # of a compiled call


def calibrated(
    engine: Engine,
    config: CoreConfig,
    pairs: tuple[Pair, ...],
    identity: np.ndarray,
    extents: np.ndarray,
    key: np.ndarray,
    number: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return full scales (tile,) and columns' own in their units, (tile, column), from data.

    The quantile of the size of what the phases of uniform inputs give, with read noise and before
    the ADCs.  It takes VECTORS MVMs, 136 µs and 14 µJ of a HERMES core in one phase.
    """
    tiles, rows, columns = pairs[0][0].shape
    phases, half = config.dac.phases, F32(config.dac.half_codes())
    ideal = (np.zeros((tiles, 4, columns), np.float32), np.ones(tiles, np.float32), F32(0))
    seen = []
    for low in range(0, VECTORS, AT_A_TIME):
        x = engine.inputs(0, key, 1 + low // AT_A_TIME, AT_A_TIME, rows)
        driven = engine.quantise(x[None], half)
        group = np.zeros(tiles, dtype=np.int32)
        parts = currents(engine, phases, driven, group, pairs, identity, number + low, ideal)
        seen += [np.abs(y) for _, y in parts]
    sizes = np.concatenate(seen, axis=1)
    quantile, of_columns = config.adc.range_quantile, config.adc.range == "calibrated_column"
    full_scale = np.full(tiles, config.g_max_us, dtype=np.float32)
    own = np.ones((tiles, columns), dtype=np.float32)
    for tile, width in enumerate(extents[:, 1]):
        used = sizes[tile, :, :width]
        found = np.quantile(used, quantile, axis=0 if of_columns else None)
        largest = float(np.max(found))
        if largest > 0:
            full_scale[tile] = largest
            own[tile, :width] = np.where(found > 0, found / largest, 1.0)
    return full_scale, own
