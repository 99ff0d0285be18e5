"""Least-squares reads: what regression knows of cells, by its closed forms, and what follows."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from fake_chip import IP_STEP, KEY, ROWS, WAITS, FakeChip, coarse, ip, program, wanted
from tolerances import SIGMAS, regression

import fastaimc as fa
from fastaimc import engine as engines
from fastaimc.engine import INPUT_KINDS
from fastaimc.programming import LeastSquaresReadProgramming
from fastaimc.programming.least_squares import RANDOM, regress

BATCH, COLUMNS = 80, 400


def least_squares(**values: Any) -> LeastSquaresReadProgramming:
    plain = {"iterations": 12, "step": IP_STEP, "amplitude": 0.6, "over_sampling": 2.0, **WAITS}
    return LeastSquaresReadProgramming(**(plain | values))


def random_inputs(kind: str, batch: int = BATCH, rows: int = ROWS) -> np.ndarray:
    return engines.load("reference").inputs(INPUT_KINDS[kind], KEY, 0, batch, rows)


def centred(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)


def matrices(scale: float = 5.0) -> np.ndarray:
    return scale * np.random.default_rng(3).normal(size=(2, ROWS, COLUMNS))


@pytest.mark.parametrize("inputs", RANDOM)
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_of_exact_reads_the_estimate_is_exact(inputs: str, offset: float) -> None:
    """But for the rounding of the outputs; each column has an offset of its own."""
    x, cells = random_inputs(inputs), matrices()
    constant = offset * np.random.default_rng(4).normal(size=(2, 1, COLUMNS))
    y = (x.astype(np.float64) @ cells + constant).astype(np.float32)
    found, read_std = regress(x, y)
    assert found.dtype == read_std.dtype == np.float32
    assert (np.abs(found - cells) <= regression(x, y, cells)).all()
    assert (read_std < 1e-6 * np.abs(cells).max()).all()


@pytest.mark.parametrize("inputs", RANDOM)
@pytest.mark.parametrize("noise_us", [0.1, 3.0])
def test_the_estimates_vary_by_the_inverse_of_the_inputs_products(
    inputs: str, noise_us: float
) -> None:
    """Errors e of a column have the covariance v·inv(X'X), so that e'(X'X)e/v is a chi-square.

    With N degrees of freedom a column: of n in all its mean varies by √(2/n).  So does what the
    residuals say of v, with B - 1 - N a column; its root by half of that.
    """
    x, cells = random_inputs(inputs), matrices()
    noise = noise_us * np.random.default_rng(6).normal(size=(2, BATCH, COLUMNS))
    found, read_std = regress(x, (x @ cells + noise).astype(np.float32))
    off = found - cells
    gram = centred(x).T @ centred(x)
    squares = np.einsum("tij,ik,tkj->", off, gram, off) / noise_us**2
    assert abs(squares / off.size - 1) < SIGMAS * np.sqrt(2 / off.size)
    expected = noise_us * np.sqrt(np.linalg.inv(gram).diagonal().mean())
    free = COLUMNS * (BATCH - 1 - ROWS)
    assert (np.abs(read_std / expected - 1) < SIGMAS / np.sqrt(2 * free)).all()


def test_random_inputs_cost_precision_that_orthogonal_ones_need_not() -> None:
    """Gaussian inputs of power p: the variance is v/(p·(B - N - 2)) in the mean, not v/(p·B)."""
    rows, batch, noise_us = 64, 128, 1.0
    x = np.random.default_rng(0).normal(size=(batch, rows)).astype(np.float32)
    noise = np.random.default_rng(1).normal(size=(1, batch, COLUMNS))
    _, read_std = regress(x, noise.astype(np.float32))
    assert read_std[0] ** 2 * (batch - rows - 2) / noise_us == pytest.approx(1, abs=0.1)


def test_what_no_input_shows_is_left_alone() -> None:
    """Two rows that are always driven alike; one never; and no more inputs than rows."""
    x = random_inputs("sign")
    x[:, 5] = x[:, 6]
    x[:, 7] = 0
    cells = matrices()
    found, read_std = regress(x, (x @ cells).astype(np.float32))
    known = np.delete(np.arange(ROWS), [5, 6, 7])
    np.testing.assert_allclose(found[:, known], cells[:, known], atol=1e-3)
    assert (read_std > 0).all()
    x = random_inputs("sign", 3, 1)
    found, read_std = regress(np.ones_like(x), np.ones((1, 3, 2), np.float32))
    assert np.isfinite(found).all()
    assert np.isfinite(read_std).all()


# --- the method -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allocation", "start"), [("two_device", [ROWS, ROWS, 1]), ("max_fill", [])]
)
def test_it_reads_no_cell_after_the_start(allocation: str, start: list[int]) -> None:
    chip = FakeChip(wanted())
    program(least_squares(iterations=3, final_passes=0, allocation=allocation), chip)
    assert [len(rows) for rows, _, _ in chip.reads] == start
    assert [x.shape for x in chip.inputs] == [(2 * ROWS, ROWS)] * 3
    assert len({x.tobytes() for x in chip.inputs}) == 3


@pytest.mark.parametrize(
    ("over_sampling", "rows", "batch"),
    [(2.0, 32, 64), (1.01, 32, 34), (1.3, 256, 333), (1.5, 1, 3)],
)
def test_a_round_has_more_inputs_than_rows(over_sampling: float, rows: int, batch: int) -> None:
    assert least_squares(over_sampling=over_sampling).batch(rows) == batch


def test_cells_are_held_to_the_mean_of_their_estimates() -> None:
    """Whose errors are independent from round to round: nine have a ninth of their variance."""
    chip = FakeChip(wanted(), noise_us=1.0)
    step = dataclasses.replace(IP_STEP, margin=1e6, margin_end=1e6)
    off = {}
    for rounds in (1, 9):
        state, _ = program(least_squares(iterations=rounds, step=step, final_passes=0), chip)
        assert (state["count"] == rounds).all()
        off[rounds] = np.square(state["total"] / rounds - chip.cells).mean()
    assert 9 * off[9] / off[1] == pytest.approx(1, abs=SIGMAS * 2 / np.sqrt(chip.cells.size))


@pytest.mark.parametrize("offset_us", [0.0, 5.0])
def test_it_needs_no_cell_to_be_read_and_no_offset(offset_us: float) -> None:
    """Through an ADC whose step is far above what cells are to be held to."""
    chip = coarse(wanted(), offset_us=offset_us)
    _, start = program(least_squares(iterations=25, allocation="max_fill"), chip)
    assert chip.rms() < 0.25 * start
    other = coarse(wanted(), offset_us=offset_us)
    program(ip(allocation="max_fill"), other)
    assert chip.rms() < 0.7 * other.rms()


@pytest.mark.parametrize("inputs", RANDOM)
def test_twins_program_alike(inputs: str) -> None:
    """After a whole program their MVM error agrees within 2 % (rounding flips thresholds)."""
    weights = np.random.default_rng(0).standard_normal((32, 48))
    method = LeastSquaresReadProgramming(iterations=8, inputs=inputs)
    errors = []
    for engine in ("numba", "reference"):
        runs = [
            fa.program(weights, method=method, seed=s, engine=engine, threads=1) for s in range(3)
        ]
        errors.append(np.mean([fa.mvm_error(run, samples=100).total for run in runs]))
    assert errors[0] == pytest.approx(errors[1], rel=0.02)


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (5, 1)], ids=str)
def test_tiny_matrices(shape: tuple[int, int]) -> None:
    weights = np.random.default_rng(0).standard_normal(shape)
    for engine in ("numba", "reference"):
        matrix = fa.program(weights, method=least_squares(), engine=engine, threads=1)
        assert np.isfinite(matrix.weights()).all()


def test_counted_pulses() -> None:
    weights = np.random.default_rng(0).standard_normal((16, 32))
    errors = [
        fa.mvm_error(fa.program(weights, fa.presets.pcm_nandakumar(), method, threads=1)).total
        for method in (least_squares(), least_squares(iterations=1, final_passes=0))
    ]
    assert errors[0] < errors[1]
