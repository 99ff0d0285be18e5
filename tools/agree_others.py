"""What other programs say of the same devices and crossbars: their own code, where installed.

aihwkit draws cells and their drift, CrossSim multiplies, badcrossbar solves a crossbar's wires.
Conductances are in µS.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

CELLS = 1 << 20  # that aihwkit draws for a statistic
SEED = 5

# The package of each subject, and a page of it.
NEEDED = {
    "aihwkit": "aihwkit",
    "crosssim": "simulator",  # as CrossSim calls itself
    "badcrossbar": "badcrossbar",
}


def missing(subject: str) -> str | None:
    """Return the package that a subject needs and that is not installed."""
    package = NEEDED.get(subject)
    return package if package and importlib.util.find_spec(package) is None else None


# --- aihwkit --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cells:
    """One of aihwkit's models of programmed cells.

    Attributes
    ----------
    model : object
        Its noise model.
    at_s : float
        Time of inference at which it has spreads: 0 for PCM, a listed time for ReRAM.
    drifts : bool
        Whether it has exponents and read noise.
    """

    model: Any
    at_s: float = 0.0
    drifts: bool = True

    def written(self, g: np.ndarray) -> np.ndarray:
        """Return what cells hold that were to hold `g`."""
        if self.at_s > 0:  # of ReRAM, at a time of its table
            drawn = self._call("apply_drift_noise_to_conductance", g, g, self.at_s)
        else:
            drawn = self._call("apply_programming_noise_to_conductance", g)
        return drawn

    def exponents(self, g: np.ndarray) -> np.ndarray:
        """Return drift exponents of cells in the states `g`."""
        return self._call("generate_drift_coefficients", g)

    def later(self, g: np.ndarray, nu: np.ndarray, seconds: float) -> np.ndarray:
        """Return what cells of these exponents show when read so long after t0."""
        return self._call("apply_drift_noise_to_conductance", g, nu, seconds)

    def scale_us(self) -> float:
        """Return the conductance whose state is 1."""
        return float(self.model.g_max)

    def _call(self, name: str, *arguments: np.ndarray | float) -> np.ndarray:
        torch: Any = importlib.import_module("torch")
        given = [
            torch.from_numpy(a.astype(np.float32)) if isinstance(a, np.ndarray) else a
            for a in arguments
        ]
        found = getattr(self.model, name)(*given).numpy().astype(np.float64)
        return np.asarray(found)


def aihwkit_cells() -> dict[str, Cells]:
    """Return aihwkit's models, by the names that the published statistics have here."""
    inference: Any = importlib.import_module("aihwkit.inference")
    hermes: Any = importlib.import_module("aihwkit.inference.noise.hermes")
    importlib.import_module("torch").manual_seed(SEED)
    wan = inference.ReRamWan2022NoiseModel
    return {
        "Joshi 2020": Cells(inference.PCMLikeNoiseModel()),
        "HERMES, one device": Cells(hermes.HermesNoiseModel(num_devices=1)),
        "HERMES, two devices": Cells(hermes.HermesNoiseModel(num_devices=2)),
        "ReRAM, 1 s": Cells(wan(g_max=40.0), drifts=False),
        "ReRAM, 1 day": Cells(wan(g_max=40.0), at_s=86400.0, drifts=False),
    }


def relative_error(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return the error of cells after one scale for all of them; of independent inputs the MVM's.

    Parameters
    ----------
    found, wanted : ndarray
        Of devices that add and that subtract, (2, row, column).
    """
    held, ideal = found[0] - found[1], wanted[0] - wanted[1]
    scale = np.vdot(held, ideal) / np.vdot(held, held)
    return float(np.linalg.norm(scale * held - ideal) / np.linalg.norm(ideal))


def aihwkit_error(cells: Cells, weights: np.ndarray, seconds: float, *, theirs: bool) -> float:
    """Return the error of an MVM by aihwkit's cells at a time after t0.

    `theirs`: devices of no weight are written, too, and an exponent follows what a device was to
    hold.  Else, as here, they are not, and it follows what the device holds, by the fits up to a
    state of 1.
    """
    scaled = weights / np.abs(weights).max() * cells.scale_us()
    g = np.stack([np.maximum(scaled, 0), np.maximum(-scaled, 0)])
    held = cells.written(g)
    if not theirs:
        held = np.where(g > 0, held, 0.0)
    nu = cells.exponents(g if theirs else np.minimum(held, cells.scale_us()))
    return relative_error(cells.later(held, nu, seconds), g)


# --- CrossSim -------------------------------------------------------------------------------------


def crosssim(
    weights: np.ndarray, bits: int | None, full_scale: float
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a noiseless core of CrossSim's that holds weights (out, in) of up to 1.

    Converters of so many bits in sign and magnitude, or ideal ones (None), the ADC with
    `full_scale` for its range.  It takes inputs (batch, in) of up to 1.
    """
    simulator: Any = importlib.import_module("simulator")
    parameters = simulator.CrossSimParameters()
    crossbar = parameters.xbar
    crossbar.device.infinite_on_off_ratio = True
    if bits is not None:
        crossbar.dac.mvm.model, crossbar.dac.mvm.bits = "SignMagnitudeDAC", bits
        crossbar.adc.mvm.model = "SignMagnitudeADC"  # replaces the object
        crossbar.adc.mvm.bits = bits
        crossbar.adc.mvm.calibrated_range = [-full_scale, full_scale]
    core = simulator.AnalogCore(weights, parameters)
    return lambda x: np.asarray((core @ x.T).T)


# --- badcrossbar ----------------------------------------------------------------------------------


def badcrossbar(g: np.ndarray, row_ohm: float, column_ohm: float) -> np.ndarray:
    """Return effective conductances (row, column), µS, of one device a cell by badcrossbar."""
    program: Any = importlib.import_module("badcrossbar")
    logging.getLogger("badcrossbar").setLevel(logging.WARNING)
    solution = program.compute(
        np.eye(len(g)),
        1e6 / g,
        r_i_word_line=row_ohm,
        r_i_bit_line=column_ohm,
        node_voltages=False,
        all_currents=False,
    )
    return np.asarray(1e6 * solution.currents.output)
