"""Devices of counted pulses: the kernel against its reference, and both against closed forms."""

from typing import Any

import numpy as np
import pytest
import strategies
import tolerances
import tolerances_devices
from hypothesis import given
from hypothesis import strategies as st
from strategies import DEVICES, NONE, NUMBA, SIZES, TINY, TWINS, Call, Size, floats

from fastaimc.config import AccumulativeSet, ExponentialStep, PulseTable, SoftBounds
from fastaimc.config.incremental import FULL_RESET, has_memory, trajectory
from fastaimc.engine import Engine
from fastaimc.parameters import IncrementParameters
from fastaimc.reference import philox
from fastaimc.reference.increments import own_devices
from fastaimc.reference.pcm import cell_normals

SIDE = 200
IDENTITY = np.array([[1, 2, 3]], np.uint32)


@st.composite
def counted_devices(draw: st.DrawFn) -> Any:
    """Each of the models, with parameters of its own."""
    spreads = {name: draw(floats(0, 0.3)) for name in ("step_spread", "asymmetry_spread")}
    stepped = spreads | {"bound_spread": draw(floats(0, 0.1)), "jitter": draw(floats(0, 1))}
    high = draw(floats(5, 30))
    return draw(
        st.sampled_from(
            [
                AccumulativeSet(
                    high_us=high,
                    memory_pulses=draw(floats(0.5, 10)),
                    step_spread=spreads["step_spread"],
                    high_spread=draw(floats(0, 0.1)),
                ),
                AccumulativeSet(mean_memory_us=0.0, std_memory_us=0.0),
                SoftBounds(high_us=high, step=draw(floats(1e-3, 0.1)), **stepped),
                ExponentialStep(high_us=high, step=draw(floats(1e-3, 0.1)), **stepped),
                PulseTable(
                    conductance_us=(0.0, 3.0, high),
                    up_mean_us=(0.5, 0.3, 0.0),
                    up_std_us=(0.1, 0.5, 0.1),
                    down_mean_us=(0.0, -0.1, -0.3),
                    down_std_us=(0.0, 0.1, 0.2),
                    step_spread=spreads["step_spread"],
                ),
            ]
        )
    )


@st.composite
def increment_calls(draw: st.DrawFn, size: Size) -> Call:
    """Up to a dozen pulses, up or down, and full RESETs."""
    part = draw(counted_devices())
    generator, state = draw(strategies.device_states(size))
    shape, full = state["last_s"].shape, state["conductance"].shape
    memory = generator.choice(np.array([0, 1, 5, 254, 255], np.uint8), full)
    code = generator.integers(-5, 12, shape).astype(np.int8)
    code[generator.random(shape) < 0.1] = FULL_RESET
    return {
        **{key: state[key] for key in DEVICES},
        "memory": memory if has_memory(part) else np.zeros((full[0], 0, *full[2:]), np.uint8),
        "device": strategies.any_devices(generator, shape, full[1]),
        "code": code.view(np.uint8),
        "clock_s": state["clock_s"],
        "step": draw(strategies.steps),
        "identity": state["identity"],
        "steps": part.steps(),
        "parameters": part.parameters(),
    }


@SIZES
@given(data=st.data())
def test_increment(size: Size, data: st.DataObject) -> None:
    call = data.draw(increment_calls(size))
    found, expected = strategies.twins("increment", call)
    np.testing.assert_array_equal(found.out, expected.out)
    for key in ("last_device", "last_s", "memory"):
        np.testing.assert_array_equal(found.written[key], expected.written[key])
    p = IncrementParameters(*(float(value) for value in call["parameters"]))  # type: ignore[arg-type]
    which = (call["identity"], call["conductance"].shape)
    z = np.array([cell_normals(*which, n, philox.STEP_SPREAD) for n in range(4)])
    noise = [cell_normals(*which, call["step"], philox.INCREMENT, n) for n in range(12)]
    count = call["code"].view(np.int8).astype(np.int64)[:, None]
    chosen = np.arange(which[1][1])[:, None, None] == call["device"][:, None]
    number = np.where(chosen & (count != FULL_RESET), np.abs(count), 0)
    pulses = call["memory"] if call["memory"].size else np.zeros(which[1])
    own, d_own = own_devices(*which, p), tolerances_devices.own_devices(z, p)
    bound = tolerances_devices.incremented(
        number, pulses.astype(float), np.array(noise), own, d_own, call["steps"], p
    )
    rest = p.reset_std_us * np.abs(noise[0]) * tolerances.NORMAL_RELATIVE
    bound = np.where(count == FULL_RESET, rest + d_own[2] + 4 * tolerances.EPS * own[3], bound)
    g, exact = (r.written["conductance"].astype(np.float64) for r in (found, expected))
    moved = chosen & (count != 0)
    assert (np.abs(g - exact)[moved] <= bound[moved]).all()
    np.testing.assert_array_equal(g[~moved], call["conductance"][~moved])


