"""Shares of a kernel's items on the threads of Numba's pool."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from subprocesses import run

from fastaimc.kernels import jit
from fastaimc.kernels.launch import launch


@jit.helper
def mark_share(begin: int, end: int, out: np.ndarray, by: tuple[int, int]) -> None:
    for index in range(begin, end):
        out[index] += by[0] + by[1]


@jit.kernel
def mark(shares: int, begin: int, end: int, *arguments: Any) -> None:
    launch(mark_share, shares, begin, end, arguments)


@pytest.mark.nojit
@given(
    items=st.integers(0, 40), low=st.integers(0, 40), shares=st.integers(1, 9), n=st.integers(1, 2)
)
def test_every_item_belongs_to_one_share(items: int, low: int, shares: int, n: int) -> None:
    begin = min(low, items)
    out = np.zeros(items, np.int64)
    with jit.threads(n, blas=False):
        mark(shares, begin, items, out, (3, 4))
    np.testing.assert_array_equal(out, [7 * (index >= begin) for index in range(items)])


@pytest.mark.nojit
@given(items=st.integers(0, 40), cells=st.integers(0, 2 * jit.CELLS_PER_CALL))
def test_run_calls_a_kernel_for_all_items(items: int, cells: int) -> None:
    out = np.zeros(items, np.int64)
    jit.run(mark, items, cells, out, (0, 1))
    np.testing.assert_array_equal(out, 1)


LAUNCH = """
    import importlib, json
    import numpy as np
    from fastaimc.kernels import jit, launch
    {change}
    from fastaimc import kernels
    x = np.linspace(-1, 1, 1000, dtype=np.float32).reshape(1, 100, 10)
    y = kernels.quantise(x, np.float32(0))
    many = np.empty_like(x)  # more shares than threads
    importlib.import_module("fastaimc.kernels.converters")._quantise(
        17, 0, 100, x[0], np.float32(0), many[0]
    )
    same = bool((x == y).all() and (x == many).all())
    print(json.dumps([jit.threading_info()["threading_layer"], same]))
"""


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_the_pool_of_each_layer_is_called(layer: str) -> None:
    assert run(LAUNCH.format(change=""), NUMBA_THREADING_LAYER=layer) == [layer, True]


def test_without_the_pool_that_was_known_one_thread_does_it_all(tmp_path: Path) -> None:
    change = "launch.POOL = 'numba_has_changed'"
    assert run(LAUNCH.format(change=change), NUMBA_CACHE_DIR=str(tmp_path))[1]
