"""Programmed matrices as files: all of one comes back, and nothing that a file says is believed."""

import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastaimc as fa
from fastaimc import storage
from fastaimc.errors import ConfigError, InputError, StorageError

pytestmark = pytest.mark.nojit

# Small work on a busy machine: waiting for a second thread costs more than it saves.
program = partial(fa.program, threads=1)
load = partial(fa.load, threads=1)
HERMES = fa.presets.hermes()
GDP = fa.GradientDescentProgramming(
    iterations=4, batch=16, final_passes=1, start_from="single_shot", affine_every=2
)
OUT, IN = 7, 9
X = np.random.default_rng(1).uniform(-1.2, 1.2, (5, IN))


@cache
def layers() -> dict[str, fa.AnalogMatrix]:
    generator = np.random.default_rng(0)
    weights = {"a": generator.standard_normal((OUT, IN)), "b": generator.standard_normal((2, 3))}
    config = fa.override(HERMES, {"rows": 5, "columns": 4, "weight_quantile": 0.9})
    return program(weights, config, GDP, seed=3, record_every=2)  # type: ignore[no-any-return]


@pytest.fixture
def matrix() -> fa.AnalogMatrix:
    return layers()["a"].copy()


@pytest.fixture
def path(tmp_path: Path, matrix: fa.AnalogMatrix) -> Path:
    file = tmp_path / "matrix.npz"
    fa.save(file, matrix)
    return file


# --- what comes back ------------------------------------------------------------------------------


def test_all_of_a_matrix_comes_back(matrix: fa.AnalogMatrix, tmp_path: Path) -> None:
    matrix.mvm(X)
    matrix.advance(1000.0)
    fa.save(tmp_path / "m", matrix)
    again = load(tmp_path / "m")
    for name in ("shape", "time_s", "number", "saturated", "clipped", "input_range", "config"):
        assert getattr(again, name) == getattr(matrix, name)
    assert again.clipped_conductance == matrix.clipped_conductance > 0
    assert (again.time_s, again.number) == (1200.0, 5)
    assert again.saturated > 0
    assert again.clipped > 0
    assert again.cost == matrix.cost
    np.testing.assert_array_equal(again.cell_pulses, matrix.cell_pulses, strict=True)
    assert again.provenance == matrix.provenance
    assert again.provenance["layer"] == "a"
    assert list(again.history) == list(matrix.history)
    for name, values in matrix.history.items():
        np.testing.assert_array_equal(again.history[name], values, strict=True)


def test_a_loaded_matrix_goes_on_bitwise(matrix: fa.AnalogMatrix, tmp_path: Path) -> None:
    matrix.mvm(X)
    fa.save(tmp_path / "m", matrix)
    again = load(str(tmp_path / "m"))
    assert (again.weights() == matrix.weights()).all()
    for _ in range(2):
        assert (again.mvm(X) == matrix.mvm(X)).all()
    assert (again.at(1e6).mvm(X) == matrix.at(1e6).mvm(X)).all()
    assert fa.mvm_error(again, samples=50) == fa.mvm_error(matrix, samples=50)


def test_every_layer_of_a_mapping_is_a_file_of_its_own(tmp_path: Path) -> None:
    for name, layer in layers().items():
        fa.save(tmp_path / name, layer)
    for name, layer in layers().items():
        again = load(tmp_path / name)
        x = np.ones(layer.shape[1])
        assert (again.mvm(x, draw=0) == layer.mvm(x, draw=0)).all()
        assert again.provenance["layer"] == name


@pytest.mark.parametrize("engine", ["numba", "reference"])
def test_the_engine_is_the_one_that_programmed_it_or_another(tmp_path: Path, engine: str) -> None:
    matrix = program(np.ones((3, 4)), fa.presets.ideal(), engine=engine)
    fa.save(tmp_path / "m", matrix)
    assert load(tmp_path / "m").core.engine is matrix.core.engine
    other = {"numba": "reference", "reference": "numba"}[engine]
    swapped = load(tmp_path / "m", engine=other)
    assert swapped.core.engine is not matrix.core.engine
    np.testing.assert_allclose(swapped.mvm(np.ones(4)), [4.0] * 3, rtol=1e-6)
    assert swapped.provenance["engine"] == engine


