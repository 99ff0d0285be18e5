"""MVMs in one, two and four phases: the same product, noise and costs of their own."""

from typing import Any

import numpy as np
import pytest
from tiny_core import IDEAL_ADC, TWINS, blank, mvm, pulse, quiet
from tolerances import EPS, SIGMAS, sums

import fastaimc as fa
from fastaimc import engine as engines
from fastaimc.circuit.phases import PHASES, held, multiply, selections, turn
from fastaimc.circuit.ranges import column_scales, full_scales
from fastaimc.config import ADC, DAC, Circuit, CoreConfig, MeltQuench, ReadNoise
from fastaimc.core import Core
from fastaimc.cost import cost_of
from fastaimc.engine import NO_PATTERN
from fastaimc.parameters import F32

MANY = pytest.mark.parametrize("phases", [2, 4])
ALL = pytest.mark.parametrize("phases", [1, 2, 4])


def core_of(phases: int, engine: str = "reference", **values: Any) -> Core:
    """Two tiles of devices of both polarities, one of them partial."""
    config = quiet(**({"dac": DAC(bits=None, phases=phases), "device": MeltQuench()} | values))
    core = blank(config, [(5, 6), (3, 2)], engine)
    for device, code in ((0, 30), (1, 55), (2, 60), (3, 50)):
        pulse(core, device, code)
    core.full_scale_us *= 20  # of cells that are to hold 1 µS
    return core


def inputs(batch: int, rows: int = 5, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).uniform(-1, 1, (1, batch, rows)).astype(np.float32)
    x[0, 0] = 0
    return x


# --- what they compute ----------------------------------------------------------------------------


@pytest.mark.nojit
@TWINS
@MANY
def test_phases_agree_exactly_where_no_sum_is_rounded(engine: str, phases: int) -> None:
    """Whole conductances and inputs: every product and sum is exact in float32."""
    generator = np.random.default_rng(1)
    plus, minus = generator.integers(0, 50, (2, 2, 9, 70)).astype(np.float32)
    x = generator.integers(-8, 9, (3, 12, 9)).astype(np.float32) / 8
    nothing, group = np.zeros_like(plus), np.array([2, 0], np.int32)
    identity = np.array([[1, 2, 0], [1, 2, 1]], np.uint32)
    adcs = (np.zeros((2, 4, 70), np.float32), F32([4096, 512]), F32(0))
    whole = ((plus - minus, nothing),)
    apart = turn(((plus, nothing), (-minus, nothing)))
    np.testing.assert_array_equal(held(apart), plus - minus)
    state = (identity, 5, adcs)
    backend = engines.load(engine)
    wanted = multiply(backend, 1, x, group, NO_PATTERN, whole, *state)
    pairs = apart if phases == 4 else whole
    found = multiply(backend, phases, x, group, NO_PATTERN, pairs, *state)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.nojit
@TWINS
@MANY
def test_a_core_multiplies_alike_in_all_phases(engine: str, phases: int) -> None:
    x = inputs(12)
    one, more = (core_of(p, engine) for p in (1, phases))
    for core in (one, more):
        core.wait(3600.0)
    y, again = (mvm(core, x) for core in (one, more))
    size = np.abs(x[0]) @ sum(abs(mean) for mean, _ in more.pairs())
    np.testing.assert_allclose(again, y, rtol=0, atol=(4 * sums(5) + sums(8)) * size.max())
    assert np.abs(y).max() > 1
    for whole, parts in zip(one.matrices(), more.matrices(), strict=True):
        np.testing.assert_allclose(parts, whole, rtol=0, atol=8 * EPS * np.abs(whole).max())
    assert np.isfinite(mvm(more, x)).all()  # from matrices that were kept


@pytest.mark.nojit
@MANY
def test_twins_agree_draw_by_draw(phases: int) -> None:
    """Noise and ADCs on: by a step of one phase's ADC here and there, where it rounds."""
    values = {"adc": ADC(bits=8, noise_std=0.01, dead_time=0.1), "read_noise": ReadNoise()}
    found = [mvm(core_of(phases, engine, **values), inputs(50)) for engine in engines.MODULES]
    core = core_of(phases, **values)
    step = core.full_scale_us[:, None, None] / abs(core.mvm_codes(True))
    off = np.abs(found[0] - found[1]) / step
    assert (off > 1e-3).mean() < 0.01
    assert off.max() < 1.5
    assert (found[0][0] != 0).mean() > 0.7


