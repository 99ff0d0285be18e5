"""Devices of more and of less significance: what a cell conducts, and how it is programmed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strategies
from fake_chip import FakeChip, begin, coarse, gdp, ip, program, wanted
from interrupts import CONFIG, GDP, IP, WEIGHTS, digest, interrupted
from interrupts import program as program_core
from strategies import TOP, TWINS, Call
from test_engine_gradient import one_cell
from tiny_core import EXACT, IDEAL_ADC, blank, g_of, mvm, ones, pulse, quiet, rows_of

import fastaimc as fa
from fastaimc import engine as engines
from fastaimc.config import Drift, ReadNoise, Wires
from fastaimc.engine import Engine
from fastaimc.metrics import split_exact
from fastaimc.parameters import ALIKE, F32
from fastaimc.programming import DirectWrite
from fastaimc.reference.controller import LEVELS

NAMES = pytest.mark.parametrize("engine", ["numba", "reference"])
PAIR = fa.override(CONFIG, {"significance": (4.0, 1.0), "g_max_us": 50.0})


# --- what a cell conducts -------------------------------------------------------------------------


@NAMES
@pytest.mark.parametrize("phases", [1, 4])
def test_a_cell_conducts_the_weighted_sum(engine: str, phases: int) -> None:
    """Devices alone, whole cells, and an MVM of ones."""
    factors = (4.0, 1.0, 0.5)
    given = {"devices_per_polarity": 3, "significance": factors, "g_max_us": 10.0, "drift": None}
    core = blank(fa.override(quiet(**given), {"dac.phases": phases}), engine=engine)
    for device, code in enumerate((40, 45, 50, 55, 60, 42)):
        pulse(core, device, code)
    signed = np.array([*factors, *(-f for f in factors)])
    held = signed * [g_of(code) for code in (40, 45, 50, 55, 60, 42)]
    for device in range(6):
        np.testing.assert_allclose(rows_of(core, 1 << device), held[device], rtol=1e-5)
    np.testing.assert_allclose(rows_of(core), held.sum(), rtol=1e-5)
    for _ in range(2):  # without matrices, and with them
        np.testing.assert_allclose(mvm(core, ones(core, 3)), 5 * held.sum(), rtol=1e-5)


@NAMES
def test_variance_goes_with_the_square(engine: str) -> None:
    """And drift is that of the device itself, whatever its factor."""
    seen = []
    for factors in (None, (4.0, 0.5)):
        config = quiet(drift=Drift(), read_noise=ReadNoise(slow=True), significance=factors)
        core = blank(fa.override(config, {"g_max_us": 5.0}), engine=engine)
        for device in range(4):
            pulse(core, device, 40 + 5 * device)
        core.wait(100.0)
        found = []
        for device in range(4):
            mean, variance = np.empty((2, *core.shape), np.float32)
            core.conduct(core.clock_s, np.full((1, 1, 1), 1 << device, np.uint8), (mean, variance))
            found.append((mean, variance))
        seen.append(np.array(found))
    factor = np.array([4, 0.5, 4, 0.5])[:, None, None, None]
    np.testing.assert_allclose(seen[1][:, 0], factor * seen[0][:, 0], rtol=1e-6)
    np.testing.assert_allclose(seen[1][:, 1], factor**2 * seen[0][:, 1], rtol=1e-6)
    assert (seen[0][:, 1] > 0).all()


@NAMES
def test_wires_see_what_devices_add(engine: str) -> None:
    """A device of factor 2 loads wires as two alike do."""
    wires = Wires(row_ohm=5.0, column_ohm=5.0, solver="exact")
    plain = {"device": EXACT, "drift": None, "wires": wires, "g_max_us": 10.0}
    one = blank(quiet(devices_per_polarity=1, significance=(2.0,), **plain), engine=engine)
    two = blank(quiet(devices_per_polarity=2, **plain), engine=engine)
    for core, per_polarity in ((one, 1), (two, 2)):
        for device in range(2 * per_polarity):
            pulse(core, device, 40 if device < per_polarity else 60)
    np.testing.assert_allclose(rows_of(one), rows_of(two), rtol=1e-6)


def test_factors_of_one_change_nothing() -> None:
    config = fa.override(CONFIG, {"significance": (1.0, 1.0)})
    assert config.device_significance() is ALIKE
    assert digest(program_core(config=config)) == digest(program_core())


@pytest.mark.parametrize("factors", [(4.0, 1.0), (1.0, 4.0), (8.0, 1.0, 4.0, 2.0)])
def test_exact_devices_add_up(factors: tuple[float, ...]) -> None:
    """Of the least significant ones that can hold a target, and none beyond SET."""
    config = fa.override(
        fa.presets.hermes(),
        {"devices_per_polarity": len(factors), "significance": factors, "g_max_us": 5.0},
    )
    most = 14 * sum(factors)
    targets = np.linspace(-most, most, 201, dtype=np.float32).reshape(1, 3, 67)
    held = split_exact(targets, config)
    signed = np.array([*factors, *(-f for f in factors)])
    np.testing.assert_allclose(np.einsum("d,tdij->tij", signed, held), targets, atol=1e-4)
    assert held.min() >= 0
    assert held.max() <= 14 * (1 + 1e-6)
    analog = (held > 1e-4) & (held < 14 * (1 - 1e-6))
    assert (analog.sum(axis=1) <= 1).all()
    large = np.abs(signed) > min(factors)
    small = np.abs(targets[0]) < 13.9 * min(factors)
    assert not held[0, large][:, small].any()


# --- the start ------------------------------------------------------------------------------------


def allocated(engine: Engine, target: float, factors: tuple[float, ...]) -> tuple[Any, ...]:
    """Device, SET ones, aim, surplus and rest of one cell; SET is 10 µS, and falls by 1/25.5."""
    half = len(factors)
    device, filled, aim = np.zeros((3, 1, 1, 1), np.uint8)
    surplus, rest = np.zeros((half - 1, 1, 1, 1), np.uint8), np.zeros((1, 1, 1), np.float32)
    values = 10 * np.float32(factors).reshape(half, 1, 1, 1)
    curve = np.linspace(10, 0, 256, dtype=np.float32)
    tables = (values, curve, np.float32([*factors, *factors]))
    written = (device, filled, aim, surplus, rest)
    engine.allocate(np.full((1, 1, 1), target, np.float32), *tables, *written)
    return device.item(), filled.item(), aim.item(), surplus.ravel().tolist(), rest.item()


@pytest.mark.nojit
@TWINS
@pytest.mark.parametrize(
    ("target", "factors", "expected"),
    [
        (5.0, (4, 1), (1, 0, 128, [0], 5)),  # the less significant one holds it alone
        (20.0, (4, 1), (0, 0, 128, [1], 20)),  # 20 / 4 of SET's 10
        (43.0, (4, 1), (1, 0b01, 178, [255], 3)),
        (-43.0, (4, 1), (3, 0b100, 178, [255], -3)),
        (20.0, (1, 4), (1, 0, 128, [0], 20)),
        (60.0, (4, 1), (1, 0b01, 0, [255], 20)),  # out of reach
        (0.0, (4, 1), (1, 0, 255, [255], 0)),
        (55.0, (8, 4, 2, 1), (2, 0b0010, 64, [0, 255, 3], 15)),
        (9.0, (8, 4, 2, 1), (3, 0, 26, [0, 1, 2], 9)),
        (95.0, (8, 4, 2, 1), (2, 0b0001, 64, [255, 1, 3], 15)),
    ],
)
def test_allocation(
    engine: Engine, target: float, factors: tuple[float, ...], expected: tuple[Any, ...]
) -> None:
    found = allocated(engine, target, factors)
    assert found[:2] == expected[:2]
    assert abs(found[2] - expected[2]) <= 1
    assert found[3:] == (expected[3], pytest.approx(expected[4], abs=1e-4))


# --- the controller -------------------------------------------------------------------------------


def weighted(factors: tuple[float, ...], **given: Any) -> Call:
    return one_cell(**given, devices=2 * len(factors)) | {
        "significance": np.float32([*factors, *factors])
    }


@pytest.mark.nojit
@TWINS
def test_a_step_is_that_of_the_device(engine: Engine) -> None:
    """An error of 8 is one of 2 of a device that counts four times, and so is its threshold."""
    for device, codes in ((0, 2), (1, 8), (2, -2), (3, -8)):
        call = weighted((4.0, 1.0), reading=8.0, device=device)
        written = strategies.run(engine, "verify_pulses", call).written
        assert written["level"].item() == (100 + codes) * LEVELS
    for margin, fires in ((1.9, True), (2.1, False)):
        call = weighted((4.0, 1.0), reading=8.0, margin=margin)
        call["scatter"][:] = 1
        written = strategies.run(engine, "verify_pulses", call).written
        assert (written["fire"].item() == 0) is fires
    for read_std, fires in ((7.9, True), (8.1, False)):
        call = weighted((4.0, 1.0), reading=8.0, kappa=1.0)
        call["read_std"][:] = read_std
        written = strategies.run(engine, "verify_pulses", call).written
        assert (written["fire"].item() == 0) is fires


@pytest.mark.nojit
@TWINS
def test_drift_ahead_is_that_of_the_device(engine: Engine) -> None:
    for device, extra in ((0, 4), (1, 1)):
        call = weighted((4.0, 1.0), reading=20.0 + extra, target=20.0, device=device)
        call["ahead"][:] = 1
        result = strategies.run(engine, "verify_pulses", call)
        assert result.out[0, 2:].tolist() == [0, (20 + extra) ** 2]


@pytest.mark.nojit
@TWINS
@pytest.mark.parametrize(
    ("given_", "device", "filled", "aim"),
    [
        (dict(reading=-8.0, level=0, filled=0), 1, 0b01, 247),  # 8 of the other
        (dict(reading=-8.0, level=0, filled=0, device=1), 0, 0b10, 253),  # 2 of it
        (dict(reading=8.0, level=TOP, filled=1, device=1), 0, 0, 2),
        (dict(reading=8.0, level=TOP, filled=0b1000, device=2), 2, 0b1000, 100),  # it subtracts
        (dict(reading=-8.0, level=TOP, filled=0b1000, device=2), 3, 0, 8),
    ],
)
def test_an_heir_holds_its_own_share(
    engine: Engine, given_: Call, device: int, filled: int, aim: int
) -> None:
    written = strategies.run(engine, "verify_pulses", weighted((4.0, 1.0), **given_)).written
    found = tuple(written[key].item() for key in ("device", "filled", "aim"))
    assert found == (device, filled, aim)


@pytest.mark.nojit
@TWINS
@pytest.mark.parametrize(
    ("given_", "device", "filled", "aim"),
    [
        (dict(reading=-8.0, level=0, filled=0b11111110, devices=16), 0, 0b11111110, 100),
        (dict(reading=-8.0, level=0, filled=0b01111110, devices=16), 7, 0b01111111, 247),
        (dict(reading=8.0, level=0, device=15, filled=0b1101, devices=16), 9, 0b10001101, 247),
        (dict(reading=-8.0, level=TOP, device=8, filled=0b10000000, devices=16), 15, 0, 8),
        (dict(reading=8.0, level=0, device=5, filled=0b11000001, devices=10), 9, 0b11100001, 247),
    ],
)
def test_handing_over_in_large_cells(
    engine: Engine, given_: Call, device: int, filled: int, aim: int
) -> None:
    """Bit d mod 8 is that of device d."""
    written = strategies.run(engine, "verify_pulses", one_cell(**given_)).written
    found = tuple(written[key].item() for key in ("device", "filled", "aim"))
    assert found == (device, filled, aim)


@pytest.mark.nojit
@TWINS
@pytest.mark.parametrize("devices", strategies.DEVICES_OF_A_CELL)
def test_the_second_half_of_the_devices_subtracts(engine: Engine, devices: int) -> None:
    for device in range(devices):
        call = one_cell(reading=8.0, device=device, devices=devices)
        result = strategies.run(engine, "verify_pulses", call)
        assert result.written["fire"].item() == device
        sign = 1 if device < devices // 2 else -1
        assert result.written["level"].item() == (100 + 8 * sign) * LEVELS


# --- methods --------------------------------------------------------------------------------------


@pytest.mark.parametrize("factors", [(4.0, 1.0), (8.0, 4.0, 2.0, 1.0)])
@pytest.mark.parametrize("allocation", ["two_device", "max_fill"])
@pytest.mark.parametrize("method", [ip, gdp, lambda **given: ip(verify="device", **given)])
def test_methods_on_the_chip(method: Any, allocation: str, factors: tuple[float, ...]) -> None:
    """They come nearer, and the chip finds no two analog devices in a cell; the textbook form
    leaves what SET devices are off."""
    targets = wanted() * np.float32(sum(factors) / 2)
    chip = coarse(targets, devices=2 * len(factors), significance=factors)
    _, start = program(method(iterations=12, allocation=allocation), chip)
    assert chip.rms() < (0.7 if method in (ip, gdp) else 1) * start


@pytest.mark.parametrize("factors", [(), (4.0, 1.0), (0.5, 3.0)])
def test_direct_write(factors: tuple[float, ...]) -> None:
    chip = FakeChip(wanted(), written=True, significance=factors)
    begin(DirectWrite(), chip)
    np.testing.assert_allclose(chip.cells, chip.targets, rtol=1e-6)


@NAMES
@pytest.mark.parametrize("allocation", ["two_device", "max_fill"])
@pytest.mark.parametrize(
    ("factors", "g_max_us"), [(None, 28.0), ((4.0, 1.0), 70.0), ((8.0, 4.0, 2.0, 1.0), 210.0)]
)
def test_without_noise_a_start_comes_as_near_as_codes_do(
    engine: str, allocation: str, factors: tuple[float, ...] | None, g_max_us: float
) -> None:
    """One shot at the nearest code: half a code of the analog device is left, times its factor."""
    count = len(factors or (1, 1))
    config = quiet(
        devices_per_polarity=count,
        significance=factors,
        g_max_us=g_max_us,
        drift=None,
        adc=IDEAL_ADC,
    )
    core = blank(config, engine=engine)
    low = 14e-2 * sum(factors or (1, 1))  # what devices in RESET add to either side
    targets = np.random.default_rng(4).uniform(low - g_max_us, g_max_us - low, core.shape)
    terminals = fa.terminals.Terminals(core, targets.astype(np.float32))
    method = fa.IterativeProgramming(allocation=allocation, verify_delay=0.0)
    backend = engines.load(engine)
    state = method.start(terminals, backend, np.zeros(2, np.uint32))
    curve = np.pad(terminals.nominal.conductance_us.astype(float), 1, mode="edge")
    gap = np.maximum(curve[:-2] - curve[1:-1], curve[1:-1] - curve[2:])[state["aim"]]
    own = np.array([*(factors or (1,) * count)] * 2)[state["device"]]
    assert (np.abs(rows_of(core) - targets) <= own * gap * 0.51 + 2.1 * low).all()


@pytest.mark.parametrize("method", [IP, GDP])
def test_files_and_checkpoints(method: Any, tmp_path: Path) -> None:
    whole = program_core(method=method, config=PAIR)
    fa.save(tmp_path / "matrix.npz", whole)
    loaded = fa.load(tmp_path / "matrix.npz")
    assert loaded.core.config.significance == (4.0, 1.0)
    expected = digest(whole)
    assert digest(loaded) == expected
    interrupted(tmp_path / "run.npz", 5, method=method, config=PAIR)
    assert digest(fa.resume(tmp_path / "run.npz", threads=1)) == expected


def test_json() -> None:
    assert fa.from_json(fa.to_json(PAIR)) == PAIR


@pytest.mark.parametrize("preset", [fa.presets.ideal, fa.presets.pcm_joshi])
def test_written_cells(preset: Any) -> None:
    """The ideal device reaches its targets; one with a spread has it in its own units."""
    config = fa.override(preset(), {"significance": (4.0,)})
    errors = [
        fa.weight_error(fa.program(WEIGHTS, config, seed=1, engine=engine))
        for engine in ("numba", "reference")
    ]
    assert errors[0] == pytest.approx(errors[1], rel=0.02, abs=1e-6)
    assert errors[0] < (1e-6 if preset is fa.presets.ideal else 0.5)


@pytest.mark.parametrize("method", [fa.IterativeProgramming(), fa.GradientDescentProgramming()])
def test_errors_of_programs(method: Any) -> None:
    """Relative to the largest weight, at the same part of the reach: eight devices are better than
    two, a factor of two costs nothing, and one of four a sixth (`bench`'s figures: 12 %)."""
    weights = np.random.default_rng(1).standard_normal((128, 128))
    errors = {}
    for name, changes in {
        "two": {},
        "eight": {"devices_per_polarity": 8, "g_max_us": 80.0},
        "(2, 1)": {"significance": (2.0, 1.0), "g_max_us": 30.0},
        "(4, 1)": {"significance": (4.0, 1.0), "g_max_us": 50.0},
    }.items():
        config = fa.override(fa.presets.hermes(), changes)
        matrix = fa.program(weights, config, method, seed=2)
        errors[name] = fa.mvm_error(matrix, samples=200).residual
    assert errors["eight"] < 0.8 * errors["two"]
    assert errors["(2, 1)"] < 1.03 * errors["two"]
    assert errors["(4, 1)"] < 1.2 * errors["two"]


def test_an_engine_takes_float32() -> None:
    found = PAIR.device_significance()
    assert found.dtype == F32
    assert found.tolist() == [4, 1, 4, 1]
