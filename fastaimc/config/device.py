"""Phase-change devices: how they answer pulses, drift and fluctuate.

Conductances in µS, currents in µA, times in s.  Each default names its source; the word
*assumption* marks a number that no public source gives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fastaimc.errors import ConfigError, check_number, check_type
from fastaimc.parameters import F32, FitParameters, PulseParameters, StateParameters

CODES = 256  # amplitudes of the pulse generator: 8 bits (assumption: costs under 2 % of error)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFit:
    """A fit over the state x in [0.001, 1], in the form used for HERMES (aihwkit).

    Below `split` it is ``clip(slope * ln x + offset, low, high)``, from `split` on the cubic
    ``c0 + c1 x + c2 x² + c3 x³``.  With `of_log` that is the logarithm of the value, which makes a
    power of x of the first.
    """

    split: float = 2.0  # assumption: beyond all x, so the cubic is not used
    slope: float = 0.0  # assumption: zero for all x, as for what is switched off
    offset: float = 0.0  # assumption: as above
    low: float = 0.0  # assumption: nothing is clipped
    high: float = 1.0  # assumption: nothing is clipped
    cubic: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)  # assumption: as above
    of_log: bool = False  # assumption: of the value itself

    def __post_init__(self) -> None:
        check_type("fit.of_log", self.of_log, bool)
        for name in ("split", "slope", "offset", "low", "high"):
            check_number(f"fit.{name}", getattr(self, name))
        if self.low > self.high:
            raise ConfigError(f"fit.low must be <= fit.high ({self.high}), got {self.low}")
        if not isinstance(self.cubic, tuple) or len(self.cubic) != 4:
            raise ConfigError(f"fit.cubic must be a tuple of 4 numbers, got {self.cubic!r}")
        for value in self.cubic:
            check_number("fit.cubic", value)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the fit at states x, clamped to [0.001, 1]."""
        x = np.clip(x, 1e-3, 1.0)
        logarithmic = np.clip(self.slope * np.log(x) + self.offset, self.low, self.high)
        cubic = np.polynomial.polynomial.polyval(x, self.cubic)
        value = np.where(x < self.split, logarithmic, cubic)
        return np.asarray(np.exp(value) if self.of_log else value)

    def parameters(self) -> FitParameters:
        """Return the fit as the engines take it."""
        head = (self.split, self.slope, self.offset, self.low, self.high)
        return FitParameters(*(F32(value) for value in (*head, *self.cubic, self.of_log)))


