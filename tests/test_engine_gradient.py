"""The kernels that choose pulses against their reference.

Errors are estimated within a bound, so a cell whose error lies within it of its threshold may be
pulsed by one twin alone; all others must agree.  The new amplitude rises with the size of the
error: it must lie between what the reference makes of the ends of the error's interval.
"""

import controllers
import numpy as np
import pytest
import strategies
import tolerances
from hypothesis import given
from hypothesis import strategies as st
from strategies import NONE, REFERENCE, SIZES, TINY, TOP, TWINS, Call, Result, Size

from fastaimc.engine import Engine
from fastaimc.parameters import ALIKE, F32, StepParameters
from fastaimc.reference.controller import LEVELS
from fastaimc.reference.gradient import estimate

FLAT = np.full(256, 1e-9, np.float32)  # a scatter that is next to nothing


def rule(call: Call, error: np.ndarray, scale: float, shift: np.ndarray) -> dict[str, np.ndarray]:
    """What the reference makes of cells that are all pulsed, in float64, for errors, a step and
    a level that are off by a little: one read of the error itself."""
    p, shape = call["parameters"], error.shape
    up = np.where(call["device"] < p.devices / 2, error, -error) > 0  # towards higher levels
    at_an_end = (call["level"] == TOP) | ((call["level"] == 0) & ~up)
    alone = {
        "reading": error * controllers.factors(call, call["device"]),
        "first": 0,
        "dark": np.zeros((shape[0], shape[2])),
        "targets": np.zeros(shape),
        "gain": 1.0,
        "ahead": np.zeros(256),
        "total": np.zeros(shape),
        "count": np.zeros(shape, np.uint8),
        "read_std": np.zeros(shape[0]),
        **{key: call[key] for key in strategies.CELLS},
        "level": np.where(at_an_end, call["level"], call["level"] + shift).astype(np.float64),
        "curve": call["curve"],
        "scatter": call["scatter"],
        "significance": call["significance"],
        "change": call["change"],
        "parameters": p._replace(
            margin=0, kappa=0, gain=float(p.gain) * scale, max_step=float(p.max_step) * scale
        ),
        "fire": call["fire"],
        "code": call["code"],
    }
    return strategies.run(REFERENCE, "verify_pulses", alone).written


def hold_choice(
    call: Call, written: dict[str, np.ndarray], error: np.ndarray, d_error: np.ndarray
) -> None:
    """Hold what becomes of pulsed cells whose error has a certain sign.

    Amplitude and aim are monotone in the error and lie between those of its interval's ends, all
    else is exact.  A cell that is handed over takes its aim from the curve's first value on.
    """
    sign = np.sign(error)
    direction = sign * np.where(call["device"] < call["parameters"].devices / 2, 1, -1)
    exact = rule(call, error, 1, 0 * error)
    given = exact["device"] != call["device"]
    start = np.where(given, call["curve"][0], call["curve"][call["aim"]])
    share = controllers.factors(call, exact["device"]) / controllers.factors(call, call["device"])
    slack = d_error + tolerances.CURVE_RELATIVE * (start * share + np.abs(error))
    slack += np.where(share != 1, tolerances.HEIR_RELATIVE, 0) * np.abs(error)
    clear = (written["fire"] != NONE) & (np.abs(error) > slack)
    ends = [
        rule(
            call,
            error + end * sign * slack,
            1 + end * tolerances.STEP_RELATIVE,
            end * direction * tolerances.STEP_LEVELS,
        )
        for end in (-1, 1)
    ]
    for key in ("device", "filled", "swing"):
        np.testing.assert_array_equal(written[key][clear], exact[key][clear])
    for key in ("level", "aim"):
        low, high = np.minimum(*(end[key] for end in ends)), np.maximum(*(end[key] for end in ends))
        assert ((low <= written[key]) & (written[key] <= high))[clear].all(), key
    aimed = clear & given
    aim = written["aim"].astype(np.int64)
    np.testing.assert_array_equal(written["level"][aimed], (aim * LEVELS)[aimed])


