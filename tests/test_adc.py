"""Dead time, noise and ranges of the ADCs against their closed forms, and through a program."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tolerances
from interrupts import Presser
from strategies import TWINS
from test_science import IDENTITY, hold_mean, hold_std, multiply
from tiny_core import EXACT, blank, pulse, quiet, rows_of
from tolerances import EPS, SIGMAS

import fastaimc as fa
from fastaimc import storage
from fastaimc.circuit.phases import held
from fastaimc.config import ADC, DAC, CoreConfig
from fastaimc.engine import Engine
from fastaimc.metrics import exact_conductances
from fastaimc.parameters import F32

HERMES = fa.override(fa.presets.hermes(), {"rows": 16, "columns": 16})
METHOD = fa.GradientDescentProgramming(iterations=2, batch=16)
EVERYTHING = {
    "dac.phases": 4,
    "adc.range": "column",
    "adc.noise_std": 0.01,
    "adc.dead_time": 0.1,
    "adc.dead_time_std": 0.02,
    "compensation": "affine",
}
WEIGHTS = np.random.default_rng(0).normal(size=(20, 24))


def full_columns(width: int, dead_time: float = 0.0, noise: float = 0.0) -> np.ndarray:
    """Columns without gain, offset or INL, whose ranges differ."""
    columns = np.zeros((1, 7, width), np.float32)
    columns[0, 4], columns[0, 5] = dead_time, noise
    columns[0, 6] = np.linspace(0.5, 1.5, width)
    return columns


# --- one column -----------------------------------------------------------------------------------


@TWINS
@pytest.mark.parametrize("dead_time", [0.05, 0.5, 2.0])
def test_a_dead_time_saturates(engine: Engine, dead_time: float) -> None:
    """v / (1 + d |v|): odd, of slope 1 at zero, 1 / (1 + d) at full scale, below 1 / d beyond."""
    x = np.array([[-1.0], [1e-4], [0.5], [1.0], [50.0]])
    columns = full_columns(5, dead_time)
    scale = 8.0 * columns[0, 6].astype(float)
    y = multiply(engine, x, scale[None], full_scale=8.0, columns=columns) / scale
    v = x * np.ones(5)
    np.testing.assert_allclose(y, v / (1 + dead_time * np.abs(v)), rtol=8 * EPS)
    np.testing.assert_allclose(y[0], -y[3], rtol=2 * EPS)
    np.testing.assert_allclose(y[1], 1e-4, rtol=2e-4 * dead_time + 8 * EPS)
    np.testing.assert_allclose(y[3], 1 / (1 + dead_time), rtol=8 * EPS)
    assert (y[4] < 1 / dead_time).all()


@TWINS
def test_dead_times_spread_over_columns(engine: Engine) -> None:
    """Their deviations are normal, and none of a column's other numbers."""
    drawn = engine.columns(IDENTITY, 40_000, 0, F32([0.03, 0.005, 0.01, 0.2]))[0].astype(float)
    hold_mean(drawn[4], 0, 0.2)
    hold_std(drawn[4], 0.2)
    most = SIGMAS / np.sqrt(40_000)
    assert (np.abs(np.corrcoef(drawn)[4, :4]) < most).all()
    without = engine.columns(IDENTITY, 40_000, 0, F32([0.03, 0.005, 0.01]))[0]
    np.testing.assert_array_equal(drawn[:4], without)


@TWINS
def test_variance_of_the_noise_of_conversions(engine: Engine) -> None:
    """(noise · range)² for every column, and read noise's variance beside it."""
    draws, width = 20_000, 5
    x = np.full((draws, 1), 0.5)
    columns = full_columns(width, noise=0.01)
    own = 0.01 * 200.0 * columns[0, 6].astype(float)
    variance = np.full((1, width), 2.0, np.float32)
    for read, total in ((0 * variance, own**2), (variance, own**2 + 0.5)):
        y = multiply(engine, x, np.ones((1, width)), read, full_scale=200.0, columns=columns)
        for values, exact in zip(y.T, np.sqrt(total), strict=True):
            hold_mean(values, 0.5, exact)
            hold_std(values, exact)


@TWINS
def test_codes_follow_every_columns_own_range(engine: Engine) -> None:
    """Of one sign, or of both; what lies beyond saturates at either end."""
    columns = full_columns(5)
    scale = 10.0 * columns[0, 6].astype(float)
    x = np.array([[-2.0], [-0.3], [0.0], [0.26], [0.99], [7.0]])
    for half in (-4, 4):
        y = multiply(engine, x, scale[None], full_scale=10.0, half=half, columns=columns)
        wanted = np.rint(np.clip(x, 0 if half < 0 else -1, 1) * 4) / 4 * scale
        rtol = tolerances.CODE_RELATIVE + tolerances.own_range(columns)
        np.testing.assert_allclose(y, wanted, rtol=rtol)