def test_the_same_matrix_makes_the_same_bytes(matrix: fa.AnalogMatrix, path: Path) -> None:
    other = path.with_name("again.npz")
    fa.save(other, load(path))
    assert other.read_bytes() == path.read_bytes()
    with np.load(path, allow_pickle=False) as arrays:  # NumPy's own, for whoever has not us
        assert (arrays["targets"] == matrix.targets).all()


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [{"a": 1}, np.ones((2, 2)), None, "matrix"])
def test_only_matrices_are_saved(tmp_path: Path, value: Any) -> None:
    with pytest.raises(InputError, match=r"matrix must be an AnalogMatrix, got \w+"):
        fa.save(tmp_path / "m", value)
    assert not list(tmp_path.iterdir())


def test_what_is_wrong_with_the_call_is_not_said_of_the_file(path: Path) -> None:
    with pytest.raises(InputError, match=r"engine must be .* got 'nunba' \(did you mean 'numba'"):
        fa.load(path, engine="nunba")
    for threads, rule in ((0, "from 1 to 65536"), ("2", "an integer")):
        with pytest.raises(ConfigError, match=f"threads must be {rule}, got"):
            fa.load(path, threads=threads)  # type: ignore[arg-type]


def test_a_checkpoint_is_no_matrix_nor_the_other_way_round(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageError, match=r"hold a 'checkpoint', got a 'matrix': use .*\.load"):
        fa.resume(path)
    other = path.with_name("checkpoint.npz")
    monkeypatch.setattr("fastaimc.programming.loop.CHECKPOINT_EVERY_S", 0.0)
    program(np.ones((2, 3)), HERMES, GDP, checkpoint=other)
    with pytest.raises(StorageError, match=r"hold a 'matrix', got a 'checkpoint': use .*\.resume"):
        fa.load(other)


Change = Callable[[dict[str, Any], dict[str, Any]], Any]


def lie(path: Path, change: Change) -> None:
    """Write the file again, whole and well-formed, with other contents."""
    arrays, meta = storage.read(path, "matrix")
    for key in ("format", "schema", "kind"):
        del meta[key]
    change(arrays, meta)
    storage.write(path, "matrix", arrays, meta)


def in_meta(*keys: str, value: Any) -> Change:
    def change(_: dict[str, Any], meta: dict[str, Any]) -> None:
        for key in keys[:-1]:
            meta = meta[key]
        meta[keys[-1]] = value

    return change


def in_array(name: str, edit: Callable[[np.ndarray], Any]) -> Change:
    def change(arrays: dict[str, Any], _: dict[str, Any]) -> None:
        arrays[name] = np.asarray(edit(arrays[name].copy()))

    return change


def fill(value: Any) -> Callable[[np.ndarray], np.ndarray]:
    return lambda array: np.full_like(array, value)


ARRAYS = (
    *("conductance", "last_device", "last_s", "clock_s", "identity", "extents", "full_scale_us"),
    *(f"counters.{name}" for name in ("pulses_set", "pulses_reset", "mvms", "row_reads")),
    *("counters.adc_conversions", "counters.wait_s", "mapping.row_edges", "mapping.column_edges"),
    *("counters.clipped_conductance", "counters.clipped_current"),
    *("mapping.scale", "targets", "scale", "offset", "cell_pulses"),
    *(f"history.{name}" for name in ("iteration", "batch_error", "pulses", "mvms", "row_reads")),
    *(f"history.{name}" for name in ("latency_s", "energy_j", "mvm_error", "weight_error")),
)
OPTIONAL = (
    *("cell_pulses", "counters.clipped_conductance", "counters.clipped_current"),
    "history.energy_j",
)
MAY_BE_NAN = (
    *("history.batch_error", "history.mvm_error", "history.weight_error"),
    "history.energy_j",
)


