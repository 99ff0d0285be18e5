"""Devices that take counted pulses: each moves the conductance by a step from where it is.

A code is a count with a sign: n SET pulses, or -n RESET pulses that each take a step back; -128 is
one full RESET.  Conductances in µS.  Each default names its source; the word *assumption* marks a
number that no public source gives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fastaimc.errors import ConfigError, check_number
from fastaimc.parameters import F32, IncrementParameters

POINTS = 257  # of a table over a device's range: an exponential step is off by 1e-4 of itself
FULL_RESET = -128  # the code of a RESET that leaves nothing of what was
MOST = 127  # pulses of one code


def positions() -> np.ndarray:
    """Return where in its range, from 0 to 1, a table's points see a device, (257,)."""
    return np.linspace(0.0, 1.0, POINTS)


def counted(code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pulses up and down, full RESETs with them, that codes of counts stand for."""
    count = np.ascontiguousarray(code).view(np.int8).astype(np.int64)
    down = np.where(count == FULL_RESET, 1, np.maximum(-count, 0))
    return np.maximum(count, 0), down


def _check_range(low_us: float, high_us: float) -> None:
    check_number("device.low_us", low_us, least=0)
    check_number("device.high_us", high_us, above=low_us)


def _check_spreads(device: object, *names: str) -> None:
    for name in names:
        # a normal from 32 bits ends at 6.3 standard deviations; a step is cut at zero
        check_number(f"device.{name}", getattr(device, name), least=0, most=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccumulativeSet:
    """Phase-change memory under SET pulses of one amplitude, which crystallise a little more each.

    Pulse p after RESET has a memory ``P = exp(-p / memory_pulses)`` and changes the conductance G
    by a normal number of mean ``slope G + mean + mean_memory P`` and standard deviation
    ``std_slope G + std + std_memory P``.  The only way back is a full RESET.  Source of all numbers
    but the spreads over devices: Nandakumar et al., J. Appl. Phys. 124, 152135 (2018).
    """

    low_us: float = 0.1  # Nandakumar et al., 2018
    high_us: float = 12.0  # Nandakumar et al., 2018
    slope: float = -0.084  # Nandakumar et al., 2018
    mean_us: float = 0.880  # Nandakumar et al., 2018
    mean_memory_us: float = 1.40  # Nandakumar et al., 2018
    std_slope: float = 0.091  # Nandakumar et al., 2018
    std_us: float = 0.260  # Nandakumar et al., 2018
    std_memory_us: float = 2.15  # Nandakumar et al., 2018
    memory_pulses: float = 2.6  # Nandakumar et al., 2018
    reset_us: float = 0.1  # Nandakumar et al., 2018
    reset_std_us: float = 0.01  # Nandakumar et al., 2018
    step_spread: float = 0.0  # assumption: std over devices of a factor on all changes; none
    high_spread: float = 0.0  # assumption: std over devices of high_us, a part of it; none

    def __post_init__(self) -> None:
        _check_range(self.low_us, self.high_us)
        check_number("device.slope", self.slope, least=-1, most=1)
        for name in ("mean_us", "mean_memory_us", "std_slope", "std_us", "std_memory_us"):
            check_number(f"device.{name}", getattr(self, name), least=0)
        check_number("device.memory_pulses", self.memory_pulses, above=0)
        check_number("device.reset_us", self.reset_us, least=0, most=self.high_us)
        check_number("device.reset_std_us", self.reset_std_us, least=0)
        _check_spreads(self, "step_spread", "high_spread")

    def steps(self) -> np.ndarray:
        """Return mean and standard deviation of a SET pulse and of one back, (4, 257), float32."""
        g = self.low_us + positions() * (self.high_us - self.low_us)
        nothing = np.zeros(POINTS)
        up = (self.slope * g + self.mean_us, self.std_slope * g + self.std_us)
        return np.array([*up, nothing, nothing], dtype=np.float32)

    def parameters(self) -> IncrementParameters:
        """Return the rest of the device as the engines take it."""
        return IncrementParameters(
            low_us=F32(self.low_us),
            high_us=F32(self.high_us),
            low_spread=F32(0),
            high_spread=F32(self.high_spread * self.high_us),
            step_spread=F32(self.step_spread),
            asymmetry_spread=F32(0),
            reset_us=F32(self.reset_us),
            reset_std_us=F32(self.reset_std_us),
            memory_rate=F32(1.0 / self.memory_pulses),
            mean_memory_us=F32(self.mean_memory_us),
            std_memory_us=F32(self.std_memory_us),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftBounds:
    """A device whose steps shrink in proportion to what is left to the bound ahead.

    With u from 0 to 1 in the device's own range, a pulse up takes ``2 step (1 - u)`` and one down
    ``2 step u`` of the nominal range, each times ``1 + jitter N(0, 1)`` (aihwkit, SoftBoundsDevice
    with multiplicative noise, whose weights from w_min to w_max are the range here).
    """

    low_us: float = 0.1  # assumption
    high_us: float = 20.0  # assumption
    step: float = 1 / 1200  # aihwkit: dw_min = 0.001 of w_max - w_min = 1.2, in mid-range
    jitter: float = 0.3  # aihwkit: dw_min_std
    step_spread: float = 0.3  # aihwkit: dw_min_dtod
    asymmetry_spread: float = 0.01  # aihwkit: up_down_dtod
    bound_spread: float = 0.15  # aihwkit: w_max_dtod = 0.3 of w_max, which is half a range

    def __post_init__(self) -> None:
        _check_range(self.low_us, self.high_us)
        _check_stepped(self)

    def steps(self) -> np.ndarray:
        """Return mean and standard deviation of pulses up and down, (4, 257), float32, µS."""
        u = positions()
        return _with_jitter(self, 2 * self.step * (1 - u), 2 * self.step * u)

    def parameters(self) -> IncrementParameters:
        """Return the rest of the device as the engines take it."""
        return _stepped(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExponentialStep:
    """A device whose steps fall off exponentially towards the bound ahead.

    With u from 0 to 1 in the device's own range and ``z = a (2 u - 1) + b``, a pulse up takes
    ``step max(1 - a_up exp(gamma_up z), 0)`` of the nominal range and one down
    ``step max(1 - a_down exp(-gamma_down z), 0)``, each times ``1 + jitter N(0, 1)`` (aihwkit,
    ExpStepDevice, with its defaults).
    """

    low_us: float = 0.1  # assumption
    high_us: float = 20.0  # assumption
    step: float = 1 / 1200  # aihwkit: dw_min = 0.001 of w_max - w_min = 1.2
    a_up: float = 0.00081  # aihwkit
    a_down: float = 0.36833  # aihwkit
    gamma_up: float = 12.44625  # aihwkit
    gamma_down: float = 12.78785  # aihwkit
    a: float = 0.244  # aihwkit
    b: float = 0.2425  # aihwkit
    jitter: float = 0.3  # aihwkit: dw_min_std
    step_spread: float = 0.3  # aihwkit: dw_min_dtod
    asymmetry_spread: float = 0.01  # aihwkit: up_down_dtod
    bound_spread: float = 0.15  # aihwkit: w_max_dtod = 0.3 of w_max, which is half a range

    def __post_init__(self) -> None:
        _check_range(self.low_us, self.high_us)
        _check_stepped(self)
        for name in ("a_up", "a_down", "gamma_up", "gamma_down", "a", "b"):
            check_number(f"device.{name}", getattr(self, name), least=-100, most=100)
        up, down = self._shapes()
        if not (up[0] > 0 and down[-1] > 0):
            raise ConfigError(
                "device must take a step up at its lower bound and down at its upper one, got "
                f"{up[0]:g} and {down[-1]:g} of a step: lower a_up or a_down"
            )

    def _shapes(self) -> tuple[np.ndarray, np.ndarray]:
        z = self.a * (2 * positions() - 1) + self.b
        up = 1 - self.a_up * np.exp(self.gamma_up * z)
        down = 1 - self.a_down * np.exp(-self.gamma_down * z)
        return np.maximum(up, 0), np.maximum(down, 0)

    def steps(self) -> np.ndarray:
        """Return mean and standard deviation of pulses up and down, (4, 257), float32, µS."""
        up, down = self._shapes()
        return _with_jitter(self, self.step * up, self.step * down)

    def parameters(self) -> IncrementParameters:
        """Return the rest of the device as the engines take it."""
        return _stepped(self)


def _check_stepped(device: SoftBounds | ExponentialStep) -> None:
    check_number("device.step", device.step, above=0, most=1)
    check_number("device.jitter", device.jitter, least=0)
    _check_spreads(device, "step_spread", "asymmetry_spread", "bound_spread")


def _with_jitter(
    device: SoftBounds | ExponentialStep, up: np.ndarray, down: np.ndarray
) -> np.ndarray:
    """Return steps in parts of the range as tables in µS."""
    width = device.high_us - device.low_us
    steps = np.array([up, device.jitter * up, -down, device.jitter * down]) * width
    return steps.astype(np.float32)


def _stepped(device: SoftBounds | ExponentialStep) -> IncrementParameters:
    spread = device.bound_spread * (device.high_us - device.low_us)
    return IncrementParameters(
        low_us=F32(device.low_us),
        high_us=F32(device.high_us),
        low_spread=F32(spread),
        high_spread=F32(spread),
        step_spread=F32(device.step_spread),
        asymmetry_spread=F32(device.asymmetry_spread),
        reset_us=F32(device.low_us),
        reset_std_us=F32(0),
        memory_rate=F32(0),
        mean_memory_us=F32(0),
        std_memory_us=F32(0),
    )


def has_memory(device: object) -> bool:
    """Whether a device's steps depend on the pulses since its last RESET."""
    return isinstance(device, AccumulativeSet) and (
        device.mean_memory_us > 0 or device.std_memory_us > 0
    )


def trajectory(device: AccumulativeSet) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of a SET pulse along the mean device's way up, (2, 257).

    The memory at each conductance is the one with which the mean device comes there.
    """
    g, memory, at = device.reset_us, 1.0, []
    while memory > 1e-6:
        at.append((g, memory := memory * math.exp(-1.0 / device.memory_pulses)))
        mean = device.slope * g + device.mean_us + device.mean_memory_us * memory
        g = min(max(g + mean, device.low_us), device.high_us)
    grid = device.low_us + positions() * (device.high_us - device.low_us)
    kept = np.interp(grid, [each[0] for each in at], [each[1] for each in at])
    mean, std = device.steps()[:2].astype(np.float64)
    return mean + device.mean_memory_us * kept, std + device.std_memory_us * kept
