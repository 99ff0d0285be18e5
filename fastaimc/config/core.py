"""The configuration of a core: crossbar, devices, converters, circuit."""

from __future__ import annotations

import math
import typing
from dataclasses import dataclass, field

import numpy as np

from fastaimc.config.circuit import ADC, DAC, Circuit
from fastaimc.config.device import (
    Drift,
    Faults,
    MeltQuench,
    ProgrammedState,
    ReadNoise,
    state_fits,
    state_parameters,
)
from fastaimc.config.incremental import AccumulativeSet, ExponentialStep, SoftBounds
from fastaimc.config.own import PythonDevice
from fastaimc.config.table import PulseTable
from fastaimc.config.wires import Wires
from fastaimc.errors import ConfigError, check_choice, check_integer, check_number, check_type
from fastaimc.parameters import ALIKE, F32, StateParameters

Counted = AccumulativeSet | SoftBounds | ExponentialStep | PulseTable | PythonDevice
Device = MeltQuench | ProgrammedState | Counted
COMPENSATIONS = ("global", "column", "affine", "none")
MAX_SIZE = 65536  # rows and columns that the random numbers' counter can tell apart


def device_reach(device: Device) -> tuple[float, str]:
    """Return how far a nominal device can take a cell, µS, and the name of that; inf: anywhere."""
    if isinstance(device, MeltQuench):
        return device.g_set_us, "device.g_set_us"
    if isinstance(device, ProgrammedState) or device_is_named(device):
        return math.inf, ""
    return device.high_us - device.low_us, "(device.high_us - device.low_us)"


