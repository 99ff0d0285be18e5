"""exp, log and pow of float32."""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
import tolerances
from hypothesis import given
from hypothesis import strategies as st

from fastaimc.kernels import elementary as kernels
from fastaimc.kernels import jit, philox
from fastaimc.reference import elementary as reference

VECTOR = " x float>"  # LLVM's name of one
INF, NAN = np.inf, np.nan
SMALLEST_NORMAL = 2.0**-126
LARGEST = 3.4028234663852886e38

positive = st.floats(SMALLEST_NORMAL, LARGEST, width=32)
anything = st.floats(width=32)


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def ulp(found: np.ndarray, exact: np.ndarray) -> float:
    """Largest distance in units in the last place of the exact result."""
    assert found.dtype == np.float32
    unit = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
    return float(np.max(np.abs(found - exact) / unit))


def floats(first: int, last: int, step: int) -> np.ndarray:
    """Every `step`-th float32 between two of given bits."""
    return np.arange(first, last, step, dtype=np.int32).view(np.float32)


@jit.kernel
def exp_normal_array(x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = kernels.exp_normal_range(x[i])
    return out


# --- accuracy -----------------------------------------------------------------------------------


def test_exp_to_the_ulp() -> None:
    x = np.linspace(-87.3, 88.72, 3_000_001).astype(np.float32)
    assert ulp(kernels.exp_array(x), np.exp(x.astype(float))) < tolerances.EXP_ULP


def test_exp_where_nothing_special_happens() -> None:
    x = np.linspace(-87, 88, 1_000_001).astype(np.float32)
    assert ulp(exp_normal_array(x), np.exp(x.astype(float))) < tolerances.EXP_ULP
    beyond = exp_normal_array(f32(-INF, -1e4, 1e4, INF))
    np.testing.assert_array_equal(beyond, exp_normal_array(f32(-87, -87, 88, 88)))


@pytest.mark.parametrize(
    "x",
    [
        floats(1, 0x7F800000, 701),
        floats(0x3F000000, 0x3F800000, 5),
        floats(0x3F800001, 0x40000000, 5),
    ],
    ids=["all", "below 1", "above 1"],
)
def test_log_to_the_ulp(x: np.ndarray) -> None:
    assert ulp(kernels.log_array(x), np.log(x.astype(float))) < tolerances.LOG_ULP


def test_pow_of_drift() -> None:
    # (t/t0)^-nu from 1 µs after a pulse to ten years, and the widest exponents of a device.
    t, nu = np.meshgrid(np.geomspace(1e-8, 3e8, 1001), np.linspace(-0.3, 0.3, 301))
    x, y = t.astype(np.float32).ravel(), -nu.astype(np.float32).ravel()
    found = kernels.pow_array(x, y)
    exact = np.power(x.astype(float), y.astype(float))
    bound = tolerances.pow_relative(y * np.log(x))
    assert found.dtype == np.float32
    assert np.all(np.abs(found / exact - 1) < bound)


@pytest.mark.nojit
@given(x=st.floats(-87, 88, width=32))
def test_twins_agree_on_exp(x: float) -> None:
    assert ulp(kernels.exp_array(f32(x)), np.exp([x])) < tolerances.EXP_ULP
    assert reference.exp(x) == np.float32(np.exp(x))


@pytest.mark.nojit
@given(x=positive)
def test_twins_agree_on_log(x: float) -> None:
    exact = reference.log(x)
    assert abs(kernels.log_array(f32(x))[0] - exact) <= tolerances.LOG_ULP * np.spacing(abs(exact))


@pytest.mark.nojit
@given(x=positive, y=st.floats(-1, 1, width=32))
def test_twins_agree_on_pow(x: float, y: float) -> None:
    exact = float(reference.pow(x, y))
    bound = exact * tolerances.pow_relative(y * np.log(x)) + tolerances.SMALLEST
    assert abs(kernels.pow_array(f32(x), f32(y))[0] - exact) <= bound


@given(st.lists(anything, max_size=50))
def test_exp_and_log_of_anything(values: list[float]) -> None:
    x = f32(*values)
    with np.errstate(under="ignore"):
        np.testing.assert_allclose(
            kernels.exp_array(x),
            reference.exp(x),
            rtol=2 * tolerances.EPS * tolerances.EXP_ULP,
            atol=tolerances.SMALLEST,
        )
    np.testing.assert_allclose(
        kernels.log_array(x), reference.log(x), rtol=2 * tolerances.EPS * tolerances.LOG_ULP
    )


# --- what is special ----------------------------------------------------------------------------


@pytest.mark.nojit
def test_exact_values() -> None:
    for found, expected in (
        (kernels.exp_array(f32(0, -104)), [1, 0]),
        (kernels.log_array(f32(1)), [0]),
        (kernels.pow_array(f32(1, 7), f32(-0.05, 0)), [1, 1]),
    ):
        np.testing.assert_array_equal(found, expected)


def test_special_values_of_exp() -> None:
    x = f32(-0.0, INF, -INF, NAN, 88.72283, 88.72284, 200, -103.9, -104, -200)
    # e^88.72283 is the last float32, e^-103.9 the first.
    largest = np.exp(float(x[4]))
    expected = f32(1, INF, 0, NAN, largest, INF, INF, tolerances.SMALLEST, 0, 0)
    found = kernels.exp_array(x)
    np.testing.assert_allclose(found, expected, rtol=2 * tolerances.EPS * tolerances.EXP_ULP)
    np.testing.assert_allclose(reference.exp(x), expected, rtol=2 * tolerances.EPS)


def test_denormal_results_of_exp() -> None:
    x = np.linspace(-104, -87.3, 10_001).astype(np.float32)
    exact = np.exp(x.astype(float))
    bound = 2 * tolerances.EPS * tolerances.EXP_ULP * exact + tolerances.SMALLEST / 2
    assert np.all(np.abs(kernels.exp_array(x) - exact) <= bound)


def test_special_values_of_log() -> None:
    x = f32(0, -0.0, INF, -INF, NAN, -1, -1e-45, 1)
    expected = f32(-INF, -INF, INF, NAN, NAN, NAN, NAN, 0)
    np.testing.assert_array_equal(kernels.log_array(x), expected)
    np.testing.assert_array_equal(reference.log(x), expected)


def test_special_values_of_pow() -> None:
    x = f32(0, 0, 0, INF, INF, NAN, NAN, -1, -1, 2, 2, 2, 2)
    y = f32(1, -1, 0, 1, -1, 0, 1, 2, 0, NAN, 128, -151, -149)
    np.testing.assert_array_equal(
        kernels.pow_array(x, y),
        f32(0, INF, 1, INF, 0, 1, NAN, NAN, 1, NAN, INF, 0, tolerances.SMALLEST),
    )
    np.testing.assert_array_equal(reference.pow(x, y), kernels.pow_array(x, y))


# --- float32, and no float64 on the way ----------------------------------------------------------


@pytest.mark.nojit
@pytest.mark.parametrize("function", [reference.exp, reference.log])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_reference_gives_float32_of_the_same_shape(
    function: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...]
) -> None:
    found = function(np.ones(shape))
    assert (found.dtype, found.shape) == (np.float32, shape)
    assert reference.pow(np.ones(shape), 2).shape == shape


