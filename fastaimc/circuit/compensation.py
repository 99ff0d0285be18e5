"""Digital correction of what tiles report, fitted on calibration outputs.

Drift takes the same part of all cells, on average: one scale for each tile gives it back.  A scale
for each column also takes away what its devices and its ADC differ by, an affine correction what
the ADC adds as well.
"""

from __future__ import annotations

import numpy as np


def correction(
    kind: str, x: np.ndarray, seen: np.ndarray, targets: np.ndarray, extents: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return scale and offset that bring outputs nearest to what the targets give.

    Parameters
    ----------
    kind : str
        "global", "column" or "affine"; see `CoreConfig`.
    x : ndarray
        Calibration inputs, (batch, row), float32.
    seen : ndarray
        What the tiles report for them, (tile, batch, column), float32, µS.
    targets : ndarray
        (tile, row, column), float32, µS.
    extents : ndarray
        Rows and columns in use, (tile, 2).

    Returns
    -------
    scale : ndarray
        (tile, 1, 1 or column), float32.
    offset : ndarray or None
        (tile, 1, column), float32, µS; None: nothing is added.
    """
    tiles, _, width = seen.shape
    scale = np.ones((tiles, 1, 1 if kind == "global" else width), dtype=np.float32)
    offset = np.zeros((tiles, 1, width), dtype=np.float32) if kind == "affine" else None
    for tile in range(tiles):
        columns = int(extents[tile, 1])
        wanted = (x @ targets[tile, :, :columns]).astype(np.float64)
        own = seen[tile, :, :columns]
        whole = _one_scale(wanted, own)
        scale[tile] = whole
        if kind == "global":
            continue
        y = own.astype(np.float64)
        middle = (wanted.mean(axis=0), y.mean(axis=0)) if kind == "affine" else (0.0, 0.0)
        fit = _scales(wanted - middle[0], y - middle[1], whole)
        scale[tile, 0, :columns] = fit
        if offset is not None:
            offset[tile, 0, :columns] = middle[0] - fit * middle[1]
    return scale, offset


def _one_scale(wanted: np.ndarray, seen: np.ndarray) -> float:
    """Return the scale of all columns together; 1 where none is above 0."""
    power = float(np.vdot(seen, seen))
    fit = float(np.vdot(wanted, seen)) / power if power > 0 else 1.0
    return fit if fit > 0 else 1.0


def _scales(wanted: np.ndarray, seen: np.ndarray, otherwise: float) -> np.ndarray:
    """Return the scale of each column; `otherwise` where none is above 0."""
    power = np.square(seen).sum(axis=0)
    product = (wanted * seen).sum(axis=0)
    fit = np.divide(product, power, out=np.zeros_like(power), where=power > 0)
    return np.asarray(np.where(fit > 0, fit, otherwise))
