"""Which device of a cell is analog, and the state in which a method finds it.

All devices of a cell but one are SET or RESET; the one left is analog.
"""

from __future__ import annotations

import numpy as np

from fastaimc.config.device import CODES
from fastaimc.programming.method import State
from fastaimc.programming.plan import NONE
from fastaimc.terminals import Terminals

SET, RESET = 0, CODES - 1  # amplitude codes
LEVELS = 64  # levels of an amplitude between two codes
ALLOCATIONS = ("two_device", "max_fill")


def dark_reading(terminals: Terminals, fine: bool) -> np.ndarray:
    """Return what every column reports when nothing conducts, (tile, column), µS: one row read."""
    nothing = np.zeros((1, 1, 1), dtype=np.uint8)
    return terminals.read_rows(np.zeros(1, dtype=np.int64), nothing, fine)[:, 0]


def prepare(
    terminals: Terminals,
    allocation: str,
    *,
    fine: bool,
    settle: float,
    shoot: bool,
    calibrate: bool,
) -> State:
    """SET and RESET all devices, choose each cell's analog one and bring it near its aim.

    ``two_device`` (TDP; Vasilopoulos et al., IEEE TED 2023): all devices of the target's polarity
    are SET and read; from the largest on they stay SET while they fit into the target, the next
    one is analog, the rest is RESET.  ``max_fill`` does the same with the nominal SET conductance
    instead of reads.

    Parameters
    ----------
    settle : float
        Wait before these reads, in units of the time until evaluation; what the nominal SET device
        loses by drift after them is allowed for.
    shoot : bool
        Pulse the analog device once with the nominal code of its aim; otherwise it stays in RESET.
    calibrate : bool
        Find each column's offset from sums of the reads of SET devices, if there are such reads
        and a step of the ADC is coarser than the scatter of a pulse; otherwise it is a dark
        reading.

    Returns
    -------
    dict of ndarray
        `device`, `filled`, `level`, `swing` and `aim` as for the engine's `gradient_pulses`, the
        buffers `fire` and `code`, `rest`: what the analog device is to hold, with the sign of
        its polarity; with "two_device" also `dark`: the offset of every column, (tile, column), µS.
    """
    positive = terminals.targets >= 0
    _initialise(terminals, positive)
    dark = {}
    if allocation == "two_device":
        terminals.wait(seconds := settle * terminals.t_eval_s)
        values, dark["dark"] = _set_values(terminals, positive, fine, calibrate)
        values /= terminals.nominal.fading(seconds, terminals.t_eval_s)[0]
        values = _likely(terminals, values, fine)
    else:
        values = np.full((1, 1, 1, 1), terminals.nominal.set_us, dtype=np.float32)
        values = np.broadcast_to(values, (terminals.devices // 2, *terminals.shape))
    device, filled, aim_us = _allocate(terminals, positive, values)
    code = np.rint(terminals.nominal.code(aim_us)).astype(np.uint8)
    terminals.pulse(device, start := code if shoot else np.full_like(code, RESET))
    return dark | {
        "device": device,
        "filled": filled,
        "level": start.astype(np.int16) * LEVELS,
        "swing": np.zeros(terminals.shape, dtype=np.int8),
        "aim": code,
        "fire": np.full(terminals.shape, NONE, dtype=np.uint8),
        "code": code.copy(),
        "rest": np.where(positive, aim_us, -aim_us).astype(np.float32),
    }


def _initialise(terminals: Terminals, positive: np.ndarray) -> None:
    """SET the devices that add to a cell's target and RESET the others."""
    half = terminals.devices // 2
    zero = terminals.targets == 0
    for index in range(terminals.devices):
        wanted = (positive if index < half else ~positive) & ~zero
        device = np.full(terminals.shape, index, dtype=np.uint8)
        terminals.pulse(device, np.where(wanted, SET, RESET).astype(np.uint8))


def _set_values(
    terminals: Terminals, positive: np.ndarray, fine: bool, calibrate: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Read every device of each target's polarity alone, (device, tile, row, column), µS.

    The other array is the offset of every column, taken off already.
    """
    half = terminals.devices // 2
    rows = np.arange(terminals.shape[1])
    singles = np.empty((half, *terminals.shape), dtype=np.float32)
    for index in range(half):
        select = np.where(positive, 1 << index, 1 << (half + index)).astype(np.uint8)
        singles[index] = terminals.read_rows(rows, select, fine)
    dark = dark_reading(terminals, fine)
    coarse = terminals.lsb_us(fine).max() > terminals.nominal.scatter_us.max()
    if calibrate and coarse and half > 1:
        dark = _offsets(terminals, positive, singles, dark, fine)
    return np.abs(singles - dark[:, None, :]), dark


def _likely(terminals: Terminals, values: np.ndarray, fine: bool) -> np.ndarray:
    """Return what SET devices most likely conduct: their reads and what is nominal, weighted.

    A read and its offset are rounded by a step of the ADC; devices spread about the nominal one.
    """
    nominal = terminals.nominal
    spread = nominal.set_spread_us**2
    rounding = terminals.lsb_us(fine)[:, None, None] ** 2 / 6
    total = np.maximum(spread + rounding, np.finfo(np.float32).tiny)
    weight = np.where(rounding > 0, spread / total, 1.0).astype(np.float32)
    return np.asarray(nominal.set_us + weight * (values - nominal.set_us), dtype=np.float32)


def _offsets(
    terminals: Terminals, positive: np.ndarray, singles: np.ndarray, dark: np.ndarray, fine: bool
) -> np.ndarray:
    """Return every column's offset from sums, which no rounding of one code hides, (tile, column).

    What a cell's devices of one polarity read one by one, `singles`, less what they read together
    is an offset for each but one of them, and the roundings of all these reads differ from row
    to row.  `dark` counts by the variance of its one rounding.
    """
    count = len(singles)
    all_of_them = 2**count - 1
    select = np.where(positive, all_of_them, all_of_them << count).astype(np.uint8)
    together = terminals.read_rows(np.arange(terminals.shape[1]), select, fine)
    offset = (singles.sum(axis=0) - together) / (count - 1)
    used = terminals.targets != 0
    weight = (count + 1) / (count - 1) ** 2
    total = np.where(used, offset, 0).sum(axis=1) + weight * dark
    return np.asarray(total / (used.sum(axis=1) + weight), dtype=np.float32)


def _allocate(
    terminals: Terminals, positive: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each cell's analog device, its SET ones and its aim; RESET the devices beyond it."""
    half = terminals.devices // 2
    rest = np.abs(terminals.targets)
    order = np.argsort(-values, axis=0, kind="stable")
    offset = np.where(positive, 0, half).astype(np.uint8)
    device = np.full(terminals.shape, NONE, dtype=np.uint8)
    filled = np.zeros(terminals.shape, dtype=np.uint8)
    for rank in range(half):
        index = order[rank].astype(np.uint8)
        g = np.take_along_axis(values, order[rank][None], axis=0)[0]
        found = device != NONE
        surplus = np.where(found & (terminals.targets != 0), index + offset, NONE)
        if rank > 0:  # even with no such cell: pulses are numbered, and neighbours must not count
            terminals.pulse(surplus.astype(np.uint8), np.full(terminals.shape, RESET, np.uint8))
        last = rank == half - 1
        fits = ~found & ((rest <= g) | last)
        device[fits] = (index + offset)[fits]
        filled[~found & ~fits] |= np.left_shift(np.uint8(1), index + offset)[~found & ~fits]
        rest = np.where(found | fits, rest, rest - g)
    return device, filled, rest
