"""Devices that are stuck, by chance."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastaimc.kernels.jit import helper, kernel, run
from fastaimc.kernels.launch import launch
from fastaimc.kernels.philox import FAULT, FAULT_VALUE, cell, counter3, philox, uniform

_FINE, _AT_SET, _AT_RESET, _ANYWHERE = (np.uint8(n) for n in range(4))
_ZERO = np.float32(0.0)
_NO_STEP = np.uint32(0)


@helper
def _fault_share(
    begin: int,
    end: int,
    identity: np.ndarray,
    limits: np.ndarray,
    kind: np.ndarray,
    value: np.ndarray,
) -> None:
    """Rows from `begin` to `end` of all tiles."""
    _, devices, rows, columns = kind.shape
    for index in range(begin, end):
        t, row = index // rows, index % rows
        k0, k1, number = identity[t, 0], identity[t, 1], identity[t, 2]
        for column in range(columns):
            at = cell(row, column)
            for block in range((devices + 3) // 4):
                chance = philox(at, _NO_STEP, number, counter3(FAULT, block, 0), k0, k1)
                place = philox(at, _NO_STEP, number, counter3(FAULT_VALUE, block, 0), k0, k1)
                for word in range(min(4, devices - 4 * block)):
                    device = 4 * block + word
                    found, u = kind[t, device, row, column], uniform(chance[word])
                    if found == _FINE:
                        found = _ANYWHERE if u < limits[2] else _FINE
                        found = _AT_RESET if u < limits[1] else found
                        found = _AT_SET if u < limits[0] else found
                    kind[t, device, row, column] = found
                    where = uniform(place[word])
                    value[t, device, row, column] = where if found == _ANYWHERE else _ZERO


@kernel
def _faults(shares: int, begin: int, end: int, *arguments: Any) -> None:
    launch(_fault_share, shares, begin, end, arguments)


def faults(identity: np.ndarray, rates: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """Let devices be stuck; see `fastaimc.reference.faults.faults`."""
    tiles, _, rows, columns = kind.shape
    value = np.empty(kind.shape, np.float32)
    limits = np.cumsum(rates, dtype=np.float32)
    run(_faults, tiles * rows, columns, identity, limits, kind, value)
    return value
