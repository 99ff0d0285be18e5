"""The core and its terminals: the clock, drift on it, partial tiles, refreshed matrices."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from tiny_core import NU, TWINS, blank, g_of, mvm, ones, pulse, quiet, rows_of
from tolerances import EPS

import fastaimc as fa
from fastaimc import core as core_module
from fastaimc import engine as engines
from fastaimc.aging import LOG_AGE_STEP
from fastaimc.config import Circuit, CoreConfig, Drift, MeltQuench
from fastaimc.core import NONE, Core
from fastaimc.cost import cost_of
from fastaimc.terminals import Terminals

pytestmark = pytest.mark.nojit


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """On a busy machine starting threads takes longer than the work."""
    with engines.load("numba").threads(1):
        yield


# --- clock and counters ---------------------------------------------------------------------------


@TWINS
def test_the_clock_adds_up(engine: str) -> None:
    """Tiles of 5 × 6 and 3 × 2 cells, seven pulses at a time."""
    circuit = Circuit(t_mvm_s=1e-3, t_pulse_s=1.0, parallel_pulses=7)
    core = blank(quiet(circuit=circuit), [(5, 6), (3, 2)], engine)
    pulse(core, 0, 33)  # 151.8 µA: below the knee at 152
    np.testing.assert_array_equal(core.clock_s, [5, 1])  # 30 and 6 cells
    pulse(core, 3, 34)  # 153.3 µA
    np.testing.assert_array_equal(core.clock_s, [10, 2])
    np.testing.assert_array_equal(core.counters["pulses_set"], [30, 6])
    np.testing.assert_array_equal(core.counters["pulses_reset"], [30, 6])
    one = np.full(core.shape, NONE, np.uint8)
    one[0, 0, 0] = one[1, 4, 5] = 0  # the second lies beyond its tile
    core.pulse(one, np.zeros_like(one))
    np.testing.assert_array_equal(core.clock_s, [11, 2])
    np.testing.assert_array_equal(core.counters["pulses_set"], [31, 6])
    mvm(core, ones(core, 4))
    rows_of(core)
    core.read_rows(np.array([0, 2, 3]), np.zeros((1, 1, 1), np.uint8), False)
    core.wait(100.0)
    core.wait(0.5)
    np.testing.assert_array_equal(core.counters["mvms"], [4, 4])
    np.testing.assert_array_equal(core.counters["row_reads"], [5 + 3, 3 + 2])
    np.testing.assert_array_equal(core.counters["adc_conversions"], [12 * 6, 9 * 2])
    np.testing.assert_array_equal(core.counters["wait_s"], [100.5, 100.5])
    np.testing.assert_allclose(core.clock_s, [111.5 + 12e-3, 102.5 + 9e-3], rtol=1e-12)
    cost = cost_of(core.counters, core.clock_s, core.extents, core.config)
    assert (cost.pulses_set, cost.pulses_reset, cost.mvms, cost.row_reads) == (37, 36, 8, 13)
    assert (cost.mvm_equivalents, cost.adc_conversions, cost.wait_s) == (21, 90, 100.5)
    assert cost.latency_s == pytest.approx(111.512)
    per_mvm = 0.5 * (30 / 65536 + 6 / 256) + 0.5 * (6 / 65536 + 2 / 256)
    per_row = 8 * 0.5 * (6 / 65536 + 6 / 256) + 5 * 0.5 * (2 / 65536 + 2 / 256)
    energy = 13.4e-9 * (4 * per_mvm + per_row) + 37 * 180e-12 + 36 * 45e-12
    assert cost.energy_j == pytest.approx(energy)


def test_reads_of_rows_take_time_and_energy_of_their_own() -> None:
    """Three MVMs and five rows of 6 columns; then by default both alike."""
    circuit = Circuit(t_mvm_s=1.0, t_read_s=100.0, energy_mvm_j=0.0, energy_read_j=256.0)
    core = blank(quiet(circuit=circuit))
    mvm(core, ones(core, 3))
    rows_of(core)
    assert core.clock_s.tolist() == [503.0]
    cost = cost_of(core.counters, core.clock_s, core.extents, core.config)
    assert (cost.latency_s, cost.energy_j) == (503.0, 5 * 6.0)
    assert Circuit(t_mvm_s=2.0).read_s == 2.0
    assert Circuit(t_mvm_s=2.0, t_read_s=0.0).read_s == 0.0


@TWINS
def test_no_pulse_takes_no_time(engine: str) -> None:
    core = blank(quiet(), engine=engine)
    pulse(core, 1, 40)
    core.wait(3.0)
    before = [getattr(core, name).copy() for name in core_module.STATE]
    counters = {name: value.copy() for name, value in core.counters.items()}
    pulse(core, NONE, 0)
    for name, value in zip(core_module.STATE, before, strict=True):
        np.testing.assert_array_equal(getattr(core, name), value)
    for name, value in counters.items():
        np.testing.assert_array_equal(core.counters[name], value)


def test_terminals_are_the_core() -> None:
    """The same numbers through the terminals, with nothing of the core in sight."""
    core, twin = (blank(quiet(read_noise=CoreConfig().read_noise), seed=3) for _ in range(2))
    targets = np.ones(core.shape, dtype=np.float32)
    terminals = Terminals(core, targets)
    assert terminals.shape == (1, 5, 6)
    assert (terminals.devices, terminals.t_eval_s) == (4, 200.0)
    device, code = np.zeros(core.shape, np.uint8), np.full(core.shape, 50, np.uint8)
    terminals.pulse(device, code)
    twin.pulse(device, code)
    terminals.wait(2.0)
    twin.wait(2.0)
    x = np.random.default_rng(0).uniform(-1, 1, (3, 5)).astype(np.float32)
    np.testing.assert_array_equal(terminals.mvm(x), mvm(twin, x[None]))
    np.testing.assert_array_equal(terminals.read_rows(np.arange(5)), rows_of(twin))
    np.testing.assert_array_equal(core.clock_s, twin.clock_s)
    shown = {name for name in vars(terminals) if not name.startswith("_")}
    plain = {"shape", "devices", "significance", "targets", "nominal", "t_eval_s"}
    assert shown == plain | {"full_scale_us", "dac_codes"}


# --- pulses of each cell --------------------------------------------------------------------------


@TWINS
def test_pulses_of_each_cell_are_counted_where_wanted(engine: str) -> None:
    """Not those beyond a partial tile, nor those that no device gets."""
    core = blank(quiet(), [(5, 6), (3, 2)], engine)
    pulse(core, 0, 33)
    assert core.cell_pulses is None
    core.cell_pulses = np.zeros(core.shape, np.uint16)
    wanted = np.zeros(core.shape, np.uint16)
    device = np.full(core.shape, NONE, np.uint8)
    device[0, 1, 2] = device[1, 2, 1] = device[1, 4, 5] = 3
    for _ in range(2):
        core.pulse(device, np.full(core.shape, 40, np.uint8))
    wanted[0, 1, 2] = wanted[1, 2, 1] = 2
    np.testing.assert_array_equal(core.cell_pulses, wanted, strict=True)
    pulse(core, 1, 255)
    wanted[0] += 1
    wanted[1, :3, :2] += 1
    np.testing.assert_array_equal(core.cell_pulses, wanted, strict=True)
    part = core.part(slice(1, 2), 3, 2)
    assert part.cell_pulses is not None
    np.testing.assert_array_equal(part.cell_pulses, wanted[1:, :3, :2], strict=True)
    assert part.cell_pulses.flags.c_contiguous


def test_the_count_of_pulses_stops_at_its_end() -> None:
    core = blank(quiet())
    core.cell_pulses = np.full(core.shape, 65534, np.uint16)
    for _ in range(3):
        pulse(core, 0, 33)
        assert (core.cell_pulses == 65535).all()


# --- drift while programming ----------------------------------------------------------------------


@TWINS
def test_drift_is_seen_between_pulses(engine: str) -> None:
    """``g (max(age, t_on) / 20 s) ** -nu``, the age from the pulse on, slots and waits included."""
    circuit = Circuit(t_mvm_s=0.25, t_pulse_s=0.5, parallel_pulses=10)
    core = blank(quiet(circuit=circuit), engine=engine)
    core.wait(1000.0)
    pulse(core, 0, 45)  # 30 cells: three slots
    ages = [1.5]  # the first read begins when they are over
    seen = [rows_of(core)]
    for seconds in (1.0, 20.0, 4e4):
        core.wait(seconds)
        ages.append(ages[-1] + 5 * 0.25 + seconds)
        seen.append(rows_of(core))
    for age, read in zip(ages, seen, strict=True):
        # float32 tells times of 41,000 s to 0.002 s apart, which nu makes less
        np.testing.assert_allclose(read, g_of(45) * (age / 20) ** -NU, rtol=3e-5)
    assert all((later < earlier).all() for earlier, later in pairwise(seen))


@TWINS
def test_drift_begins_after_t_on(engine: str) -> None:
    core = blank(quiet(circuit=Circuit(t_mvm_s=1e-5, t_pulse_s=1e-6)), engine=engine)
    pulse(core, 0, 45)
    reads = [rows_of(core) for _ in range(3)]  # within 0.15 ms
    np.testing.assert_allclose(reads[0], g_of(45) * (1e-3 / 20) ** -NU, rtol=1e-5)
    np.testing.assert_array_equal(reads[0], reads[2])


@TWINS
def test_other_devices_age_from_the_start(engine: str) -> None:
    """One time a cell: only the device pulsed last has a younger age."""
    core = blank(quiet(), engine=engine)
    pulse(core, 0, 45)
    core.wait(50.0)
    pulse(core, 1, 60)
    core.wait(10.0)
    old, young = rows_of(core, 1), rows_of(core, 2)
    np.testing.assert_allclose(old, g_of(45) * (60 / 20) ** -NU, rtol=1e-5)
    np.testing.assert_allclose(young, g_of(60) * (10 / 20) ** -NU, rtol=1e-5)


# --- selected devices -----------------------------------------------------------------------------


@TWINS
@pytest.mark.parametrize("per_polarity", [1, 2, 4, 5, 8])
def test_devices_alone_sum_to_the_cell(engine: str, per_polarity: int) -> None:
    config = quiet(
        device=MeltQuench(),
        drift=Drift(),
        devices_per_polarity=per_polarity,
        g_max_us=10.0,
        circuit=Circuit(t_mvm_s=0.0),
    )
    core = blank(config, engine=engine)
    count = 2 * per_polarity
    for d in range(count):
        pulse(core, d, 40 + 5 * (d % 8))
    core.wait(1.0)
    alone = np.array([rows_of(core, 1 << d) for d in range(count)], dtype=float)
    assert (alone[:per_polarity] > 0).all()
    assert (alone[per_polarity:] < 0).all()
    whole = rows_of(core)
    bound = 2 * count * EPS * np.abs(alone).sum(axis=0)
    assert (np.abs(alone.sum(axis=0) - whole) <= bound).all()
    np.testing.assert_array_equal(rows_of(core, 2**count - 1), rows_of(core))
    assert (rows_of(core, 0) == 0).all()


@TWINS
def test_each_cell_has_a_selection_of_its_own(engine: str) -> None:
    core = blank(quiet(drift=None), engine=engine)
    for d in range(4):
        pulse(core, d, 40 + 5 * d)
    select = np.random.default_rng(0).integers(0, 16, core.shape).astype(np.uint8)
    rows = np.array([3, 0, 3])
    read = core.read_rows(rows, select, False)
    signed = np.array([g_of(40), g_of(45), -g_of(50), -g_of(55)])
    chosen = (select[..., None] >> np.arange(4)) & 1
    np.testing.assert_allclose(read, (chosen @ signed)[:, rows], atol=1e-5)


# --- partial tiles --------------------------------------------------------------------------------


@TWINS
def test_cells_beyond_the_extent_are_left_alone(engine: str) -> None:
    core = blank(quiet(), [(5, 6), (2, 6), (5, 1)], engine)
    for d in range(4):
        pulse(core, d, 255 if d else 0)
    used = np.zeros(core.shape, dtype=bool)
    for tile, (rows, columns) in enumerate(core.extents):
        used[tile, :rows, :columns] = True
    np.testing.assert_array_equal(core.last_device != NONE, used)
    for d in range(4):
        np.testing.assert_array_equal(core.conductance[:, d] > 0, used)
    pulses = core.counters["pulses_set"] + core.counters["pulses_reset"]
    np.testing.assert_array_equal(pulses, 4 * used.sum(axis=(1, 2)))
    assert (rows_of(core)[~used] == 0).all()
    # Their inputs change nothing.
    x, other = ones(core), ones(core)
    other[:, :, 2:] = -1
    np.testing.assert_array_equal(mvm(core, x)[1], mvm(core, other)[1])


@TWINS
def test_a_matrix_on_partial_tiles(engine: str) -> None:
    """13 inputs and 10 outputs on crossbars of 8 × 6: tiles of 6 or 7 rows, 5 columns."""
    weights = np.random.default_rng(1).normal(size=(10, 13))
    config = fa.override(fa.presets.hermes(), {"rows": 8, "columns": 6})
    method = fa.IterativeProgramming(iterations=2, final_passes=0)
    matrix = fa.program(weights, config, method, engine=engine, threads=1)
    core = matrix.core
    np.testing.assert_array_equal(core.extents, [[6, 5], [6, 5], [7, 5], [7, 5]])
    assert core.shape == (4, 7, 5)
    assert (core.last_device[:2, 6] == NONE).all()
    assert (core.last_device[2:] != NONE).all()
    assert (core.conductance[:2, :, 6] == 0).all()
    # two devices of a polarity and both, dark, two rounds
    assert matrix.cost.row_reads == 4 + 5 * (6 + 6 + 7 + 7)
    assert matrix.cost.adc_conversions == 5 * matrix.cost.row_reads


# --- noise while programming ----------------------------------------------------------------------


def test_vectors_are_numbered_through() -> None:
    """A batch and its halves draw alike; two equal batches do not; users' numbers are others."""
    config = quiet(read_noise=CoreConfig().read_noise, drift=None)
    one, two = blank(config), blank(config)
    for core in (one, two):
        pulse(core, 0, 45)
    x = np.random.default_rng(0).uniform(-1, 1, (1, 6, 5)).astype(np.float32)
    whole = mvm(one, x)
    halves = np.concatenate([mvm(two, x[:, :2]), mvm(two, x[:, 2:])], axis=1)
    np.testing.assert_array_equal(whole, halves)
    assert (mvm(one, x) != whole).all()
    assert one.number == core_module.PROGRAMMING + 12
    first, second = rows_of(one), rows_of(one)
    assert (first != second).all()


