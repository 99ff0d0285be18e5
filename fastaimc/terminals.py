"""What of a core a programming method may use: no more than a chip shows."""

from __future__ import annotations

import numpy as np

from fastaimc.circuit.ranges import cell_range
from fastaimc.core import Core
from fastaimc.engine import NO_PATTERN
from fastaimc.nominal import Nominal


class Terminals:
    """The terminals of a stack of cores.

    Attributes
    ----------
    shape : tuple of int
        (tile, row, column).
    devices : int
        Of a cell; those of the first half add.
    significance : ndarray
        Factor on the conductance of each of them, (devices,), float32; (0,): all are 1.
    targets : ndarray
        What the cells are to hold, (tile, row, column), float32, µS.
    nominal : Nominal
        The nominal programming curve.
    t_eval_s : float
        Time from the end of programming at which the targets are to hold.
    full_scale_us : ndarray
        Largest output of the ADC's MVM range, (tile,), float32, µS.
    dac_codes : float
        Codes of the DAC on either side of zero; 0: ideal.
    """

    def __init__(self, core: Core, targets: np.ndarray) -> None:
        self._core = core
        self.shape = core.shape
        self.devices = core.config.devices
        self.significance = core.config.device_significance()
        self.targets = targets
        self.nominal = Nominal.of(core.config)
        self.t_eval_s = core.config.t_eval_s
        self.full_scale_us = core.full_scale_us
        self.dac_codes = core.config.dac.half_codes()

    def lsb_us(self, fine: bool) -> np.ndarray:
        """Return the step of the ADC in its cell (`fine`) or MVM range, (tile,), µS; 0: ideal."""
        core = self._core
        full_scale, half = core.full_scale_us, core.half_codes(programming=True)
        if fine and core.config.adc.cell_lsb_us is not None:
            full_scale, half = cell_range(core.config, core.full_scale_us)
        return full_scale / half if half > 0 else np.zeros_like(full_scale)

    def mvm(self, x: np.ndarray, pattern: np.ndarray = NO_PATTERN) -> np.ndarray:
        """Multiply the inputs (batch, row) in [-1, 1] by every tile: (tile, batch, column), µS.

        `pattern` says that they are lines of a Hadamard matrix (`Engine.pattern`), by which a
        simulator multiplies faster; a chip has no use for it, and no result depends on it.
        """
        group = np.zeros(self.shape[0], dtype=np.int32)
        return self._core.mvm(x[None], group, pattern)

    def read_rows(
        self, rows: np.ndarray, select: np.ndarray | None = None, fine: bool = False
    ) -> np.ndarray:
        """Drive each row alone and return (tile, len(rows), column), µS.

        `select` has bit d set where device d of a cell conducts (None: all; of the type that
        `parameters.mask_dtype` names); `fine` reads in the ADC's cell range if it has one.
        """
        return self._core.read_rows(np.asarray(rows, dtype=np.int64), select, fine)

    def pulse(self, device: np.ndarray, code: np.ndarray) -> None:
        """Pulse one device of each cell (255: none) with its code."""
        self._core.pulse(device, code)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._core.wait(seconds)
