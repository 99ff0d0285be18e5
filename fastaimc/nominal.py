"""The nominal programming curve: what is known of a device's kind, not of a device."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fastaimc.config import AccumulativeSet, CoreConfig, MeltQuench, ProgrammedState
from fastaimc.config.core import Counted
from fastaimc.config.device import CODES
from fastaimc.config.incremental import trajectory

SMALLEST_STEP = 1e-4  # of the range: where a nominal device has come as far as pulses take it


@dataclass(frozen=True, slots=True)
class Nominal:
    """Conductance, slope and scatter that the typical device has for each amplitude code.

    Of a device of counted pulses the 256 conductances are places in its range, and the scatter is
    that of one pulse.

    Parameters
    ----------
    conductance_us : ndarray
        (256,), float32, falling with the code.
    slope_us : ndarray
        |dG/dcode|, (256,), float32.
    scatter_us : ndarray
        Standard deviation of the conductance from pulse to pulse, with the rounding to a code,
        (256,), float32.
    drift_exponent : ndarray
        Mean exponent of the drift after each code, (256,), float64.
    t_on_s : float
        Age at which drift begins.
    set_spread_us : float
        Standard deviation of the SET conductance from device to device.
    change_us : ndarray
        Of a device of counted pulses, at each conductance: mean and standard deviation of what a
        pulse up adds and one down takes, (4, 256), float32; of others (4, 0).
    pulses : ndarray
        Pulses up that take the mean device from RESET to each conductance, (256,) or (0,), int64.
    """

    conductance_us: np.ndarray
    slope_us: np.ndarray
    scatter_us: np.ndarray
    drift_exponent: np.ndarray
    t_on_s: float
    set_spread_us: float
    change_us: np.ndarray = field(default_factory=lambda: np.zeros((4, 0), dtype=np.float32))
    pulses: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @classmethod
    def of(cls, config: CoreConfig) -> Nominal:
        """Return what is known of a core's kind of device; of one only written, nothing.

        Examples
        --------
        >>> curve = Nominal.of(CoreConfig())
        >>> float(curve.conductance_us[0].round(1))
        14.0
        >>> round(curve.set_spread_us, 3)  # 15 % of 14 µS
        2.1
        """
        p, drift = config.device, config.drift
        t_on_s = drift.t_on_s if drift else 1.0
        if isinstance(p, ProgrammedState):
            empty = np.zeros(0, dtype=np.float32)
            return cls(empty, empty, empty, empty, t_on_s, 0.0)
        if not isinstance(p, MeltQuench):
            return _of_counted(config, p, t_on_s)
        currents = p.currents_ua()
        s = 1 / (1 + np.exp(-(currents - p.centre_ua) / p.width_ua))
        g = p.g_set_us * 10 ** (-p.decades * s)
        slope = g * p.decades * np.log(10.0) * s * (1 - s) / p.width_ua
        jitter = np.hypot(p.jitter_ua, p.current_step_ua / np.sqrt(12))
        scatter = np.hypot(slope * jitter, p.floor_us)
        return cls(
            conductance_us=g.astype(np.float32),
            slope_us=(slope * p.current_step_ua).astype(np.float32),
            scatter_us=scatter.astype(np.float32),
            drift_exponent=drift.mean(g / config.state_scale_us) if drift else np.zeros(CODES),
            t_on_s=t_on_s,
            set_spread_us=p.g_set_spread * p.g_set_us,
        )

    def fading(self, age_s: float, until_s: float) -> np.ndarray:
        """Return how much more each code's device conducts at an age than `until_s` later.

        ``((age + until) / age) ** nu`` with the mean exponent, (256,), float32.
        """
        age_s = max(age_s, self.t_on_s)
        gain = ((age_s + until_s) / age_s) ** self.drift_exponent
        return np.asarray(gain, dtype=np.float32)

    @property
    def counted(self) -> bool:
        """Whether codes are counts of pulses, and not amplitudes."""
        return bool(self.change_us.size)

    @property
    def set_us(self) -> float:
        """Conductance after SET."""
        return float(self.conductance_us[0])


def _of_counted(config: CoreConfig, device: Counted, t_on_s: float) -> Nominal:
    """Return what is known of a kind of device that takes counted pulses."""
    up_mean, up_std, down_mean, down_std = device.steps().astype(np.float64)
    if isinstance(device, AccumulativeSet):
        up_mean, up_std = trajectory(device)
    width = device.high_us - device.low_us
    rising = np.linspace(device.low_us, device.high_us, len(up_mean))
    g = np.linspace(device.high_us, device.low_us, CODES)
    table = (np.maximum(up_mean, 0), up_std, np.maximum(-down_mean, 0), down_std)
    change = np.array([np.interp(g, rising, row) for row in table])
    way = [device.low_us]
    while len(way) < 2**16 and way[-1] < device.high_us:
        step = float(np.interp(way[-1], rising, table[0]))
        if step < SMALLEST_STEP * width:
            break
        way.append(way[-1] + step)
    pulses = np.rint(np.interp(g, way, np.arange(len(way)))).astype(np.int64)
    drift = config.drift
    both = change[1] if not change[2].any() else (change[1] + change[3]) / 2
    return Nominal(
        conductance_us=g.astype(np.float32),
        slope_us=np.full(CODES, width / (CODES - 1), dtype=np.float32),
        scatter_us=both.astype(np.float32),
        drift_exponent=drift.mean(g / config.state_scale_us) if drift else np.zeros(CODES),
        t_on_s=t_on_s,
        set_spread_us=0.0,
        change_us=change.astype(np.float32),
        pulses=pulses,
    )
