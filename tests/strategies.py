"""Hypothesis strategies of what the engines take, within the physical domain, and calls of both.

A call is a dict of arguments by name, in the Protocol's order.  Array contents come from a seeded
generator, so that an example shrinks to a small shape and a small seed.
"""

import inspect
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import strategies as st

from fastaimc.config import Drift, MeltQuench, ReadNoise, StateFit
from fastaimc.config.device import state_fits, state_parameters
from fastaimc.engine import NO_PATTERN, load
from fastaimc.parameters import ALIKE, F32, mask_dtype
from fastaimc.reference.inputs import inputs as random_inputs
from fastaimc.reference.inputs import pattern as random_pattern

REFERENCE, NUMBA = load("reference"), load("numba")
TWINS = pytest.mark.parametrize("engine", [REFERENCE, NUMBA], ids=["reference", "numba"])
NONE = 255  # no device
DEVICES_OF_A_CELL = [2, 4, 6, 8, 10, 16]  # beyond eight, masks have two bytes
TOP = 255 * 64  # the highest level of an amplitude

Call = dict[str, Any]

# What a function changes in place; all other arguments are left alone.
DEVICES = ("conductance", "last_device", "last_s")
CELLS = ("device", "filled", "level", "swing", "aim")
IN_PLACE: dict[str, tuple[str, ...]] = {
    "pulse": DEVICES,
    "write": DEVICES,
    "drift": ("mean", "variance"),
    "faults": ("kind",),
    "increment": (*DEVICES, "memory"),
    "allocate": ("device", "filled", "aim", "surplus", "rest"),
    "gradient_pulses": ("total", "count", *CELLS, "fire", "code"),
    "estimate_pulses": ("error", "age", "variance", *CELLS, "fire", "code"),
    "estimate_wires": ("mean", "variance"),
    "relax_wires": ("out",),
    "verify_pulses": ("total", "count", *CELLS, "fire", "code"),
}


# --- calls --------------------------------------------------------------------------------------


class Result(NamedTuple):
    """What a function returned, and what it wrote into its arguments."""

    out: Any
    written: dict[str, np.ndarray]


def run(engine: Any, name: str, call: Call, read_only: bool = False) -> Result:
    """Call a function of an engine on copies; fail if it changes what it should only read."""
    function = getattr(engine, name)
    own = IN_PLACE.get(name, ())
    given = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in call.items()}
    assert list(given) == list(inspect.signature(getattr(REFERENCE, name)).parameters)
    for key, value in given.items():
        if isinstance(value, np.ndarray):
            assert value.flags.c_contiguous
            value.flags.writeable = key in own or not read_only
    out = function(*given.values())
    for key, value in call.items():
        if isinstance(value, np.ndarray) and key not in own:
            np.testing.assert_array_equal(given[key], value, err_msg=f"{name} changed {key}")
    return Result(out, {key: given[key] for key in own})


def twins(name: str, call: Call) -> tuple[Result, Result]:
    """Return what the kernel and the reference make of a call, of equal dtypes and shapes."""
    found, expected = run(NUMBA, name, call), run(REFERENCE, name, call)
    if expected.out is None:
        assert found.out is None
    else:
        assert (found.out.dtype, found.out.shape) == (expected.out.dtype, expected.out.shape)
    return found, expected


def accepts_read_only(name: str, call: Call) -> None:
    """Hold a kernel to the same bits where all that it should only read is read-only."""
    found, expected = run(NUMBA, name, call, read_only=True), run(NUMBA, name, call)
    assert (found.out is None) == (expected.out is None)
    if expected.out is not None:
        np.testing.assert_array_equal(found.out, expected.out)
    for key, value in expected.written.items():
        np.testing.assert_array_equal(found.written[key], value)


# --- sizes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Size:
    """Largest shapes of an example; some column counts stand beside the blocks' edges."""

    tiles: int
    rows: int
    columns: int
    batch: int


# Without the compiler an example takes a thousand times longer.
TINY = Size(tiles=2, rows=6, columns=7, batch=8)
LINES = Size(tiles=2, rows=128, columns=150, batch=1)  # transforms, where rows are many
WIDE = Size(tiles=3, rows=33, columns=300, batch=40)
SIZES = pytest.mark.parametrize(
    "size", [pytest.param(TINY, id="tiny", marks=pytest.mark.nojit), pytest.param(WIDE, id="wide")]
)
EDGES = (1, 3, 4, 63, 64, 65, 67, 128, 129, 256, 257)

