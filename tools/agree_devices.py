"""What counted pulses leave in our devices, beside what is published of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

import fastaimc as fa
from fastaimc import engine as engines
from fastaimc.config import AccumulativeSet, CoreConfig, ExponentialStep, SoftBounds
from fastaimc.config.incremental import FULL_RESET
from fastaimc.core import Core

SIDE = 256
# Mean and standard deviation after so many SET pulses, µS, with an upper bound of 20 µS: by the law
# of Nandakumar et al., J. Appl. Phys. 124, 152135 (2018), worked out elsewhere to two decimals.
ACCUMULATED = {
    1: (2.06, 1.52),
    3: (4.47, 2.21),
    5: (5.91, 2.39),
    10: (7.83, 2.47),
    20: (9.40, 2.68),
}
STEP = 1 / 1200  # of the range: aihwkit's dw_min = 0.001 between -0.6 and 0.6


def single_devices(config: CoreConfig) -> Core:
    """Return a core of which one device in each of 256² cells is looked at."""
    targets = np.ones((1, SIDE, SIDE), dtype=np.float32)
    identity, extents = np.array([[1, 2, 0]], np.uint32), np.array([[SIDE, SIDE]])
    return Core.blank(config, engines.load("numba"), targets, identity, extents)


def pulse_all(core: Core, count: int) -> np.ndarray:
    """Return what the devices conduct after so many pulses, float64, µS."""
    device = np.zeros(core.shape, dtype=np.uint8)
    core.pulse(device, np.full(core.shape, count & 255, dtype=np.uint8))
    return np.asarray(core.conductance[0, 0], dtype=np.float64)


def soft_bounds(u: float, way: int) -> float:
    """Return the step of aihwkit's SoftBoundsDevice, in parts of the range.

    In weights from -0.6 to 0.6 that is dw_min (1 - w / 0.6), or -dw_min (1 + w / 0.6).
    """
    w = 1.2 * u - 0.6
    return 0.001 * (1 - w / 0.6) / 1.2 if way > 0 else -0.001 * (1 + w / 0.6) / 1.2


def exponential_step(u: float, way: int) -> float:
    """Return that of its ExpStepDevice with the default shape."""
    z = 2 * (1.2 * u - 0.6) / 1.2 * 0.244 + 0.2425
    if way > 0:
        return STEP * max(1 - 0.00081 * math.exp(12.44625 * z), 0)
    return -STEP * max(1 - 0.36833 * math.exp(-12.78785 * z), 0)


def counted_devices() -> Iterator[tuple[str, str, float, float]]:
    """Yield model, what, ours and what is published."""
    config = dataclasses.replace(fa.presets.pcm_nandakumar(), device=AccumulativeSet(high_us=20.0))
    core = single_devices(config)
    pulse_all(core, FULL_RESET)
    for pulse in range(1, 21):
        g = pulse_all(core, 1)
        for what, ours, known in zip(
            ("mean", "std"), (g.mean(), g.std()), ACCUMULATED.get(pulse, ()), strict=False
        ):
            yield "Nandakumar 2018", f"{what} after {pulse} pulses, µS", float(ours), known
    for name, kind, law in (
        ("soft bounds", SoftBounds, soft_bounds),
        ("exponential step", ExponentialStep, exponential_step),
    ):
        part = kind(step_spread=0.0, asymmetry_spread=0.0, bound_spread=0.0)
        core = single_devices(dataclasses.replace(config, device=part))
        width = part.high_us - part.low_us
        for u in (0.1, 0.5, 0.9):
            for way in (1, -1):
                core.conductance[:] = start = np.float32(part.low_us + u * width)
                ours = (pulse_all(core, way).mean() - float(start)) / width
                yield f"aihwkit, {name}", f"step {way:+d} at {u}", float(ours), law(u, way)
