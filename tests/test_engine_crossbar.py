"""The kernels of MVMs and of row reads against their reference, noise on, draw by draw."""

import numpy as np
import pytest
import strategies
import tolerances
from hypothesis import given
from hypothesis import strategies as st
from strategies import NUMBA, REFERENCE, SIZES, TINY, TWINS, Call, Size

from fastaimc.engine import NO_PATTERN, Engine
from fastaimc.kernels import hadamard
from fastaimc.parameters import F32


def coded(u: np.ndarray, least: float, half: float) -> np.ndarray:
    """The codes of what an ADC is to round; half a code is the sign alone."""
    if half < 1:
        return np.where(u >= 0, half, -half)
    rounded: np.ndarray = np.rint(np.clip(u, least, 1) * half)
    return rounded


def hold_adc(
    call: Call, name: str, found: np.ndarray, error: np.ndarray, size: np.ndarray
) -> np.ndarray:
    """Hold reported values to the reference's, with their error before the ADC; one code only
    within it of a rounding edge.  Return where the code is certain."""
    exact = strategies.run(REFERENCE, name, {**call, "half_codes": F32(0)}).out.astype(np.float64)
    full_scale = np.stack(
        [
            tolerances.column_scale(columns, float(whole))[None]
            for columns, whole in zip(call["columns"], call["full_scale"], strict=True)
        ]
    )
    half = float(call["half_codes"])
    slack = np.stack(
        [
            tolerances.adc(error[t], size[t], call["columns"][t], float(call["full_scale"][t]))
            for t in range(len(found))
        ]
    )
    exact /= full_scale
    more = tolerances.own_range(call["columns"])
    slack += (tolerances.REPORT_RELATIVE + more) * np.abs(exact)
    if half == 0:
        assert (np.abs(found / full_scale - exact) <= slack).all()
        return np.ones(found.shape, bool)
    least, half = -1.0 if half > 0 else 0.0, abs(half)
    code = found / full_scale * half
    code = np.copysign(half, code) if half < 1 else np.rint(code)
    rtol = tolerances.CODE_RELATIVE + more
    np.testing.assert_allclose(found, code / half * full_scale, rtol=rtol)
    low, high = (coded(exact + sign * slack, least, half) for sign in (-1, 1))
    assert ((low <= code) & (code <= high)).all()
    return low == high


def own_noise(call: Call, tile: int) -> np.ndarray | float:
    """What every conversion of a tile's columns adds, µS."""
    columns = call["columns"][tile].astype(np.float64)
    if len(columns) == 4:
        return 0.0
    return tolerances.column_scale(columns, float(call["full_scale"][tile])) * columns[5]


# --- mvm ----------------------------------------------------------------------------------------


def hold_mvm(call: Call) -> None:
    found, expected = strategies.twins("mvm", call)
    x, group = call["x"].astype(np.float64), call["group"]
    tiles, _, width = call["mean"].shape
    assert found.out.shape == (tiles, x.shape[1], width)
    assert found.out.dtype == np.float32
    before = [
        tolerances.current(x[group[t]], call["mean"][t], call["variance"][t], own_noise(call, t))
        for t in range(tiles)
    ]
    error, size = (np.stack(parts) for parts in zip(*before, strict=True))
    certain = hold_adc(call, "mvm", found.out, error, size)
    if call["half_codes"] != 0:
        rtol = tolerances.CODE_RELATIVE + tolerances.own_range(call["columns"])
        np.testing.assert_allclose(found.out[certain], expected.out[certain], rtol=rtol)


@SIZES
@given(data=st.data())
def test_mvm(size: Size, data: st.DataObject) -> None:
    hold_mvm(data.draw(strategies.crossbar_calls(size)))


@given(call=strategies.crossbar_calls(Size(tiles=4, rows=200, columns=517, batch=9)))
def test_mvm_of_several_blocks(call: Call) -> None:
    hold_mvm(call)


