"""Which device of a cell is analog, which stay SET, and what is left for the analog one."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastaimc.kernels.controller import NONE, code_before
from fastaimc.kernels.jit import helper, inlined, kernel, run
from fastaimc.kernels.launch import launch
from fastaimc.kernels.vector import COUNTED
from fastaimc.parameters import MOST_BITS

_ZERO = np.float32(0.0)
_RESET = np.uint8(255)
_ONE = np.float64(1.0)


@inlined
def _nearest_code(curve: np.ndarray, pivots: np.ndarray, g: np.float32) -> np.uint8:
    """The code that nominally comes nearest to a conductance."""
    if g >= curve[0]:
        return np.uint8(0)
    if g <= curve[255]:
        return _RESET
    before = code_before(curve, pivots, g)
    here, following = np.float64(curve[before]), np.float64(curve[before + 1])
    code = -_ONE / (here - following) * (np.float64(g) - following) + np.float64(before + 1)
    return np.uint8(np.rint(code))


@inlined
def _largest(values: np.ndarray, t: int, row: int, column: int, used: int) -> int:
    """The first of the largest devices that are not in use."""
    best = -1
    for index in range(values.shape[0]):
        free = (used >> index) & 1 == 0
        if free and (best < 0 or values[index, t, row, column] > values[best, t, row, column]):
            best = index
    return best


@inlined
def _together(values: np.ndarray, t: int, row: int, column: int) -> np.float32:
    """What all devices of a cell's polarity add to it."""
    total = _ZERO
    for index in range(values.shape[0]):
        total += values[index, t, row, column]
    return total


@helper
def _allocate_share(
    begin: int,
    end: int,
    targets: np.ndarray,
    values: np.ndarray,
    curve: np.ndarray,
    pivots: np.ndarray,
    significance: np.ndarray,
    device: np.ndarray,
    filled: np.ndarray,
    aim: np.ndarray,
    surplus: np.ndarray,
    rest: np.ndarray,
) -> None:
    """Rows from `begin` to `end` of all tiles."""
    _, rows, columns = targets.shape
    half = values.shape[0]
    alike = values.size == half  # the same in all cells
    differ = significance.size > 0
    for index in range(begin, end):
        t, row = index // rows, index % rows
        vt, vr = (0, 0) if alike else (t, row)
        for column in range(columns):
            target = targets[t, row, column]
            offset = 0 if target >= _ZERO else half
            left, vc = abs(target), 0 if alike else column
            analog, bits, used, passed = int(NONE), 0, 0, int(NONE)
            later = _together(values, vt, vr, vc) if differ else _ZERO
            for rank in range(half):
                best = _largest(values, vt, vr, vc, used)
                used |= 1 << best
                this = offset + best
                found = analog != NONE
                if rank > 0:
                    idle = this if found else passed
                    surplus[rank - 1, t, row, column] = idle if target != _ZERO else NONE
                if not found:
                    g = values[best, vt, vr, vc]
                    later -= g
                    if differ and left <= later and rank < half - 1:
                        passed = this
                    elif left <= g or rank == half - 1:
                        analog = this
                    else:
                        passed = int(NONE)
                        bits |= 1 << (this & (MOST_BITS - 1))
                        left -= g
            device[t, row, column] = analog
            filled[t, row, column] = bits
            own = left / significance[analog] if differ else left
            aim[t, row, column] = _nearest_code(curve, pivots, own)
            if rest.size > 0:
                rest[t, row, column] = left if target >= _ZERO else -left


@kernel
def _allocate(shares: int, begin: int, end: int, *arguments: Any) -> None:
    launch(_allocate_share, shares, begin, end, arguments)


def allocate(
    targets: np.ndarray,
    values: np.ndarray,
    curve: np.ndarray,
    significance: np.ndarray,
    device: np.ndarray,
    filled: np.ndarray,
    aim: np.ndarray,
    surplus: np.ndarray,
    rest: np.ndarray,
) -> None:
    """Fill cells with SET devices; see `fastaimc.reference.allocation.allocate`."""
    tiles, rows, columns = targets.shape
    pivots = np.ascontiguousarray(curve[::COUNTED])
    written = (device, filled, aim, surplus, rest)
    tables = (values, curve, pivots, significance)
    run(_allocate, tiles * rows, columns, targets, *tables, *written)