@pytest.mark.nojit
@given(call=increment_calls(TINY))
def test_read_only_arguments(call: Call) -> None:
    strategies.accepts_read_only("increment", call)


@SIZES
@given(data=st.data())
def test_device_normals(size: Size, data: st.DataObject) -> None:
    """The numbers that a user's model gets are those of the engine's own devices."""
    call = data.draw(increment_calls(size))
    drawn = {
        "identity": call["identity"],
        "device": call["device"],
        "step": call["step"],
        "purpose": philox.INCREMENT,
        "number_high": data.draw(st.integers(0, 126)),
    }
    found, expected = strategies.twins("device_normals", drawn)
    z = cell_normals(call["identity"], call["conductance"].shape, *list(drawn.values())[2:])
    index = np.where(call["device"] == NONE, 0, call["device"])[:, None].astype(np.int64)
    np.testing.assert_array_equal(
        expected.out, np.take_along_axis(z, index, axis=1)[:, 0].astype(np.float32)
    )
    bound = tolerances.NORMAL_RELATIVE * np.abs(expected.out)
    assert (np.abs(found.out - expected.out) <= bound).all()


# --- closed forms ---------------------------------------------------------------------------------


class Cells:
    """One device in each of 200×200 cells, and the pulses that they get."""

    def __init__(self, engine: Engine, part: Any, low_us: float | None = None) -> None:
        self.engine, self.part, self.step = engine, part, 0
        devices = 2 if has_memory(part) else 0
        start = part.low_us if low_us is None else low_us
        self.g = np.full((1, 2, SIDE, SIDE), start, np.float32)
        self.memory = np.zeros((1, devices, SIDE, SIDE), np.uint8)
        self.last = np.full((1, SIDE, SIDE), NONE, np.uint8), np.zeros((1, SIDE, SIDE), np.float32)

    def pulse(self, count: int) -> np.ndarray:
        """Return what the devices conduct after so many pulses more."""
        self.step += 1
        code = np.full((1, SIDE, SIDE), count & 255, np.uint8)
        self.engine.increment(
            *(self.g, *self.last, self.memory, np.zeros_like(code), code, np.zeros(1), self.step),
            *(IDENTITY, self.part.steps(), self.part.parameters()),
        )
        return self.g[0, 0].astype(np.float64)


@TWINS
def test_accumulative_set_as_published(engine: Engine) -> None:
    """Mean and spread after 1, 3, 5, 10 and 20 pulses with an upper bound of 20 µS (physics.md,
    section 3.1), to which a sample of 40,000 adds 0.015 µS; and the RESET's own."""
    cells = Cells(engine, AccumulativeSet(high_us=20.0))
    reset = cells.pulse(FULL_RESET)
    assert abs(reset.mean() - 0.1) < 4 * 0.01 / SIDE
    assert abs(reset.std() - 0.01) < 4 * 0.01 / SIDE
    known = {1: (2.06, 1.52), 3: (4.47, 2.21), 5: (5.91, 2.39), 10: (7.83, 2.47), 20: (9.40, 2.68)}
    for pulse in range(1, 21):
        g = cells.pulse(1)
        if pulse in known:
            found, bound = (g.mean(), g.std()), 0.005 + 4 * g.std() / SIDE  # and two digits
            np.testing.assert_allclose(found, known[pulse], rtol=0, atol=bound)
    np.testing.assert_array_equal(cells.memory[0, 0], 20)
    assert (cells.pulse(FULL_RESET) < 0.2).all()
    assert not cells.memory.any()


@TWINS
def test_many_at_once_are_as_one_by_one(engine: Engine) -> None:
    """In distribution: the noise is another."""
    part = AccumulativeSet()
    alone, together = Cells(engine, part), Cells(engine, part)
    for _ in range(7):
        g = alone.pulse(1)
    h = together.pulse(7)
    bound = 4 * np.sqrt(2) * g.std() / SIDE
    assert abs(g.mean() - h.mean()) < bound
    assert abs(g.std() - h.std()) < bound
    np.testing.assert_array_equal(alone.memory, together.memory)


