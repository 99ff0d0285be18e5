"""AnalogMatrix: a programmed matrix as a user holds it."""

from __future__ import annotations

import threading
from collections.abc import Mapping as Dictionary
from dataclasses import replace
from typing import Any

import numpy as np

from fastaimc import engine as engines
from fastaimc import stuck
from fastaimc.circuit.calibration import calibrated
from fastaimc.circuit.compensation import correction
from fastaimc.circuit.phases import ADCs, Pair, held, multiply
from fastaimc.config import CoreConfig
from fastaimc.core import Core
from fastaimc.cost import Cost
from fastaimc.errors import InputError, check_number
from fastaimc.mapping import from_tiles, join_cells, real_array, split_inputs
from fastaimc.parameters import F32
from fastaimc.programmed import Programmed, pack, unpack
from fastaimc.vectors import beyond, check_draw, check_inputs, check_windows, pieces

# Streams of noise beside the user's vectors 0, 1, ...: each has numbers of its own.
CALIBRATION = 1 << 45
METRICS = 1 << 46
CALIBRATION_VECTORS = 128  # assumption: of the compensation; those of the ADCs' ranges follow
CALIBRATION_KEY = np.array([0x0CA1, 0x1B8A], dtype=np.uint32)  # inputs that a chip has stored
WORK_PER_CALL = 2**33  # multiply-adds of a compiled call: far below a second