@SIZES
@given(data=st.data())
def test_a_batch_draws_what_single_vectors_draw(size: Size, data: st.DataObject) -> None:
    """Vector k's noise is a function of its number; its sums may be taken in another order."""
    call = data.draw(strategies.crossbar_calls(size))
    call["half_codes"] = F32(0)
    whole = strategies.run(NUMBA, "mvm", call).out
    x = call["x"].astype(np.float64)
    for b in range(x.shape[1]):
        one = {**call, "x": call["x"][:, b : b + 1].copy(), "number": call["number"] + b}
        single = strategies.run(NUMBA, "mvm", one).out[:, 0]
        for t, group in enumerate(call["group"]):
            held = (call["mean"][t], call["variance"][t], own_noise(call, t))
            error, size_ = tolerances.current(x[group, b], *held)
            columns, full = call["columns"][t], float(call["full_scale"][t])
            scale = tolerances.column_scale(columns, full)
            bound = 2 * scale * tolerances.adc(error, size_, columns, full)
            report = tolerances.REPORT_RELATIVE + tolerances.own_range(call["columns"])
            slack = bound + 2 * report * np.abs(single[t])
            assert (np.abs(single[t] - whole[t, b]) <= slack).all()


@pytest.mark.nojit
@TWINS
def test_noise_is_its_own_for_every_output(engine: Engine) -> None:
    """Tile, vector and column draw their own; all 48 bits of a vector's number count."""
    tiles, width = 3, 6
    identity = np.array([[1, 2, 0], [1, 2, 1], [1, 3, 0]], np.uint32)
    ones = np.ones((tiles, 1, width), np.float32)
    drawn = [
        engine.mvm(
            np.ones((1, 4, 1), np.float32),
            np.zeros(tiles, np.int32),
            NO_PATTERN,
            0 * ones,
            ones,
            identity,
            number,
            np.zeros((tiles, 4, width), np.float32),
            np.ones(tiles, np.float32),
            F32(0),
        )
        for number in (0, 4, 2**32 - 2, 2**32 + 4, 2**47)
    ]
    values = np.stack(drawn).ravel()
    assert len(np.unique(values)) == values.size


@given(data=st.data())
def test_mvm_of_hadamard_inputs(data: st.DataObject) -> None:
    """By additions, where it is worth it; what the inputs are alone decides the result."""
    call = data.draw(strategies.crossbar_calls(strategies.LINES))
    call |= data.draw(strategies.lines(*call["mean"].shape[:2]))
    call |= {"half_codes": F32(0)}
    hold_mvm(call)
    plain = strategies.run(NUMBA, "mvm", {**call, "pattern": NO_PATTERN}).out
    by_additions = strategies.run(NUMBA, "mvm", call).out
    _, batch, rows = call["x"].shape
    alike = bool((plain == by_additions).all())
    assert alike != hadamard.worth_it(call["pattern"], batch, rows) or rows < 3


# --- read_rows ------------------------------------------------------------------------------------


def hold_rows(call: Call) -> None:
    found, expected = strategies.twins("read_rows", call)
    rows = call["rows"]
    tiles, _, width = call["mean"].shape
    assert found.out.shape == (tiles, len(rows), width)
    assert found.out.dtype == np.float32
    one = np.ones((1, 1))
    error, size = np.empty(found.out.shape), np.empty(found.out.shape)
    for t in range(tiles):
        for index, row in enumerate(rows):
            mean, variance = (
                call[k][t, row - call["first"]].astype(np.float64)[None]
                for k in ("mean", "variance")
            )
            own = own_noise(call, t)
            error[t, index], size[t, index] = tolerances.current(one, mean, variance, own)
    certain = hold_adc(call, "read_rows", found.out, error, size)
    if call["half_codes"] != 0:
        rtol = tolerances.CODE_RELATIVE + tolerances.own_range(call["columns"])
        np.testing.assert_allclose(found.out[certain], expected.out[certain], rtol=rtol)


@SIZES
@given(data=st.data())
def test_read_rows(size: Size, data: st.DataObject) -> None:
    hold_rows(data.draw(strategies.crossbar_calls(size, rows_alone=True)))


@pytest.mark.nojit
@given(call=strategies.crossbar_calls(TINY, rows_alone=True))
def test_a_row_reads_the_same_whatever_else_is_read(call: Call) -> None:
    all_rows = call["first"] + np.arange(call["mean"].shape[1])
    whole = strategies.run(NUMBA, "read_rows", {**call, "rows": all_rows}).out
    chosen = strategies.run(NUMBA, "read_rows", call).out
    np.testing.assert_array_equal(chosen, whole[:, call["rows"] - call["first"]])


# --- arguments ------------------------------------------------------------------------------------


@given(mvm=strategies.crossbar_calls(TINY), rows=strategies.crossbar_calls(TINY, rows_alone=True))
def test_read_only_arguments(mvm: Call, rows: Call) -> None:
    strategies.accepts_read_only("mvm", mvm)
    strategies.accepts_read_only("read_rows", rows)
