"""IR drop: kernels against their reference, closed forms, and an independent nodal analysis."""

import numpy as np
import pytest
import strategies
import tolerances
from compiled import opened
from hypothesis import given
from hypothesis import strategies as st
from nodal import dense_wires
from strategies import NUMBA, SIZES, TINY, TWINS, WIDE, Call, Size
from wire_strategies import wire_calls

from fastaimc.engine import Engine
from fastaimc.kernels import jit, vector
from fastaimc.parameters import WireParameters

RELAXED = ("plus", "minus", "wires")


def relaxed(call: Call, tolerance: float, sweeps: int) -> Call:
    """The same devices and wires for relaxation."""
    out = np.full(call["plus"].shape, np.nan)
    rest = {"tolerance": tolerance, "sweeps": sweeps, "out": out}
    return {key: call[key] for key in RELAXED} | rest


def of(row: float, column: float, end: float | None = None) -> WireParameters:
    """Wires of such resistances in Ω."""
    ohms = (row, column, column if end is None else end)
    return WireParameters(*(np.float64(1e-6 * ohm) for ohm in ohms))


def estimate(engine: Engine, plus: np.ndarray, minus: np.ndarray, wires: WireParameters) -> Call:
    """Effective conductances of one tile (row, column), and the variances of ones."""
    pair = [np.asarray(g, np.float32)[None] for g in (plus, minus)]
    call = dict(zip(("plus", "minus"), pair, strict=True))
    call |= {"plus_variance": np.ones_like(pair[0]), "minus_variance": np.zeros_like(pair[0])}
    call |= {"wires": wires, "mean": np.empty_like(pair[0]), "variance": np.empty_like(pair[0])}
    return strategies.run(engine, "estimate_wires", call).written


# --- twins ----------------------------------------------------------------------------------------


@SIZES
@given(data=st.data())
def test_estimate(size: Size, data: st.DataObject) -> None:
    call = data.draw(wire_calls(size))
    found, expected = (result.written for result in strategies.twins("estimate_wires", call))
    for t in range(len(call["plus"])):
        mean, variance = tolerances.wired(call["plus"][t], call["minus"][t], call["wires"])
        assert (np.abs(found["mean"][t] - expected["mean"][t]) <= mean).all()
        difference = np.abs(found["variance"][t] - expected["variance"][t])
        assert (difference <= variance * expected["variance"][t]).all()


@SIZES
@given(data=st.data())
def test_relaxation(size: Size, data: st.DataObject) -> None:
    call = data.draw(wire_calls(size))
    call = relaxed(call, 0.0, data.draw(st.integers(1, 4)))
    found, expected = strategies.twins("relax_wires", call)
    scale = np.abs(expected.written["out"]).max(axis=1, keepdims=True)
    difference = np.abs(found.written["out"] - expected.written["out"])
    assert (difference <= tolerances.RELAXED_RELATIVE * scale).all()
    finite = np.isfinite(expected.out) & np.isfinite(found.out)
    assert finite.all() or call["sweeps"] < 3
    np.testing.assert_allclose(
        found.out[finite], expected.out[finite], rtol=0, atol=tolerances.RELAXED_LEFT
    )


@pytest.mark.nojit
@given(call=wire_calls(TINY))
def test_read_only_arguments(call: Call) -> None:
    strategies.accepts_read_only("estimate_wires", call)
    strategies.accepts_read_only("relax_wires", relaxed(call, 0.0, 2))


@given(call=wire_calls(WIDE))
def test_no_bit_depends_on_how_the_work_is_shared(call: Call) -> None:
    calls = {"estimate_wires": call, "relax_wires": relaxed(call, 1e-6, 20)}
    whole = {name: strategies.run(NUMBA, name, call).written for name, call in calls.items()}
    for threads, cells in ((1, 1 << 25), (2, 1), (2, 20_000)):
        with NUMBA.threads(threads, blas=False), pytest.MonkeyPatch.context() as patch:
            patch.setattr(jit, "CELLS_PER_CALL", cells)
            for name, given_ in calls.items():
                for key, value in strategies.run(NUMBA, name, given_).written.items():
                    np.testing.assert_array_equal(value, whole[name][key])


@pytest.mark.nojit
@pytest.mark.parametrize("kinds", [(np.float64,) * 3, (np.float64, np.float64, np.float32)])
def test_mixed_lanes(kinds: tuple[type, type, type]) -> None:
    """Sixteen elements from where each array's begin, in place as well; nothing else is touched."""
    random = np.random.default_rng(3)
    out, x, y = (random.normal(size=(3, 20)).astype(kind) for kind in kinds)
    expected = out.copy()
    wide = [values.astype(np.float64).ravel() for values in (x, y)]
    expected.ravel()[9:25] = 2.5 * wide[0][3:19] - 0.7 * wide[1][40:56]
    mixed = opened(vector.mix)
    mixed(out, 9, 2.5, x, 3, -0.7, y, 40)
    np.testing.assert_allclose(out, expected, rtol=1e-14, atol=1e-14)
    single = np.zeros(16, np.float32)
    mixed(single, 0, 1.0, out, 0, 0.0, out, 0)
    np.testing.assert_array_equal(single, out.ravel()[:16].astype(np.float32))


