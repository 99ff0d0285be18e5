"""Strategies of measurements, and of what a controller knows of its cells."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from strategies import (
    DEVICES_OF_A_CELL,
    IN_PLACE,
    TOP,
    Call,
    Result,
    Size,
    any_devices,
    any_filled,
    any_significance,
    floats,
    lines,
    melt_quench,
    normals,
    seeds,
    shapes,
)

from fastaimc.config import MeltQuench
from fastaimc.engine import NO_PATTERN
from fastaimc.parameters import F32, BeliefParameters, StepParameters
from fastaimc.reference.inputs import inputs as random_inputs


def nominal_curve(device: MeltQuench) -> tuple[np.ndarray, np.ndarray]:
    """Nominal conductance and scatter of every code, (256,), float32, µS."""
    s = 1 / (1 + np.exp(-(device.currents_ua() - device.centre_ua) / device.width_ua))
    g = device.g_set_us * 10 ** (-device.decades * s)
    slope = g * device.decades * np.log(10) * s * (1 - s) / device.width_ua
    scatter = np.hypot(slope * device.jitter_ua, device.floor_us)
    return g.astype(np.float32), scatter.astype(np.float32)


@st.composite
def step_arguments(
    draw: st.DrawFn, generator: np.random.Generator, shape: tuple[int, int, int]
) -> Call:
    """What both functions that choose pulses take, from `device` on."""
    curve, scatter = nominal_curve(draw(melt_quench()))
    devices = draw(st.sampled_from(DEVICES_OF_A_CELL))
    level = generator.integers(0, TOP + 1, shape).astype(np.int16)
    level[generator.random(shape) < 0.2] = TOP
    level[generator.random(shape) < 0.2] = 0
    device = any_devices(generator, shape, devices)
    return {
        "device": device,
        "filled": any_filled(generator, device, devices),
        "level": level,
        "swing": generator.integers(-5, 6, shape).astype(np.int8),
        "aim": generator.integers(0, 256, shape).astype(np.uint8),
        "curve": curve,
        "scatter": scatter,
        "significance": any_significance(generator, devices),
        "change": np.zeros((4, 0), np.float32),
        "parameters": StepParameters(
            margin=F32(draw(st.sampled_from([0.0, 0.5, 2.0]))),
            kappa=F32(draw(st.sampled_from([0.0, 1.0, 3.0]))),
            gain=F32(draw(floats(0.1, 2))),
            max_step=F32(draw(floats(1, 255))),
            steepest=F32(np.diff(-curve).max() * draw(floats(1, 2))),
            devices=F32(devices),
        ),
        "fire": np.full(shape, 77, np.uint8),
        "code": np.full(shape, 77, np.uint8),
    }


@st.composite
def gradient_calls(draw: st.DrawFn, size: Size, in_lines: bool = False) -> Call:
    """A batch and what controllers know; `in_lines`: with the pattern of Hadamard inputs."""
    generator = np.random.default_rng(draw(seeds))
    tiles, rows, _ = shape = draw(shapes(size))
    groups = draw(st.integers(1, 2))
    pattern = NO_PATTERN
    batch = draw(st.integers(0, size.batch))
    key, kind = generator.integers(0, 2**32, 2, dtype=np.uint32), draw(st.integers(0, 3))
    x = np.zeros((groups, batch, rows), np.float32)
    for step in range(groups if batch else 0):
        x[step] = random_inputs(kind, key, step, batch, rows)
    if draw(st.booleans()):
        x[:, :, generator.integers(rows)] = 0  # a row that is never driven
    group = generator.integers(0, groups, tiles).astype(np.int32)
    if in_lines:
        x, group, pattern = draw(lines(tiles, rows)).values()
    targets = normals(generator, shape, draw(floats(0.1, 20)))
    held = targets + normals(generator, shape, 10 ** draw(floats(-3, 1)))
    y = x[group] @ held + normals(generator, (tiles, 1, shape[2]), draw(floats(0, 5)))
    y += normals(generator, y.shape, draw(floats(0, 5)))
    return {
        "x": x,
        "group": group,
        "pattern": pattern,
        "y": y.astype(np.float32),
        "targets": targets,
        **drifting(generator),
        **before(generator, held - targets),
        **draw(step_arguments(generator, shape)),
    }


@st.composite
def estimate_calls(draw: st.DrawFn, size: Size, in_lines: bool = False) -> Call:
    """A batch and what is known of cells' errors; some are known exactly, or not at all."""
    call = draw(gradient_calls(size, in_lines))
    generator = np.random.default_rng(draw(seeds))
    shape = call["targets"].shape
    held = normals(generator, shape, 10 ** draw(floats(-3, 1)))
    variance = np.abs(normals(generator, shape, 10 ** draw(floats(-4, 2))))
    variance[generator.random(shape) < 0.1] = 0
    cells = ("device", "filled", "level", "swing", "aim", "curve", "scatter", "significance")
    belief = (draw(floats(0.01, 1)), *(draw(floats(0, 2)) for _ in range(3)))
    return {
        **{name: call[name] for name in ("x", "group", "pattern", "y", "targets", "gain")},
        "ahead": generator.uniform(0, 0.1, (256, 256)).astype(np.float32),
        "error": held,
        "age": generator.choice(np.array([0, 1, 2, 30, 254, 255], np.uint8), shape),
        "variance": variance,
        **{name: call[name] for name in (*cells, "change")},
        "belief": BeliefParameters(*map(F32, belief)),
        **{name: call[name] for name in ("parameters", "fire", "code")},
    }


