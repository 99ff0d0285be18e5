"""Slow read noise: octaves of time, of which each has its share of the published noise."""

import numpy as np
import pytest
import tolerances
from hypothesis import given
from hypothesis import strategies as st
from strategies import NONE, TWINS

import fastaimc as fa
from fastaimc.config import Drift, ReadNoise
from fastaimc.config.device import state_fits, state_parameters
from fastaimc.engine import Engine
from fastaimc.noise import ALL_THAT_PASSED, Watch, octaves
from fastaimc.parameters import ALIKE

NOISE = ReadNoise(slow=True)
SCALE_US = 10.35
Q = 0.0768 * 0.5 - 0.1352 * 0.25 + 0.0664 * 0.125 + 0.0088  # at x = 0.5: HERMES, one device
times = st.floats(1e-9, 1e9)


def variance(seen: np.ndarray) -> np.ndarray:
    """Of the noise in units of Q, (tile,)."""
    return np.asarray((seen[..., 2] ** 2).sum(axis=1))


def beyond_the_window(seconds: float) -> float:
    """What the published formula has more than the fast noise."""
    t_read = NOISE.t_read_s
    return max(np.log((seconds + t_read) / (NOISE.window_s + t_read)), 0.0)


@given(seconds=times)
def test_octaves_add_up_to_the_published_noise(seconds: float) -> None:
    found = octaves(NOISE, np.array([seconds, seconds / 7]))
    wanted = [beyond_the_window(seconds), beyond_the_window(seconds / 7)]
    np.testing.assert_allclose(variance(found), wanted, atol=1e-12)
    assert (found[..., 2] ** 2 <= np.log(2) * (1 + 1e-12)).all()


@given(seconds=times, part=st.floats(0, 1))
def test_what_has_passed_since_is_one_draw_of_the_same_size(seconds: float, part: float) -> None:
    clock = np.array([seconds])
    alone, grouped = octaves(NOISE, clock), octaves(NOISE, clock, clock * (1 - part))
    np.testing.assert_allclose(variance(grouped), variance(alone), atol=1e-12)
    assert grouped.shape[1] <= alone.shape[1]
    kept = grouped[0, grouped[0, :, 1] != ALL_THAT_PASSED]
    longest = NOISE.window_s * 2.0 ** kept[:, 1]
    assert (longest > seconds * part * (1 - 1e-9)).all()
    for octave in kept:
        assert (alone[0] == octave).all(axis=1).any()  # as without grouping


def test_off_there_are_no_octaves() -> None:
    for noise in (None, ReadNoise()):
        assert octaves(noise, np.array([1e6])).shape == (1, 0, 3)
        assert Watch().octaves(noise, np.array([1e6])).shape == (1, 0, 3)


def test_a_watch_shows_the_same_as_long_as_time_stands_still() -> None:
    watch, clock = Watch(), np.array([1.0])
    first = watch.octaves(NOISE, clock)
    np.testing.assert_array_equal(watch.octaves(NOISE, clock), first)
    later = watch.octaves(NOISE, clock + 0.5)
    assert later.shape[1] < first.shape[1]
    np.testing.assert_array_equal(watch.octaves(NOISE, clock + 0.5), later)


def test_a_tile_whose_clock_stands_still_is_seen_as_before() -> None:
    """Others move on: a tile must not depend on what it is stacked with."""
    watch, clocks = Watch(), np.array([1.0, 2.0])
    watch.octaves(NOISE, clocks)
    before = watch.octaves(NOISE, clocks + 0.5)
    after = watch.octaves(NOISE, clocks + np.array([0.5, 0.75]))
    drawn = [seen[0, seen[0, :, 2] > 0] for seen in (before, after)]
    np.testing.assert_array_equal(*drawn)
    assert ALL_THAT_PASSED in drawn[0][:, 1]


def fluctuation(engine: Engine, seconds: float, rows: int = 100, number: int = 0) -> np.ndarray:
    """What devices of x = 0.5 conduct at a time, over what they do without slow noise, less 1."""
    shape = (1, rows, 200)
    g = np.full((1, 2, *shape[1:]), 0.5 * SCALE_US, np.float32)
    seen = []
    for noise in (NOISE, ReadNoise()):
        mean, spread = np.empty((2, *shape), np.float32)
        engine.drift(
            g,
            np.full(shape, NONE, np.uint8),
            np.zeros(shape, np.float32),
            np.array([seconds]),
            np.full((1, 1, 1), 1, np.uint8),
            np.array([[1, 2, number]], np.uint32),
            state_fits(Drift(), noise),
            state_parameters(SCALE_US, Drift(), noise),
            ALIKE,
            octaves(noise, np.array([seconds])),
            0,
            mean,
            spread,
        )
        seen.append(mean.astype(np.float64))
    return np.asarray(seen[0] / seen[1] - 1)


@TWINS
@pytest.mark.parametrize("seconds", [1e-3, 20.0, 86400.0])
def test_noise_of_devices_grows_as_published(engine: Engine, seconds: float) -> None:
    found = fluctuation(engine, seconds)
    std = Q * np.sqrt(beyond_the_window(seconds))
    error = tolerances.SIGMAS / np.sqrt(found.size)
    assert abs(found.mean()) < error * std
    assert found.std() == pytest.approx(std, rel=error / np.sqrt(2))


@pytest.mark.parametrize("later", [1.001, 1.5, 4.0, 1000.0])
def test_two_looks_share_the_octaves_whose_period_has_not_passed(later: float) -> None:
    """The covariance is that of the periods both looks lie in."""
    engine, seconds = fa.engine.load("numba"), 20.0
    a, b = (fluctuation(engine, t) for t in (seconds, seconds * later))
    first, second = (octaves(NOISE, np.array([t]))[0] for t in (seconds, seconds * later))
    same = [one[2] * other[2] for one in first for other in second if (one[:2] == other[:2]).all()]
    stds = [Q * np.sqrt(beyond_the_window(t)) for t in (seconds, seconds * later)]
    found = float((a * b).mean()) / (stds[0] * stds[1])
    wanted = Q**2 * sum(same) / (stds[0] * stds[1])
    assert found == pytest.approx(wanted, abs=tolerances.SIGMAS * np.sqrt(2 / a.size))
    assert (wanted > 0.3) == (later < 1.1)


def test_nothing_conducts_less_than_nothing() -> None:
    """Where the noise is larger than what fluctuates."""
    config = fa.override(fa.presets.pcm_joshi(), {"rows": 64, "columns": 64})
    weights = np.random.default_rng(0).uniform(0.001, 0.02, (64, 64))
    weights[:, 0] = 1
    matrix = fa.program(weights, config)
    assert (matrix.at(1e6).conductances() >= 0).all()


def test_a_matrix_fluctuates_with_time_and_not_with_looks() -> None:
    weights = np.random.default_rng(0).standard_normal((20, 30))
    config = fa.override(fa.presets.hermes_statistics(), {"drift": None})
    matrix = fa.program(weights, config, seed=3)
    np.testing.assert_array_equal(matrix.at(500.0).weights(), matrix.at(500.0).weights())
    apart = matrix.at(500.0).weights() - matrix.at(2000.0).weights()
    assert 0 < np.abs(apart).max() < 0.5
    quiet = fa.program(weights, fa.override(config, {"read_noise.slow": False}), seed=3)
    np.testing.assert_array_equal(quiet.at(500.0).weights(), quiet.at(2000.0).weights())
