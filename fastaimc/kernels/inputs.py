"""Random inputs of gradient-descent programming."""

from __future__ import annotations

import numpy as np

from fastaimc.kernels.hadamard import line_of, odd_bits, place_of
from fastaimc.kernels.jit import FIRST, helper, inlined, kernel, workers
from fastaimc.kernels.launch import launch
from fastaimc.kernels.philox import (
    INPUTS,
    PERMUTATION,
    SIGNS,
    cell,
    counter3,
    normal,
    philox,
    uniform,
)

UNIFORM, GAUSSIAN, SIGN, HADAMARD = 0, 1, 2, 3

_ONE = np.float32(1.0)
_TWO = np.float32(2.0)
_GAUSSIAN_STD = np.float32(1.0 / 3.0)
_TOP = np.uint32(0x80000000)


@kernel
def order(batch: int, rows: int) -> int:
    """Return the order of the Hadamard matrix; see `fastaimc.reference.inputs.order`."""
    size = 1
    while size < max(batch, rows):
        size *= 2
    return size


@inlined
def _value(kind: int, word: np.uint32) -> np.float32:
    if kind == UNIFORM:
        return _TWO * uniform(word) - _ONE
    if kind == GAUSSIAN:
        return min(max(normal(word) * _GAUSSIAN_STD, -_ONE), _ONE)
    return -_ONE if word & _TOP else _ONE


@helper
def _vector(
    kind: int, key: np.ndarray, step: int, vector: int, purpose: np.uint32, out: np.ndarray
) -> None:
    rows = out.shape[0]
    c3 = counter3(purpose, 0, 0)
    for quad in range((rows + 3) // 4):
        words = philox(cell(vector, quad), np.uint32(step), np.uint32(0), c3, key[0], key[1])
        for word in range(min(4, rows - 4 * quad)):
            out[4 * quad + word] = _value(kind, words[word])


@kernel
def pattern(key: np.ndarray, step: int, batch: int, rows: int) -> np.ndarray:
    """Return how Hadamard inputs lie; see `fastaimc.reference.inputs.pattern`."""
    zero = np.uint32(0)
    words = philox(zero, np.uint32(step), zero, counter3(PERMUTATION, 0, 0), key[0], key[1])
    out = np.empty(5, np.int64)
    out[0] = order(batch, rows)
    out[1] = np.int64(words[0]) | 1
    out[2] = np.int64(words[1])
    out[3] = np.int64(words[2]) | 1
    out[4] = np.int64(words[3])
    return out


@helper
def _hadamard_vector(
    lies: np.ndarray, vector: int, places: np.ndarray, signs: np.ndarray, out: np.ndarray
) -> None:
    line = line_of(lies, vector)
    for row in range(out.shape[0]):
        out[row] = -signs[row] if odd_bits(line & places[row]) else signs[row]


@helper
def _input_share(
    begin: int,
    end: int,
    kind: int,
    key: np.ndarray,
    step: int,
    lies: np.ndarray,
    places: np.ndarray,
    signs: np.ndarray,
    out: np.ndarray,
) -> None:
    for vector in range(begin, end):
        if kind == HADAMARD:
            _hadamard_vector(lies, vector, places, signs, out[vector])
        else:
            _vector(kind, key, step, vector, INPUTS, out[vector])


@kernel
def _inputs(shares: int, kind: int, key: np.ndarray, step: int, out: np.ndarray) -> None:
    batch, rows = out.shape
    signs = np.empty(rows, np.float32)
    places = np.empty(rows, np.int64)
    lies = pattern(key, step, batch, rows)
    if kind == HADAMARD:
        _vector(SIGN + FIRST, key, step, FIRST, SIGNS, signs)
        for row in range(rows):
            places[row] = place_of(lies, row)
    launch(_input_share, shares, 0, batch, (kind, key, step, lies, places, signs, out))


def inputs(kind: int, key: np.ndarray, step: int, batch: int, rows: int) -> np.ndarray:
    """Return one batch of inputs; see `fastaimc.reference.inputs.inputs`."""
    out = np.empty((batch, rows), np.float32)
    _inputs(workers(), kind, key, step, out)
    return out
