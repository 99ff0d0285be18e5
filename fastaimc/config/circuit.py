"""Converters around the crossbar, and what an operation costs in time and energy."""

from __future__ import annotations

import numbers
from dataclasses import dataclass

import numpy as np

from fastaimc.errors import ConfigError, check_choice, check_integer, check_number, nearest

MAX_BITS = 16
PHASES = (1, 2, 4)
RANGES = ("core", "column", "calibrated", "calibrated_column")


def _check_bits(name: str, bits: int | None) -> None:
    if bits is not None:
        check_integer(name, bits, 1, MAX_BITS)


def _check_range(value: object) -> None:
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        check_number("adc.range", value, above=0)
    elif value not in RANGES:
        words = ", ".join(map(repr, RANGES))
        raise ConfigError(
            f"adc.range must be a number of µS > 0, or one of {words}, got {value!r}"
            f"{nearest(value, RANGES)}"
        )


def half_codes(bits: int | None) -> float:
    """Return the codes on either side of zero: sign and magnitude; 0 for an ideal converter.

    One bit is the sign alone: half a code on either side, and none at zero, which counts as plus.
    """
    if bits is None:
        return 0
    return 0.5 if bits == 1 else 2 ** (bits - 1) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DAC:
    """Input converter: sign and magnitude, saturating at the input range; None is ideal.

    One bit drives the sign alone: −1, or +1 from zero on.  One phase drives signed inputs in one
    go.  Two drive the positive ones, then the negative ones; four keep the devices that add and
    those that subtract apart as well.  Each phase is converted on its own and has its own read
    noise, time and energy; the sum is digital.  Reads of single rows need one phase.
    """

    bits: int | None = 8  # HERMES: 8-bit PWM (Khaddam-Aljameh et al., JSSC 57, 1027, 2022)
    phases: int = 1  # HERMES: one or four (Le Gallo et al., Nat. Electron. 6, 680, 2023)

    def __post_init__(self) -> None:
        _check_bits("dac.bits", self.bits)
        check_integer("dac.phases", self.phases, 1, 4)
        check_choice("dac.phases", self.phases, PHASES)

    def half_codes(self) -> float:
        """Return the codes on either side of zero; 0: ideal."""
        return half_codes(self.bits)


