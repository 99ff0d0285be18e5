"""The analog matrix-vector product, and reads of single rows."""

from __future__ import annotations

import numpy as np

from fastaimc.reference import philox
from fastaimc.reference.converters import conversion_noise, digitise


def output_normals(
    count: int, identity: np.ndarray, row: int, number: int, purpose: int
) -> np.ndarray:
    """Return one standard normal per column for vector (or step) `number`, float64."""
    k0, k1, tile = identity
    quads = np.arange((count + 3) // 4, dtype=np.uint32)
    words = philox.philox(
        philox.cell(np.uint32(row), quads),
        np.uint32(number & 0xFFFFFFFF),
        tile,
        philox.counter3(purpose, 0, number >> 32),
        k0,
        k1,
    )
    return philox.normal(np.stack(words, axis=-1).reshape(-1))[:count].astype(np.float64)


def mvm(
    x: np.ndarray,
    group: np.ndarray,
    pattern: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    identity: np.ndarray,
    number: int,
    columns: np.ndarray,
    full_scale: np.ndarray,
    half_codes: np.float32,
) -> np.ndarray:
    """Multiply inputs by the crossbars, with read noise, through the ADCs.

    Independent noise on every device sums to ``y_j ~ N(sum x_i g_ij, sum x_i² var_ij)``: two
    products and one normal per output.  The ADC's noise is as white, so its variance is added.

    Parameters
    ----------
    x : ndarray
        Inputs as driven, in units of the DAC's full scale, (group, batch, row), float32.
    group : ndarray
        The inputs that each tile takes, (tile,), int32.
    pattern : ndarray
        What `inputs.pattern` says of the one group of inputs, or zeros, (5,), int64: a hint that
        changes nothing.
    mean, variance : ndarray
        (tile, row, column), float32, µS and µS².
    identity : ndarray
        Two words of key and the tile's number, (tile, 3), uint32.
    number : int
        Number of the first vector in the stream of noise, below 2**48.
    columns, full_scale, half_codes
        The ADCs, as `converters.digitise` takes them: (tile, 4 or 7, column); µS, (tile,); codes
        on either side of zero.

    Returns
    -------
    ndarray
        (tile, batch, column), float32, µS.
    """
    tiles, _, width = mean.shape
    batch = x.shape[1]
    out = np.empty((tiles, batch, width), dtype=np.float32)
    for tile in range(tiles):
        inputs = x[group[tile]].astype(np.float64)
        y = inputs @ mean[tile]
        own = conversion_noise(columns[tile], full_scale[tile])
        std = np.sqrt(inputs**2 @ variance[tile] + np.square(own))
        for b in range(batch):
            y[b] += std[b] * output_normals(width, identity[tile], 0, number + b, philox.MVM_NOISE)
        out[tile] = digitise(y, columns[tile], full_scale[tile], half_codes)
    return out


def read_rows(
    rows: np.ndarray,
    first: int,
    mean: np.ndarray,
    variance: np.ndarray,
    identity: np.ndarray,
    step: int,
    columns: np.ndarray,
    full_scale: np.ndarray,
    half_codes: np.float32,
) -> np.ndarray:
    """Drive each of `rows` alone at full scale and return what the ADCs report.

    `mean` and `variance` begin with row `first`.

    Returns
    -------
    ndarray
        (tile, len(rows), column), float32, µS.
    """
    tiles, _, width = mean.shape
    out = np.empty((tiles, len(rows), width), dtype=np.float32)
    for tile in range(tiles):
        for index, row in enumerate(rows):
            z = output_normals(width, identity[tile], int(row), step, philox.ROW_NOISE)
            own = conversion_noise(columns[tile], full_scale[tile])
            std = np.sqrt(variance[tile, row - first].astype(np.float64) + np.square(own))
            y = mean[tile, row - first] + std * z
            out[tile, index] = digitise(y, columns[tile], full_scale[tile], half_codes)
    return out
