"""What a user may hand in by mistake: the right answer, or one message that says what to mend.

A message names the argument, the rule and what was given, and stands in one line.
"""

import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastaimc as fa
from fastaimc import memory
from fastaimc.errors import ConfigError, FastAIMCError, InputError, StorageError

# Small work on a busy machine: waiting for a second thread costs more than it saves.
program = partial(fa.program, threads=1)
HERMES, IDEAL = fa.presets.hermes(), fa.presets.ideal()
GDP = fa.GradientDescentProgramming(
    iterations=3, batch=16, final_passes=1, start_from="single_shot", affine_every=0
)
IP = fa.IterativeProgramming(iterations=3, final_passes=1)
SOURCE = np.random.default_rng(0).standard_normal((6, 8))


@cache
def matrix() -> fa.AnalogMatrix:
    return program(SOURCE, HERMES, GDP)  # type: ignore[no-any-return]


def refused(kind: type[Exception], message: str, call: Callable[[], Any]) -> None:
    """Expect one line of a sensible length that matches, of an exception of ours."""
    with pytest.raises(kind, match=message) as caught:
        call()
    assert isinstance(caught.value, FastAIMCError)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 400


# --- memory ---------------------------------------------------------------------------------------


def test_what_does_not_fit_in_memory_is_refused_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a figure; 4 bytes a device and 23 for the state of 60 × 70 cells, and no more."""
    weights = np.ones((70, 60))
    for available, fits in ((60 * 70 * 39, True), (60 * 70 * 39 - 1, False)):
        monkeypatch.setattr(memory, "available_bytes", lambda available=available: available)
        if fits:
            program(weights, HERMES, GDP)
        else:
            refused(
                InputError,
                r"^weights \(1 × 60 × 70 cells, 39 bytes each\) need 1 MB of memory, and 0 MB are",
                lambda: program(weights, HERMES, GDP),
            )
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    program(weights, HERMES, GDP)


# --- weights --------------------------------------------------------------------------------------

BAD_WEIGHTS: dict[str, tuple[Any, str]] = {
    "nan": (np.where(np.eye(3) > 0, np.nan, 1.0), r"be finite, got 3 NaN or inf, .* \(0, 0\)"),
    "inf": (np.array([[1.0, -np.inf]]), r"be finite, got 1 NaN or inf, the first at \(0, 1\)"),
    "beyond float32": (np.full((2, 2), -1e39), r"fit into float32, got \|weight\| up to 1e\+39"),
    "long double": (np.full((1, 1), np.longdouble("1e400")), "be finite|fit into float32"),
    "empty": (np.zeros((0, 4)), r"not be empty, got shape \(0, 4\)"),
    "no outputs": ([], r"be 2-D \(out_features, in_features\), got shape \(0,\)"),
    "scalar": (3.0, r"be 2-D \(out_features, in_features\), got shape \(\)"),
    "1-D": (np.ones(4), r"be 2-D \(out_features, in_features\), got shape \(4,\)"),
    "3-D": (np.ones((2, 2, 2)), r"be 2-D .*, got shape \(2, 2, 2\)"),
    "complex": (np.ones((2, 2), complex), "be real numbers, got an array of complex128"),
    "object": (np.array([[1, None]]), "be real numbers, got an array of object"),
    "bool": (np.eye(2) > 0, "be real numbers, got an array of bool"),
    "text": ([["a"]], "be real numbers, got an array of <U1"),
    "dates": (np.zeros((1, 1), "M8[s]"), "be real numbers, got an array of datetime64"),
    "none": (None, "be real numbers, got an array of object"),
    "ragged": ([[1.0], [1.0, 2.0]], "be an array of real numbers, got: setting an array element"),
    "masked": (np.ma.array([[1.0]], mask=[[True]]), "not be a masked array"),
}


@pytest.mark.parametrize(("weights", "message"), BAD_WEIGHTS.values(), ids=BAD_WEIGHTS)
def test_bad_weights(weights: Any, message: str) -> None:
    refused(InputError, f"^weights must {message}", lambda: program(weights, HERMES, GDP))
    named = {"fc": SOURCE, "fc 2": weights}
    refused(InputError, rf"^weights\['fc 2'\] must {message}", lambda: program(named, HERMES, GDP))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "weights must hold at least one matrix, got an empty mapping"),
        ({1: SOURCE}, "weights must have names of type str, got 1"),
    ],
)
def test_bad_mappings(weights: Any, message: str) -> None:
    refused(InputError, message, lambda: program(weights, HERMES, GDP))


def readonly(values: np.ndarray) -> np.ndarray:
    values.flags.writeable = False
    return values


GOOD_WEIGHTS: dict[str, Any] = {
    "int8": (SOURCE * 50).astype(np.int8),
    "uint64": np.abs(SOURCE * 1e6).astype(np.uint64),
    "float16": SOURCE.astype(np.float16),
    "float32": SOURCE.astype(np.float32),
    "big endian": SOURCE.astype(">f8"),
    "long double": SOURCE.astype(np.longdouble),
    "read-only": readonly(SOURCE.copy()),
    "fortran": np.asfortranarray(SOURCE),
    "reversed": SOURCE[::-1, ::-1],
    "strided": np.repeat(SOURCE, 2, axis=1)[:, ::2],
    "list": SOURCE.tolist(),
    "large": SOURCE * 1e37,
    "small": SOURCE * 1e-35,
}


@pytest.mark.parametrize("weights", GOOD_WEIGHTS.values(), ids=GOOD_WEIGHTS)
def test_good_weights_are_programmed_as_they_are(weights: Any) -> None:
    plain = np.array(weights, dtype=np.float64)
    exact = program(weights, IDEAL)
    np.testing.assert_allclose(exact.weights(), plain, rtol=1e-6, atol=1e-6 * np.abs(plain).max())
    x = np.linspace(-0.5, 0.5, 8)
    wanted = plain @ x
    np.testing.assert_allclose(exact @ x, wanted, rtol=0, atol=1e-5 * np.abs(plain).max())
    assert program(weights, HERMES, GDP).mvm(x).shape == (6,)


@pytest.mark.parametrize("method", [GDP, IP], ids=["gdp", "ip"])
@pytest.mark.parametrize("engine", ["numba", "reference"])
@pytest.mark.parametrize("shape", [(3, 4), (1, 1)])
def test_a_matrix_of_zeros_gives_zeros(shape: Any, engine: str, method: Any) -> None:
    found = program(np.zeros(shape), HERMES, method, engine=engine, record_every=1)
    assert not found.mvm(np.ones((2, shape[1]))).any()
    assert not found.weights().any()
    assert fa.weight_error(found) == 0.0
    assert fa.mvm_error(found, samples=10).total == 0.0
    assert not np.isinf(found.history["batch_error"]).any()


@pytest.mark.parametrize("method", [GDP, IP], ids=["gdp", "ip"])
def test_an_output_of_zeros_gives_zeros(method: Any) -> None:
    weights = SOURCE.copy()
    weights[2] = 0
    y = program(weights, HERMES, method).mvm(np.ones((4, 8)))
    assert not y[:, 2].any()
    assert y[:, [0, 1, 3, 4, 5]].any(axis=0).all()


@pytest.mark.parametrize("shape", [(1, 8), (1, 5000), (3, 5000), (300, 2)])
def test_one_row_and_thousands_of_columns(shape: tuple[int, int]) -> None:
    weights = np.random.default_rng(1).standard_normal(shape)
    found = program(weights, IDEAL)
    x = np.random.default_rng(2).uniform(-1, 1, (3, shape[1]))
    wanted = x @ weights.T
    assert np.linalg.norm(found.mvm(x) - wanted) < 1e-6 * np.linalg.norm(wanted)
    assert fa.weight_error(program(weights, HERMES, IP)) < 0.3


# --- inputs ---------------------------------------------------------------------------------------

BAD_INPUTS: dict[str, tuple[Any, str]] = {
    "width": (np.ones(7), r"be \(\.\.\., 8\), got shape \(7,\)"),
    "width of a batch": (np.ones((8, 3)), r"be \(\.\.\., 8\), got shape \(8, 3\)"),
    "scalar": (1.0, r"be \(\.\.\., 8\), got shape \(\)"),
    "empty": ([], r"be \(\.\.\., 8\), got shape \(0,\)"),
    "nan": (np.array([np.nan] * 2 + [0.0] * 6), "not hold NaN, got 2"),
    "complex": (np.ones(8, complex), "be real numbers, got an array of complex128"),
    "object": (np.array([None] * 8), "be real numbers, got an array of object"),
    "text": (["a"] * 8, "be real numbers, got an array of <U1"),
    "ragged": ([[1.0] * 8, [1.0]], "be an array of real numbers, got: setting an array element"),
    "masked": (np.ma.masked_all(8), "not be a masked array"),
    "matrix": (None, "be real numbers, got an array of object"),
}


@pytest.mark.parametrize(("x", "message"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_bad_inputs(x: Any, message: str) -> None:
    found = matrix().copy()
    refused(InputError, f"^x must {message}", lambda: found.mvm(x))
    assert (found.number, found.saturated) == (0, 0)  # nothing was drawn for it


@pytest.mark.parametrize("value", [1.5, -1e9, np.inf, -np.inf, 1e300])
def test_inputs_beyond_the_range_saturate(value: float) -> None:
    found = matrix().copy()
    limit = found.mvm(np.full(8, np.sign(value)), draw=0)
    assert (found.mvm(np.full(8, value)) == limit).all()
    assert found.saturated == 8


def test_zero_and_empty_inputs() -> None:
    exact = program(SOURCE, IDEAL)
    assert not exact.mvm(np.zeros((3, 8))).any()
    assert exact.mvm(np.zeros((0, 8))).shape == (0, 6)
    assert (exact @ np.zeros((8, 0))).shape == (6, 0)


# --- arguments ------------------------------------------------------------------------------------

ARGUMENTS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"config": "hermes"}, ConfigError, "config must be a CoreConfig, got str"),
    ({"config": fa.presets.hermes}, ConfigError, "config must be a CoreConfig, got function"),
    ({"method": "gdp"}, ConfigError, "method must be a method such as .*, got 'gdp'"),
    ({"method": type(GDP)}, ConfigError, "method must be a method such as .*, got <class"),
    ({"seed": -1}, ConfigError, "seed must be from 0 to 9223372036854775807, got -1"),
    ({"seed": 1.0}, ConfigError, r"seed must be an integer, got 1\.0"),
    ({"seed": None}, ConfigError, "seed must be an integer, got None"),
    ({"input_range": 0}, InputError, r"input_range must be >= 1e-30, got 0\.0"),
    ({"input_range": -1.0}, InputError, r"input_range must be >= 1e-30, got -1\.0"),
    ({"input_range": np.nan}, InputError, "input_range must be finite, got nan"),
    ({"input_range": 1e38}, InputError, r"input_range must be <= 1e\+30, got 1e\+38"),
    ({"input_range": "1"}, InputError, "input_range must be a number, got '1'"),
    ({"engine": "nunba"}, InputError, r"engine must be .*, got 'nunba' \(did you mean 'numba'\?\)"),
    ({"engine": None}, InputError, "engine must be one of 'numba', 'reference', got None"),
    ({"threads": 0}, ConfigError, "threads must be from 1 to 65536, got 0"),
    ({"threads": "all"}, ConfigError, "threads must be an integer, got 'all'"),
    ({"record_every": -1}, ConfigError, "record_every must be from 0 to 1000000000, got -1"),
    ({"progress": "bar"}, InputError, "progress must be None, True or a function .*, got 'bar'"),
    ({"checkpoint": 3}, InputError, "checkpoint must be a str or a path, got 3"),
]


@pytest.mark.parametrize(("arguments", "kind", "message"), ARGUMENTS, ids=str)
def test_bad_arguments(arguments: dict[str, Any], kind: type[Exception], message: str) -> None:
    options = {"config": HERMES, "method": GDP} | arguments
    refused(kind, message, lambda: program(SOURCE, **options))


METHODS: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (fa.GradientDescentProgramming, {"batch": 0}, "batch must be from 1 to 65536, got 0"),
    (fa.GradientDescentProgramming, {"batch": 2.0}, r"batch must be an integer, got 2\.0"),
    (fa.GradientDescentProgramming, {"iterations": 0}, "iterations must be from 1 to 100000"),
    (fa.GradientDescentProgramming, {"amplitude": 0}, r"amplitude must be > 0, got 0\.0"),
    (fa.GradientDescentProgramming, {"inputs": "hadamar"}, r"\(did you mean 'hadamard'\?\)"),
    (fa.GradientDescentProgramming, {"start_from": "set"}, "start_from must be one of"),
    (fa.IterativeProgramming, {"iterations": -5}, "iterations must be from 1 to 100000, got -5"),
    (fa.IterativeProgramming, {"verify": "cel"}, r"\(did you mean 'cell'\?\)"),
    (fa.IterativeProgramming, {"verify_delay": -1}, r"verify_delay must be >= 0, got -1\.0"),
    (fa.IterativeProgramming, {"final_passes": -1}, "final_passes must be from 0 to"),
    (partial(fa.Step, margin=1, margin_end=1, kappa=1, gain=1, gain_end=1), {"max_step": 0},
     r"step\.max_step must be > 0, got 0\.0"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "arguments", "message"), METHODS)
def test_bad_hyper_parameters(make: Any, arguments: dict[str, Any], message: str) -> None:
    refused(ConfigError, message, lambda: make(**arguments))


@pytest.mark.parametrize("bits", [0, 40])
def test_bits_of_no_converter(bits: int) -> None:
    message = f"adc.bits must be from 1 to 16, got {bits}"
    refused(ConfigError, message, lambda: fa.override(HERMES, {"adc.bits": bits}))


# --- files ----------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "matrix.npz"


def write_foreign(path: Path) -> None:
    np.savez(path, weights=np.ones(3))


def write_pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"weights": 1}))


def write_pickled_member(path: Path) -> None:
    np.savez(path, allow_pickle=True, weights=np.array([{"a": 1}], dtype=object))


def write_truncated(path: Path) -> None:
    fa.save(path, matrix())
    path.write_bytes(path.read_bytes()[:-500])


def write_lying(path: Path) -> None:
    """An array that declares more than the file holds."""
    fa.save(path, matrix())
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    old, new = b"'shape': (1, 4, 8, 6), }", b"'shape': (1, 9, 8, 6), }"
    assert old in members["conductance.npy"]
    members["conductance.npy"] = members["conductance.npy"].replace(old, new)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def write_newer(path: Path) -> None:
    meta = {"format": "fastaimc", "schema": 99, "kind": "matrix"}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("meta.json", json.dumps(meta))


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda path: None, "No such file"),
    "empty": (lambda path: path.write_bytes(b""), "got an empty file"),
    "text": (
        lambda path: path.write_text("weights"),
        "must be a file of fastaimc, got a file that",
    ),
    "pickled": (write_pickled, "got a pickle, which is never opened"),
    "pickled member": (
        write_pickled_member,
        "must be a file of fastaimc, got a zip or npz without",
    ),
    "foreign": (write_foreign, "must be a file of fastaimc, got a zip or npz without meta.json"),
    "truncated": (write_truncated, "must be a whole, readable file of fastaimc, got:"),
    "lying": (write_lying, "must hold the [0-9]+ bytes of its shape"),
    "newer": (write_newer, "must have a schema of at most 1, got 99: a newer fastaimc wrote it"),
    "folder": (lambda path: path.mkdir(), "must be a file, got a folder"),
}


@pytest.mark.parametrize("read", [fa.load, fa.resume])
@pytest.mark.parametrize(("make", "message"), FILES.values(), ids=FILES)
def test_bad_files(path: Path, make: Callable[[Path], Any], message: str, read: Any) -> None:
    make(path)
    if read is fa.resume and make in (write_truncated, write_lying):
        message += "|must hold a 'checkpoint', got a 'matrix'"
    refused(StorageError, f"{re.escape(repr(str(path)))} .*({message})", lambda: read(path))


@pytest.mark.parametrize("where", ["missing/m.npz", "", "file/m.npz", "\0"])
def test_paths_that_cannot_be_written(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    target = f"{tmp_path}/{where}"
    refused(StorageError, "must (lie in a folder|be a file)", lambda: fa.save(target, matrix()))
    before = sorted(tmp_path.rglob("*"))
    started: list[object] = []
    refused(
        StorageError,
        "must (lie in a folder|be a file)",
        lambda: program(
            SOURCE, HERMES, GDP, checkpoint=target, progress=lambda *a: started.append(a)
        ),
    )
    assert not started  # it is said before an hour of programming, not after
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("target", [None, 3, b"m.npz", Path])
def test_paths_that_are_none(target: Any) -> None:
    for call in (lambda: fa.load(target), lambda: fa.save(target, matrix())):
        refused(StorageError, "path must be a str or a path, got ", call)


def test_a_half_written_file_never_replaces_a_whole_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fa.save(path, matrix())
    whole = path.read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    refused(StorageError, "No space left on device", lambda: fa.save(path, matrix().at(1e6)))
    assert path.read_bytes() == whole
    assert [file.name for file in path.parent.iterdir()] == ["matrix.npz"]
