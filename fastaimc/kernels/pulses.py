"""Pulses and writes: what programming does to phase-change devices.

Rows of all tiles run in parallel; a row is one thread's work.  Spreads over devices are
recomputed from the counter wherever they are needed and never stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastaimc.kernels.jit import helper, kernel, run
from fastaimc.kernels.launch import launch
from fastaimc.kernels.melting import comply, melt, melt_varied, varies, zeros
from fastaimc.kernels.philox import (
    CENTRE_SPREAD,
    PULSE,
    SET_SPREAD,
    WIDTH_SPREAD,
    WRITE,
    device_word,
    normal,
)
from fastaimc.parameters import PulseParameters

NONE = np.uint8(255)
_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_SMALLEST_STATE = np.float32(1e-3)


@helper
def _chosen(device: np.ndarray, devices: int, columns: np.ndarray) -> int:
    """Write the columns in which a device is pulsed, one after another; return their number."""
    count = 0
    for column in range(device.shape[0]):
        columns[count] = column
        count += 1 if device[column] < devices else 0
    return count


@helper
def _least_and_most(device: np.ndarray) -> tuple[int, int]:
    """Smallest and largest number; vectorises: late rounds pulse few."""
    least, most = NONE, np.uint8(0)
    for column in range(device.shape[0]):
        least = min(least, device[column])
        most = max(most, device[column])
    return int(least), int(most)


@helper
def _chosen_normals(
    identity: np.ndarray,
    row: int,
    columns: np.ndarray,
    device: np.ndarray,
    first: tuple[int, np.uint32],
    second: tuple[int, np.uint32],
    words: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write normals of two purposes, each with its step, of one device of a row's chosen columns.

    In loops that vectorise: words of 64 bits and of 32 do not go well together.  Two purposes at a
    time, as each word is a chain of forty operations that wait for each other.
    """
    for index in range(out.shape[1]):
        column, number = int(columns[index]), int(device[index])
        words[0, index] = device_word(identity, row, column, first[0], first[1], number)
        words[1, index] = device_word(identity, row, column, second[0], second[1], number)
    for purpose in range(2):
        for index in range(out.shape[1]):
            out[purpose, index] = normal(words[purpose, index])