class AnalogMatrix:
    """A matrix (out, in) held by programmed AIMC cores, at a time since its programming.

    Made by `fastaimc.program`, `fastaimc.load` and `at`.

    Attributes
    ----------
    history : dict of ndarray
        Per recorded iteration: iteration, batch_error, pulses, mvms, row_reads, latency_s,
        mvm_error and weight_error (the last two NaN where nobody looked).
    cost : Cost
        Of programming alone.
    provenance : dict
        Versions, CPU, threading, config, method, seed and stream version.
    saturated : int
        Inputs so far that were beyond the input range.
    """

    __array_ufunc__ = None  # NumPy must not take `x @ matrix` apart into an array of objects

    def __init__(
        self,
        programmed: Programmed,
        time_s: float,
        threads: int | None = None,
        conductances: tuple[Pair, ...] | None = None,
    ) -> None:
        self._programmed = programmed
        self._threads = threads
        self._lock = threading.Lock()
        self._number = 0
        self.saturated = 0
        self._set_time(time_s, conductances)

    # -- what it is ----------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return self._programmed.mapping.shape

    @property
    def ndim(self) -> int:
        """2."""
        return 2

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """float32."""
        return np.dtype(np.float32)

    @property
    def config(self) -> CoreConfig:
        """Configuration of its cores."""
        return self._programmed.core.config

    @property
    def input_range(self) -> float:
        """The |x| that is the DAC's full scale."""
        return self._programmed.input_range

    @property
    def time_s(self) -> float:
        """Time since the end of programming."""
        return self._time_s

    @property
    def cost(self) -> Cost:
        """Cost of programming."""
        return self._programmed.cost

    @property
    def history(self) -> dict[str, np.ndarray]:
        """What was recorded while programming."""
        return self._programmed.history

    @property
    def cell_pulses(self) -> np.ndarray | None:
        """Pulses that each weight's cell got while programmed, (out, in), int32.

        Those that initialise the cell are among them; 65535 stands for that many or more.  None
        unless `program` recorded (``record_every``).
        """
        pulses = self._programmed.core.cell_pulses
        if pulses is None:
            return None
        return join_cells(self._programmed.mapping, pulses.astype(np.int32))

    @property
    def stuck(self) -> int:
        """Devices that no pulse moves."""
        return stuck.count(self._programmed.core.stuck, self._programmed.core.extents)

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the result comes from."""
        return self._programmed.provenance

    @property
    def clipped(self) -> int:
        """Weights that the mapping clipped."""
        return self._programmed.mapping.clipped

    @property
    def clipped_conductance(self) -> int:
        """Pulses that would have left a device less than nothing: it is left at 0 µS."""
        return int(self._programmed.core.counters["clipped_conductance"].sum())

    @property
    def clipped_current(self) -> int:
        """Pulses that asked for more than the compliance current, and did not get it."""
        return int(self._programmed.core.counters["clipped_current"].sum())

    def __repr__(self) -> str:
        method = self.provenance.get("method", {}).get("kind", "?")
        return (
            f"AnalogMatrix(shape={self.shape}, tiles={self._programmed.mapping.tiles}, "
            f"method={method}, time_s={self.time_s:g})"
        )

    # -- time ----------------------------------------------------------------------------------

    def at(self, time_s: float) -> AnalogMatrix:
        """Return the same cells at an absolute time since the end of programming."""
        other = AnalogMatrix(self._programmed, time_s, self._threads)
        other.number, other.saturated = self._number, self.saturated
        return other

    def advance(self, seconds: float) -> None:
        """Move this matrix's clock."""
        check_number("seconds", seconds, least=0)
        self._set_time(self._time_s + seconds)

    def copy(self) -> AnalogMatrix:
        """Return an equal matrix with a counter and a clock of its own."""
        return self.at(self._time_s)

    def _set_time(self, time_s: float, conductances: tuple[Pair, ...] | None = None) -> None:
        check_number("time_s", time_s, least=0)
        core = self._programmed.core
        self._time_s = float(time_s)
        with core.engine.threads(self._threads):
            self._matrices = conductances or core.conducted(core.clock_s + self._time_s)
            self._adcs = self._ranged()
            self._corrections = self._corrected()

    def _ranged(self) -> ADCs:
        """Return columns, full scale and codes of the ADCs, with calibrated ranges if asked for."""
        core = self._programmed.core
        adcs = core.mvm_adcs(programming=False)
        if self.config.adc.range not in ("calibrated", "calibrated_column"):
            return adcs
        number = CALIBRATION + CALIBRATION_VECTORS
        state = (self._matrices, core.identity, core.extents)
        full_scale, own = calibrated(core.engine, self.config, *state, CALIBRATION_KEY, number)
        return core.columns_of(0, own), full_scale, adcs[2]

    def _corrected(self) -> tuple[np.ndarray, np.ndarray]:
        """Return scale and offset that programming left, and those of the config's compensation.

        Each (2, tile, column), float32; see `compensation.correction`.
        """
        core, kind = self._programmed.core, self.config.compensation
        own = np.stack([self._programmed.scale, self._programmed.offset])
        later = np.stack([np.ones_like(own[0]), np.zeros_like(own[1])])
        if kind != "none":
            x = core.engine.inputs(0, CALIBRATION_KEY, 0, CALIBRATION_VECTORS, core.shape[1])
            group = np.zeros(core.shape[0], dtype=np.int32)
            y = self._report(self._driven(x[None]), group, CALIBRATION)
            y = y * own[0, :, None] + own[1, :, None]
            scale, offset = correction(kind, x, y, self._programmed.targets, core.extents)
            later[0] = scale[:, 0]
            later[1] = 0 if offset is None else offset[:, 0]
        return own, later

    # -- products ------------------------------------------------------------------------------

    def mvm(self, x: object, *, draw: int | None = None) -> np.ndarray:
        """Multiply inputs by the matrix, with all non-idealities.

        Parameters
        ----------
        x : array_like
            (..., in), real.  What is beyond `input_range` saturates and is counted.
        draw : int, optional
            Number of the first vector in the stream of noise; the matrix's own counter then stays
            where it is.

        Returns
        -------
        ndarray
            (..., out), float32.

        Raises
        ------
        InputError
            For inputs of the wrong kind or width, or with NaN.
        """
        array = check_inputs(x, self.shape[1])
        vectors = array.reshape(-1, self.shape[1])
        if draw is None:
            number = self._take(len(vectors), beyond(vectors, self.input_range))
        else:
            number = check_draw(draw, CALIBRATION - len(vectors))
        y = self.evaluate(vectors, number)
        return y.reshape(*array.shape[:-1], self.shape[0])

    def __matmul__(self, x: object) -> np.ndarray:
        array = real_array("x", x, "fiub")
        width = self.shape[1]
        if array.ndim not in (1, 2) or array.shape[0] != width:
            raise InputError(
                f"x must be ({width},) or ({width}, batch) for matrix @ x, got shape {array.shape}"
            )
        return self.mvm(array.T).T

    def weights(self) -> np.ndarray:
        """Return what the cells hold now, behind wires what outputs see of them, (out, in)."""
        return from_tiles(self._programmed.mapping, held(self._matrices))

    def conductances(self) -> np.ndarray:
        """Return what the cells hold now, (tile, row, column), float32, µS: a copy."""
        return held(self._matrices).copy()

    def target_weights(self) -> np.ndarray:
        """Return what the cells were to hold, (out, in)."""
        return from_tiles(self._programmed.mapping, self._programmed.targets)

    def evaluate(self, vectors: np.ndarray, number: int) -> np.ndarray:
        """Return outputs (batch, out) of checked float32 vectors (batch, in).

        `number` is that of the first vector in the whole stream of noise; nothing is counted.
        The work goes in calls of bounded length.
        """
        core, mapping = self._programmed.core, self._programmed.mapping
        step = max(1, WORK_PER_CALL // core.last_device.size)
        out = np.empty((len(vectors), self.shape[0]), dtype=np.float32)
        with core.engine.threads(self._threads, blas=False):
            for low in range(0, len(vectors), step):
                part = self._driven(vectors[low : low + step] / F32(self.input_range))
                x = split_inputs(mapping, part, core.shape[1])
                out[low : low + step] = self._product(x, number + low)
        return out

    def windows(self, images: np.ndarray, bases: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Return the products of windows of images, as `mvm` would; each value is converted once.

        Parameters
        ----------
        images : ndarray
            (image, value), float32.
        bases, offsets : ndarray
            Window w of an image has value ``bases[w] + offsets[i]`` as input i, (window,), all
            different, and (in,), int64.

        Returns
        -------
        ndarray
            (image * window, out), float32.

        Raises
        ------
        InputError
            For images with NaN.
        """
        core, mapping = self._programmed.core, self._programmed.mapping
        count = len(images) * len(bases)
        number = self._take(count, check_windows(images, bases, offsets, self.input_range))
        rows = split_inputs(mapping, offsets[None], core.shape[1], beyond=-1)[:, 0]
        out = np.empty((count, self.shape[0]), dtype=np.float32)
        with core.engine.threads(self._threads, blas=False):
            for some, part, own in pieces(len(images), len(bases), len(offsets)):
                if part.start == 0:
                    driven = self._driven(images[some] / F32(self.input_range))
                x = core.engine.patches(driven, bases[part], rows)
                out[own] = self._product(x, number + own.start)
        return out

    def _take(self, vectors: int, saturated: int) -> int:
        """Count vectors and the inputs that saturate; return the number of the first one."""
        with self._lock:
            number = self._number
            self._number += vectors
            self.saturated += saturated
        return number

    def _driven(self, x: np.ndarray) -> np.ndarray:
        """Return inputs in units of the DAC's full scale as it drives them."""
        core = self._programmed.core
        return core.engine.quantise(x, F32(self.config.dac.half_codes()))

    def _report(self, driven: np.ndarray, group: np.ndarray, number: int) -> np.ndarray:
        """Return what every tile reports, (tile, batch, column), of inputs (block, batch, row)."""
        core = self._programmed.core
        inputs = (driven, group, engines.NO_PATTERN, self._matrices, core.identity, number)
        return multiply(core.engine, self.config.dac.phases, *inputs, self._adcs)

    def _product(self, driven: np.ndarray, number: int) -> np.ndarray:
        """Return outputs (batch, out) of inputs as driven, (block, batch, row)."""
        mapping = self._programmed.mapping
        y = self._report(driven, mapping.group, number)
        edges, unit = mapping.column_edges, mapping.scale.astype(np.float32)
        return self.core.engine.join(y, *self._corrections, edges, unit, F32(self.input_range))

    # -- for metrics and files -----------------------------------------------------------------

    @property
    def programmed(self) -> Programmed:
        """What programming left behind."""
        return self._programmed

    @property
    def core(self) -> Core:
        """The tiles."""
        return self._programmed.core

    @property
    def targets(self) -> np.ndarray:
        """What the cells were to hold, (tile, row, column), µS."""
        return self._programmed.targets

    @property
    def number(self) -> int:
        """Number of the next vector in the stream of noise."""
        return self._number

    @number.setter
    def number(self, value: int) -> None:
        self._number = value

    def with_conductances(self, matrices: tuple[Pair, ...]) -> AnalogMatrix:
        """Return a matrix in the same periphery whose cells are as given, nothing corrected.

        They are mean and variance of whole cells, or in four phases of both polarities.
        """
        plain = replace(
            self._programmed,
            scale=np.ones_like(self._programmed.scale),
            offset=np.zeros_like(self._programmed.offset),
        )
        return AnalogMatrix(plain, self._time_s, self._threads, matrices)

    # -- in memory -----------------------------------------------------------------------------

    def __copy__(self) -> AnalogMatrix:
        return self.copy()

    def __deepcopy__(self, memo: Dictionary[int, Any]) -> AnalogMatrix:
        return self.copy()  # what programming left is never changed, so it can be shared

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle and processes take along: all but the lock and the engine."""
        state = {name: value for name, value in vars(self).items() if name != "_lock"}
        return {"state": state} | pack(state.pop("_programmed"))

    def __setstate__(self, saved: dict[str, Any]) -> None:
        vars(self).update(saved["state"])
        self._programmed = unpack(saved)
        self._lock = threading.Lock()


def check_matrix(matrix: object) -> None:
    """Raise `InputError` unless `matrix` is an `AnalogMatrix`."""
    if not isinstance(matrix, AnalogMatrix):
        raise InputError(f"matrix must be an AnalogMatrix, got {type(matrix).__name__}")
