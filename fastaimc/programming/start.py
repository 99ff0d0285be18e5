"""Which device of a cell is analog, and the state in which a method finds it.

All devices of a cell but one are SET or RESET; the one left is analog.
"""

from __future__ import annotations

import numpy as np

from fastaimc.config.device import CODES
from fastaimc.engine import Engine
from fastaimc.parameters import F32, mask_dtype
from fastaimc.programming.counted import prepare_counted
from fastaimc.programming.method import State
from fastaimc.programming.plan import NONE, parts
from fastaimc.terminals import Terminals

SET, RESET = 0, CODES - 1  # amplitude codes
LEVELS = 64  # levels of an amplitude between two codes
Mask = np.uint8 | np.uint16
ALLOCATIONS = ("two_device", "max_fill", "max_fill_read")


def dark_reading(terminals: Terminals, fine: bool) -> np.ndarray:
    """Return what every column reports when nothing conducts, (tile, column), µS: one row read."""
    nothing = np.zeros((1, 1, 1), dtype=mask_dtype(terminals.devices))
    return terminals.read_rows(np.zeros(1, dtype=np.int64), nothing, fine)[:, 0]


def prepare(
    terminals: Terminals,
    engine: Engine,
    allocation: str,
    *,
    fine: bool,
    settle: float,
    shoot: bool,
    calibrate: bool,
    rest: bool = False,
) -> State:
    """SET and RESET all devices, choose each cell's analog one and bring it near its aim.

    ``two_device`` (TDP; Vasilopoulos et al., IEEE TED 2023): all devices of the target's polarity
    are SET and read; from the largest on they stay SET while they fit into the target, the next
    one is analog, the rest is RESET.  ``max_fill`` does the same with the nominal SET conductance
    instead of reads, and so with devices in their order.  ``max_fill_read`` also takes them in
    their order and reads all but the last one, which is analog wherever the others stay SET; where
    devices differ in significance, it is ``two_device``.  Devices of counted pulses: see
    `prepare_counted`.

    Parameters
    ----------
    settle : float
        Wait before these reads, in units of the time until evaluation; the nominal drift after
        them is allowed for.
    shoot : bool
        Pulse the analog device once with the nominal code of its aim; otherwise it stays in RESET.
    calibrate : bool
        Find each column's offset from sums of the reads of SET devices, if there are such reads
        and a step of the ADC is coarser than a pulse's scatter; otherwise from a dark reading.
    rest : bool
        Also return `rest`: what the analog device is to hold, with the sign of its polarity.

    Returns
    -------
    dict of ndarray
        What the engine's `gradient_pulses` takes of cells; where devices were read also `dark`:
        the offset of every column, (tile, column), µS.
    """
    if terminals.nominal.counted:
        return prepare_counted(terminals, shoot)
    _initialise(terminals)
    dark: State = {}
    if allocation != "max_fill":
        count = read_devices(terminals) if allocation == "max_fill_read" else terminals.devices // 2
        terminals.wait(seconds := settle * terminals.t_eval_s)
        values, dark["dark"] = _set_values(terminals, fine, calibrate, count)
        values /= terminals.nominal.fading(seconds, terminals.t_eval_s)[0]
        values[:count] = _likely(terminals, values[:count], fine)
    else:
        values = F32(terminals.nominal.set_us) * factors(terminals)
    state, surplus = allocate(terminals, engine, values, rest)
    del values  # eight bytes a cell
    return dark | first_pulse(terminals, state, surplus, shoot)


def first_pulse(terminals: Terminals, state: State, surplus: np.ndarray, shoot: bool) -> State:
    """RESET the surplus devices and pulse the analog ones, as `prepare`; complete the state."""
    _reset(terminals, surplus)
    start = state["aim"] if shoot else np.full_like(state["aim"], RESET)
    terminals.pulse(state["device"], start)
    state["level"] = np.multiply(start, LEVELS, dtype=np.int16)
    state["swing"] = np.zeros(terminals.shape, dtype=np.int8)
    state["fire"] = np.full(terminals.shape, NONE, dtype=np.uint8)
    state["code"] = state["aim"].copy()
    return state


def _initialise(terminals: Terminals) -> None:
    """SET the devices that add to a cell's target and RESET the others."""
    half = terminals.devices // 2
    device = np.empty(terminals.shape, dtype=np.uint8)
    code = np.empty(terminals.shape, dtype=np.uint8)
    for index in range(terminals.devices):
        for part in parts(terminals.shape) if index % half == 0 else ():
            targets = terminals.targets[part]
            adds = targets > 0 if index < half else targets < 0
            code[part] = _choice(adds, np.uint8(SET), np.uint8(RESET))
        device[...] = index
        terminals.pulse(device, code)


def _reset(terminals: Terminals, surplus: np.ndarray) -> None:
    """RESET the devices beyond the analog one; even with no such cell, as pulses are numbered."""
    for device in surplus:
        terminals.pulse(device, np.full(terminals.shape, RESET, dtype=np.uint8))


