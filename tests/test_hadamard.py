"""Transforms, and products with lines of a Hadamard matrix, beside plain products."""

import numpy as np
import pytest
import tolerances
from compiled import opened
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import hadamard as matrix_of
from strategies import NUMBA, REFERENCE, lines, seeds, steps

from fastaimc.kernels import hadamard
from fastaimc.kernels.matmul import PANEL

ORDERS = [pytest.param(n, marks=pytest.mark.nojit) for n in (1, 2, 4, 8, 16, 32)]
TINY = pytest.param(16, id="tiny", marks=pytest.mark.nojit)
LARGE = pytest.param(300, id="large")
transform = opened(hadamard.transform)
multiply_pattern = opened(hadamard.multiply_pattern)
sum_of_squares = opened(hadamard.sum_of_squares)
gather_lines = opened(hadamard.gather_lines)
place_of = opened(hadamard.place_of)


@pytest.mark.parametrize("order", [*ORDERS, 64, 128, 256, 512, 4096])
def test_transform(order: int) -> None:
    z = np.random.default_rng(order).normal(0, 2, (order, hadamard.STRIDE)).astype(np.float32)
    wanted = matrix_of(order).astype(np.float64) @ z[:, :PANEL]
    bound = tolerances.sums(order.bit_length()) * np.abs(z[:, :PANEL].astype(float)).sum(axis=0)
    beyond = z[:, PANEL:].copy()
    transform(z)
    assert (np.abs(z[:, :PANEL] - wanted) <= bound).all()
    np.testing.assert_array_equal(z[:, PANEL:], beyond)


@st.composite
def inputs_of(draw: st.DrawFn, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, their pattern, and a factor of every row."""
    seed, step = draw(seeds), draw(steps)
    batch, rows = draw(st.integers(1, most)), draw(st.integers(1, most))
    generator = np.random.default_rng(seed)
    key = generator.integers(0, 2**32, 2, dtype=np.uint32)
    amplitude = generator.uniform(-1, 1, rows).astype(np.float32)
    x = REFERENCE.inputs(3, key, step, batch, rows) * amplitude
    pattern = NUMBA.pattern(key, step, batch, rows)
    np.testing.assert_array_equal(pattern, REFERENCE.pattern(key, step, batch, rows))
    factor = np.empty(rows, np.float32)
    hadamard.factors(pattern, x[0], factor)
    return x, pattern, factor


@pytest.mark.parametrize("most", [TINY, LARGE])
@given(data=st.data())
def test_products_are_those_of_the_inputs(most: int, data: st.DataObject) -> None:
    x, pattern, factor = data.draw(inputs_of(most))
    width = data.draw(st.integers(1, PANEL + 6))
    matrix = np.random.default_rng(1).normal(0, 1, (x.shape[1], width)).astype(np.float32)
    z = np.full((pattern[0], hadamard.STRIDE), 7, np.float32)  # what stood there before
    for low in range(0, width, PANEL):
        out = np.empty((len(x), PANEL), np.float32)
        multiply_pattern(pattern, factor, matrix, low, z, out)
        panel = matrix[:, low : low + PANEL].astype(np.float64)
        used = panel.shape[1]
        bound = tolerances.sums(x.shape[1]) * (np.abs(x).astype(np.float64) @ np.abs(panel))
        assert (np.abs(out[:, :used] - x.astype(np.float64) @ panel) <= bound).all()
        assert (out[:, used:] == 0).all()
        square = np.empty(used, np.float32)
        sum_of_squares(factor, np.abs(matrix), low, square)
        wanted = np.square(x[0].astype(np.float64)) @ np.abs(panel)
        assert (np.abs(square - wanted) <= tolerances.sums(x.shape[1] + 1) * wanted).all()


@pytest.mark.parametrize("most", [TINY, LARGE])
@given(data=st.data())
def test_the_gradient_is_that_of_the_inputs(most: int, data: st.DataObject) -> None:
    x, pattern, factor = data.draw(inputs_of(most))
    e = np.random.default_rng(2).normal(0, 1, (len(x), PANEL)).astype(np.float32)
    z = np.full((pattern[0], hadamard.STRIDE), 7, np.float32)
    gather_lines(pattern, e, z)
    places = [place_of(pattern, row) for row in range(x.shape[1])]
    found = factor[:, None] * z[places, :PANEL]
    wanted = x.T.astype(np.float64) @ e
    bound = tolerances.sums(len(x) + 1) * (np.abs(x).T.astype(np.float64) @ np.abs(e))
    assert (np.abs(found - wanted) <= bound).all()


@pytest.mark.nojit
def test_a_transform_is_made_where_it_is_worth_it() -> None:
    pattern = np.array([256, 1, 0, 1, 0])
    assert hadamard.worth_it(pattern, 256, 256)
    assert not hadamard.worth_it(pattern, 256, 20)  # few rows: the product is small
    assert not hadamard.worth_it(np.zeros(5, np.int64), 256, 256)


@given(call=lines(1, 7))
def test_lines_have_their_pattern(call: dict[str, np.ndarray]) -> None:
    """What the strategies of other tests give."""
    x, pattern = call["x"][0], call["pattern"]
    factor = np.empty(7, np.float32)
    hadamard.factors(pattern, x[0], factor)
    line = (np.arange(len(x)) * pattern[1] + pattern[2]) % pattern[0]
    place = (np.arange(7) * pattern[3] + pattern[4]) % pattern[0]
    parity = np.bitwise_count(line[:, None] & place[None, :]) & 1
    np.testing.assert_array_equal(x, np.where(parity, -factor, factor))
