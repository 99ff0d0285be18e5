"""What the engines compute against closed forms of physics.md, as z-scores and bounds.

A statistic of n numbers is held to `SIGMAS` of its standard errors; keys are fixed.
"""

import numpy as np
import pytest
import tolerances
from scipy import stats
from strategies import NONE, TWINS

from fastaimc.config import Drift, MeltQuench, ReadNoise
from fastaimc.config.circuit import half_codes
from fastaimc.config.device import state_fits, state_parameters
from fastaimc.engine import INPUT_KINDS, NO_PATTERN, NO_SLOW_NOISE, Engine
from fastaimc.parameters import ALIKE, F32, FitParameters, StepParameters
from fastaimc.reference import pcm, philox

SCALE_US = 10.35  # HERMES, one device
IDENTITY = np.array([[11, 22, 33]], np.uint32)
KEY = np.array([3, 4], np.uint32)


def hold_mean(values: np.ndarray, mean: float, std: float) -> None:
    """Hold the mean of independent values of a known standard deviation."""
    assert abs(values.mean() - mean) < tolerances.SIGMAS * std / np.sqrt(values.size)


def hold_std(values: np.ndarray, std: float, excess: float = 0.0) -> None:
    """Hold the variance about the values' own mean; its variance is (2 + excess) std⁴ / n."""
    error = std**2 * np.sqrt((2 + excess) / values.size)
    assert abs(values.astype(np.float64).var() - std**2) < tolerances.SIGMAS * error


def multiply(
    engine: Engine,
    x: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray | None = None,
    *,
    number: int = 0,
    full_scale: float = 1e3,
    half: int = 0,
    columns: np.ndarray | None = None,
) -> np.ndarray:
    """One crossbar's products, (batch, column)."""
    width = mean.shape[1]
    return engine.mvm(
        x[None].astype(np.float32),
        np.zeros(1, np.int32),
        NO_PATTERN,
        mean[None].astype(np.float32),
        np.zeros((1, *mean.shape), np.float32) if variance is None else variance[None],
        IDENTITY,
        number,
        np.zeros((1, 4, width), np.float32) if columns is None else columns,
        F32([full_scale]),
        F32(half),
    )[0]


# --- MVM ------------------------------------------------------------------------------------------


@TWINS
def test_variance_of_read_noise(engine: Engine) -> None:
    """Over 20,000 draws every column's variance is sum x² sigma², and the draws are normal."""
    generator = np.random.default_rng(0)
    draws, rows, width = 20_000, 7, 5
    x = generator.uniform(-1, 1, rows)
    mean, std = generator.normal(0, 10, (rows, width)), generator.uniform(0, 2, (rows, width))
    y = multiply(engine, np.tile(x, (draws, 1)), mean, (std**2).astype(np.float32))
    for values, middle, exact in zip(y.T, x @ mean, np.sqrt(x**2 @ std**2), strict=True):
        hold_mean(values, middle, exact)
        hold_std(values, exact)
        assert stats.kstest((values - middle) / exact, "norm").pvalue > 1e-6


@TWINS
def test_mvm_is_linear(engine: Engine) -> None:
    """Without noise and with ideal converters: a x1 + b x2 gives a y1 + b y2."""
    generator = np.random.default_rng(1)
    mean = generator.normal(0, 10, (33, 20))
    x1, x2 = generator.uniform(-1, 1, (2, 12, 33)).astype(np.float32)
    both = (F32(0.5) * x1 - F32(0.25) * x2).astype(np.float32)
    y1, y2, y = (multiply(engine, x, mean).astype(np.float64) for x in (x1, x2, both))
    # Sums of products, the rounding of the mixed inputs, and the ADC's v·fs of each.
    size = (np.abs(x1) / 2 + np.abs(x2) / 4) @ np.abs(mean)
    bound = (2 * tolerances.sums(33) + 8 * tolerances.EPS) * size
    assert (np.abs(y - (y1 / 2 - y2 / 4)) <= bound).all()


