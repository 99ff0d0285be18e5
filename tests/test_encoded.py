"""SET devices read by encoded MVMs: what is read, how precisely, and what it costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fake_chip import KEY, FakeChip, coarse, typical, wanted

import fastaimc as fa
from fastaimc import engine as engines
from fastaimc.core import Core
from fastaimc.programming.encoded import SIGMAS, encoded_set_values
from fastaimc.terminals import Terminals

ENGINE = engines.load("numba")
SET, RESET = 0, 255
LINES = 32  # of the Hadamard matrix: the fake chip has as many rows
F32 = 1e-5  # assumption: rounding of float32 in sums of a hundred terms


def read(chip: FakeChip, settle: float = 0.0) -> np.ndarray:
    with ENGINE.threads(1):
        return encoded_set_values(chip.terminals, ENGINE, KEY, settle)


def held(chip: FakeChip) -> np.ndarray:
    """What the devices of each target's polarity hold, (device, tile, row, column), µS."""
    half = chip.devices // 2
    adds = chip.targets[:, None] >= 0
    own = np.where(adds, chip.conductance[:, :half], chip.conductance[:, half:])
    return own.swapaxes(0, 1)


def hidden(chip: FakeChip, index: int) -> np.ndarray:
    """Rows whose input was the same in all lines of batch `index`."""
    x = chip.inputs[index]
    return np.ptp(x, axis=0) == 0


@pytest.mark.parametrize("devices", [4, 6])
def test_ideal_reads_are_what_devices_hold(devices: int) -> None:
    """To a sixth of the devices' spread: those in RESET conduct, too, and the means of 32 devices
    are levelled by chance.  A row that was hidden is nominal, and so a later difference is off."""
    chip = FakeChip(wanted(), devices=devices)
    values = read(chip)
    count = devices // 2 - 1
    known = chip.targets != 0
    for index in range(count):
        known[:, hidden(chip, index)] = False
        true = held(chip)[index][known]
        off = values[index][known] - true
        assert np.sqrt(np.mean(off**2)) < true.std() / 6
    assert values[0][~(chip.targets != 0)] == pytest.approx(typical().set_us, rel=F32)
    assert not values[count:].any()


def test_the_last_device_is_not_read_and_others_are_set_in_turn() -> None:
    chip = FakeChip(wanted(), devices=6)
    read(chip, settle=0.1)
    assert [len(x) for x in chip.inputs] == [LINES, LINES]
    assert not chip.reads
    assert chip.waits == pytest.approx([10.0, 10.0])
    assert chip.order == ["pulse"] * 6 + ["wait", "mvm", "pulse", "wait", "mvm"]
    own = chip.targets != 0
    states = np.where(chip.targets[:, None] >= 0, chip.last_code[:, :3], chip.last_code[:, 3:])
    for index, code in enumerate((SET, SET, RESET)):
        assert (states[:, index][own] == code).all()
    assert (chip.last_code[:, :, 3][0] == RESET).all()  # a row of targets of zero


def test_a_cell_of_one_device_needs_no_read() -> None:
    chip = FakeChip(wanted() / 2, devices=2)
    assert not read(chip).any()
    assert not chip.inputs
    assert chip.order == ["pulse", "pulse", "wait"]


def test_offsets_do_not_matter() -> None:
    plain, shifted = FakeChip(wanted()), FakeChip(wanted(), offset_us=50.0)
    np.testing.assert_allclose(read(plain), read(shifted), rtol=0, atol=1e-4)


def test_outputs_stay_within_the_range() -> None:
    """Of `SIGMAS` standard deviations, as far as SET devices are nominal."""
    chip = coarse(wanted(), spread=0.0)
    read(chip)
    cells = (chip.targets != 0).sum(axis=1).max()
    wide = SIGMAS * float(np.abs(chip.inputs[0]).max()) * typical().set_us * np.sqrt(cells)
    assert wide <= chip.full_scale_us * (1 + F32)
    assert wide > 0.9 * chip.full_scale_us


def core(targets: np.ndarray, **adc: float) -> tuple[Core, Terminals]:
    """A core whose reads are noiseless but for the ADC."""
    changes: dict[str, Any] = {
        "rows": targets.shape[1], "columns": targets.shape[2], "read_noise": None, "drift": None,
        **dict.fromkeys(("adc.gain_std", "adc.offset_std", "adc.inl_std"), 0.0),
    }  # fmt: skip
    config = fa.override(fa.presets.hermes(), changes | {f"adc.{k}": v for k, v in adc.items()})
    identity = np.array([[1, 2, 0]], dtype=np.uint32)
    extents = np.array([targets.shape[1:]], dtype=np.int64)
    made = Core.blank(config, ENGINE, targets, identity, extents)
    return made, Terminals(made, targets)


def off(made: Core, terminals: Terminals) -> np.ndarray:
    """Errors of what is read of the first devices, (row, column), µS."""
    with ENGINE.threads(1):
        values = encoded_set_values(terminals, ENGINE, KEY, 0.0)
    true = np.where(terminals.targets >= 0, made.conductance[:, 0], made.conductance[:, 2])
    x = ENGINE.inputs(3, KEY, 1 << 31, terminals.shape[1], terminals.shape[1])
    kept = np.ptp(x, axis=0) > 0
    return np.asarray((values[0] - true)[0][kept])


def gaussian(size: int = 128) -> np.ndarray:
    return np.random.default_rng(3).normal(0, 6, (1, size, size)).astype(np.float32)


def test_rounding_is_that_of_a_code_over_the_root_of_the_lines() -> None:
    """σ = lsb / √12 / (amplitude √lines), within 15 %, what devices in RESET conduct aside."""
    made, terminals = core(gaussian())
    error = off(made, terminals)
    error -= error.mean()
    lines = terminals.shape[1]
    most = SIGMAS * terminals.nominal.set_us * np.sqrt(lines)
    codes = np.floor(terminals.full_scale_us[0] / most * terminals.dac_codes)
    amplitude = codes / terminals.dac_codes
    expected = terminals.lsb_us(False)[0] / np.sqrt(12) / (amplitude * np.sqrt(lines))
    leak = made.conductance[:, [1, 3]].std()
    assert error.std() == pytest.approx(np.hypot(expected, np.sqrt(3) * leak), rel=0.15)


def test_gains_of_columns_are_taken_off_but_for_their_devices_spread() -> None:
    """What is left of a gain's spread of 10 % is that of the means of 128 SET devices."""
    made, terminals = core(gaussian(), gain_std=0.1)
    columns = off(made, terminals).mean(axis=0)
    spread = terminals.nominal.set_spread_us / np.sqrt(terminals.shape[1])
    assert columns.std() < 1.3 * spread
    assert columns.std() < 0.3 * 0.1 * terminals.nominal.set_us
