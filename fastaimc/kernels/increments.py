"""Counted pulses: what they do to devices that move by steps.

Rows of all tiles run in parallel.  A row's chosen devices are gathered and take their pulses
together, one after another, so that random numbers and steps vectorise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastaimc.kernels.elementary import exp_normal_range
from fastaimc.kernels.jit import helper, inlined, kernel, run
from fastaimc.kernels.launch import launch
from fastaimc.kernels.philox import (
    INCREMENT,
    STEP_SPREAD,
    cell,
    counter3,
    normal,
    philox,
)
from fastaimc.kernels.vector import fma
from fastaimc.parameters import IncrementParameters

NONE = np.uint8(255)
_FULL_RESET = -128
_MOST_PULSES = np.int32(255)
_NARROWEST = np.float32(1e-3)
_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)


@inlined
def _word(
    identity: np.ndarray, at: np.uint32, step: int, purpose: np.uint32, device: int, high: int
) -> np.uint32:
    """One device's random word of one purpose and number."""
    w0, w1, w2, w3 = philox(
        at,
        np.uint32(step),
        identity[2],
        counter3(purpose, device // 4, high),
        identity[0],
        identity[1],
    )
    word = device % 4
    low = w0 if word == 0 else w1
    far = w2 if word == 2 else w3
    return low if word < 2 else far


@helper
def _draw(
    identity: np.ndarray,
    at: np.ndarray,
    chosen: np.ndarray,
    step: int,
    purpose: np.uint32,
    high: int,
    words: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write a normal of each chosen device, in loops that vectorise."""
    for i in range(out.shape[0]):
        words[i] = _word(identity, at[i], step, purpose, int(chosen[i]), high)
    for i in range(out.shape[0]):
        out[i] = normal(words[i])


@helper
def _own(
    identity: np.ndarray,
    at: np.ndarray,
    chosen: np.ndarray,
    p: IncrementParameters,
    words: np.ndarray,
    z: np.ndarray,
    own: np.ndarray,
) -> None:
    """Write each device's factors on steps up and down, and its bounds."""
    up, down, low, high = own[0], own[1], own[2], own[3]
    up[:] = _ONE
    down[:] = _ONE
    low[:] = p.low_us
    high[:] = p.high_us
    if p.step_spread > _ZERO or p.asymmetry_spread > _ZERO:
        skew = own[4]
        _draw(identity, at, chosen, 0, STEP_SPREAD, 0, words, z)
        _draw(identity, at, chosen, 1, STEP_SPREAD, 0, words, skew)
        for i in range(z.shape[0]):
            scale, more = fma(p.step_spread, z[i], _ONE), p.asymmetry_spread * skew[i]
            up[i] = max(scale + more, _ZERO)
            down[i] = max(scale - more, _ZERO)
    if p.low_spread > _ZERO or p.high_spread > _ZERO:
        _draw(identity, at, chosen, 2, STEP_SPREAD, 0, words, z)
        for i in range(z.shape[0]):
            low[i] = max(fma(p.low_spread, z[i], p.low_us), _ZERO)
        _draw(identity, at, chosen, 3, STEP_SPREAD, 0, words, z)
        least = _NARROWEST * (p.high_us - p.low_us)
        for i in range(z.shape[0]):
            high[i] = max(fma(p.high_spread, z[i], p.high_us), low[i] + least)


@helper
def _locate(
    g: np.ndarray, count: np.ndarray, own: np.ndarray, points: int, at: np.ndarray, part: np.ndarray
) -> None:
    """Write where in the flat table each device's step begins, and how far to the next point."""
    last, most, low, high = np.float32(points - 1), np.int32(points - 2), own[2], own[3]
    for i in range(g.shape[0]):
        u = min(max((g[i] - low[i]) / (high[i] - low[i]), _ZERO), _ONE) * last
        place = min(np.int32(u), most)
        part[i] = u - np.float32(place)
        at[i] = place if count[i] > 0 else np.int32(place + np.int32(2 * points))


@helper
def _look_up(
    table: np.ndarray, points: int, at: np.ndarray, part: np.ndarray, out: np.ndarray
) -> None:
    """Write mean and standard deviation of each device's step, between two points."""
    mean, std = out[0], out[1]
    for i in range(at.shape[0]):
        k = at[i]
        mean[i] = fma(part[i], table[k + 1] - table[k], table[k])
        k += points
        std[i] = fma(part[i], table[k + 1] - table[k], table[k])


@helper
def _remember(
    count: np.ndarray, pulses: np.ndarray, p: IncrementParameters, out: np.ndarray
) -> None:
    """Add what the memory of the pulses before makes of the steps up; vectorises."""
    mean, std = out[0], out[1]
    for i in range(count.shape[0]):
        grown = np.float32(min(pulses[i] + np.int32(1), _MOST_PULSES))
        memory = exp_normal_range(-p.memory_rate * grown)
        memory = memory if count[i] > 0 else _ZERO
        mean[i] = fma(p.mean_memory_us, memory, mean[i])
        std[i] = fma(p.std_memory_us, memory, std[i])


@helper
def _step_once(
    g: np.ndarray,
    count: np.ndarray,
    done: int,
    pulses: np.ndarray,
    own: np.ndarray,
    z: np.ndarray,
    step: np.ndarray,
) -> None:
    """Give one more pulse to each device that is to have more than are done; vectorises."""
    mean, std = step[0], step[1]
    up_scale, down_scale, low, high = own[0], own[1], own[2], own[3]
    for i in range(g.shape[0]):
        up = count[i] > 0
        scale = up_scale[i] if up else down_scale[i]
        after = min(max(fma(scale, fma(std[i], z[i], mean[i]), g[i]), low[i]), high[i])
        moved = abs(count[i]) > np.int32(done)
        g[i] = after if moved else g[i]
        grown = min(pulses[i] + np.int32(1), _MOST_PULSES)
        pulses[i] = grown if moved and up else pulses[i]


@helper
def _gather(
    conductance: np.ndarray,
    memory: np.ndarray,
    device: np.ndarray,
    code: np.ndarray,
    row: int,
    places: np.ndarray,
    g: np.ndarray,
    held: np.ndarray,
) -> int:
    """Write the columns, devices, conductances, counts and memories of a row's pulsed cells.

    Full RESETs come with a count of 0.  Returns how many cells there are.
    """
    columns, chosen, at = places[0], places[1], places[2]
    count, pulses, full = held[0], held[1], held[2]
    n = 0
    for column in range(device.shape[0]):
        number = np.int32(np.int8(code[column]))
        d = int(device[column])
        if d >= conductance.shape[0] or number == 0:
            continue
        columns[n], chosen[n], at[n] = column, d, cell(row, column)
        g[n] = conductance[d, row, column]
        full[n] = np.int32(number == _FULL_RESET)
        count[n] = np.int32(0) if number == _FULL_RESET else number
        pulses[n] = np.int32(memory[d, row, column]) if memory.shape[0] else np.int32(0)
        n += 1
    return n


@helper
def _pulse_all(
    identity: np.ndarray,
    at: np.ndarray,
    chosen: np.ndarray,
    step: int,
    g: np.ndarray,
    held: np.ndarray,
    steps: np.ndarray,
    p: IncrementParameters,
) -> None:
    """Give gathered devices their full RESETs and all their pulses."""
    n, points, table = g.shape[0], steps.shape[1], steps.reshape(steps.size)
    count, pulses, full, place = held[0, :n], held[1, :n], held[2, :n], held[3, :n]
    words, z, part = np.empty(n, np.uint32), np.empty(n, np.float32), np.empty(n, np.float32)
    own, change = np.empty((5, n), np.float32), np.empty((2, n), np.float32)
    _own(identity, at, chosen, p, words, z, own)
    _draw(identity, at, chosen, step, INCREMENT, 0, words, z)
    most = 0
    for i in range(n):
        rest = fma(p.reset_std_us, z[i], own[2, i] - p.low_us + p.reset_us)
        g[i] = max(rest, _ZERO) if full[i] else g[i]
        pulses[i] = np.int32(0) if full[i] else pulses[i]
        most = max(most, int(abs(count[i])))
    for done in range(most):
        if done > 0:
            _draw(identity, at, chosen, step, INCREMENT, done, words, z)
        _locate(g, count, own, points, place, part)
        _look_up(table, points, place, part, change)
        if p.memory_rate > _ZERO:
            _remember(count, pulses, p, change)
        _step_once(g, count, done, pulses, own, z, change)


@helper
def _increment_row(
    conductance: np.ndarray,
    memory: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    device: np.ndarray,
    code: np.ndarray,
    now: np.float32,
    row: int,
    step: int,
    identity: np.ndarray,
    steps: np.ndarray,
    p: IncrementParameters,
    counts: np.ndarray,
) -> None:
    """Pulse a row's chosen devices."""
    width = device.shape[0]
    places = np.empty((3, width), np.uint32)
    held = np.empty((4, width), np.int32)
    g = np.empty(width, np.float32)
    n = _gather(conductance, memory, device, code, row, places, g, held)
    if n == 0:
        return
    _pulse_all(identity, places[2, :n], places[1, :n], step, g[:n], held, steps, p)
    for i in range(n):
        column, d, count = int(places[0, i]), int(places[1, i]), held[0, i]
        conductance[d, row, column] = g[i]
        last_device[column] = np.uint8(d)
        last_s[column] = now
        if memory.shape[0]:
            memory[d, row, column] = np.uint8(held[1, i])
        counts[0] += max(count, np.int32(0))
        counts[1] += held[2, i] + max(-count, np.int32(0))


@helper
def _increment_share(
    begin: int,
    end: int,
    conductance: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    memory: np.ndarray,
    device: np.ndarray,
    code: np.ndarray,
    clock_s: np.ndarray,
    step: int,
    identity: np.ndarray,
    steps: np.ndarray,
    p: IncrementParameters,
    counts: np.ndarray,
) -> None:
    """Rows from `begin` to `end` of all tiles."""
    rows = device.shape[1]
    for index in range(begin, end):
        t, r = index // rows, index % rows
        _increment_row(
            conductance[t],
            memory[t],
            last_device[t, r],
            last_s[t, r],
            device[t, r],
            code[t, r],
            np.float32(clock_s[t]),
            r,
            step,
            identity[t],
            steps,
            p,
            counts[t, r],
        )


@kernel
def _increment(shares: int, begin: int, end: int, *arguments: Any) -> None:
    launch(_increment_share, shares, begin, end, arguments)


def increment(
    conductance: np.ndarray,
    last_device: np.ndarray,
    last_s: np.ndarray,
    memory: np.ndarray,
    device: np.ndarray,
    code: np.ndarray,
    clock_s: np.ndarray,
    step: int,
    identity: np.ndarray,
    steps: np.ndarray,
    parameters: IncrementParameters,
) -> np.ndarray:
    """Pulse devices that count; see `fastaimc.reference.increments.increment`."""
    tiles, rows, columns = device.shape
    counts = np.zeros((tiles, rows, 2), np.int64)
    state = (conductance, last_device, last_s, memory, device, code, clock_s, step, identity)
    run(_increment, tiles * rows, columns, *state, steps, parameters, counts)
    return counts.sum(axis=1)


@helper
def _normals_share(
    begin: int,
    end: int,
    identity: np.ndarray,
    device: np.ndarray,
    step: int,
    purpose: np.uint32,
    high: int,
    out: np.ndarray,
) -> None:
    """Rows from `begin` to `end` of all tiles."""
    rows = device.shape[1]
    for index in range(begin, end):
        t, r = index // rows, index % rows
        for column in range(device.shape[2]):
            number = device[t, r, column]
            d = 0 if number == NONE else int(number)
            word = _word(identity[t], cell(r, column), step, purpose, d, high)
            out[t, r, column] = normal(word)


@kernel
def _device_normals(shares: int, begin: int, end: int, *arguments: Any) -> None:
    launch(_normals_share, shares, begin, end, arguments)


def device_normals(
    identity: np.ndarray, device: np.ndarray, step: int, purpose: int, number_high: int
) -> np.ndarray:
    """Draw for chosen devices; see `fastaimc.reference.increments.device_normals`."""
    tiles, rows, columns = device.shape
    out = np.empty(device.shape, np.float32)
    what = (identity, device, step, np.uint32(purpose), number_high)
    run(_device_normals, tiles * rows, columns, *what, out)
    return out