@TWINS
def test_quantisation_error_halves_with_every_bit(engine: Engine) -> None:
    """It is a step / sqrt(12), until read noise is its floor; the squares add up."""
    generator = np.random.default_rng(2)
    rows, width, batch, full_scale = 64, 40, 256, 100.0
    mean = generator.normal(0, 4, (rows, width))
    x = generator.uniform(-1, 1, (batch, rows)).astype(np.float32)
    exact = x.astype(np.float64) @ mean.astype(np.float32)
    power = (x.astype(np.float64) ** 2).sum(axis=1)
    variance = np.full((rows, width), 0.25, np.float32)
    for bits in range(4, 13):
        half = half_codes(bits)
        step = full_scale / half
        error = multiply(engine, x, mean, full_scale=full_scale, half=half) - exact
        # Of a uniform error the square's mean is step²/12, its variance step⁴/180.
        bound = tolerances.SIGMAS * step**2 / np.sqrt(180 * error.size)
        assert abs((error**2).mean() - step**2 / 12) < bound
        noisy = multiply(engine, x, mean, variance, full_scale=full_scale, half=half)
        noise = ((noisy - exact) ** 2).mean(axis=1)
        wanted = 0.25 * power + step**2 / 12
        # Of a normal and a uniform error together: at most 2 sigma⁴, a column each.
        z = (noise - wanted) / (wanted * np.sqrt(2 / width))
        assert abs(z.mean()) < tolerances.SIGMAS / np.sqrt(batch)


@TWINS
def test_a_batch_and_single_calls_use_the_same_draws(engine: Engine) -> None:
    """Vector k's noise is that of number k: exact on a single row, whose product has no order."""
    x = np.full((9, 1), 0.5, np.float32)
    variance = np.full((1, 6), 2, np.float32)
    start = 2**32 - 4
    whole = multiply(engine, x, np.ones((1, 6)), variance, number=start)
    for k in range(9):
        one = multiply(engine, x[:1], np.ones((1, 6)), variance, number=start + k)
        np.testing.assert_array_equal(one[0], whole[k])
    assert len(np.unique(whole)) == whole.size


# --- ADC ------------------------------------------------------------------------------------------


@TWINS
def test_spreads_of_the_columns(engine: Engine) -> None:
    count = 40_000
    stds = F32([0.03, 0.005, 0.01])
    gain, offset, bow, shape = engine.columns(IDENTITY, count, 0, stds)[0].astype(np.float64)
    for values, std in ((gain, stds[0]), (offset, stds[1])):
        hold_mean(values, 0, std)
        hold_std(values, std)
    # The non-linearity is normal at every v, and its std largest, stds[2], at v² = 19/81.
    v = np.linspace(-1, 1, 163)
    inl = np.array([(1 - u**2) * (bow + shape * 1.5 * np.sqrt(3) * u) for u in v])
    hold_std(inl[np.argmin(np.abs(v - np.sqrt(19 / 81)))], stds[2])
    limit = stds[2] * (1 + tolerances.SIGMAS / np.sqrt(2 * count))
    assert (inl.std(axis=1) < limit).all()
    assert abs(np.corrcoef(bow, shape)[0, 1]) < tolerances.SIGMAS / np.sqrt(count)


@TWINS
def test_the_non_linearity_is_zero_at_both_ends_of_the_range(engine: Engine) -> None:
    columns = np.zeros((1, 4, 5), np.float32)
    columns[0, 2:] = np.random.default_rng(3).normal(0, 0.1, (2, 5))
    x = np.array([[-1.0], [1.0], [0.5], [-2.0]])
    y = multiply(engine, x, np.full((1, 5), 8.0), full_scale=8.0, columns=columns)
    np.testing.assert_array_equal(y[:2], np.array([[-8.0], [8.0]]) * np.ones((1, 5)))
    np.testing.assert_array_equal(y[3], np.full(5, -16.0))  # nor beyond it
    bow, shape = columns[0, 2:].astype(np.float64)
    inl = 8 * (1 - 0.25) * (bow + shape * 1.5 * np.sqrt(3) * 0.5)
    np.testing.assert_allclose(y[2], 4 + inl, rtol=10 * tolerances.EPS)


# --- melt-quench ----------------------------------------------------------------------------------


