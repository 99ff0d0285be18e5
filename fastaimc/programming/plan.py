"""What methods share: the step of a pulse, waiting, and sending the pulses chosen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fastaimc.config.device import CODES
from fastaimc.errors import ConfigError, check_integer, check_number
from fastaimc.parameters import F32, StepParameters
from fastaimc.programming.method import State
from fastaimc.terminals import Terminals

NONE = 255  # no device
CELLS_AT_A_TIME = 1 << 18
AGE = 2.0  # typical age of a cell when it is read, in waits: most were not pulsed in the last round


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
        Largest change of the amplitude, as a fraction of its range; counted pulses have no other
        bound than what a code can say.
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
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, StepParameters]:
        """Return curve, scatter, significance, changes and iteration `index`'s step."""
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
        tables = (nominal.conductance_us, nominal.scatter_us)
        return *tables, terminals.significance, nominal.change_us, parameters


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


def wait_for(method: Schedule, terminals: Terminals, index: int) -> tuple[np.float32, np.ndarray]:
    """Wait before the reads of iteration `index`; return what cells are to show then.

    That is the target and, on top, what the nominal device will lose by drift until the
    evaluation: of the analog device at its aim, and of SET ones for the rest of the target.

    Returns
    -------
    tuple
        `gain` and `ahead` (256,) as for the engine's `gradient_pulses`.
    """
    final = index >= method.iterations - method.final_passes
    seconds = terminals.t_eval_s * (method.final_delay if final else method.verify_delay)
    terminals.wait(seconds)
    gain = terminals.nominal.fading(AGE * seconds, terminals.t_eval_s)
    ahead = terminals.nominal.conductance_us * (gain - gain[0])
    if terminals.nominal.counted:  # all devices of a polarity hold their shares of the target
        ahead = ahead * F32(terminals.devices // 2)
    return F32(gain[0]), np.asarray(ahead, F32)


def parts(shape: tuple[int, int, int]) -> Iterator[tuple[slice, slice]]:
    """Yield the cells a bounded number of rows at a time, as what is needed meanwhile is large."""
    rows = max(1, CELLS_AT_A_TIME // (shape[0] * shape[2]))
    for low in range(0, shape[1], rows):
        yield slice(None), slice(low, low + rows)


def fire(terminals: Terminals, state: State) -> None:
    """Send the pulses that a method has chosen."""
    terminals.pulse(state["fire"], state["code"])
