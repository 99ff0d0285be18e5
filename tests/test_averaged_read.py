"""IP by averaged reads on the fake chip: what is claimed of it, in its direction."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from fake_chip import IP_STEP, ROWS, SCATTER_US, WAITS, FakeChip, coarse, ip, program, wanted
from tolerances import SIGMAS

from fastaimc.programming import AveragedReadProgramming

NOISE_US = 2.0  # where reads limit; pulses scatter by 0.04 to 0.11 µS
SEEDS = range(4)


def averaged(**values: Any) -> AveragedReadProgramming:
    plain = {"iterations": 12, "reads": 4, "step": IP_STEP, **WAITS}
    return AveragedReadProgramming(**(plain | values))


def left(method: Any, **chip: Any) -> float:
    """Return the spread of the cells' errors over their columns, root mean square over chips.

    What a column's cells are off together is the noise of its one dark reading.
    """
    variances = []
    for seed in SEEDS:
        one = FakeChip(wanted(seed), seed=seed, **chip)
        program(method, one)
        variances.append(one.error.var(axis=1).mean())
    return float(np.sqrt(np.mean(variances)))


def test_it_reads_every_row_so_often() -> None:
    chip = FakeChip(wanted())
    program(averaged(iterations=3, reads=5, final_passes=0), chip)
    assert [len(rows) for rows, _, _ in chip.reads] == [ROWS, ROWS, 1] + [ROWS] * 15
    assert chip.inputs == []


@pytest.mark.parametrize("reads", [1, 4, 9])
def test_a_mean_of_reads_has_the_kth_part_of_their_noise(reads: int) -> None:
    """In power: the variance over the rows of a column, whose offset is one dark reading's.

    The variance of n normals has a relative standard deviation of √(2/n).
    """
    chip = FakeChip(wanted(), noise_us=NOISE_US)
    step = dataclasses.replace(IP_STEP, margin=1e6, margin_end=1e6)
    state, _ = program(averaged(iterations=1, reads=reads, step=step, final_passes=0), chip)
    off = state["total"] - chip.cells
    found = off.var(axis=1, ddof=1).mean()
    numbers = off.size - off.shape[0] * off.shape[2]
    assert abs(found * reads / NOISE_US**2 - 1) < SIGMAS * np.sqrt(2 / numbers)


def test_it_pays_where_read_noise_limits() -> None:
    """Of as many rounds; where noise is less than the scatter of pulses it hardly does."""
    ratios = []
    for noise_us in (NOISE_US, SCATTER_US.min() / 2):
        once, often = (left(averaged(reads=reads), noise_us=noise_us) for reads in (1, 9))
        ratios.append(often / once)
    assert ratios[0] < 0.7
    assert ratios[1] > 0.9


def test_it_does_not_pay_where_rounding_limits() -> None:
    """All reads of a cell give one code: the mean is that of one read, and so are all pulses."""
    chips = [coarse(wanted()) for _ in range(2)]
    for chip, reads in zip(chips, (1, 4), strict=True):
        program(averaged(reads=reads), chip)
    for one, other in zip(chips[0].pulses, chips[1].pulses, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(chips[0].cells, chips[1].cells)


def test_with_one_read_it_is_ip() -> None:
    chips = [FakeChip(wanted(), noise_us=NOISE_US) for _ in range(2)]
    for chip, method in zip(chips, (averaged(reads=1), ip(iterations=12)), strict=True):
        program(method, chip)
    np.testing.assert_array_equal(chips[0].cells, chips[1].cells)
