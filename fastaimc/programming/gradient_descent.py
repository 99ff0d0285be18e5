"""GDP: gradient descent on the MVM error (Büchel et al., IEDM 2022, arXiv:2305.16647)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from fastaimc.engine import INPUT_KINDS, NO_PATTERN, Engine
from fastaimc.errors import check_choice, check_integer, check_number
from fastaimc.parameters import F32
from fastaimc.programming.iterative import IterativeProgramming
from fastaimc.programming.method import State
from fastaimc.programming.plan import Step, check_schedule, fire, wait_for
from fastaimc.programming.start import ALLOCATIONS, prepare
from fastaimc.terminals import Terminals

STARTS = ("single_shot", "ip", "reset")


# The best of 200 trials of `tools/tune.py` (bench/results/tuning_gdp.json), as are the defaults of
# `GradientDescentProgramming`; its iterations and waits make its budget that of 25 rounds of IP.
DEFAULT_STEP = Step(
    margin=0.227, margin_end=1.66, kappa=1.64, gain=1.13, gain_end=0.318, max_step=0.0266
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientDescentProgramming:
    """Drive random inputs through the core and pulse down the gradient of the output error.

    With E = core(X) - X @ targets, the gradient ``X.T @ E``, over the inputs' power, is an
    unbiased estimate of each cell's error (Büchel et al., IEDM 2022; no public text gives the
    parameters below, they are this project's own).  Cells whose estimate is below
    ``max(margin * scatter, kappa * standard error)`` are left alone.  Only MVMs are read, in the
    ADC's ordinary range.

    Parameters
    ----------
    iterations, batch : int
        Batches, and MVMs in each.
    inputs : str
        "uniform", "gaussian", "sign" (±1) or "hadamard" (orthogonal where the batch is the
        number of rows, a power of two).
    amplitude : float
        Factor on the inputs, so that outputs of full-scale inputs do not saturate the ADC.
    start_from : str
        "single_shot": the analog devices are pulsed once with their nominal code; "ip": and
        `start_rounds` of IP follow; "reset": they are left in RESET.
    allocation : str
        As for `IterativeProgramming`.
    step : Step
        Threshold and step of a pulse.
    affine_every : int
        Re-fit gain and offset of each column, in digital, every so many iterations and in the
        last, on the batch that was measured anyway; 0: never.  The correction stays with the
        programmed matrix.
    verify_delay, final_passes, final_delay
        As for `IterativeProgramming`.

    Raises
    ------
    ConfigError
        For a value outside its range.
    """

    iterations: int = 24
    batch: int = 256
    inputs: str = "hadamard"
    amplitude: float = 0.475
    start_from: str = "ip"
    start_rounds: int = 1
    allocation: str = "two_device"
    step: Step = DEFAULT_STEP
    affine_every: int = 24
    verify_delay: float = 0.0446
    final_passes: int = 8
    final_delay: float = 0.0247

    def __post_init__(self) -> None:
        check_integer("iterations", self.iterations, 1, 100_000)
        check_integer("batch", self.batch, 1, 65_536)
        check_choice("inputs", self.inputs, INPUT_KINDS)
        check_number("amplitude", self.amplitude, above=0, most=1)
        check_choice("start_from", self.start_from, STARTS)
        check_integer("start_rounds", self.start_rounds, 1, 1000)
        check_choice("allocation", self.allocation, ALLOCATIONS)
        check_integer("affine_every", self.affine_every, 0, 100_000)
        check_schedule(self)

    def start(self, terminals: Terminals, engine: Engine, key: np.ndarray) -> State:
        """Allocate the devices and bring the analog ones into their start state."""
        if self.start_from == "ip":
            first = IterativeProgramming(
                iterations=self.start_rounds,
                allocation=self.allocation,
                calibrate=False,
                verify_delay=self.verify_delay,
                final_passes=0,
            )
            state = first.start(terminals, engine, key)
            for index in range(self.start_rounds):
                first.iterate(terminals, engine, key, state, index)
            del state["pooled"]
            state["total"][...] = 0
            state["count"][...] = 0
        else:
            state = prepare(
                terminals,
                engine,
                self.allocation,
                fine=False,
                settle=self.verify_delay,
                shoot=self.start_from == "single_shot",
                calibrate=False,
            )
            state["total"] = np.zeros(terminals.shape, dtype=np.float32)
            state["count"] = np.zeros(terminals.shape, dtype=np.uint8)
        state.pop("dark", None)
        if self.affine_every:
            tiles, _, columns = terminals.shape
            state["scale"] = np.ones((tiles, columns), dtype=np.float32)
            state["offset"] = np.zeros((tiles, columns), dtype=np.float32)
        return state

    def iterate(
        self, terminals: Terminals, engine: Engine, key: np.ndarray, state: State, index: int
    ) -> None:
        """Measure one batch, and pulse the cells whose estimated error is beyond its threshold."""
        gain, ahead = wait_for(self, terminals, index)
        rows = terminals.shape[1]
        x = engine.inputs(INPUT_KINDS[self.inputs], key, index, self.batch, rows)
        x *= F32(self.amplitude)
        pattern = NO_PATTERN
        if self.inputs == "hadamard":
            pattern = engine.pattern(key, index, self.batch, rows)
        y = terminals.mvm(x, pattern)
        if self.affine_every:
            known = (gain, ahead, state["aim"], state["device"], terminals.significance)
            wanted = partial(engine.wanted_outputs, x, pattern, terminals.targets, *known)
            correct_columns(self, state, index, wanted, y)
        sums = engine.gradient_pulses(
            x[None],
            np.zeros(terminals.shape[0], dtype=np.int32),
            pattern,
            y,
            terminals.targets,
            gain,
            ahead,
            state["total"],
            state["count"],
            state["device"],
            state["filled"],
            state["level"],
            state["swing"],
            state["aim"],
            *self.step.arguments(terminals, index, self.iterations),
            state["fire"],
            state["code"],
        )
        norm = np.where(sums[:, 1] > 0, sums[:, 1], np.nan)  # of no weights there is no error
        state["batch_error"] = np.sqrt(sums[:, 0] / norm)
        fire(terminals, state)


class Corrected(Protocol):
    """A method whose columns are corrected in digital."""

    @property
    def iterations(self) -> int:
        """Iterations in all."""

    @property
    def affine_every(self) -> int:
        """Iterations from one fit to the next."""


def correct_columns(
    method: Corrected,
    state: State,
    index: int,
    wanted: Callable[[], np.ndarray],
    y: np.ndarray,
) -> None:
    """Fit each column's gain and offset, if it is time to; change `y` by what was fitted so far.

    `wanted` returns what the batch should have given, (tile, batch, column), µS.
    """
    if (index + 1) % method.affine_every == 0 or index == method.iterations - 1:
        state["scale"], state["offset"] = fit_columns(y, wanted())
    if index + 1 >= method.affine_every or index == method.iterations - 1:
        y *= state["scale"][:, None, :]
        y += state["offset"][:, None, :]


def fit_columns(y: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return scale and offset of every column that bring `y` nearest to what was wanted.

    Parameters
    ----------
    y, wanted : ndarray
        (tile, batch, column), float32, µS.

    Returns
    -------
    tuple of ndarray
        Each (tile, column), float32; 1 and 0 for a column that never varies.
    """
    scale = np.ones((y.shape[0], y.shape[2]), dtype=np.float32)
    offset = np.zeros_like(scale)
    for tile in range(len(y)):
        seen = y[tile] - y[tile].mean(axis=0)
        power = (seen**2).sum(axis=0)
        slope = (seen * wanted[tile]).sum(axis=0) / np.maximum(power, np.finfo(np.float32).tiny)
        slope = np.where((power > 0) & (slope > 0), slope, 1.0)
        scale[tile] = slope
        offset[tile] = wanted[tile].mean(axis=0) - slope * y[tile].mean(axis=0)
    return scale, offset
