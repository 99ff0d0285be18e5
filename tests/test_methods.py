"""Every method on the fake chip: what it pulses, and where the cells end."""

from __future__ import annotations

import dataclasses
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from fake_chip import (
    BATCH,
    COLUMNS,
    GDP_STEP,
    IP_STEP,
    NONE,
    ROWS,
    SCATTER_US,
    SHAPE,
    TILES,
    FakeChip,
    begin,
    coarse,
    gdp,
    go_on,
    ip,
    program,
    rms,
    wanted,
)

from fastaimc.programming import (
    GradientDescentProgramming,
    IterativeProgramming,
    Method,
    State,
    Step,
    iterative,
)
from fastaimc.programming.gradient_descent import fit_columns

SLACK = 1e-3  # of a threshold: float32 and float64 differ by less in estimates

IP = {
    "cell": ip(),
    "cell max_fill": ip(allocation="max_fill"),
    "device": ip(verify="device"),
    "device max_fill": ip(verify="device", allocation="max_fill"),
}
GDP = {
    f"{inputs} {start}{' affine' * (every > 0)}": gdp(
        inputs=inputs, start_from=start, affine_every=every
    )
    for inputs in ("uniform", "gaussian", "sign", "hadamard")
    for start in ("single_shot", "ip", "reset")
    for every in (0, 5)
} | {"max_fill": gdp(allocation="max_fill")}


