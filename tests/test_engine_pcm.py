"""The kernels of pulses, writes and drift against their reference, noise on, draw by draw."""

import numpy as np
import pytest
import strategies
import tolerances
import tolerances_devices
from hypothesis import given
from hypothesis import strategies as st
from strategies import NONE, SIZES, TINY, TWINS, Call, Size

from fastaimc.config import Drift, MeltQuench, ReadNoise
from fastaimc.config.device import state_fits, state_parameters
from fastaimc.engine import NO_SLOW_NOISE, Engine
from fastaimc.parameters import ALIKE, F32, FitParameters, PulseParameters, mask_dtype
from fastaimc.reference import pcm as reference
from fastaimc.reference import philox


def of_pulsed(values: np.ndarray, device: np.ndarray) -> np.ndarray:
    """Take the pulsed device of (tile, device, row, column); 0 for a cell without one."""
    index = np.where(device < values.shape[1], device, 0)[:, None].astype(np.int64)
    chosen = np.take_along_axis(values, index, axis=1)[:, 0]
    return np.where(device < values.shape[1], chosen, 0)


def draws(call: Call, step: int, purpose: int) -> np.ndarray:
    """Normals of the pulsed devices, (tile, row, column)."""
    shape = call["conductance"].shape
    return of_pulsed(reference.cell_normals(call["identity"], shape, step, purpose), call["device"])


def hold_devices(call: Call, found: strategies.Result, expected: strategies.Result) -> np.ndarray:
    """Hold all of a pulse but the new conductances: bitwise; return which cells it hit.

    Devices are clipped at zero in both twins but where they are as near to it as float32 tells.
    """
    counted = [0, 1, 3]
    np.testing.assert_array_equal(found.out[:, counted], expected.out[:, counted])
    assert found.out.dtype == np.int64
    for key in ("last_device", "last_s"):
        np.testing.assert_array_equal(found.written[key], expected.written[key])
    device = call["device"]
    hit = np.arange(call["conductance"].shape[1])[:, None, None] == device[:, None]
    for result in (found, expected):
        zero = (hit & (result.written["conductance"] == 0)).sum(axis=(1, 2, 3))
        zero -= ((device != NONE) & (call.get("value", np.ones(device.shape)) == 0)).sum((1, 2))
        np.testing.assert_array_equal(result.out[:, 2], zero)
    np.testing.assert_array_equal(found.written["conductance"][~hit], call["conductance"][~hit])
    assert (found.written["last_s"][device == NONE] == call["last_s"][device == NONE]).all()
    return device != NONE


# --- pulse ----------------------------------------------------------------------------------------


@SIZES
@given(data=st.data())
def test_pulse(size: Size, data: st.DataObject) -> None:
    call = data.draw(strategies.pulse_calls(size))
    p = PulseParameters(*(float(value) for value in call["parameters"]))
    current = p.current_min_ua + call["code"] * p.current_step_ua
    # Which side of the knee or the compliance a pulse is on depends on its current's two roundings.
    for edge in (p.knee_ua, p.compliance_ua):
        call["device"][np.abs(current - edge) <= 2 * tolerances.EPS * current] = NONE
    found, expected = strategies.twins("pulse", call)
    hit = hold_devices(call, found, expected)
    purposes = (philox.SET_SPREAD, philox.CENTRE_SPREAD, philox.WIDTH_SPREAD)
    purposes += (philox.DECADES_SPREAD, philox.JITTER_SPREAD, philox.FLOOR_SPREAD)
    z = [draws(call, 0, purpose) for purpose in purposes]
    z.append(draws(call, call["step"], philox.PULSE))
    bound = tolerances_devices.pulsed(np.minimum(current, p.compliance_ua), z, p)
    g, exact = (
        of_pulsed(result.written["conductance"].astype(np.float64), call["device"])
        for result in (found, expected)
    )
    assert (np.abs(g - exact)[hit] <= bound[hit]).all()


