"""Weights to tiles and back: nothing is lost but roundings, whatever the shape."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import EPS, sums

from fastaimc import presets
from fastaimc.config import CoreConfig, override
from fastaimc.errors import InputError
from fastaimc.mapping import Mapping, check_weights, from_tiles, split_inputs, to_tiles
from fastaimc.reference.tiling import join

pytestmark = pytest.mark.nojit

IDEAL = presets.ideal()
# A weight is divided by its row's largest, scaled to g_max (in float64 or float32, at most two
# roundings), rounded to float32, and scaled back in float64: half a unit each, of the largest at
# most.
ROUND_TRIP = 4 * EPS


def core(rows: int = 256, columns: int = 256, **changes: Any) -> CoreConfig:
    return override(IDEAL, {"rows": rows, "columns": columns} | changes)


def mapped(weights: Any, config: CoreConfig) -> tuple[Mapping, np.ndarray]:
    return to_tiles(check_weights("weights", weights), config)


def joined(mapping: Mapping, y: np.ndarray) -> np.ndarray:
    """Outputs of tiles in weights, nothing corrected."""
    none = np.zeros((2, y.shape[0], y.shape[2]), np.float32)
    none[0] = 1
    unit = mapping.scale.astype(np.float32)
    return join(y, none, none, mapping.column_edges, unit, np.float32(1))


@st.composite
def matrices(draw: st.DrawFn) -> np.ndarray:
    shape = (draw(st.integers(1, 40)), draw(st.integers(1, 40)))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = generator.standard_normal(shape) * 10.0 ** draw(st.integers(-30, 30))
    weights *= generator.random(shape) < draw(st.sampled_from([0.1, 0.5, 1.0]))
    weights *= generator.random((shape[0], 1)) < draw(st.sampled_from([0.3, 1.0]))
    return weights.astype(draw(st.sampled_from([np.float32, np.float64])))


@given(weights=matrices(), rows=st.integers(1, 17), columns=st.integers(1, 17))
def test_weights_come_back_from_tiles(weights: np.ndarray, rows: int, columns: int) -> None:
    config = core(rows, columns)
    mapping, targets = mapped(weights, config)
    assert targets.dtype == np.float32
    assert targets.shape[1] <= rows
    assert targets.shape[2] <= columns
    assert np.abs(targets).max() <= config.g_max_us
    assert mapping.clipped == 0
    again = from_tiles(mapping, targets)
    assert again.shape == weights.shape
    assert again.dtype == np.float32
    largest = np.abs(weights).max(axis=1, keepdims=True).astype(np.float64)
    assert (np.abs(again - weights) <= ROUND_TRIP * largest + 2.0**-149).all()
    assert (again[weights == 0] == 0).all()


@given(
    length=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    size=st.tuples(st.integers(1, 600), st.integers(1, 600)),
)
def test_cuts_are_few_and_even(length: tuple[int, int], size: tuple[int, int]) -> None:
    """Inputs are cut by the rows and outputs by the columns of a crossbar."""
    inputs, outputs = length
    flat = np.broadcast_to(np.float32(0), (outputs, inputs))
    if inputs * outputs > 10**6:  # the cut of one side does not depend on the other
        flat = flat[:1] if inputs > outputs else flat[:, :1]
    mapping, targets = to_tiles(flat, core(*size))
    for edges, whole, most in (
        (mapping.row_edges, flat.shape[1], size[0]),
        (mapping.column_edges, flat.shape[0], size[1]),
    ):
        parts = np.diff(edges)
        assert (edges[0], edges[-1]) == (0, whole)
        assert len(parts) == -(-whole // most)
        assert parts.max() <= most
        assert parts.max() - parts.min() <= 1
    assert mapping.tiles == len(targets) == len(mapping.extents)
    assert targets.shape[1:] == tuple(mapping.extents.max(axis=0))


@given(weights=matrices(), rows=st.integers(1, 17), columns=st.integers(1, 17))
def test_tiles_hold_every_cell_once_and_zero_beyond(
    weights: np.ndarray, rows: int, columns: int
) -> None:
    mapping, targets = mapped(weights, core(rows, columns))
    seen = np.zeros(weights.shape, dtype=int)
    for tile in range(mapping.tiles):
        inputs, outputs = mapping.spans(tile)
        used = mapping.extents[tile]
        assert (inputs.stop - inputs.start, outputs.stop - outputs.start) == tuple(used)
        seen[outputs, inputs] += 1
        assert not targets[tile, used[0] :].any()
        assert not targets[tile, :, used[1] :].any()
    assert (seen == 1).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 5000), (300, 257)])
def test_shapes(shape: tuple[int, int]) -> None:
    weights = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    mapping, targets = mapped(weights, core())
    assert mapping.shape == shape
    assert mapping.blocks == (-(-shape[1] // 256), -(-shape[0] // 256))
    largest = np.abs(weights).max(axis=1, keepdims=True)
    assert (np.abs(from_tiles(mapping, targets) - weights) <= ROUND_TRIP * largest).all()
    if shape == (1, 1):
        assert targets.tolist() == [[[np.float32(np.sign(weights[0, 0]) * 20.0)]]]


def test_the_largest_of_an_output_becomes_g_max() -> None:
    """Per output, and not per tile: an output cut into two tiles has one scale."""
    weights = np.array([[1.0, -2.0, 0.5, 0.25], [0.0, 0.0, 0.0, 3.0]])
    mapping, targets = mapped(weights, core(rows=2))
    assert targets[:, :, 0].tolist() == [[10.0, -20.0], [5.0, 2.5]]
    assert targets[:, :, 1].tolist() == [[0.0, 0.0], [0.0, 20.0]]
    assert mapping.scale.tolist() == [0.1, 0.15]
    assert mapping.extents.tolist() == [[2, 2], [2, 2]]


def test_outputs_without_weights_are_exactly_zero() -> None:
    weights = np.array([[0.0, 0.0], [1.0, -1.0], [0.0, 0.0]])
    mapping, targets = mapped(weights, core())
    assert mapping.scale.tolist() == [0.0, 0.05, 0.0]
    noisy = targets + np.float32(0.3)  # whatever cells and converters make of it
    assert not from_tiles(mapping, noisy)[[0, 2]].any()
    y = joined(mapping, np.ones((1, 4, 3), dtype=np.float32))
    assert y.tolist() == [[0.0, np.float32(0.05), 0.0]] * 4


def test_an_all_zero_matrix() -> None:
    mapping, targets = mapped(np.zeros((3, 4)), core(rows=2))
    assert not targets.any()
    assert not mapping.scale.any()
    assert not from_tiles(mapping, targets + 1).any()


def test_what_a_quantile_clips_is_counted() -> None:
    weights = np.array([[1.0, 2.0, 3.0, -4.0, 100.0], [1.0, 1.0, 1.0, 1.0, 1.0]])
    mapping, targets = mapped(weights, core(weight_quantile=0.75))
    assert mapping.clipped == 1
    assert targets[0, :, 0].tolist() == [5.0, 10.0, 15.0, -20.0, 20.0]
    again = from_tiles(mapping, targets)
    np.testing.assert_allclose(again[0], [1, 2, 3, -4, 4], rtol=ROUND_TRIP)
    assert mapped(-weights, core(weight_quantile=0.75))[0].clipped == 1
    assert mapped(weights, core())[0].clipped == 0
    generator = np.random.default_rng(2)
    many = generator.standard_normal((4, 1000)).astype(np.float32)
    assert mapped(many, core(weight_quantile=0.9))[0].clipped == 400


@given(
    weights=matrices(),
    rows=st.integers(1, 17),
    columns=st.integers(1, 17),
    batch=st.integers(0, 5),
)
def test_split_product_joined_is_the_product(
    weights: np.ndarray, rows: int, columns: int, batch: int
) -> None:
    mapping, targets = mapped(weights, core(rows, columns))
    x = np.random.default_rng(3).uniform(-1, 1, (batch, weights.shape[1])).astype(np.float32)
    parts = split_inputs(mapping, x, targets.shape[1])
    assert parts.shape == (mapping.blocks[0], batch, targets.shape[1])
    y = np.stack(
        [parts[tile // mapping.blocks[1]] @ targets[tile] for tile in range(mapping.tiles)]
    )
    found = joined(mapping, y)
    assert found.shape == (batch, weights.shape[0])
    assert found.dtype == np.float32
    exact = x.astype(np.float64) @ weights.T.astype(np.float64)
    size = np.abs(x).sum(axis=1)[:, None] * np.abs(weights).max(axis=1).astype(np.float64)
    # a sum of n products, of targets that are themselves rounded, and two roundings of the scale
    bound = (sums(weights.shape[1] + mapping.blocks[0]) + ROUND_TRIP + 2 * EPS) * size
    assert (np.abs(found - exact) <= bound + 2.0**-126).all()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64, np.float16, ">f4"])
def test_other_numbers(dtype: Any) -> None:
    weights = np.array([[1, 2], [3, 100]], dtype=dtype)
    mapping, targets = mapped(weights, core())
    np.testing.assert_allclose(from_tiles(mapping, targets), [[1, 2], [3, 100]], rtol=ROUND_TRIP)


def test_checked_weights_are_not_copied_without_need_and_never_changed() -> None:
    weights = np.random.default_rng(4).standard_normal((6, 8))
    before = weights.copy()
    weights.flags.writeable = False
    assert check_weights("w", weights) is weights
    for given_weights in (weights, weights[::-1, ::2], weights.T, np.asfortranarray(weights)):
        mapping, targets = mapped(given_weights, core(rows=3, columns=5))
        assert np.abs(from_tiles(mapping, targets) - given_weights).max() < 1e-6
    assert (weights == before).all()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            np.array([[1.0, np.nan], [np.inf, 2.0]]),
            "be finite, got 2 NaN or inf, the first at (0, 1)",
        ),
        (np.full((1, 1), 1e39), "fit into float32, got |weight| up to 1e+39"),
        (np.zeros((2, 0)), "not be empty, got shape (2, 0)"),
        (np.zeros((2, 3, 4)), "be 2-D (out_features, in_features), got shape (2, 3, 4)"),
        (np.ma.array([[1.0]], mask=[[True]]), "not be a masked array"),
        ([[1.0], [2.0, 3.0]], "be an array of real numbers, got: setting an array element"),
    ],
)
def test_weights_that_cannot_be(weights: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"layer must {message}")):
        check_weights("layer", weights)