def predicted(call: Call) -> np.ndarray:
    """What the cells of a call are to show now and are known to be off, float32 in float64."""
    extra = call["ahead"][call["age"], call["aim"]] * factors(call, call["device"])
    now = call["targets"] * call["gain"] + np.sign(call["targets"]) * extra
    return np.asarray(now + call["error"], np.float32).astype(np.float64)


def drifting(generator: np.random.Generator) -> Call:
    """What cells are to show beyond their targets."""
    return {
        "gain": F32(generator.uniform(1, 1.2)),
        "ahead": generator.uniform(0, 0.1, 256).astype(np.float32),
    }


def factors(call: Call, device: np.ndarray) -> np.ndarray:
    """Significance of devices, float32; 1 where there is none."""
    table = np.ones(256, np.float32)
    table[: call["significance"].size] = call["significance"]
    return table[device]


def shown(call: Call) -> np.ndarray:
    """What the cells of a call are to show now, float32."""
    targets, extra = call["targets"], call["ahead"][call["aim"]] * factors(call, call["device"])
    return np.asarray(targets * call["gain"] + np.sign(targets) * extra, np.float32)


def before(generator: np.random.Generator, mean: np.ndarray) -> Call:
    """Sums and numbers of what cells have shown since their last pulses."""
    count = generator.choice(np.array([0, 1, 2, 30, 254, 255], np.uint8), mean.shape)
    return {"total": (mean * count).astype(np.float32), "count": count}


@st.composite
def verify_calls(draw: st.DrawFn, size: Size) -> Call:
    generator = np.random.default_rng(draw(seeds))
    tiles, _, width = shape = draw(shapes(size))
    scale = 10 ** draw(floats(-5, 1))  # of errors; the small ones meet the flat ends of the curve
    targets = normals(generator, shape, scale * draw(floats(0, 10)))
    dark = normals(generator, (tiles, width), scale)
    reads = targets[None] + normals(generator, (2, *shape), scale)
    first = draw(st.integers(0, shape[1] - 1))
    some = draw(st.integers(1, shape[1] - first))
    return {
        "reading": (reads[0] + dark[:, None, :])[:, first : first + some],
        "first": first,
        "dark": dark,
        "targets": targets,
        **drifting(generator),
        **before(generator, reads[1]),
        "read_std": (scale * generator.uniform(0, 1, tiles)).astype(np.float32),
        **draw(step_arguments(generator, shape)),
    }


def rows_read(call: Call, *results: Result) -> tuple[Any, ...]:
    """A call and its results in the rows that were read; the others have not changed."""
    rows = slice(call["first"], call["first"] + call["reading"].shape[1])
    keys = IN_PLACE["verify_pulses"]
    cut = []
    for result in results:
        for key in keys:
            kept = np.delete(result.written[key], np.r_[rows], axis=1)
            np.testing.assert_array_equal(kept, np.delete(call[key], np.r_[rows], axis=1))
        cut.append(Result(result.out, {key: result.written[key][:, rows] for key in keys}))
    own = {key: call[key][:, rows] for key in (*keys, "targets")}
    return {**call, "first": 0, **own}, *cut
