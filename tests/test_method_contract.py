"""The rules that every method keeps on the fake chip: what it may do, and what it may not."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from fake_chip import (
    BATCH,
    IP_STEP,
    KEY,
    NONE,
    RESET,
    ROWS,
    SET,
    FakeChip,
    begin,
    coarse,
    gdp,
    go_on,
    guided,
    ip,
    offered,
    program,
    typical,
    wanted,
)

from fastaimc.config import CoreConfig, presets
from fastaimc.errors import ConfigError
from fastaimc.programming import (
    AveragedReadProgramming,
    Belief,
    DirectWrite,
    EstimateGuidedProgramming,
    GradientDescentProgramming,
    HadamardVerifyProgramming,
    IterativeProgramming,
    LeastSquaresReadProgramming,
    Method,
    Step,
    TwoDeviceProgramming,
    check_method,
    from_dict,
    to_dict,
)

SOME: dict[str, Any] = {
    "ip": ip(iterations=12),
    "ip device": ip(iterations=12, verify="device"),
    "gdp": gdp(iterations=12),
    "gdp uniform": gdp(iterations=12, inputs="uniform", affine_every=3),
    "gdp reset": gdp(iterations=12, start_from="reset"),
    "gdp ip": gdp(iterations=12, start_from="ip"),
    "hadamard": HadamardVerifyProgramming(iterations=12, step=IP_STEP, amplitude=0.6),
    "averaged": AveragedReadProgramming(iterations=12, step=IP_STEP),
    "least squares": LeastSquaresReadProgramming(iterations=12, step=IP_STEP),
    "two device": TwoDeviceProgramming(iterations=12, step=IP_STEP),
    "guided": guided(iterations=12),
    "guided uniform": guided(iterations=12, inputs="uniform", affine_every=3),
}
METHODS = pytest.mark.parametrize("method", SOME.values(), ids=SOME.keys())


# --- pulses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("devices", [2, 4, 8, 16])
@pytest.mark.parametrize("allocation", ["two_device", "max_fill", "max_fill_read"])
@METHODS
def test_pulses_are_lawful(method: Any, allocation: str, devices: int) -> None:
    """The chip refuses indices and codes beyond its range, two analog devices in a cell, and writes
    into its targets; here it is programmed with one, two, four and eight devices per polarity."""
    if hasattr(method, "allocation"):
        method = dataclasses.replace(method, allocation=allocation)
    chip = coarse(wanted() * np.float32(devices / 5), devices=devices, spread=2)
    state, start = program(method, chip)
    assert chip.rms() < start
    assert not np.isnan(chip.last_code).any()  # no device is left as it was found
    index = np.arange(devices)[:, None, None]
    others = index != state["device"][:, None]
    rest = chip.last_code[others]
    assert ((rest == SET) | (rest == RESET)).all()
    if (state["filled"] != NONE).any():  # the textbook form hands nothing over
        same = (index < devices // 2) == (state["device"][:, None] < devices // 2)
        filled = same & ((state["filled"][:, None] >> index % 8) & 1).astype(bool)
        assert (chip.last_code[filled] == SET).all()
        assert (chip.last_code[others & ~filled] == RESET).all()
    # All conduct on their target's side: those of the other polarity stay in RESET.
    half = devices // 2
    against = np.where(chip.targets[:, None] >= 0, index >= half, index < half)
    assert (chip.last_code[against] == RESET).all()


@METHODS
def test_a_method_keeps_its_hands_off(method: Method) -> None:
    """Targets and the nominal curve are as before, and so is the key."""
    chip, key = coarse(wanted()), KEY.copy()
    key.flags.writeable = False
    program(method, chip, key)
    np.testing.assert_array_equal(chip.targets, wanted())
    for name in ("conductance_us", "slope_us", "scatter_us", "drift_exponent"):
        shown = getattr(chip.terminals.nominal, name)
        np.testing.assert_array_equal(shown, getattr(typical(), name))


def test_the_fake_chip_shows_nothing_else() -> None:
    terminals = FakeChip(wanted()).terminals
    for name in ("_core", "conductance", "gain", "config", "__dict__", "__class__"):
        with pytest.raises(AssertionError, match=f"may not use terminals.{name}"):
            getattr(terminals, name)
    with pytest.raises(AssertionError, match="may not change"):
        terminals.targets = 1


def test_the_fake_chip_offers_what_terminals_do() -> None:
    """No less and no more than the real ones."""
    from fastaimc import engine
    from fastaimc.core import Core
    from fastaimc.terminals import Terminals

    targets = wanted()
    identity = np.zeros((len(targets), 3), dtype=np.uint32)
    extents = np.array([targets.shape[1:]] * len(targets))
    core = Core.blank(CoreConfig(), engine.load("reference"), targets, identity, extents)
    real = {name for name in dir(Terminals(core, targets)) if not name.startswith("_")}
    assert real == set(offered(FakeChip(targets)))
    assert set(dir(typical())) == set(dir(Terminals(core, targets).nominal))


@pytest.mark.parametrize("devices", [2, 4])
def test_direct_write(devices: int) -> None:
    chip = FakeChip(wanted(), devices=devices, written=True)
    state = begin(DirectWrite(), chip)
    assert state == {}
    assert DirectWrite().iterations == 0
    np.testing.assert_array_equal(chip.cells, chip.targets)
    assert chip.order == ["pulse", "pulse"]
    used = {int(d) for device, _ in chip.pulses for d in np.unique(device)}
    assert used == {0, devices // 2}


# --- randomness -----------------------------------------------------------------------------------


def pulses_of(method: Method, key: np.ndarray) -> list[bytes]:
    chip = coarse(wanted())
    program(method, chip, key)
    # The code of a cell that is not pulsed means nothing.
    return [device.tobytes() + code[device != NONE].tobytes() for device, code in chip.pulses]


@METHODS
def test_the_key_decides(method: Method) -> None:
    """Same key, same pulses; IP draws nothing, others their inputs."""
    first, again = pulses_of(method, KEY), pulses_of(method, KEY)
    other = pulses_of(method, KEY + np.uint32(1))
    assert first == again
    reads_rows = IterativeProgramming | AveragedReadProgramming | TwoDeviceProgramming
    assert (first == other) is isinstance(method, reads_rows)


@pytest.mark.parametrize("inputs", ["uniform", "gaussian", "sign", "hadamard"])
def test_inputs_follow_from_the_key(inputs: str) -> None:
    def batches(key: np.ndarray) -> np.ndarray:
        chip = FakeChip(wanted())
        program(gdp(inputs=inputs, iterations=2, final_passes=0), chip, key)
        return np.array(chip.inputs)

    np.testing.assert_array_equal(batches(KEY), batches(KEY))
    for word in (0, 1):
        other = KEY.copy()
        other[word] += np.uint32(1)
        assert (batches(KEY) != batches(other)).mean() > 0.3


# --- thresholds -----------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", ["margin", "kappa"])
@METHODS
def test_no_pulse_below_the_threshold(method: Any, threshold: str) -> None:
    values = {"margin": 0.0, "margin_end": 0.0, "kappa": 0.0}
    values |= {"kappa": 1e6} if threshold == "kappa" else {"margin": 1e6, "margin_end": 1e6}
    method = dataclasses.replace(method, step=dataclasses.replace(IP_STEP, **values))
    chip = coarse(wanted())  # whose rounding is the read error that kappa counts in
    state = begin(method, chip)
    before, cells = len(chip.pulses), chip.cells
    go_on(method, chip, state)
    assert all((device == NONE).all() for device, _ in chip.pulses[before:])
    assert len(chip.pulses) == before + 12
    np.testing.assert_array_equal(chip.cells, cells)


@METHODS
def test_without_threshold_all_are_pulsed(method: Any) -> None:
    values = {"margin": 0.0, "margin_end": 0.0, "kappa": 0.0}
    method = dataclasses.replace(method, step=dataclasses.replace(IP_STEP, **values))
    chip = FakeChip(wanted())
    state = begin(method, chip)
    go_on(method, chip, state, range(1))
    fired = chip.pulses[-1][0] != NONE
    # A row that is driven alike in a whole batch cannot be told from an offset.
    assert fired.mean() >= 1 - 1 / ROWS


# --- what is read, and when -----------------------------------------------------------------------


def reads_of(chip: FakeChip) -> list[int]:
    return [len(rows) for rows, _, _ in chip.reads]


@pytest.mark.parametrize("devices", [2, 4])
@pytest.mark.parametrize("verify", ["cell", "device"])
def test_reads_of_ip(verify: str, devices: int) -> None:
    """Every row once a round.  Before them every device of a target's polarity, and the dark
    columns."""
    method = ip(iterations=7, verify=verify)
    chip = FakeChip(wanted() / 2, devices=devices)
    state, _ = program(method, chip)
    half = devices // 2
    assert reads_of(chip) == [ROWS] * half + [1] + [ROWS] * 7
    assert chip.inputs == []
    assert all((rows == np.arange(len(rows))).all() for rows, _, _ in chip.reads)
    selects = [select for _, select, _ in chip.reads]
    assert selects[half] is not None
    assert (selects[half] == 0).all()
    for d in range(half):
        expected = np.where(chip.targets >= 0, 1 << d, 1 << (half + d))
        np.testing.assert_array_equal(selects[d], expected)
    for select in selects[1 + half :]:
        if verify == "cell":
            assert select is None
        else:
            np.testing.assert_array_equal(select, 1 << state["device"])
    chip = FakeChip(wanted() / 2, devices=devices)
    program(dataclasses.replace(method, allocation="max_fill"), chip)
    assert reads_of(chip) == [1] + [ROWS] * 7


@pytest.mark.parametrize(
    ("start", "allocation", "expected"),
    [
        ("single_shot", "two_device", [ROWS, ROWS, 1]),
        ("reset", "two_device", [ROWS, ROWS, 1]),
        ("ip", "two_device", [ROWS, ROWS, 1, ROWS, ROWS]),
        ("single_shot", "max_fill_read", [ROWS, 1]),
        ("single_shot", "max_fill", []),
        ("reset", "max_fill", []),
        ("ip", "max_fill", [1, ROWS, ROWS]),
    ],
)
def test_reads_of_gdp(start: str, allocation: str, expected: list[int]) -> None:
    """A batch an iteration, and no reads but those of the start, in the ordinary range."""
    method = gdp(iterations=6, batch=40, start_rounds=2, start_from=start, allocation=allocation)
    chip = coarse(wanted(), cell_lsb_us=0.129)
    program(method, chip)
    assert reads_of(chip) == expected
    assert not any(fine for _, _, fine in chip.reads)
    assert [len(x) for x in chip.inputs] == [40] * 6
    assert chip.order[-18:] == ["wait", "mvm", "pulse"] * 6


@pytest.mark.parametrize("make", [ip, gdp, guided])
def test_waits(make: Any) -> None:
    """In units of the time until evaluation, 200 s: before the reads of SET devices and in every
    iteration; the last ones have a wait of their own."""
    chip = FakeChip(wanted())
    program(make(iterations=5, verify_delay=0.01, final_passes=2, final_delay=0.25), chip)
    assert chip.waits == pytest.approx([2.0] * 4 + [50.0] * 2)
    if make is not guided:
        chip = FakeChip(wanted())
        program(make(iterations=2, final_passes=2, final_delay=0, allocation="max_fill"), chip)
        assert chip.waits == [0, 0]


# --- hyper-parameters -----------------------------------------------------------------------------

IP, GDP = IterativeProgramming, GradientDescentProgramming
GUIDED = EstimateGuidedProgramming
AVERAGED, SQUARES, TWO = AveragedReadProgramming, LeastSquaresReadProgramming, TwoDeviceProgramming
REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (IP, {"iterations": 0}, "iterations must be from 1 to 100000, got 0"),
    (IP, {"iterations": 2.0}, "iterations must be an integer, got 2.0"),
    (IP, {"verify": "cells"}, "verify must be one of 'cell', 'device', got 'cells'"),
    (
        IP,
        {"allocation": "tdp"},
        "allocation must be one of 'two_device', 'max_fill', 'max_fill_read'",
    ),
    (IP, {"verify_delay": -1}, "verify_delay must be >= 0, got -1.0"),
    (IP, {"final_delay": np.nan}, "final_delay must be finite, got nan"),
    (IP, {"step": 3}, "step must be a Step, got 3"),
    (IP, {"fine": 3}, "fine must be one of False, True, got 3"),
    (GDP, {"iterations": True}, "iterations must be an integer, got True"),
    (GDP, {"batch": 0}, "batch must be from 1 to 65536, got 0"),
    (GDP, {"inputs": "hadamar"}, "got 'hadamar' (did you mean 'hadamard'?)"),
    (GDP, {"amplitude": 0}, "amplitude must be > 0, got 0.0"),
    (GDP, {"amplitude": 1.1}, "amplitude must be <= 1, got 1.1"),
    (GDP, {"start_from": "set"}, "start_from must be one of 'single_shot', 'ip', 'reset'"),
    (GDP, {"start_rounds": 0}, "start_rounds must be from 1 to 1000, got 0"),
    (GDP, {"allocation": ""}, "allocation must be one of 'two_device', 'max_fill', "),
    (GDP, {"affine_every": -1}, "affine_every must be from 0 to 100000, got -1"),
    (GDP, {"iterations": 3, "final_passes": -1}, "final_passes must be from 0 to 100000, got -1"),
    (GDP, {"verify_delay": "1"}, "verify_delay must be a number, got '1'"),
    (AVERAGED, {"reads": 0}, "reads must be from 1 to 1000, got 0"),
    (AVERAGED, {"iterations": 0}, "iterations must be from 1 to 100000, got 0"),
    (AVERAGED, {"fine": 1.5}, "fine must be one of False, True, got 1.5"),
    (SQUARES, {"over_sampling": 1}, "over_sampling must be > 1, got 1.0"),
    (SQUARES, {"inputs": "hadamard"}, "inputs must be one of 'uniform', 'gaussian', 'sign', got"),
    (SQUARES, {"amplitude": 2}, "amplitude must be <= 1, got 2.0"),
    (SQUARES, {"step": None}, "step must be a Step, got None"),
    (TWO, {"allocation": "tdp"}, "'two_device', 'max_fill', 'max_fill_read', got 'tdp'"),
    (TWO, {"final_passes": -1}, "final_passes must be from 0 to 100000, got -1"),
    (GUIDED, {"batch": 0}, "batch must be from 1 to 65536, got 0"),
    (GUIDED, {"belief": 3}, "belief must be a Belief, got 3"),
    (Belief, {"share": 0}, "belief.share must be > 0, got 0.0"),
    (Belief, {"share": 1.5}, "belief.share must be <= 1, got 1.5"),
    (Belief, {"first": -1}, "belief.first must be >= 0, got -1.0"),
    (Belief, {"walk": np.nan}, "belief.walk must be finite, got nan"),
    (Step, {"margin": -0.1}, "step.margin must be >= 0, got -0.1"),
    (Step, {"margin": np.inf}, "step.margin must be finite, got inf"),
    (Step, {"margin_end": -1}, "step.margin_end must be >= 0, got -1.0"),
    (Step, {"kappa": -1}, "step.kappa must be >= 0, got -1.0"),
    (Step, {"kappa": None}, "step.kappa must be a number, got None"),
    (Step, {"gain": 0}, "step.gain must be > 0, got 0.0"),
    (Step, {"gain": 2.1}, "step.gain must be <= 2, got 2.1"),
    (Step, {"gain_end": 0}, "step.gain_end must be > 0, got 0.0"),
    (Step, {"gain_end": 3}, "step.gain_end must be <= 2, got 3.0"),
    (Step, {"max_step": 0}, "step.max_step must be > 0, got 0.0"),
    (Step, {"max_step": 1.01}, "step.max_step must be <= 1, got 1.01"),
]


@pytest.mark.nojit
@pytest.mark.parametrize(("kind", "values", "message"), REFUSED)
def test_hyper_parameters_are_checked(kind: Any, values: dict[str, Any], message: str) -> None:
    parts = {Step: IP_STEP, Belief: GUIDED().belief}
    plain = dataclasses.asdict(parts[kind]) if kind in parts else {}
    with pytest.raises(ConfigError, match=re.escape(message)):
        kind(**(plain | values))


@pytest.mark.nojit
@pytest.mark.parametrize("method", [DirectWrite(), IP(), GDP(), GUIDED(), *SOME.values()])
def test_a_method_survives_json(method: Method) -> None:
    name = type(method).__name__
    assert from_dict(to_dict(method)) == method
    assert to_dict(method)["kind"] == name
    with pytest.raises(ConfigError, match=f"method.itterations is no field of {name}"):
        from_dict(to_dict(method) | {"itterations": 1})


@pytest.mark.nojit
def test_the_method_must_suit_the_device() -> None:
    melt, ideal = CoreConfig(), presets.ideal()
    assert check_method(None, melt) == GDP()
    assert check_method(None, ideal) == DirectWrite()
    with pytest.raises(ConfigError, match="IterativeProgramming needs a device that answers"):
        check_method(IP(), ideal)
    with pytest.raises(ConfigError, match="DirectWrite needs a device given by its statistics"):
        check_method(DirectWrite(), melt)
    for wrong in (IP, "ip", 3, object()):
        with pytest.raises(ConfigError, match="method must be a method such as DirectWrite"):
            check_method(wrong, melt)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="kind is unknown: 'Iterative'"):
        from_dict({"kind": "Iterative"})


def test_a_batch_of_one() -> None:
    """Its mean taken off, one vector shows nothing: nothing is pulsed, and nothing breaks."""
    chip = coarse(wanted())
    method = gdp(iterations=3, batch=1, final_passes=0, affine_every=1)
    state = begin(method, chip)
    before = len(chip.pulses)
    go_on(method, chip, state)
    assert all((device == NONE).all() for device, _ in chip.pulses[before:])
    assert np.isfinite(state["scale"]).all()
    assert BATCH > 1