seeds = st.integers(0, 2**32 - 1)
steps = st.integers(0, 2**32 - 1)
numbers = st.one_of(  # of a vector; around 2**32 the counter's next word takes over
    st.integers(0, 2**47), st.integers(2**32 - 20, 2**32 + 20)
)
half_codes = st.sampled_from([None, *range(2, 17)]).map(
    lambda bits: F32(0 if bits is None else 2 ** (bits - 1) - 1)
)

# Beyond plain columns also the sign alone, and codes of one sign.
any_codes = half_codes | st.sampled_from([F32(0.5), F32(-1), F32(-255), F32(-65535)])


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(float(F32(low)), float(F32(high)), width=32, allow_subnormal=False)


@st.composite
def shapes(draw: st.DrawFn, size: Size) -> tuple[int, int, int]:
    """(tile, row, column)."""
    edges = [edge for edge in EDGES if edge <= size.columns]
    columns = draw(st.one_of(st.sampled_from(edges), st.integers(1, size.columns)))
    return draw(st.integers(1, size.tiles)), draw(st.integers(1, size.rows)), columns


def identities(generator: np.random.Generator, tiles: int) -> np.ndarray:
    return generator.integers(0, [2**32, 2**32, 2**16], (tiles, 3), dtype=np.uint32)


def normals(generator: np.random.Generator, shape: tuple[int, ...], std: float) -> np.ndarray:
    return generator.normal(0, std, shape).astype(np.float32)


# --- crossbars ------------------------------------------------------------------------------------


@st.composite
def adcs(draw: st.DrawFn, generator: np.random.Generator, tiles: int, width: int) -> Call:
    """Plain columns, or ones with dead time, noise and range of their own; full scale to come."""
    spread = draw(st.sampled_from([0, 0.03, 0.15]))
    columns = np.clip(normals(generator, (tiles, 4, width), spread), -0.4, 0.4)
    plain = draw(st.booleans())
    if not plain:
        more = generator.uniform(0, 1, (tiles, 3, width)).astype(np.float32)
        more[:, 0] *= draw(st.sampled_from([0, 0.3, 10]))
        more[:, 1] *= draw(st.sampled_from([0, 0.02]))
        more[:, 2] = 0.25 + more[:, 2]
        columns = np.concatenate([columns, more], axis=1)
    return {
        "columns": columns,
        "full_scale": np.ones(tiles, np.float32),
        "half_codes": draw(half_codes if plain else any_codes),
    }


@st.composite
def crossbar_calls(draw: st.DrawFn, size: Size, rows_alone: bool = False) -> Call:
    """MVMs, or reads of single rows; the ADC's range is exceeded here and there."""
    generator = np.random.default_rng(draw(seeds))
    tiles, rows, width = shape = draw(shapes(size))
    mean = normals(generator, shape, draw(floats(1, 20)))
    noise = draw(st.sampled_from([0.0, 0.01, 0.5]))
    groups = draw(st.integers(1, 3))
    batch = draw(st.integers(0, size.batch))
    span = draw(floats(0.3, 5)) * float(np.sqrt(1 if rows_alone else rows)) * mean.std()
    adc = draw(adcs(generator, tiles, width))
    adc["full_scale"] = (span + generator.uniform(1, 2, tiles)).astype(np.float32)
    state: Call = {
        "mean": mean,
        "variance": (noise * generator.uniform(0, 2, shape)).astype(np.float32),
        "identity": identities(generator, tiles),
    }
    if rows_alone:
        first = draw(st.integers(0, 1000))
        chosen = first + generator.integers(0, rows, draw(st.integers(0, rows + 2)))
        return {"rows": chosen, "first": first, **state, "step": draw(steps), **adc}
    x = generator.uniform(-1, 1, (groups, batch, rows)).astype(np.float32)
    group = generator.integers(0, groups, tiles).astype(np.int32)
    return {"x": x, "group": group, "pattern": NO_PATTERN, **state, "number": draw(numbers), **adc}