@pytest.mark.nojit
@TWINS
def test_pulses_are_counted_and_dated(engine: Engine) -> None:
    """Two SETs, one RESET; a cell without a device keeps what it was."""
    p = MeltQuench().parameters()
    conductance = np.full((1, 2, 1, 4), 3, np.float32)
    last_device = np.full((1, 1, 4), NONE, np.uint8)
    last_s = np.zeros((1, 1, 4), np.float32)
    device = np.array([[[0, 1, NONE, 1]]], np.uint8)
    code = np.array([[[0, 255, 0, 10]]], np.uint8)
    clock, identity = np.array([2.5]), np.array([[1, 2, 3]], np.uint32)
    counts = engine.pulse(conductance, last_device, last_s, device, code, clock, 1, identity, p)
    assert counts.tolist() == [[2, 1, 0, 0]]
    assert last_device.ravel().tolist() == [0, 1, NONE, 1]
    assert last_s.ravel().tolist() == [2.5, 2.5, 0, 2.5]
    assert (conductance == 3).sum() == 5
    assert conductance[0, 0, 0, 0] > 5 > 1 > conductance[0, 1, 0, 1]


# --- write ----------------------------------------------------------------------------------------


@SIZES
@given(data=st.data())
def test_write(size: Size, data: st.DataObject) -> None:
    call = data.draw(strategies.write_calls(size))
    found, expected = strategies.twins("write", call)
    hit = hold_devices(call, found, expected)
    value = call["value"].astype(np.float64)
    x = np.clip(value * float(call["inverse_scale"]), reference.SMALLEST_STATE, 1)
    z = draws(call, call["step"], philox.WRITE)
    bound = tolerances_devices.written(x, value, z, call["coefficients"])
    g, exact = (
        of_pulsed(result.written["conductance"].astype(np.float64), call["device"])
        for result in (found, expected)
    )
    assert (np.abs(g - exact)[hit] <= bound[hit]).all()
    assert not g[value == 0].any()


# --- drift ----------------------------------------------------------------------------------------


def slow_error(call: Call) -> np.ndarray:
    """Error of every device's slow noise, in units of Q: of the normals, and of their sum."""
    size = np.zeros(call["conductance"].shape)
    for tile in range(len(size)):
        one, slow = slice(tile, tile + 1), call["slow"][tile % len(call["slow"])]
        for period, octave, std in slow:
            which = (int(period), philox.SLOW_NOISE, int(octave))
            z = reference.cell_normals(call["identity"][one], size[one].shape, *which)
            size[one] += std * np.abs(z)
    return (tolerances.NORMAL_RELATIVE + tolerances.sums(call["slow"].shape[1] + 2)) * size


def drift_bounds(call: Call) -> tuple[np.ndarray, np.ndarray]:
    """Errors of the mean and of the variance that `drift` may write."""
    p, g = call["parameters"], call["conductance"].astype(np.float64)
    fits = [FitParameters(*(float(value) for value in row)) for row in call["fits"]]
    who = (call["identity"], g.shape)
    z = reference.exponent_normals(*who, call["last_device"], call["last_s"], p)
    z_on = reference.cell_normals(*who, 0, philox.ONSET_SPREAD)
    z_q = reference.cell_normals(*who, 0, philox.READ_NOISE_SPREAD)
    now = call["clock_s"].astype(np.float32)[:, None, None]
    total, mean, variance = (np.zeros(call["last_s"].shape) for _ in range(3))
    devices, weighted = g.shape[1], call["significance"].size > 0
    slow = reference.slow_noise(call["identity"], g.shape, call["slow"])
    d_slow = slow_error(call)
    for index in range(devices):
        since = np.where(call["last_device"] == index, call["last_s"], F32(0))
        age = np.maximum(
            (now - since).astype(np.float64),
            float(p.t_on_s) * np.exp(float(p.t_on_spread) * z_on[:, index]),
        )
        d_log_age = tolerances.onset(p, z_on[:, index]) if p.t_on_spread > 0 else np.zeros(1)
        loudness = tolerances_devices.log_normal(1.0, float(p.noise_spread), z_q[:, index])
        x = np.clip(g[:, index] * float(p.inverse_scale), reference.SMALLEST_STATE, 1)
        log_age = np.log(age * float(p.inverse_t_ref))
        g_now, d_g, noise, d_noise = tolerances.drifted(
            g[:, index], log_age, z[:, index], x, fits, d_log_age, loudness
        )
        factor = call["significance"][index].astype(np.float64) if weighted else 1.0
        chosen = ((call["select"] >> index) & 1) * factor
        # g + noise·slow, fused, and not below zero
        fluctuation = noise * np.abs(slow[:, index])
        mean += chosen * (d_g + d_noise * np.abs(slow[:, index]) + noise * d_slow[:, index])
        mean += chosen * tolerances.EPS * (g_now + fluctuation)
        total += chosen * (g_now + fluctuation)
        # squared, times the band, summed: three roundings and those of the sum, and two of a
        # factor squared, times the band
        noise = noise + float(p.noise_floor) * (g_now > 0)
        d_noise = d_noise + tolerances.EPS * noise
        square = noise**2 * tolerances.sums(devices + 3 + 2 * weighted)
        variance += (
            chosen * factor * float(p.noise_band) * ((2 * noise + d_noise) * d_noise + square)
        )
    rounding = (tolerances.sums(devices) + tolerances.EPS) * total
    rows = slice(call["first"], call["first"] + call["mean"].shape[1])
    largest = float(call["significance"].max(initial=1))
    tiny = tolerances.SMALLEST * devices * largest**2  # squares of what is nearly nothing
    return (
        (tolerances.SECOND_ORDER * (mean + rounding) + tiny)[:, rows],
        (tolerances.SECOND_ORDER * variance + tiny)[:, rows],
    )


