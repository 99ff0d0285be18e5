"""Named configurations, each with its sources."""

from __future__ import annotations

from fastaimc.config.circuit import ADC, DAC
from fastaimc.config.core import CoreConfig
from fastaimc.config.device import ProgrammedState


def hermes() -> CoreConfig:
    """Return the HERMES core: 256×256 cells of four PCM devices, 8-bit converters, one phase.

    Khaddam-Aljameh et al., JSSC 57, 1027 (2022); Le Gallo et al., Nat. Electron. 6, 680 (2023);
    drift and read noise after aihwkit's HermesNoiseModel.  The melt-quench curve, its spreads
    and the converters' spreads are assumptions.  Cells can be read at 0.129 µS a count.

    Examples
    --------
    >>> hermes().rows, hermes().devices
    (256, 4)
    """
    return CoreConfig(adc=ADC(cell_lsb_us=0.129))


def ideal() -> CoreConfig:
    """Return a core without any non-ideality: a write reaches exactly what it asks for.

    Examples
    --------
    >>> ideal().drift is None
    True
    """
    return CoreConfig(
        devices_per_polarity=1,
        device=ProgrammedState(),
        drift=None,
        read_noise=None,
        dac=DAC(bits=None),
        adc=ADC(bits=None, gain_std=0.0, offset_std=0.0, inl_std=0.0),
        compensation="none",
    )
