"""The nominal programming curve: what is known of a device's kind, not of a device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastaimc.config import MeltQuench, ProgrammedState


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
    """

    conductance_us: np.ndarray
    slope_us: np.ndarray
    scatter_us: np.ndarray

    @classmethod
    def of(cls, device: MeltQuench | ProgrammedState) -> Nominal:
        """Return the curve of a kind of device; of one that is only written, an empty one.

        Examples
        --------
        >>> curve = Nominal.of(MeltQuench())
        >>> float(curve.conductance_us[0].round(1)), int(curve.code(np.float32(7.0)))
        (14.0, 45)
        """
        if isinstance(device, ProgrammedState):
            empty = np.zeros(0, dtype=np.float32)
            return cls(empty, empty, empty)
        p = device
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
        )

    @property
    def set_us(self) -> float:
        """Conductance after SET."""
        return float(self.conductance_us[0])

    def code(self, conductance_us: np.ndarray) -> np.ndarray:
        """Return the code that nominally reaches a conductance, as a float; clipped to 0...255."""
        return np.interp(
            conductance_us, self.conductance_us[::-1].astype(np.float64), np.arange(255.0, -1, -1)
        )