# --- against nodal analysis -----------------------------------------------------------------------


@TWINS
@pytest.mark.nojit
@given(data=st.data())
def test_relaxation_ends_at_the_solution(engine: Engine, data: st.DataObject) -> None:
    """Within the error that it says is left, and rounding."""
    call = relaxed(data.draw(wire_calls(TINY)), 1e-7, 50)
    result = strategies.run(engine, "relax_wires", call)
    assert (result.out <= 1e-7).all()
    for t, out in enumerate(result.written["out"]):
        exact = dense_wires(call["plus"][t], call["minus"][t], call["wires"])
        bound = (result.out[t] + tolerances.RELAXED_RELATIVE) * np.abs(exact).max(axis=0)
        assert (np.abs(out - exact) <= bound + tolerances.EXACT_WIRES_RELATIVE).all()


@TWINS
@pytest.mark.nojit
@pytest.mark.parametrize("ohms", [(0, 900), (900, 0)])
def test_the_estimate_is_exact_without_resistance_in_one_family(
    engine: Engine, ohms: tuple[float, float]
) -> None:
    """Dense nodal analysis takes a resistance a billion times smaller for none."""
    random = np.random.default_rng(5)
    plus, minus = random.uniform(0, 20, (2, 9, 7)).astype(np.float32)
    found = estimate(engine, plus, minus, of(*ohms))["mean"][0]
    exact = dense_wires(plus, minus, of(*(ohm or 1e-6 for ohm in ohms)))
    error, _ = tolerances.wired(plus, minus, of(*ohms))
    assert (np.abs(found - exact) <= error + 1e-6).all()
    assert np.abs(found - (plus - minus)).max() > 0.1


@TWINS
@pytest.mark.nojit
def test_the_estimate_is_of_first_order(engine: Engine) -> None:
    """Half the resistance, a quarter of its error and half the drop."""
    random = np.random.default_rng(6)
    plus, minus = random.uniform(10, 20, (2, 12, 12)).astype(np.float32) * [[[1]], [[0.05]]]
    errors, drops = [], []
    for ohm in (80.0, 40.0):
        exact = dense_wires(plus, minus, of(ohm, ohm))
        found = estimate(engine, plus, minus, of(ohm, ohm))["mean"][0]
        errors.append(np.linalg.norm(found - exact))
        drops.append(np.linalg.norm(plus - minus - exact))
    assert 3.4 < errors[0] / errors[1] < 4.5
    assert 1.7 < drops[0] / drops[1] < 2.0
    assert errors[0] < 0.05 * drops[0]


# --- closed forms ---------------------------------------------------------------------------------


@TWINS
@pytest.mark.nojit
def test_one_device_in_series_with_its_wires(engine: Engine) -> None:
    """1 MΩ of device, 0.5 of row and of end: half of the current, a quarter of power."""
    wires = of(0.5e6, 0.1e6, 0.5e6)
    written = estimate(engine, np.ones((1, 1)), np.zeros((1, 1)), wires)
    assert written["mean"][0, 0, 0] == pytest.approx(0.5, rel=1e-6)
    assert written["variance"][0, 0, 0] == pytest.approx(0.25, rel=1e-6)


@TWINS
@pytest.mark.nojit
def test_one_column_line(engine: Engine) -> None:
    """Two devices on one line: a ladder, seen from its end by reciprocity."""
    g, r = 2.0, 0.1  # µS and 1/µS
    wires = of(0, 1e6 * r)
    found = estimate(engine, np.full((2, 1), g), np.zeros((2, 1)), wires)["mean"][0, :, 0]
    behind = 1 / (g + 1 / (r + 1 / g))  # resistance of the lower node to the rows
    lower = behind / (r + behind)
    upper = lower / (1 + r * g)
    np.testing.assert_allclose(found, [g * upper, g * lower], rtol=1e-6)


@TWINS
@pytest.mark.nojit
def test_without_resistance_nothing_changes(engine: Engine) -> None:
    random = np.random.default_rng(7)
    plus, minus = random.uniform(0, 20, (2, 8, 5)).astype(np.float32)
    written = estimate(engine, plus, minus, of(0, 0))
    np.testing.assert_array_equal(written["mean"][0], plus - minus)
    np.testing.assert_array_equal(written["variance"][0], np.ones((8, 5)))


@TWINS
@pytest.mark.nojit
def test_far_devices_are_attenuated_most(engine: Engine) -> None:
    """Far from the driver is right, far from the ground is up."""
    found = estimate(engine, np.full((9, 8), 20.0), np.zeros((9, 8)), of(50, 50))["mean"][0]
    assert (np.diff(found, axis=0) > 0).all()
    assert (np.diff(found, axis=1) < 0).all()
    more = estimate(engine, np.full((9, 8), 20.0), np.zeros((9, 8)), of(60, 60))["mean"][0]
    assert (more < found).all()
