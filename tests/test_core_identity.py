"""What tells cores apart: the ranges of their ADCs, and the keys of their devices."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tiny_core import TWINS, blank, mvm, pulse, quiet, rows_of
from tolerances import SIGMAS

import fastaimc as fa
from fastaimc import core as core_module
from fastaimc import engine as engines
from fastaimc.circuit.ranges import CELL_HEADROOM, cell_range, full_scales
from fastaimc.config import ADC, CoreConfig, MeltQuench
from fastaimc.job import core_key
from fastaimc.matrix import AnalogMatrix
from fastaimc.terminals import Terminals

pytestmark = pytest.mark.nojit


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """On a busy machine starting threads takes longer than the work."""
    with engines.load("numba").threads(1):
        yield


# --- ranges of the ADC ----------------------------------------------------------------------------


def test_full_scale_is_four_sigma_of_the_outputs() -> None:
    random = np.random.default_rng(2)
    targets = np.zeros((3, 40, 30), dtype=np.float32)
    targets[0] = random.normal(0, 5, (40, 30))
    targets[1, :20, :10] = random.uniform(-9, 9, (20, 10))
    extents = np.array([[40, 30], [20, 10], [40, 30]])
    config = CoreConfig()
    found = full_scales(targets, extents, config)
    x = random.uniform(-1, 1, (4000, 40))
    for tile, (rows, columns) in enumerate(extents[:2]):
        y = x[:, :rows] @ targets[tile, :rows, :columns]
        # columns · 4000 outputs; those of a vector are not quite independent
        assert found[tile] == pytest.approx(4 * y.std(), rel=SIGMAS / np.sqrt(2 * 4000))
    assert found[2] == config.g_max_us  # a tile of zeros
    twice = fa.override(config, {"adc.full_scale_sigmas": 8.0})
    np.testing.assert_allclose(full_scales(targets, extents, twice)[:2], 2 * found[:2], rtol=1e-6)


def steps(values: np.ndarray, lsb_us: float) -> np.ndarray:
    """How far values lie from a whole number of codes, in codes."""
    codes = values.astype(float) / lsb_us
    distance: np.ndarray = np.abs(codes - np.rint(codes))
    return distance


@TWINS
@pytest.mark.parametrize(
    ("bits", "cell_lsb_us", "codes"),
    [(8, 0.129, 194), (4, 0.129, 194), (12, 0.129, 2047), (8, 1.0, 127), (8, 0.05, 500)],
)
def test_the_cell_range(engine: str, bits: int, cell_lsb_us: float, codes: int) -> None:
    """Its step is given; it reaches g_max and a quarter, or as far as the ADC's bits do."""
    adc = ADC(bits=bits, cell_lsb_us=cell_lsb_us)
    core = blank(quiet(device=MeltQuench(), adc=adc), engine=engine)
    assert codes == max(2 ** (bits - 1) - 1, int(np.ceil(CELL_HEADROOM * 20 / cell_lsb_us)))
    full_scale, half = cell_range(core.config, core.full_scale_us)
    assert half == codes
    np.testing.assert_allclose(full_scale, codes * cell_lsb_us, rtol=1e-6)
    terminals = Terminals(core, np.ones(core.shape, np.float32))
    np.testing.assert_allclose(terminals.lsb_us(True), cell_lsb_us, rtol=1e-6)
    coarse = core.full_scale_us / (2 ** (bits - 1) - 1)
    np.testing.assert_allclose(terminals.lsb_us(False), coarse, rtol=1e-6)
    for d in (0, 1):
        pulse(core, d, 45)
    fine, plain = rows_of(core, fine=True), rows_of(core)
    assert steps(fine, cell_lsb_us).max() < 1e-3
    assert steps(plain, float(coarse[0])).max() < 1e-3
    # Both ranges have columns of their own.
    assert (core.columns(0) != core.columns(1)).any()


@TWINS
def test_fine_without_a_cell_range_is_the_mvm_range(engine: str) -> None:
    config = quiet(device=MeltQuench(), adc=ADC(), read_noise=CoreConfig().read_noise)
    cores = [blank(config, engine=engine) for _ in range(2)]
    for core in cores:
        pulse(core, 0, 45)
    np.testing.assert_array_equal(rows_of(cores[0], fine=True), rows_of(cores[1], fine=False))
    terminals = Terminals(cores[0], np.ones(cores[0].shape, np.float32))
    np.testing.assert_array_equal(terminals.lsb_us(True), terminals.lsb_us(False))


