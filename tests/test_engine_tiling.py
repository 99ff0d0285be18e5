"""Windows of images and sums over tiles: both twins give the same bits, and NumPy's own answer."""

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from strategies import SIZES, TINY, TWINS, Call, Size

from fastaimc.engine import Engine
from fastaimc.parameters import F32


@st.composite
def patch_calls(draw: st.DrawFn, size: Size) -> Call:
    random = np.random.default_rng(draw(strategies.seeds))
    images, windows = draw(st.integers(0, 4)), draw(st.integers(0, size.batch))
    blocks, rows = draw(st.integers(1, size.tiles)), draw(st.integers(1, size.rows))
    reach, start = draw(st.integers(1, 50)), draw(st.integers(1, 50))
    offsets = random.integers(0, reach, (blocks, rows))
    offsets[random.random((blocks, rows)) < 0.2] = -1
    return {
        "images": random.uniform(-1, 1, (images, start + reach)).astype(np.float32),
        "bases": random.integers(0, start, windows),
        "offsets": offsets,
    }


@st.composite
def join_calls(draw: st.DrawFn, size: Size) -> Call:
    random = np.random.default_rng(draw(strategies.seeds))
    batch, width = draw(st.integers(0, size.batch)), draw(st.integers(1, size.columns))
    blocks = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    widths = random.integers(1, width + 1, blocks[1])
    tiles = blocks[0] * blocks[1]

    def drawn(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    return {
        "y": drawn(tiles, batch, width),
        "programmed": drawn(2, tiles, width),
        "compensated": drawn(2, tiles, width),
        "edges": np.concatenate([[0], np.cumsum(widths)]),
        "unit": drawn(int(widths.sum())),
        "input_range": F32(draw(strategies.floats(0.1, 10))),
    }


@SIZES
@given(data=st.data())
def test_patches(size: Size, data: st.DataObject) -> None:
    call = data.draw(patch_calls(size))
    found, expected = strategies.twins("patches", call)
    np.testing.assert_array_equal(found.out, expected.out)


@pytest.mark.nojit
@TWINS
def test_patches_are_those_of_numpy(engine: Engine) -> None:
    """Windows of two by three, in steps of two by one, in images of two channels; in two blocks."""
    images = np.random.default_rng(0).normal(size=(3, 5, 6, 2)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(images, (2, 3), axis=(1, 2))[:, ::2]
    place = np.arange(images[0].size).reshape(5, 6, 2)
    bases = place[:4:2, :4, 0].reshape(-1)
    offsets = place[:2, :3].transpose(2, 0, 1).reshape(2, 6)  # a channel is a block
    offsets = np.pad(offsets, ((0, 0), (0, 1)), constant_values=-1)
    found = engine.patches(images.reshape(3, -1), bases, offsets)
    assert found.shape == (2, 3 * 8, 7)
    assert not found[:, :, 6].any()
    wanted = np.moveaxis(windows, 3, 0).reshape(2, 24, 6)
    np.testing.assert_array_equal(found[:, :, :6], wanted)


@SIZES
@given(data=st.data())
def test_join(size: Size, data: st.DataObject) -> None:
    call = data.draw(join_calls(size))
    found, expected = strategies.twins("join", call)
    np.testing.assert_array_equal(found.out, expected.out)


@pytest.mark.nojit
@TWINS
def test_join_corrects_each_column_and_sums_over_inputs(engine: Engine) -> None:
    """Two blocks of inputs, outputs in blocks of two and one: the last column is nobody's."""
    y = np.ones((4, 1, 2), np.float32) * F32([1, 10, 100, 1000]).reshape(4, 1, 1)
    programmed = np.stack([np.full((4, 2), 2), np.full((4, 2), 1)]).astype(np.float32)
    compensated = np.stack([np.full((4, 2), 3), np.full((4, 2), -1)]).astype(np.float32)
    edges, unit = np.array([0, 2, 3]), F32([1, 0.5, 0.25])
    found = engine.join(y, programmed, compensated, edges, unit, F32(4))
    left, right = (sum((2 * y + 1) * 3 - 1 for y in ys) for ys in ((1, 100), (10, 1000)))
    np.testing.assert_array_equal(found, F32([[4 * left, 2 * left, right]]))


@given(patches=patch_calls(TINY), join=join_calls(TINY))
def test_read_only_arguments(patches: Call, join: Call) -> None:
    strategies.accepts_read_only("patches", patches)
    strategies.accepts_read_only("join", join)
