"""A chip with nothing but terminals, in plain NumPy: what a method must be content with.

It shares no code with `fastaimc.core`: another device law, randomness of its own, no drift, and
no noise of reads unless it is asked for. What a method does to it is logged.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastaimc import engine as engines
from fastaimc.engine import NO_PATTERN
from fastaimc.nominal import Nominal
from fastaimc.programming import (
    EstimateGuidedProgramming,
    GradientDescentProgramming,
    IterativeProgramming,
    Method,
    State,
    Step,
)

NONE = 255
SET, RESET = 0, 255
CODES = np.arange(256.0)
G_SET_US, G_RESET_US, CENTRE, WIDTH = 12.0, 0.05, 110.0, 14.0  # of the typical device
JITTER, FLOOR_US = 0.5, 0.04  # scatter from pulse to pulse, in codes and in µS


def law(code: Any, gain: Any = 1.0, shift: Any = 0.0) -> Any:
    """Conductance after a pulse: a falling logistic curve, linear in G and not in its logarithm."""
    return gain * (G_RESET_US + (G_SET_US - G_RESET_US) * fall(code, shift))


def fall(code: Any, shift: Any = 0.0) -> Any:
    return 1 / (1 + np.exp((np.asarray(code, dtype=float) - CENTRE - shift) / WIDTH))


def steepness(code: Any, gain: Any = 1.0, shift: Any = 0.0) -> Any:
    s = fall(code, shift)
    return gain * (G_SET_US - G_RESET_US) * s * (1 - s) / WIDTH


def typical() -> Nominal:
    """What is known of the kind of device, as `Terminals.nominal` shows it."""
    scatter = np.hypot(steepness(CODES) * np.hypot(JITTER, 12**-0.5), FLOOR_US)
    return Nominal(
        conductance_us=law(CODES).astype(np.float32),
        slope_us=steepness(CODES).astype(np.float32),
        scatter_us=scatter.astype(np.float32),
        drift_exponent=np.zeros(256),
        t_on_s=1e-3,
        set_spread_us=0.1 * G_SET_US,
    )


class FakeChip:
    """The cells behind `FakeTerminals`, and a log of all that was done to them.

    Parameters
    ----------
    targets : ndarray
        (tile, row, column), float32, µS.
    devices : int
        Of a cell.
    full_scale_us, codes : float, int
        Of the ADC's MVM range: µS and codes on either side of zero; 0 codes: reads are exact.
    cell_lsb_us : float or None
        Step of its cell range; None: it has none.
    offset_us : float
        Spread of the offsets that the ADCs of the columns have.
    noise_us : float
        White noise of every conversion.
    written : bool
        A code is a conductance that is taken as it is, as of a `ProgrammedState`.
    spread : float
        Spread of the devices, 1: 10 % in conductance and 3 codes.
    significance : tuple of float
        Factors of the devices of a polarity; none: all are 1.
    """

    def __init__(
        self,
        targets: np.ndarray,
        *,
        devices: int = 4,
        full_scale_us: float = 0.0,
        codes: int = 0,
        cell_lsb_us: float | None = None,
        offset_us: float = 0.0,
        noise_us: float = 0.0,
        written: bool = False,
        spread: float = 1.0,
        significance: tuple[float, ...] = (),
        seed: int = 0,
    ) -> None:
        self.targets = targets.copy()
        self.targets.flags.writeable = False
        self.devices, self.written = devices, written
        self.significance = np.array(2 * significance, dtype=np.float32)
        self.factors = np.array(2 * significance or (1.0,) * devices)
        self.factors[devices // 2 :] *= -1
        self.full_scale_us, self.codes, self.cell_lsb_us = full_scale_us, codes, cell_lsb_us
        self.random = np.random.default_rng(seed)
        tiles, rows, columns = targets.shape
        shape = (tiles, devices, rows, columns)
        self.gain = np.exp(0.1 * spread * self.random.normal(size=shape))
        self.shift = 3 * spread * self.random.normal(size=shape)
        self.offset = offset_us * self.random.normal(size=columns)
        self.noise_us = noise_us
        self.conductance = np.zeros(shape)
        self.last_code = np.full(shape, np.nan)  # nan: never pulsed
        self.pulses: list[tuple[np.ndarray, np.ndarray]] = []
        self.inputs: list[np.ndarray] = []
        self.reads: list[tuple[np.ndarray, np.ndarray | None, bool]] = []
        self.waits: list[float] = []
        self.order: list[str] = []  # of all the calls
        self.terminals: Any = FakeTerminals(self)

    # -- what a test may look at ---------------------------------------------------------------

    @property
    def cells(self) -> np.ndarray:
        """What every cell holds, (tile, row, column), µS."""
        return np.einsum("d,tdij->tij", self.factors, self.conductance)

    @property
    def error(self) -> np.ndarray:
        """What every cell holds too much."""
        return self.cells - self.targets

    def nominal(self) -> Nominal:
        """What is known of the kind of device."""
        return typical()

    def rms(self) -> float:
        return float(np.sqrt(np.mean(self.error**2)))

    # -- what a method may do ------------------------------------------------------------------

    def lsb_us(self, fine: bool) -> np.ndarray:
        step = self.full_scale_us / self.codes if self.codes else 0.0
        if fine and self.cell_lsb_us is not None:
            step = self.cell_lsb_us
        return np.full(len(self.targets), step, dtype=np.float32)

    def convert(self, y: np.ndarray, fine: bool = False) -> np.ndarray:
        step = float(self.lsb_us(fine)[0])
        if self.noise_us > 0:
            y = y + self.noise_us * self.random.normal(size=y.shape)
        if step > 0:
            limit = 1.25 * 2 * G_SET_US if fine and self.cell_lsb_us else self.full_scale_us
            y = np.rint(np.clip(y + self.offset, -limit, limit) / step) * step
        return y.astype(np.float32)

    def mvm(self, x: np.ndarray, pattern: np.ndarray = NO_PATTERN) -> np.ndarray:
        assert x.dtype == np.float32
        assert x.ndim == 2
        assert x.shape[1] == self.targets.shape[1]
        assert np.abs(x).max() <= 1
        self.order.append("mvm")
        self.inputs.append(x.copy())
        return self.convert(np.einsum("bi,tij->tbj", x.astype(float), self.cells))

    def read_rows(
        self, rows: np.ndarray, select: np.ndarray | None = None, fine: bool = False
    ) -> np.ndarray:
        self.order.append("read_rows")
        self.reads.append((rows.copy(), None if select is None else select.copy(), fine))
        chosen = select
        if chosen is None:
            chosen = np.full((1, 1, 1), 2**self.devices - 1)
        total = np.zeros(self.targets.shape)
        for d in range(self.devices):
            total += self.factors[d] * ((chosen >> d) & 1) * self.conductance[:, d]
        return self.convert(total[:, rows], fine)

    def pulse(self, device: np.ndarray, code: np.ndarray) -> None:
        assert device.shape == code.shape == self.targets.shape
        assert device.dtype == np.uint8
        assert ((device < self.devices) | (device == NONE)).all()
        self.order.append("pulse")
        self.pulses.append((device.copy(), code.copy()))
        if self.written:
            reached = np.asarray(code, dtype=float)
            assert (reached >= 0).all()
        else:
            assert code.dtype == np.uint8
        for d in range(self.devices):
            hit = device == d
            if not self.written:
                gain, shift = self.gain[:, d], self.shift[:, d]
                scatter = np.hypot(steepness(code, gain, shift) * JITTER, FLOOR_US)
                drawn = self.random.normal(size=code.shape)
                reached = np.maximum(law(code, gain, shift) + scatter * drawn, 0)
            self.conductance[:, d][hit] = reached[hit]
            self.last_code[:, d][hit] = code[hit]
        if not self.written:
            analog = (self.last_code != SET) & (self.last_code != RESET)
            analog &= ~np.isnan(self.last_code)
            assert (analog.sum(axis=1) <= 1).all(), "two analog devices in a cell"

    def wait(self, seconds: float) -> None:
        assert seconds >= 0
        self.order.append("wait")
        self.waits.append(float(seconds))


def offered(chip: FakeChip) -> dict[str, Any]:
    """What `fastaimc.terminals.Terminals` offers, by name."""
    return {
        "shape": chip.targets.shape,
        "devices": chip.devices,
        "significance": chip.significance,
        "targets": chip.targets,
        "nominal": chip.nominal(),
        "t_eval_s": 200.0,
        "full_scale_us": np.full(len(chip.targets), chip.full_scale_us or np.inf),
        "dac_codes": 0.0,
        "lsb_us": chip.lsb_us,
        "mvm": chip.mvm,
        "read_rows": chip.read_rows,
        "pulse": chip.pulse,
        "wait": chip.wait,
    }


class FakeTerminals:
    """What is offered; whatever else is asked for fails the test."""

    __slots__ = ("_offered",)

    def __init__(self, chip: FakeChip) -> None:
        object.__setattr__(self, "_offered", offered(chip))

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, "_offered")
        if name in found:
            return found[name]
        raise AssertionError(f"a method may not use terminals.{name}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AssertionError(f"a method may not change terminals.{name}")


# --- to program one -------------------------------------------------------------------------------

KEY = np.array([7, 9], dtype=np.uint32)
SHAPE = TILES, ROWS, COLUMNS = 2, 32, 12
# Beyond these a cell of two devices, 12 µS each with 10 % of spread, may be out of reach.
REACH_US = 17.0
SCATTER_US = typical().scatter_us
BATCH = 64

# The defaults are tuned from time to time: tests that count or bound say what they mean.
WAITS: dict[str, Any] = {"verify_delay": 0.02, "final_passes": 4, "final_delay": 0.1}
IP_STEP = Step(margin=1, margin_end=1, kappa=2, gain=0.8, gain_end=0.8, max_step=0.15)
GDP_STEP = Step(margin=1, margin_end=1, kappa=1, gain=0.5, gain_end=0.3, max_step=0.15)


def ip(**values: Any) -> IterativeProgramming:
    plain = {"iterations": 25, "step": IP_STEP, **WAITS}
    return IterativeProgramming(**(plain | values))


def gdp(**values: Any) -> GradientDescentProgramming:
    plain = {"iterations": 25, "step": GDP_STEP, "batch": BATCH, "amplitude": 0.6, **WAITS}
    plain |= {"start_from": "single_shot", "start_rounds": 3, "affine_every": 0}
    return GradientDescentProgramming(**(plain | values))


def guided(**values: Any) -> EstimateGuidedProgramming:
    plain = {"iterations": 25, "step": GDP_STEP, "batch": BATCH, "amplitude": 0.6, **WAITS}
    plain |= {"affine_every": 0}
    return EstimateGuidedProgramming(**(plain | values))


def wanted(seed: int = 5) -> np.ndarray:
    """Targets of both signs, some of them zero, (tile, row, column)."""
    random = np.random.default_rng(seed)
    targets = np.clip(random.normal(0, 6, SHAPE), -REACH_US, REACH_US)
    targets[0, 3] = 0
    return targets.astype(np.float32)


def coarse(targets: np.ndarray, **chip: Any) -> FakeChip:
    """A chip with an ADC of 8 bits, whose full scale is 4 sigma of the outputs."""
    power = float((targets.astype(float) ** 2).sum()) / TILES / COLUMNS / 3
    return FakeChip(targets, full_scale_us=4 * np.sqrt(power), codes=127, **chip)


def begin(method: Method, chip: FakeChip, key: np.ndarray = KEY, engine: str = "numba") -> State:
    backend = engines.load(engine)
    with backend.threads(1):  # on a busy machine starting threads takes longer than the work
        return method.start(chip.terminals, backend, key)


def go_on(
    method: Method,
    chip: FakeChip,
    state: State,
    rounds: range | None = None,
    key: np.ndarray = KEY,
    engine: str = "numba",
) -> None:
    backend = engines.load(engine)
    with backend.threads(1):
        for index in rounds if rounds is not None else range(method.iterations):
            method.iterate(chip.terminals, backend, key, state, index)


def program(
    method: Method, chip: FakeChip, key: np.ndarray = KEY, engine: str = "numba"
) -> tuple[State, float]:
    """Program a chip; return the method's state and the error after the start."""
    state = begin(method, chip, key, engine)
    start = chip.rms()
    go_on(method, chip, state, key=key, engine=engine)
    return state, start


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values.astype(float) ** 2)))