@pytest.mark.parametrize("cell_lsb_us", [None, 0.129])
def test_an_ideal_adc_has_no_step(cell_lsb_us: float | None) -> None:
    core = blank(quiet(adc=ADC(bits=None, cell_lsb_us=cell_lsb_us, gain_std=0, offset_std=0)))
    terminals = Terminals(core, np.ones(core.shape, np.float32))
    assert (terminals.lsb_us(True) == 0).all()
    assert (terminals.lsb_us(False) == 0).all()


@TWINS
def test_programming_bits(engine: str) -> None:
    """4 bits while programming, 8 in use; the full scale is the same."""
    adc = ADC(bits=8, programming_bits=4, gain_std=0, offset_std=0, inl_std=0)
    config = quiet(device=MeltQuench(), adc=adc, compensation="none")
    core = blank(config, engine=engine)
    assert (core.half_codes(True), core.half_codes(False)) == (7, 127)
    terminals = Terminals(core, np.ones(core.shape, np.float32))
    np.testing.assert_allclose(terminals.lsb_us(False), core.full_scale_us / 7)
    pulse(core, 0, 60)
    x = np.random.default_rng(0).uniform(-1, 1, (1, 20, 5)).astype(np.float32)
    assert steps(mvm(core, x), float(core.full_scale_us[0]) / 7).max() < 1e-5
    method = fa.IterativeProgramming(iterations=1, final_passes=0)
    weights = np.random.default_rng(1).normal(size=(6, 5))
    matrix = fa.program(weights, config, method, engine=engine, threads=1)
    lsb = float(matrix.core.full_scale_us[0]) / 127
    codes = steps(matrix.mvm(x[0]) / matrix.programmed.mapping.scale, lsb)
    assert codes.max() < 1e-4
    same = ADC(bits=8)
    assert same.half_codes(programming=True) == same.half_codes(programming=False) == 127


# --- identity -------------------------------------------------------------------------------------


def test_layers_have_devices_of_their_own() -> None:
    """Of the seed and the name, so that a layer's do not depend on its neighbours."""
    weights = np.random.default_rng(3).normal(size=(6, 5))
    method = fa.IterativeProgramming(iterations=1, final_passes=0)

    def programmed(given: Any, seed: int = 4) -> Any:
        return fa.program(given, fa.presets.hermes(), method, seed=seed, threads=1)

    both = programmed({"a": weights, "b": weights})
    words = np.random.SeedSequence((4, zlib.crc32(b"a"))).generate_state(2)
    np.testing.assert_array_equal(both["a"].core.identity[:, :2], [words])
    np.testing.assert_array_equal(core_key(4, "a"), words)
    lone = programmed(weights)
    np.testing.assert_array_equal(
        lone.core.identity[:, :2], [np.random.SeedSequence((4,)).generate_state(2)]
    )
    swapped = programmed({"b": weights, "a": weights})
    found: dict[str, AnalogMatrix] = {
        "a": both["a"],
        "b": both["b"],
        "lone": lone,
        "seed": programmed({"a": weights}, seed=5)["a"],
    }
    names = list(found)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            same = found[one].core.conductance == found[other].core.conductance
            assert same.mean() < 0.01, (one, other)
    for name in ("a", "b"):
        np.testing.assert_array_equal(both[name].core.conductance, swapped[name].core.conductance)
    assert both["a"].core.identity[0, 2] == both["b"].core.identity[0, 2] == 0


def test_tiles_of_a_matrix_have_devices_of_their_own() -> None:
    core = blank(quiet(device=MeltQuench(), drift=None), [(5, 6), (5, 6)])
    pulse(core, 0, 0)
    assert (core.conductance[0, 0] != core.conductance[1, 0]).all()


def test_a_part_is_a_copy() -> None:
    core = blank(quiet(), [(5, 6), (3, 2)])
    pulse(core, 0, 45)
    core.wait(3.0)
    part = core.part(slice(1, 2), 3, 2)
    assert part.shape == (1, 3, 2)
    np.testing.assert_array_equal(part.conductance, core.conductance[1:, :, :3, :2])
    np.testing.assert_array_equal(part.clock_s, core.clock_s[1:])
    np.testing.assert_array_equal(part.identity, core.identity[1:])
    for name in core_module.STATE:
        assert not np.shares_memory(getattr(part, name), getattr(core, name)), name
    part.wait(1.0)
    assert core.counters["wait_s"][1] == 3