@helper
def _normals_alike(
    identity: np.ndarray,
    row: int,
    number: int,
    first: tuple[int, np.uint32],
    second: tuple[int, np.uint32],
    words: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write what `_chosen_normals` does, of device `number` in all columns."""
    for column in range(out.shape[1]):
        words[0, column] = device_word(identity, row, column, first[0], first[1], number)
        words[1, column] = device_word(identity, row, column, second[0], second[1], number)
    for purpose in range(2):
        for column in range(out.shape[1]):
            out[purpose, column] = normal(words[purpose, column])


@helper
def _pulse_alike(
    g: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    number: int,
    code: np.ndarray,
    now: np.float32,
    row: int,
    step: int,
    identity: np.ndarray,
    p: PulseParameters,
    counts: np.ndarray,
) -> None:
    """Pulse one device in all columns of a row: nothing has to be gathered."""
    width = code.shape[0]
    z = np.empty((4, width), np.float32)
    words = np.empty((2, width), np.uint32)
    which = (identity, row, number)
    _normals_alike(*which, (0, SET_SPREAD), (0, CENTRE_SPREAD), words, z[:2])
    _normals_alike(*which, (0, WIDTH_SPREAD), (step, PULSE), words, z[2:])
    sets = 0
    for column in range(width):
        g[column] = p.current_min_ua + np.float32(code[column]) * p.current_step_ua
        sets += 1 if g[column] < p.knee_ua else 0
    counts[3] = comply(g, p)
    melt(g, z, p)
    last_device[:] = number
    last_s[:] = now
    counts[0] = sets
    counts[1] = width - sets
    counts[2] = zeros(g)


@helper
def _pulse_row(
    conductance: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    device: np.ndarray,
    code: np.ndarray,
    now: np.float32,
    row: int,
    step: int,
    identity: np.ndarray,
    p: PulseParameters,
    counts: np.ndarray,
) -> None:
    """Pulse a row's chosen devices, gathered so that their random numbers vectorise."""
    least, most = _least_and_most(device)
    if least >= conductance.shape[0]:
        return
    varied = varies(p)
    if least == most and not varied:  # as at a start
        head = (conductance[least, row], last_device, last_s, least, code)
        _pulse_alike(*head, now, row, step, identity, p, counts)
        return
    columns = np.empty(device.shape[0] + 1, np.int32)
    count = _chosen(device, conductance.shape[0], columns)
    columns = columns[:count]
    z = np.empty((4, count), np.float32)
    words = np.empty((2, count), np.uint32)
    chosen = np.empty(count, np.uint8)
    current = np.empty(count, np.float32)
    for index in range(count):
        chosen[index] = device[columns[index]]
        current[index] = p.current_min_ua + np.float32(code[columns[index]]) * p.current_step_ua
    which = (identity, row, columns, chosen)
    _chosen_normals(*which, (0, SET_SPREAD), (0, CENTRE_SPREAD), words, z[:2])
    _chosen_normals(*which, (0, WIDTH_SPREAD), (step, PULSE), words, z[2:])
    sets = 0
    for index in range(count):
        sets += 1 if current[index] < p.knee_ua else 0
    counts[3] = comply(current, p)
    if varied:
        melt_varied(current, z, *which, p)
    else:
        melt(current, z, p)
    for index in range(count):
        column = columns[index]
        conductance[int(chosen[index]), row, column] = current[index]
        last_device[column] = chosen[index]
        last_s[column] = now
    counts[0] = sets
    counts[1] = count - sets
    counts[2] = zeros(current)


@helper
def _pulse_share(
    begin: int,
    end: int,
    conductance: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    device: np.ndarray,
    code: np.ndarray,
    clock_s: np.ndarray,
    step: int,
    identity: np.ndarray,
    p: PulseParameters,
    counts: np.ndarray,
) -> None:
    """Rows from `begin` to `end` of all tiles."""
    rows = device.shape[1]
    for index in range(begin, end):
        t = index // rows
        r = index % rows
        _pulse_row(
            conductance[t],
            last_device[t, r],
            last_s[t, r],
            device[t, r],
            code[t, r],
            np.float32(clock_s[t]),
            r,
            step,
            identity[t],
            p,
            counts[t, r],
        )


@kernel
def _pulse(shares: int, begin: int, end: int, *arguments: Any) -> None:
    launch(_pulse_share, shares, begin, end, arguments)


def pulse(
    conductance: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    device: np.ndarray,
    code: np.ndarray,
    clock_s: np.ndarray,
    step: int,
    identity: np.ndarray,
    parameters: PulseParameters,
) -> np.ndarray:
    """Pulse one device of each cell; see `fastaimc.reference.pulses.pulse`."""
    tiles, rows, columns = device.shape
    counts = np.zeros((tiles, rows, 4), np.int64)
    state = (conductance, last_device, last_s, device, code, clock_s, step, identity, parameters)
    run(_pulse, tiles * rows, columns, *state, counts)
    return counts.sum(axis=1)


@helper
def _write_row(
    conductance: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    device: np.ndarray,
    value: np.ndarray,
    now: np.float32,
    row: int,
    step: int,
    identity: np.ndarray,
    inverse_scale: np.float32,
    c: np.ndarray,
    counts: np.ndarray,
) -> None:
    count = clipped = 0
    for column in range(device.shape[0]):
        d = int(device[column])
        if d >= conductance.shape[0]:
            continue
        x = value[column] * inverse_scale
        x = x if x > _SMALLEST_STATE else _SMALLEST_STATE
        x = x if x < _ONE else _ONE
        std = (((c[4] * x + c[3]) * x + c[2]) * x + c[1]) * x + c[0]
        std = std if std > _ZERO and value[column] > _ZERO else _ZERO
        g = value[column] + std * normal(device_word(identity, row, column, step, WRITE, d))
        conductance[d, row, column] = g if g > _ZERO else _ZERO
        last_device[column] = device[column]
        last_s[column] = now
        count += 1
        clipped += 1 if g < _ZERO else 0
    counts[1] = count
    counts[2] = clipped


@helper
def _write_share(
    begin: int,
    end: int,
    conductance: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    device: np.ndarray,
    value: np.ndarray,
    clock_s: np.ndarray,
    step: int,
    identity: np.ndarray,
    inverse_scale: np.float32,
    coefficients: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Rows from `begin` to `end` of all tiles."""
    rows = device.shape[1]
    for index in range(begin, end):
        t = index // rows
        r = index % rows
        _write_row(
            conductance[t],
            last_device[t, r],
            last_s[t, r],
            device[t, r],
            value[t, r],
            np.float32(clock_s[t]),
            r,
            step,
            identity[t],
            inverse_scale,
            coefficients,
            counts[t, r],
        )


@kernel
def _write(shares: int, begin: int, end: int, *arguments: Any) -> None:
    launch(_write_share, shares, begin, end, arguments)


def write(
    conductance: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    device: np.ndarray,
    value: np.ndarray,
    clock_s: np.ndarray,
    step: int,
    identity: np.ndarray,
    inverse_scale: np.float32,
    coefficients: np.ndarray,
) -> np.ndarray:
    """Write one device of each cell to a value; see `fastaimc.reference.pulses.write`."""
    tiles, rows, columns = device.shape
    counts = np.zeros((tiles, rows, 4), np.int64)
    state = (conductance, last_device, last_s, device, value, clock_s, step, identity)
    run(_write, tiles * rows, columns, *state, inverse_scale, coefficients, counts)
    return counts.sum(axis=1)
