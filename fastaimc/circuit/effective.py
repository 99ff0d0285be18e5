"""What a core's cells conduct behind its wires: the estimate, and a kept correction of it.

What the estimate leaves out is small and changes slowly, so it is worked out anew only when the
devices have changed enough to matter: a method that pulses a few cells after every MVM pays for
the estimate alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastaimc.circuit.wires import exact_wires
from fastaimc.config import CoreConfig, Wires
from fastaimc.engine import Engine
from fastaimc.errors import ConfigError
from fastaimc.parameters import WireParameters

TOLERANCE = 1e-6  # of the relaxation, over each output's largest conductance
SWEEPS = 200  # at most; wires that are of use need 3 to 6
KEPT_ERROR = 1e-4  # over the conductances, that a kept correction may have by its own reckoning
# What is left out grows with the third power of the conductances: a change of all by 1 % changes
# it by 3 %.
ORDER = 3.0


@dataclass(frozen=True, slots=True)
class Correction:
    """What the estimate left out of some devices' effective conductances.

    Attributes
    ----------
    plus, minus : ndarray
        The devices that add and those that subtract, then, (tile, row, column), float32, µS.
    value : ndarray
        (tile, row, column), float32, µS.
    """

    plus: np.ndarray
    minus: np.ndarray
    value: np.ndarray

    def stale(self, plus: np.ndarray, minus: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Return the tiles for which it is too old, given the devices now and their estimate.

        Its error is reckoned as its size times the part by which the conductances have changed,
        times `ORDER`.
        """
        moved = size(plus - self.plus) + size(minus - self.minus)
        whole = size(self.plus) + size(self.minus)
        error = ORDER * moved * size(self.value)
        # Written without quotients: a tile may be all zero, or have been.
        old: np.ndarray = (error > KEPT_ERROR * size(mean) * whole) | ((whole == 0) & (moved > 0))
        return old


def size(values: np.ndarray) -> np.ndarray:
    """Return the sum of sizes of every tile, (tile,), float64."""
    total: np.ndarray = np.abs(values).sum(axis=(1, 2), dtype=np.float64)
    return total


def effective(
    engine: Engine,
    wires: Wires,
    unused_rows: int,
    devices: np.ndarray,
    out: tuple[np.ndarray, np.ndarray],
    kept: Correction | None = None,
) -> Correction | None:
    """Write mean and variance of what cells conduct behind their wires.

    Parameters
    ----------
    unused_rows : int
        Rows of the physical array below those of the devices.
    devices : ndarray
        What those that add and those that subtract conduct, and the variances of their reads,
        (4, tile, row, column), float32, µS and µS².
    out : tuple of ndarray
        Mean and variance, (tile, row, column), float32.
    kept : Correction, optional
        An earlier one, used where it is good enough.

    Returns
    -------
    Correction or None
        The one in force; None for the estimate alone, and where it is exact.

    Raises
    ------
    ConfigError
        For wires for which relaxation does not converge.
    """
    plus, minus = devices[:2]
    mean, variance = out
    parameters = wires.parameters(unused_rows)
    plus_variance, minus_variance = devices[2:]
    engine.estimate_wires(plus, minus, plus_variance, minus_variance, parameters, mean, variance)
    if wires.solver == "estimate" or parameters.row == 0 or parameters.column == 0:
        return None
    if not devices[:2].any():  # as in a dark reading: nothing to correct, nothing to keep
        return kept
    stale = np.ones(len(mean), bool) if kept is None else kept.stale(plus, minus, mean)
    if stale.any():
        kept = _solved(engine, wires, parameters, devices, mean, stale, kept)
    assert kept is not None
    mean += kept.value
    return kept


def behind(
    engine: Engine,
    config: CoreConfig,
    select: np.ndarray,
    read: Callable[[np.ndarray, tuple[np.ndarray, np.ndarray]], None],
    out: tuple[np.ndarray, np.ndarray],
    kept: Correction | None = None,
) -> Correction | None:
    """Write what selected devices conduct behind the config's wires; see `effective`.

    `read` writes mean and variance of what a selection of devices conducts by itself.
    """
    assert config.wires is not None
    half, shape = config.devices_per_polarity, out[0].shape
    devices = np.empty((4, *shape), dtype=np.float32)
    for polarity in range(2):
        own = select.dtype.type((2**half - 1) << (half * polarity))
        read(select & own, (devices[polarity], devices[2 + polarity]))
    np.negative(devices[1], out=devices[1])
    return effective(engine, config.wires, config.rows - shape[1], devices, out, kept)


def _solved(
    engine: Engine,
    wires: Wires,
    parameters: WireParameters,
    devices: np.ndarray,
    mean: np.ndarray,
    stale: np.ndarray,
    kept: Correction | None,
) -> Correction:
    """Return a correction of the stale tiles, for the others as it was."""
    old = (
        (*devices[:2], np.zeros_like(mean)) if kept is None else (kept.plus, kept.minus, kept.value)
    )
    new = Correction(*(array.copy() for array in old))
    for tile in np.flatnonzero(stale):
        part = slice(tile, tile + 1)
        plus, minus = devices[0, part], devices[1, part]
        found = np.empty(plus.shape)
        if wires.solver == "exact":
            found[0] = exact_wires(plus[0], minus[0], parameters)
        else:
            left = engine.relax_wires(plus, minus, parameters, TOLERANCE, SWEEPS, found)
            _check_converged(float(left[0]), wires)
        new.plus[part], new.minus[part] = plus, minus
        new.value[part] = found - mean[part]
    return new


def _check_converged(left: float, wires: Wires) -> None:
    if not left <= TOLERANCE:
        raise ConfigError(
            f"wires did not converge in {SWEEPS} sweeps for row_ohm={wires.row_ohm:g} and "
            f"column_ohm={wires.column_ohm:g} (an error of {left:.1e} is left): use smaller "
            "resistances, or wires.solver='exact'"
        )
