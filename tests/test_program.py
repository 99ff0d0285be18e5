"""`program`: arrays and mappings in, seeds, engines, methods, history, provenance, progress."""

import json
from functools import partial
from typing import Any

import numpy as np
import pytest
from tolerances import SIGMAS

import fastaimc as fa
from fastaimc.config import CoreConfig, ProgrammedState
from fastaimc.errors import ConfigError, InputError

HERMES = fa.presets.hermes()
IDEAL = fa.presets.ideal()
GDP = fa.GradientDescentProgramming(
    iterations=5, batch=32, final_passes=1, start_from="single_shot", affine_every=0
)
IP = fa.IterativeProgramming(iterations=4, final_passes=1)
# Small work on a busy machine: waiting for a second thread costs more than it saves.
program = partial(fa.program, threads=1)
COUNTS = ("pulses", "mvms", "row_reads", "latency_s", "energy_j")
RECORDED = {"iteration", *COUNTS, "batch_error", "mvm_error", "weight_error"}
ENGINES_AGREE = 0.02  # of the MVM error after a whole program: the contract, not a rounding


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def held(matrix: fa.AnalogMatrix) -> bytes:
    return matrix.core.conductance.tobytes()


# --- arrays and mappings --------------------------------------------------------------------------


def test_an_array_gives_a_matrix_and_a_mapping_gives_a_dict() -> None:
    weights = {"a": random(6, 10), "b": random(3, 40)}
    assert isinstance(program(weights["a"], IDEAL), fa.AnalogMatrix)
    config = fa.override(HERMES, {"rows": 16, "columns": 4})
    layers = program(weights, config, GDP)
    assert list(layers) == ["a", "b"]
    for name, matrix in layers.items():
        assert matrix.shape == weights[name].shape
        assert matrix.provenance["layer"] == name
        assert fa.weight_error(matrix) < 0.2
        assert len(matrix.core.extents) == matrix.programmed.mapping.tiles
    assert layers["a"].programmed.mapping.tiles == 2
    assert layers["b"].programmed.mapping.tiles == 3


def test_named_layers_do_not_share_devices() -> None:
    """Nor do the tiles of one; equal names, or none, have the same devices."""
    same = random(8, 8)
    config = fa.override(HERMES, {"columns": 4})
    layers = program({"a": same, "b": same}, config, GDP, seed=3)
    keys = {tuple(tile) for matrix in layers.values() for tile in matrix.core.identity.tolist()}
    assert len(keys) == 4
    assert held(layers["a"]) != held(layers["b"])
    x = np.ones(8)
    assert (layers["a"].mvm(x, draw=0) != layers["b"].mvm(x, draw=0)).any()
    again = program({"b": same}, config, GDP, seed=3)
    assert again["b"].core.identity.tolist() == layers["b"].core.identity.tolist()
    assert held(again["b"]) == held(layers["b"])


def test_cost_and_history_are_split_between_layers() -> None:
    layers = program({"a": random(4, 6), "b": random(7, 9)}, HERMES, IP)
    for matrix in layers.values():
        assert matrix.history["pulses"][-1] == (matrix.cost.pulses_set + matrix.cost.pulses_reset)
        reads = matrix.cost.row_reads
        assert matrix.cost.adc_conversions == reads * matrix.shape[0]
    assert layers["a"].cost.row_reads < layers["b"].cost.row_reads


def test_an_input_range_of_each_layer() -> None:
    weights = {"a": random(4, 6), "b": random(7, 9)}
    layers = program(weights, IDEAL, input_range={"a": 2.0, "b": 0.5})
    assert (layers["a"].input_range, layers["b"].input_range) == (2.0, 0.5)
    assert program(weights["a"], IDEAL, input_range=3).input_range == 3.0
    with pytest.raises(InputError, match="must have an entry for each layer, none for 'b'"):
        program(weights, IDEAL, input_range={"a": 2.0})


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (5, 600)])
def test_shapes_beyond_a_crossbar(shape: tuple[int, int]) -> None:
    config = fa.override(HERMES, {"rows": 256})
    weights = random(*shape)
    matrix = program(weights, config, IP)
    assert matrix.mvm(np.ones(shape[1])).shape == (shape[0],)
    assert fa.weight_error(matrix) < 0.25


