"""The decorators of the kernels, and the cache that their machine code goes to."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from subprocesses import run, start

import fastaimc
from fastaimc.kernels import cache, elementary, jit

# Calls a kernel of philox.py, whose helper `log_normal_range` stands in elementary.py.
NORMALS = """
    import json, numpy as np
    from fastaimc.kernels import philox
    z = philox.normals(np.arange(5, dtype=np.uint32))
    stats = philox.normals.stats
    print(json.dumps({
        "z": z.tolist(), "hits": sum(stats.cache_hits.values()),
        "misses": sum(stats.cache_misses.values()), "file": philox.__file__,
    }))
"""


# --- the decorators -----------------------------------------------------------------------------


@jit.helper
def ratio(x: np.float32, y: np.float32) -> np.float32:
    """x / y."""
    return x / y


@jit.kernel
def ratios(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = ratio(x[i], y[i])
    return out


@jit.inlined
def _contracted(a: np.float32, b: np.float32, c: np.float32) -> np.float32:
    return a * b + c


@jit.kernel
def contracted(a: np.float32, b: np.float32, c: np.float32) -> np.float32:
    """a b + c."""
    return _contracted(a, b, c)


@pytest.mark.nojit
def test_kernels_and_helpers_keep_name_and_docstring() -> None:
    assert (ratio.__name__, ratio.__doc__) == ("ratio", "x / y.")
    assert (contracted.__name__, contracted.__doc__) == ("contracted", "a b + c.")


@pytest.mark.nojit
def test_arithmetic_is_strict() -> None:
    # A fused multiply-add would keep the 2^-48 that float32 has to round away.
    a = np.float32(1 + 2.0**-24 * 2)
    assert contracted(a, a, -a * a) == 0
    x, y = np.array([1, -1, 0, np.nan], np.float32), np.zeros(4, np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        np.testing.assert_array_equal(ratios(x, y), np.float32([np.inf, -np.inf, np.nan, np.nan]))


# Not marked `nojit`: without the compiler there is nothing to look at.
def test_kernels_release_the_gil_and_take_no_liberties() -> None:
    options: Any = ratios
    assert options.targetoptions["nogil"]
    assert not options.targetoptions["fastmath"]


# Not marked `nojit`: without the compiler helpers are plain functions.
def test_helpers_refuse_python_before_and_after_they_are_compiled() -> None:
    @jit.helper
    def twice(x: int) -> int:
        return 2 * x

    @jit.kernel
    def fourfold(x: int) -> int:
        return twice(twice(x))

    for _ in range(2):
        with pytest.raises(TypeError, match="twice is a helper: only compiled code calls it"):
            twice(3)
        assert fourfold(3) == 12


# Not marked `nojit`: without the compiler there is nothing to look at.
def test_no_helper_has_code_of_its_own() -> None:
    """A process that has just compiled runs what one runs that loads kernels from the cache."""
    compiled: Any = ratio
    compiled.compile("float32(float32, float32)")
    (overload,) = compiled.overloads.values()
    engine = overload.library._codegen._engine
    assert not engine.is_symbol_defined(overload.fndesc.llvm_cpython_wrapper_name)
    assert overload.library.get_pointer_to_function(overload.fndesc.mangled_name) == 0


@pytest.mark.parametrize(
    "change",
    [
        "del codegen.JITCodeLibrary",
        "codegen.JITCodeLibrary = type('Other', (), {})",
    ],
)
def test_a_numba_of_other_libraries_compiles_helpers_as_kernels(change: str, copy: Path) -> None:
    folder = str(copy.parent.parent / "cache")
    code = f"""
        import json
        import numpy as np
        import numba
        from numba.core import codegen
        numba.njit(lambda: None)()
        {change}
        from fastaimc.kernels import elementary
        x = np.zeros(1, np.float32)
        print(json.dumps([elementary.exp_array(x).tolist(), float(elementary.exp(x[0]))]))
    """
    assert run(code, PYTHONPATH=str(copy.parent), NUMBA_CACHE_DIR=folder) == [[1.0], 1.0]


def test_without_the_compiler_kernels_are_plain_functions() -> None:
    found = run(
        """
        import json, types
        import numpy as np
        from fastaimc.kernels import elementary, jit, philox
        kernels = (elementary.exp, elementary.exp_array, philox.words)
        with jit.threads(1):
            words = philox.words(np.zeros((1, 4), np.uint32), np.zeros(2, np.uint32))
        print(json.dumps([all(type(k) is types.FunctionType for k in kernels), words.tolist()]))
        """,
        NUMBA_DISABLE_JIT="1",
    )
    assert found == [True, [[0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]]]


# --- the cache ----------------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package without cache files, in a folder of its own."""
    source = Path(fastaimc.__file__).parent
    target = tmp_path / "copied" / "fastaimc"
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def normals(copy: Path, **environment: str) -> dict[str, Any]:
    cache = str(copy.parent.parent / "cache")
    found: dict[str, Any] = run(
        NORMALS, PYTHONPATH=str(copy.parent), **{"NUMBA_CACHE_DIR": cache} | environment
    )
    assert Path(found["file"]).is_relative_to(copy)
    return found


