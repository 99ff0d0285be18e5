"""The kernel that keeps estimates of cells' errors against its reference, and closed forms.

A cell pulsed by one twin alone (`test_engine_gradient` says why that may be) is in another state
afterwards; all others must agree.
"""

import controllers
import numpy as np
import pytest
import strategies
import tolerances
from hypothesis import given
from hypothesis import strategies as st
from strategies import NONE, SIZES, TINY, TWINS, Call, Size
from test_engine_gradient import hold_pulses, one_cell

from fastaimc.engine import NO_PATTERN, Engine
from fastaimc.parameters import F32, BeliefParameters
from fastaimc.reference.estimate import believe, update
from fastaimc.reference.gradient import estimate


def beliefs(call: Call) -> tuple[np.ndarray, ...]:
    """Estimate and variance after a call's batch, and their errors, (tile, row, column)."""
    parts = []
    share = float(call["belief"].share)
    for tile, now in enumerate(controllers.predicted(call)):
        x = call["x"][call["group"][tile]].astype(np.float64)
        value, standard, _ = estimate(x, call["y"][tile].astype(np.float64), now)
        d_value, d_standard, _ = tolerances.estimated(x, call["y"][tile].astype(np.float64), now)
        noise, d_noise = share * standard**2, share * (2 * standard + d_standard) * d_standard
        before = (call["error"][tile].astype(np.float64), call["variance"][tile].astype(np.float64))
        after = update(*before, value, noise)
        slack = tolerances.updated(*before, value, d_value, noise, d_noise)
        driven = (x != 0).any(axis=0)[:, None]
        new = [np.where(driven, *pair) for pair in zip(after, before, strict=True)]
        parts.append([*new, *(np.where(driven, d, 0) for d in slack)])
    return tuple(np.stack(part) for part in zip(*parts, strict=True))


def hold_estimate(call: Call) -> None:
    found, expected = strategies.twins("estimate_pulses", call)
    tiles, batch = len(call["targets"]), call["x"].shape[1]
    assert found.out.shape == (tiles, 2)
    assert found.out.dtype == np.float64
    if batch == 0:
        for result in (found, expected):
            assert not result.out.any()
            assert (result.written["fire"] == NONE).all()
            for key in ("error", "age", "variance", *strategies.CELLS, "code"):
                np.testing.assert_array_equal(result.written[key], call[key])
        return
    error, variance, d_error, d_variance = beliefs(call)
    standard = np.sqrt(variance)
    d_standard = tolerances.rooted(variance, d_variance)
    same = hold_pulses(call, (found, expected), error, standard, d_error, d_standard)
    hold_sums(call, found.out, expected.out)
    after = np.minimum(call["age"].astype(np.int64) + 1, 255)
    for result in (found, expected):
        fired = result.written["fire"] != NONE
        assert not result.written["error"][fired].any()
        np.testing.assert_array_equal(result.written["age"], np.where(fired, 0, after))
        kept = same & ~fired
        assert (np.abs(result.written["error"] - error)[kept] <= d_error[kept]).all()
        scale = call["scatter"][result.written["aim"]].astype(np.float64)
        scale *= controllers.factors(call, result.written["device"])
        wanted = believe(fired, error, variance, scale, call["belief"])
        slack = tolerances.believed(fired, error, d_error, d_variance, wanted, call["belief"].miss)
        assert (np.abs(result.written["variance"] - wanted)[same] <= slack[same]).all()


def hold_sums(call: Call, found: np.ndarray, expected: np.ndarray) -> None:
    """Hold the sums of squares: those of a batch as always, and those of the estimates."""
    for tile, now in enumerate(controllers.predicted(call)):
        x = call["x"][call["group"][tile]].astype(np.float64)
        *_, slack = tolerances.estimated(x, call["y"][tile].astype(np.float64), now)
        known = ((x**2).sum(axis=0)[:, None] * call["error"][tile].astype(np.float64) ** 2).sum()
        slack[0] += tolerances.sums(len(x) + now.shape[1] + 4) * known
        assert (np.abs(found[tile] - expected[tile]) <= slack).all()


@SIZES
@given(data=st.data())
def test_estimate_pulses(size: Size, data: st.DataObject) -> None:
    hold_estimate(data.draw(controllers.estimate_calls(size)))


@given(call=controllers.estimate_calls(Size(tiles=2, rows=40, columns=520, batch=64)))
def test_estimate_pulses_of_several_blocks(call: Call) -> None:
    hold_estimate(call)


@given(call=controllers.estimate_calls(strategies.LINES, in_lines=True))
def test_estimate_pulses_of_hadamard_inputs(call: Call) -> None:
    """By additions, where it is worth it."""
    hold_estimate(call)


@pytest.mark.nojit
@given(call=controllers.estimate_calls(TINY))
def test_estimate_pulses_of_read_only_arrays(call: Call) -> None:
    strategies.accepts_read_only("estimate_pulses", call)


# --- closed forms ---------------------------------------------------------------------------------


