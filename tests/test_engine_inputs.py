"""The kernel of random inputs against its reference."""

import numpy as np
import pytest
import strategies
import tolerances
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from strategies import SIZES, TINY, TWINS, Call, Size

from fastaimc.engine import INPUT_KINDS, Engine
from fastaimc.kernels.inputs import order as kernel_order
from fastaimc.reference.inputs import order as reference_order

KINDS = pytest.mark.parametrize("kind", INPUT_KINDS.values(), ids=INPUT_KINDS.keys())
KEY = np.array([5, 6], np.uint32)


@st.composite
def input_calls(draw: st.DrawFn, size: Size, kind: int) -> Call:
    return {
        "kind": kind,
        "key": np.random.default_rng(draw(strategies.seeds)).integers(0, 2**32, 2, dtype=np.uint32),
        "step": draw(strategies.steps),
        "batch": draw(st.integers(0, size.batch)),
        "rows": draw(strategies.shapes(size))[2],
    }


@SIZES
@KINDS
@given(data=st.data())
def test_inputs(size: Size, kind: int, data: st.DataObject) -> None:
    call = data.draw(input_calls(size, kind))
    found, expected = strategies.twins("inputs", call)
    assert found.out.shape == (call["batch"], call["rows"])
    assert found.out.dtype == np.float32
    if kind == INPUT_KINDS["gaussian"]:
        np.testing.assert_allclose(found.out, expected.out, rtol=tolerances.GAUSSIAN_RELATIVE)
    else:
        np.testing.assert_array_equal(found.out, expected.out)


@pytest.mark.nojit
@KINDS
@given(call=st.data())
def test_read_only_key(kind: int, call: st.DataObject) -> None:
    strategies.accepts_read_only("inputs", call.draw(input_calls(TINY, kind)))


@pytest.mark.nojit
@TWINS
@KINDS
def test_batches_differ_and_repeat(engine: Engine, kind: int) -> None:
    first = engine.inputs(kind, KEY, 1, 4, 16)
    np.testing.assert_array_equal(engine.inputs(kind, KEY, 1, 4, 16), first)
    for other in (engine.inputs(kind, KEY, 2, 4, 16), engine.inputs(kind, KEY + 1, 1, 4, 16)):
        assert (other != first).any()
    assert np.abs(first).max() <= 1


@pytest.mark.nojit
@TWINS
@pytest.mark.parametrize("kind", ["uniform", "gaussian", "sign"])
def test_a_vector_belongs_to_its_place(engine: Engine, kind: str) -> None:
    """More vectors or rows leave those before as they were."""
    small = engine.inputs(INPUT_KINDS[kind], KEY, 3, 3, 5)
    np.testing.assert_array_equal(engine.inputs(INPUT_KINDS[kind], KEY, 3, 7, 6)[:3, :5], small)


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("batch", "rows", "size"), [(0, 1, 1), (1, 1, 1), (1, 2, 2), (3, 4, 4), (8, 5, 8), (9, 3, 16)]
)
def test_order_of_hadamard(batch: int, rows: int, size: int) -> None:
    assert kernel_order(batch, rows) == reference_order(batch, rows) == size


# --- the science ----------------------------------------------------------------------------------


@TWINS
@pytest.mark.parametrize(
    ("kind", "variance", "excess"),
    [
        ("uniform", 1 / 3, -1.2),
        ("sign", 1.0, -2.0),
        # N(0, 1/3) clipped at three of its standard deviations: by numerical integration
        ("gaussian", None, None),
    ],
)
def test_moments_of_inputs(
    engine: Engine, kind: str, variance: float | None, excess: float | None
) -> None:
    x = engine.inputs(INPUT_KINDS[kind], KEY, 5, 500, 400).astype(np.float64)
    if variance is None or excess is None:
        square, fourth = (
            stats.norm.expect(lambda z, k=k: np.minimum(np.abs(z / 3), 1) ** k) for k in (2, 4)
        )
        variance, excess = float(square), float(fourth / square**2 - 3)
    # Their mean, and their mean square: its variance is that of x², (2 + excess) variance².
    assert abs(x.mean()) < tolerances.SIGMAS * np.sqrt(variance / x.size)
    bound = tolerances.SIGMAS * variance * np.sqrt((2 + excess) / x.size)
    assert abs((x**2).mean() - variance) <= bound
    assert np.abs(x).max() <= 1
    for a, b in ((x[:, 1:], x[:, :-1]), (x[1:], x[:-1])):  # rows and vectors are independent
        correlation = np.corrcoef(a.ravel(), b.ravel())[0, 1]
        assert abs(correlation) < tolerances.SIGMAS / np.sqrt(a.size)
    if kind == "uniform":
        assert stats.kstest(x.ravel(), stats.uniform(-1, 2).cdf).pvalue > 1e-6
    if kind == "sign":
        assert set(np.unique(x)) == {-1.0, 1.0}


@TWINS
@pytest.mark.parametrize(("batch", "rows"), [(1, 1), (2, 2), (16, 16), (64, 40), (256, 256)])
def test_hadamard_inputs_are_orthogonal(engine: Engine, batch: int, rows: int) -> None:
    """At batch = order, X.T X = batch I exactly; and signs and order differ between batches."""
    x, other = (engine.inputs(INPUT_KINDS["hadamard"], KEY, step, batch, rows) for step in (1, 2))
    np.testing.assert_array_equal(x.T @ x, batch * np.eye(rows))
    assert set(np.unique(np.abs(x))) == {1.0}
    if batch > 2:
        assert (x != other).any()
