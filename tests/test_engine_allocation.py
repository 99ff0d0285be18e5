"""The kernels of a start against their reference: devices that stay SET, and a batch's goal."""

import controllers
import numpy as np
import pytest
import strategies
import tolerances
from hypothesis import given
from hypothesis import strategies as st
from strategies import NONE, SIZES, TINY, TWINS, Call, Size

from fastaimc.engine import Engine
from fastaimc.parameters import ALIKE, F32


@st.composite
def allocation_calls(draw: st.DrawFn, size: Size) -> Call:
    """Targets of zero, and beyond what all devices can show; devices alike, equal or at zero."""
    generator = np.random.default_rng(draw(strategies.seeds))
    shape, half = draw(strategies.shapes(size)), draw(st.integers(1, 8))
    curve, _ = controllers.nominal_curve(draw(strategies.melt_quench()))
    targets = strategies.normals(
        generator, shape, float(curve[0]) * draw(strategies.floats(0.1, 3))
    )
    targets[generator.random(shape) < 0.1] = 0
    of_cells = (half, *(shape if draw(st.booleans()) else (1, 1, 1)))
    values = (curve[0] * generator.uniform(0.5, 1.5, of_cells)).astype(np.float32)
    values[generator.random(of_cells) < 0.2] = curve[0] * draw(st.sampled_from([0, 1]))
    asked = draw(st.booleans())
    return {
        "targets": targets,
        "values": values,
        "curve": curve,
        "significance": strategies.any_significance(generator, 2 * half),
        **{name: np.full(shape, 77, np.uint8) for name in ("device", "filled", "aim")},
        "surplus": np.full((half - 1, *shape), 77, np.uint8),
        "rest": np.full(shape if asked else (0, 0, 0), np.nan, np.float32),
    }


@SIZES
@given(data=st.data())
def test_allocate(size: Size, data: st.DataObject) -> None:
    """Exactly alike; where the curve is flat, one of its codes is as good as the other."""
    call = data.draw(allocation_calls(size))
    found, expected = strategies.twins("allocate", call)
    for name, array in expected.written.items():
        given_ = found.written[name]
        if name == "aim":
            given_, array = call["curve"][given_], call["curve"][array]
        np.testing.assert_array_equal(given_, array, err_msg=name)


@pytest.mark.nojit
@given(call=allocation_calls(TINY))
def test_allocate_of_read_only_targets(call: Call) -> None:
    strategies.accepts_read_only("allocate", call)


@pytest.mark.nojit
@TWINS
@given(call=allocation_calls(TINY))
def test_what_is_held_adds_up_to_the_target(engine: Engine, call: Call) -> None:
    """SET devices and the rest; each device of the polarity is SET, analog, or surplus."""
    call = call | {"rest": np.full(call["targets"].shape, np.nan, np.float32)}
    written = strategies.run(engine, "allocate", call).written
    half, targets = len(call["values"]), call["targets"]
    values = np.broadcast_to(call["values"], (half, *targets.shape))
    offset = np.where(targets >= 0, 0, half)
    is_set = np.stack([written["filled"] >> (offset + d) % 8 & 1 for d in range(half)]) == 1
    held = np.where(is_set, values, 0).sum(axis=0, dtype=np.float64)
    rest = np.abs(written["rest"]).astype(np.float64)
    bound = half * tolerances.EPS * np.abs(targets)
    assert (np.abs(held + rest - np.abs(targets)) <= bound).all()
    beyond = (written["surplus"] != NONE).sum(axis=0)
    used = targets != 0
    np.testing.assert_array_equal((is_set.sum(axis=0) + 1 + beyond)[used], half)
    assert not beyond[~used].any()
    analog = np.take_along_axis(values, (written["device"] - offset)[None].astype(int), axis=0)[0]
    largest = np.where(is_set, values, np.inf).min(axis=0)
    assert (analog <= largest).all()


@pytest.mark.nojit
@TWINS
def test_the_aim_is_the_nearest_code(engine: Engine) -> None:
    """Beyond both ends, too, and where the curve falls steeply from a flat stretch."""
    curve = np.concatenate([np.arange(300, 50, -1), [50.0] * 5, [3.0]]).astype(np.float32)
    targets = np.float32([[[1000, 300, 299.75, 299.25, 200, 60.25, 50.25, 26.6, 26.4, 3, 1, 0]]])
    shape = targets.shape
    device, filled, aim = (np.zeros(shape, np.uint8) for _ in range(3))
    values = np.full((1, 1, 1, 1), 300, np.float32)
    nothing = np.zeros((0, *shape), np.uint8)
    rest = np.zeros((0, 0, 0), np.float32)
    engine.allocate(targets, values, curve, ALIKE, device, filled, aim, nothing, rest)
    assert aim.ravel().tolist() == [0, 0, 0, 1, 100, 240, 250, 254, 255, 255, 255, 255]


# --- what a batch should give ---------------------------------------------------------------------


@st.composite
def batch_calls(draw: st.DrawFn, size: Size, in_lines: bool = False) -> Call:
    call = draw(controllers.gradient_calls(size, in_lines))
    names = ("pattern", "targets", "gain", "ahead", "aim", "device", "significance")
    return {"x": call["x"][0]} | {name: call[name] for name in names}


def hold_outputs(call: Call) -> None:
    found, expected = strategies.twins("wanted_outputs", call)
    x, now = call["x"].astype(np.float64), controllers.shown(call).astype(np.float64)
    # Lines are added in stages; their amplitude and its product with a target are rounded.
    size = np.abs(x) @ np.abs(now)
    bound = (tolerances.sums(x.shape[1] + 16) + tolerances.EPS) * size + tolerances.SMALLEST
    assert (np.abs(found.out - x @ now) <= bound).all()
    assert (np.abs(expected.out - x @ now) <= bound).all()


@SIZES
@given(data=st.data())
def test_wanted_outputs(size: Size, data: st.DataObject) -> None:
    hold_outputs(data.draw(batch_calls(size)))


@given(call=batch_calls(strategies.LINES, in_lines=True))
def test_wanted_outputs_of_hadamard_inputs(call: Call) -> None:
    hold_outputs(call)


@pytest.mark.nojit
@given(call=batch_calls(TINY))
def test_wanted_outputs_of_read_only_arrays(call: Call) -> None:
    strategies.accepts_read_only("wanted_outputs", call)


@pytest.mark.nojit
@TWINS
def test_a_cell_has_to_show_its_target_and_what_it_will_lose(engine: Engine) -> None:
    targets = np.float32([[[2.0, -3.0, 0.0]]])
    aim = np.array([[[0, 1, 0]]], np.uint8)
    ahead = np.zeros(256, np.float32)
    ahead[:2] = 0.5, 0.25
    x = np.float32([[1.0], [-0.5]])
    no_pattern = np.zeros(5, np.int64)
    device = np.array([[[0, 2, 1]]], np.uint8)
    known = (F32(2), ahead, aim, device)
    found = engine.wanted_outputs(x, no_pattern, targets, *known, ALIKE)
    np.testing.assert_array_equal(found, [[[4.5, -6.25, 0], [-2.25, 3.125, 0]]])
    found = engine.wanted_outputs(x, no_pattern, targets, *known, np.float32([4, 1, 4, 1]))
    np.testing.assert_array_equal(found, [[[6, -7, 0], [-3, 3.5, 0]]])
