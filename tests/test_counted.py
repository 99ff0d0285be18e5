"""Programs on devices of counted pulses: what is known of them, the controller, start to end."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strategies
import tolerances
from controllers import rows_read, shown, verify_calls
from hypothesis import given
from hypothesis import strategies as st
from interrupts import GDP, IP, digest, interrupted, program
from strategies import NONE, SIZES, TWINS, Call, Size
from test_engine_gradient import one_cell
from test_engine_increments import counted_devices
from tolerances import EPS

import fastaimc as fa
from fastaimc.config import (
    ADC,
    AccumulativeSet,
    CoreConfig,
    ExponentialStep,
    SoftBounds,
    presets,
)
from fastaimc.engine import Engine
from fastaimc.nominal import Nominal
from fastaimc.parameters import F32
from fastaimc.reference import controller

WEIGHTS = np.random.default_rng(5).standard_normal((24, 40))


def core(device: Any, **values: Any) -> CoreConfig:
    """Cells of a device of counted pulses that neither drift nor fluctuate."""
    plain: dict[str, Any] = {
        "rows": 40,
        "columns": 24,
        "devices_per_polarity": 1,
        "g_max_us": 0.6 * (device.high_us - device.low_us),
        "device": device,
        "drift": None,
        "read_noise": None,
        "adc": ADC(cell_lsb_us=0.129),
    }
    return CoreConfig(**(plain | values))


EVEN = SoftBounds(step_spread=0.1, bound_spread=0.05, jitter=0.3)
ACCUMULATIVE = core(AccumulativeSet())


# --- what is known of a kind ----------------------------------------------------------------------


@given(device=counted_devices())
def test_the_nominal_table(device: Any) -> None:
    """Falling conductances over the range, and steps that are those of the device."""
    nominal = Nominal.of(core(device))
    assert nominal.counted
    assert nominal.conductance_us[0] == F32(device.high_us)
    assert nominal.conductance_us[255] == F32(device.low_us)
    assert (np.diff(nominal.conductance_us) < 0).all()
    assert nominal.change_us.shape == (4, 256)
    assert (nominal.change_us >= 0).all()
    assert (np.diff(nominal.pulses) <= 0).all()
    assert nominal.pulses[255] == 0 < nominal.pulses[0]


def test_pulses_of_the_way_up() -> None:
    """With soft bounds 1 - u = (1 - 2 step)^n."""
    device = SoftBounds(step=0.01)
    nominal = Nominal.of(core(device))
    u = (nominal.conductance_us - device.low_us) / (device.high_us - device.low_us)
    known = u < 0.98
    wanted = np.log1p(-u[known].astype(float)) / np.log(0.98)
    assert np.abs(nominal.pulses[known] - wanted).max() < 0.6  # a rounding, and a line for a curve


# --- the controller -------------------------------------------------------------------------------


def as_one_tile(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1, array.shape[-1])


def extremes(call: Call, error: np.ndarray, slack: np.ndarray, standard: np.ndarray) -> list[Call]:
    """What the reference chooses where every rounding goes one way or the other."""
    found = []
    for shift, scale, strict in itertools.product((-1, 1), repeat=3):
        p = call["parameters"]
        step = p._replace(
            gain=float(p.gain) * (1 + scale * tolerances.STEP_RELATIVE),
            margin=float(p.margin) * (1 - scale * tolerances.STEP_RELATIVE),
            kappa=float(p.kappa) * (1 + strict * tolerances.STEP_RELATIVE),
        )
        cells = [as_one_tile(call[key]).copy() for key in strategies.CELLS]
        chosen: Call = {key: as_one_tile(call[key]).copy() for key in ("fire", "code")}
        controller.count(
            *(
                as_one_tile(error + shift * slack),
                as_one_tile(standard),
                cells,
                call["curve"],
                call["change"],
                step,
            ),
            *(chosen["fire"], chosen["code"]),
        )
        chosen |= dict(zip(strategies.CELLS, cells, strict=True))
        found.append({key: array.reshape(error.shape) for key, array in chosen.items()})
    return found


def signed(code: np.ndarray) -> np.ndarray:
    return np.asarray(np.ascontiguousarray(code).view(np.int8), dtype=np.int64)


@SIZES
@given(data=st.data())
def test_counts_of_the_twins(size: Size, data: st.DataObject) -> None:
    """The same cells, devices and counts, but where a rounding decides between two of these."""
    call = data.draw(verify_calls(size))
    nominal = Nominal.of(core(data.draw(counted_devices()), devices_per_polarity=4))
    call |= {
        "curve": nominal.conductance_us,
        "scatter": nominal.scatter_us,
        "change": nominal.change_us,
        "swing": np.abs(call["swing"]),
    }
    call, *results = rows_read(call, *strategies.twins("verify_pulses", call))
    value = call["reading"].astype(np.float64) - call["dark"][:, None, :]
    aimed, n = shown(call).astype(np.float64), np.minimum(call["count"] + 1.0, 255)
    before = np.where(call["count"] == 255, 254 / 255, 1) * call["total"].astype(np.float64)
    _, _, d_error = tolerances.verified(value, call["total"], call["count"].astype(float), aimed)
    s = controller.factors(call["device"], call["significance"]).astype(np.float64)
    error = ((before + value) / n - aimed) / s
    standard = call["read_std"][:, None, None] / np.sqrt(n) / s
    slack = d_error / s + tolerances.EPS * np.abs(error)
    slack = slack + tolerances.CURVE_RELATIVE * (call["curve"][0] + np.abs(error))
    ends = extremes(call, error, slack, standard)
    same = np.all([end["fire"] == ends[0]["fire"] for end in ends], axis=0)
    codes = np.array([signed(end["code"]) for end in ends])
    for result in results:
        for key in ("fire", "device", "swing"):
            np.testing.assert_array_equal(result.written[key][same], ends[0][key][same])
        fired = same & (ends[0]["fire"] != NONE)
        code = signed(result.written["code"])
        assert (codes.min(axis=0) <= code)[fired].all()
        assert (code <= codes.max(axis=0))[fired].all()
        np.testing.assert_array_equal(result.written["level"], call["level"])


def counted_cell(**given_: Any) -> dict[str, Any]:
    """One cell of two devices that take 1 ± 0 µS up and 0.5 ± 0.5 µS down, and reads exactly."""
    call = one_cell(**given_)
    change = np.repeat(np.array([[1.0], [0.0], [0.5], [0.5]], np.float32), 256, axis=1)
    return call | {"change": change}


@pytest.mark.nojit
@TWINS
@pytest.mark.parametrize(
    ("given_", "fire", "count"),
    [
        (dict(reading=-5.2), 0, 5),
        (dict(reading=-0.4), NONE, None),  # half a step or less
        (dict(reading=-500.0), 0, 127),
        (dict(reading=5.0), 0, -10),
        (dict(reading=5.0, margin=1.0), 0, -10),  # half a pulse less: s² / (2 m²)
        (dict(reading=5.0, margin=4.0), 0, -8),
        (dict(reading=0.4, margin=4.0), NONE, None),
        (dict(reading=5.0, device=1), 1, 5),  # subtracts: it is too low
        (dict(reading=-5.0, device=1), 1, -10),
        (dict(reading=-5.2, gain=0.5), 0, 3),
        (dict(reading=5.0, swing=2), 1, 5),  # twice down in vain: the other one up
    ],
)
def test_how_many_pulses(
    engine: Engine, given_: dict[str, Any], fire: int, count: int | None
) -> None:
    result = strategies.run(engine, "verify_pulses", counted_cell(**given_)).written
    assert result["fire"].item() == fire
    if count is not None:
        assert result["code"].view(np.int8).item() == count
        assert result["count"].item() == 0


@pytest.mark.nojit
@TWINS
def test_one_way_devices(engine: Engine) -> None:
    """Where no step down is left the counterpart goes up at once; elsewhere there may be some."""
    call = counted_cell(reading=5.0)
    call["change"][2:, :250] = 0  # of 256 conductances, from the highest
    result = strategies.run(engine, "verify_pulses", call).written
    assert (result["fire"].item(), result["code"].item()) == (1, 5)
    call = counted_cell(reading=5.0)
    call["change"][2:, 0] = 0  # at the upper bound alone
    result = strategies.run(engine, "verify_pulses", call).written
    assert (result["fire"].item(), result["code"].view(np.int8).item()) == (0, -10)


@pytest.mark.nojit
@TWINS
def test_devices_of_a_polarity_take_turns(engine: Engine) -> None:
    call = counted_cell(reading=5.0, devices=6, device=4)
    turns = []
    for _ in range(4):
        result = strategies.run(engine, "verify_pulses", call).written
        turns.append(result["fire"].item())
        call |= {key: result[key] for key in strategies.IN_PLACE["verify_pulses"]}
        call["total"][...], call["count"][...] = 0, 0
    assert turns == [4, 5, 3, 4]


# --- programs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("polarity", [1, 2])
@pytest.mark.parametrize("device", [EVEN, ExponentialStep(step_spread=0.1)], ids=["soft", "exp"])
@pytest.mark.parametrize(
    "method", [fa.IterativeProgramming(fine=True), fa.GradientDescentProgramming()]
)
def test_fine_steps_reach_the_converters_floor(method: Any, device: Any, polarity: int) -> None:
    """Steps of a thousandth of the range: what is left is the converters' and the spread's."""
    config = core(device, devices_per_polarity=polarity)
    error = fa.mvm_error(fa.program(WEIGHTS, config, method, seed=1), samples=200)
    assert error.residual < 0.06
    blind = fa.program(WEIGHTS, config, fa.IterativeProgramming(iterations=1), seed=1)
    assert error.residual < 0.5 * fa.mvm_error(blind, samples=200).residual


@pytest.mark.parametrize("method", [IP, fa.GradientDescentProgramming()], ids=["ip", "gdp"])
def test_accumulation_ends_where_its_scatter_lets_it(method: Any) -> None:
    """Of a device whose pulse scatters by more than its step verifying still takes a part."""
    config = presets.pcm_nandakumar()
    matrix = fa.program(WEIGHTS, config, method, seed=2)
    blind = fa.program(WEIGHTS, config, fa.IterativeProgramming(iterations=1), seed=2)
    assert fa.weight_error(matrix) < 0.8 * fa.weight_error(blind)


@pytest.mark.parametrize("config", [ACCUMULATIVE, core(EVEN)], ids=["accumulative", "soft"])
@pytest.mark.parametrize("method", [IP, GDP], ids=["ip", "gdp"])
def test_twin_engines_end_alike(config: CoreConfig, method: Any) -> None:
    """Within 2 % of each other's MVM error, as all programs."""
    first, second = (
        fa.mvm_error(fa.program(WEIGHTS, config, method, seed=4, engine=engine), samples=200)
        for engine in ("numba", "reference")
    )
    assert abs(first.total / second.total - 1) < 0.02