def test_the_arrays_are_known(path: Path) -> None:
    assert set(storage.read(path, "matrix")[0]) == set(ARRAYS)


@pytest.mark.parametrize("name", ARRAYS)
def test_every_array_is_needed_in_its_shape_and_dtype(path: Path, name: str) -> None:
    original = path.read_bytes()
    changes: list[Change] = [
        in_array(name, lambda a: a.astype(bool)),
        in_array(name, lambda a: a[None]),
        in_array(name, lambda a: a.ravel()[:0]),
    ]
    if name not in OPTIONAL:
        changes.append(lambda arrays, _: arrays.pop(name))
    if not name.startswith("history."):
        changes.append(in_array(name, lambda a: np.concatenate([a, a])))
    for change in changes:
        path.write_bytes(original)
        lie(path, change)
        with pytest.raises(StorageError, match=re.escape(repr(str(path)))):
            load(path)


def test_pulses_of_the_cells_are_kept_where_there_are_any(path: Path) -> None:
    lie(path, lambda arrays, _: arrays.pop("cell_pulses"))
    assert load(path).cell_pulses is None
    fa.save(path, program(np.ones((2, 3)), HERMES, GDP))
    assert "cell_pulses" not in storage.read(path, "matrix")[0]
    assert load(path).cell_pulses is None


def test_a_file_that_counts_no_clipped_pulses_has_none(path: Path) -> None:
    lie(path, lambda arrays, _: [arrays.pop(name) for name in OPTIONAL])
    assert (load(path).clipped_conductance, load(path).clipped_current) == (0, 0)


@pytest.mark.parametrize(
    "name", [n for n in ARRAYS if n.split(".")[0] not in ("history", "counters")]
)
def test_no_array_holds_what_is_no_number(path: Path, name: str) -> None:
    values = storage.read(path, "matrix")[0][name]
    if values.dtype.kind == "f":
        lie(path, in_array(name, lambda a: np.full_like(a, np.nan)))
        with pytest.raises(StorageError, match=f"NaN or inf in '{name}'"):
            load(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("extents", 0), ("extents", 6), ("extents", -1), ("mapping.row_edges", 0), ("extents", 2)],
)
def test_tiles_lie_within_their_cells_and_their_matrix(path: Path, name: str, value: int) -> None:
    lie(path, in_array(name, lambda a: np.full_like(a, value)))
    with pytest.raises(StorageError, match=r"tiles that are not|weights that do not|must cut"):
        load(path)


META = (
    *("core", "core.step", "core.number", "mapping", "mapping.shape", "mapping.clipped"),
    *("input_range", "time_s", "number", "saturated", "cost", "cost.pulses_set", "cost.energy_j"),
    *("provenance", "provenance.config", "provenance.config.config", "provenance.engine"),
    *("provenance.config.config.adc", "provenance.config.schema", "provenance.method"),
)


@pytest.mark.parametrize("name", META)
def test_every_entry_of_the_metadata_is_needed_and_checked(path: Path, name: str) -> None:
    original = path.read_bytes()
    nonsense = (None, "x", -1, [], [[]], 2**70, True, 0.5)
    legitimate = {
        "input_range": (2**70, 0.5),
        "time_s": (2**70, 0.5),
        "cost.energy_j": (2**70, 0.5),
    }
    keys = name.split(".")
    for value in nonsense:
        if value in legitimate.get(name, ()):
            continue
        path.write_bytes(original)
        lie(path, in_meta(*keys, value=value))
        with pytest.raises(StorageError, match="must hold what fastaimc wrote, got: "):
            load(path)

    def drop(_: dict[str, Any], meta: dict[str, Any]) -> None:
        for key in keys[:-1]:
            meta = meta[key]
        del meta[keys[-1]]

    path.write_bytes(original)
    lie(path, drop)
    if name != "provenance.config.config.adc":  # the default then
        with pytest.raises(StorageError):
            load(path)
