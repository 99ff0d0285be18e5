"""What devices differ in, beside SET, centre and width: statistics, and what is off by default."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tolerances
from strategies import NONE, TWINS
from tiny_core import EXACT, blank, constant, pulse, quiet, rows_of

import fastaimc as fa
from fastaimc import stuck
from fastaimc.config import CoreConfig, Drift, MeltQuench, ReadNoise
from fastaimc.config.device import state_fits, state_parameters
from fastaimc.engine import NO_SLOW_NOISE, Engine
from fastaimc.parameters import ALIKE as ALL_ALIKE
from fastaimc.parameters import F32

IDENTITY = np.array([[5, 6, 0]], np.uint32)
SHAPE = (1, 40, 50)
COUNT = 2000
WEIGHTS = np.random.default_rng(0).standard_normal((6, 8))
GDP = fa.GradientDescentProgramming(iterations=3, batch=16)
TINY = 1e-30  # a spread that is there, and too small to tell


def hold_std(values: np.ndarray, std: float, more: float = 0.0) -> None:
    """Hold the standard deviation of independent normals; `more` is the variance of each."""
    total = std**2 + more
    error = tolerances.SIGMAS * total * np.sqrt(2 / values.size)
    assert abs(values.var() - total) < error


# --- pulses ---------------------------------------------------------------------------------------


def pulse_all(
    engine: Engine, device: MeltQuench, code: int, step: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Conductances of the second of two devices of each cell after a pulse, and the counts."""
    conductance = np.zeros((1, 2, *SHAPE[1:]), np.float32)
    cells = (np.full(SHAPE, NONE, np.uint8), np.zeros(SHAPE, np.float32))
    sent = (np.full(SHAPE, 1, np.uint8), np.full(SHAPE, code, np.uint8), np.zeros(1), step)
    counts = engine.pulse(conductance, *cells, *sent, IDENTITY, device.parameters())
    return conductance[0, 1].ravel().astype(np.float64), counts


@TWINS
def test_the_depth_is_spread(engine: Engine) -> None:
    """ln G in RESET: 0.1 of 2 decades, around the typical device's."""
    g, _ = pulse_all(engine, replace(EXACT, decades_spread=0.1), code=255)
    hold_std(np.log(g), 0.1 * 2 * np.log(10))
    typical, _ = pulse_all(engine, EXACT, code=255)
    assert np.ptp(typical) == 0
    assert abs(np.log(g / typical).mean()) < tolerances.SIGMAS * 0.46 / np.sqrt(COUNT)


@TWINS
@pytest.mark.parametrize(("which", "code"), [("jitter", 55), ("floor", 0)])
def test_the_scatter_of_pulses_is_spread(engine: Engine, which: str, code: int) -> None:
    """Over 30 pulses of each device; ln of a sample's deviation has a variance of its own."""
    on: dict[str, Any] = {"jitter": {"jitter_ua": 0.1}, "floor": {"floor_us": 0.05}}[which]
    device = replace(EXACT, **on, **{f"{which}_spread": 0.5})
    g = np.array([pulse_all(engine, device, code, step)[0] for step in range(1, 31)])
    typical, _ = pulse_all(engine, EXACT, code)
    factor = np.log(g.std(axis=0, ddof=1))
    hold_std(factor, 0.5, more=0.5 / 29 * (1 + 1 / 29))
    z = (g - typical) / g.std(axis=0)  # spread over devices, and independent from pulse to pulse
    assert abs((z[0] * z[1]).mean()) < tolerances.SIGMAS / np.sqrt(COUNT)
    still, _ = pulse_all(engine, replace(device, jitter_ua=0.0, floor_us=0.0), code)
    np.testing.assert_array_equal(still, typical)


@TWINS
def test_each_spread_has_draws_of_its_own(engine: Engine) -> None:
    """And does not touch what the others draw: a spread too small to tell changes no bit."""
    code = 60
    names = ("decades_spread", "jitter_spread", "floor_spread")
    plain, _ = pulse_all(engine, MeltQuench(), code)
    for name in names:
        same, _ = pulse_all(engine, MeltQuench(**{name: TINY}), code)
        np.testing.assert_array_equal(same, plain)
    wide = MeltQuench(**dict.fromkeys(("g_set_spread", "centre_spread", "width_spread"), 0.0))
    moved = [pulse_all(engine, replace(wide, **{name: 0.1}), code)[0] for name in names]
    moved = [g - pulse_all(engine, wide, code)[0] for g in moved]
    apart = np.abs(np.corrcoef(moved)[np.triu_indices(3, 1)])
    assert (apart < 2 * tolerances.SIGMAS / np.sqrt(COUNT)).all()