@pytest.mark.nojit
@pytest.mark.parametrize("devices", [2, 4, 8])
def test_every_device_conducts_in_one_selection(devices: int) -> None:
    assert [int(s[0, 0, 0]) for s in selections(2, devices)] == [2**devices - 1]
    plus, minus = (int(s[0, 0, 0]) for s in selections(4, devices))
    assert (plus & minus, plus | minus) == (0, 2**devices - 1)
    assert plus == 2 ** (devices // 2) - 1


# --- noise ----------------------------------------------------------------------------------------


def test_phases_draw_noise_of_their_own_and_the_first_what_one_phase_draws() -> None:
    """Of a single input of +1 and its opposite every phase shows by itself."""
    ones = np.ones((1, 1, 4), np.float32)
    pairs = ((0 * ones, ones), (0 * ones, ones))
    identity, group = np.array([[1, 2, 3]], np.uint32), np.zeros(1, np.int32)
    adcs = (np.zeros((1, 4, 4), np.float32), F32([1]), F32(0))
    reference = engines.load("reference")

    def drawn(phases: int, x: float, number: int = 7) -> np.ndarray:
        given = F32([[[x]]])
        own = pairs if phases == 4 else pairs[:1]
        rest = (own, identity, number, adcs)
        return multiply(reference, phases, given, group, NO_PATTERN, *rest).ravel()

    one = drawn(1, 1.0)
    np.testing.assert_array_equal(drawn(2, 1.0), one)
    both = [drawn(p, x) for p in (2, 4) for x in (1.0, -1.0)]
    values = np.abs(np.stack([*both, drawn(1, 1.0, number=8)]))
    assert len(np.unique(values)) == values.size


@TWINS
@ALL
def test_the_variance_of_the_noise_does_not_depend_on_the_phases(engine: str, phases: int) -> None:
    """It is sum x² sigma² of all devices, as every one conducts for each input once; the ADC's own
    noise comes with every phase."""
    noise_std, draws = 0.02, 4000
    for own in (0.0, noise_std):
        adc = ADC(bits=None, gain_std=0, offset_std=0, inl_std=0, noise_std=own)
        core = core_of(phases, engine, read_noise=ReadNoise(), adc=adc)
        x = np.repeat(inputs(2)[:, 1:], draws, axis=1)
        pairs = core.pairs()
        y = mvm(core, x)[0].astype(float)
        variance = sum(np.square(x[0, 0].astype(float)) @ v[0] for _, v in pairs)
        variance = variance + phases * (own * float(core.full_scale_us[0])) ** 2
        error = variance * np.sqrt(2 / draws)
        assert (np.abs(y.var(axis=0) - variance) < SIGMAS * error).all()
        middle = x[0, 0].astype(float) @ held(pairs)[0]
        assert (np.abs(y.mean(axis=0) - middle) < SIGMAS * np.sqrt(variance / draws) + 1e-4).all()


# --- quantisation ---------------------------------------------------------------------------------


@TWINS
@ALL
def test_quantisation_error_halves_with_every_bit(engine: str, phases: int) -> None:
    """Of each phase a step / sqrt(12): a step is full scale over 2^(bits-1) - 1, or in four phases,
    whose currents have one sign, over 2^bits - 1."""
    generator = np.random.default_rng(3)
    plus, minus = generator.uniform(5, 15, (2, 1, 40, 40)).astype(np.float32)
    x = generator.uniform(-1, 1, (1, 500, 40)).astype(np.float32)
    group, identity = np.zeros(1, np.int32), np.array([[1, 2, 0]], np.uint32)
    nothing = np.zeros_like(plus)
    pairs = ((plus, nothing), (minus, nothing)) if phases == 4 else ((plus - minus, nothing),)
    exact = x[0].astype(float) @ (plus.astype(float) - minus)[0]
    backend, full_scale = engines.load(engine), 500.0
    columns = np.zeros((1, 7, 40), np.float32)
    columns[:, 6] = 1
    for bits in (6, 8, 10, 12):
        codes = ADC(bits=bits).mvm_codes(False, phases)
        assert codes == (1 - 2**bits if phases == 4 else 2 ** (bits - 1) - 1)
        adcs = (columns, F32([full_scale]), F32(codes))
        y = multiply(backend, phases, x, group, NO_PATTERN, pairs, identity, 0, adcs)[0]
        step = full_scale / abs(codes)
        wanted = phases * step**2 / 12
        # The square of a sum of p uniform errors has at most twice its mean squared as variance.
        bound = SIGMAS * wanted * np.sqrt(2 / exact.size)
        assert abs(((y - exact) ** 2).mean() - wanted) < bound + 1e-6


@TWINS
def test_one_bit_is_the_sign_or_half_of_the_range(engine: str) -> None:
    full = core_of(1, engine, adc=ADC(bits=1)).full_scale_us[0]
    adc = ADC(bits=1, gain_std=0, offset_std=0, inl_std=0)
    signs = mvm(core_of(1, engine, adc=adc), inputs(40))[0]
    np.testing.assert_allclose(np.abs(signs), full, rtol=1e-6)
    assert (signs[0] > 0).all()  # of nothing
    four = mvm(core_of(4, engine, adc=adc), inputs(40))[0]
    core = core_of(4, engine, adc=adc)
    assert set(np.rint(four / core.full_scale_us[0]).ravel()) <= {-2.0, -1.0, 0.0, 1.0, 2.0}
    assert (four[0] == 0).all()


# --- ranges ---------------------------------------------------------------------------------------


@ALL
def test_a_range_leaves_four_sigma_beyond_the_mean(phases: int) -> None:
    generator = np.random.default_rng(2)
    targets = np.zeros((2, 40, 30), np.float32)
    targets[0] = generator.normal(0, 5, (40, 30))
    extents = np.array([[40, 30], [40, 30]])
    config = CoreConfig(dac=DAC(phases=phases), read_noise=None)
    own = column_scales(targets[0], extents[0], config)
    x = generator.uniform(-1, 1, (20_000, 40))
    signed = targets[0].astype(float)
    polarities = [np.maximum(signed, 0), np.maximum(-signed, 0)] if phases == 4 else [signed]
    driven = x if phases == 1 else np.maximum(x, 0)
    y = np.stack([driven @ g for g in polarities])
    leak = 0.25 * 40 * 2 * 0.14 if phases == 4 else 0.0
    wanted = (np.abs(y.mean(axis=1)) + 4 * y.std(axis=1)).max(axis=0) + leak
    np.testing.assert_allclose(own, wanted, rtol=4 * SIGMAS / np.sqrt(2 * 20_000))
    whole = full_scales(targets, extents, config)
    assert whole[0] == pytest.approx(own.max() if phases > 1 else np.sqrt((own**2).mean()))
    assert whole[1] == config.g_max_us  # a tile of zeros


# --- costs ----------------------------------------------------------------------------------------


@pytest.mark.nojit
@ALL
def test_phases_take_time_codes_and_energy(phases: int) -> None:
    circuit = Circuit(t_mvm_s=1.0, t_phase_s=100.0, energy_mvm_j=1.0, energy_phase_j=10.0)
    core = core_of(phases, circuit=circuit, adc=IDEAL_ADC)
    start = core.clock_s.copy()
    mvm(core, inputs(3))
    np.testing.assert_allclose(core.clock_s - start, 3 * (1 + 100 * (phases - 1)))
    assert core.counters["mvms"].tolist() == [3, 3]
    assert core.counters["adc_conversions"].tolist() == [18 * phases, 6 * phases]
    core.read_rows(np.arange(5), None, False)  # one row's inputs have one sign
    assert core.counters["adc_conversions"].tolist() == [18 * phases + 30, 6 * phases + 6]
    config = fa.override(core.config, {"circuit.energy_set_j": 0.0, "circuit.energy_reset_j": 0.0})
    cost = cost_of(core.counters, core.clock_s, core.extents, config)
    assert cost.mvm_equivalents == phases * 6 + 5 + 3
    share = [0.5 * (rows * columns / 65536 + columns / 256) for rows, columns in core.extents]
    row = [0.5 * (columns / 65536 + columns / 256) for _, columns in core.extents]
    mvms = 3 * (1 + 10 * (phases - 1)) * sum(share)
    assert cost.energy_j == pytest.approx(mvms + 5 * row[0] + 3 * row[1])


def test_the_published_times_and_energies() -> None:
    circuit = Circuit()
    assert circuit.mvm_s(1), circuit.mvm_s(4) == pytest.approx((133e-9, 521e-9))
    assert circuit.mvm_j(4) == pytest.approx(52.9e-9)
    assert set(PHASES) == {1, 2, 4}


# --- programs -------------------------------------------------------------------------------------


@MANY
def test_a_program_in_phases_is_as_good_as_in_one(phases: int) -> None:
    """Ideal ADCs: the same product, and noise of the same size."""
    weights = np.random.default_rng(5).normal(size=(12, 16))
    method = fa.GradientDescentProgramming(iterations=3, batch=16)
    config = fa.override(fa.presets.hermes(), {"rows": 16, "columns": 16, "adc.bits": None})
    errors = []
    for p in (1, phases):
        matrix = fa.program(weights, fa.override(config, {"dac.phases": p}), method, threads=1)
        errors.append(fa.mvm_error(matrix, samples=300))
    assert errors[1].floor == pytest.approx(errors[0].floor, rel=0.15)
    assert errors[1].total < 1.5 * errors[0].total + 0.02
