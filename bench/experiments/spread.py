"""What programming leaves of a cell, bin by bin of its target, as published fits describe it.

A bin's standard deviation is that of the cells' errors, less what a straight line over their
targets explains: the bin's mean goes, and what the targets differ by within the bin.  The variance
of slow read noise that is part of a look at the cells goes in quadrature, by its closed form.
"""

from __future__ import annotations

import dataclasses

import numpy as np

import fastaimc as fa
from fastaimc.config import CoreConfig
from fastaimc.noise import octaves

CENTRES = np.linspace(0.1, 0.9, 9)
WIDTH = 0.1

DEVICE_US = 10.35  # HERMES, of one device (aihwkit, HermesNoiseModel)
READ_AT_S = {1: 200.0, 2: 300.0}  # by the devices of a cell, both as in HermesNoiseModel
PUBLISHED_US = {
    1: (0.15781817, 2.32443916, -2.16310839, 0.68841818),
    2: (0.16603222, 4.71806468, -8.48101252, 4.68961419),
}


def published(devices: int, x: np.ndarray = CENTRES) -> np.ndarray:
    """Return the published spread of programmed cells of one or two devices at states x, µS."""
    return np.asarray(np.polynomial.polynomial.polyval(x, PUBLISHED_US[devices]))


def binned_std(target: np.ndarray, value: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return the standard deviation of cells within every bin, (bin,).

    Parameters
    ----------
    target, value : ndarray
        What cells were to hold and what they hold, with the target's sign, in units of the scale.
    noise : ndarray
        Variance of what reads add to each `value`, in units of the scale, squared.
    """
    found = np.empty(len(CENTRES))
    for index, centre in enumerate(CENTRES):
        inside = np.abs(target - centre) < WIDTH / 2
        x, error = target[inside] - centre, (value - target)[inside]
        line = np.polynomial.polynomial.polyfit(x, error, 1)
        rest = error - np.polynomial.polynomial.polyval(x, line)
        variance = np.square(rest).sum() / (len(x) - 2) - noise[inside].mean()
        found[index] = np.sqrt(max(float(variance), 0.0))
    return found


def spread_us(matrix: fa.AnalogMatrix) -> np.ndarray:
    """Return the spread of a programmed matrix's cells at its time, (bin,), µS."""
    scale = matrix.config.g_max_us
    sign = np.sign(matrix.targets)
    cells = (sign * array / scale for array in (matrix.targets, matrix.conductances()))
    target, value = (array.astype(np.float64).ravel() for array in cells)
    return scale * binned_std(target, value, slow_variance_us2(matrix).ravel() / scale**2)


def slow_variance_us2(matrix: fa.AnalogMatrix) -> np.ndarray:
    """Return the variance of slow read noise in what the cells show, (tile, row, column), µS².

    Fast and slow noise of a device go with the same ``(g Q)²``, so their variances go as the bands
    of the two: the fast one's is known of every cell.
    """
    noise, core = matrix.config.read_noise, matrix.core
    clock_s = core.clock_s + matrix.time_s
    if noise is None or not noise.slow:
        return np.zeros(core.shape)
    slow = np.square(octaves(noise, clock_s)[..., 2]).sum(axis=1)
    variance = core.conducted(clock_s)[0][1].astype(np.float64)
    return np.asarray(variance * (slow / noise.band)[:, None, None])


def error_us(matrix: fa.AnalogMatrix) -> float:
    """Return the root mean square error of the cells after one best scale for all, µS."""
    target, value = (a.astype(np.float64) for a in (matrix.targets, matrix.conductances()))
    scale = (target * value).sum() / np.square(value).sum()
    return float(np.sqrt(np.square(scale * value - target).mean()))


def uniform_weights(seed: int, size: int) -> np.ndarray:
    """Return weights whose targets are uniform from minus to plus the largest, (size, size)."""
    weights = np.random.default_rng(seed).uniform(-1, 1, (size, size))
    weights[:, 0] = 1.0  # the largest of each output, and in no bin
    return weights


def core_of(devices: int, size: int, config: CoreConfig) -> CoreConfig:
    """Return a core of so many devices a polarity, at the scale and time of its published fit."""
    return dataclasses.replace(
        config,
        rows=size,
        columns=size,
        devices_per_polarity=devices,
        g_max_us=devices * DEVICE_US,
        t_eval_s=READ_AT_S[devices],
    )