def table(methods: dict[str, Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("method", methods.values(), ids=methods.keys())


# --- IP -------------------------------------------------------------------------------------------


def verified_error(method: IterativeProgramming, chip: FakeChip, state: State) -> np.ndarray:
    """What a cell, or in the textbook form its analog device, holds beyond its share."""
    if method.verify == "cell":
        return chip.error
    index = state["device"][:, None].astype(int)
    held = np.take_along_axis(chip.conductance, index, axis=1)[:, 0]
    error: np.ndarray = held - np.abs(state["rest"])
    return error


def looks_at_shares(method: IterativeProgramming) -> bool:
    """The SET device is not what was believed of it, and nobody looks at it again."""
    return (method.verify, method.allocation) == ("device", "max_fill")


@pytest.mark.parametrize("engine", ["numba", "reference"])
@table(IP)
def test_ip_leaves_cells_within_the_margin(method: IterativeProgramming, engine: str) -> None:
    """With exact reads the margin alone decides: in the end who is left alone is within it."""
    chip = FakeChip(wanted())
    state, start = program(method, chip, engine=engine)
    error = verified_error(method, chip, state)
    margin = SCATTER_US[state["aim"]] * (1 + SLACK)
    alone = state["fire"] == NONE
    assert (np.abs(error) <= margin)[alone].all()
    # A pulse misses a margin of one standard deviation one time in three: after 25 rounds hardly a
    # cell is left, but for some whose devices are steeper than is known.
    assert alone.mean() > 0.95
    if not looks_at_shares(method):
        assert chip.rms() < 0.25 * start


@pytest.mark.parametrize("fine", [False, True])
@table(IP)
def test_ip_with_coarse_reads(method: IterativeProgramming, fine: bool) -> None:
    """A read is wrong by half a step, and its standard error at least that of a rounding."""
    method = dataclasses.replace(method, fine=fine)
    chip = coarse(wanted(), cell_lsb_us=0.129)
    state, start = program(method, chip)
    step = float(chip.lsb_us(fine)[0])
    assert step == pytest.approx(0.129) if fine else step > 0.5
    error = verified_error(method, chip, state)
    # Reads of a device that stays as it is are all alike: nothing is pooled but the rounding.
    assert (state["pooled"][:, 0] < 1e-6).all()
    threshold = np.maximum(SCATTER_US[state["aim"]], IP_STEP.kappa * step / np.sqrt(12))
    alone = state["fire"] == NONE
    assert (np.abs(error) <= (threshold + step / 2) * (1 + SLACK))[alone].all()
    assert alone.mean() > 0.7
    if not looks_at_shares(method):
        assert chip.rms() < 0.5 * start
    assert {flag for _, _, flag in chip.reads} == {fine}


def test_a_finer_read_programs_better() -> None:
    """And on a chip without a cell range `fine` means the range of MVMs."""
    end = []
    for fine, cell_lsb_us in ((True, 0.129), (False, 0.129), (True, None)):
        chip = coarse(wanted(), cell_lsb_us=cell_lsb_us)
        program(ip(fine=fine), chip)
        end.append(chip.rms())
    assert end[0] < 0.75 * end[1]
    assert end[2] == end[1]


def test_ip_pulses_exactly_what_is_beyond_the_margin() -> None:
    method = ip()
    chip = FakeChip(wanted())
    state = begin(method, chip)
    go_on(method, chip, state, range(1))
    error, aim = chip.error, state["aim"].copy()
    go_on(method, chip, state, range(1, 2))
    fired = chip.pulses[-1][0] != NONE
    ratio = np.abs(error) / SCATTER_US[aim]
    clear = np.abs(ratio - 1) > SLACK
    np.testing.assert_array_equal(fired[clear], (ratio > 1)[clear])
    assert 0 < fired.mean() < 1
    assert clear.mean() > 0.99
    norm = np.sqrt(np.square(chip.targets, dtype=float).sum(axis=(1, 2)))
    seen = np.sqrt(np.square(error).sum(axis=(1, 2)))
    np.testing.assert_allclose(state["batch_error"], seen / norm, rtol=1e-4)


def noisy_reads(chip: FakeChip, std_us: float) -> None:
    """Give every read a noise of its own."""
    noise, exact = np.random.default_rng(1), chip.convert

    def convert(y: np.ndarray, fine: bool = False) -> np.ndarray:
        return exact(y + std_us * noise.normal(size=y.shape), fine)

    chip.convert = convert  # type: ignore[method-assign]


def test_ip_averages_reads_since_the_last_pulse() -> None:
    """A mean of n reads errs by 1/sqrt(n) of one, and the reads show by how much one errs."""
    chip = FakeChip(wanted())
    noisy_reads(chip, 0.5)
    method = ip(step=dataclasses.replace(IP_STEP, margin=1e6, margin_end=1e6))
    state, _ = program(method, chip)
    assert (state["count"] == 25).all()
    error = state["total"] / 25 - chip.cells
    error += state["dark"][:, None]  # which is a single read, and off by 0.5
    # The mean of 768 squares is known to sqrt(2/768) = 5 %.
    assert rms(error) == pytest.approx(0.5 / np.sqrt(25), rel=0.2)
    seen = np.sqrt(state["pooled"][:, 0] / state["pooled"][:, 1])
    np.testing.assert_allclose(seen, 0.5, rtol=5 / np.sqrt(2 * ROWS * COLUMNS * 24))


def test_kappa_keeps_noise_from_pulsing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first read of a cell at its target lies beyond kappa standard errors with 2 Phi(-kappa)."""
    chip = FakeChip(wanted())
    noisy_reads(chip, 4.0)  # so large that margins do not count
    monkeypatch.setattr(iterative, "wait_for", lambda *_: (np.float32(1), np.zeros(256, "f4")))
    method = ip(iterations=40, final_passes=0)
    state = begin(method, chip)
    state["dark"][...] = 0  # a column's, that of reads without noise
    go_on(method, chip, state, range(20))  # to learn how noisy reads are
    fresh = []
    for index in range(20, 40):
        chip.targets.flags.writeable = True
        chip.targets[...] = chip.cells  # whatever a pulse left is right
        state["count"][...], state["total"][...] = 0, 0
        go_on(method, chip, state, range(index, index + 1))
        fresh.append(chip.pulses[-1][0] != NONE)
    fired = np.array(fresh)
    expected = 2 * NormalDist().cdf(-IP_STEP.kappa)
    bound = 5 * np.sqrt(expected * (1 - expected) / fired.size)
    assert fired.mean() == pytest.approx(expected, abs=bound)


def test_the_textbook_form_latches() -> None:
    """A device once within its margin is never looked at again, whatever later reads say."""
    chip = FakeChip(wanted())
    method = ip(verify="device")
    state = begin(method, chip)
    noisy_reads(chip, 1.0)
    before = len(chip.pulses)
    go_on(method, chip, state)
    fired = np.array([device != NONE for device, _ in chip.pulses[before:]])
    assert (fired[1:] <= fired[:-1]).all()
    assert 0 < fired[10].mean() < 0.7


# --- GDP ------------------------------------------------------------------------------------------


def corrected(chip: FakeChip, state: State) -> np.ndarray:
    """What the cells hold too much, after the digital correction of each column."""
    scale = state.get("scale", np.ones((TILES, COLUMNS)))[:, None, :]
    error: np.ndarray = chip.cells * scale - chip.targets
    return error


@pytest.mark.parametrize("rough", [False, True], ids=["exact", "8 bits"])
@table(GDP)
def test_gdp_programs(method: GradientDescentProgramming, rough: bool) -> None:
    """Down to what pulses scatter by, and what a batch cannot see.

    A batch whose outputs err by a rounding shows a cell with a standard error of
    step / sqrt(12) / sqrt(sum x²).
    """
    chip = coarse(wanted()) if rough else FakeChip(wanted())
    state, start = program(method, chip)
    power = float((chip.inputs[-1].astype(float) ** 2).sum(axis=0).mean())
    unseen = float(chip.lsb_us(False)[0]) / np.sqrt(12 * power)
    error = rms(corrected(chip, state))
    assert error < 2 * np.hypot(rms(SCATTER_US[state["aim"]]), unseen)
    assert error < start * {"single_shot": 0.4, "ip": 0.9, "reset": 0.05}[method.start_from]
    assert ("scale" in state) == ("offset" in state) == (method.affine_every > 0)


@pytest.mark.parametrize("inputs", ["uniform", "gaussian", "sign", "hadamard"])
def test_gdp_pulses_exactly_what_is_beyond_the_threshold(inputs: str) -> None:
    """The mean, since a cell's last pulse, of the gradient over the inputs' power, against
    max(margin, kappa * standard error)."""
    step = dataclasses.replace(GDP_STEP, margin=1.3, margin_end=1.3, kappa=0.7)
    method = gdp(inputs=inputs, step=step)
    chip = FakeChip(wanted())
    state = begin(method, chip)
    go_on(method, chip, state, range(4))
    error, aim = chip.error, state["aim"].copy()
    total, n = state["total"].copy(), state["count"] + 1.0
    go_on(method, chip, state, range(4, 5))
    x = chip.inputs[-1].astype(float)
    whole = np.einsum("bi,tij->tbj", x, error)
    outputs = whole - whole.mean(axis=1, keepdims=True)
    power = (x**2).sum(axis=0)[:, None]
    estimate = np.einsum("bi,tbj->tij", x, outputs) / power
    if inputs == "hadamard":  # orthogonal: nothing of other cells, but a constant row is lost
        driven = np.ptp(x, axis=0) > 0
        assert driven.sum() >= ROWS - 1
        np.testing.assert_allclose(estimate[:, driven], error[:, driven], atol=1e-5)
    spread = np.sqrt((outputs**2).mean(axis=1))[:, None] / np.sqrt(power * n)
    ratio = np.abs((total + estimate) / n) / np.maximum(1.3 * SCATTER_US[aim], 0.7 * spread)
    fired = chip.pulses[-1][0] != NONE
    clear = np.abs(ratio - 1) > SLACK
    np.testing.assert_array_equal(fired[clear], (ratio > 1)[clear])
    assert 0 < fired.mean() < 1
    assert clear.mean() > 0.99
    norm = np.square(np.einsum("bi,tij->tbj", x, chip.targets)).sum(axis=(1, 2))
    seen = np.sqrt(np.square(whole).sum(axis=(1, 2)) / norm)
    np.testing.assert_allclose(state["batch_error"], seen, rtol=1e-3)


@pytest.mark.parametrize("amplitude", [0.25, 1.0])
@pytest.mark.parametrize("inputs", ["uniform", "gaussian", "sign", "hadamard"])
def test_inputs_of_gdp(inputs: str, amplitude: float) -> None:
    chip = FakeChip(wanted())
    program(gdp(inputs=inputs, amplitude=amplitude, iterations=3, final_passes=0), chip)
    x = np.array(chip.inputs)
    assert x.shape == (3, BATCH, ROWS)
    assert len({batch.tobytes() for batch in x}) == 3  # fresh ones in every iteration
    std = {"uniform": 3**-0.5, "gaussian": 0.33}.get(inputs, 1.0) * amplitude
    assert np.abs(x).max() <= amplitude
    # The root of the mean of 6144 squares: 1 % of standard error at most.
    assert np.sqrt((x.astype(float) ** 2).mean()) == pytest.approx(std, rel=0.05)
    if inputs in ("sign", "hadamard"):
        assert set(np.unique(np.abs(x))) == {np.float32(amplitude)}


@pytest.mark.parametrize("every", [0, 5])
def test_gdp_undoes_the_converter(every: int) -> None:
    """Gains and offsets of columns: the outputs end at their targets, corrected or not."""
    random = np.random.default_rng(2)
    gain, offset = random.uniform(0.8, 1.2, COLUMNS), random.normal(0, 5, COLUMNS)
    chip = FakeChip(wanted() * np.float32(0.8))  # so that cells can make up for the gain
    exact = chip.convert
    chip.convert = lambda y, fine=False: exact(y * gain + offset, fine)  # type: ignore[method-assign]
    state, _ = program(gdp(affine_every=every), chip)
    scale = state.get("scale", np.ones((TILES, COLUMNS)))
    scatter = rms(SCATTER_US[state["aim"]])
    assert rms(chip.cells * (gain * scale)[:, None] - chip.targets) < 2 * scatter
    if every:
        # A mean of 64 outputs of 32 cells that err by a pulse's scatter.
        bound = 5 * 2 * scatter * np.sqrt(ROWS * 0.36 / 3 / BATCH)
        np.testing.assert_allclose(state["offset"], -offset * scale, atol=bound)


def test_fit_columns() -> None:
    """A line through each column's outputs, by least squares; 1 and 0 where nothing varies."""
    random = np.random.default_rng(4)
    x = random.uniform(-1, 1, (50, ROWS)).astype(np.float32)
    targets = wanted()
    gain, offset = random.uniform(0.5, 1.5, (2, 1, COLUMNS)), random.normal(20, 9, (2, 1, COLUMNS))
    y = np.einsum("bi,tij->tbj", x, targets) * gain + offset + random.normal(0, 3, (2, 50, COLUMNS))
    y[1, :, 3] = 7.0  # never varies
    scale, shift = fit_columns(y.astype(np.float32), x @ targets)
    for tile, column in np.ndindex(2, COLUMNS):
        goal = x.astype(float) @ targets[tile, :, column]
        varies = (tile, column) != (1, 3)
        expected = np.polyfit(y[tile, :, column], goal, 1) if varies else (1.0, goal.mean() - 7.0)
        found = scale[tile, column], shift[tile, column]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_affine_is_fitted_when_it_is_due() -> None:
    method = gdp(iterations=7, affine_every=3, final_passes=0)
    chip = coarse(wanted())
    state = begin(method, chip)
    fits = [(state["scale"].copy(), state["offset"].copy())]
    assert (fits[0][0] == 1).all()
    assert (fits[0][1] == 0).all()
    changed = []
    for index in range(7):
        go_on(method, chip, state, range(index, index + 1))
        changed.append(not np.array_equal(state["scale"], fits[-1][0]))
        fits.append((state["scale"].copy(), state["offset"].copy()))
    assert changed == [False, False, True, False, False, True, True]  # and in the last


# --- devices that are as they should be -----------------------------------------------------------


@pytest.mark.parametrize("gain", [0.25, 1.0])
def test_a_pulse_corrects_its_part_of_the_error(gain: float) -> None:
    """Devices that are all off by two codes, where the curve is steep."""
    step = Step(margin=0, margin_end=0, kappa=0, gain=gain, gain_end=gain, max_step=1)
    targets = np.random.default_rng(3).uniform(3, 9, SHAPE).astype(np.float32)
    chip = FakeChip(targets, spread=0)
    chip.shift[...] = 2.0
    method = ip(iterations=1, step=step, final_passes=0)
    state = begin(method, chip)
    before = float(chip.error.mean())
    go_on(method, chip, state)
    # Means of 768 cells that scatter by 0.15 µS.
    assert before > 0.2
    assert float(chip.error.mean()) == pytest.approx((1 - gain) * before, abs=5 * 0.15 / 768**0.5)


def test_a_step_is_bounded() -> None:
    """`max_step` is a fraction of the range of codes."""
    step = Step(margin=0, margin_end=0, kappa=0, gain=2, gain_end=2, max_step=4 / 255)
    chip = FakeChip(wanted(), spread=3)
    method = ip(iterations=1, step=step, final_passes=0)
    state = begin(method, chip)
    index = state["device"][:, None].astype(int)

    def code() -> np.ndarray:
        return np.take_along_axis(chip.last_code, index, axis=1)[:, 0]

    before = code()
    go_on(method, chip, state)
    # A device in RESET is shot at its aim, however far; one that is SET may hand over.
    moved = np.abs(code() - before)[(before > 0) & (before < 255)]
    assert moved.max() == np.median(moved) == 4


def test_the_margin_moves_from_first_to_last() -> None:
    """Huge at first and none in the end, and the other way round: pulses only there."""
    for first, last, pulsed in ((1e6, 0.0, [False, True]), (0.0, 1e6, [True, False])):
        step = dataclasses.replace(IP_STEP, margin=first, margin_end=last, kappa=0)
        chip = FakeChip(wanted())
        program(ip(iterations=2, step=step, final_passes=0), chip)
        assert [bool((device != NONE).any()) for device, _ in chip.pulses[-2:]] == pulsed


# --- the methods as they come ----------------------------------------------------


@pytest.mark.nojit
@pytest.mark.parametrize("engine", ["numba", "reference"])
@pytest.mark.parametrize(
    "method",
    [IterativeProgramming(), GradientDescentProgramming(batch=BATCH)],
    ids=["ip", "gdp"],
)
def test_the_defaults_program_a_strange_chip(method: Method, engine: str) -> None:
    """Better than one shot does, by far: hyper-parameters do not belong to one kind of device."""
    chip = coarse(wanted())
    state = begin(gdp(), chip)
    one_shot = chip.rms()
    chip = coarse(wanted())
    state, _ = program(method, chip, engine=engine)
    assert rms(corrected(chip, state)) < 0.5 * one_shot
