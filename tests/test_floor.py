"""What IP can reach: read noise is its floor, and nothing types that floor in.

Cells of one device a polarity behind ideal converters, without drift; every read of a device has
the same noise, σ in µS, whatever its state.
"""

import dataclasses

import numpy as np
import pytest
import tolerances

import fastaimc as fa
from fastaimc.config import ADC, DAC, CoreConfig, MeltQuench, ReadNoise, StateFit

SIZE = 128
SCALE_US = 10.35


def config(sigma_us: float) -> CoreConfig:
    """Return a core whose relative noise falls as 1 / x; 0: without noise."""
    level = max(sigma_us, 1e-9) / (SCALE_US * ReadNoise().band ** 0.5)
    fit = StateFit(slope=-1.0, offset=float(np.log(level)), low=-99.0, high=99.0, of_log=True)
    return dataclasses.replace(
        fa.presets.hermes(),
        rows=SIZE,
        columns=SIZE,
        devices_per_polarity=1,
        g_max_us=10.0,
        state_scale_us=SCALE_US,
        device=MeltQuench(jitter_ua=0.1, floor_us=0.01),
        read_noise=ReadNoise(q=fit) if sigma_us else None,
        drift=None,
        compensation="none",
        dac=DAC(bits=None),
        adc=ADC(bits=None, gain_std=0.0, offset_std=0.0, inl_std=0.0),
    )


def error_us(sigma_us: float, method: fa.IterativeProgramming) -> float:
    """Return the root mean square error of the cells, of targets from 3 to 10 µS."""
    rng = np.random.default_rng(3)
    weights = rng.uniform(0.3, 1, (SIZE, SIZE)) * rng.choice([-1, 1], (SIZE, SIZE))
    matrix = fa.program(weights, config(sigma_us), method, seed=1)
    error = matrix.conductances().astype(np.float64) - matrix.targets
    return float(np.sqrt((error**2).mean()))


def test_reads_have_the_noise_that_is_asked_for() -> None:
    core = fa.program(np.eye(8), config(0.5), fa.IterativeProgramming(iterations=1)).core
    only_first = np.full((1, 1, 1), 1, dtype=np.uint8)
    mean, variance = np.empty((2, *core.shape), dtype=np.float32)
    core.conduct(core.clock_s, only_first, (mean, variance))
    inside = mean > 1e-3 * SCALE_US  # of a lesser state the fit takes no less
    inside &= mean < SCALE_US
    np.testing.assert_allclose(variance[inside], 0.25, rtol=1e-5)


@pytest.mark.parametrize("iterations", [25, 100])
@pytest.mark.parametrize("sigma_us", [0.25, 0.5])
def test_one_read_decides_no_better_than_its_noise(sigma_us: float, iterations: int) -> None:
    """Textbook IP ends between σ/√2 and σ, whose square adds to what it leaves without noise.

    A pulse is aimed by one read, and accepted by another that happens to agree with it: two looks
    with an error of σ each leave σ/√2.  Where the margin is wide, the first alone counts: σ.  More
    rounds do not help.
    """
    step = fa.Step(margin=1.0, margin_end=1.0, kappa=0.0, gain=1.0, gain_end=1.0, max_step=1.0)
    method = fa.IterativeProgramming(
        iterations=iterations, verify="device", calibrate=False, step=step
    )
    found, without = (error_us(sigma, method) for sigma in (sigma_us, 0.0))
    slack = 1 + tolerances.SIGMAS / np.sqrt(2 * SIZE**2)  # of a standard deviation
    assert without < found
    assert sigma_us / np.sqrt(2) / slack < found < np.hypot(sigma_us, without) * slack


def test_a_mean_of_reads_goes_below_one_read() -> None:
    """IP as it is here averages the reads since a cell's last pulse: more rounds, less error."""
    found = [
        error_us(1.0, fa.IterativeProgramming(iterations=rounds, calibrate=False))
        for rounds in (6, 25, 100)
    ]
    assert found == sorted(found, reverse=True)
    assert found[1] < 1 / np.sqrt(2)
    assert found[2] < found[1] / 1.5