def device_is_named(device: Device) -> bool:
    """Whether all that is there of a user's device is its name."""
    return isinstance(device, PythonDevice) and isinstance(device.model, str)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreConfig:
    """One AIMC core: a crossbar of unit cells with its converters.

    Parameters
    ----------
    rows, columns
        Size of the physical crossbar; a larger matrix is cut into tiles.
    devices_per_polarity
        Devices of a unit cell that add to its conductance, and as many that subtract.
    significance
        Factor on the conductance of each device of a polarity, the same for both, in digital or by
        mirrored currents: a cell conducts the sum of ``factor (g+ - g-)``.  None: all 1.  A more
        and a less significant pair make the cells of Ambrogio et al., Nature 558, 60 (2018), and of
        Mackin et al., Nat. Commun. 13, 3765 (2022).  A device of factor s loads wires as s do.
    g_max_us
        Conductance of a cell that holds the largest weight of its column, µS.
    device
        `MeltQuench`; `ProgrammedState` for a device given by its statistics; or one that takes
        counted pulses: `AccumulativeSet`, `SoftBounds`, `ExponentialStep`, a `PulseTable` of
        measured ones, or a `PythonDevice`.
    drift, read_noise
        None switches either off.
    faults
        Stuck devices by chance; None: none but those of a map that `program` is given.
    state_scale_us
        Conductance at which the state x of drift and read noise is 1.
    weight_quantile
        Quantile of a column's |weights| that becomes g_max; what is larger is clipped and counted.
    wires
        None: without resistance, so without IR drop.
    compensation
        What is fitted on 128 calibration MVMs at every time of evaluation and applied in digital:
        "global": one scale for each tile; "column": one for each column of a tile; "affine": scale
        and offset of each column; "none".  The MVMs take 17 µs and 1.7 µJ of a HERMES core in one
        phase; a scale costs a multiplication for each output, an offset an addition.
    t_eval_s
        Time since the end of programming at which a matrix is evaluated.

    Examples
    --------
    >>> CoreConfig(rows=128).adc.bits
    8
    """

    rows: int = 256  # HERMES (Khaddam-Aljameh et al., JSSC 57, 1027, 2022)
    columns: int = 256  # HERMES
    devices_per_polarity: int = 2  # HERMES
    significance: tuple[float, ...] | None = None  # HERMES: all alike
    g_max_us: float = 20.0  # HERMES: two devices of up to 10 µS
    weight_quantile: float = 1.0  # assumption: the largest, nothing is clipped
    device: Device = field(default_factory=MeltQuench)
    drift: Drift | None = field(default_factory=Drift)
    read_noise: ReadNoise | None = field(default_factory=ReadNoise)
    faults: Faults | None = None  # assumption: none
    state_scale_us: float = 10.35  # HERMES, one device (aihwkit, HermesNoiseModel)
    dac: DAC = field(default_factory=DAC)
    adc: ADC = field(default_factory=ADC)
    circuit: Circuit = field(default_factory=Circuit)
    wires: Wires | None = None  # assumption: as in a core whose IR drop is compensated
    compensation: str = "global"  # Joshi et al., Nat. Commun. 11, 2473 (2020)
    t_eval_s: float = 200.0  # HERMES: first read (aihwkit)

    def __post_init__(self) -> None:
        check_integer("rows", self.rows, 1, MAX_SIZE)
        check_integer("columns", self.columns, 1, MAX_SIZE)
        check_integer("devices_per_polarity", self.devices_per_polarity, 1, 8)
        if self.significance is not None:
            _check_significance(self.significance, self.devices_per_polarity)
        check_number("g_max_us", self.g_max_us, above=0)
        check_number("weight_quantile", self.weight_quantile, above=0, most=1)
        check_number("state_scale_us", self.state_scale_us, above=0)
        check_number("t_eval_s", self.t_eval_s, least=0)
        check_choice("compensation", self.compensation, COMPENSATIONS)
        parts: tuple[tuple[str, tuple[type, ...]], ...] = (
            ("device", typing.get_args(Device)),
            ("drift", (Drift, type(None))),
            ("read_noise", (ReadNoise, type(None))),
            ("faults", (Faults, type(None))),
            ("dac", (DAC,)),
            ("adc", (ADC,)),
            ("circuit", (Circuit,)),
            ("wires", (Wires, type(None))),
        )
        for name, kinds in parts:
            check_type(name, getattr(self, name), *kinds)
        most, name = device_reach(self.device)
        reach = self.whole_significance * most
        if self.g_max_us > reach:
            count = "sum(significance)" if self.significance else "devices_per_polarity"
            raise ConfigError(
                f"g_max_us must be <= {count} * {name} ({reach:g}), got {self.g_max_us:g}"
            )

    @property
    def devices(self) -> int:
        """Devices of a unit cell, both polarities."""
        return 2 * self.devices_per_polarity

    @property
    def whole_significance(self) -> float:
        """Sum of the factors on the devices of a polarity; their number where all are 1."""
        return float(
            self.devices_per_polarity if self.significance is None else sum(self.significance)
        )

    def device_significance(self) -> np.ndarray:
        """Return the factor on every device of a cell, (devices,), float32; (0,): all are 1."""
        if self.significance is None or all(value == 1 for value in self.significance):
            return ALIKE
        return np.array(2 * self.significance, dtype=F32)

    @property
    def plain_columns(self) -> bool:
        """Whether gain, offset and INL are all that tells the ADCs of columns from ideal ones."""
        return self.adc.is_plain(self.dac.phases)

    def state_fits(self) -> np.ndarray:
        """Return the fits of drift and read noise, (3, 10), float32."""
        return state_fits(self.drift, self.read_noise)

    def state_parameters(self) -> StateParameters:
        """Return the rest of drift and read noise as the engines take it."""
        return state_parameters(self.state_scale_us, self.drift, self.read_noise)


def _check_significance(factors: object, count: int) -> None:
    """Raise `ConfigError` unless there is a factor above zero for each device of a polarity."""
    if not isinstance(factors, tuple) or len(factors) != count:
        raise ConfigError(
            f"significance must be a tuple of {count} numbers (devices_per_polarity) or None, "
            f"got {factors!r}"
        )
    for value in factors:
        check_number("significance", value, above=0)