@pytest.mark.nojit
@TWINS
def test_no_device_gets_more_than_the_compliance_current(engine: Engine) -> None:
    """At and beyond it all codes leave the same; those beyond it are counted."""
    device = replace(EXACT, compliance_ua=220.0)
    codes = (0, 76, 77, 255)  # 100, 219.2, 220.8 and 500 µA
    found = [pulse_all(engine, device, code) for code in codes]
    assert [counts.tolist() for _, counts in found] == [
        [[COUNT, 0, 0, 0]],
        [[0, COUNT, 0, 0]],
        [[0, COUNT, 0, COUNT]],
        [[0, COUNT, 0, COUNT]],
    ]
    g = [value[0] for value, _ in found]
    assert g[0] > g[1] > g[2] == g[3]
    assert g[3] == pytest.approx(14 * 10 ** (-2 / (1 + np.exp(-20 / 12))), rel=1e-5)
    free, _ = pulse_all(engine, EXACT, 76)
    np.testing.assert_array_equal(found[1][0], free)


@TWINS
def test_devices_clipped_at_zero_are_counted(engine: Engine) -> None:
    """RESET leaves 0.14 µS with a scatter of 0.07: one in forty-four would be negative."""
    device = replace(EXACT, floor_us=0.07, g_set_us=14.0)
    g, counts = pulse_all(engine, device, 255)
    assert counts[0, 2] == (g == 0).sum()
    expected = 0.0228 * COUNT
    assert abs(counts[0, 2] - expected) < tolerances.SIGMAS * np.sqrt(expected)


# --- drift ----------------------------------------------------------------------------------------


