"""Errors of products and weights against closed forms, and what measuring leaves alone."""

from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest

import fastaimc as fa
from fastaimc.errors import ConfigError, InputError
from fastaimc.metrics import (
    INPUTS,
    draw_inputs,
    exact_conductances,
    fit_affine,
    relative_error,
    split_exact,
)

IDEAL = fa.presets.ideal()
HERMES = fa.presets.hermes()
GDP = fa.GradientDescentProgramming(
    iterations=5, batch=32, final_passes=1, start_from="single_shot", affine_every=0
)
# Small work on a busy machine: waiting for a second thread costs more than it saves.
program = partial(fa.program, threads=1)
SINGLE = 2e-6  # float32 outputs over float64 weights: below 1e-6 for an ideal core
OUT, IN = 24, 60


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape or (OUT, IN))


@cache
def hermes() -> fa.AnalogMatrix:
    return program(weights(), HERMES, GDP, seed=1)  # type: ignore[no-any-return]


def altered(change: Any, w: np.ndarray | None = None) -> fa.AnalogMatrix:
    """An ideal core that holds `change` of the conductances (tile, row, column) it should."""
    matrix = program(weights() if w is None else w, IDEAL)
    held = change(matrix.targets.copy()).astype(np.float32)
    return matrix.with_conductances(((held, np.zeros_like(held)),))


def test_an_ideal_core_has_no_error() -> None:
    matrix = program(weights(), IDEAL)
    for inputs in INPUTS:
        error = fa.mvm_error(matrix, samples=200, inputs=inputs)
        assert max(error.total, error.residual, error.exact, error.floor) < SINGLE
    assert fa.weight_error(matrix) < SINGLE


@pytest.mark.parametrize("gain", [0.9, 1.25])
def test_a_gain_is_all_linear(gain: float) -> None:
    matrix = altered(lambda g: g * gain)
    error = fa.mvm_error(matrix, samples=200)
    assert error.total == pytest.approx(abs(gain - 1), rel=1e-5)
    assert error.linear == pytest.approx(error.total, rel=1e-5)
    assert error.residual < SINGLE
    assert fa.weight_error(matrix) == pytest.approx(abs(gain - 1), rel=1e-5)


def test_a_gain_of_every_column_is_all_linear() -> None:
    """Of a matrix whose columns weigh the same: the root of the mean square of gain - 1."""
    gains = 1 + 0.1 * np.random.default_rng(1).standard_normal(OUT)
    error = fa.mvm_error(altered(lambda g: g * gains), samples=300)
    # the mean of a ratio of norms over few columns differs from the ratio of their means
    assert error.total == pytest.approx(np.sqrt(np.mean((gains - 1) ** 2)), rel=0.15)
    assert error.residual < SINGLE


def test_offsets_of_columns_are_all_linear() -> None:
    programmed = program(weights(), IDEAL).programmed
    offset = np.random.default_rng(1).uniform(1, 2, programmed.offset.shape).astype(np.float32)
    error = fa.mvm_error(fa.AnalogMatrix(replace(programmed, offset=offset), 0.0), samples=200)
    assert error.total > 0.01
    assert error.residual < SINGLE * 10  # of outputs smaller than the offsets
    assert error.linear == pytest.approx(error.total)


def test_the_fit_and_the_test_have_noise_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    evaluate = fa.AnalogMatrix.evaluate

    def noted(self: fa.AnalogMatrix, vectors: np.ndarray, number: int) -> np.ndarray:
        calls.append((number, vectors.tobytes()))
        return evaluate(self, vectors, number)

    monkeypatch.setattr(fa.AnalogMatrix, "evaluate", noted)
    fa.mvm_error(hermes(), samples=50)
    fit, test = calls[:2]
    assert abs(test[0] - fit[0]) >= 50
    assert min(fit[0], test[0]) >= 1 << 46  # none of the user's vectors
    assert fit[1] != test[1]
    assert calls[2:] == [fit, test]  # the exact core meets the same inputs and noise


