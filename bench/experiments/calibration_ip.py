"""IP on a core with given device parameters, and its step tuned to its own least error."""

from __future__ import annotations

import numpy as np
from spread import core_of, error_us, uniform_weights

import fastaimc as fa
from fastaimc.config import ADC, CoreConfig, Drift, MeltQuench, ReadNoise

ROUNDS = 25
SIZE = 128  # of the matrices that searches program
TUNING_SEEDS = (101,)
FIRST_STEPS = 60  # trials of a step that begins far from the best one
WAITS = {"own speed": 0.0, "200 s of waits": 1.0}  # in units of the time until evaluation
STRIDE = 0.3  # of a search: standard deviation of a number's logarithm
FAR = {"t_on_s": 3.0}  # strides longer by so much: only its logarithm matters
MOST = {"g_set_spread": 0.6, "gain": 2.0, "gain_end": 2.0, "max_step": 1.0, "margin": 5.0}

Numbers = dict[str, float]


def core(devices: int, size: int, parameters: Numbers, slow: bool) -> CoreConfig:
    """Return a core of devices with the parameters of a walk, the rest as it is by default."""
    of_device = {name: value for name, value in parameters.items() if name != "t_on_s"}
    config = CoreConfig(
        adc=ADC(cell_lsb_us=0.129, gain_std=0.0, offset_std=0.0, inl_std=0.0),
        device=MeltQuench(**of_device),
        drift=Drift(t_on_s=parameters["t_on_s"]),
        read_noise=ReadNoise(slow=slow),
    )
    return core_of(devices, size, config)


def ip(step: Numbers, waits: float) -> fa.IterativeProgramming:
    """Return IP with a step, and waits shared out evenly."""
    return fa.IterativeProgramming(
        iterations=ROUNDS, fine=True, step=fa.Step(**step), verify_delay=waits / (ROUNDS + 1)
    )


def programmed(config: CoreConfig, method: fa.IterativeProgramming, seed: int) -> fa.AnalogMatrix:
    """Program uniform weights once."""
    weights = uniform_weights(seed, config.rows)
    matrix: fa.AnalogMatrix = fa.program(weights, config, method, seed=seed, threads=1)
    return matrix


def near(values: Numbers, stride: float, rng: np.random.Generator) -> Numbers:
    """Return values changed by a random step of their logarithms."""
    steps = stride * rng.standard_normal(len(values))
    return {
        name: min(value * float(np.exp(FAR.get(name, 1.0) * step)), MOST.get(name, np.inf))
        for (name, value), step in zip(values.items(), steps, strict=True)
    }


def tuned(
    config: CoreConfig, step: Numbers, waits: float, trials: int, rng: np.random.Generator
) -> tuple[Numbers, float]:
    """Return the step near a given one with which IP's error is least, and that error, µS."""
    least = np.inf
    for trial in range(trials):
        new = near(step, STRIDE, rng) if trial else step
        errors = [error_us(programmed(config, ip(new, waits), seed)) for seed in TUNING_SEEDS]
        if (error := float(np.sqrt(np.mean(np.square(errors))))) < least:
            step, least = new, error
    return step, least


def rounded(values: Numbers) -> Numbers:
    """Return values to four digits."""
    return {name: float(f"{value:.4g}") for name, value in values.items()}
