"""IP by weights that are regressed from random MVMs: aihwkit's `read_weights`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastaimc.engine import INPUT_KINDS, Engine
from fastaimc.errors import check_choice, check_integer, check_number
from fastaimc.parameters import F32
from fastaimc.programming.iterative import DEFAULT_STEP, QUANTISATION, verify
from fastaimc.programming.method import State
from fastaimc.programming.plan import Step, check_schedule, fire, wait_for
from fastaimc.programming.start import ALLOCATIONS, prepare
from fastaimc.terminals import Terminals

# Relative: what no input shows is estimated as nothing, with a standard error beyond any threshold.
RIDGE = 1e-9
RANDOM = tuple(kind for kind in INPUT_KINDS if kind != "hadamard")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeastSquaresReadProgramming:
    """Drive more random inputs than there are rows, regress the outputs on them, verify the cells.

    Claimed (aihwkit's documentation): weights need not be read one by one, as linear regression
    estimates them from MVMs.  Of outputs with noise of variance v the estimates' covariance is
    ``v * inv(X.T @ X)``, so that all MVMs tell of every cell, but some precision goes into telling
    random inputs apart, which orthogonal ones (`HadamardVerifyProgramming`) need not be.  Each
    column's offset is fitted, too.  The estimates are then held to the targets as reads of IP are:
    averaged since a cell's last pulse, with the standard error that the regression has.

    A round costs B MVMs and, in digital, ``N² * (B + N)`` multiply-adds for the inverse, once for
    all columns and tiles that are driven alike, and ``N * (2 * B + N)`` for each column.

    Parameters
    ----------
    iterations : int
        Rounds of regression and pulses.
    over_sampling : float
        Inputs of a round, over the number of rows; aihwkit's default is 10.
    inputs : str
        "uniform", "gaussian" (as in aihwkit) or "sign" (±1, which the DAC does not round).
    amplitude : float
        Factor on the inputs, so that the outputs do not saturate the ADC.
    allocation, step, verify_delay, final_passes, final_delay
        As for `IterativeProgramming`; "two_device" reads SET devices row by row at the start.

    Raises
    ------
    ConfigError
        For a value outside its range.
    """

    iterations: int = 14  # the cost of 25 rounds of IP
    # Assumption: the best of what was tried, 1.25 to 3, on the weights of tools/tune.py.
    over_sampling: float = 1.75
    inputs: str = "sign"
    amplitude: float = 0.475  # as tuned for GDP's inputs
    allocation: str = "two_device"
    step: Step = DEFAULT_STEP  # assumption: IP's
    verify_delay: float = 0.0667
    final_passes: int = 0
    final_delay: float = 0.0667

    def __post_init__(self) -> None:
        check_integer("iterations", self.iterations, 1, 100_000)
        check_number("over_sampling", self.over_sampling, above=1, most=1000)
        check_choice("inputs", self.inputs, RANDOM)
        check_number("amplitude", self.amplitude, above=0, most=1)
        check_choice("allocation", self.allocation, ALLOCATIONS)
        check_schedule(self)

    def batch(self, rows: int) -> int:
        """Return the MVMs of a round; at least those that offset and noise take, too."""
        return max(int(np.ceil(self.over_sampling * rows)), rows + 2)

    def start(self, terminals: Terminals, engine: Engine, key: np.ndarray) -> State:
        """SET, read and allocate the devices; the analog one gets its first pulse."""
        state = prepare(
            terminals,
            engine,
            self.allocation,
            fine=False,
            settle=self.verify_delay,
            shoot=True,
            calibrate=False,
        )
        tiles, _, columns = terminals.shape
        state["dark"] = np.zeros((tiles, columns), dtype=np.float32)  # the regression has its own
        state["total"] = np.zeros(terminals.shape, dtype=np.float32)
        state["count"] = np.zeros(terminals.shape, dtype=np.uint8)
        return state

    def iterate(
        self, terminals: Terminals, engine: Engine, key: np.ndarray, state: State, index: int
    ) -> None:
        """Estimate every cell, and pulse those whose mean is beyond its threshold."""
        gain, ahead = wait_for(self, terminals, index)
        rows = terminals.shape[1]
        x = engine.inputs(INPUT_KINDS[self.inputs], key, index, self.batch(rows), rows)
        x *= F32(self.amplitude)
        rounding = QUANTISATION * terminals.lsb_us(fine=False)
        cells, read_std = regress(x, terminals.mvm(x), rounding)
        verify(
            lambda rows: np.ascontiguousarray(cells[:, rows[0] : rows[-1] + 1]),
            engine,
            state,
            terminals.shape,
            (terminals.targets, gain, ahead),
            read_std,
            state["device"],
            self.step.arguments(terminals, index, self.iterations),
        )
        fire(terminals, state)


def regress(
    x: np.ndarray, y: np.ndarray, least: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrices that explain outputs by inputs best, and what they are off by.

    Parameters
    ----------
    x, y : ndarray
        Inputs (batch, row), outputs (tile, batch, column), float32; a constant is fitted, too.
    least : ndarray or float
        Standard deviation of the outputs at least, (tile,), whatever the residuals are, µS.

    Returns
    -------
    tuple of ndarray
        Estimates (tile, row, column), float32; and their standard error, the root mean square
        over the cells of each tile, from the residuals, (tile,), float32.
    """
    batch, rows = x.shape
    centred = x.astype(np.float64)
    centred -= centred.mean(axis=0)
    gram = centred.T @ centred
    gram.flat[:: rows + 1] += RIDGE * np.square(x, dtype=np.float64).sum() / rows
    inverse = np.linalg.inv(gram)
    cells = np.empty((len(y), rows, y.shape[2]), dtype=np.float32)
    variance = np.empty(len(y))
    for tile, outputs in enumerate(y):
        seen = outputs - outputs.mean(axis=0, dtype=np.float64)
        cells[tile] = found = inverse @ (centred.T @ seen)
        seen -= centred @ found
        variance[tile] = np.square(seen).sum() / y.shape[2] / max(batch - 1 - rows, 1)
    variance = np.maximum(variance, np.square(least, dtype=np.float64))
    return cells, np.sqrt(variance * inverse.diagonal().mean()).astype(np.float32)