def test_random_errors_of_cells_are_all_residual_and_their_size() -> None:
    """Independent errors of std s on targets of rms t give s / t, for any inputs."""
    w = np.random.default_rng(2).standard_normal((200, 250))
    noise = np.random.default_rng(3).standard_normal((1, 250, 200))
    for size in (0.2, 1.0):
        matrix = altered(lambda g, size=size: g + size * noise, w)
        share = size / np.sqrt(np.mean(np.square(matrix.targets, dtype=np.float64)))
        # columns have scales of their own, so the closed form holds in their mean: 3 %
        for inputs in INPUTS:
            error = fa.mvm_error(matrix, samples=600, inputs=inputs)
            assert error.total == pytest.approx(share, rel=0.04)
            if inputs != "relu":  # whose mean makes an offset of the errors' sum
                shrunk = share / np.sqrt(1 + share**2)  # by the best scale, w² / (w² + e²)
                assert error.residual == pytest.approx(shrunk, rel=0.04)
            assert error.exact < SINGLE
        assert fa.weight_error(matrix) == pytest.approx(share, rel=0.03)


def test_the_error_is_that_of_its_definition() -> None:
    """One column, one input: |w~ - w| / |w| exactly."""
    matrix = altered(lambda g: g * 1.125, np.array([[3.0]]))
    error = fa.mvm_error(matrix, samples=50)
    assert error.total == pytest.approx(0.125, rel=1e-5)
    y, wanted = (
        np.array([[3.0, 4.0], [0.0, 5.0], [1.0, 1.0]]),
        np.array([[0.0, 4.0], [0, 4], [0, 0]]),
    )
    assert relative_error(y, wanted) == pytest.approx((3 / 4 + 1 / 4) / 2)
    assert relative_error(y, np.zeros((3, 2))) == np.inf
    assert relative_error(np.zeros((3, 2)), np.zeros((3, 2))) == 0.0


def test_an_affine_fit_finds_scale_and_offset() -> None:
    y = np.random.default_rng(1).standard_normal((40, 3))
    y[:, 2] = 7.0  # a column that never varies keeps its scale
    scale, offset = fit_affine(y, y * [2.0, -0.5, 1.0] + [1.0, 0.0, 3.0])
    np.testing.assert_allclose(scale, [2.0, -0.5, 1.0])
    np.testing.assert_allclose(offset, [1.0, 0.0, 3.0], atol=1e-12)


@pytest.mark.parametrize("inputs", INPUTS)
def test_the_parts_add_up(inputs: str) -> None:
    error = fa.mvm_error(hermes(), samples=500, inputs=inputs)
    assert error.linear**2 + error.residual**2 == pytest.approx(error.total**2)
    assert 0 < error.residual < error.total < 0.3
    assert 0 < error.floor <= error.exact
    assert error.floor < error.residual


def test_the_floor_is_what_converters_and_noise_alone_do() -> None:
    quiet = {"read_noise": None, "adc.gain_std": 0.0, "adc.offset_std": 0.0, "adc.inl_std": 0.0}
    config = fa.override(HERMES, quiet | {"adc.bits": None, "dac.bits": None})
    matrix = program(weights(), config, GDP)
    error = fa.mvm_error(matrix, samples=200)
    assert error.exact < SINGLE
    assert error.floor < SINGLE
    assert error.residual > 0.01
    floors = [
        fa.mvm_error(program(weights(), fa.override(config, {"adc.bits": b}), GDP), 200).floor
        for b in (4, 6, 8)
    ]
    ratios = np.divide(floors[:-1], floors[1:])
    assert (np.abs(ratios / 4 - 1) < 0.3).all()  # two bits: a quarter of the step


def test_what_is_exact_keeps_to_what_devices_can_hold() -> None:
    targets = np.array([[[20.0, -17.0, 3.0, 0.0]]], dtype=np.float32)
    devices = split_exact(targets, HERMES)
    assert devices[0, :, 0, 0].tolist() == [14.0, 6.0, 0.0, 0.0]
    assert devices[0, :, 0, 1].tolist() == [0.0, 0.0, 14.0, 3.0]
    assert (devices[:, :2].sum(axis=1) - devices[:, 2:].sum(axis=1) == targets).all()
    ((mean, variance),) = exact_conductances(hermes())
    assert (mean == hermes().targets).all()
    assert (variance[hermes().targets != 0] > 0).all()


def test_measuring_moves_neither_counter_nor_clock() -> None:
    x = np.random.default_rng(1).uniform(-1, 1, (3, IN))
    left, right = hermes().copy(), hermes().copy()
    state = left.core.conductance.copy(), left.core.number, left.core.step, left.cost
    for inputs in INPUTS:
        fa.mvm_error(left, samples=50, inputs=inputs)
    fa.weight_error(left)
    assert (left.number, left.time_s, left.saturated) == (0, 200.0, 0)
    assert (left.mvm(x) == right.mvm(x)).all()
    assert (left.core.conductance == state[0]).all()
    assert (left.core.number, left.core.step, left.cost) == state[1:]


