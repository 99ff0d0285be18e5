"""Costs against counts made by hand, and the clock against the sum of what took time."""

import math
from typing import Any

import numpy as np
import pytest

import fastaimc as fa
from fastaimc.cost import cost_of

pytestmark = pytest.mark.nojit

HERMES = fa.presets.hermes()
ROWS, COLUMNS = 6, 5  # inputs and outputs
CELLS = ROWS * COLUMNS
# Times that tell apart what took them: every sum of a few has one reading only.
CIRCUIT = {
    "circuit.t_mvm_s": 1.0,
    "circuit.t_pulse_s": 1e4,
    "circuit.parallel_pulses": 7,
    "t_eval_s": 1e9,
}
CONFIG = fa.override(HERMES, CIRCUIT)
# SET or RESET of all four devices of every cell comes first: all of the target's polarity are SET.
INITIAL = {"set": 2 * CELLS, "reset": 2 * CELLS}
# Dark reading, one row, and every row for each of the two SET devices.
ALLOCATION_READS = 1 + 2 * ROWS


def program(method: Any, config: Any = CONFIG, inputs: int = ROWS, **options: Any) -> Any:
    weights = np.random.default_rng(0).uniform(0.1, 1.0, (COLUMNS, inputs))
    return fa.program(weights, config, method, threads=1, **options)


def ip(**options: Any) -> fa.IterativeProgramming:
    defaults: dict[str, Any] = {
        "iterations": 3,
        "verify_delay": 0.0,
        "final_passes": 0,
        "final_delay": 0.0,
    }
    return fa.IterativeProgramming(**(defaults | options))


def gdp(**options: Any) -> fa.GradientDescentProgramming:
    defaults: dict[str, Any] = {
        "iterations": 3,
        "batch": 11,
        "verify_delay": 0.0,
        "final_passes": 0,
    }
    defaults |= {"start_from": "single_shot", "affine_every": 0}
    return fa.GradientDescentProgramming(**(defaults | options))


def pulses(cost: fa.AnalogMatrix) -> int:
    return int(cost.pulses_set + cost.pulses_reset)


def test_the_reads_of_ip() -> None:
    """Two-device: the allocation reads, every row each round, and once where an ADC is coarse."""
    cost = program(ip()).cost
    assert cost.row_reads == ALLOCATION_READS + 4 * ROWS
    assert cost.mvms == 0
    assert cost.mvm_equivalents == cost.row_reads
    assert cost.adc_conversions == cost.row_reads * COLUMNS
    filled = program(ip(allocation="max_fill")).cost
    assert filled.row_reads == 1 + 3 * ROWS
    fine = fa.override(CONFIG, {"adc.programming_bits": 12})
    assert program(ip(), fine).cost.row_reads == ALLOCATION_READS + 3 * ROWS
    assert program(ip(calibrate=False)).cost.row_reads == ALLOCATION_READS + 3 * ROWS


def test_the_reads_of_gdp() -> None:
    cost = program(gdp()).cost
    assert cost.mvms == 3 * 11
    assert cost.row_reads == ALLOCATION_READS
    assert cost.mvm_equivalents == 3 * 11 + ALLOCATION_READS
    assert cost.adc_conversions == cost.mvm_equivalents * COLUMNS
    after_ip = program(gdp(start_from="ip", start_rounds=2)).cost
    assert after_ip.row_reads == ALLOCATION_READS + 2 * ROWS
    assert after_ip.mvms == 3 * 11


def test_the_pulses_before_the_first_iteration() -> None:
    """A step that leaves all errors alone: only the devices' preparation is left.

    SET and RESET, RESET of the second device where the first holds the target (the first of
    14 µS holds some, and two hold all), and one pulse of each analog device.
    """
    idle = fa.Step(margin=1e6, margin_end=1e6, kappa=0, gain=1, gain_end=1, max_step=1)
    matrix = program(ip(step=idle, allocation="max_fill"))
    targets = matrix.targets[0]
    surplus = int((targets <= np.float32(HERMES.device.g_set_us)).sum())  # type: ignore[union-attr]
    assert 0 < surplus < CELLS
    cost = matrix.cost
    assert pulses(cost) == INITIAL["set"] + INITIAL["reset"] + surplus + CELLS
    assert cost.pulses_set >= INITIAL["set"]
    assert cost.pulses_reset >= INITIAL["reset"] + surplus
    assert (matrix.history["pulses"] == pulses(cost)).all()


def test_every_pulse_of_an_iteration_is_counted() -> None:
    """A step without a threshold pulses every cell in every round."""
    eager = fa.Step(margin=0, margin_end=0, kappa=0, gain=1, gain_end=1, max_step=1)
    history = program(ip(step=eager, iterations=4)).history
    steps = np.diff(history["pulses"])
    assert (steps <= CELLS).all()
    assert (steps >= 0.8 * CELLS).all()  # a read may meet its target to the code


@pytest.mark.parametrize("method", [ip(), ip(verify_delay=0.001, final_passes=1), gdp()])
def test_the_clock_is_the_sum_of_what_took_time(method: Any) -> None:
    """Reads take 1 s each, slots of up to 7 pulses 10,000 s each, and the rest is waiting."""
    cost = program(method).cost
    busy = cost.latency_s - cost.wait_s
    slots, reads = divmod(round(busy), 10_000)
    assert reads == cost.mvm_equivalents
    assert math.ceil(pulses(cost) / 7) <= slots <= pulses(cost)
    first = 4 * math.ceil(CELLS / 7)  # SET and RESET, device by device
    assert slots >= first
    assert busy == pytest.approx(slots * 1e4 + reads, rel=1e-12)