def cache_files(copy: Path) -> dict[str, int]:
    folder = copy.parent.parent / "cache"
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*.nb?")}


def test_a_second_process_finds_everything_compiled(copy: Path) -> None:
    first = normals(copy)
    files = cache_files(copy)
    second = normals(copy)
    assert (first["hits"], first["misses"]) == (0, 1)
    assert (second["hits"], second["misses"]) == (1, 0)
    assert second["z"] == first["z"]
    assert files
    assert cache_files(copy) == files


def test_a_change_in_another_file_is_compiled(copy: Path) -> None:
    before = normals(copy)
    helper = copy / "kernels" / "elementary.py"
    source = helper.read_text(encoding="utf-8")
    # Of the same length and, as far as a file system can tell, perhaps of the same time.
    changed = source.replace(
        "_LN2_HIGH = np.float32(0.693359375)", "_LN2_HIGH = np.float32(0.793359375)"
    )
    assert changed != source
    helper.write_text(changed, encoding="utf-8")
    after = normals(copy)
    assert (after["hits"], after["misses"]) == (0, 1)
    assert after["z"] != before["z"]
    helper.write_text(source, encoding="utf-8")
    assert normals(copy)["z"] == before["z"]


def test_cache_files_lie_beside_the_kernels_by_default(copy: Path) -> None:
    normals(copy, NUMBA_CACHE_DIR="")
    assert list(copy.rglob("philox.normals-*.nbi"))


def test_an_entry_of_another_stamp_or_key_is_no_hit(tmp_path: Path) -> None:
    """Processes that save at the same time: the index is of the one, the data of the other."""

    def file(stamp: str) -> Any:
        return cache.StampedFile(str(tmp_path), "kernel", stamp)

    file("old").save("float32", "code")
    assert file("old").load("float32") == "code"
    assert file("new").load("float32") is None
    file("new")._save_index({"float32": "kernel.1.nbc"})
    assert file("new").load("float32") is None
    file("old")._save_index({"float64": "kernel.1.nbc"})
    assert file("old").load("float64") is None
    file("new").save("float32", "new code")
    assert file("new").load("float32") == "new code"


# Not marked `nojit`: without the compiler there is nothing to look at.
def test_the_stamp_is_in_every_kernel() -> None:
    kernels: tuple[Any, ...] = (elementary.exp_array, elementary.log_array, ratios)
    for kernel in kernels:
        own_file, everything = kernel._cache._cache_file._source_stamp
        assert everything == cache.stamp()
        assert own_file
        assert pickle.loads(pickle.dumps((own_file, everything))) == (own_file, everything)


@pytest.mark.parametrize(
    "change",
    [
        "del caching.FunctionCache",
        "caching.NullCache = type('Other', (), {})",
        "caching.FunctionCache.__init__ = lambda self: None",
        "caching.FunctionCache.__init__ = lambda self, function: None",
    ],
)
def test_a_numba_of_other_internals_works_without_cache(change: str, copy: Path) -> None:
    folder = str(copy.parent.parent / "cache")
    code = f"""
        import json, warnings
        import numpy as np
        import numba
        from numba.core import caching, ccallback
        {change}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            from fastaimc.kernels import elementary
            y = elementary.exp_array(np.zeros(1, np.float32))
        texts = [str(w.message) for w in caught if w.category is RuntimeWarning]
        print(json.dumps([texts, y.tolist()]))
    """
    texts, y = run(code, PYTHONPATH=str(copy.parent), NUMBA_CACHE_DIR=folder)
    assert y == [1.0]
    assert len(texts) == 1
    assert texts[0].startswith("fastaimc compiles its kernels anew in every process, because numba")
    assert not cache_files(copy)


# --- the runner of these tests ------------------------------------------------------------------


def test_the_runner_shows_what_went_wrong() -> None:
    assert start("raise SystemExit(3)").returncode == 3
    with pytest.raises(AssertionError, match="ValueError: this"):
        run("raise ValueError('this')")
    with pytest.raises(AssertionError, match="UserWarning: that"):
        run("import warnings; warnings.warn('that')")
    assert run("import json, os; print(json.dumps(os.environ['NUMBA_OPT']))", NUMBA_OPT="1") == "1"
    assert run("print(7)") == json.loads("7")
