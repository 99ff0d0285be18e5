"""Flat numbers that an engine takes: what a config becomes before it reaches a kernel.

Named tuples of float32 scalars, so that both twins and Numba read them alike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

F32 = np.float32
ALIKE = np.ones(0, dtype=F32)  # significance of devices that all count the same
MOST_BITS = 8  # of `Cells.filled`


def mask_dtype(devices: int) -> type[np.uint8] | type[np.uint16]:
    """Return the type of masks with a bit for each device of a cell.

    Sixteen devices are the most; up to eight a mask takes one byte, so that kernels read no more.
    """
    return np.uint8 if devices <= 8 else np.uint16


class FitParameters(NamedTuple):
    """A published fit over the state x: logarithmic below `split`, cubic from it on."""

    split: np.float32
    slope: np.float32
    offset: np.float32
    low: np.float32
    high: np.float32
    c0: np.float32
    c1: np.float32
    c2: np.float32
    c3: np.float32
    of_log: np.float32  # 1: the fit is of the logarithm


class PulseParameters(NamedTuple):
    """Melt-quench device: curve, spreads over devices, scatter, and the pulse generator."""

    log_g_set: np.float32
    depth: np.float32
    centre_ua: np.float32
    width_ua: np.float32
    g_set_spread: np.float32
    centre_spread: np.float32
    width_spread: np.float32
    jitter_ua: np.float32
    floor_us: np.float32
    current_min_ua: np.float32
    current_step_ua: np.float32
    knee_ua: np.float32
    decades_spread: np.float32
    jitter_spread: np.float32
    floor_spread: np.float32
    compliance_ua: np.float32  # inf: none


class IncrementParameters(NamedTuple):
    """Device of counted pulses, beside its table of steps: bounds, spreads, RESET and memory."""

    low_us: np.float32
    high_us: np.float32
    low_spread: np.float32  # standard deviations over devices, µS
    high_spread: np.float32
    step_spread: np.float32  # of a factor on all steps
    asymmetry_spread: np.float32  # of what steps up have more of it, and steps down less
    reset_us: np.float32
    reset_std_us: np.float32
    memory_rate: np.float32  # of the memory's decay, for each pulse
    mean_memory_us: np.float32  # more of the mean and of the spread of a step, times the memory
    std_memory_us: np.float32


class StateParameters(NamedTuple):
    """Drift and read noise of a device in the state x = g / g_scale, beside their three fits.

    The fits (mean and standard deviation of nu, and Q) go as rows of a (3, 10) array, each a
    `FitParameters`: Numba takes no tuple of tuples into a parallel loop.
    """

    inverse_scale: np.float32
    noise_band: np.float32
    inverse_t_ref: np.float32
    t_on_s: np.float32
    t_on_spread: np.float32
    redraw: np.float32  # 1: every pulse draws an exponent
    noise_spread: np.float32
    noise_floor: np.float32  # µS; what the noise of a device is larger by, over the band's root


class StepParameters(NamedTuple):
    """How an estimated error becomes a pulse: threshold, step and its bound."""

    margin: np.float32  # in standard deviations of a nominal pulse's scatter
    kappa: np.float32  # in standard errors of the estimate
    gain: np.float32  # part of the estimated error that a pulse corrects
    max_step: np.float32  # largest change of the amplitude, in codes
    steepest: np.float32  # largest |dG/dcode| of the nominal curve, µS
    devices: np.float32  # of a cell; those of the second half subtract


class BeliefParameters(NamedTuple):
    """What a cell's estimate of its error holds for likely, in variances."""

    share: np.float32  # of a batch's squared error by column: noise of an estimate
    spread: np.float32  # what a pulse leaves, in standard deviations of its scatter at the aim
    miss: np.float32  # what it leaves of the error that called for it, beside that
    walk: np.float32  # change from batch to batch, in standard deviations of that scatter


class WireParameters(NamedTuple):
    """Resistances of a crossbar's wires, in 1/µS, float64: small ones beside large currents."""

    row: np.float64  # of a segment of a row, the one before the first column included
    column: np.float64  # of a segment of a column line
    end: np.float64  # from a column line's last node to the virtual ground


class Cells(NamedTuple):
    """What a controller knows of a tile's cells, flat, and what it decides; for the kernels.

    Of the devices that stay SET bit d mod 8 is that of device d: a polarity has at most eight.  All
    eight bits are never set, as one device is analog.
    """

    total: np.ndarray  # sum of the estimates since the last pulse, float32
    number: np.ndarray  # of them, uint8
    device: np.ndarray  # the analog one (255: none), uint8
    filled: np.ndarray  # the others that are SET, a bit each (255: never handed over), uint8
    level: np.ndarray  # amplitude in 1/64 codes, int16
    swing: np.ndarray  # sense of the last pulse, one plus the halvings of the step (0: none), int8
    aim: np.ndarray  # code of what the analog device is to hold, uint8
    fire: np.ndarray  # device to pulse (255: none), uint8
    code: np.ndarray  # of that pulse, uint8


class Rule(NamedTuple):
    """Tables over the code, (256,) or as said, float32, and the step: the same for all cells."""

    ahead: np.ndarray
    curve: np.ndarray
    pivots: np.ndarray  # every sixteenth value of the curve
    slope: np.ndarray
    scatter: np.ndarray
    significance: np.ndarray  # not over the code: of device d, (256,); (0,) where all count alike
    change: np.ndarray  # (4, 256) or (4, 0): steps of a device of counted pulses
    step: StepParameters