@st.composite
def lines(draw: st.DrawFn, tiles: int, rows: int) -> Call:
    """Lines of a Hadamard matrix, with an amplitude and a sign of its own for every row."""
    seed, step, batch = draw(seeds), draw(steps), draw(st.sampled_from([64, 100, 128]))
    generator = np.random.default_rng(seed)
    key = generator.integers(0, 2**32, 2, dtype=np.uint32)
    amplitude = generator.uniform(-1, 1, rows).astype(np.float32)
    if draw(st.booleans()):
        amplitude[generator.integers(rows)] = 0
    return {
        "x": random_inputs(3, key, step, batch, rows)[None] * amplitude,
        "group": np.zeros(tiles, np.int32),
        "pattern": random_pattern(key, step, batch, rows),
    }


# --- devices ------------------------------------------------------------------------------------


@st.composite
def melt_quench(draw: st.DrawFn) -> MeltQuench:
    return MeltQuench(
        g_set_us=draw(floats(5, 30)),
        decades=draw(floats(1, 2.5)),
        centre_ua=draw(floats(150, 250)),
        width_ua=draw(floats(10, 20)),
        g_set_spread=draw(floats(0, 0.3)),
        centre_spread=draw(floats(0, 0.1)),
        width_spread=draw(floats(0, 0.1)),
        jitter_ua=draw(floats(0, 3)),
        floor_us=draw(floats(0, 0.2)),
        current_min_ua=draw(floats(80, 150)),
        current_max_ua=draw(floats(300, 600)),
        decades_spread=draw(st.just(0.0) | floats(0, 0.1)),
        jitter_spread=draw(st.just(0.0) | floats(0, 1)),
        floor_spread=draw(st.just(0.0) | floats(0, 1)),
        compliance_ua=draw(st.none() | floats(215, 400)),  # beyond the highest knee
    )


@st.composite
def device_states(draw: st.DrawFn, size: Size) -> tuple[np.random.Generator, Call]:
    """Devices from RESET to beyond SET, and unformed ones; with a tile's clock and the seed."""
    generator = np.random.default_rng(draw(seeds))
    tiles, rows, width = shape = draw(shapes(size))
    devices = draw(st.sampled_from(DEVICES_OF_A_CELL))
    full = (tiles, devices, rows, width)
    g = np.exp(generator.uniform(np.log(0.005), np.log(30), full)).astype(np.float32)
    g[generator.random(full) < 0.1] = 0
    clock_s = 10 ** generator.uniform(-6, draw(floats(-5, 8)), tiles)
    return generator, {
        "conductance": g,
        "last_device": any_devices(generator, shape, devices),
        "last_s": (clock_s[:, None, None] * generator.uniform(0, 1, shape)).astype(np.float32),
        "clock_s": clock_s,
        "identity": identities(generator, tiles),
    }