def hold_pulses(
    call: Call,
    results: tuple[Result, Result],
    error: np.ndarray,
    standard: np.ndarray,
    d_error: np.ndarray,
    d_standard: np.ndarray,
) -> np.ndarray:
    """Hold both twins' choice of pulses; return the cells in which it must be the same one."""
    own, rounded = controllers.factors(call, call["device"]), tolerances.OWN_RELATIVE
    rounded *= call["significance"].size > 0
    error, standard = error / own, standard / own
    d_error = d_error / own + rounded * np.abs(error)
    d_standard = d_standard / own + rounded * standard
    p = StepParameters(*(float(value) for value in call["parameters"]))
    threshold = np.maximum(p.margin * call["scatter"][call["aim"]], p.kappa * standard)
    slack = d_error + p.kappa * d_standard + 2 * tolerances.EPS * threshold
    certain = np.abs(np.abs(error) - threshold) > slack
    beyond = (np.abs(error) > threshold) & (call["device"] != NONE)
    for result in results:
        written = result.written
        fired = written["fire"] != NONE
        np.testing.assert_array_equal(fired[certain], beyond[certain])
        np.testing.assert_array_equal(written["fire"][fired], written["device"][fired])
        for key in strategies.CELLS:
            np.testing.assert_array_equal(written[key][~fired], call[key][~fired])
        code = (written["level"].astype(np.int64) + LEVELS // 2) // LEVELS
        np.testing.assert_array_equal(written["code"], np.where(fired, code, call["code"]))
        hold_choice(call, written, error, d_error)
    return certain | (call["device"] == NONE)


# --- gradient_pulses ------------------------------------------------------------------------------


def hold_gradient(call: Call) -> None:
    found, expected = strategies.twins("gradient_pulses", call)
    tiles, batch = len(call["targets"]), call["x"].shape[1]
    assert found.out.shape == (tiles, 2)
    assert found.out.dtype == np.float64
    if batch == 0:
        assert not found.out.any()
        assert not expected.out.any()
        for result in (found, expected):
            assert (result.written["fire"] == NONE).all()
            for key in ("total", "count", *strategies.CELLS, "code"):
                np.testing.assert_array_equal(result.written[key], call[key])
        return
    arguments = [
        [array.astype(np.float64) for array in (call["x"][group], y, target)]
        for group, y, target in zip(call["group"], call["y"], controllers.shown(call), strict=True)
    ]
    value, standard, _ = (
        np.stack(part) for part in zip(*(estimate(*a) for a in arguments), strict=True)
    )
    d_value, d_standard, d_sums = (
        np.stack(part) for part in zip(*(tolerances.estimated(*a) for a in arguments), strict=True)
    )
    assert (np.abs(found.out - expected.out) <= d_sums).all()
    driven = (call["x"] != 0).any(axis=1)[call["group"]][:, :, None] & np.ones(value.shape, bool)
    n, total = call["count"].astype(np.float64), call["total"].astype(np.float64)
    after = np.where(driven, np.minimum(n + 1, 255), n)
    new = np.where(driven, total * np.where(n == 255, 254 / 255, 1) + value, total)
    d_total, d_error = tolerances.averaged(value, d_value, total, n)
    divisor = np.maximum(after, 1)
    root = np.sqrt(divisor)
    same = hold_pulses(
        call,
        (found, expected),
        np.where(driven, new / divisor, 0),
        standard / root,
        np.where(driven, d_error, 0),
        (d_standard + 3 * tolerances.EPS * standard) / root,
    )
    hold_memory((found, expected), after)
    kept = same & (found.written["fire"] == NONE)
    assert (np.abs(found.written["total"].astype(np.float64) - new)[kept] <= d_total[kept]).all()


def hold_memory(results: tuple[Result, Result], after: np.ndarray) -> None:
    """Hold that a pulse forgets what a cell has shown, and nothing else does."""
    for result in results:
        fired = result.written["fire"] != NONE
        assert not result.written["total"][fired].any()
        assert not result.written["count"][fired].any()
        np.testing.assert_array_equal(result.written["count"][~fired], after[~fired])


@SIZES
@given(data=st.data())
def test_gradient_pulses(size: Size, data: st.DataObject) -> None:
    hold_gradient(data.draw(controllers.gradient_calls(size)))


@given(call=controllers.gradient_calls(Size(tiles=2, rows=40, columns=520, batch=64)))
def test_gradient_pulses_of_several_blocks(call: Call) -> None:
    hold_gradient(call)


@given(call=controllers.gradient_calls(strategies.LINES, in_lines=True))
def test_gradient_pulses_of_hadamard_inputs(call: Call) -> None:
    """By additions, where it is worth it."""
    hold_gradient(call)


# --- verify_pulses --------------------------------------------------------------------------------


@SIZES
@given(data=st.data())
def test_verify_pulses(size: Size, data: st.DataObject) -> None:
    call = data.draw(controllers.verify_calls(size))
    found, expected = strategies.twins("verify_pulses", call)
    assert found.out.shape == (len(call["targets"]), 4)
    assert found.out.dtype == np.float64
    call, found, expected = controllers.rows_read(call, found, expected)
    value = call["reading"].astype(np.float64) - call["dark"][:, None, :]
    n, total = call["count"].astype(np.float64), call["total"].astype(np.float64)
    after = np.minimum(n + 1, 255)
    new = total * np.where(n == 255, 254 / 255, 1) + value
    wanted = controllers.shown(call).astype(np.float64)
    error = new / after - wanted
    standard = call["read_std"][:, None, None] / np.sqrt(after)
    d_deviation, d_total, d_error = tolerances.verified(value, total, n, wanted)
    same = hold_pulses(
        call, (found, expected), error, standard, d_error, 2 * tolerances.EPS * standard
    )
    hold_memory((found, expected), after)
    kept = same & (found.written["fire"] == NONE)
    assert (np.abs(found.written["total"].astype(np.float64) - new)[kept] <= d_total[kept]).all()
    deviation = np.where(n > 0, np.abs(value - total / np.maximum(n, 1)), 0)
    part = n / (n + 1)
    np.testing.assert_array_equal(found.out[:, 1], expected.out[:, 1])
    # Squares of what is known within a bound, each with four roundings of its own.
    for index, (size_, d, weight) in enumerate(
        ((deviation, d_deviation, part), (np.abs(error), d_error, 1))
    ):
        bound = weight * ((2 * size_ + d) * d + tolerances.sums(4) * size_**2)
        column = 2 * index
        difference = np.abs(found.out[:, column] - expected.out[:, column])
        assert (difference <= tolerances.SECOND_ORDER * bound.sum(axis=(1, 2))).all()
    np.testing.assert_allclose(
        found.out[:, 3], np.square(wanted).sum(axis=(1, 2)), rtol=tolerances.sums(1)
    )
    np.testing.assert_allclose(found.out[:, 3], expected.out[:, 3], rtol=tolerances.sums(1))


@pytest.mark.nojit
@TWINS
def test_a_full_count_forgets_the_oldest(engine: Engine) -> None:
    """Of 255 reads of 1 and one of 256, the mean is (254 + 256) / 255 = 2."""
    call = one_cell(total=255.0, count=255, reading=256.0, target=2.0)
    result = strategies.run(engine, "verify_pulses", call)
    assert result.written["count"].item() == 255
    assert result.written["total"].item() == pytest.approx(510, rel=4 * tolerances.EPS)
    assert result.out[0].tolist() == pytest.approx([255**2 * 255 / 256, 1, 0, 4])


# --- the rule, case by case -----------------------------------------------------------------------


def one_cell(
    *,
    total: float = 0.0,
    count: int = 0,
    reading: float = 0.0,
    target: float = 0.0,
    device: int = 0,
    filled: int = NONE,
    level: int = 100 * LEVELS,
    swing: int = 0,
    aim: int = 100,
    curve: np.ndarray | None = None,
    **parameters: float,
) -> Call:
    """One cell, one read; a curve that falls by 1 µS a code, and steps without bounds."""
    curve = np.arange(255, -1, -1, dtype=np.float32) if curve is None else curve
    step = {"margin": 1, "kappa": 0, "gain": 1, "max_step": 255, "steepest": 1e3, "devices": 2}

    def cell(value: float, dtype: type[np.generic]) -> np.ndarray:
        return np.full((1, 1, 1), value, dtype)

    return {
        "reading": cell(reading, np.float32),
        "first": 0,
        "dark": np.zeros((1, 1), np.float32),
        "targets": cell(target, np.float32),
        "gain": F32(1),
        "ahead": np.zeros(256, np.float32),
        "total": cell(total, np.float32),
        "count": cell(count, np.uint8),
        "read_std": np.zeros(1, np.float32),
        "device": cell(device, np.uint8),
        "filled": cell(filled, np.uint8),
        "level": cell(level, np.int16),
        "swing": cell(swing, np.int8),
        "aim": cell(aim, np.uint8),
        "curve": curve,
        "scatter": FLAT.copy(),
        "significance": ALIKE,
        "change": np.zeros((4, 0), np.float32),
        "parameters": StepParameters(**{k: F32(v) for k, v in (step | parameters).items()}),
        "fire": cell(77, np.uint8),
        "code": cell(77, np.uint8),
    }


@pytest.mark.nojit
@TWINS
@pytest.mark.parametrize(
    ("given_", "levels", "swing"),
    [
        (dict(reading=8.0), 8 * LEVELS, 1),
        (dict(reading=-8.0), -8 * LEVELS, -1),
        (dict(reading=8.0, gain=0.5), 4 * LEVELS, 1),
        (dict(reading=8.0, max_step=3), 3 * LEVELS, 1),
        (dict(reading=8.0, swing=1), 8 * LEVELS, 1),  # going on
        (dict(reading=8.0, swing=-1), 4 * LEVELS, 2),  # turning back
        (dict(reading=8.0, swing=-4), LEVELS // 2, 5),
        (dict(reading=8.0, swing=-5), LEVELS // 2, 5),  # no more than four halvings
        (dict(reading=8.0, swing=5), LEVELS, 4),  # going on doubles again
        (dict(reading=-8.0, swing=-2), -8 * LEVELS, -1),
        (dict(reading=200.0), 100 * LEVELS, 1),  # to the end of the curve and no farther
        (dict(reading=-200.0), -100 * LEVELS, -1),
        (dict(reading=1 / 64), 1, 1),
        (dict(reading=8.0, steepest=0.25), 32 * LEVELS, 1),
        (dict(reading=8.0, level=TOP), 255 * LEVELS - 100 * LEVELS, 1),
        (dict(reading=-8.0, level=TOP, aim=90), -10 * LEVELS, -1),  # RESET: shot at its aim
    ],
)
def test_a_step(engine: Engine, given_: dict[str, float], levels: int, swing: int) -> None:
    result = strategies.run(engine, "verify_pulses", one_cell(**given_))
    assert result.written["level"].item() - 100 * LEVELS == levels
    assert result.written["swing"].item() == swing
    assert result.written["fire"].item() == 0


@pytest.mark.nojit
@TWINS
def test_a_flat_curve_bounds_the_step_by_its_least_slope(engine: Engine) -> None:
    """Where the curve is flat a device is 1e-6 µS a code from it: 1e-5 µS are ten codes."""
    curve = np.where(np.arange(256) < 50, 1, 0).astype(np.float32)
    call = one_cell(reading=1e-5, curve=curve, level=100 * LEVELS)
    result = strategies.run(engine, "verify_pulses", call)
    assert result.written["level"].item() == 110 * LEVELS


@pytest.mark.nojit
@TWINS
@pytest.mark.parametrize(
    ("given_", "device", "filled", "aim"),
    [
        # SET and still 8 too low: the first other device of its half holds 8, code 247
        (dict(reading=-8.0, level=0, filled=0b0000), 1, 0b0001, 247),
        (dict(reading=-8.0, level=0, filled=0b0010), 2, 0b0011, 247),
        (dict(reading=-8.0, level=0, filled=0b0110), 0, 0b0110, 100),  # none is in RESET
        (dict(reading=-8.0, level=0, filled=NONE), 0, NONE, 100),
        (dict(reading=-8.0, level=1, filled=0b0000), 0, 0b0000, 100),
        (dict(reading=8.0, level=0, device=4, filled=0), 3, 0b10000, 247),
        # in RESET and still 8 too high: one of those that are SET is to hold 255 - 8
        (dict(reading=8.0, level=TOP, filled=0b0110), 1, 0b0100, 8),
        (dict(reading=8.0, level=TOP, filled=0b0100), 2, 0b0000, 8),
        (dict(reading=8.0, level=TOP, filled=0b0000), 0, 0b0000, 100),
        (dict(reading=-8.0, level=TOP, device=3, filled=0b110000), 4, 0b100000, 8),
        (dict(reading=-300.0, level=0, filled=0), 1, 1, 0),  # more than a device can hold
        (dict(reading=300.0, level=TOP, filled=2), 1, 0, 255),
    ],
)
def test_handing_over(engine: Engine, given_: Call, device: int, filled: int, aim: int) -> None:
    result = strategies.run(engine, "verify_pulses", one_cell(**given_, devices=6))
    written = {key: value.item() for key, value in result.written.items()}
    assert (written["device"], written["filled"], written["aim"]) == (device, filled, aim)
    assert written["fire"] == device
    if device != given_.get("device", 0):
        assert (written["level"], written["code"], written["swing"]) == (aim * LEVELS, aim, 0)


@pytest.mark.nojit
@TWINS
@pytest.mark.parametrize(
    ("margin", "kappa", "fires"), [(0.9, 0, True), (1.1, 0, False), (0, 0.9, True), (0, 1.1, False)]
)
def test_the_threshold(engine: Engine, margin: float, kappa: float, fires: bool) -> None:
    """An error of 2 beside a scatter of 2, and a standard error of 4 / sqrt(4 reads) = 2."""
    call = one_cell(total=6.0, count=3, reading=2.0, margin=margin, kappa=kappa)
    call["scatter"][:] = 2
    call["read_std"][:] = 4
    result = strategies.run(engine, "verify_pulses", call)
    assert (result.written["fire"].item() == 0) is fires
    assert result.written["count"].item() == (0 if fires else 4)


# --- arguments ------------------------------------------------------------------------------------


@given(gradient=controllers.gradient_calls(TINY), verify=controllers.verify_calls(TINY))
def test_read_only_arguments(gradient: Call, verify: Call) -> None:
    strategies.accepts_read_only("gradient_pulses", gradient)
    strategies.accepts_read_only("verify_pulses", verify)
