"""The cache of kernels: under a stamp that changes with any file of this folder."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.resources
import warnings
from collections.abc import Callable
from typing import Any

_numba: Any = importlib.import_module("numba")
_FunctionCache: Any = object
_IndexDataCacheFile: Any = object
_NullCache: Any = object
try:
    from numba.core import caching as _caching

    _FunctionCache = _caching.FunctionCache
    _IndexDataCacheFile = _caching.IndexDataCacheFile
    _NullCache = _caching.NullCache
except (ImportError, AttributeError):  # Numba's internals have moved: `keep` says so
    pass


@functools.cache
def stamp() -> str:
    """Digest of the names and contents of all files of ``kernels``."""
    digest = hashlib.sha256()
    files = importlib.resources.files(__package__).iterdir()
    for file in sorted(files, key=lambda file: file.name):
        if file.name.endswith(".py"):
            content = file.read_bytes()
            digest.update(f"{file.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


class StampedFile(_IndexDataCacheFile):  # type: ignore[misc]
    """Cache files whose every entry repeats its stamp and key.

    Numba replaces the index before the data. A process that reads in between, or two processes
    that save different signatures at once, would get machine code of another source or signature.
    """

    def save(self, key: Any, data: Any) -> None:
        """Write an entry."""
        super().save(key, (self._source_stamp, key, data))

    def load(self, key: Any) -> Any:
        """Return an entry, or None where it is another's."""
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
        self._cache_file = StampedFile(
            self._cache_path, self._impl.filename_base, (own_file, stamp())
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
    """The cache of a kernel, made when the kernel is first compiled or loaded.

    To look for the files of all would take its time of every start, and fail there.
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


def keep(dispatcher: Any) -> None:
    """Give a compiled function the stamped cache; without one, say so once and go on."""
    if type(getattr(dispatcher, "_cache", None)) is not _NullCache or _NullCache is object:
        _warn(dispatcher.py_func, "not the dispatcher of the Numba this was written for")
        return
    dispatcher._cache = _CacheOnDemand(dispatcher.py_func)  # noqa: SLF001  no public way