def test_the_same_seed_measures_the_same() -> None:
    errors = [fa.mvm_error(hermes(), samples=100, seed=seed) for seed in (1, 1, 2, 2**32 - 1)]
    assert errors[0] == errors[1]
    assert len({error.total for error in errors}) == 3
    totals = [error.total for error in errors]
    assert max(totals) / min(totals) < 1.1


def test_the_counter_does_not_change_what_is_measured() -> None:
    moved = hermes().copy()
    moved.mvm(np.ones((17, IN)))
    assert fa.mvm_error(moved, samples=50) == fa.mvm_error(hermes(), samples=50)


def test_the_weight_error_sees_drift_without_compensation() -> None:
    early, late = (fa.weight_error(hermes().at(time)) for time in (200.0, 3.15e7))
    assert early < 0.2
    assert late > early + 0.1
    assert fa.weight_error(program(np.zeros((2, 3)), IDEAL)) == 0.0


@pytest.mark.parametrize("kind", INPUTS)
def test_inputs_are_what_their_name_says(kind: str) -> None:
    x = draw_inputs(kind, 2000, 50, 3.0, np.random.default_rng(0))
    assert x.dtype == np.float32
    assert np.abs(x).max() <= 3.0
    zero, positive = (x == 0).mean(), (x > 0).mean()
    expected = {"uniform": (0.0, 0.5), "sparse": (0.5, 0.25), "relu": (0.5, 0.5)}[kind]
    assert zero == pytest.approx(expected[0], abs=0.01)
    assert positive == pytest.approx(expected[1], abs=0.01)
    if kind == "relu":
        assert (x >= 0).all()
        assert np.square(x).mean() == pytest.approx(0.5, rel=0.05)  # of a Gaussian of std 1
    else:
        power = np.square(x[x != 0]).mean()
        assert power == pytest.approx(3.0, rel=0.02)


def test_inputs_reach_the_matrix_in_its_range() -> None:
    wide = program(weights(), HERMES, GDP, seed=1, input_range=100.0)
    assert fa.mvm_error(wide, 100).total == pytest.approx(
        fa.mvm_error(hermes(), 100).total, rel=0.02
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 1}, "samples must be from 2 to 10000000, got 1"),
        ({"samples": 10.0}, r"samples must be an integer, got 10\.0"),
        ({"seed": -1}, "seed must be from 0 to 4294967295, got -1"),
        ({"inputs": "unifrom"}, r"inputs must be one of .* got 'unifrom' \(did you mean 'uniform'"),
    ],
)
def test_impossible_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fa.mvm_error(hermes(), **arguments)


@pytest.mark.parametrize("metric", [fa.mvm_error, fa.weight_error])
def test_what_is_no_matrix(metric: Any) -> None:
    with pytest.raises(InputError, match="matrix must be an AnalogMatrix, got ndarray"):
        metric(np.ones((2, 3)))


def test_what_is_exact_is_not_corrected() -> None:
    """A matrix that corrects its columns may go below the exact core, which does not."""
    plain = hermes()
    generator = np.random.default_rng(1)
    scale, offset = generator.uniform(0.8, 1.2, (2, *plain.programmed.scale.shape))
    corrected = replace(
        plain.programmed, scale=scale.astype(np.float32), offset=offset.astype(np.float32)
    )
    other = fa.AnalogMatrix(corrected, plain.time_s)
    errors = fa.mvm_error(plain, 50), fa.mvm_error(other, 50)
    assert errors[1].total > 1.1 * errors[0].total
    assert errors[0].exact == errors[1].exact
    assert errors[0].floor == errors[1].floor


def test_weights_from_a_generator_of_the_same_seed() -> None:
    """What is measured on them is not measured on themselves: others leave as much, within 20 %."""
    residuals = []
    for seed in (1, 2):
        matrix = program(np.random.default_rng(seed).uniform(-1, 1, (64, 64)), method=GDP)
        residuals.append(fa.mvm_error(matrix, samples=200, seed=1).residual)
    assert residuals[0] == pytest.approx(residuals[1], rel=0.2)
