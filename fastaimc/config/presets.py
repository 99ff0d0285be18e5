"""Named configurations, each with its sources."""

from __future__ import annotations

from fastaimc.config.circuit import ADC, DAC
from fastaimc.config.core import CoreConfig
from fastaimc.config.device import Drift, ProgrammedState, ReadNoise, StateFit


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


def hermes_statistics() -> CoreConfig:
    """Return HERMES by the published statistics of its programmed cells of two devices.

    Programming spread, drift and read noise of the two-device fits (aihwkit's HermesNoiseModel),
    which describe a whole cell, at their first read after 300 s; converters as in `hermes`.

    Examples
    --------
    >>> hermes_statistics().devices
    2
    """
    return CoreConfig(
        devices_per_polarity=1,
        device=ProgrammedState(std_us=(0.16603222, 4.71806468, -8.48101252, 4.68961419)),
        state_scale_us=20.7,
        drift=Drift(
            std=StateFit(
                split=0.3055,
                slope=-0.0117,
                offset=-0.0057,
                low=0.0091,
                high=0.04,
                cubic=(0.0073, 0.0093, -0.0118, 0.0),
            ),
            t_ref_s=300.0,
        ),
        read_noise=ReadNoise(
            q=StateFit(
                split=0.16,
                slope=-0.0117,
                offset=-0.0069,
                low=0.015,
                high=0.04,
                cubic=(0.0123, 0.0211, -0.0280, 0.0069),
            )
        ),
        t_eval_s=300.0,
    )


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
