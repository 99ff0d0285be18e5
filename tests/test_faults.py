"""Stuck devices: by rate and by map, and what they do to a program."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strategies
import tolerances
from hypothesis import given
from hypothesis import strategies as st
from interrupts import CONFIG, GDP, digest, interrupted, program
from strategies import SIZES, TINY, TWINS, Call, Size

import fastaimc as fa
from fastaimc import stuck
from fastaimc.api import _blank, _layers
from fastaimc.config import Faults
from fastaimc.engine import Engine

WEIGHTS = np.random.default_rng(0).standard_normal((40, 50))


@st.composite
def fault_calls(draw: st.DrawFn, size: Size) -> Call:
    generator = np.random.default_rng(draw(strategies.seeds))
    tiles, rows, columns = draw(strategies.shapes(size))
    devices = draw(st.sampled_from(strategies.DEVICES_OF_A_CELL))
    kind = generator.integers(0, 4, (tiles, devices, rows, columns)).astype(np.uint8)
    kind[generator.random(kind.shape) < 0.7] = 0
    return {
        "identity": strategies.identities(generator, tiles),
        "rates": (generator.random(3) / 3).astype(np.float32),
        "kind": kind,
    }


@SIZES
@given(data=st.data())
def test_faults(size: Size, data: st.DataObject) -> None:
    """Exactly the same devices, at the same places."""
    call = data.draw(fault_calls(size))
    found, expected = strategies.twins("faults", call)
    np.testing.assert_array_equal(found.out, expected.out)
    np.testing.assert_array_equal(found.written["kind"], expected.written["kind"])
    given_ = call["kind"] != 0
    np.testing.assert_array_equal(found.written["kind"][given_], call["kind"][given_])


@pytest.mark.nojit
@given(call=fault_calls(TINY))
def test_read_only_arguments(call: Call) -> None:
    strategies.accepts_read_only("faults", call)


@TWINS
def test_rates_are_what_they_say(engine: Engine) -> None:
    kind = np.zeros((1, 4, 200, 200), np.uint8)
    rates = np.array([0.02, 0.1, 0.005], np.float32)
    value = engine.faults(np.array([[1, 2, 3]], np.uint32), rates, kind)
    for which, rate in zip((1, 2, 3), rates, strict=True):
        bound = tolerances.SIGMAS * np.sqrt(rate * (1 - rate) / kind.size)
        assert abs((kind == which).mean() - rate) < bound
    places = value[kind == 3]
    assert abs(places.mean() - 0.5) < tolerances.SIGMAS / np.sqrt(12 * places.size)
    assert not value[kind != 3].any()


def test_no_pulse_moves_a_stuck_device() -> None:
    """Devices of a map hold what they held before, through a whole program."""
    kind = np.zeros((4, 40, 50), np.uint8)
    kind[0, 3, 4], kind[1, 5, 6], kind[2, 7, 8] = 1, 2, 3
    matrix = fa.program(WEIGHTS, CONFIG, seed=3, faults=kind)
    other = fa.program(WEIGHTS, CONFIG, fa.IterativeProgramming(), seed=3, faults=kind)
    cells = [(0, 3, 4), (1, 5, 6), (2, 7, 8)]
    held = []
    for device, out, column in cells:
        tile, row, at = where(matrix, out, column)
        g = [m.core.conductance[tile, device, row, at] for m in (matrix, other)]
        assert g[0] == g[1]
        held.append(float(g[0]))
    device_us = CONFIG.device.g_set_us  # type: ignore[union-attr]
    assert 0.5 * device_us < held[0] < 2 * device_us
    assert held[1] < 0.5
    assert 0 < held[2] < device_us
    assert matrix.stuck == 3
    assert fa.program(WEIGHTS, CONFIG, seed=3).stuck == 0


def where(matrix: fa.AnalogMatrix, out: int, column: int) -> tuple[int, int, int]:
    """Tile, row and column of a weight."""
    mapping = matrix.programmed.mapping
    for tile in range(mapping.tiles):
        inputs, outputs = mapping.spans(tile)
        if inputs.start <= column < inputs.stop and outputs.start <= out < outputs.stop:
            return tile, column - inputs.start, out - outputs.start
    raise AssertionError


@pytest.mark.parametrize("method", [fa.GradientDescentProgramming(), fa.IterativeProgramming()])
def test_stuck_devices_only_worsen_the_error(method: Any) -> None:
    weights = np.random.default_rng(1).standard_normal((128, 128))
    config, errors = fa.presets.hermes(), []
    for rate in (0.0, 0.002, 0.01, 0.05):
        faults = Faults(set_rate=rate, reset_rate=rate)
        stuck = fa.program(weights, fa.override(config, {"faults": faults}), method, seed=2)
        errors.append(fa.mvm_error(stuck, samples=200).residual)
    assert errors == sorted(errors)
    assert errors[-1] > 1.5 * errors[0]


def test_rates_of_zero_change_nothing() -> None:
    config = fa.override(CONFIG, {"faults": Faults()})
    assert digest(program(config=config, method=GDP)) == digest(program(method=GDP))


def test_pulses_at_stuck_devices_cost_what_others_do() -> None:
    config = fa.override(CONFIG, {"faults": Faults(reset_rate=1.0)})
    matrix = fa.program(WEIGHTS, config, fa.IterativeProgramming(iterations=2), seed=3)
    assert matrix.cost.pulses_set + matrix.cost.pulses_reset > 4 * WEIGHTS.size
    assert np.abs(matrix.conductances()).max() < 1.5


def test_written_cells_are_stuck_too() -> None:
    config = fa.override(fa.presets.pcm_joshi(), {"faults": Faults(reset_rate=0.2)})
    matrix = fa.program(np.ones((40, 50)), config, seed=1)
    dead = matrix.conductances() == 0
    assert abs(dead.mean() - 0.2) < tolerances.SIGMAS * np.sqrt(0.16 / 2000)


def test_stuck_devices_are_kept_in_files_and_checkpoints(tmp_path: Path) -> None:
    config = fa.override(CONFIG, {"faults": Faults(set_rate=0.05, anywhere_rate=0.05)})
    whole = program(config=config, method=GDP)
    fa.save(tmp_path / "matrix.npz", whole)
    assert fa.load(tmp_path / "matrix.npz").stuck == whole.stuck > 0
    interrupted(tmp_path / "run.npz", 5, method=GDP, config=config)
    assert digest(fa.resume(tmp_path / "run.npz", threads=1)) == digest(whole)


def test_maps_of_layers() -> None:
    kind = np.ones((4, 40, 50), np.uint8)
    layers = {"a": WEIGHTS, "b": WEIGHTS[:9, :7], "c": WEIGHTS[:20]}
    found = fa.program(layers, CONFIG, seed=3, faults={"c": kind[:, :20]})
    assert [found[name].stuck for name in layers] == [0, 0, 4 * 20 * 50]


def test_what_no_weight_uses_conducts_nothing() -> None:
    """Rows and columns beyond a smaller layer of the stack, and of a partial tile."""
    config = fa.override(CONFIG, {"faults": Faults(set_rate=0.3, anywhere_rate=0.3)})
    kind = np.ones((4, 9, 7), np.uint8)
    engine = fa.engine.load("numba")
    layers, blocks = _layers({"a": WEIGHTS, "b": WEIGHTS[:9, :7]}, config, 1.0)
    core, _ = _blank(layers, blocks, config, engine, 3, {"b": kind})
    assert (core.extents < core.shape[1:]).any()
    for tile, (rows, columns) in enumerate(core.extents):
        held = core.conductance[tile]
        assert held[:, :rows, :columns].any()
        assert not held[:, rows:].any()
        assert not held[:, :, columns:].any()
    assert core.stuck is not None
    assert stuck.count(core.stuck, core.extents) == np.bitwise_count(core.stuck).sum()


@pytest.mark.parametrize("weights", [WEIGHTS, {"fc1": WEIGHTS}])
def test_a_map_of_no_layer_is_not_left_out(weights: Any) -> None:
    known = "one array" if weights is WEIGHTS else r"layers of weights \('fc1'\), .*mean 'fc1'"
    with pytest.raises(fa.InputError, match=f"faults must .*{known}"):
        fa.program(weights, CONFIG, faults={"fc2": np.zeros((4, 40, 50), int)})


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        (np.zeros((4, 50, 40), int), r"must be integers of shape \(device, out, in\) = \(4, 40, 5"),
        (np.zeros((4, 40, 50)), "must be integers"),
        (np.full((4, 40, 50), 4), "must hold 0"),
        (np.full((4, 40, 50), -1), "must hold 0"),
    ],
)
def test_impossible_maps(faults: np.ndarray, message: str) -> None:
    with pytest.raises(fa.InputError, match=message):
        fa.program(WEIGHTS, CONFIG, faults=faults)


@pytest.mark.parametrize("rates", [{"set_rate": -0.1}, {"reset_rate": 1.1}, {"anywhere_rate": "x"}])
def test_impossible_rates(rates: dict[str, Any]) -> None:
    with pytest.raises(fa.ConfigError, match=f"faults.{next(iter(rates))} must"):
        Faults(**rates)
    with pytest.raises(fa.ConfigError, match=r"add up to at most 1, got 1\.2"):
        Faults(set_rate=0.6, reset_rate=0.6)