@pytest.mark.nojit
def test_kernels_give_float32_of_nothing() -> None:
    for found in (
        kernels.exp_array(f32()),
        kernels.log_array(f32()),
        kernels.pow_array(f32(), f32()),
    ):
        assert (found.dtype, found.shape) == (np.float32, (0,))


# Not marked `nojit`: without the compiler there is nothing to look at.
@pytest.mark.parametrize(
    ("function", "dtype"),
    [
        (kernels.exp, np.float32),
        (kernels.log, np.float32),
        (kernels.log_normal_range, np.float32),
        (philox.normal, np.uint32),
        (philox.uniform, np.uint32),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_no_float64_and_a_loop_that_vectorises(function: Any, dtype: type[np.generic]) -> None:
    @numba.njit
    def loop(x: np.ndarray, out: np.ndarray) -> None:
        for i in range(x.size):
            out[i] = function(x[i])

    x = np.ones(8, dtype)
    loop(x, np.empty(8, np.float32))
    code = loop.inspect_llvm(loop.signatures[0])
    assert "double" not in code
    assert VECTOR in code


# Not marked `nojit`: without the compiler there is nothing to look at.
def test_a_loop_of_pow_and_one_of_random_normals_vectorise() -> None:
    """Both are too long for LLVM to inline unasked."""

    @numba.njit
    def powers(x: np.ndarray, y: np.ndarray) -> None:
        for i in range(x.size):
            y[i] = kernels.pow(x[i], y[i])

    @numba.njit
    def draws(key: np.ndarray, out: np.ndarray) -> None:
        for i in range(out.shape[1]):
            c0 = philox.cell(7, i)
            w0, w1, w2, w3 = philox.philox(c0, key[0], key[0], key[1], key[0], key[1])
            out[0, i] = philox.normal(w0)
            out[1, i] = philox.normal(w1)
            out[2, i] = philox.normal(w2)
            out[3, i] = philox.normal(w3)

    powers(np.ones(8, np.float32), np.ones(8, np.float32))
    draws(np.ones(2, np.uint32), np.ones((4, 8), np.float32))
    for loop in (powers, draws):
        code = loop.inspect_llvm(loop.signatures[0])
        assert "double" not in code
        assert VECTOR in code