@pytest.mark.parametrize("method", [ip(), gdp(start_from="ip", start_rounds=2)])
def test_the_clock_adds_up_where_reads_of_rows_take_longer(method: Any) -> None:
    """MVMs of 1 s, reads of 1,000 s, and a slot of pulses, of all cells, takes no time."""
    times = {"circuit.t_read_s": 1e3, "circuit.t_pulse_s": 0.0}
    energies = {"circuit.energy_mvm_j": 0, "circuit.energy_set_j": 0, "circuit.energy_reset_j": 0}
    own = {"circuit.energy_read_j": 256.0}
    cost = program(method, fa.override(CONFIG, times | energies | own)).cost
    assert cost.latency_s - cost.wait_s == pytest.approx(cost.mvms + 1e3 * cost.row_reads, rel=1e-9)
    assert cost.energy_j == pytest.approx(cost.row_reads * COLUMNS)


def test_waits_are_those_of_the_schedule() -> None:
    """Settling of the allocation, two rounds of delay, and two of the final one."""
    method = ip(iterations=4, verify_delay=0.25, final_passes=2, final_delay=0.5)
    cost = program(method).cost
    assert cost.wait_s == pytest.approx((0.25 + 2 * 0.25 + 2 * 0.5) * 1e9)
    assert cost.latency_s > cost.wait_s
    assert program(ip()).cost.wait_s == 0.0


def test_the_energy_of_pulses_and_reads() -> None:
    """An MVM of a full core costs 1 J, half of it for each: the crossbar and its converters."""
    energies = {
        "circuit.energy_mvm_j": 1.0,
        "circuit.energy_set_j": 1e4,
        "circuit.energy_reset_j": 0,
    }
    cost = program(gdp(), fa.override(CONFIG, energies)).cost
    mvm = 0.5 * CELLS / 65536 + 0.5 * COLUMNS / 256
    row = 0.5 * COLUMNS / 65536 + 0.5 * COLUMNS / 256
    expected = cost.mvms * mvm + cost.row_reads * row + cost.pulses_set * 1e4
    assert cost.energy_j == pytest.approx(expected, rel=1e-12)
    resets = {"circuit.energy_mvm_j": 0, "circuit.energy_set_j": 0, "circuit.energy_reset_j": 1.0}
    cost = program(gdp(), fa.override(CONFIG, resets)).cost
    assert cost.energy_j == cost.pulses_reset


def test_a_full_core_costs_what_was_published() -> None:
    counters = {name: np.zeros(1) for name in ("pulses_set", "pulses_reset", "row_reads", "wait_s")}
    counters |= {"mvms": np.ones(1), "adc_conversions": np.full(1, 256.0)}
    cost = cost_of(counters, np.array([133e-9]), np.array([[256, 256]]), HERMES)
    assert cost.energy_j == pytest.approx(13.4e-9)
    assert cost.as_dict() == {
        "pulses_set": 0,
        "pulses_reset": 0,
        "mvms": 1,
        "row_reads": 0,
        "adc_conversions": 256,
        "mvm_equivalents": 1,
        "energy_j": cost.energy_j,
        "latency_s": 133e-9,
        "wait_s": 0.0,
    }


def test_the_slowest_tile_is_waited_for() -> None:
    names = ("pulses_set", "pulses_reset", "mvms", "row_reads", "adc_conversions")
    counters = {name: np.array([1.0, 2.0]) for name in names} | {"wait_s": np.array([9.0, 5.0])}
    cost = cost_of(counters, np.array([10.0, 20.0]), np.array([[4, 4], [3, 4]]), HERMES)
    assert (cost.latency_s, cost.wait_s) == (20.0, 5.0)
    assert (cost.mvms, cost.row_reads, cost.mvm_equivalents) == (3, 3, 6)


def test_tiles_add_up_but_for_the_time_of_the_slowest() -> None:
    """Inputs of 4 + 3 and outputs of 2 + 3: neither cells nor rows beyond a tile count."""
    small = fa.override(CONFIG, {"rows": 4, "columns": 4})
    cut, whole = (program(gdp(), config, inputs=7).cost for config in (small, CONFIG))
    assert cut.mvms == 4 * 33
    assert cut.row_reads == 2 * (1 + 2 * 4) + 2 * (1 + 2 * 3)
    assert cut.adc_conversions == (33 + 9) * (2 + 3) + (33 + 7) * (2 + 3)
    assert cut.latency_s < whole.latency_s
    idle = fa.Step(margin=1e6, margin_end=1e6, kappa=0, gain=1, gain_end=1, max_step=1)
    method = ip(step=idle, allocation="max_fill")
    counts = [pulses(program(method, config, inputs=7).cost) for config in (small, CONFIG)]
    assert counts[0] == counts[1]
    history = program(gdp(), small, inputs=7).history
    assert history["latency_s"][-1] == cut.latency_s


def test_a_direct_write_pulses_two_devices_of_each_cell() -> None:
    config = fa.override(fa.presets.ideal(), CIRCUIT | {"device.std_us": (0.1,)})
    cost = program(fa.DirectWrite(), config).cost
    assert pulses(cost) == 2 * CELLS
    assert cost.mvm_equivalents == cost.adc_conversions == 0
    assert cost.latency_s == 2 * math.ceil(CELLS / 7) * 1e4


def test_neither_use_nor_metrics_add_to_the_cost() -> None:
    matrix = program(gdp(), record_every=1)
    cost = matrix.cost
    assert cost == program(gdp()).cost
    matrix.mvm(np.ones((20, ROWS)))
    fa.mvm_error(matrix, samples=20)
    matrix.advance(1.0)
    assert matrix.cost == cost
