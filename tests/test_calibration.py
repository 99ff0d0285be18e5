"""The offsets of the columns that IP takes off its reads."""

import numpy as np
import pytest
from fake_chip import SCATTER_US, FakeChip, begin, coarse, ip, rms, typical, wanted

from fastaimc import engine as engines
from fastaimc.programming.start import prepare


@pytest.mark.parametrize("devices", [4, 6])
def test_ip_finds_offsets_below_a_step(devices: int) -> None:
    """A reading of nothing is off by a rounding; sums over n rows by (devices per polarity + 1)
    roundings over sqrt(n), and the two are weighted."""
    targets = np.random.default_rng(3).normal(0, 6, (1, 300, 40)).astype(np.float32)
    targets[0, :, 1] = 0  # no cell of this column adds up
    chip = coarse(targets, devices=devices, offset_us=3.0)
    step, half = float(chip.lsb_us(False)[0]), devices // 2
    dark = begin(ip(), chip)["dark"][0]
    assert [len(rows) for rows, _, _ in chip.reads] == [300] * half + [1, 300]
    together = chip.reads[-1][1]
    of_one_polarity = np.where(targets >= 0, 2**half - 1, (2**half - 1) << half)
    np.testing.assert_array_equal(together, of_one_polarity)
    off = np.delete(dark - chip.offset, 1)
    expected = step * np.sqrt((half + 1) / 12 / 300) / (half - 1)
    assert rms(off) < 1.5 * expected
    assert abs(dark[1] - chip.offset[1]) <= step / 2
    plain = begin(ip(calibrate=False), again := coarse(targets, devices=devices, offset_us=3.0))
    assert [len(rows) for rows, _, _ in again.reads] == [300] * half + [1]
    np.testing.assert_allclose(plain["dark"][0], np.rint(chip.offset / step) * step, rtol=1e-6)


@pytest.mark.parametrize("cell_lsb_us", [0.1, 0.2])
def test_ip_calibrates_where_a_step_is_coarser_than_a_pulse(cell_lsb_us: float) -> None:
    chip = coarse(wanted(), cell_lsb_us=cell_lsb_us)
    assert 0.1 < SCATTER_US.max() < 0.2
    begin(ip(fine=True), chip)
    assert len(chip.reads) == (3 if cell_lsb_us == 0.1 else 4)


@pytest.mark.parametrize("step", [0.02, 3.0, 9.0])
def test_set_devices_are_believed_as_far_as_their_reads_are_exact(step: float) -> None:
    """What a device that stays SET is taken for is off by the posterior's spread, of a prior of
    10 % of 12 µS and two roundings, of its read and of the offset."""
    targets = np.random.default_rng(4).uniform(12, 17, (1, 300, 40)).astype(np.float32)
    chip = FakeChip(targets, full_scale_us=99.0, codes=round(99 / step), offset_us=5.0)
    chip.shift[...] = 0.0
    plain = dict(fine=False, settle=0.02, shoot=True, calibrate=False)
    state = prepare(chip.terminals, engines.load("numba"), "two_device", **plain, rest=True)
    filled = state["filled"]
    held = sum(np.where(filled >> d & 1, chip.conductance[:, d], 0) for d in range(2))
    alone = np.isin(filled, (1, 2))
    assert alone.mean() > 0.5
    taken = (targets - state["rest"])[alone]
    error = taken - held[alone]
    prior, read = 1.2**2, chip.lsb_us(False)[0] ** 2 / 6
    step = float(chip.lsb_us(False)[0])
    dark = np.rint(chip.offset / step) * step
    seen = np.rint((held + chip.offset) / step) * step - dark
    nominal = typical().set_us
    expected = nominal + prior / (prior + read) * (seen[alone] - nominal)
    np.testing.assert_allclose(taken, expected, rtol=1e-5)
    assert rms(error) < 1.15 * np.sqrt(prior * read / (prior + read))
