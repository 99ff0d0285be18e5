"""The nominal programming curve: what is known of a device's kind, not of a device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastaimc.config import CoreConfig, ProgrammedState
from fastaimc.config.device import CODES


@dataclass(frozen=True, slots=True)
class Nominal:
    """Conductance, slope and scatter that the typical device has for each amplitude code.

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
    """

    conductance_us: np.ndarray
    slope_us: np.ndarray
    scatter_us: np.ndarray
    drift_exponent: np.ndarray
    t_on_s: float
    set_spread_us: float

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
    def set_us(self) -> float:
        """Conductance after SET."""
        return float(self.conductance_us[0])