# --- seeds and engines ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", [GDP, IP, None])
def test_the_same_seed_gives_the_same_and_another_another(method: Any) -> None:
    config = HERMES if method else fa.override(IDEAL, {"device.std_us": (0.5,)})
    matrices = [program(random(8, 8), config, method, seed=seed) for seed in (1, 1, 2)]
    assert held(matrices[0]) == held(matrices[1]) != held(matrices[2])
    x = random(3, 8, seed=1)
    assert (matrices[0].mvm(x) == matrices[1].mvm(x)).all()
    assert (matrices[0].mvm(x) != matrices[2].mvm(x)).any()


def test_threads_change_nothing() -> None:
    weights = random(20, 20)
    one, two = (program(weights, HERMES, GDP, threads=n) for n in (1, None))
    assert held(one) == held(two)
    x = random(5, 20, seed=1)
    assert (one.mvm(x) == two.mvm(x)).all()
    assert one.provenance["threading"]["threads"] == 1


@pytest.mark.parametrize(
    "method",
    [
        fa.GradientDescentProgramming(
            iterations=5, batch=64, final_passes=1, start_from="single_shot", affine_every=0
        ),
        fa.GradientDescentProgramming(
            iterations=4,
            batch=48,
            affine_every=2,
            start_from="ip",
            inputs="gaussian",
            final_passes=1,
        ),
        fa.IterativeProgramming(iterations=5, final_passes=1),
        fa.IterativeProgramming(
            iterations=4, verify="device", allocation="max_fill", fine=True, final_passes=0
        ),
    ],
    ids=["gdp", "gdp_affine", "ip", "ip_textbook"],
)
def test_engines_agree_after_a_whole_program(method: Any) -> None:
    config = fa.override(HERMES, {"rows": 16, "columns": 12, "adc.bits": 7})
    errors = {
        engine: [
            fa.mvm_error(
                program(random(16, 24, seed=seed), config, method, seed=seed, engine=engine),
                samples=100,
            )
            for seed in range(3)
        ]
        for engine in ("numba", "reference")
    }
    for name in ("total", "residual", "exact", "floor"):
        numba, reference = (np.mean([getattr(e, name) for e in errors[k]]) for k in errors)
        assert 0.005 < reference < 0.5
        assert abs(numba / reference - 1) < ENGINES_AGREE


# --- methods --------------------------------------------------------------------------------------


def test_the_default_method_follows_the_device() -> None:
    assert program(random(2, 2), IDEAL).provenance["method"]["kind"] == "DirectWrite"
    matrix = program(random(2, 2))
    assert matrix.config == HERMES
    assert matrix.provenance["method"]["kind"] == "GradientDescentProgramming"
    assert "method=GradientDescentProgramming, time_s=200" in repr(matrix)


@pytest.mark.parametrize("method", [GDP, IP])
def test_a_device_known_by_its_statistics_is_only_written(method: Any) -> None:
    name = type(method).__name__
    with pytest.raises(ConfigError, match=f"{name} needs a device that .* use DirectWrite"):
        program(random(2, 2), IDEAL, method)


def test_a_device_that_answers_pulses_is_not_written() -> None:
    with pytest.raises(ConfigError, match=r"DirectWrite needs .* use GradientDescentProgramming"):
        program(random(2, 2), HERMES, fa.DirectWrite())


@pytest.mark.parametrize("engine", ["numba", "reference"])
def test_the_ideal_core_multiplies_exactly(engine: str) -> None:
    weights = random(30, 300)
    matrix = program(weights, IDEAL, engine=engine)
    x = np.random.default_rng(1).uniform(-1, 1, (20, 300))
    wanted = x @ weights.T
    error = np.linalg.norm(matrix.mvm(x) - wanted) / np.linalg.norm(wanted)
    assert error < 1e-6
    np.testing.assert_allclose(matrix.weights(), weights, atol=1e-6 * np.abs(weights).max())


