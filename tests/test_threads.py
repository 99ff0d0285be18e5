"""Thread counts of Numba and BLAS, in processes of their own."""

from typing import Any

import numpy as np
import pytest
from subprocesses import run

from fastaimc.reference import philox as reference

THREE = {"NUMBA_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "2"}
LAYERS = pytest.mark.parametrize("layer", ["omp", "workqueue"])

# Every program of this file starts with this.
START = """
import hashlib, json, threading
from concurrent.futures import ThreadPoolExecutor
import numba
import numpy as np
import scipy.linalg
from threadpoolctl import ThreadpoolController, threadpool_limits
from fastaimc.kernels import jit, philox

controller = ThreadpoolController()

def blas():
    "Threads of NumPy's and SciPy's BLAS."
    return sorted(library["num_threads"] for library in controller.info()
                  if library["user_api"] == "blas")

class Caller:
    "A Python thread of its own that enters and leaves `jit.threads` when told."

    def __init__(self, n):
        self.context = jit.threads(n)
        self.executor = ThreadPoolExecutor(1)

    def enter(self):
        self.executor.submit(self.context.__enter__).result()

    def leave(self):
        self.executor.submit(self.context.__exit__, None, None, None).result()
"""


def program(code: str, **environment: str) -> Any:
    return run(START + code, **(THREE | environment))


# --- Numba's threads ----------------------------------------------------------------------------


@LAYERS
def test_numba_threads_are_set_and_restored(layer: str) -> None:
    found = program(
        """
count = numba.get_num_threads
seen = [count()]
with jit.threads(2):
    seen.append(count())
    with jit.threads(1):
        seen.append(count())
    with jit.threads(None):
        seen.append(count())
    seen.append(count())
seen.append(count())
with jit.threads(64):
    seen.append(count())
try:
    with jit.threads(1):
        raise KeyError
except KeyError:
    seen.append(count())
numba.set_num_threads(2)
with jit.threads(None):
    seen.append(count())
with jit.threads(3):
    seen.append(count())
seen.append(count())
print(json.dumps([seen, jit.threading_info()]))
""",
        NUMBA_THREADING_LAYER=layer,
    )
    seen, information = found
    assert seen == [3, 2, 1, 2, 2, 3, 3, 3, 2, 3, 2]
    assert (information["threading_layer"], information["threads"]) == (layer, 2)
    assert "openblas" in information["blas"]


def test_numba_threads_belong_to_a_python_thread() -> None:
    counts = program(
        """
counts = []
def other():
    with jit.threads(2):
        counts.append(numba.get_num_threads())
with jit.threads(1):
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    counts.append(numba.get_num_threads())
counts.append(numba.get_num_threads())
print(json.dumps(counts))
""",
        NUMBA_THREADING_LAYER="omp",
    )
    assert counts == [2, 1, 3]


# --- BLAS threads -------------------------------------------------------------------------------


def test_blas_is_limited_and_restored() -> None:
    before, nested, inner, outer, after, after_error, numba_threads = program(
        """
seen = [blas()]
with jit.threads(2):
    with jit.threads(1):
        seen.append(blas())
        product = np.ones((300, 300)) @ np.ones((300, 300))
        seen.append(blas())
    seen.append(blas())
seen.append(blas())
try:
    with jit.threads(2):
        raise KeyError
except KeyError:
    seen.append(blas())
print(json.dumps([*seen, numba.get_num_threads()]))
"""
    )
    assert len(before) >= 2  # NumPy's and SciPy's
    assert nested == inner == outer == [1] * len(before)
    assert after == after_error == before
    assert numba_threads == 3  # BLAS alone is limited, not the OpenMP pool of the kernels


@pytest.mark.parametrize("first_out", [0, 1])
def test_blas_is_restored_after_overlapping_use(first_out: int) -> None:
    """By two Python threads, of which either may leave first."""
    before, one_in, both_in, one_out, after, later = program(
        f"""
callers = [Caller(2), Caller(1)]
seen = [blas()]
callers[0].enter()
seen.append(blas())
callers[1].enter()
seen.append(blas())
callers[{first_out}].leave()
seen.append(blas())
callers[{1 - first_out}].leave()
seen.append(blas())
with jit.threads(1):
    seen.append(blas())
print(json.dumps(seen))
"""
    )
    assert one_in == both_in == one_out == later == [1] * len(before)
    assert after == before


def test_the_openmp_pool_is_left_alone() -> None:
    before, inside, after = program(
        """
def openmp():
    return [library["num_threads"] for library in ThreadpoolController().info()
            if library["user_api"] == "openmp"]
numba.get_num_threads()
seen = [openmp()]
with jit.threads(1):
    seen.append(openmp())
    threadpool_limits(5, user_api="openmp")
seen.append(openmp())
print(json.dumps(seen))
""",
        NUMBA_THREADING_LAYER="omp",
    )
    assert before
    assert inside == before
    assert after == [5] * len(before)


def test_blas_is_limited_under_a_limit_of_another_thread() -> None:
    """threadpoolctl 3.8 obeys the first thread that sets a limit and no other."""
    before, inside, outside, after = program(
        """
seen = [blas()]
def work():
    with jit.threads(2):
        seen.append(blas())
    seen.append(blas())
with threadpool_limits(2, user_api="blas"):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
seen.append(blas())
print(json.dumps(seen))
"""
    )
    assert inside == [1] * len(before)
    assert outside == [2] * len(before)
    assert after == before


# --- results and safety -------------------------------------------------------------------------


@LAYERS
def test_results_do_not_depend_on_the_thread_count(layer: str) -> None:
    n = 10_007
    found = program(
        f"""
counters = np.arange(4 * {n}, dtype=np.uint32).reshape(-1, 4)
found = []
for n in (1, 2, 3):
    with jit.threads(n):
        words = philox.words(counters, counters[1, :2])
        z = philox.normals(words.ravel())
    found.append([hashlib.sha256(x.tobytes()).hexdigest() for x in (words, z)])
print(json.dumps([found, numba.threading_layer(), words[-1].tolist()]))
""",
        NUMBA_THREADING_LAYER=layer,
    )
    hashes, used, last = found
    assert used == layer
    assert hashes[0] == hashes[1] == hashes[2]
    counters = np.arange(4 * n, dtype=np.uint32).reshape(-1, 4)
    assert last == reference.words(counters[-1:], counters[1, :2])[0].tolist()


@LAYERS
def test_python_threads_may_call_kernels_at_once(layer: str) -> None:
    """Without the lock of `jit.threads` the workqueue layer aborts the process."""
    equal = program(
        """
words = np.arange(100_000, dtype=np.uint32)
with jit.threads(2):
    expected = philox.normals(words)
equal = []
start = threading.Barrier(2)
def work():
    start.wait()
    for _ in range(100):
        with jit.threads(2), jit.threads(3):
            equal.append(bool(np.array_equal(philox.normals(words), expected)))
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(equal))
""",
        NUMBA_THREADING_LAYER=layer,
    )
    assert equal == [True] * 200
