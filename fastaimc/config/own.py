"""A user's own device, as a class in NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fastaimc.config.incremental import POINTS, positions
from fastaimc.errors import ConfigError, InputError, check_number

SPREADS = 4  # normal numbers that belong to a device for life
NODES = 9  # of a Gauss-Hermite quadrature over a pulse's noise


class DeviceModel(Protocol):
    """What a class in NumPy must offer to be a device.

    Attributes
    ----------
    low_us, high_us : float
        Range of the nominal device, µS; a full RESET leaves every device at `low_us`.
    """

    low_us: float
    high_us: float

    def pulse(
        self, conductance: np.ndarray, up: np.ndarray, spread: np.ndarray, noise: np.ndarray
    ) -> np.ndarray:
        """Return what n devices conduct after one more pulse.

        Parameters
        ----------
        conductance : ndarray
            Before it, (n,), float64, µS.
        up : ndarray
            Whether it is a SET pulse, (n,), bool; else it is a RESET pulse of one step.
        spread : ndarray
            Four standard normal numbers of each device, always the same ones, (4, n): from which
            its own parameters follow.  Of the nominal device all are 0.
        noise : ndarray
            A standard normal number of this pulse, (n,).

        Returns
        -------
        ndarray
            (n,), finite; what is below 0 becomes 0.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonDevice:
    """A user's own device, in NumPy: slower than a table, and free.

    Parameters
    ----------
    model
        An object after `DeviceModel`.  A config as JSON, or of a loaded file, has its name instead
        and can be read and evaluated, but not be programmed.

    Examples
    --------
    >>> class Linear:
    ...     low_us, high_us = 0.1, 10.0
    ...
    ...     def pulse(self, conductance, up, spread, noise):
    ...         step = 0.2 * (1 + 0.1 * spread[0]) * (1 + 0.3 * noise)
    ...         return np.clip(conductance + np.where(up, step, -step), 0.1, 10.0)
    >>> PythonDevice(model=Linear()).high_us
    10.0
    """

    model: DeviceModel | str

    def __post_init__(self) -> None:
        if isinstance(self.model, str):
            return
        if isinstance(self.model, type) or not callable(getattr(self.model, "pulse", None)):
            raise ConfigError(
                "device.model must be an object with low_us, high_us and "
                f"pulse(conductance, up, spread, noise), got {self.model!r}"
            )
        for name in ("low_us", "high_us"):
            least = 0 if name == "low_us" else None
            check_number(f"device.model.{name}", getattr(self.model, name, None), least=least)
        check_number("device.model.high_us", self.model.high_us, above=self.model.low_us)

    @property
    def name(self) -> str:
        """Module and class of the model."""
        if isinstance(self.model, str):
            return self.model
        return f"{type(self.model).__module__}:{type(self.model).__qualname__}"

    @property
    def low_us(self) -> float:
        """Lower end of the nominal range."""
        return self._present().low_us

    @property
    def high_us(self) -> float:
        """Upper end of the nominal range."""
        return self._present().high_us

    def _present(self) -> DeviceModel:
        if isinstance(self.model, str):
            raise ConfigError(
                f"device.model must be an object to be programmed, got the name {self.model!r}: "
                "a file or JSON does not hold the class"
            )
        return self.model

    def after(
        self, conductance: np.ndarray, up: np.ndarray, spread: np.ndarray, noise: np.ndarray
    ) -> np.ndarray:
        """Return what `model.pulse` does, checked: (n,), float64.

        Raises
        ------
        InputError
            For another shape, or what is not finite.
        """
        found = np.asarray(self._present().pulse(conductance, up, spread, noise))
        label = f"device.model.pulse ({self.name})"
        if found.shape != conductance.shape or found.dtype.kind not in "fiu":
            raise InputError(
                f"{label} must return real numbers of shape {conductance.shape}, got "
                f"{found.dtype} of shape {found.shape}"
            )
        if not np.isfinite(found).all():
            at = int(np.flatnonzero(~np.isfinite(found))[0])
            raise InputError(
                f"{label} must return finite conductances, got {found[at]} after "
                f"{conductance[at]:g} µS and a pulse {'up' if up[at] else 'down'}"
            )
        return found.astype(np.float64)

    def steps(self) -> np.ndarray:
        """Return mean and standard deviation of the nominal device's pulses, (4, 257), float32.

        By quadrature over the noise of a pulse.
        """
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        weights = weights / weights.sum()
        g = self.low_us + positions() * (self.high_us - self.low_us)
        nominal, out = np.zeros((SPREADS, POINTS)), []
        for up in (True, False):
            way = np.full(POINTS, up)
            ends = [self.after(g, way, nominal, np.full(POINTS, node)) for node in nodes]
            change = np.maximum(ends, 0) - g
            mean = weights @ change
            std = np.sqrt(np.maximum(weights @ (change - mean) ** 2, 0))
            out += [np.maximum(mean, 0) if up else np.minimum(mean, 0), std]
        return np.array(out, dtype=np.float32)