# --- a core ---------------------------------------------------------------------------------------


def test_plain_cores_hold_no_more_than_they_did() -> None:
    core = blank(quiet(adc=ADC()))
    assert core.columns(0).shape == (1, 4, 6)
    assert core.own_ranges is None
    for changes in ({"adc.noise_std": 0.1}, {"adc.range": "column"}, {"adc.bits": 1}):
        other = blank(fa.override(core.config, changes))
        assert other.columns(0).shape == (1, 7, 6), changes
        np.testing.assert_array_equal(other.columns(0)[:, :4], core.columns(0))


def test_no_dead_time_is_negative() -> None:
    core = blank(quiet(adc=ADC(dead_time=0.01, dead_time_std=0.5)))
    times = core.columns(0)[0, 4]
    assert (times >= 0).all()
    assert len(np.unique(times)) > 2
    assert (blank(quiet(adc=ADC(dead_time=0.25))).columns(1)[0, 4] == 0.25).all()


@pytest.mark.parametrize("sigmas", [2.0, 4.0])
def test_ranges_of_columns_follow_their_targets(sigmas: float) -> None:
    """Each as many sigma of its outputs; their root mean square is the tile's; zeros get that."""
    weights = np.random.default_rng(1).normal(size=(10, 12)) * np.arange(10)[:, None]
    changes: dict[str, Any] = {"adc.range": "column", "adc.full_scale_sigmas": sigmas}
    matrix = fa.program(weights, fa.override(HERMES, changes), METHOD, threads=1)
    core, targets = matrix.core, matrix.targets[0].astype(float)
    assert core.own_ranges is not None
    own = core.own_ranges[0] * core.full_scale_us[0]
    expected = sigmas * np.sqrt(np.square(targets).sum(axis=0) / 3)
    np.testing.assert_allclose(own[1:], expected[1:], rtol=1e-5)
    assert own[0] == core.full_scale_us[0]
    assert core.full_scale_us[0] == pytest.approx(np.sqrt((expected**2).mean()), rel=1e-5)


def test_a_range_that_is_given() -> None:
    matrix = fa.program(WEIGHTS, fa.override(HERMES, {"adc.range": 33.0}), METHOD, threads=1)
    assert (matrix.core.full_scale_us == 33.0).all()
    x = np.ones(24)
    size = np.abs(matrix.mvm(100 * x) / matrix.programmed.mapping.scale)
    assert size.max() < 2 * 33.0 * 1.5  # two rows of tiles, and their compensation


@pytest.mark.parametrize("phases", [1, 4])
@pytest.mark.parametrize("quantile", [0.9, 1.0])
@pytest.mark.parametrize("kind", ["calibrated", "calibrated_column"])
def test_calibrated_ranges_are_quantiles_of_what_is_seen(
    kind: str, quantile: float, phases: int
) -> None:
    """Of other inputs of the same kind a like part lies beyond."""
    changes = {"adc.range": kind, "adc.range_quantile": quantile, "dac.phases": phases}
    config = fa.override(HERMES, changes)
    matrix = fa.program(WEIGHTS[:16, :16], config, METHOD, seed=1, threads=1)
    columns, full_scale, _ = matrix._adcs
    x = np.random.default_rng(3).uniform(-1, 1, (4000, 16))
    seen = []
    for sign in (1, -1) if phases == 4 else (0,):
        driven = np.maximum(sign * x, 0) if sign else x
        seen += [np.abs(driven @ mean[0]) for mean, _ in matrix._matrices]
    own = full_scale[0] * (columns[0, 6] if columns.shape[1] == 7 else 1.0)
    beyond = np.concatenate(seen) > own
    # A quantile of 1,024 vectors' is off by its own standard error; read noise widens what is seen.
    error = SIGMAS * np.sqrt(max(quantile * (1 - quantile), 1e-3) / 1024) + 0.002
    assert abs(beyond.mean() - (1 - quantile)) < error
    if kind == "calibrated_column":
        assert (np.abs(beyond.mean(axis=0) - (1 - quantile)) < 2 * error).all()


def test_a_calibrated_range_follows_drift() -> None:
    matrix = fa.program(
        WEIGHTS, fa.override(HERMES, {"adc.range": "calibrated"}), METHOD, threads=1
    )
    late = matrix.at(1e7)
    assert (late._adcs[1] < 0.9 * matrix._adcs[1]).all()
    again = late.at(matrix.time_s)
    np.testing.assert_array_equal(again._adcs[1], matrix._adcs[1])
    x = np.random.default_rng(0).uniform(-1, 1, (3, 24))
    np.testing.assert_array_equal(again.mvm(x, draw=0), matrix.mvm(x, draw=0))