@pytest.mark.parametrize("method", [IP, GDP], ids=["ip", "gdp"])
def test_an_interrupted_program_goes_on_bitwise(method: Any, tmp_path: Path) -> None:
    """The memory of pulses is part of the state."""
    config = fa.override(presets.pcm_nandakumar(), {"rows": 16, "columns": 12})
    whole = program(method=method, config=config)
    path = tmp_path / "state.npz"
    interrupted(path, 5, method=method, config=config)
    assert digest(fa.resume(path)) == digest(whole)


def test_saved_and_loaded(tmp_path: Path) -> None:
    config = fa.override(presets.pcm_nandakumar(), {"rows": 16, "columns": 12})
    matrix = program(method=IP, config=config)
    fa.save(tmp_path / "matrix.npz", matrix)
    assert digest(fa.load(tmp_path / "matrix.npz")) == digest(matrix)


@pytest.mark.parametrize("device", [EVEN, AccumulativeSet()], ids=["soft", "accumulative"])
def test_stuck_devices(device: Any) -> None:
    """They keep what they hold; pulses at them are paid for."""
    config = core(device)
    kind = np.zeros((2, *WEIGHTS.shape), np.uint8)
    kind[0, :5] = 1
    kind[1, 5:9] = 2
    free = fa.program(WEIGHTS, config, IP, seed=1)
    matrix = fa.program(WEIGHTS, config, IP, seed=1, faults=kind)
    assert matrix.stuck == 9 * WEIGHTS.shape[1]
    held = matrix.core.conductance[0, 0, :, :5]
    np.testing.assert_array_equal(held, F32(device.high_us))
    assert matrix.core.conductance[0, 1, :, 5:9].max() < 0.5 * device.high_us
    assert fa.weight_error(matrix) > fa.weight_error(free)


