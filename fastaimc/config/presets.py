"""Named configurations, each with its sources."""

from __future__ import annotations

import dataclasses
import math

from fastaimc.config.circuit import ADC, DAC
from fastaimc.config.core import CoreConfig
from fastaimc.config.device import Drift, MeltQuench, ProgrammedState, ReadNoise, StateFit
from fastaimc.config.incremental import AccumulativeSet

_BAND = math.sqrt(ReadNoise().band)  # what a relative noise is over Q


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


def hermes_calibrated() -> CoreConfig:
    """Return `hermes` with devices on which plain IP leaves the published spread of its cells.

    Scatter of pulses, spread of SET conductances and onset of drift are calibrated, with slow noise
    on: bench/results/calibration.md.  That holds for IP in the cell range, without waits, its step
    tuned to these devices.  The numbers hold whatever the published IP did otherwise: they are not
    a device's alone.  The steps that methods have by default are tuned to `hermes`.

    Examples
    --------
    >>> hermes_calibrated().read_noise.slow
    True
    """
    return dataclasses.replace(
        hermes(),
        device=MeltQuench(jitter_ua=8.916, g_set_spread=0.08722),
        drift=Drift(t_on_s=0.1853),
        read_noise=ReadNoise(slow=True),
    )


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
            slow=True,
            q=StateFit(
                split=0.16,
                slope=-0.0117,
                offset=-0.0069,
                low=0.015,
                high=0.04,
                cubic=(0.0123, 0.0211, -0.0280, 0.0069),
            ),
        ),
        t_eval_s=300.0,
    )


def hermes_one_device() -> CoreConfig:
    """Return HERMES by the published statistics of programmed cells of one device.

    Programming spread, drift and read noise of the one-device fits (aihwkit's HermesNoiseModel) on
    a scale of 10.35 µS, at their first read after 200 s; converters as in `hermes`.

    Examples
    --------
    >>> hermes_one_device().g_max_us
    10.35
    """
    return CoreConfig(
        devices_per_polarity=1,
        g_max_us=10.35,
        device=ProgrammedState(
            g_scale_us=10.35, std_us=(0.15781817, 2.32443916, -2.16310839, 0.68841818)
        ),
        drift=Drift(t_ref_s=200.0),
        read_noise=ReadNoise(slow=True),
        t_eval_s=200.0,
    )


def pcm_joshi() -> CoreConfig:
    """Return cells of 90 nm PCM by the statistics of a million devices, in HERMES' converters.

    Joshi et al., Nat. Commun. 11, 2473 (2020), as in aihwkit's PCMLikeNoiseModel: programming
    spread, drift from 20 s on, and read noise accumulated since programming, of one device per
    polarity on a scale of 25 µS.

    Examples
    --------
    >>> pcm_joshi().g_max_us, pcm_joshi().t_eval_s
    (25.0, 20.0)
    """
    return CoreConfig(
        devices_per_polarity=1,
        g_max_us=25.0,
        device=ProgrammedState(g_scale_us=25.0, std_us=(0.26348, 1.9650, -1.1731)),
        state_scale_us=25.0,
        drift=Drift(
            mean=StateFit(slope=-0.0155, offset=0.0244, low=0.049, high=0.1),
            std=StateFit(slope=-0.0125, offset=-0.0059, low=0.008, high=0.045),
            t_ref_s=20.0,
        ),
        read_noise=ReadNoise(
            q=StateFit(  # min(0.0088 / x^0.65, 0.2)
                slope=-0.65,
                offset=math.log(0.0088),
                low=math.log(0.0088),
                high=math.log(0.2),
                of_log=True,
            ),
            t_read_s=250e-9,
            slow=True,
        ),
        t_eval_s=20.0,
    )


def pcm_nandakumar() -> CoreConfig:
    """Return cells of 90 nm PCM that accumulate SET pulses, in HERMES' converters.

    Nandakumar et al., J. Appl. Phys. 124, 152135 (2018): one device per polarity, with its drift
    from 38.6 s on, and its read noise of 0.03 G + 0.13 µS.  The largest conductance, what ten
    pulses reach on average, is an assumption.

    Examples
    --------
    >>> pcm_nandakumar().device.memory_pulses
    2.6
    """
    return CoreConfig(
        devices_per_polarity=1,
        g_max_us=7.83,
        device=AccumulativeSet(),
        state_scale_us=7.83,
        drift=Drift(
            mean=StateFit(low=0.04, high=0.04), std=StateFit(low=0.0, high=0.0), t_ref_s=38.6
        ),
        read_noise=ReadNoise(q=StateFit(low=0.03 / _BAND, high=0.03 / _BAND), floor_us=0.13),
        adc=ADC(cell_lsb_us=0.129),
        t_eval_s=38.6,
    )


def reram_wan() -> CoreConfig:
    """Return ReRAM cells by their statistics one second after programming, without drift.

    Wan et al., Nature 608, 504 (2022), as in aihwkit's ReRamWan2022NoiseModel: one device per
    polarity on a scale of 40 µS; relaxation is part of the spread.  Converters as in `hermes`.

    Examples
    --------
    >>> reram_wan().g_max_us
    40.0
    """
    return _reram((0.348, 16.030, -43.853, 45.393, -16.815), 1.0)


def reram_wan_day() -> CoreConfig:
    """Return `reram_wan` one day after programming.

    Examples
    --------
    >>> reram_wan_day().t_eval_s
    86400.0
    """
    return _reram((0.701, 22.086, -50.773, 47.095, -16.458), 86400.0)


def _reram(std_us: tuple[float, ...], t_eval_s: float) -> CoreConfig:
    return CoreConfig(
        devices_per_polarity=1,
        g_max_us=40.0,
        device=ProgrammedState(g_scale_us=40.0, std_us=std_us),
        state_scale_us=40.0,
        drift=None,
        read_noise=None,
        compensation="none",
        t_eval_s=t_eval_s,
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
