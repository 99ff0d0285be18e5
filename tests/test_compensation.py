"""Digital corrections fitted on calibration outputs, from none to affine."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import fastaimc as fa
from fastaimc.circuit.compensation import correction

KINDS = ("none", "global", "column", "affine")
HERMES = fa.presets.hermes()


def case(noise: float = 0.0) -> dict[str, Any]:
    """Two tiles, the second one partial, whose columns report too little and something beside."""
    generator = np.random.default_rng(0)
    targets = generator.normal(0, 5, (2, 9, 7)).astype(np.float32)
    targets[1, 6:], targets[1, :, 4:] = 0, 0
    x = generator.uniform(-1, 1, (128, 9)).astype(np.float32)
    gain = generator.uniform(0.5, 0.9, (2, 1, 7))
    offset = generator.uniform(-3, 3, (2, 1, 7))
    wanted = x @ targets
    seen = wanted * gain + offset + noise * generator.normal(size=wanted.shape)
    return {
        "x": x,
        "seen": seen.astype(np.float32),
        "targets": targets,
        "extents": np.array([[9, 7], [6, 4]]),
        "gain": gain,
        "offset": offset,
    }


def corrected(kind: str, given: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """What is left of the error in every column in use, by tile, and the scales."""
    arguments = (given[key] for key in ("x", "seen", "targets", "extents"))
    scale, offset = correction(kind, *arguments)
    y = given["seen"] * scale
    if offset is not None:
        y = y + offset
    error = y - given["x"] @ given["targets"]
    return np.stack([np.square(error[0]).sum(), np.square(error[1, :, :4]).sum()]), scale


@pytest.mark.nojit
def test_an_affine_correction_takes_away_gain_and_offset() -> None:
    given = case()
    left, scale = corrected("affine", given)
    assert (left < 1e-6).all()
    np.testing.assert_allclose(scale[0], 1 / given["gain"][0], rtol=1e-5)
    np.testing.assert_allclose(scale[1, :, :4], 1 / given["gain"][1, :, :4], rtol=1e-5)


@pytest.mark.nojit
def test_a_scale_a_column_takes_away_gains_alone() -> None:
    given = case()
    given["seen"] = (given["x"] @ given["targets"] * given["gain"]).astype(np.float32)
    left, scale = corrected("column", given)
    assert (left < 1e-6).all()
    np.testing.assert_allclose(scale[0], 1 / given["gain"][0], rtol=1e-5)
    left, _ = corrected("global", given)
    assert (left > 1).all()


@pytest.mark.nojit
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_each_fits_at_least_as_well_as_the_one_before(noise: float) -> None:
    """On the calibration's own outputs a least-squares fit with more freedom is never worse."""
    given = case(noise)
    errors = [corrected(kind, given)[0] for kind in KINDS[1:]]
    for before, after in pairwise(errors):
        assert (after < before).all()


@pytest.mark.nojit
@pytest.mark.parametrize("kind", KINDS[1:])
def test_what_cannot_be_fitted_is_left(kind: str) -> None:
    """A column of zeros, one that reports the opposite, and a tile that reports nothing."""
    given = case()
    given["targets"][0, :, 0] = 0
    given["seen"][0, :, 0] = np.random.default_rng(1).normal(size=128)
    given["seen"][0, :, 1] *= -1
    given["seen"][1] = 0
    _, scale = corrected(kind, given)
    assert np.isfinite(scale).all()
    assert (scale > 0).all()
    assert (scale[1] == 1).all()
    if kind != "global":
        whole = corrected("global", given)[1]
        assert scale[0, 0, 1] == whole[0, 0, 0]


def test_drift_of_a_day_is_compensated_better_the_more_is_fitted() -> None:
    """A whole program of HERMES, on inputs of the calibration's kind.

    Fits of 128 outputs leave at most one of 64 parts more of what they cannot take away: 0.8 % of
    its size for two numbers a column.
    """
    weights = np.random.default_rng(3).normal(size=(48, 64))
    method = fa.GradientDescentProgramming(iterations=6, batch=64, affine_every=0)
    total = {}
    for kind in KINDS:
        config = fa.override(HERMES, {"compensation": kind, "adc.gain_std": 0.1, "rows": 64})
        matrix = fa.program(weights, config, method, seed=2, threads=1)
        late = matrix.at(86400.0)
        total[kind] = fa.mvm_error(late, samples=400).total
        again = fa.program(weights, config, method, seed=2, engine="reference").at(86400.0)
        assert fa.mvm_error(again, samples=400).total == pytest.approx(total[kind], rel=0.05)
    assert total["none"] > 1.2 * total["global"]
    assert total["global"] > 1.01 * total["column"]
    assert total["affine"] < 1.008 * total["column"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_correction_moves_nothing_else(kind: str) -> None:
    """Neither the counter of the noise, nor what the cells hold, nor the cost of programming."""
    weights = np.random.default_rng(4).normal(size=(5, 6))
    config = fa.override(fa.presets.hermes_statistics(), {"compensation": kind})
    matrix = fa.program(weights, config, seed=1, threads=1)
    plain = fa.program(weights, fa.override(config, {"compensation": "none"}), seed=1, threads=1)
    assert matrix.number == plain.number == 0
    assert matrix.cost == plain.cost
    np.testing.assert_array_equal(matrix.at(1e4).weights(), plain.at(1e4).weights())