@TWINS
def test_every_pulse_scatters_anew(engine: str) -> None:
    core = blank(quiet(device=MeltQuench(), drift=None), engine=engine)
    seen = []
    for _ in range(2):
        pulse(core, 0, 45)
        seen.append(core.conductance[:, 0].copy())
    assert (seen[0] != seen[1]).all()
    other = blank(quiet(device=MeltQuench(), drift=None), engine=engine)
    pulse(other, 0, 45)
    np.testing.assert_array_equal(other.conductance[:, 0], seen[0])


# --- refreshed matrices ---------------------------------------------------------------------------


class Counting:
    """An engine that counts how often drift is evaluated."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.drifts = engine, 0

    def __getattr__(self, name: str) -> Any:
        if name in ("drift", "measure"):
            self.drifts += 1
        return getattr(self.engine, name)


def session(core: Core, waits: list[float]) -> tuple[list[np.ndarray], int]:
    """Pulse, then multiply after each wait, and pulse and multiply again."""
    core.engine = counting = Counting(core.engine)  # type: ignore[assignment]
    x = ones(core)
    seen = []
    for code in (45, 60):
        pulse(core, 0, code)
        for seconds in waits:
            core.wait(seconds)
            seen.append(mvm(core, x))
    return seen, counting.drifts


@TWINS
def test_matrices_are_refreshed_in_time(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drift that is not seen is at most nu · LOG_AGE_STEP; a refresh is not for nothing."""
    assert LOG_AGE_STEP == 0.01
    random = np.random.default_rng(5)
    waits = [0.0, 1e-5, 1e-4, *random.exponential(0.01, 300).tolist(), 100.0, 0.1, 2.0]
    lazy, few = session(blank(quiet(), engine=engine), waits)
    monkeypatch.setattr(Core, "_are_fresh", lambda _: False)
    fresh, all_of_them = session(blank(quiet(), engine=engine), waits)
    assert all_of_them == 2 * len(waits)
    off = np.array([np.abs(a / b - 1).max() for a, b in zip(lazy, fresh, strict=True)])
    # 5 products and as many sums of equal sign, rounded
    assert 0.3 * NU * LOG_AGE_STEP < off.max() < np.expm1(NU * LOG_AGE_STEP) + 20 * EPS
    # A log age of ln(3 s / 1 ms) in steps of 0.01 or more, and the long waits, twice
    assert few < 0.9 * all_of_them
    for late in (len(waits) - 3, 2 * len(waits) - 3):  # after 100 s
        assert off[late] < 20 * EPS
    assert off[0] < 20 * EPS
    assert off[len(waits)] < 20 * EPS  # after a pulse


@TWINS
def test_nothing_is_refreshed_for_nothing(engine: str) -> None:
    core = blank(quiet(), engine=engine)
    _, drifts = session(core, [0.0] * 20)
    assert drifts == 4  # for the first MVM after each pulse, and for the second, which keeps it
    core = blank(quiet(drift=None), engine=engine)
    _, drifts = session(core, [0.0, 10.0, 1e4])
    assert drifts == 4


@TWINS
def test_a_pulse_anywhere_refreshes(engine: str) -> None:
    core = blank(quiet(), engine=engine)
    pulse(core, 0, 45)
    before = rows_of(core)
    device = np.full(core.shape, NONE, np.uint8)
    device[0, 2, 3] = 0
    core.pulse(device, np.full(core.shape, 0, np.uint8))
    changed = rows_of(core) != before
    assert changed[0, 2, 3]
    assert changed.sum() == 1
