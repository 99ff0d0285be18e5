"""What methods share: which device of a cell is analog, the step of a pulse, and waiting.

All devices of a cell but one are SET or RESET; the one left is analog.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fastaimc.config.device import CODES
from fastaimc.errors import ConfigError, check_integer, check_number
from fastaimc.parameters import F32, StepParameters
from fastaimc.programming.method import State
from fastaimc.terminals import Terminals

NONE = 255  # no device
SET, RESET = 0, CODES - 1  # amplitude codes
LEVELS = 64  # levels of an amplitude between two codes
AGE = 2.0  # typical age of a cell when it is read, in waits: most were not pulsed in the last round
ALLOCATIONS = ("two_device", "max_fill")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """When a cell is pulsed, and how far its amplitude moves.

    Parameters
    ----------
    margin, margin_end : float
        Error left alone in the first and in the last iteration (linear in between), in standard
        deviations of a nominal pulse's scatter at the cell's aim.  As long as many tries are left,
        a small margin finds the lucky pulse; the last one is no longer verified.
    kappa : float
        Error left alone, in standard errors of its estimate.
    gain, gain_end : float
        Part of the estimated error that a pulse corrects, by the nominal curve, in the first and
        in the last iteration (geometric in between).
    max_step : float
        Largest change of the amplitude, as a fraction of its range.
    """

    margin: float
    margin_end: float
    kappa: float
    gain: float
    gain_end: float
    max_step: float

    def __post_init__(self) -> None:
        check_number("step.margin", self.margin, least=0)
        check_number("step.margin_end", self.margin_end, least=0)
        check_number("step.kappa", self.kappa, least=0)
        check_number("step.gain", self.gain, above=0, most=2)
        check_number("step.gain_end", self.gain_end, above=0, most=2)
        check_number("step.max_step", self.max_step, above=0, most=1)

    def arguments(
        self, terminals: Terminals, index: int, iterations: int
    ) -> tuple[np.ndarray, np.ndarray, StepParameters]:
        """Return the nominal curve, its scatter and iteration `index`'s step for the engine."""
        nominal = terminals.nominal
        done = index / max(iterations - 1, 1)
        parameters = StepParameters(
            margin=F32(self.margin + done * (self.margin_end - self.margin)),
            kappa=F32(self.kappa),
            gain=F32(self.gain * (self.gain_end / self.gain) ** done),
            max_step=F32(self.max_step * (CODES - 1)),
            steepest=F32(nominal.slope_us.max()),
            devices=F32(terminals.devices),
        )
        return nominal.conductance_us, nominal.scatter_us, parameters


class Schedule(Protocol):
    """A method with a step and a schedule of waits, in units of the time until evaluation."""

    @property
    def iterations(self) -> int:
        """Iterations in all."""

    @property
    def step(self) -> Step:
        """Threshold and step of a pulse."""

    @property
    def verify_delay(self) -> float:
        """Wait before each iteration."""

    @property
    def final_passes(self) -> int:
        """Last iterations, with a wait of their own."""

    @property
    def final_delay(self) -> float:
        """That wait."""


def check_schedule(method: Schedule) -> None:
    """Raise `ConfigError` for a step that is none, or a schedule that cannot be kept."""
    if not isinstance(method.step, Step):
        raise ConfigError(f"step must be a Step, got {method.step!r}")
    check_number("verify_delay", method.verify_delay, least=0)
    check_number("final_delay", method.final_delay, least=0)
    check_integer("final_passes", method.final_passes, 0, 100_000)


def wait_for(method: Schedule, terminals: Terminals, state: State, index: int) -> np.ndarray:
    """Wait before the reads of iteration `index`; return what cells are to show then.

    That is the target and, on top, what the nominal device will lose by drift until the
    evaluation: of the analog device at its aim, and of SET ones for the rest of the target.

    Returns
    -------
    ndarray
        (tile, row, column), float32, µS.
    """
    first_final = method.iterations - method.final_passes
    seconds = terminals.t_eval_s * (
        method.final_delay if index >= first_final else method.verify_delay
    )
    terminals.wait(seconds)
    if index in (0, first_final) or "ahead" not in state:
        gain = terminals.nominal.fading(AGE * seconds, terminals.t_eval_s)
        analog = (terminals.nominal.conductance_us * (gain - gain[0]))[state["aim"]]
        targets = terminals.targets
        state["ahead"] = targets * gain[0] + np.sign(targets) * analog
    return state["ahead"]


def dark_reading(terminals: Terminals, fine: bool) -> np.ndarray:
    """Return what every column reports when nothing conducts, (tile, column), µS: one row read."""
    nothing = np.zeros((1, 1, 1), dtype=np.uint8)
    return terminals.read_rows(np.zeros(1, dtype=np.int64), nothing, fine)[:, 0]


def prepare(terminals: Terminals, allocation: str, fine: bool, settle: float, shoot: bool) -> State:
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

    Returns
    -------
    dict of ndarray
        `device`, `filled`, `level`, `swing` and `aim` as for the engine's `gradient_pulses`, the
        buffers `fire` and `code`, and `rest`: what the analog device is to hold, with the sign of
        its polarity.
    """
    nominal = terminals.nominal
    positive = terminals.targets >= 0
    per_polarity = terminals.devices // 2
    _initialise(terminals, positive)
    if allocation == "two_device":
        terminals.wait(settle * terminals.t_eval_s)
        values = _read_set_devices(terminals, positive, fine)
        values /= nominal.fading(settle * terminals.t_eval_s, terminals.t_eval_s)[0]
    else:
        values = np.full((per_polarity, 1, 1, 1), nominal.set_us, dtype=np.float32)
        values = np.broadcast_to(values, (per_polarity, *terminals.shape))
    device, filled, aim_us = _allocate(terminals, positive, values)
    code = np.rint(nominal.code(aim_us)).astype(np.uint8)
    start = code if shoot else np.full_like(code, RESET)
    terminals.pulse(device, start)
    return {
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


def _read_set_devices(terminals: Terminals, positive: np.ndarray, fine: bool) -> np.ndarray:
    """Read every device of each target's polarity alone, (device, tile, row, column), µS."""
    half = terminals.devices // 2
    rows = np.arange(terminals.shape[1])
    dark = dark_reading(terminals, fine)[:, None, :]
    values = np.empty((half, *terminals.shape), dtype=np.float32)
    for index in range(half):
        select = np.where(positive, 1 << index, 1 << (half + index)).astype(np.uint8)
        values[index] = np.abs(terminals.read_rows(rows, select, fine) - dark)
    return values


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


def fire(terminals: Terminals, state: State) -> None:
    """Send the pulses that a method has chosen."""
    terminals.pulse(state["fire"], state["code"])
