"""Estimate-guided GDP on the fake chip and on a core: what it knows, and what it gains by that."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from fake_chip import BATCH, KEY, NONE, FakeChip, begin, coarse, gdp, go_on, guided, program, wanted

import fastaimc as fa
from fastaimc.programming import EstimateGuidedProgramming

SEEDS = range(5)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def no_pulses(method: Any) -> Any:
    step = dataclasses.replace(method.step, margin=1e6, margin_end=1e6)
    return dataclasses.replace(method, step=step)


@pytest.mark.parametrize("inputs", ["uniform", "gaussian", "sign", "hadamard"])
def test_estimates_become_the_errors(inputs: str) -> None:
    """Of cells that are never pulsed, and on a chip with an ideal ADC, to a tenth of them."""
    chip = FakeChip(wanted())
    method = no_pulses(guided(inputs=inputs, verify_delay=0, final_passes=0))
    state = begin(method, chip)
    rough = float(np.sqrt(state["variance"].mean()))
    go_on(method, chip, state)
    error = chip.cells - chip.targets
    left = state["error"] - error
    assert (left**2).mean() < 0.1 * (error**2).mean()
    assert correlation(state["error"], error) > 0.95
    assert np.sqrt(state["variance"].mean()) < 0.5 * rough
    assert (state["age"] == method.iterations).all()


def test_what_is_known_is_not_in_the_innovation() -> None:
    """Of a batch smaller than the rows, others' errors hide a cell: the more is known of them, the
    less so.  GDP's mean of as many batches is farther off."""
    off = {}
    for make in (gdp, guided):
        chip = FakeChip(wanted())
        method = make(batch=16, inputs="sign", iterations=40, verify_delay=0, final_passes=0)
        method = no_pulses(method)
        state = begin(method, chip)
        go_on(method, chip, state)
        known = state["error"] if make is guided else state["total"] / state["count"]
        off[make] = float(((known - (chip.cells - chip.targets)) ** 2).mean())
    assert off[guided] < 0.3 * off[gdp]


def test_a_pulsed_cell_begins_anew() -> None:
    chip = coarse(wanted())
    method = guided()
    state = begin(method, chip)
    go_on(method, chip, state, range(3))
    pulsed = chip.pulses[-1][0] != NONE
    assert 0 < pulsed.mean() < 1
    assert (state["age"][pulsed] == 0).all()
    assert (state["age"][~pulsed] > 0).all()
    assert not state["error"][pulsed].any()


@pytest.mark.nojit
@pytest.mark.parametrize("engine", ["numba", "reference"])
def test_the_defaults_program_a_strange_chip(engine: str) -> None:
    """Better than one shot does, by far: hyper-parameters do not belong to one kind of device."""
    chip = coarse(wanted())
    begin(gdp(), chip)
    one_shot = chip.rms()
    chip = coarse(wanted())
    program(EstimateGuidedProgramming(batch=BATCH), chip, engine=engine)
    assert chip.rms() < 0.5 * one_shot


def test_waits_and_ages_agree() -> None:
    """What a cell is to show is more, the younger it is; a row of losses for every age."""
    chip = FakeChip(wanted())
    method = guided(iterations=5, verify_delay=0.1, final_passes=2, final_delay=0.3)
    state = begin(method, chip, KEY)
    for index in range(5):
        gain, ahead = method._wait(chip.terminals, index)
        assert ahead.shape == (index + 1, 256)
        assert (np.diff(ahead, axis=0) <= 0).all()
        assert gain >= 1
    assert sum(chip.waits) == pytest.approx(200 * (0.1 + 3 * 0.1 + 2 * 0.3))
    assert state["age"].dtype == np.uint8


@pytest.mark.parametrize("inputs", ["hadamard", "uniform"])
def test_twins_program_alike(inputs: str) -> None:
    """After a whole program their MVM error agrees within 2 % (rounding flips thresholds)."""
    weights = np.random.default_rng(0).standard_normal((32, 48))
    method = EstimateGuidedProgramming(iterations=8, batch=64, inputs=inputs)
    errors = []
    for engine in ("numba", "reference"):
        runs = [
            fa.program(weights, method=method, seed=s, engine=engine, threads=1) for s in range(3)
        ]
        errors.append(np.mean([fa.mvm_error(run, samples=100).total for run in runs]))
    assert errors[0] == pytest.approx(errors[1], rel=0.02)


def test_counted_pulses_and_significance() -> None:
    weights = np.random.default_rng(0).standard_normal((16, 32))
    method = EstimateGuidedProgramming(iterations=16, batch=64, inputs="hadamard")
    for preset in ("pcm_nandakumar", "hermes"):
        config = getattr(fa.presets, preset)()
        errors = [
            fa.mvm_error(fa.program(weights, config, m, seed=1, threads=1), samples=100).total
            for m in (method, dataclasses.replace(method, iterations=1))
        ]
        assert errors[0] < errors[1]


def test_it_needs_fewer_mvms_than_gdp() -> None:
    """Claimed by the project itself: no worse a residual than GDP with three times as many.

    Both wait as long in all, as drift takes more than either leaves.
    """
    rng = np.random.default_rng(11)
    weights = {str(s): rng.standard_normal((64, 64)) for s in SEEDS}
    config = fa.override(fa.presets.hermes(), {"rows": 64, "columns": 64})
    few, many = 20, 60  # rounds; one goes into the start, of GDP three
    plain = fa.GradientDescentProgramming(iterations=many - 3, batch=64, affine_every=many)
    plain = dataclasses.replace(plain, verify_delay=(1 - 8 * 0.0247) / (many - 9))
    guided_ = fa.EstimateGuidedProgramming(iterations=few - 1, batch=64)
    rest = 1 - guided_.final_passes * guided_.final_delay
    waits = few - guided_.final_passes  # before iterations, and one before the start's reads
    guided_ = dataclasses.replace(guided_, verify_delay=rest / waits)
    residual = [
        np.mean([fa.mvm_error(m, samples=300).residual for m in matrices.values()])
        for matrices in (fa.program(weights, config, method, seed=3) for method in (guided_, plain))
    ]
    assert residual[0] < 1.03 * residual[1]