def pulse_all(engine: Engine, device: MeltQuench, code: int, step: int = 1) -> np.ndarray:
    """Conductances of 40,000 devices after a pulse each."""
    shape = (1, 200, 200)
    conductance = np.zeros((1, 2, 200, 200), np.float32)
    engine.pulse(
        conductance,
        np.full(shape, NONE, np.uint8),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.uint8),
        np.full(shape, code, np.uint8),
        np.zeros(1),
        step,
        IDENTITY,
        device.parameters(),
    )
    return conductance[0, 0].ravel().astype(np.float64)


def curve(device: MeltQuench, current_ua: float) -> float:
    s = 1 / (1 + np.exp(-(current_ua - device.centre_ua) / device.width_ua))
    return float(device.g_set_us * 10 ** (-device.decades * s))


@TWINS
@pytest.mark.parametrize("code", [0, 32, 51, 64, 80, 110])
def test_median_and_scatter_of_pulses(engine: Engine, code: int) -> None:
    """Devices without spread: the median is the curve, the scatter |dG/dI| sigma_I (+) floor."""
    device = MeltQuench(g_set_spread=0, centre_spread=0, width_spread=0, floor_us=0.01)
    current = float(device.currents_ua()[code])
    slope = (curve(device, current + 0.01) - curve(device, current - 0.01)) / 0.02
    scatter = np.hypot(slope * device.jitter_ua, device.floor_us)
    g = pulse_all(engine, device, code)
    # The median of n normals has a standard error of sqrt(pi/2) sigma / sqrt(n).
    bound = tolerances.SIGMAS * np.sqrt(np.pi / 2) * scatter / np.sqrt(g.size)
    assert abs(np.median(g) - curve(device, current)) < bound
    hold_std(g, scatter)


@TWINS
@pytest.mark.parametrize("spread", ["g_set_spread", "centre_spread", "width_spread"])
@pytest.mark.parametrize("code", [0, 50, 64, 80, 255])
def test_median_over_devices(engine: Engine, spread: str, code: int) -> None:
    """A curve is monotone in each spread alone, so the median device is the nominal one."""
    alone = dict(g_set_spread=0.0, centre_spread=0.0, width_spread=0.0)
    device = MeltQuench(**{**alone, spread: 0.1}, jitter_ua=0, floor_us=0)
    g = pulse_all(engine, device, code)
    nominal = curve(device, float(device.currents_ua()[code]))
    # Half of the devices lie above: a binomial number. Rounding decides where all are alike.
    sides = (np.count_nonzero(sign * (g / nominal - 1) > 1e-4) for sign in (-1, 1))
    assert max(sides) < g.size / 2 + tolerances.SIGMAS * np.sqrt(g.size) / 2


@TWINS
def test_spread_of_set_devices(engine: Engine) -> None:
    """ln G after SET: 0.15 over devices, around ln 14 µS; jitter and floor play no part."""
    g = pulse_all(engine, MeltQuench(jitter_ua=0, floor_us=0), code=0)
    hold_std(np.log(g), 0.15)
    # The curve's tail takes 2 decades·exp(-100 µA / 12 µA) on average, spread included: 0.5 %.
    assert abs(np.log(g).mean() - np.log(14)) < 0.005 + tolerances.SIGMAS * 0.15 / 200


