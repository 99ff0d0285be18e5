"""The only place where Numba's options, cache and threads live.

Two decorators make every kernel: `serial` and `inlined`. All are strict IEEE, release the GIL,
divide as NumPy does, and are cached under a stamp that changes with any file of this folder.
`run` calls one on all threads; `threads` holds the thread counts of Numba and of both BLAS
libraries meanwhile.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.resources
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import numpy as np

# Untyped on purpose: Numba's types differ from version to version and lack what is used here.
_numba: Any = importlib.import_module("numba")
_FunctionCache: Any = object
_IndexDataCacheFile: Any = object
_NullCache: Any = object
try:
    from numba.core import caching as _caching

    _FunctionCache = _caching.FunctionCache
    _IndexDataCacheFile = _caching.IndexDataCacheFile
    _NullCache = _caching.NullCache
except (ImportError, AttributeError):  # Numba's internals have moved: `_store_compiled` says so
    pass

__all__ = [
    "FIRST",
    "inlined",
    "intrinsic",
    "run",
    "serial",
    "spans",
    "threading_info",
    "threads",
    "workers",
]

P = ParamSpec("P")
R = TypeVar("R")

# An index that is no literal: for a literal Numba would compile what gets it once more.
FIRST: Any = np.int64(0)
CELLS_PER_CALL = 1 << 25  # a third of a second of what takes longest

_STRICT: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": False,
    "no_cfunc_wrapper": True,  # nobody calls a kernel from C: a tenth of the compile time
}


def serial(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a kernel, or a helper that LLVM may inline or not.

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
    return _compiled(function)


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
        The compiled function, or `function` itself under ``NUMBA_DISABLE_JIT=1``.
    """
    return _compiled(function, forceinline=True)


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


def _compiled(function: Callable[P, R], **options: Any) -> Callable[P, R]:
    compiled: Callable[P, R] = _numba.njit(**_STRICT, **options)(function)
    if not _numba.config.DISABLE_JIT:
        _store_compiled(compiled)
    return compiled


# --- the cache --------------------------------------------------------------------------------


@functools.cache
def _stamp() -> str:
    """Digest of the names and contents of all files of ``kernels``."""
    digest = hashlib.sha256()
    files = importlib.resources.files(__package__).iterdir()
    for file in sorted(files, key=lambda file: file.name):
        if file.name.endswith(".py"):
            content = file.read_bytes()
            digest.update(f"{file.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


class _StampedFile(_IndexDataCacheFile):  # type: ignore[misc]
    """Cache files whose every entry repeats its stamp and key.

    Numba replaces the index before the data. A process that reads in between, or two processes
    that save different signatures at once, would get machine code of another source or signature.
    """

    def save(self, key: Any, data: Any) -> None:
        super().save(key, (self._source_stamp, key, data))

    def load(self, key: Any) -> Any:
        entry = super().load(key)
        if entry is None or entry[:2] != (self._source_stamp, key):
            return None
        return entry[2]


class _StampedCache(_FunctionCache):  # type: ignore[misc]
    """Numba's cache of a function, fresh only while all of ``kernels`` is what it was.

    Numba's own key is the defining file alone: a changed helper or constant in another file
    would leave the old machine code in use.
    """

    _cache_file: Any

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        if type(self._cache_file) is not _IndexDataCacheFile:
            raise TypeError("not the cache file of the Numba this was written for")
        own_file = self._impl.locator.get_source_stamp()  # for a kernel outside of ``kernels``
        self._cache_file = _StampedFile(
            self._cache_path, self._impl.filename_base, (own_file, _stamp())
        )


_not_cached: list[str] = []


def _warn(function: Callable[..., Any], error: object) -> None:
    """Say once that kernels are not cached."""
    _not_cached.append(function.__name__)
    if len(_not_cached) == 1:
        warnings.warn(
            "fastaimc compiles its kernels anew in every process, because numba "
            f"{_numba.__version__} does not cache them: {error}",
            RuntimeWarning,
            stacklevel=2,
        )


class _CacheOnDemand:
    """The cache of a function, made when the function is first compiled or loaded.

    Most functions are helpers, whose code the cached kernel that calls them contains: nobody asks
    for theirs, and to look for the files of all takes 8 ms of every start.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)

    @functools.cached_property
    def _made(self) -> Any:
        try:
            return _StampedCache(self._function)
        except Exception as error:  # noqa: BLE001  whatever a changed Numba raises, kernels run
            _warn(self._function, error)
            return _NullCache()


def _store_compiled(dispatcher: Any) -> None:
    """Give a compiled function the stamped cache; without one, say so once and go on."""
    if type(getattr(dispatcher, "_cache", None)) is not _NullCache or _NullCache is object:
        _warn(dispatcher.py_func, "not the dispatcher of the Numba this was written for")
        return
    dispatcher._cache = _CacheOnDemand(dispatcher.py_func)  # noqa: SLF001  no public way


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


def run(kernel: Callable[..., None], items: int, cells: int, *arguments: Any) -> None:
    """Call a kernel that launches its items, of so many cells each, on all threads."""
    if items * cells <= CELLS_PER_CALL:
        kernel(workers(), 0, items, *arguments)
        return
    for begin, end in spans(items, cells):
        kernel(workers(), begin, end, *arguments)


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

    __slots__ = ("_before", "_blas", "_n", "_turn")

    def __init__(self, n: int | None, *, blas: bool = True) -> None:
        self._n = n
        self._blas = blas
        self._turn = _layer() == "workqueue"
        self._before = 0

    def __enter__(self) -> None:
        if self._turn:
            _workqueue_lock.acquire()
        if self._blas:
            _one_blas_thread.__enter__()
        self._before = workers()
        if self._n is not None and self._n != self._before:
            _numba.set_num_threads(min(self._n, _numba.config.NUMBA_NUM_THREADS))

    def __exit__(self, *_: object) -> None:
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