@pytest.mark.parametrize("engine", ["numba", "reference"])
def test_a_direct_write_leaves_the_published_spread(engine: str) -> None:
    """std(x) = 0.4 + 1.0 x µS at x = g / 10; zero is exact."""
    device = ProgrammedState(g_scale_us=10.0, std_us=(0.4, 1.0))
    config = fa.override(IDEAL, {"device": device, "g_max_us": 8.0})
    weights = np.ones((64, 256))
    weights[:, 128:192] = -0.5
    weights[:, 192:] = 0.0
    found = program(weights, config, fa.DirectWrite(), engine=engine).weights() * 8.0
    for part, g in ((slice(0, 128), 8.0), (slice(128, 192), -4.0)):
        cells = found[:, part]
        std = 0.4 + abs(g) / 10
        assert abs(cells.mean() - g) < SIGMAS * std / np.sqrt(cells.size)
        assert abs(cells.std() / std - 1) < SIGMAS / np.sqrt(2 * cells.size)
    assert not found[:, 192:].any()


def test_the_adc_while_programming_is_not_the_one_in_use() -> None:
    """Coarse while programming makes coarse cells; outputs still have all codes in use."""
    weights, x = random(16, 16), np.random.default_rng(1).uniform(-1, 1, (400, 16))
    exact = {"adc.gain_std": 0.0, "adc.offset_std": 0.0, "adc.inl_std": 0.0, "read_noise": None}
    fine = fa.override(HERMES, {"compensation": "none"} | exact)
    coarse = fa.override(fine, {"adc.programming_bits": 3})
    used = fa.override(fine, {"adc.bits": 3})
    matrices = [program(weights, config, GDP) for config in (fine, coarse, used)]
    assert held(matrices[1]) == held(matrices[2]) != held(matrices[0])
    levels = [len(np.unique(matrix.mvm(x)[:, 0])) for matrix in matrices]
    assert min(levels[:2]) > 50
    assert levels[2] <= 7


# --- history, provenance, progress ----------------------------------------------------------------


@pytest.mark.parametrize("method", [GDP, IP])
def test_the_history_has_a_row_an_iteration(method: Any) -> None:
    config = fa.override(HERMES, {"rows": 5})
    matrix = program({"a": random(8, 8), "b": random(2, 3)}, config, method)["a"]
    history = matrix.history
    assert set(history) == RECORDED
    assert history["iteration"].tolist() == list(range(1, method.iterations + 1))
    for name in COUNTS:
        assert (np.diff(history[name]) >= 0).all()
    assert history["latency_s"][-1] == matrix.cost.latency_s
    assert history["energy_j"][-1] == pytest.approx(matrix.cost.energy_j, rel=1e-12)
    assert history["mvms"][-1] == matrix.cost.mvms
    assert history["row_reads"][-1] == matrix.cost.row_reads
    assert (history["batch_error"] > 0).all()
    assert np.isnan(history["mvm_error"]).all()
    assert np.isnan(history["weight_error"]).all()


def test_what_is_observed_changes_nothing() -> None:
    blind = program(random(8, 8), HERMES, GDP)
    seen = program(random(8, 8), HERMES, GDP, record_every=2)
    watched = np.isfinite(seen.history["mvm_error"])
    assert watched.tolist() == [False, True, False, True, True]  # every other one, and the last
    assert np.isfinite(seen.history["weight_error"]).tolist() == watched.tolist()
    assert seen.cost == blind.cost
    assert held(seen) == held(blind)
    assert seen.core.number == blind.core.number
    last = fa.mvm_error(seen.at(HERMES.t_eval_s), samples=500)
    assert abs(seen.history["mvm_error"][-1] / last.total - 1) < 0.3


@pytest.mark.parametrize("engine", ["numba", "reference"])
@pytest.mark.parametrize("method", [GDP, IP, fa.DirectWrite()])
@pytest.mark.parametrize("shape", [(8, 16), (7, 13)], ids=["full", "partial"])
def test_pulses_of_each_cell_add_up_to_the_cost(method: Any, engine: str, shape: Any) -> None:
    core = IDEAL if isinstance(method, fa.DirectWrite) else HERMES
    config = fa.override(core, {"rows": 8, "columns": 4})
    weights = {"a": random(*shape), "b": random(3, 2)}
    layers = program(weights, config, method, engine=engine, record_every=2)
    for name, matrix in layers.items():
        pulses = matrix.cell_pulses
        assert pulses.shape == weights[name].shape
        assert pulses.dtype.kind == "i"
        assert pulses.min() >= 1
        assert pulses.sum() == matrix.cost.pulses_set + matrix.cost.pulses_reset