@dataclass(frozen=True, slots=True, kw_only=True)
class ADC:
    """Output converter of every column, with a range for MVMs and one for single cells.

    The spreads are standard deviations over columns, as fractions of full scale; both ranges
    draw their own.

    Parameters
    ----------
    bits, programming_bits
        In use, and while programming.  Signed codes, of one bit -1 and +1; where four phases
        leave only currents of one sign, all bits count: 0, 1, … 2**bits - 1.  None: ideal.
    cell_lsb_us
        Step of the range for single cells; None: it has none.
    range
        Full scale in µS; or how it is found: from the targets, "column": one for every column, or
        "core": one for every tile, the root mean square of those, in several phases the largest;
        or "calibrated" and "calibrated_column", from what uniform inputs give at the time of
        evaluation (1,024 MVMs, 136 µs and 14 µJ of a HERMES core; while programming as "core").
    full_scale_sigmas
        Standard deviations of its outputs for uniform inputs that a range from targets leaves on
        either side of their mean.
    range_quantile
        Quantile of the outputs' sizes that a calibrated range takes for full scale.
    noise_std
        White noise of every conversion, a fraction of the column's full scale, before rounding.
    dead_time, dead_time_std
        Mean and spread over columns of a current-controlled oscillator's dead time, in units of its
        period at full scale without it: a current v counts as v / (1 + dead_time |v|).
    """

    bits: int | None = 8  # HERMES (Le Gallo et al., Nat. Electron. 6, 680, 2023); None: ideal
    programming_bits: int | None = None  # assumption: as in use; in force while programming
    cell_lsb_us: float | None = None  # assumption: no cell range; else its step
    range: str | float = "core"  # assumption: one for all columns
    full_scale_sigmas: float = 4.0  # assumption: of outputs for uniform inputs
    range_quantile: float = 1.0  # assumption: nothing that calibration sees saturates
    gain_std: float = 0.03  # assumption: after digital calibration
    offset_std: float = 0.005  # assumption
    inl_std: float = 0.01  # assumption
    noise_std: float = 0.0  # assumption: part of the read noise
    dead_time: float = 0.0  # assumption: none that calibration leaves; nor is its form published
    dead_time_std: float = 0.0  # assumption: as above

    def __post_init__(self) -> None:
        _check_bits("adc.bits", self.bits)
        _check_bits("adc.programming_bits", self.programming_bits)
        if self.cell_lsb_us is not None:
            check_number("adc.cell_lsb_us", self.cell_lsb_us, above=0)
        _check_range(self.range)
        check_number("adc.full_scale_sigmas", self.full_scale_sigmas, above=0)
        check_number("adc.range_quantile", self.range_quantile, above=0, most=1)
        for name in ("gain_std", "offset_std", "inl_std"):
            check_number(f"adc.{name}", getattr(self, name), least=0, most=0.15)
        check_number("adc.noise_std", self.noise_std, least=0, most=1)
        check_number("adc.dead_time", self.dead_time, least=0, most=10)
        check_number("adc.dead_time_std", self.dead_time_std, least=0, most=1)

    def half_codes(self, programming: bool) -> float:
        """Return the codes on either side of zero (0: ideal), in use or while programming."""
        return half_codes(self._bits(programming))

    def mvm_codes(self, programming: bool, phases: int) -> float:
        """Return the codes of an MVM's phases, as an engine takes them: negative if unsigned."""
        bits = self._bits(programming)
        if phases < 4 or bits is None:
            return half_codes(bits)
        return float(1 - 2**bits)

    def _bits(self, programming: bool) -> int | None:
        use_own = programming and self.programming_bits is not None
        return self.programming_bits if use_own else self.bits

    def spreads(self) -> np.ndarray:
        """Return the spreads over columns as an engine takes them, (3,) or (4,), float32."""
        stds = [self.gain_std, self.offset_std, self.inl_std]
        if self.dead_time_std > 0:
            stds.append(self.dead_time_std)
        return np.array(stds, dtype=np.float32)

    def is_plain(self, phases: int) -> bool:
        """Whether gain, offset and INL are all that tells its columns from ideal ones."""
        parts = (self.noise_std, self.dead_time, self.dead_time_std)
        own_range = self.range in ("column", "calibrated_column")
        codes = 1 in (self.bits, self.programming_bits) or phases == 4
        return not (any(parts) or own_range or codes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """Time and energy of a crossbar's operations.

    An MVM in one phase takes 133 ns and 13.4 nJ, in four 521 ns and 52.9 nJ: 63.1 and 16.1 TOPS,
    9.76 and 2.48 TOPS/W over 64 cores of 256×256 (Le Gallo et al., Nat. Electron. 6, 680, 2023).
    """

    t_mvm_s: float = 133e-9  # derived, see above; in one phase
    energy_mvm_j: float = 13.4e-9  # derived, see above; of a full 256×256 core
    t_phase_s: float = 388e-9 / 3  # derived, see above: of every phase after the first
    energy_phase_j: float = 39.5e-9 / 3  # derived, see above: as for t_phase_s
    t_pulse_s: float = 1e-6  # assumption: with the slow trailing edge that SETs
    parallel_pulses: int = 256  # assumption: the cells of one diagonal at a time
    energy_set_j: float = 180e-12  # assumption: 120 µA at 1.5 V for 1 µs
    energy_reset_j: float = 45e-12  # assumption: 300 µA at 1.5 V for 100 ns
    t_read_s: float | None = None  # assumption: of a row, as an MVM in one phase
    energy_read_j: float | None = None  # assumption: a row's share of an MVM; else of 256 columns

    def __post_init__(self) -> None:
        times, energies = ("t_mvm_s", "t_phase_s", "t_pulse_s"), ("energy_mvm_j", "energy_phase_j")
        for name in (*times, *energies, "energy_set_j", "energy_reset_j"):
            check_number(f"circuit.{name}", getattr(self, name), least=0)
        for name in ("t_read_s", "energy_read_j"):
            if getattr(self, name) is not None:
                check_number(f"circuit.{name}", getattr(self, name), least=0)
        check_integer("circuit.parallel_pulses", self.parallel_pulses, 1, 65536)

    def mvm_s(self, phases: int) -> float:
        """Return the time of an MVM in so many phases."""
        return self.t_mvm_s + (phases - 1) * self.t_phase_s

    def mvm_j(self, phases: int) -> float:
        """Return the energy of an MVM of a full core in so many phases."""
        return self.energy_mvm_j + (phases - 1) * self.energy_phase_j

    @property
    def read_s(self) -> float:
        """The time of a read of one row."""
        return self.t_mvm_s if self.t_read_s is None else self.t_read_s