def conduct(
    engine: Engine,
    seconds: float,
    drift: Drift | None,
    noise: ReadNoise | None = None,
    pulsed_s: float = 0.0,
    slow: np.ndarray = NO_SLOW_NOISE,
    device: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of one of two devices of 5 µS; the second was pulsed last."""
    conductance = np.full((1, 2, *SHAPE[1:]), 5, np.float32)
    mean, variance = np.empty((2, *SHAPE), np.float32)
    state = (conductance, np.full(SHAPE, 1, np.uint8), np.full(SHAPE, pulsed_s, np.float32))
    select = np.full((1, 1, 1), 1 << device, np.uint8)
    numbers = (state_fits(drift, noise), state_parameters(10.0, drift, noise))
    at = (np.array([seconds]), select, IDENTITY, *numbers, ALL_ALIKE, slow)
    engine.drift(*state, *at, 0, mean, variance)
    return np.abs(mean.ravel().astype(np.float64)), variance.ravel().astype(np.float64)


ALIKE = Drift(mean=constant(0.05), std=constant(0.0), t_on_s=1e-2)


@TWINS
def test_the_onset_of_drift_is_spread(engine: Engine) -> None:
    """Before it devices conduct (t_on / t_ref)^-nu; long after it all the same."""
    drift = replace(ALIKE, t_on_spread=1.0)
    early, _ = conduct(engine, 1e-6, drift)
    onset = np.log(20.0) - np.log(early / 5) / 0.05
    hold_std(onset, 1.0)
    assert abs(onset.mean() - np.log(1e-2)) < tolerances.SIGMAS / np.sqrt(COUNT)
    now, _ = conduct(engine, 1e-2, drift)
    begun = onset < np.log(1e-2)
    assert np.ptp(now[begun]) == 0
    np.testing.assert_array_equal(now[~begun], early[~begun])
    late, _ = conduct(engine, 1e4, drift)
    np.testing.assert_array_equal(late, conduct(engine, 1e4, ALIKE)[0])
    other, _ = conduct(engine, 1e-6, drift, device=0)
    correlation = np.corrcoef(np.log(early), np.log(other))[0, 1]
    assert abs(correlation) < tolerances.SIGMAS / np.sqrt(COUNT)


@TWINS
def test_read_noise_is_spread(engine: Engine) -> None:
    """Q by a factor of the device's own, that fast and slow noise have in common."""
    plain, wide = ReadNoise(), ReadNoise(spread=0.4)
    slow = np.array([[[3.0, 2.0, 0.5]]])
    mean, variance = conduct(engine, 1.0, None, wide, slow=slow)
    typical, same = conduct(engine, 1.0, None, plain, slow=slow)
    factor = np.sqrt(variance / same)
    hold_std(np.log(factor), 0.4)
    # of slow noise the difference to 5 µS is left, with the rounding of 5 µS
    np.testing.assert_allclose(
        mean - 5, factor * (typical - 5), rtol=1e-5, atol=20 * tolerances.EPS
    )
    np.testing.assert_array_equal(conduct(engine, 1.0, None, wide)[1], variance)


@TWINS
def test_a_spread_too_small_to_tell_changes_no_bit(engine: Engine) -> None:
    drift, noise = Drift(), ReadNoise()
    for seconds in (1e-5, 1e-3, 10.0):
        plain = conduct(engine, seconds, drift, noise)
        for changed in (
            conduct(engine, seconds, replace(drift, t_on_spread=TINY), noise),
            conduct(engine, seconds, drift, replace(noise, spread=TINY)),
        ):
            np.testing.assert_array_equal(changed, plain)


def exponents(engine: Engine, drift: Drift, pulsed_s: float, device: int = 1) -> np.ndarray:
    """Drift exponents of devices, by regression in log-log from 10 s to a year."""
    ages = np.geomspace(10, 3e7, 6)
    log_g = np.log(
        [conduct(engine, pulsed_s + age, drift, None, pulsed_s, device=device)[0] for age in ages]
    )
    since = pulsed_s if device == 1 else 0.0
    log_t = np.log((np.float32(pulsed_s + ages) - np.float32(since)).astype(np.float64))
    centred = (log_t - log_t.mean())[:, None]
    return np.asarray(-(centred * log_g).sum(axis=0) / (centred**2).sum())


@TWINS
def test_exponents_are_redrawn_at_each_pulse(engine: Engine) -> None:
    """Before and after a pulse those of a device are independent, of one distribution."""
    drift = Drift(mean=constant(0.05), std=constant(0.008), redraw=True)
    first, again, after = (exponents(engine, drift, at) for at in (1.0, 1.0, 1.5))
    np.testing.assert_array_equal(first, again)
    assert abs(np.corrcoef(first, after)[0, 1]) < tolerances.SIGMAS / np.sqrt(COUNT)
    for nu in (first, after):
        hold_std(nu, 0.008)
        assert abs(nu.mean() - 0.05) < tolerances.SIGMAS * 0.008 / np.sqrt(COUNT)
    for_life = replace(drift, redraw=False)
    kept, still = (exponents(engine, for_life, at) for at in (1.0, 1.5))
    np.testing.assert_allclose(kept, still, rtol=1e-4)
    assert abs(np.corrcoef(first, kept)[0, 1]) < tolerances.SIGMAS / np.sqrt(COUNT)
    # the cell's other device keeps its own, and so does one pulsed at time zero
    np.testing.assert_array_equal(
        exponents(engine, drift, 1.5, device=0), exponents(engine, for_life, 1.5, device=0)
    )
    np.testing.assert_array_equal(exponents(engine, drift, 0.0), exponents(engine, for_life, 0.0))


@pytest.mark.nojit
@pytest.mark.parametrize("engine", ["numba", "reference"])
def test_early_onsets_are_seen_in_time(engine: str) -> None:
    """A core's matrices are refreshed while the first devices drift, before t_on."""
    core = blank(quiet(drift=replace(ALIKE, t_on_s=1e3, t_on_spread=1.0)), engine=engine)
    pulse(core, 0, 45)
    seen = []
    for seconds in (1.0, 100.0):
        core.wait(seconds)
        seen.append(core.matrices()[0].copy())
    fresh = np.empty((2, *core.shape), np.float32)
    core.conduct(core.clock_s, np.full((1, 1, 1), 15, np.uint8), (fresh[0], fresh[1]))
    np.testing.assert_array_equal(seen[1], fresh[0])


# --- cores and matrices ---------------------------------------------------------------------------


@pytest.mark.nojit
@pytest.mark.parametrize("engine", ["numba", "reference"])
def test_a_core_counts_what_it_clips(engine: str) -> None:
    """Of each tile; the pulses take their time all the same, and so do those at stuck devices."""
    device = replace(EXACT, floor_us=50.0, compliance_ua=220.0)
    core = blank(quiet(device=device), [(5, 6), (3, 2)], engine)
    pulse(core, 0, 255)
    counters = core.counters
    assert counters["clipped_current"].tolist() == [30, 6]
    zero = (core.conductance[:, 0] == 0) & (core.last_device == 0)
    np.testing.assert_array_equal(counters["clipped_conductance"], zero.sum(axis=(1, 2)))
    assert 0 < counters["clipped_conductance"][0] < 30
    assert (core.clock_s > 0).all()
    before = counters["clipped_conductance"].copy()
    core.stuck = np.full(core.shape, 15, np.uint8)
    pulse(core, 0, 255)
    assert counters["clipped_current"].tolist() == [60, 12]
    assert counters["pulses_reset"].tolist() == [60, 12]
    np.testing.assert_array_equal(counters["clipped_conductance"], before)
    part = core.part(slice(1, 2), 3, 2)
    assert part.counters["clipped_current"].tolist() == [12]
    assert rows_of(core).shape == core.shape
    assert stuck.count(core.stuck, core.extents) == 4 * 36


@pytest.mark.nojit
@pytest.mark.parametrize("engine", ["numba", "reference"])
def test_writes_clipped_at_zero_are_counted(engine: str) -> None:
    config = fa.override(fa.presets.ideal(), {"device.std_us": (30.0,), "rows": 5, "columns": 6})
    core = blank(config, engine=engine)
    core.pulse(np.zeros(core.shape, np.uint8), np.full(core.shape, F32(5)))
    clipped = core.counters["clipped_conductance"].tolist()
    assert clipped == [(core.conductance[:, 0] == 0).sum()]
    assert clipped[0] > 0
    core.pulse(np.ones(core.shape, np.uint8), np.zeros(core.shape, np.float32))
    assert core.counters["clipped_conductance"].tolist() == clipped  # zero is what was asked for


@pytest.mark.parametrize("method", [GDP, fa.IterativeProgramming(iterations=3)])
def test_both_engines_program_with_everything_on(method: Any) -> None:
    config = fa.override(
        fa.presets.hermes(),
        {
            "device.decades_spread": 0.05,
            "device.jitter_spread": 0.3,
            "device.floor_spread": 0.3,
            "device.compliance_ua": 260.0,
            "drift.t_on_spread": 1.0,
            "drift.redraw": True,
            "read_noise.spread": 0.3,
            "read_noise.slow": True,
        },
    )
    errors = []
    for engine in ("numba", "reference"):
        matrix = fa.program(WEIGHTS, config, method, engine=engine, threads=1, seed=2)
        errors.append(fa.mvm_error(matrix, samples=200).residual)
        assert matrix.clipped_current > 0
    assert errors[0] == pytest.approx(errors[1], rel=0.02)
    assert errors[0] < 0.5


def test_the_counts_are_in_a_matrix_and_in_its_description(tmp_path: Any) -> None:
    from fastaimc.cli_info import describe_file

    config = fa.override(fa.presets.hermes(), {"device.compliance_ua": 300.0})
    matrix = fa.program(WEIGHTS, config, GDP, threads=1)
    assert 0 < matrix.clipped_current <= matrix.cost.pulses_reset
    fa.save(tmp_path / "m.npz", matrix)
    facts = describe_file(tmp_path / "m.npz", None)
    assert facts["clipped_current"] == matrix.clipped_current
    free = fa.program(WEIGHTS, CoreConfig(), GDP, threads=1)
    assert free.clipped_current == 0
    assert free.clipped_conductance > 0
    fa.save(tmp_path / "m.npz", free)
    facts = describe_file(tmp_path / "m.npz", None)
    assert "clipped_current" not in facts
    assert facts["clipped_conductance"] == free.clipped_conductance