@SIZES
@given(data=st.data())
def test_drift(size: Size, data: st.DataObject) -> None:
    call = data.draw(strategies.drift_calls(size))
    found, expected = strategies.twins("drift", call)
    assert found.out is None
    for key, bound in zip(("mean", "variance"), drift_bounds(call), strict=True):
        error = np.abs(found.written[key].astype(np.float64) - expected.written[key])
        assert (error <= bound).all(), key


@pytest.mark.nojit
@TWINS
@pytest.mark.parametrize("devices", strategies.DEVICES_OF_A_CELL)
def test_selection_and_signs(engine: Engine, devices: int) -> None:
    """Without drift a selection conducts its sum; the second half subtracts; 1 bit a device."""
    g = 2.0 ** np.arange(devices, dtype=np.float32)[None, :, None, None]
    g = np.broadcast_to(g, (1, devices, 2, 3)).copy()
    signs = np.where(np.arange(devices) < devices // 2, 1, -1)
    mean, variance = np.empty((2, 1, 2, 3), np.float32)
    for select in (0, 1, 2**devices - 1, 2 ** (devices - 1), 0b10):
        engine.drift(
            g,
            np.full((1, 2, 3), NONE, np.uint8),
            np.zeros((1, 2, 3), np.float32),
            np.array([1e3]),
            np.full((1, 1, 1), select, mask_dtype(devices)),
            np.zeros((1, 3), np.uint32),
            state_fits(None, None),
            state_parameters(10, None, None),
            ALIKE,
            NO_SLOW_NOISE,
            0,
            mean,
            variance,
        )
        wanted = sum(signs[d] * 2.0**d for d in range(devices) if select >> d & 1)
        np.testing.assert_array_equal(mean, np.full(mean.shape, wanted, np.float32))
        assert not variance.any()


@pytest.mark.nojit
@TWINS
def test_only_the_last_device_is_young(engine: Engine) -> None:
    """At t_ref after its pulse a device is as it was written; the rest of its cell is older."""
    drift = Drift()
    g = np.full((1, 4, 1, 2), 5, np.float32)
    mean, variance = np.empty((2, 1, 1, 2), np.float32)
    values = []
    for device in range(4):
        engine.drift(
            g,
            np.full((1, 1, 2), 2, np.uint8),
            np.full((1, 1, 2), 1e4, np.float32),
            np.array([1e4 + drift.t_ref_s]),
            np.full((1, 1, 1), 1 << device, np.uint8),
            np.zeros((1, 3), np.uint32),
            state_fits(drift, ReadNoise()),
            state_parameters(10.35, drift, ReadNoise()),
            ALIKE,
            NO_SLOW_NOISE,
            0,
            mean,
            variance,
        )
        values.append(np.abs(mean).max())
        assert (variance > 0).all()
    assert values[2] == pytest.approx(5, rel=4 * tolerances.EPS)
    assert max(values[0], values[1], values[3]) < 4.9


# --- arguments ------------------------------------------------------------------------------------


@given(
    pulse=strategies.pulse_calls(TINY),
    write=strategies.write_calls(TINY),
    drift=strategies.drift_calls(TINY),
)
def test_read_only_arguments(pulse: Call, write: Call, drift: Call) -> None:
    for name, call in (("pulse", pulse), ("write", write), ("drift", drift)):
        strategies.accepts_read_only(name, call)
