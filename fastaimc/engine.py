"""What an engine is, and the choice of one by name.

Two twins implement it: ``reference`` (NumPy, the specification, where each function is
documented) and ``kernels`` (Numba).  Arrays are C-contiguous; conductances are float32 µS.
"""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from fastaimc.errors import InputError, nearest
from fastaimc.parameters import (
    BeliefParameters,
    IncrementParameters,
    PulseParameters,
    StateParameters,
    StepParameters,
    WireParameters,
)

if TYPE_CHECKING:
    Array = np.ndarray

NO_SLOW_NOISE = np.zeros((1, 0, 3))
NO_PATTERN = np.zeros(5, dtype=np.int64)  # of inputs that are no lines of a Hadamard matrix
MODULES = {"numba": "fastaimc.kernels", "reference": "fastaimc.reference"}
INPUT_KINDS = {"uniform": 0, "gaussian": 1, "sign": 2, "hadamard": 3}


class Engine(Protocol):
    """The operations of a stack of crossbars and of the digital logic beside it."""

    def columns(self, identity: Array, count: int, cell_range: int, stds: Array) -> Array:
        """Gain, offset, INL, deviation of the dead time of each ADC, (tile, 4 or 5, column)."""

    def faults(self, identity: Array, rates: Array, kind: Array) -> Array:
        """Stuck devices into `kind`, and where those stuck anywhere are, (tile, device, ...)."""

    def quantise(self, x: Array, half_codes: np.float32) -> Array:
        """Inputs as the DAC drives them, (group, batch, row)."""

    def patches(self, images: Array, bases: Array, offsets: Array) -> Array:
        """Windows of images as inputs of tiles, (block, image * window, row)."""

    def join(
        self,
        y: Array,
        programmed: Array,
        compensated: Array,
        edges: Array,
        unit: Array,
        input_range: np.float32,
    ) -> Array:
        """Products in weights of what tiles report, (batch, out)."""

    def mvm(
        self,
        x: Array,
        group: Array,
        pattern: Array,
        mean: Array,
        variance: Array,
        identity: Array,
        number: int,
        columns: Array,
        full_scale: Array,
        half_codes: np.float32,
    ) -> Array:
        """Products of inputs and crossbars as the ADCs report them, (tile, batch, column)."""

    def read_rows(
        self,
        rows: Array,
        first: int,
        mean: Array,
        variance: Array,
        identity: Array,
        step: int,
        columns: Array,
        full_scale: Array,
        half_codes: np.float32,
    ) -> Array:
        """Single rows as the ADCs report them, (tile, row, column)."""

    def pulse(
        self,
        conductance: Array,
        last_device: Array,
        last_s: Array,
        device: Array,
        code: Array,
        clock_s: Array,
        step: int,
        identity: Array,
        parameters: PulseParameters,
    ) -> Array:
        """Melt-quench pulses in place; counts of SET, RESET and clipped ones, (tile, 4)."""

    def write(
        self,
        conductance: Array,
        last_device: Array,
        last_s: Array,
        device: Array,
        value: Array,
        clock_s: Array,
        step: int,
        identity: Array,
        inverse_scale: np.float32,
        coefficients: Array,
    ) -> Array:
        """Writes with published statistics in place; counts as for `pulse`."""

    def increment(
        self,
        conductance: Array,
        last_device: Array,
        last_s: Array,
        memory: Array,
        device: Array,
        code: Array,
        clock_s: Array,
        step: int,
        identity: Array,
        steps: Array,
        parameters: IncrementParameters,
    ) -> Array:
        """Counted pulses in place; counts as for `pulse`."""

    def device_normals(
        self, identity: Array, device: Array, step: int, purpose: int, number_high: int
    ) -> Array:
        """A normal of each cell's chosen device, (tile, row, column)."""

    def drift(
        self,
        conductance: Array,
        last_device: Array,
        last_s: Array,
        clock_s: Array,
        select: Array,
        identity: Array,
        fits: Array,
        parameters: StateParameters,
        significance: Array,
        slow: Array,
        first: int,
        mean: Array,
        variance: Array,
    ) -> None:
        """What the selected devices of some rows conduct now, into `mean` and `variance`."""

    def estimate_wires(
        self,
        plus: Array,
        minus: Array,
        plus_variance: Array,
        minus_variance: Array,
        wires: WireParameters,
        mean: Array,
        variance: Array,
    ) -> None:
        """What devices conduct behind the wires, to first order, into `mean` and `variance`."""

    def relax_wires(
        self,
        plus: Array,
        minus: Array,
        wires: WireParameters,
        tolerance: float,
        sweeps: int,
        out: Array,
    ) -> Array:
        """What they conduct by relaxation, into `out`; the error that is left, (tile,)."""

    def measure(
        self,
        x: Array,
        pattern: Array,
        conductance: Array,
        last_device: Array,
        last_s: Array,
        clock_s: Array,
        identity: Array,
        fits: Array,
        parameters: StateParameters,
        significance: Array,
        slow: Array,
        number: int,
        columns: Array,
        full_scale: Array,
        half_codes: np.float32,
    ) -> Array:
        """`drift` and `mvm` of one group of inputs in one, (tile, batch, column)."""

    def inputs(self, kind: int, key: Array, step: int, batch: int, rows: int) -> Array:
        """One batch of random inputs, (batch, row)."""

    def pattern(self, key: Array, step: int, batch: int, rows: int) -> Array:
        """How a batch of Hadamard inputs lies in its matrix, (5,); NO_PATTERN for others."""

    def gradient_pulses(
        self,
        x: Array,
        group: Array,
        pattern: Array,
        y: Array,
        targets: Array,
        gain: np.float32,
        ahead: Array,
        total: Array,
        count: Array,
        device: Array,
        filled: Array,
        level: Array,
        swing: Array,
        aim: Array,
        curve: Array,
        scatter: Array,
        significance: Array,
        change: Array,
        parameters: StepParameters,
        fire: Array,
        code: Array,
    ) -> Array:
        """Pulses that follow from the gradient of one batch's MVM error; sums, (tile, 2)."""

    def estimate_pulses(
        self,
        x: Array,
        group: Array,
        pattern: Array,
        y: Array,
        targets: Array,
        gain: np.float32,
        ahead: Array,
        error: Array,
        age: Array,
        variance: Array,
        device: Array,
        filled: Array,
        level: Array,
        swing: Array,
        aim: Array,
        curve: Array,
        scatter: Array,
        significance: Array,
        change: Array,
        belief: BeliefParameters,
        parameters: StepParameters,
        fire: Array,
        code: Array,
    ) -> Array:
        """Pulses that follow from estimates that one batch's gradient corrects; sums, (tile, 2)."""

    def wanted_outputs(
        self,
        x: Array,
        pattern: Array,
        targets: Array,
        gain: np.float32,
        ahead: Array,
        aim: Array,
        device: Array,
        significance: Array,
    ) -> Array:
        """What one batch should give, (tile, batch, column)."""

    def allocate(
        self,
        targets: Array,
        values: Array,
        curve: Array,
        significance: Array,
        device: Array,
        filled: Array,
        aim: Array,
        surplus: Array,
        rest: Array,
    ) -> None:
        """Each cell's analog device, SET ones and what is left, into the last five."""

    def verify_pulses(
        self,
        reading: Array,
        first: int,
        dark: Array,
        targets: Array,
        gain: np.float32,
        ahead: Array,
        total: Array,
        count: Array,
        read_std: Array,
        device: Array,
        filled: Array,
        level: Array,
        swing: Array,
        aim: Array,
        curve: Array,
        scatter: Array,
        significance: Array,
        change: Array,
        parameters: StepParameters,
        fire: Array,
        code: Array,
    ) -> Array:
        """Pulses that follow from one more read of some rows' cells; sums, (tile, 4)."""

    def threads(self, n: int | None, *, blas: bool = True) -> AbstractContextManager[None]:
        """Context in which calls run on `n` threads, and NumPy's products (`blas`) on one."""

    def threading_info(self) -> dict[str, str | int]:
        """What the last bits may depend on, for provenance."""


def load(name: str) -> Engine:
    """Return the engine called `name`: "numba" or "reference".

    Raises
    ------
    InputError
        For another name.
    """
    if not isinstance(name, str) or name not in MODULES:
        raise InputError(
            f"engine must be one of {', '.join(map(repr, MODULES))}, got {name!r}"
            f"{nearest(name, MODULES)}"
        )
    return cast(Engine, importlib.import_module(MODULES[name]))
