"""Converters around the crossbar, and what an operation costs in time and energy."""

from __future__ import annotations

from dataclasses import dataclass

from fastaimc.errors import check_integer, check_number

MAX_BITS = 16


def _check_bits(name: str, bits: int | None) -> None:
    if bits is not None:
        check_integer(name, bits, 2, MAX_BITS)


def half_codes(bits: int | None) -> int:
    """Return the codes on either side of zero: sign and magnitude; 0 for an ideal converter."""
    return 0 if bits is None else 2 ** (bits - 1) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DAC:
    """Input converter: sign and magnitude, saturating at the input range; None is ideal."""

    bits: int | None = 8  # HERMES: 8-bit PWM (Khaddam-Aljameh et al., JSSC 57, 1027, 2022)

    def __post_init__(self) -> None:
        _check_bits("dac.bits", self.bits)


@dataclass(frozen=True, slots=True, kw_only=True)
class ADC:
    """Output converter of every column, one range per core and one for single cells.

    The spreads are standard deviations over columns, as fractions of full scale; both ranges
    draw their own.
    """

    bits: int | None = 8  # HERMES (Le Gallo et al., Nat. Electron. 6, 680, 2023); None: ideal
    programming_bits: int | None = None  # assumption: as in use; in force while programming
    cell_lsb_us: float | None = None  # assumption: no cell range; else its step
    full_scale_sigmas: float = 4.0  # assumption: of outputs for uniform inputs
    gain_std: float = 0.03  # assumption: after digital calibration
    offset_std: float = 0.005  # assumption
    inl_std: float = 0.01  # assumption

    def __post_init__(self) -> None:
        _check_bits("adc.bits", self.bits)
        _check_bits("adc.programming_bits", self.programming_bits)
        if self.cell_lsb_us is not None:
            check_number("adc.cell_lsb_us", self.cell_lsb_us, above=0)
        check_number("adc.full_scale_sigmas", self.full_scale_sigmas, above=0)
        for name in ("gain_std", "offset_std", "inl_std"):
            check_number(f"adc.{name}", getattr(self, name), least=0, most=0.15)

    def half_codes(self, programming: bool) -> int:
        """Return the codes on either side of zero (0: ideal), in use or while programming."""
        use_own = programming and self.programming_bits is not None
        return half_codes(self.programming_bits if use_own else self.bits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """Time and energy of a crossbar's operations.

    An MVM in one phase takes 133 ns and 13.4 nJ: 63.1 TOPS and 9.76 TOPS/W over 64 cores of
    256×256 (Le Gallo et al., Nat. Electron. 6, 680, 2023).
    """

    t_mvm_s: float = 133e-9  # derived, see above
    energy_mvm_j: float = 13.4e-9  # derived, see above; of a full 256×256 core
    t_pulse_s: float = 1e-6  # assumption: with the slow trailing edge that SETs
    parallel_pulses: int = 256  # assumption: the cells of one diagonal at a time
    energy_set_j: float = 180e-12  # assumption: 120 µA at 1.5 V for 1 µs
    energy_reset_j: float = 45e-12  # assumption: 300 µA at 1.5 V for 100 ns

    def __post_init__(self) -> None:
        for name in ("t_mvm_s", "energy_mvm_j", "t_pulse_s", "energy_set_j", "energy_reset_j"):
            check_number(f"circuit.{name}", getattr(self, name), least=0)
        check_integer("circuit.parallel_pulses", self.parallel_pulses, 1, 65536)