def any_significance(generator: np.random.Generator, devices: int) -> np.ndarray:
    """Factors of the devices of a cell, the same for both polarities; or none: all are 1."""
    if generator.random() < 0.5:
        return ALIKE
    half = np.exp2(generator.uniform(-2, 4, devices // 2)).astype(np.float32)
    return np.concatenate([half, half])


def any_devices(generator: np.random.Generator, shape: tuple[int, ...], devices: int) -> np.ndarray:
    """A device of each cell, or none."""
    device = generator.integers(0, devices, shape).astype(np.uint8)
    device[generator.random(shape) < 0.2] = NONE
    return device


def any_filled(generator: np.random.Generator, device: np.ndarray, devices: int) -> np.ndarray:
    """Bits of the SET ones among a cell's other devices of its polarity, or no handing over."""
    half = devices // 2
    polarity = np.where(device < half, 2**half - 1, (2**half - 1) << half)
    own = np.where(device == NONE, 0, 1 << np.minimum(device, devices).astype(int))
    some = generator.integers(0, 2**16, device.shape) & polarity & ~own
    filled = some & 255 | some >> 8  # bit d mod 8 is that of device d
    return np.where(generator.random(device.shape) < 0.2, NONE, filled).astype(np.uint8)


@st.composite
def pulse_calls(draw: st.DrawFn, size: Size) -> Call:
    generator, state = draw(device_states(size))
    shape, devices = state["last_s"].shape, state["conductance"].shape[1]
    return {
        **{key: state[key] for key in DEVICES},
        "device": any_devices(generator, shape, devices),
        "code": generator.integers(0, 256, shape).astype(np.uint8),
        "clock_s": state["clock_s"],
        "step": draw(steps),
        "identity": state["identity"],
        "parameters": draw(melt_quench()).parameters(),
    }


PUBLISHED = [  # spreads of writes: physics.md, section 3.3
    (0.26348, 1.9650, -1.1731, 0, 0),
    (0.16603222, 4.71806468, -8.48101252, 4.68961419, 0),
    (0.348, 16.030, -43.853, 45.393, -16.815),
]


@st.composite
def write_calls(draw: st.DrawFn, size: Size) -> Call:
    """Values from zero to beyond the range of the spread's fit."""
    call = draw(pulse_calls(size))
    generator, scale = np.random.default_rng(draw(seeds)), draw(floats(5, 40))
    value = (generator.uniform(0, 1.2, call["code"].shape) * scale).astype(np.float32)
    value[generator.random(value.shape) < 0.1] = 0
    values = {"value" if k == "code" else k: v for k, v in call.items() if k != "parameters"}
    coefficients = np.array(draw(st.sampled_from(PUBLISHED)), np.float32)
    return values | {
        "value": value,
        "inverse_scale": F32(1 / scale),
        "coefficients": coefficients,
    }


@st.composite
def fits(draw: st.DrawFn, of_log: bool = False) -> StateFit:
    low = draw(floats(0, 0.05))
    return StateFit(
        split=draw(floats(0.001, 1.1)),
        slope=draw(floats(-0.05, 0)),
        offset=draw(floats(-0.03, 0.03)),
        low=low,
        high=low + draw(floats(0, 0.1)),
        cubic=(draw(floats(0, 0.1)), *(draw(floats(-0.05, 0.05)) for _ in range(3))),
        of_log=of_log,
    )


@st.composite
def slow_noises(draw: st.DrawFn, tiles: int) -> np.ndarray:
    """Octaves of every tile, or of all alike; none, some of which nothing is left."""
    generator = np.random.default_rng(draw(seeds))
    shape = (draw(st.sampled_from([1, tiles])), draw(st.sampled_from([0, 0, 1, 3])))
    period = generator.integers(0, 2**32, shape)
    octave = generator.integers(0, 2**16, shape)
    std = generator.uniform(0, 1, shape) * (generator.random(shape) < 0.8)
    return np.stack([period, octave, std], axis=-1).astype(np.float64)


@st.composite
def drift_calls(draw: st.DrawFn, size: Size) -> Call:
    generator, state = draw(device_states(size))
    shape, devices = state["last_s"].shape, state["conductance"].shape[1]
    drift = Drift(t_ref_s=draw(floats(1, 40)), t_on_s=draw(floats(1e-4, 1)))
    noise = ReadNoise(
        spread=draw(st.just(0.0) | floats(0, 1)), floor_us=draw(st.just(0.0) | floats(0, 0.2))
    )
    if draw(st.booleans()):
        drift = Drift(mean=draw(fits()), std=draw(fits()), t_ref_s=drift.t_ref_s)
        noise = replace(noise, q=draw(fits(draw(st.booleans()))))
    onset = draw(st.just(0.0) | floats(0, 3))
    drift = replace(drift, t_on_spread=onset, redraw=draw(st.booleans()))
    on = draw(st.sampled_from([(drift, noise), (drift, noise), (None, noise), (drift, None)]))
    first = draw(st.integers(0, shape[1]))
    part = (shape[0], draw(st.integers(0, shape[1] - first)), shape[2])
    mask = mask_dtype(devices)
    select = np.full((1, 1, 1), draw(st.integers(0, 2**devices - 1)), mask)
    if draw(st.booleans()):
        select = generator.integers(0, 2**devices, shape).astype(mask)
    return {
        **{key: state[key] for key in (*DEVICES, "clock_s")},
        "select": select,
        "identity": state["identity"],
        "fits": state_fits(*on),
        "parameters": state_parameters(draw(floats(5, 25)), *on),
        "significance": any_significance(generator, devices),
        "slow": draw(slow_noises(shape[0])),
        "first": first,
        "mean": np.full(part, np.nan, np.float32),
        "variance": np.full(part, np.nan, np.float32),
    }