def test_pulses_of_each_cell_are_where_the_weights_are() -> None:
    """Those of weight (out, in) are of row in and column out of its tile."""
    config = fa.override(HERMES, {"rows": 6, "columns": 5})
    matrix = program(random(9, 11), config, IP, record_every=1)
    pulses, tiles = matrix.cell_pulses, matrix.core.cell_pulses
    assert matrix.core.extents.tolist() == [[6, 4], [6, 5], [5, 4], [5, 5]]
    assert len(np.unique(pulses)) > 2
    for out, row in np.ndindex(9, 11):
        tile = 2 * (row >= 6) + (out >= 4)
        assert pulses[out, row] == tiles[tile, row % 6, out - 4 * (out >= 4)]


def test_pulses_of_each_cell_are_counted_only_where_recorded() -> None:
    assert program(random(3, 4), HERMES, IP).cell_pulses is None


@pytest.mark.parametrize("method", [GDP, IP])
def test_a_tile_of_zeros_does_not_spoil_the_history(method: Any) -> None:
    config = fa.override(HERMES, {"rows": 8})
    weights = random(8, 16)
    weights[:, 8:] = 0
    history = program(weights, config, method, record_every=1).history
    alone = program(weights[:, :8], config, method, record_every=1).history
    for name in ("batch_error", "mvm_error", "weight_error"):
        assert (history[name] > 0.2 * alone[name]).all()
        assert (history[name] < 5 * alone[name]).all()


def test_a_direct_write_has_an_empty_history() -> None:
    history = program(random(2, 2), IDEAL, record_every=1).history
    assert set(history) == RECORDED
    assert {len(values) for values in history.values()} == {0}


def test_the_provenance_makes_the_result_again() -> None:
    matrix = program(random(4, 4), HERMES, GDP, seed=7, engine="reference")
    found = json.loads(json.dumps(matrix.provenance))
    assert found == matrix.provenance
    assert {"versions", "cpu", "system", "engine", "threading", "date"} <= set(found)
    assert set(found["versions"]) == {"python", "fastaimc", "numpy", "numba", "scipy"}
    assert (found["seed"], found["engine"], found["stream_version"]) == (7, "reference", 1)
    assert "not installed" not in {found["versions"][name] for name in ("numpy", "numba", "scipy")}
    from fastaimc.programming import from_dict

    config: CoreConfig = fa.from_json(json.dumps(found["config"]))
    again = program(
        random(4, 4), config, from_dict(found["method"]), seed=found["seed"], engine="reference"
    )
    assert held(again) == held(matrix)


def test_the_threading_of_the_kernels_is_known() -> None:
    threading = program(random(2, 2), IDEAL).provenance["threading"]
    assert set(threading) == {"threading_layer", "threads", "blas"}


def test_progress_of_a_function() -> None:
    calls: list[tuple[int, int, str]] = []
    program(random(4, 4), HERMES, GDP, progress=lambda *call: calls.append(call))
    assert [done for done, _, _ in calls] == [0, 1, 2, 3, 4, 5]
    assert {total for _, total, _ in calls} == {5}
    assert all(isinstance(text, str) and text for _, _, text in calls)


def test_progress_is_silent_or_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    for silent in (None, False):
        program(random(4, 4), HERMES, GDP, progress=silent)
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
    program(random(4, 4), HERMES, GDP, progress=True)
    captured = capsys.readouterr()
    assert "5/5" in captured.out + captured.err


@pytest.mark.parametrize("progress", [1, 0, "bar", [print]])
def test_progress_that_is_neither(progress: Any) -> None:
    with pytest.raises(InputError, match="progress must be None, True or a function f"):
        program(random(4, 4), HERMES, GDP, progress=progress)


def test_an_error_in_the_callers_function_is_the_callers() -> None:
    def stop(*_: object) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        program(random(4, 4), HERMES, GDP, progress=stop)
