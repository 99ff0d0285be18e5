"""The only place where Numba's options and threads live.

Three decorators make all compiled code: `kernel` for what Python calls, `helper` and `inlined` for
what kernels call. All are strict IEEE, release the GIL and divide as NumPy does; `cache` keeps the
code of kernels, `library` makes helpers part of theirs.
`run` calls one on all threads; `threads` holds the thread counts of Numba and of both BLAS
libraries meanwhile.
"""

from __future__ import annotations

import functools
import importlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import numpy as np

from fastaimc.kernels import cache, library

# Untyped on purpose: Numba's types differ from version to version and lack what is used here.
_numba: Any = importlib.import_module("numba")

__all__ = [
    "FIRST",
    "helper",
    "inlined",
    "intrinsic",
    "kernel",
    "run",
    "spans",
    "threading_info",
    "threads",
    "workers",
]

P = ParamSpec("P")
R = TypeVar("R")

# An index that is no literal: for a literal Numba would compile what gets it once more.
FIRST: Any = np.int64(0)
CELLS_ALONE = 1 << 10
CELLS_PER_CALL = 1 << 25  # a third of a second of what takes longest

_STRICT: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": False,
    "no_cfunc_wrapper": True,  # nobody calls a kernel from C: a tenth of the compile time
}


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile what Python calls.

    It runs on one thread, unless it calls `launch.launch`.

    Parameters
    ----------
    function : callable
        A function of scalars and arrays that never raises.

    Returns
    -------
    callable
        The compiled function, or `function` itself under ``NUMBA_DISABLE_JIT=1``.
    """
    compiled: Callable[P, R] = _numba.njit(**_STRICT)(function)
    if not _numba.config.DISABLE_JIT:
        cache.keep(compiled)
    return compiled


def helper(function: Callable[P, R]) -> Callable[P, R]:
    """Compile what kernels and other helpers call, which LLVM may inline or not.

    Parameters
    ----------
    function : callable
        A function of scalars and arrays that never raises.

    Returns
    -------
    callable
        The compiled function, which refuses calls from Python, or `function` itself under
        ``NUMBA_DISABLE_JIT=1``.
    """
    return _compiled_helper(function)


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a helper of scalars that is inlined wherever it is called.

    A loop vectorises only when every call in it is inlined, and LLVM leaves a function of some
    fifty instructions, such as `pow` or `philox`, alone: 17 ns instead of 1 for a `pow`.

    Parameters
    ----------
    function : callable
        A short function of scalars that never raises.

    Returns
    -------
    callable
        The compiled function, as `helper` returns it.
    """
    return _compiled_helper(function, forceinline=True)


def intrinsic(in_python: Callable[P, R]) -> Callable[[Callable[..., Any]], Callable[P, R]]:
    """Make an operation of code in LLVM's terms; see `numba.extending.intrinsic`.

    Parameters
    ----------
    in_python : callable
        What it does, used under ``NUMBA_DISABLE_JIT=1``.

    Returns
    -------
    callable
        A decorator of the function of types that returns signature and code.
    """

    def decorate(function: Callable[..., Any]) -> Callable[P, R]:
        if _numba.config.DISABLE_JIT:
            return in_python
        made: Callable[P, R] = importlib.import_module("numba.extending").intrinsic(function)
        return made

    return decorate


def _compiled_helper(function: Callable[P, R], **options: Any) -> Callable[P, R]:
    if _numba.config.DISABLE_JIT:
        return function
    compiled: Callable[P, R] = _numba.njit(**_STRICT, **library.options(), **options)(function)
    library.close(compiled)
    return compiled


# --- threads ----------------------------------------------------------------------------------


