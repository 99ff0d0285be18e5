"""Strategies of crossbars behind wires."""

import numpy as np
from hypothesis import strategies as st
from strategies import Call, Size, seeds, shapes

from fastaimc.parameters import WireParameters


@st.composite
def wires(draw: st.DrawFn, rows: int, columns: int) -> WireParameters:
    """Resistances by the drop that 20 µS in all cells would make along a line, up to one half."""
    drops = draw(st.tuples(*[st.sampled_from([1e-4, 0.01, 0.5])] * 2))
    row, column = (2 * drop / (20 * n**2) for drop, n in zip(drops, (columns, rows), strict=True))
    unused = draw(st.integers(0, 3))
    return WireParameters(*map(np.float64, (row, column, (1 + unused) * column)))


@st.composite
def wire_calls(draw: st.DrawFn, size: Size) -> Call:
    """Pairs of devices from RESET to SET, and unformed ones."""
    generator = np.random.default_rng(draw(seeds))
    shape = draw(shapes(size))
    pair = np.exp(generator.uniform(np.log(0.05), np.log(20), (2, *shape))).astype(np.float32)
    pair[generator.random(pair.shape) < 0.1] = 0
    variances = (0.01 * pair**2 * generator.random(pair.shape)).astype(np.float32)
    return {
        "plus": pair[0],
        "minus": pair[1],
        "plus_variance": variances[0],
        "minus_variance": variances[1],
        "wires": draw(wires(*shape[1:])),
        "mean": np.full(shape, np.nan, np.float32),
        "variance": np.full(shape, np.nan, np.float32),
    }
