"""Random inputs of gradient-descent programming."""

from __future__ import annotations

import numpy as np

from fastaimc.reference import philox

UNIFORM, GAUSSIAN, SIGN, HADAMARD = 0, 1, 2, 3
GAUSSIAN_STD = 1 / 3  # three standard deviations reach the DAC's full scale


def order(batch: int, rows: int) -> int:
    """Return the order of the Hadamard matrix that holds `rows` columns and `batch` rows."""
    size = 1
    while size < max(batch, rows):
        size *= 2
    return size


def pattern(key: np.ndarray, step: int, batch: int, rows: int) -> np.ndarray:
    """Return how a batch of Hadamard inputs lies in its matrix H.

    ``x[v, row] = signs[row] * H[line, place]`` with ``line = (v * a + b) % size`` and
    ``place = (row * c + d) % size``: an engine may multiply by such inputs with additions alone.

    Parameters
    ----------
    key, step, batch, rows
        As for `inputs`.

    Returns
    -------
    ndarray
        size, a, b, c and d, (5,), int64.
    """
    zero = np.uint32(0)
    c3 = philox.counter3(philox.PERMUTATION, 0, 0)
    words = philox.philox(zero, np.uint32(step), zero, c3, key[0], key[1])
    a, b, c, d = (int(np.asarray(word).item()) for word in words)
    return np.array([order(batch, rows), a | 1, b, c | 1, d], dtype=np.int64)


def inputs(kind: int, key: np.ndarray, step: int, batch: int, rows: int) -> np.ndarray:
    """Return one batch of zero-mean inputs in [-1, 1].

    Uniform; Gaussian of standard deviation 1/3, clipped; ±1; or rows of a Hadamard matrix with
    random signs of its columns, in random order of both: orthogonal columns where the batch is
    the matrix's order.

    Parameters
    ----------
    kind : int
        `UNIFORM`, `GAUSSIAN`, `SIGN` or `HADAMARD`.
    key : ndarray
        Two words, (2,), uint32.
    step : int
        Number of the batch.

    Returns
    -------
    ndarray
        (batch, row), float32.
    """
    quads = np.arange((rows + 3) // 4, dtype=np.uint32)
    vector = np.arange(batch, dtype=np.uint32)

    def draw(vectors: np.ndarray, purpose: int) -> np.ndarray:
        c0 = philox.cell(vectors[:, None], quads[None, :])
        c3 = philox.counter3(purpose, 0, 0)
        words = philox.philox(c0, np.uint32(step), np.uint32(0), c3, key[0], key[1])
        return np.stack(words, axis=-1).reshape(len(vectors), 4 * len(quads))[:, :rows]

    if kind == HADAMARD:
        signs = _signs(draw(np.zeros(1, dtype=np.uint32), philox.SIGNS))
        size, a, b, c, d = pattern(key, step, batch, rows)
        line = (vector.astype(np.int64) * a + b) % size
        place = (np.arange(rows, dtype=np.int64) * c + d) % size
        parity = np.bitwise_count(line[:, None] & place[None, :]) & 1
        return ((1.0 - 2.0 * parity) * signs).astype(np.float32)
    drawn = draw(vector, philox.INPUTS)
    if kind == SIGN:
        return _signs(drawn)
    if kind == GAUSSIAN:
        z = philox.normal(drawn).astype(np.float64) * GAUSSIAN_STD
        return np.clip(z, -1, 1).astype(np.float32)
    return (2 * philox.uniform(drawn).astype(np.float64) - 1).astype(np.float32)


def _signs(drawn: np.ndarray) -> np.ndarray:
    return np.where(drawn >> np.uint32(31), -1, 1).astype(np.float32)