class _OneBlasThread:
    """One thread in every BLAS library from the first entry to the last exit, in any thread.

    Threads of BLAS and of the kernels' pool spin against each other (7 ms instead of 0.1), and
    bits would depend on the thread count. The limit belongs to the process, hence one lock and
    one count for all Python threads. A controller costs 230 µs to make and 9 µs to use: keep it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries = 0
        self._controller: Any = None
        self._limiter: Any = None

    def controller(self) -> Any:
        """The libraries of NumPy and SciPy: products on the Python side call them."""
        if self._controller is None:
            import scipy.linalg  # noqa: F401  loads SciPy's OpenBLAS, so that it is found
            from threadpoolctl import ThreadpoolController

            # `select` also keeps the limiter from restoring OpenMP's own thread count.
            self._controller = ThreadpoolController().select(user_api="blas")
        return self._controller

    @staticmethod
    def _disown() -> None:
        """Let this thread set the limit: threadpoolctl 3.8 ignores all but the first setter."""
        from threadpoolctl import OpenBLASController

        disown = getattr(OpenBLASController, "clear_controlling_thread", None)
        if disown is not None:
            disown(force=True)

    def __enter__(self) -> None:
        with self._lock:
            if self._entries == 0:
                controller = self.controller()
                self._disown()
                self._limiter = controller.limit(limits=1, user_api="blas")
                self._disown()
            self._entries += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._entries -= 1
            if self._entries == 0:
                self._disown()
                self._limiter.restore_original_limits()
                self._disown()

    def libraries(self) -> str:
        """Name, version and architecture of each library."""
        with self._lock:
            found = self.controller().info()
        names = {
            f"{library['internal_api']} {library['version']} {library.get('architecture')}"
            for library in found
        }
        return ", ".join(sorted(names))


_one_blas_thread = _OneBlasThread()
_workqueue_lock = threading.RLock()


@functools.cache
def _layer() -> str:
    """Numba's threading layer; it is fixed once the pool has been started, which this does."""
    _numba.get_num_threads()
    return str(_numba.threading_layer())


def workers() -> int:
    """Return the number of threads of kernels called from this Python thread now.

    Not for compiled code: Numba does not cache a kernel that asks for it.
    """
    return int(_numba.get_num_threads())


def spans(items: int, cells: int) -> Iterator[tuple[int, int]]:
    """Cut a kernel's items, of so many cells each, into calls that last well below a second.

    Between them Python can see a Ctrl-C.

    Yields
    ------
    tuple of int
        First item, and the one after the last; one empty span for no items.
    """
    step = max(1, CELLS_PER_CALL // max(cells, 1))
    for begin in range(0, max(items, 1), step):
        yield begin, min(begin + step, items)


def run(called: Callable[..., None], items: int, cells: int, *arguments: Any) -> None:
    """Call a kernel that launches its items, of so many cells each, on all threads.

    Few cells are done sooner than another thread wakes up.
    """
    _layer()
    shares = 1 if items * cells <= CELLS_ALONE else workers()
    for begin, end in spans(items, cells):
        called(shares, begin, end, *arguments)


class threads:  # noqa: N801  a context manager, called like a function
    """Run compiled calls on `n` threads; by default with one BLAS thread in the whole process.

    May be nested, and used by several Python threads at once; what stood before is restored when
    the last one leaves. Under Numba's workqueue layer, which aborts the process on concurrent
    calls, Python threads take turns.

    Parameters
    ----------
    n : int or None
        At least 1; more than ``NUMBA_NUM_THREADS`` is cut to that. None: Numba's current number.
    blas : bool
        Whether NumPy's and SciPy's BLAS are held to one thread meanwhile, so that the bits of
        products on the Python side do not depend on their number. Kernels need no BLAS, and it
        takes 25 µs to enter and leave.
    """

    __slots__ = ("_before", "_blas", "_changed", "_n", "_turn")

    def __init__(self, n: int | None, *, blas: bool = True) -> None:
        self._n = n
        self._blas = blas
        self._turn = _layer() == "workqueue"
        self._before = 0
        self._changed = False

    def __enter__(self) -> None:
        if self._turn:
            _workqueue_lock.acquire()
        if self._blas:
            _one_blas_thread.__enter__()
        self._before = workers()
        self._changed = self._n is not None and self._n != self._before
        if self._changed:
            _numba.set_num_threads(min(self._n, _numba.config.NUMBA_NUM_THREADS))

    def __exit__(self, *_: object) -> None:
        if self._changed:
            _numba.set_num_threads(self._before)
        if self._blas:
            _one_blas_thread.__exit__()
        if self._turn:
            _workqueue_lock.release()


def threading_info() -> dict[str, str | int]:
    """What the results' last bits and the speed may depend on, for provenance.

    Returns
    -------
    dict
        ``threading_layer``, ``threads`` (of this Python thread, now) and ``blas``.
    """
    return {
        "threading_layer": _layer(),
        "threads": int(_numba.get_num_threads()),
        "blas": _one_blas_thread.libraries(),
    }