@TWINS
def test_soft_bounds_approach_exponentially(engine: Engine) -> None:
    """Without noise 1 - u falls by a factor 1 - 2 step with each pulse up, and u with one down."""
    part = SoftBounds(step=0.01, jitter=0.0, step_spread=0, asymmetry_spread=0, bound_spread=0)
    cells = Cells(engine, part)
    width = part.high_us - part.low_us
    u = (cells.pulse(50) - part.low_us) / width
    np.testing.assert_allclose(1 - u, 0.98**50, rtol=1e-5)  # fifty times some roundings
    np.testing.assert_allclose((cells.pulse(-20) - part.low_us) / width, u * 0.98**20, rtol=1e-5)


@TWINS
@pytest.mark.parametrize("u", [0.05, 0.5, 0.93])
def test_exponential_step(engine: Engine, u: float) -> None:
    """The published step, of which the table's 257 points leave 1e-4, and 5 % of jitter."""
    part = ExponentialStep(step=1e-3, jitter=0.05, step_spread=0, bound_spread=0)
    start = part.low_us + u * (part.high_us - part.low_us)
    z = part.a * (2 * u - 1) + part.b
    shapes = (1 - part.a_up * np.exp(part.gamma_up * z), part.a_down * np.exp(-part.gamma_down * z))
    for count, shape in ((1, shapes[0]), (-1, shapes[1] - 1)):
        wanted = shape * part.step * (part.high_us - part.low_us)
        change = Cells(engine, part, start).pulse(count) - start
        spread = np.hypot(part.jitter, part.asymmetry_spread) * abs(wanted)
        bound = 4 * spread / SIDE + 1e-4 * abs(wanted) + 2 * tolerances.EPS * start
        assert abs(change.mean() - wanted) < bound
        assert abs(change.std() / spread - 1) < 4 / SIDE + 1e-3


@TWINS
def test_spreads_of_accumulation(engine: Engine) -> None:
    """Without scatter the first pulse is the published mean, times each device's own factor."""
    quiet = {"std_slope": 0.0, "std_us": 0.0, "std_memory_us": 0.0}
    part = AccumulativeSet(step_spread=0.2, **quiet)
    change = Cells(engine, part).pulse(1) - part.low_us
    mean = -0.084 * 0.1 + 0.880 + 1.40 * np.exp(-1 / 2.6)
    assert abs(change.mean() / mean - 1) < 4 * 0.2 / SIDE
    assert abs(change.std() / mean - 0.2) < 4 * 0.2 / SIDE


@TWINS
def test_spreads_belong_to_a_device(engine: Engine) -> None:
    """Without jitter two pulses at the same place take the same step, of the spread asked for."""
    part = SoftBounds(step=0.001, jitter=0.0, step_spread=0.2, bound_spread=0.0)
    first, second = (Cells(engine, part, 10.0).pulse(1) - 10.0 for _ in range(2))
    np.testing.assert_array_equal(first, second)
    relative = first.std() / first.mean()
    assert abs(relative - np.hypot(0.2, 0.01)) < 4 * 0.2 / SIDE


def test_bounds_of_a_device() -> None:
    """Thousands of pulses bring each to its own bound, spread as asked for."""
    part = SoftBounds(step=0.2, jitter=0.0, step_spread=0.0, bound_spread=0.05, low_us=5.0)
    cells = Cells(NUMBA, part)
    for _ in range(3):
        g = cells.pulse(127)
    spread = 0.05 * (part.high_us - part.low_us)
    assert abs(g.std() - spread) < 4 * spread / SIDE
    assert abs(g.mean() - part.high_us) < 4 * spread / SIDE


def test_the_nominal_way_up() -> None:
    """The memory that the mean device has at a conductance is that with which it comes there."""
    part = AccumulativeSet()
    mean, std = trajectory(part)
    g = part.reset_us
    for pulse in range(1, 8):
        memory = np.exp(-pulse / part.memory_pulses)
        step = part.slope * g + part.mean_us + part.mean_memory_us * memory
        place = (g - part.low_us) / (part.high_us - part.low_us) * 256
        assert abs(np.interp(place, np.arange(257), mean) - step) < 0.02  # between points
        wide = part.std_slope * g + part.std_us + part.std_memory_us * memory
        assert abs(np.interp(place, np.arange(257), std) - wide) < 0.03
        g += step