ZERO = StateFit()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeltQuench:
    """A device programmed by the amplitude of one melt-quench pulse, which erases history.

    ``log10 G = log10 g_set - decades / (1 + exp(-(I - centre) / width))``.  The shape follows
    Papandreou et al., ISCAS 2011, and Sebastian et al., J. Appl. Phys. 124, 111101 (2018); its
    numbers are assumptions.
    """

    g_set_us: float = 14.0  # assumption: conductance after a SET pulse, at the drift's t_ref
    decades: float = 2.0  # assumption: from SET to RESET
    centre_ua: float = 200.0  # assumption: middle of the steep fall from 150 to 250 µA
    width_ua: float = 12.0  # assumption
    g_set_spread: float = 0.15  # assumption: std over devices of ln g_set
    centre_spread: float = 0.05  # assumption: relative std over devices
    width_spread: float = 0.10  # assumption: relative std over devices
    jitter_ua: float = 1.0  # assumption: scatter from pulse to pulse, as a current
    floor_us: float = 0.05  # assumption: scatter from pulse to pulse, as a conductance
    current_min_ua: float = 100.0  # assumption: amplitude of code 0
    current_max_ua: float = 500.0  # assumption: amplitude of code 255
    decades_spread: float = 0.0  # assumption: relative std over devices; none
    jitter_spread: float = 0.0  # assumption: std over devices of ln jitter; none
    floor_spread: float = 0.0  # assumption: std over devices of ln floor; none
    compliance_ua: float | None = None  # assumption: all currents are delivered; else the largest

    def __post_init__(self) -> None:
        for name in ("g_set_us", "decades", "centre_ua", "width_ua", "current_min_ua"):
            check_number(f"device.{name}", getattr(self, name), above=0)
        for name in ("g_set_spread", "jitter_spread", "floor_spread"):
            check_number(f"device.{name}", getattr(self, name), least=0, most=1)
        for name in ("centre_spread", "width_spread", "decades_spread"):
            # a normal from 32 bits ends at 6.3 standard deviations: 0.15 keeps them positive
            check_number(f"device.{name}", getattr(self, name), least=0, most=0.15)
        for name in ("jitter_ua", "floor_us"):
            check_number(f"device.{name}", getattr(self, name), least=0)
        check_number("device.current_max_ua", self.current_max_ua, above=self.current_min_ua)
        if self.compliance_ua is not None:  # what no longer melts could not be programmed
            least = max(self.current_min_ua, self.knee_ua)
            check_number("device.compliance_ua", self.compliance_ua, above=least)

    @property
    def current_step_ua(self) -> float:
        """Current of one code."""
        return (self.current_max_ua - self.current_min_ua) / (CODES - 1)

    @property
    def knee_ua(self) -> float:
        """Current below which the slow trailing edge of a pulse SETs: 152 µA of the default."""
        return self.centre_ua - 4.0 * self.width_ua

    def currents_ua(self) -> np.ndarray:
        """Return the amplitude of every code as it is delivered, (256,)."""
        asked = self.current_min_ua + self.current_step_ua * np.arange(CODES)
        return asked if self.compliance_ua is None else np.minimum(asked, self.compliance_ua)

    def parameters(self) -> PulseParameters:
        """Return the device as the engines take it."""
        return PulseParameters(
            log_g_set=F32(math.log(self.g_set_us)),
            depth=F32(self.decades * math.log(10.0)),
            centre_ua=F32(self.centre_ua),
            width_ua=F32(self.width_ua),
            g_set_spread=F32(self.g_set_spread),
            centre_spread=F32(self.centre_spread),
            width_spread=F32(self.width_spread),
            jitter_ua=F32(self.jitter_ua),
            floor_us=F32(self.floor_us),
            current_min_ua=F32(self.current_min_ua),
            current_step_ua=F32(self.current_step_ua),
            knee_ua=F32(self.knee_ua),
            decades_spread=F32(self.decades_spread),
            jitter_spread=F32(self.jitter_spread),
            floor_spread=F32(self.floor_spread),
            compliance_ua=F32(math.inf if self.compliance_ua is None else self.compliance_ua),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgrammedState:
    """A device known only by the spread that its programming leaves behind.

    A write of g ends at ``g + std(g / g_scale) * N(0, 1)``, with `std_us` the coefficients of a
    polynomial in the state x, clamped to [0.001, 1].  Nothing can be iterated on it.
    """

    g_scale_us: float = 20.7  # HERMES, two devices (aihwkit, HermesNoiseModel)
    std_us: tuple[float, ...] = (0.0,)  # assumption: exact, as in presets.ideal()

    def __post_init__(self) -> None:
        check_number("device.g_scale_us", self.g_scale_us, above=0)
        if not isinstance(self.std_us, tuple) or not 1 <= len(self.std_us) <= 5:
            raise ConfigError(
                f"device.std_us must be a tuple of 1 to 5 numbers, got {self.std_us!r}"
            )
        for value in self.std_us:
            check_number("device.std_us", value)

    def coefficients(self) -> np.ndarray:
        """Return the polynomial's five coefficients, lowest order first, float32."""
        return np.array(self.std_us + (0.0,) * (5 - len(self.std_us)), dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """``g(t) = g_ref * (max(t, t_on) / t_ref) ** -nu`` with t since the device's last pulse.

    nu = |N(mean(x), std(x))| is one number per device and state (HERMES, one device: aihwkit,
    HermesNoiseModel).  The fits take x = g / 10.35 µS.

    With `redraw` the device of a cell that was pulsed last has the normal of that pulse, keyed by
    its time as a float32: two pulses that float32 tells no time between share an exponent.  The
    other devices, and one pulsed at time zero, have the one they have for life.
    """

    mean: StateFit = StateFit(  # HERMES, one device (aihwkit)
        split=0.0945,
        slope=-0.0387,
        offset=-0.0182,
        low=0.072,
        high=0.13,
        cubic=(0.0736, -0.0126, -0.0436, 0.0),
    )
    std: StateFit = StateFit(  # HERMES, one device (aihwkit)
        split=0.3039,
        slope=-0.0120,
        offset=-0.0023,
        low=0.0124,
        high=0.04,
        cubic=(0.0104, 0.0116, -0.0165, 0.0),
    )
    t_ref_s: float = 20.0  # Joshi et al., Nat. Commun. 11, 2473 (2020): time of the first read
    t_on_s: float = 1e-3  # assumption: drift has not begun before
    t_on_spread: float = 0.0  # assumption: std over devices of ln t_on; none
    redraw: bool = False  # assumption: an exponent is a device's for life

    def __post_init__(self) -> None:
        check_type("drift.mean", self.mean, StateFit)
        check_type("drift.std", self.std, StateFit)
        for name in ("mean", "std"):
            if getattr(self, name).of_log:
                raise ConfigError(
                    f"drift.{name}.of_log must be False: an exponent is fitted itself"
                )
        check_number("drift.t_ref_s", self.t_ref_s, above=0)
        check_number("drift.t_on_s", self.t_on_s, above=0)
        check_number("drift.t_on_spread", self.t_on_spread, least=0, most=3)
        check_type("drift.redraw", self.redraw, bool)

    @property
    def earliest_s(self) -> float:
        """Age at which the drift of the first devices begins: no normal is beyond 6.34."""
        return self.t_on_s * math.exp(-6.34 * self.t_on_spread)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadNoise:
    """1/f read noise, ``std = g * Q(x) * sqrt(ln((window + t_read) / (2 t_read)))``.

    The band that changes from one MVM to the next; Q of HERMES, one device (aihwkit).  With `slow`
    devices also fluctuate from batch to batch, by what the published formula, with the time since
    programming for the window, has beyond that: see `fastaimc.noise`.
    """

    q: StateFit = StateFit(  # HERMES, one device (aihwkit)
        split=0.1591,
        slope=-0.0078,
        offset=0.0038,
        low=0.0179,
        high=0.04,
        cubic=(0.0088, 0.0768, -0.1352, 0.0664),
    )
    t_read_s: float = 512e-9  # HERMES (aihwkit)
    window_s: float = 34e-6  # assumption: a batch of 256 MVMs of 133 ns; slower noise is not fast
    slow: bool = False  # assumption: off, as in the published figures of the fast noise
    spread: float = 0.0  # assumption: std over devices of ln Q, fast and slow noise alike; none
    floor_us: float = 0.0  # assumption: what a device's fast noise is larger by; nothing

    def __post_init__(self) -> None:
        check_type("read_noise.q", self.q, StateFit)
        check_number("read_noise.t_read_s", self.t_read_s, above=0)
        check_number("read_noise.window_s", self.window_s, least=self.t_read_s)
        check_type("read_noise.slow", self.slow, bool)
        check_number("read_noise.spread", self.spread, least=0, most=1)
        check_number("read_noise.floor_us", self.floor_us, least=0)

    @property
    def band(self) -> float:
        """The logarithm in the formula: the width of the band that fluctuates."""
        return math.log((self.window_s + self.t_read_s) / (2.0 * self.t_read_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Devices that no pulse moves, each with these probabilities of its own.

    They drift and fluctuate as others do in their state.
    """

    set_rate: float = 0.0  # assumption: none; stuck at the device's own SET conductance
    reset_rate: float = 0.0  # assumption: none; stuck in RESET
    anywhere_rate: float = 0.0  # assumption: none; uniform between nothing and nominal SET

    def __post_init__(self) -> None:
        names = ("set_rate", "reset_rate", "anywhere_rate")
        for name in names:
            check_number(f"faults.{name}", getattr(self, name), least=0, most=1)
        if (total := sum(getattr(self, name) for name in names)) > 1:
            raise ConfigError(f"faults must have rates that add up to at most 1, got {total:g}")

    def rates(self) -> np.ndarray:
        """Return the rates as the engines take them, (3,), float32."""
        return np.array([self.set_rate, self.reset_rate, self.anywhere_rate], dtype=np.float32)


def state_fits(drift: Drift | None, read_noise: ReadNoise | None) -> np.ndarray:
    """Return the fits of nu's mean and spread and of Q, (3, 10), float32; zero for what is off."""
    fits = (
        drift.mean if drift else ZERO,
        drift.std if drift else ZERO,
        read_noise.q if read_noise else ZERO,
    )
    return np.array([fit.parameters() for fit in fits], dtype=np.float32)


def state_parameters(
    g_scale_us: float, drift: Drift | None, read_noise: ReadNoise | None
) -> StateParameters:
    """Return drift and read noise as the engines take them, beside their fits."""
    return StateParameters(
        inverse_scale=F32(1.0 / g_scale_us),
        noise_band=F32(read_noise.band if read_noise else 0.0),
        inverse_t_ref=F32(1.0 / (drift.t_ref_s if drift else 1.0)),
        t_on_s=F32(drift.t_on_s if drift else 1.0),
        t_on_spread=F32(drift.t_on_spread if drift else 0.0),
        redraw=F32(drift.redraw if drift else False),
        noise_spread=F32(read_noise.spread if read_noise else 0.0),
        noise_floor=F32(read_noise.floor_us / math.sqrt(read_noise.band) if read_noise else 0.0),
    )


__all__ = [
    "CODES",
    "Drift",
    "Faults",
    "MeltQuench",
    "ProgrammedState",
    "ReadNoise",
    "StateFit",
    "state_fits",
    "state_parameters",
]
