"""The exact solver of IR drop, its science, and cores behind their wires."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
from hypothesis import given
from hypothesis import strategies as st
from interrupts import Presser
from nodal import dense_wires
from strategies import TINY
from wire_strategies import wire_calls

import fastaimc as fa
from fastaimc.circuit import effective as effective_module
from fastaimc.circuit.effective import KEPT_ERROR, effective
from fastaimc.circuit.phases import selections
from fastaimc.circuit.wires import exact_wires
from fastaimc.config import CoreConfig, Wires
from fastaimc.engine import load
from fastaimc.errors import ConfigError
from fastaimc.metrics import exact_conductances, fit_affine, relative_error
from fastaimc.parameters import WireParameters

ENGINE = load("numba")
ENGINES = pytest.mark.parametrize("engine", ["numba", "reference"])
SOLVERS = pytest.mark.parametrize("solver", ["iterative", "estimate", "exact"])


def of(row: float, column: float) -> WireParameters:
    return Wires(row_ohm=row, column_ohm=column).parameters(0)


# --- the exact solver -----------------------------------------------------------------------------


@pytest.mark.nojit
@given(data=st.data())
def test_exact_is_nodal_analysis(data: st.DataObject) -> None:
    call = data.draw(wire_calls(TINY))
    found = exact_wires(call["plus"][0], call["minus"][0], call["wires"])
    expected = dense_wires(call["plus"][0], call["minus"][0], call["wires"])
    bound = tolerances.EXACT_WIRES_RELATIVE * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound)


def test_exact_against_badcrossbar() -> None:
    """Another program's crossbar has one device a cell: that of the pair's other polarity is 0."""
    badcrossbar = pytest.importorskip("badcrossbar", reason="badcrossbar is not installed")
    g = np.random.default_rng(2).uniform(1, 20, (9, 7))
    solution = badcrossbar.compute(
        np.eye(9), 1e6 / g, r_i_word_line=30.0, r_i_bit_line=20.0, node_voltages=False
    )
    found = exact_wires(g, np.zeros_like(g), of(30, 20))
    np.testing.assert_allclose(found, 1e6 * solution.currents.output, rtol=1e-9)


@pytest.mark.nojit
def test_reciprocity() -> None:
    """Inputs and outputs change places: one polarity, the array turned over its other diagonal."""
    g = np.random.default_rng(3).uniform(0, 20, (6, 8))
    zero = np.zeros_like(g)
    turned = exact_wires(g[::-1, ::-1].T.copy(), zero.T, of(20, 30))
    np.testing.assert_allclose(exact_wires(g, zero, of(30, 20)), turned[::-1, ::-1].T, rtol=1e-9)


@pytest.mark.nojit
def test_the_polarities_are_alike() -> None:
    plus, minus = np.random.default_rng(4).uniform(0, 20, (2, 5, 6))
    swapped = exact_wires(minus, plus, of(30, 20))
    np.testing.assert_allclose(exact_wires(plus, minus, of(30, 20)), -swapped, rtol=1e-9)


# --- science --------------------------------------------------------------------------------------


def errors(weights: np.ndarray) -> tuple[float, float]:
    """Error that 0.35 Ω a cell make for inputs from 0 to 1, and what an affine fit leaves."""
    config = fa.override(fa.presets.ideal(), {"rows": 256, "columns": 256, "wires": Wires()})
    matrix = fa.program(weights.T, config, seed=0)
    x, fit_x = np.random.default_rng(5).uniform(0, 1, (2, 500, 256)).astype(np.float32)
    y, fit_y = (matrix.mvm(v, draw=0).astype(np.float64) for v in (x, fit_x))
    scale, offset = fit_affine(fit_y, fit_x @ weights)
    wanted = x @ weights
    return relative_error(y, wanted), relative_error(y * scale + offset, wanted)


def test_a_fit_absorbs_ir_drop_of_random_weights_and_not_of_structured_ones() -> None:
    random = np.random.default_rng(6).uniform(0, 1, (256, 256))
    dense, dense_left = errors(random)
    _, halves_left = errors(np.where(np.arange(256)[:, None] < 128, random, -random))
    assert dense > 0.1
    assert dense_left < 0.02 * dense
    assert halves_left > 10 * dense_left
    assert halves_left > 0.015


# --- cores ----------------------------------------------------------------------------------------


def program(
    engine: str = "numba", shape: tuple[int, int] = (7, 9), **wires: object
) -> fa.AnalogMatrix:
    """A small ideal matrix of positive weights behind wires of some kΩ."""
    config = CoreConfig(
        **{
            item: getattr(fa.presets.ideal(), item)
            for item in ("devices_per_polarity", "device", "drift", "read_noise", "dac", "adc")
        },
        compensation="none",
        rows=shape[1],
        columns=shape[0],
        wires=Wires(**({"row_ohm": 300.0, "column_ohm": 200.0} | wires)),  # type: ignore[arg-type]
    )
    weights = np.random.default_rng(7).uniform(-1, 1, shape)
    return fa.program(weights, config, engine=engine, seed=0)


@ENGINES
@SOLVERS
@pytest.mark.nojit
def test_a_matrix_multiplies_behind_its_wires(engine: str, solver: str) -> None:
    matrix = program(engine, solver=solver)
    targets = matrix.targets[0].astype(np.float64)
    wires = matrix.config.wires
    assert wires is not None
    exact = exact_wires(np.maximum(targets, 0), np.maximum(-targets, 0), wires.parameters(0))
    bound = {"estimate": 3e-3, "iterative": 1e-5, "exact": 1e-6}[solver] * np.abs(exact).max()
    assert np.abs(exact - targets).max() > 0.02 * np.abs(exact).max()
    np.testing.assert_allclose(matrix.conductances()[0], exact, rtol=0, atol=bound)
    ((held, _),) = exact_conductances(matrix)
    np.testing.assert_allclose(held[0], exact, rtol=0, atol=bound)
    error = fa.mvm_error(matrix, samples=50)
    assert error.total == pytest.approx(error.exact, rel=1e-3)


@ENGINES
@pytest.mark.nojit
def test_a_row_is_read_as_it_multiplies(engine: str) -> None:
    core = program(engine).core
    x = np.eye(9, dtype=np.float32)[None]
    y = core.mvm(x, np.zeros(1, dtype=np.int32))
    np.testing.assert_allclose(core.read_rows(np.arange(9), None, False), y, rtol=0, atol=1e-4)
    some = np.array([7, 2])
    np.testing.assert_allclose(core.read_rows(some, None, False), y[:, some], rtol=0, atol=1e-4)


@ENGINES
@pytest.mark.nojit
def test_devices_that_are_not_selected_load_no_wire(engine: str) -> None:
    core = program(engine).core
    adding = np.full((1, 1, 1), 1, dtype=np.uint8)
    g = core.conductance[0].astype(np.float64)
    exact = exact_wires(g[0], np.zeros_like(g[0]), of(300, 200))
    found = core.read_rows(np.arange(9), adding, False)[0]
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-4)
    nothing = np.zeros((1, 1, 1), dtype=np.uint8)
    assert not core.read_rows(np.arange(9), nothing, False).any()


@pytest.mark.nojit
def test_unused_rows_lengthen_the_columns() -> None:
    """The ground is below the physical array, wherever the matrix ends."""
    matrix = program("reference", shape=(4, 3))
    whole = fa.program(
        np.random.default_rng(7).uniform(-1, 1, (4, 3)),
        fa.override(matrix.config, {"rows": 5, "wires.solver": "exact"}),
        engine="reference",
    )
    padded = np.zeros((5, 4))
    padded[:3] = whole.targets[0]
    exact = exact_wires(np.maximum(padded, 0), np.maximum(-padded, 0), of(300, 200))
    np.testing.assert_allclose(whole.conductances()[0], exact[:3], rtol=0, atol=1e-5)


def test_a_kept_correction_is_good_enough() -> None:
    """Over all MVMs of a program in which the estimate alone would not be; and it is kept."""
    ohms = {"row_ohm": 2.0, "column_ohm": 2.0}
    config = fa.override(fa.presets.hermes(), {"rows": 128, "columns": 128, "wires": Wires(**ohms)})
    seen: list[tuple[float, float]] = []
    original, solved = effective_module.effective, []

    def watched(*arguments: Any) -> Any:
        kept = arguments[5] if len(arguments) > 5 else None
        now = original(*arguments)
        solved.append(now is not kept)
        if kept is not None and arguments[3].any():
            engine, wires, unused, devices, (mean, _) = arguments[:5]
            fresh = np.empty_like(mean), np.empty_like(mean)
            original(engine, wires, unused, devices, fresh)
            plain = np.empty_like(mean), np.empty_like(mean)
            estimate = fa.override(config, {"wires.solver": "estimate"}).wires
            original(engine, estimate, unused, devices, plain)
            norm = np.linalg.norm(fresh[0])
            seen.append(
                tuple(np.linalg.norm(value - fresh[0]) / norm for value in (mean, plain[0]))
            )
        return now

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastaimc.circuit.effective.effective", watched)
        weights = np.random.default_rng(8).standard_normal((128, 128))
        fa.program(weights, config, fa.GradientDescentProgramming(), seed=0)
    kept_errors, estimate_errors = np.array(seen).T
    assert len(seen) > 10
    assert kept_errors.max() < KEPT_ERROR
    assert estimate_errors.min() > KEPT_ERROR
    assert np.mean(solved) < 0.7


@pytest.mark.parametrize("phases", [1, 4])
def test_the_state_of_the_correction_survives_a_checkpoint(phases: int, tmp_path: Path) -> None:
    """A program that is interrupted goes on bitwise as if nothing had happened."""
    wires = Wires(row_ohm=3.0, column_ohm=3.0)
    changes = {"rows": 64, "columns": 64, "wires": wires, "dac.phases": phases}
    config = fa.override(fa.presets.hermes(), changes)
    weights = np.random.default_rng(9).standard_normal((64, 64))
    method = fa.GradientDescentProgramming(iterations=8)
    path = tmp_path / "program.npz"

    whole = fa.program(weights, config, method, seed=0)
    with pytest.raises(KeyboardInterrupt):
        fa.program(weights, config, method, seed=0, progress=Presser(4), checkpoint=path)
    with np.load(path) as file:
        assert "wires.all.value" in file.files
        assert ("wires.subtracting.value" in file.files) == (phases == 4)
    resumed = fa.resume(path)
    np.testing.assert_array_equal(resumed.core.conductance, whole.core.conductance)
    np.testing.assert_array_equal(resumed.weights(), whole.weights())


def test_files_and_times_need_no_history(tmp_path: Path) -> None:
    config = fa.override(fa.presets.hermes(), {"rows": 64, "columns": 64, "wires": Wires()})
    matrix = fa.program(np.random.default_rng(10).standard_normal((64, 64)), config, seed=0)
    fa.save(tmp_path / "matrix.npz", matrix)
    loaded = fa.load(tmp_path / "matrix.npz")
    assert loaded.config.wires == Wires()
    np.testing.assert_array_equal(loaded.weights(), matrix.weights())
    np.testing.assert_array_equal(matrix.at(1e5).weights(), loaded.at(1e3).at(1e5).weights())


@pytest.mark.nojit
def test_wires_that_do_not_converge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effective_module, "SWEEPS", 1)
    with pytest.raises(ConfigError, match=r"wires did not converge in 1 sweeps for row_ohm=300"):
        program("reference")


@pytest.mark.nojit
def test_one_family_without_resistance_needs_no_correction() -> None:
    matrix = program("reference", row_ohm=0.0)
    devices = np.zeros((4, *matrix.core.shape), np.float32)
    devices[0] = np.maximum(matrix.targets, 0)
    out = np.empty(matrix.core.shape, np.float32), np.empty(matrix.core.shape, np.float32)
    wires = Wires(row_ohm=0.0, column_ohm=200.0)
    assert effective(load("reference"), wires, 0, devices, out) is None


@pytest.mark.nojit
def test_conduct_leaves_no_trace() -> None:
    core = program("reference").core
    out = np.empty(core.shape, np.float32), np.empty(core.shape, np.float32)
    core.conduct(core.clock_s, selections(1, core.config.devices)[0], out)
    assert core.corrections == {}
    core.matrices()
    assert list(core.corrections) == ["all"]
