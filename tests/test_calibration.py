"""The calibration's arithmetic: spreads in bins, what is taken off them, IP's error."""

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import fastaimc as fa
from fastaimc.config import ProgrammedState

BENCH = Path(__file__).resolve().parent.parent / "bench"
FOLDER = BENCH / "experiments"


@pytest.fixture(scope="module")
def spread() -> ModuleType:
    spec = importlib.util.spec_from_file_location("spread", FOLDER / "spread.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["spread"] = module
    spec.loader.exec_module(module)
    return module


def test_published_curves_are_those_of_the_preset(spread: ModuleType) -> None:
    for devices, preset in ((1, fa.presets.hermes_one_device), (2, fa.presets.hermes_statistics)):
        device = preset().device
        assert isinstance(device, ProgrammedState)
        assert device.std_us == spread.PUBLISHED_US[devices]
    assert spread.published(1, np.array([0.0, 1.0])) == pytest.approx([0.15781817, 1.00756712])


def test_a_bin_keeps_the_spread_and_loses_its_mean_its_slope_and_the_noise(
    spread: ModuleType,
) -> None:
    rng = np.random.default_rng(0)
    target = rng.uniform(0, 1, 200_000)
    std = 0.02 + 0.05 * target
    noise_std = 0.03 * target
    cells = std * rng.standard_normal(target.shape) + noise_std * rng.standard_normal(target.shape)
    value = 0.9 * target + 0.1 + cells
    found = spread.binned_std(target, value, noise_std**2)
    expected = [std[abs(target - x) < 0.05].mean() for x in spread.CENTRES]
    # a sample's standard deviation is good to 1 / sqrt(2 n), the noise that goes adds to it
    assert found == pytest.approx(expected, rel=5 * 1.5 / np.sqrt(2 * 20_000))


def test_what_noise_alone_explains_leaves_nothing(spread: ModuleType) -> None:
    target = np.linspace(0, 1, 1000)
    found = spread.binned_std(target, target, np.full(1000, 0.1))
    assert (found == 0).all()


@pytest.mark.parametrize(
    ("devices", "preset"), [(1, "hermes_one_device"), (2, "hermes_statistics")]
)
def test_written_cells_have_the_published_spread(
    spread: ModuleType, devices: int, preset: str
) -> None:
    """Cells written by the statistics, drift off: what is found is what was put in."""
    config = fa.override(getattr(fa.presets, preset)(), {"drift": None, "read_noise.slow": False})
    if devices == 2:
        config = fa.override(config, {"g_max_us": 20.7})
    matrix = fa.program(spread.uniform_weights(0, 256), config, seed=1)
    # no write goes below nothing, which takes from the lowest bins
    assert spread.spread_us(matrix)[3:] == pytest.approx(spread.published(devices)[3:], rel=0.05)


def test_slow_noise_goes_by_its_closed_form(spread: ModuleType) -> None:
    """Exact cells that only fluctuate slowly have no spread of programming."""
    exact = {"device.std_us": (0.0,), "drift": None}
    config = fa.override(fa.presets.hermes_one_device(), exact)
    matrix = fa.program(spread.uniform_weights(0, 256), config, seed=1)
    sign = np.sign(matrix.targets)
    seen = spread.binned_std(
        *(np.ravel(sign * a) / 10.35 for a in (matrix.targets, matrix.conductances())),
        np.zeros(matrix.targets.size),
    )
    assert (spread.spread_us(matrix) < 0.3 * 10.35 * seen).all()
    assert (spread.slow_variance_us2(matrix) > 0).all()


def test_ips_error_knows_no_scale(spread: ModuleType) -> None:
    ideal = fa.presets.ideal()
    matrix = fa.program(spread.uniform_weights(0, 32), ideal, seed=0)
    assert spread.error_us(matrix) == pytest.approx(0, abs=1e-5)


def test_the_preset_has_what_was_found() -> None:
    document = json.loads((BENCH / "results" / "calibration.json").read_text())
    case = document["cases"][document["reported"]["chosen"]]
    config = fa.presets.hermes_calibrated()
    assert config.read_noise is not None
    assert config.drift is not None
    assert config.read_noise.slow == case["slow"]
    for name, value in case["parameters"].items():
        part = config.drift if name == "t_on_s" else config.device
        assert getattr(part, name) == value, name
    hermes = fa.presets.hermes()
    same = {name: getattr(hermes, name) for name in ("device", "drift", "read_noise")}
    assert dataclasses.replace(config, **same) == hermes
