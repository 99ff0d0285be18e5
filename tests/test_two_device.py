"""Two-device programming: what is claimed of its start states, in its direction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fake_chip import G_SET_US, IP_STEP, REACH_US, ROWS, SET, SHAPE, WAITS, FakeChip, program

import fastaimc as fa
from fastaimc.programming import TwoDeviceProgramming

SEEDS = range(3)


def two_device(**values: Any) -> TwoDeviceProgramming:
    plain = {"iterations": 25, "step": IP_STEP, **WAITS}
    return TwoDeviceProgramming(**(plain | values))


def uniform() -> np.ndarray:
    """Targets of which many are beyond one device, (tile, row, column), µS."""
    random = np.random.default_rng(5)
    return random.uniform(-REACH_US, REACH_US, SHAPE).astype(np.float32)


def left(allocation: str, spread: float) -> float:
    chip = FakeChip(uniform(), spread=spread)
    program(two_device(allocation=allocation), chip)
    return chip.rms()


def test_tdp_knows_what_max_fill_takes_for_alike() -> None:
    """Of devices that differ the first reads what SET ones conduct; of others there is nothing to
    read but their scatter."""
    assert left("two_device", 1) < 0.3 * left("max_fill", 1)
    assert left("two_device", 0) > 0.9 * left("max_fill", 0)


def test_what_max_fill_is_off_is_what_set_devices_are() -> None:
    """Its analog devices reach their shares; its cells with a SET device are off by that one."""
    chip = FakeChip(uniform())
    state, _ = program(two_device(allocation="max_fill"), chip)
    device = state["device"][:, None] == np.arange(chip.devices)[:, None, None]
    filled = (chip.last_code == SET) & ~device
    shares = np.where(device, chip.conductance, 0).sum(axis=1)
    with_set = filled.any(axis=1)
    assert 0.1 < with_set.mean() < 0.9
    held = np.abs(shares - np.abs(state["rest"]))
    assert np.quantile(held[with_set], 0.9) < 0.02 * G_SET_US
    off = np.abs(chip.error)
    assert off[with_set].mean() > 3 * off[~with_set].mean()


def test_only_tdp_reads_set_devices() -> None:
    for allocation, start in (("two_device", [ROWS, ROWS, 1]), ("max_fill", [1])):
        chip = FakeChip(uniform())
        program(two_device(iterations=4, allocation=allocation), chip)
        assert [len(rows) for rows, _, _ in chip.reads] == start + [ROWS] * 4


@pytest.mark.parametrize("preset", ["pcm_nandakumar"])
def test_devices_that_count_pulses_share_a_target(preset: str) -> None:
    config = getattr(fa.presets, preset)()
    with pytest.raises(fa.ConfigError, match="TwoDeviceProgramming needs devices that a pulse"):
        fa.program(np.eye(3), config, TwoDeviceProgramming())


def test_the_gap_grows_with_the_spread_of_set_devices() -> None:
    """On a core, whose devices spread by so much; read in the range of single cells."""
    ratios = []
    for spread in (0.0, 0.15, 0.3):
        size = {"rows": 64, "columns": 64, "device.g_set_spread": spread}
        config = fa.override(fa.presets.hermes(), size)
        weights = {str(s): np.random.default_rng(s).standard_normal((64, 64)) for s in SEEDS}
        errors = [
            np.mean([fa.weight_error(m) for m in fa.program(weights, config, method).values()])
            for method in (
                TwoDeviceProgramming(fine=True),
                TwoDeviceProgramming(fine=True, allocation="max_fill"),
            )
        ]
        ratios.append(errors[1] / errors[0])
    assert ratios[0] < 1.05
    assert 1.05 < ratios[1] < ratios[2]
