"""Random inputs of gradient-descent programming."""

from __future__ import annotations

import numpy as np

from fastaimc.kernels.jit import inlined, parallel, prange, serial
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


@serial
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


@serial
def _vector(
    kind: int, key: np.ndarray, step: int, vector: int, purpose: np.uint32, out: np.ndarray
) -> None:
    rows = out.shape[0]
    c3 = counter3(purpose, 0, 0)
    for quad in range((rows + 3) // 4):
        words = philox(cell(vector, quad), np.uint32(step), np.uint32(0), c3, key[0], key[1])
        for word in range(min(4, rows - 4 * quad)):
            out[4 * quad + word] = _value(kind, words[word])


@inlined
def _odd_bits(value: int) -> bool:
    parity = value ^ (value >> 32)
    for shift in (16, 8, 4, 2, 1):
        parity ^= parity >> shift
    return parity & 1 == 1


@serial
def _hadamard_vector(
    words: tuple[np.uint32, np.uint32, np.uint32, np.uint32],
    size: int,
    vector: int,
    signs: np.ndarray,
    out: np.ndarray,
) -> None:
    line = (vector * (np.int64(words[0]) | 1) + np.int64(words[1])) & (size - 1)
    for row in range(out.shape[0]):
        column = (row * (np.int64(words[2]) | 1) + np.int64(words[3])) & (size - 1)
        out[row] = -signs[row] if _odd_bits(int(line & column)) else signs[row]


@parallel
def inputs(kind: int, key: np.ndarray, step: int, batch: int, rows: int) -> np.ndarray:
    """Return one batch of inputs; see `fastaimc.reference.inputs.inputs`."""
    out = np.empty((batch, rows), np.float32)
    signs = np.empty(rows, np.float32)
    size = order(batch, rows)
    zero = np.uint32(0)
    words = philox(zero, np.uint32(step), zero, counter3(PERMUTATION, 0, 0), key[0], key[1])
    if kind == HADAMARD:
        _vector(SIGN, key, step, 0, SIGNS, signs)
    for vector in prange(batch):
        if kind == HADAMARD:
            _hadamard_vector(words, size, vector, signs, out[vector])
        else:
            _vector(kind, key, step, vector, INPUTS, out[vector])
    return out
