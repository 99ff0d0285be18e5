"""Hadamard verify on the fake chip: what is claimed of it, in its direction."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fake_chip import IP_STEP, ROWS, WAITS, FakeChip, coarse, program, wanted

from fastaimc.programming import HadamardVerifyProgramming


def hadamard(**values: object) -> HadamardVerifyProgramming:
    step = dataclasses.replace(IP_STEP, kappa=0)
    plain = {"iterations": 25, "step": step, "amplitude": 0.6, **WAITS}
    return HadamardVerifyProgramming(**(plain | values))  # type: ignore[arg-type]


def test_it_reads_all_rows_at_once_and_as_often() -> None:
    chip = FakeChip(wanted())
    program(hadamard(iterations=3, final_passes=0), chip)
    assert [len(x) for x in chip.inputs] == [ROWS] * 3
    for x in chip.inputs:
        x = x.astype(float)
        np.testing.assert_allclose(x.T @ x, ROWS * 0.6**2 * np.eye(ROWS), atol=1e-5)


def test_a_decoded_read_has_less_of_the_converters_noise() -> None:
    """Than a read of one row, by the root of the number of lines, and by the amplitude more.

    What a step of the ADC rounds off is noise where the outputs differ; all rows drive it.
    """
    chip = coarse(wanted())
    step = dataclasses.replace(IP_STEP, margin=1e6, margin_end=1e6)
    state, _ = program(hadamard(iterations=1, final_passes=0, step=step), chip)
    decoded = state["total"] - (chip.cells - chip.targets)
    rows = chip.terminals.read_rows(np.arange(ROWS))
    alone = rows - chip.cells
    # But for the row that is driven alike in all lines: it passes for an offset of the column.
    ratio = np.median(np.abs(decoded)) / np.median(np.abs(alone))
    assert ratio < 1.5 / (0.6 * np.sqrt(ROWS))


@pytest.mark.parametrize("inputs_seen", [0, 1])
def test_a_round_stands_alone(inputs_seen: int) -> None:
    chip = FakeChip(wanted())
    state, start = program(hadamard(iterations=8 + inputs_seen, final_passes=0), chip)
    assert state["count"].max() == 1
    assert chip.rms() < 0.5 * start