@TWINS
def test_a_device_keeps_its_spread_and_pulses_do_not(engine: Engine) -> None:
    device = MeltQuench(floor_us=0)
    first, again, next_ = (np.log(pulse_all(engine, device, 50, step)) for step in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.corrcoef(first, next_)[0, 1] > 0.9
    same = MeltQuench(g_set_spread=0, centre_spread=0, width_spread=0)
    a, b = (pulse_all(engine, same, 50, step) for step in (1, 2))
    assert abs(np.corrcoef(a, b)[0, 1]) < tolerances.SIGMAS / np.sqrt(a.size)


# --- drift and read noise -------------------------------------------------------------------------


def conduct(
    engine: Engine, g_us: float, seconds: float, cells: int = 200
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of devices of one conductance, `seconds` after their pulse."""
    shape = (1, cells, 200)
    conductance = np.full((1, 2, cells, 200), g_us, np.float32)
    before, (mean, variance) = conductance.copy(), np.empty((2, *shape), np.float32)
    state = (conductance, np.zeros(shape, np.uint8), np.zeros(shape, np.float32))
    fits, parameters = (
        state_fits(Drift(), ReadNoise()),
        state_parameters(SCALE_US, Drift(), ReadNoise()),
    )
    clock, select = np.array([seconds]), np.full((1, 1, 1), 1, np.uint8)
    at = (clock, select, IDENTITY, fits, parameters, ALIKE, NO_SLOW_NOISE)
    engine.drift(*state, *at, 0, mean, variance)
    np.testing.assert_array_equal(conductance, before)  # drift is evaluated, never written
    return mean.ravel().astype(np.float64), variance.ravel().astype(np.float64)


def published_nu(x: float) -> tuple[float, float]:
    """HERMES, one device (physics.md, section 3.3)."""
    log_x = np.log(x)
    low_mean = float(np.clip(-0.0387 * log_x - 0.0182, 0.072, 0.13))
    low_std = float(np.clip(-0.0120 * log_x - 0.0023, 0.0124, 0.04))
    return (
        low_mean if x < 0.0945 else -0.0436 * x**2 - 0.0126 * x + 0.0736,
        low_std if x < 0.3039 else -0.0165 * x**2 + 0.0116 * x + 0.0104,
    )


@TWINS
@pytest.mark.parametrize("x", [0.002, 0.01, 0.05, 0.09, 0.1, 0.3, 0.31, 0.6, 1.0, 1.3])
def test_drift_exponents_are_the_published_ones(engine: Engine, x: float) -> None:
    """nu = |N(mean(x), std(x))| over 40,000 devices; beyond x = 1 the fits are clamped."""
    mean, std = published_nu(min(x, 1))
    g = x * SCALE_US
    now, _ = conduct(engine, g, 20.0 * 1e4)
    nu = -np.log(now / g) / np.log(1e4)
    folded = stats.foldnorm(mean / std, scale=std)
    average, variance, _, excess = (float(value) for value in folded.stats("mvsk"))
    hold_mean(nu, average, np.sqrt(variance))
    hold_std(nu, np.sqrt(variance), excess)


@TWINS
def test_a_drift_exponent_is_recovered_by_regression(engine: Engine) -> None:
    """Over ten times from 1 ms to a year, every device lies on a line in log-log."""
    g, x = 6.0, 6.0 / SCALE_US
    times = np.geomspace(1e-3, 3e7, 10)
    log_g = np.stack([np.log(conduct(engine, g, t, cells=5)[0]) for t in times])
    log_t = np.log(times / 20)[:, None]
    centred = log_t - log_t.mean()
    slope = (centred * log_g).sum(axis=0) / (centred**2).sum()
    residual = log_g - log_g.mean(axis=0) - slope * centred
    z = pcm.cell_normals(IDENTITY, (1, 2, 5, 200), 0, philox.DRIFT)[0, 0].ravel()
    fits = [FitParameters(*row) for row in state_fits(Drift(), ReadNoise()).astype(np.float64)]
    plain = (np.zeros(1), (np.ones(1), np.zeros(1)))
    state = (np.full(z.shape, g), log_t, z, np.full(z.shape, x), fits)
    now, error, *_ = tolerances.drifted(*state, *plain)
    bound = (error / now).max() + 2 * tolerances.EPS  # of every log_g, with a rounding of the time
    assert np.abs(residual).max() < 3 * bound  # itself, its mean's, and at most as much by slope
    mean, std = published_nu(x)
    by_points = bound * np.abs(centred).sum() / (centred**2).sum()
    np.testing.assert_allclose(-slope, np.abs(mean + std * z), rtol=0, atol=by_points)
    early, on = (conduct(engine, g, t, cells=5)[0] for t in (1e-6, 1e-3))
    np.testing.assert_array_equal(early, on)


@TWINS
@pytest.mark.parametrize("x", [0.005, 0.1, 0.2, 0.9])
def test_read_noise_is_the_published_one(engine: Engine, x: float) -> None:
    """std = g(t) Q(x) sqrt(ln((window + t_read) / (2 t_read))), HERMES, one device."""
    mean, variance = conduct(engine, x * SCALE_US, 200.0, cells=2)
    q = 0.0664 * x**3 - 0.1352 * x**2 + 0.0768 * x + 0.0088
    if x < 0.1591:
        q = np.clip(-0.0078 * np.log(x) + 0.0038, 0.0179, 0.04)
    band = np.log((34e-6 + 512e-9) / (2 * 512e-9))
    # Constants rounded once each, a handful of operations of which one is a logarithm.
    np.testing.assert_allclose(variance, (mean * q) ** 2 * band, rtol=40 * tolerances.EPS)


# --- the gradient ---------------------------------------------------------------------------------


def estimates(
    engine: Engine, x: np.ndarray, y: np.ndarray, targets: np.ndarray, kappa: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Each cell's error as an engine estimates it, and which are beyond kappa standard errors:
    from the amplitudes along a line of 2**-6 µS a code, 2**-12 µS a level."""
    shape = (1, *targets.shape)
    level = np.full(shape, 128 * 64, np.int16)
    fire, code = np.empty((2, *shape), np.uint8)
    engine.gradient_pulses(
        *(x[None], np.zeros(1, np.int32), NO_PATTERN),
        y[None].astype(np.float32),
        targets[None].astype(np.float32),
        *(F32(1), np.zeros(256, np.float32), np.zeros(shape, np.float32)),
        *np.zeros((2, *shape), np.uint8),
        np.full(shape, NONE, np.uint8),
        level,
        np.zeros(shape, np.int8),
        np.full(shape, 128, np.uint8),
        np.arange(255, -1, -1, dtype=np.float32) * F32(2**-6),
        *(np.zeros(256, np.float32), ALIKE, np.zeros((4, 0), np.float32)),
        StepParameters(*(F32(value) for value in (0, kappa, 1, 255, 2**-6, 2))),
        fire,
        code,
    )
    return (level[0] - 128 * 64) * 2.0**-12, fire[0] != NONE


@TWINS
def test_the_gradient_estimates_errors(engine: Engine) -> None:
    """Over 400 batches of uniform inputs every cell's mean is its error, but for 1/batch.

    A column's mean is taken off its outputs, and with it a part of 1/batch of the signal: for
    inputs symmetric about zero, E[sum (x - mean)² / sum x²] = 1 - 1/batch.
    """
    generator = np.random.default_rng(4)
    rows, width, batch, repeats = 12, 9, 32, 400
    targets, error = (generator.normal(0, std, (rows, width)) for std in (5, 0.1))
    found = np.empty((repeats, rows, width))
    for step in range(repeats):
        x = engine.inputs(INPUT_KINDS["uniform"], KEY, step, batch, rows)
        noise = generator.normal(0, 0.1, (batch, width)) + 3  # an offset does no harm
        y = x.astype(np.float64) @ (targets + error) + noise
        found[step] = estimates(engine, x, y, targets)[0]
    z = (found.mean(axis=0) - error * (1 - 1 / batch)) / (found.std(axis=0) / np.sqrt(repeats))
    assert np.abs(z).max() < tolerances.SIGMAS
    hold_std(z, 1)


@TWINS
def test_standard_error_of_the_gradient(engine: Engine) -> None:
    """Where there is no error, an estimate over its standard error has a known distribution.

    The squared ratio over B is the share of one direction among the B - 1 of the outputs off their
    mean, times the share of x² that is off its own: a Beta(1/2, (B - 2) / 2) number.
    """
    generator = np.random.default_rng(5)
    rows, width, batch, std = 8, 4000, 256, 0.2
    x = engine.inputs(INPUT_KINDS["uniform"], KEY, 9, batch, rows)
    y = generator.normal(0, std, (batch, width))
    found, _ = estimates(engine, x, y, np.zeros((rows, width)))
    power = (x.astype(np.float64) ** 2).sum(axis=0)
    share = 1 - batch * x.astype(np.float64).mean(axis=0) ** 2 / power
    for row in range(rows):
        exact = std * np.sqrt(share[row] / power[row])
        hold_mean(found[row], 0, exact)
        hold_std(found[row], exact)
    for kappa in (0.5, 1.0, 2.0):
        _, beyond = estimates(engine, x, y, np.zeros((rows, width)), kappa)
        expected = stats.beta.sf(kappa**2 / (batch * share), 0.5, (batch - 2) / 2)
        bound = tolerances.SIGMAS * np.sqrt(expected * (1 - expected) / width)
        assert (np.abs(beyond.mean(axis=1) - expected) < bound).all()
