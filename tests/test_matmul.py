"""Products of panels, and the operations that they are made of."""

import numba
import numpy as np
import pytest
import tolerances
from compiled import opened
from hypothesis import given
from hypothesis import strategies as st
from strategies import seeds

from fastaimc.engine import NO_PATTERN
from fastaimc.kernels import crossbar, jit, matmul, vector
from fastaimc.parameters import F32

TINY = pytest.param((5, 4, 70), id="tiny", marks=pytest.mark.nojit)
DEEP = pytest.param((7, 300, 200), id="deep")  # more rows than are multiplied at a time
multiply = opened(matmul.multiply)
multiply_rows = opened(matmul.multiply_rows)
multiply_few = opened(matmul.multiply_few)
DEPTHS = (1, 127, 128, 129, 256, 257)


def drawn(seed: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.normal(0, 3, shape).astype(np.float32) for shape in shapes]


def hold(found: np.ndarray, x: np.ndarray, matrix: np.ndarray) -> None:
    """Hold a product to that of float64."""
    x, matrix = x.astype(np.float64), matrix.astype(np.float64)
    bound = tolerances.sums(x.shape[1]) * (np.abs(x) @ np.abs(matrix))
    assert found.dtype == np.float32
    assert (np.abs(found - x @ matrix) <= bound + tolerances.SMALLEST).all()


@pytest.mark.parametrize("most", [TINY, DEEP])
@given(seed=seeds, data=st.data())
def test_multiply(most: tuple[int, int, int], seed: int, data: st.DataObject) -> None:
    """Each panel, the partial one too: its columns beyond the last one are zero."""
    batch = data.draw(st.integers(0, most[0]))
    rows = data.draw(st.sampled_from([n for n in DEPTHS if n <= most[1]] + [most[1]]))
    width = data.draw(st.integers(1, most[2]))
    x, matrix = drawn(seed, (batch, rows), (rows, width))
    for low in range(0, width, matmul.PANEL):
        out = np.full((batch, matmul.PANEL), np.nan, np.float32)
        multiply(x, matrix, low, out)
        used = min(matmul.PANEL, width - low)
        hold(out[:, :used], x, matrix[:, low : low + used])
        assert (out[:, used:] == 0).all()


@pytest.mark.parametrize("most", [TINY, DEEP])
@given(seed=seeds, data=st.data())
def test_multiply_rows(most: tuple[int, int, int], seed: int, data: st.DataObject) -> None:
    batch, rows = data.draw(st.integers(1, most[1])), data.draw(st.integers(1, most[0]))
    x, panel = drawn(seed, (batch, rows), (batch, matmul.PANEL))
    for row in range(0, rows, vector.TILE_ROWS):
        out = np.full((vector.TILE_ROWS, matmul.PANEL), np.nan, np.float32)
        multiply_rows(x, row, panel, out)
        used = min(vector.TILE_ROWS, rows - row)
        hold(out[:used], np.ascontiguousarray(x[:, row : row + used].T), panel)
        assert np.isnan(out[used:]).all()


@pytest.mark.parametrize("most", [TINY, DEEP])
@given(seed=seeds, data=st.data())
def test_multiply_few(most: tuple[int, int, int], seed: int, data: st.DataObject) -> None:
    batch, rows, width = (data.draw(st.integers(1, size)) for size in most)
    first = data.draw(st.integers(0, rows - 1))
    x, matrix = drawn(seed, (batch, rows), (rows - first, width))
    out = np.full((batch, width), np.nan, np.float32)
    multiply_few(x, first, matrix, out)
    hold(out, x[:, first:], matrix)


def test_no_bit_depends_on_the_batch_or_the_panel() -> None:
    x, matrix = drawn(1, (11, 300), (300, 256))
    whole = np.empty((11, matmul.PANEL), np.float32)
    alone = np.empty((1, matmul.PANEL), np.float32)
    multiply(x, matrix, 64, whole)
    for b in range(11):
        multiply(x[b : b + 1], matrix, 64, alone)
        np.testing.assert_array_equal(alone[0], whole[b])
    multiply(x, np.ascontiguousarray(matrix[:, 64:120]), 0, alone := whole.copy())
    np.testing.assert_array_equal(alone[:, :56], whole[:, :56])


@pytest.mark.parametrize("batch", [1, matmul.FEW, matmul.FEW + 1, 9])
def test_no_bit_depends_on_how_the_work_is_shared(batch: int) -> None:
    x, mean, variance = drawn(2, (1, batch, 140), (2, 140, 333), (2, 140, 333))
    columns = np.zeros((2, 4, 333), np.float32)
    identity = np.array([[1, 2, 0], [1, 2, 1]], np.uint32)
    full_scale = np.ones(2, np.float32)
    group = np.zeros(2, np.int32)
    rest = (group, NO_PATTERN, mean, variance**2, identity, 5, columns, full_scale, F32(0))
    whole = crossbar.mvm(x, *rest)
    for threads, cells in ((1, 1 << 25), (2, 1), (2, 30_000)):
        with jit.threads(threads, blas=False), pytest.MonkeyPatch.context() as patch:
            patch.setattr(jit, "CELLS_PER_CALL", cells)
            np.testing.assert_array_equal(crossbar.mvm(x, *rest), whole)


@pytest.mark.nojit
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3))
def test_fma(values: list[float]) -> None:
    """One rounding: within half a unit of the exact result, and a hair in plain Python."""
    a, b, c = (F32(value) for value in values)
    found = fused(a, b, c)
    assert isinstance(found, np.float32 | float)
    exact = float(a) * float(b) + float(c)
    bound = tolerances.EPS * abs(exact) * tolerances.SECOND_ORDER
    assert abs(found - exact) <= bound + tolerances.SMALLEST


def fused(a: np.float32, b: np.float32, c: np.float32) -> np.float32:
    if numba.config.DISABLE_JIT:
        return vector.fma(a, b, c)
    return compiled(a, b, c)


@numba.njit
def compiled(a: np.float32, b: np.float32, c: np.float32) -> np.float32:
    return vector.fma(a, b, c)


def test_the_sums_of_a_tile_stay_in_registers() -> None:
    """As the tile's own operation, not as loops over memory."""
    compiled = numba.njit(matmul._multiply_part.py_func)  # what the cache holds shows no code
    x, matrix = drawn(3, (4, 8), (8, 64))
    compiled(x, 0, matrix, 0, 64, 8, np.empty((4, 64), np.float32))
    (code,) = compiled.inspect_llvm().values()
    width = vector._registers()[0]
    assert f"@llvm.fma.v{width}f32(" in code
    assert f"phi <{width} x float>" in code