def two_inputs(y: np.ndarray, **values: object) -> Call:
    """One cell that is never pulsed; two inputs, +1 and -1, and what they gave, (2,)."""
    cell = one_cell(margin=1e9)
    scatter = np.ones(256, np.float32)
    start = {
        "x": np.float32([[[1], [-1]]]),
        "group": np.zeros(1, np.int32),
        "pattern": NO_PATTERN,
        "y": np.asarray(y, np.float32).reshape(1, 2, 1),
        "targets": np.zeros((1, 1, 1), np.float32),
        "gain": F32(1),
        "ahead": np.zeros((256, 256), np.float32),
        "error": np.zeros((1, 1, 1), np.float32),
        "age": np.zeros((1, 1, 1), np.uint8),
        "variance": np.full((1, 1, 1), 1e6, np.float32),
        **{key: cell[key] for key in strategies.CELLS},
        "curve": cell["curve"],
        "scatter": scatter,
        "significance": cell["significance"],
        "change": cell["change"],
        "belief": BeliefParameters(F32(1), F32(1), F32(0.5), F32(0)),
        "parameters": cell["parameters"],
        "fire": cell["fire"],
        "code": cell["code"],
    }
    return start | values


@pytest.mark.nojit
@TWINS
def test_an_estimate_is_the_running_mean_and_its_variance_falls_with_the_number(
    engine: Engine,
) -> None:
    """From next to no knowledge: the mean by weight, and 1 over the weights' sum.

    Two outputs, e and -e, of an error known as d leave e - d and d - e: a look's noise is half the
    square of that.
    """
    looks = np.random.default_rng(3).normal(2.0, 0.5, 12)
    call, noise, seen = two_inputs(np.zeros(2)), [], []
    for look in looks:
        call["y"][0, :, 0] = look, -look
        noise.append((look - call["error"].item()) ** 2 / 2)
        seen.append(look)
        written = strategies.run(engine, "estimate_pulses", call).written
        call |= {key: written[key] for key in ("error", "age", "variance")}
        weight = 1 / np.array(noise)
        mean = float(np.sum(weight * seen) / np.sum(weight))
        assert call["variance"].item() == pytest.approx(1 / np.sum(weight), rel=1e-3)
        assert call["error"].item() == pytest.approx(mean, rel=1e-3)
    assert call["age"].item() == len(looks)


@pytest.mark.nojit
def test_equal_looks_give_the_mean() -> None:
    looks = np.random.default_rng(4).normal(2.0, 0.5, 40)
    error, variance = np.zeros(1), np.full(1, 1e9)
    for n, look in enumerate(looks, 1):
        error, variance = update(error, variance, look - error, np.full(1, 0.25))
        assert error.item() == pytest.approx(looks[:n].mean(), rel=1e-6)
        assert variance.item() == pytest.approx(0.25 / n, rel=1e-6)


@pytest.mark.nojit
@TWINS
def test_a_pulse_starts_an_estimate_anew(engine: Engine) -> None:
    """With what it may leave: a scatter of 1 µS, and half of the error of 3 that called for it."""
    call = two_inputs(np.array([3.0, -3.0]), parameters=one_cell(margin=1)["parameters"])
    call["age"][...] = 7
    written = strategies.run(engine, "estimate_pulses", call).written
    assert written["fire"].item() == 0
    assert written["error"].item() == 0
    assert written["age"].item() == 0
    assert written["variance"].item() == pytest.approx(1 + 1.5**2, rel=1e-4)


@pytest.mark.nojit
@TWINS
def test_a_cell_walks_between_its_pulses(engine: Engine) -> None:
    belief = BeliefParameters(F32(1), F32(1), F32(0.5), F32(2))
    call = two_inputs(np.zeros(2), belief=belief, variance=np.zeros((1, 1, 1), np.float32))
    written = strategies.run(engine, "estimate_pulses", call).written
    assert written["variance"].item() == 4
    assert written["fire"].item() == NONE


@pytest.mark.nojit
@TWINS
def test_what_is_known_is_taken_off(engine: Engine) -> None:
    """An error that is known to the last bit leaves nothing to learn, and counts in the sums."""
    call = two_inputs(np.array([3.0, -3.0]), error=np.full((1, 1, 1), 3, np.float32))
    call["targets"][...] = 1
    call["y"][0, :, 0] = 4, -4
    result = strategies.run(engine, "estimate_pulses", call)
    assert result.written["error"].item() == 3
    assert result.out.tolist() == [[2 * 3**2, 2 * 4**2]]


@pytest.mark.nojit
@TWINS
def test_what_cells_will_lose_goes_by_their_age(engine: Engine) -> None:
    call = two_inputs(np.array([2.5, -2.5]), variance=np.ones((1, 1, 1), np.float32))
    call["targets"][...] = 2
    call["age"][...] = 9
    call["ahead"][9, 100] = 0.5
    result = strategies.run(engine, "estimate_pulses", call)
    assert result.written["error"].item() == 0
    assert result.out.tolist() == [[0, 2 * 2.5**2]]
