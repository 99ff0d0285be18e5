"""The converters' kernels against their reference: spreads over columns, and the DAC."""

import numpy as np
import pytest
import strategies
import tolerances
from hypothesis import given
from hypothesis import strategies as st
from strategies import NUMBA, SIZES, TINY, TWINS, Call, Size

from fastaimc.engine import Engine
from fastaimc.parameters import F32
from fastaimc.reference import converters as reference


@st.composite
def column_calls(draw: st.DrawFn, size: Size) -> Call:
    tiles, _, count = draw(strategies.shapes(size))
    sorts = draw(st.integers(3, 4))
    stds = np.array([draw(strategies.floats(0, 0.15)) for _ in range(sorts)], np.float32)
    return {
        "identity": strategies.identities(np.random.default_rng(draw(strategies.seeds)), tiles),
        "count": count,
        "cell_range": draw(st.integers(0, 1)),
        "stds": stds,
    }


@st.composite
def quantise_calls(draw: st.DrawFn, size: Size) -> Call:
    shape = (
        draw(st.integers(1, 3)),
        draw(st.integers(0, size.batch)),
        draw(strategies.shapes(size))[2],
    )
    x = np.random.default_rng(draw(strategies.seeds)).uniform(-1, 1, shape) * draw(
        strategies.floats(0, 3)
    )
    return {
        "x": x.astype(np.float32),
        "half_codes": draw(strategies.half_codes | st.just(F32(0.5))),
    }


def codes(values: np.ndarray, half_codes: np.float32) -> np.ndarray:
    """The whole codes that values on the DAC's grid stand for."""
    found = np.rint(values.astype(np.float64) * half_codes)
    np.testing.assert_allclose(values, found / half_codes, rtol=tolerances.CODE_RELATIVE)
    return found


# --- columns ------------------------------------------------------------------------------------


@SIZES
@given(data=st.data())
def test_columns(size: Size, data: st.DataObject) -> None:
    call = data.draw(column_calls(size))
    found, expected = strategies.twins("columns", call)
    assert found.out.shape == (len(call["identity"]), len(call["stds"]) + 1, call["count"])
    assert found.out.dtype == np.float32
    np.testing.assert_allclose(
        found.out, expected.out, rtol=tolerances.COLUMNS_RELATIVE, atol=tolerances.SMALLEST
    )


@pytest.mark.nojit
@TWINS
def test_columns_are_their_own(engine: Engine) -> None:
    """Every range, tile, key and sort of error draws its own; the width of a tile draws none."""
    stds = np.full(4, 0.1, np.float32)
    identity = np.array([[1, 2, 0], [1, 2, 1], [1, 3, 0], [2, 2, 0]], np.uint32)
    mvm, cell = (engine.columns(identity, 6, cell_range, stds) for cell_range in (0, 1))
    drawn = np.concatenate([mvm, cell]).ravel()
    assert len(np.unique(drawn)) == drawn.size
    np.testing.assert_array_equal(engine.columns(identity, 3, 0, stds), mvm[:, :, :3])
    assert not engine.columns(identity, 6, 0, 0 * stds).any()


# --- quantise -----------------------------------------------------------------------------------


@SIZES
@given(data=st.data())
def test_quantise(size: Size, data: st.DataObject) -> None:
    call = data.draw(quantise_calls(size))
    found, expected = strategies.twins("quantise", call)
    half = call["half_codes"]
    if half in (0, 0.5):  # nothing is rounded
        np.testing.assert_array_equal(found.out, expected.out)
        return
    # Away from an edge the same bits; beside one the code on either side.
    scaled = np.clip(call["x"].astype(np.float64), -1, 1) * half
    slack = tolerances.quantised(scaled)
    low, high = np.rint(scaled - slack), np.rint(scaled + slack)
    clear = low == high
    np.testing.assert_array_equal(found.out[clear], expected.out[clear])
    own = codes(found.out, half)
    assert ((low <= own) & (own <= high)).all()


@pytest.mark.nojit
@TWINS
def test_quantise_saturates_and_rounds_half_to_even(engine: Engine) -> None:
    x = np.array([-9, -1, -0.5, -1 / 6, 0, 1 / 6, 0.5, 1, 9], np.float32).reshape(1, 3, 3)
    clipped = [-1, -1, -0.5, -1 / 6, 0, 1 / 6, 0.5, 1, 1]
    np.testing.assert_array_equal(engine.quantise(x, F32(0)).ravel(), F32(clipped))
    grid = [-1, -1, -2 / 3, -1 / 3, 0, 1 / 3, 2 / 3, 1, 1]  # two bits: 3 codes, ±1.5 goes to ±2
    x[np.abs(x) == F32(1 / 6)] *= F32(1.01)
    np.testing.assert_array_equal(engine.quantise(x, F32(3)).ravel(), F32(grid))
    signs = [-1, -1, -1, -1, 1, 1, 1, 1, 1]  # one bit
    np.testing.assert_array_equal(engine.quantise(x, F32(0.5)).ravel(), F32(signs))
    np.testing.assert_array_equal(engine.quantise(F32([[[-0.0]]]), F32(0.5)), F32([[[1]]]))


# --- arguments and constants ---------------------------------------------------------------------


@given(column=column_calls(TINY), quantise=quantise_calls(TINY))
def test_read_only_arguments(column: Call, quantise: Call) -> None:
    strategies.accepts_read_only("columns", column)
    strategies.accepts_read_only("quantise", quantise)


@pytest.mark.nojit
@TWINS
def test_nothing_to_convert(engine: Engine) -> None:
    for shape in ((1, 0, 3), (2, 1, 0)):
        found = engine.quantise(np.zeros(shape, np.float32), F32(7))
        assert (found.shape, found.dtype) == (shape, np.float32)
    nothing = engine.columns(np.zeros((0, 3), np.uint32), 5, 0, np.ones(3, np.float32))
    assert (nothing.shape, nothing.dtype) == ((0, 4, 5), np.float32)


def test_the_largest_spread_of_the_non_linearity_is_its_std() -> None:
    """Over columns, of (1 - v²)(bow + shape c v): at its largest over the range, stds[2]."""
    v = np.linspace(-1, 1, 20_001)
    spread = (1 - v**2) * np.hypot(1, reference.SHAPE_NORM * v) * reference.INL_NORM
    # Near its top, the parabola between two of the points is lower than the top by 1e-7.
    assert spread.max() == pytest.approx(1, abs=1e-7)
    assert np.abs(v * (1 - v**2)).max() * reference.SHAPE_NORM == pytest.approx(1, abs=1e-7)


def test_quantise_of_a_batch_is_that_of_its_vectors() -> None:
    x = np.random.default_rng(0).uniform(-2, 2, (2, 5, 9)).astype(np.float32)
    whole = NUMBA.quantise(x, F32(127))
    one_by_one = [NUMBA.quantise(x[:, b : b + 1].copy(), F32(127)) for b in range(5)]
    np.testing.assert_array_equal(whole, np.concatenate(one_by_one, axis=1))