def _of_polarity(terminals: Terminals, devices: int) -> np.ndarray:
    """Select devices of each target's polarity: `devices` has a bit for each of the first half."""
    half = terminals.devices // 2
    mask = mask_dtype(terminals.devices)
    select = np.empty(terminals.shape, dtype=mask)
    for part in parts(terminals.shape):
        adds = terminals.targets[part] >= 0
        select[part] = _choice(adds, mask(devices), mask(devices << half))
    return select


def _choice(condition: np.ndarray, yes: Mask, no: Mask) -> np.ndarray:
    """Return what `np.where` does of two small integers, in a tenth of its time; sums wrap."""
    out = condition.view(np.uint8) * type(yes)((int(yes) - int(no)) % (np.iinfo(yes.dtype).max + 1))
    out += no
    return out


def read_devices(terminals: Terminals) -> int:
    """Return how many devices of a polarity must be read if they are filled in their order."""
    return terminals.devices // 2 - (0 if terminals.significance.size else 1)


def _set_values(
    terminals: Terminals, fine: bool, calibrate: bool, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Read `count` devices of each target's polarity alone, (device, tile, row, column), µS.

    The others have 0.  The other array is the offset of every column, taken off already.
    """
    rows = np.arange(terminals.shape[1])
    values = np.zeros((terminals.devices // 2, *terminals.shape), dtype=np.float32)
    singles = values[:count]
    for index in range(count):
        singles[index] = terminals.read_rows(rows, _of_polarity(terminals, 1 << index), fine)
    dark = dark_reading(terminals, fine)
    scatter = terminals.nominal.scatter_us.max() * factors(terminals).min()
    coarse = terminals.lsb_us(fine).max() > scatter
    if calibrate and coarse and count > 1:
        dark = _offsets(terminals, singles, dark, fine)
    singles -= dark[:, None, :]
    np.abs(singles, out=singles)
    return values, dark


def _likely(terminals: Terminals, values: np.ndarray, fine: bool) -> np.ndarray:
    """Return what SET devices most likely add to cells: reads and what is nominal, weighted.

    The reads are changed in place.  A read and its offset are rounded by a step of the ADC;
    devices spread about the nominal one.
    """
    nominal, own = terminals.nominal, factors(terminals)[: len(values)]
    spread = nominal.set_spread_us**2 * own**2
    rounding = terminals.lsb_us(fine)[:, None, None] ** 2 / 6
    total = np.maximum(spread + rounding, np.finfo(np.float32).tiny)
    weight = np.where(rounding > 0, spread / total, 1.0).astype(np.float32)
    expected = F32(nominal.set_us) * own
    values -= expected
    values *= weight
    values += expected
    return values


def factors(terminals: Terminals) -> np.ndarray:
    """Return the significance of the devices of a polarity, (device, 1, 1, 1), float32."""
    half = terminals.devices // 2
    own = terminals.significance[:half] if terminals.significance.size else np.ones(half, F32)
    return own.reshape(half, 1, 1, 1)


def _offsets(terminals: Terminals, singles: np.ndarray, dark: np.ndarray, fine: bool) -> np.ndarray:
    """Return every column's offset from sums, which no rounding of one code hides, (tile, column).

    What a cell's devices of one polarity read one by one, `singles`, less what they read together
    is an offset for each but one of them, and the roundings of all these reads differ from row
    to row.  `dark` counts by the variance of its one rounding.
    """
    count = len(singles)
    select = _of_polarity(terminals, 2**count - 1)
    together = terminals.read_rows(np.arange(terminals.shape[1]), select, fine)
    weight = (count + 1) / (count - 1) ** 2
    total, number = weight * dark.astype(np.float64), np.full(dark.shape, weight)
    for part in parts(terminals.shape):
        offset = (singles[(slice(None), *part)].sum(axis=0) - together[part]) / (count - 1)
        used = terminals.targets[part] != 0
        total += np.where(used, offset, 0).sum(axis=1, dtype=np.float64)
        number += used.sum(axis=1)
    return np.asarray(total / number, dtype=np.float32)


def allocate(
    terminals: Terminals, engine: Engine, values: np.ndarray, rest: bool = False
) -> tuple[State, np.ndarray]:
    """Return each cell's analog device, its SET ones and its aim; and the devices to RESET.

    `values` is what the devices of each target's polarity add, float32, µS: (device, tile, row,
    column), or (device, 1, 1, 1) where all cells have the same.
    """
    shape = terminals.shape
    device, filled, aim = (np.empty(shape, dtype=np.uint8) for _ in range(3))
    surplus = np.empty((len(values) - 1, *shape), dtype=np.uint8)
    left = np.empty(shape if rest else (0, 0, 0), dtype=np.float32)
    curve = terminals.nominal.conductance_us
    tables = (values, curve, terminals.significance)
    engine.allocate(terminals.targets, *tables, device, filled, aim, surplus, left)
    state: State = {"device": device, "filled": filled, "aim": aim}
    if rest:
        state["rest"] = left
    return state, surplus