def test_a_core_of_zeros_can_be_calibrated() -> None:
    config = CoreConfig(
        rows=4,
        columns=4,
        device=EXACT,
        drift=None,
        read_noise=None,
        adc=ADC(range="calibrated_column", gain_std=0, offset_std=0, inl_std=0),
    )
    blank_core = blank(quiet(adc=ADC(range="column")))
    pulse(blank_core, 0, 255)
    assert np.isfinite(rows_of(blank_core)).all()
    matrix = fa.program(np.zeros((4, 4)), fa.override(config, {"adc.bits": 8}), METHOD, threads=1)
    assert (matrix.mvm(np.ones(4)) == 0).all()


def test_one_bit_of_the_dac_drives_signs() -> None:
    config = fa.override(fa.presets.ideal(), {"dac.bits": 1})
    matrix = fa.program(WEIGHTS, config, threads=1)
    x = np.random.default_rng(1).uniform(-1, 1, (5, 24))
    np.testing.assert_allclose(matrix.mvm(x), np.sign(x) @ WEIGHTS.T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("phases", [2, 4])
def test_exact_cells_hold_their_targets_in_all_phases(phases: int) -> None:
    matrix = fa.program(WEIGHTS, fa.override(HERMES, {"dac.phases": phases}), METHOD, threads=1)
    pairs = exact_conductances(matrix)
    np.testing.assert_allclose(held(pairs), matrix.targets, atol=1e-5)
    for mean, variance in pairs if phases == 4 else ():
        assert (mean >= 0).all()
        assert (variance >= 0).all()
    assert DAC(phases=phases).half_codes() == 127


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["numba", "reference"])
def test_a_file_keeps_all_of_it(tmp_path: Path, engine: str) -> None:
    config = fa.override(HERMES, EVERYTHING)
    matrix = fa.program(WEIGHTS, config, METHOD, seed=3, engine=engine, threads=1)
    fa.save(tmp_path / "m.npz", matrix)
    again = fa.load(tmp_path / "m.npz")
    assert again.config == config
    x = np.random.default_rng(2).uniform(-1, 1, (6, 24))
    np.testing.assert_array_equal(again.mvm(x), matrix.mvm(x))
    np.testing.assert_array_equal(again.at(1e5).mvm(x), matrix.at(1e5).mvm(x))
    np.testing.assert_array_equal(again.weights(), matrix.weights())
    assert fa.mvm_error(again, samples=50) == fa.mvm_error(matrix, samples=50)


def test_a_file_without_its_columns_ranges_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    fa.save(path, fa.program(WEIGHTS, fa.override(HERMES, EVERYTHING), METHOD, threads=1))
    arrays, meta = storage.read(path, "matrix")
    ranges = arrays.pop("own_ranges")
    left = {key: value for key, value in meta.items() if key not in ("format", "schema", "kind")}
    storage.write(path, "matrix", arrays, left)
    with pytest.raises(fa.StorageError, match="own_ranges"):
        fa.load(path)
    storage.write(path, "matrix", arrays | {"own_ranges": 0 * ranges}, left)
    with pytest.raises(fa.StorageError, match="a column's ADC without a range"):
        fa.load(path)


def test_layers_keep_ranges_of_their_own() -> None:
    config = fa.override(HERMES, {"adc.range": "column"})
    both = fa.program({"a": WEIGHTS, "b": WEIGHTS[:3, :5]}, config, METHOD, threads=1)
    for matrix in both.values():
        core = matrix.core
        assert core.own_ranges.shape == (core.shape[0], core.shape[2])
        assert (core.own_ranges > 0).all()


def test_a_program_with_all_of_it_resumes_bitwise(tmp_path: Path) -> None:
    config, path = fa.override(HERMES, EVERYTHING), tmp_path / "c.npz"
    whole = fa.program(WEIGHTS, config, METHOD, seed=4, threads=1)

    rest: dict[str, Any] = dict(seed=4, threads=1, progress=Presser(1), checkpoint=path)
    with pytest.raises(KeyboardInterrupt):
        fa.program(WEIGHTS, config, METHOD, **rest)
    again = fa.resume(path, threads=1)
    np.testing.assert_array_equal(again.core.conductance, whole.core.conductance)
    x = np.random.default_rng(2).uniform(-1, 1, (6, 24))
    np.testing.assert_array_equal(again.mvm(x), whole.mvm(x))
    assert again.cost == whole.cost