def test_pulses_and_time_are_counted() -> None:
    """Each pulse of a count takes its energy, and its time on the diagonal."""
    config = core(EVEN)
    matrix = fa.program(WEIGHTS, config, IP, seed=1)
    cost, circuit = matrix.cost, config.circuit
    assert cost.pulses_set > 100 * WEIGHTS.size  # a share of 1200 steps each
    pulses = (cost.pulses_set + cost.pulses_reset) / circuit.parallel_pulses * circuit.t_pulse_s
    assert cost.latency_s >= pulses


def test_the_textbook_form_is_refused() -> None:
    with pytest.raises(fa.ConfigError, match="verify='cell' on devices of counted pulses"):
        fa.program(WEIGHTS, core(EVEN), fa.IterativeProgramming(verify="device"))
    with pytest.raises(fa.ConfigError, match="SoftBounds must be iterated"):
        fa.program(WEIGHTS, core(EVEN), fa.DirectWrite())


def test_what_a_cell_can_reach() -> None:
    with pytest.raises(fa.ConfigError, match=r"device.high_us - device.low_us\) \(11.9\)"):
        core(AccumulativeSet(), g_max_us=12.0)


def test_read_noise_of_the_preset() -> None:
    """0.03 G + 0.13 µS of every device that conducts (Nandakumar et al., 2018)."""
    config = fa.override(presets.pcm_nandakumar(), {"drift": None})
    core = fa.program(WEIGHTS, config, IP, seed=3).core
    wanted = ((0.03 * core.conductance.astype(np.float64) + 0.13) ** 2).sum(axis=1)
    np.testing.assert_allclose(core.matrices()[1], wanted, rtol=20 * EPS)
