"""An MVM of devices as they are now: no more than drift and the MVM of what they conduct."""

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from strategies import LINES, NUMBA, REFERENCE, TINY, WIDE, Call, Size

from fastaimc.engine import NO_PATTERN, Engine
from fastaimc.kernels import jit
from fastaimc.parameters import F32, mask_dtype

SIZES = pytest.mark.parametrize(
    ("size", "in_lines"),
    [
        pytest.param(TINY, False, id="tiny", marks=pytest.mark.nojit),
        pytest.param(WIDE, False, id="wide"),
        pytest.param(LINES, True, id="lines"),
    ],
)
ADC = ("columns", "full_scale", "half_codes")
STATE = (
    *("conductance", "last_device", "last_s", "clock_s"),
    *("identity", "fits", "parameters", "significance", "slow"),
)


@st.composite
def measure_calls(draw: st.DrawFn, size: Size, in_lines: bool) -> Call:
    drift = draw(strategies.drift_calls(size))
    tiles, rows, columns = drift["last_s"].shape
    generator = np.random.default_rng(draw(strategies.seeds))
    batch = draw(st.integers(0, size.batch))
    x = generator.uniform(-1, 1, (1, batch, rows)).astype(np.float32)
    given_ = {"x": x, "pattern": NO_PATTERN}
    if in_lines:
        given_ = draw(strategies.lines(tiles, rows))
    return {
        "x": given_["x"][0],
        "pattern": given_["pattern"],
        **{key: drift[key] for key in STATE},
        "number": draw(strategies.numbers),
        **draw(strategies.adcs(generator, tiles, columns)),
    } | {"full_scale": generator.uniform(20, 200, tiles).astype(np.float32)}


def in_two(engine: Engine, call: Call) -> np.ndarray:
    """What drift and the MVM of the same engine give."""
    tiles, devices, rows, columns = call["conductance"].shape
    mean, variance = np.empty((2, tiles, rows, columns), np.float32)
    every = np.full((1, 1, 1), 2**devices - 1, mask_dtype(devices))
    state = [call[key] for key in STATE]
    engine.drift(*state[:4], every, *state[4:], 0, mean, variance)
    return engine.mvm(
        call["x"][None],
        np.zeros(tiles, np.int32),
        call["pattern"],
        mean,
        variance,
        call["identity"],
        call["number"],
        *(call[key] for key in ADC),
    )


@SIZES
@given(data=st.data())
def test_measure_is_drift_and_mvm(size: Size, in_lines: bool, data: st.DataObject) -> None:
    """Bit by bit where the kernel's order is the same: not for one or two vectors."""
    call = data.draw(measure_calls(size, in_lines))
    found, expected = strategies.twins("measure", call)
    np.testing.assert_array_equal(expected.out, in_two(REFERENCE, call))
    if len(call["x"]) > 2:
        np.testing.assert_array_equal(found.out, in_two(NUMBA, call))
    else:
        again = in_two(NUMBA, {**call, "half_codes": F32(0)})
        plain = strategies.run(NUMBA, "measure", {**call, "half_codes": F32(0)}).out
        np.testing.assert_allclose(plain, again, rtol=1e-4, atol=1e-4 * call["full_scale"].max())


@pytest.mark.nojit
@given(call=measure_calls(TINY, False))
def test_read_only_arguments(call: Call) -> None:
    strategies.accepts_read_only("measure", call)


@given(call=measure_calls(WIDE, False))
def test_no_bit_depends_on_how_the_work_is_shared(call: Call) -> None:
    whole = strategies.run(NUMBA, "measure", call).out
    for threads, cells in ((1, 1 << 25), (2, 1), (2, 20_000)):
        with NUMBA.threads(threads, blas=False), pytest.MonkeyPatch.context() as patch:
            patch.setattr(jit, "CELLS_PER_CALL", cells)
            np.testing.assert_array_equal(strategies.run(NUMBA, "measure", call).out, whole)
