"""A stack of crossbars with a clock: its state, and what pulses, reads and time do to it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fastaimc.aging import fresh_until
from fastaimc.circuit.effective import Correction, behind
from fastaimc.circuit.phases import ADCs, Pair, held, multiply, selections, turn
from fastaimc.circuit.ranges import cell_range, full_scales, numbers, own_ranges
from fastaimc.config import CoreConfig
from fastaimc.engine import NO_PATTERN, Engine
from fastaimc.noise import Watch, octaves
from fastaimc.parameters import F32
from fastaimc.response import answer, no_memory
from fastaimc.stuck import in_vain

NONE = 255  # no device
PROGRAMMING = 1 << 47  # first number in the noise of MVMs while programming; 0 on belong to users
CELLS_AT_A_TIME = 1 << 18  # whose rows are read together: what is needed meanwhile is large
MOST_PULSES = 65535  # of a cell that are counted

# State arrays by name: everything of a core that a file must hold.
STATE = ("conductance", "last_device", "last_s", "clock_s", "identity", "full_scale_us", "extents")
# Corrections of IR drop, by the devices that conduct: together ("all", or those that add), those
# that subtract in phases of their own, and a selection of rows' reads.
KEPT = ("all", "subtracting", "selected")
PULSES = ("pulses_set", "pulses_reset", "clipped_conductance", "clipped_current")
COUNTERS = (*PULSES, "mvms", "row_reads", "adc_conversions", "wait_s")


@dataclass(slots=True)
class Core:
    """State of a stack of tiles, and the operations of the engine on it.

    Parameters
    ----------
    config, engine
        What the tiles are made of, and what computes them.
    identity : ndarray
        Two words of key and the number of each tile within its matrix, (tile, 3), uint32.
    extents : ndarray
        Rows and columns in use of every tile, (tile, 2), int64.
    full_scale_us : ndarray
        Of the ADC in its MVM range, (tile,), float32.
    conductance, last_device, last_s, clock_s
        Devices as they were left, (tile, device, row, column), float32, µS at the drift's t_ref;
        the device of each cell pulsed last (255: none) and when, (tile, row, column), uint8 and
        float32; the clock of every tile, (tile,), float64, s.
    memory
        See `Engine.increment`.
    step, number
        Counters of the noise of pulses and row reads, and of MVMs.
    cell_pulses : ndarray, optional
        Pulses that every cell got, up to 65535, (tile, row, column), uint16; None: not counted.
    stuck : ndarray, optional
        A bit for each device of a cell that no pulse moves, (tile, row, column), uint8.
    corrections : dict
        What the estimate of IR drop left out, by what was read; a checkpoint must hold them.
    own_ranges : ndarray, optional
        Full scale of every column in units of its tile's, (tile, column), float32; None: the same.
    """

    config: CoreConfig
    engine: Engine
    identity: np.ndarray
    extents: np.ndarray
    full_scale_us: np.ndarray
    conductance: np.ndarray
    last_device: np.ndarray
    last_s: np.ndarray
    clock_s: np.ndarray
    memory: np.ndarray
    step: int = 1  # 0 numbers what belongs to a device for life
    number: int = PROGRAMMING
    counters: dict[str, np.ndarray] = field(default_factory=dict)
    cell_pulses: np.ndarray | None = None
    stuck: np.ndarray | None = None
    corrections: dict[str, Correction] = field(default_factory=dict)
    own_ranges: np.ndarray | None = None
    _pairs: tuple[Pair, ...] = ()
    _stale_s: np.ndarray | None = None  # clocks beyond which the matrices are too old
    _pulsed_s: np.ndarray | None = None
    _measured: int = 0  # step of the last MVM without matrices
    watch: Watch = field(default_factory=Watch)
    _columns: dict[int, np.ndarray] = field(default_factory=dict)

    @classmethod
    def blank(
        cls,
        config: CoreConfig,
        engine: Engine,
        targets: np.ndarray,
        identity: np.ndarray,
        extents: np.ndarray,
    ) -> Core:
        """Return an unformed core (all devices at 0 µS) whose ADC ranges fit `targets`."""
        tiles, rows, columns = targets.shape
        core = cls(
            config=config,
            engine=engine,
            identity=identity,
            extents=extents,
            full_scale_us=full_scales(targets, extents, config),
            conductance=np.zeros((tiles, config.devices, rows, columns), dtype=np.float32),
            last_device=np.full((tiles, rows, columns), NONE, dtype=np.uint8),
            last_s=np.zeros((tiles, rows, columns), dtype=np.float32),
            clock_s=np.zeros(tiles),
            memory=no_memory(config, (tiles, rows, columns)),
        )
        core.counters = {name: np.zeros(tiles) for name in COUNTERS}
        if config.adc.range == "column":
            core.own_ranges = own_ranges(targets, extents, core.full_scale_us, config)
        return core

    def part(self, tiles: slice, rows: int, columns: int) -> Core:
        """Return some of the tiles, cut to `rows` and `columns`, with arrays of their own."""
        cut = (tiles, slice(rows), slice(columns))
        pulses, own = self.cell_pulses, self.own_ranges
        return Core(
            config=self.config,
            engine=self.engine,
            identity=self.identity[tiles].copy(),
            extents=self.extents[tiles].copy(),
            full_scale_us=self.full_scale_us[tiles].copy(),
            conductance=self.conductance[tiles, :, :rows, :columns].copy(),
            last_device=self.last_device[cut].copy(),
            last_s=self.last_s[cut].copy(),
            clock_s=self.clock_s[tiles].copy(),
            memory=self.memory[tiles, :, :rows, :columns].copy(),
            step=self.step,
            number=self.number,
            counters={name: value[tiles].copy() for name, value in self.counters.items()},
            cell_pulses=None if pulses is None else pulses[cut].copy(),
            stuck=None if self.stuck is None else self.stuck[cut].copy(),
            own_ranges=None if own is None else own[tiles, :columns].copy(),
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(tile, row, column)."""
        tiles, rows, columns = self.last_device.shape
        return tiles, rows, columns

    def columns(self, cell_range: int) -> np.ndarray:
        """Return the numbers of the ADCs in a range, (tile, 4 or 7, column); see `Engine.mvm`."""
        if cell_range not in self._columns:
            own = self.own_ranges if cell_range == 0 else None
            self._columns[cell_range] = self.columns_of(cell_range, own)
        return self._columns[cell_range]

    def columns_of(self, cell_range: int, own_ranges: np.ndarray | None) -> np.ndarray:
        """Return what `columns` does, for ranges (tile, column) of the columns' own."""
        drawn = self.engine.columns(
            self.identity, self.shape[2], cell_range, self.config.adc.spreads()
        )
        return numbers(drawn, self.config, own_ranges)

    def half_codes(self, programming: bool) -> np.float32:
        """Return the codes of the MVM range on either side of zero; 0: ideal."""
        return F32(self.config.adc.half_codes(programming))

    def mvm_codes(self, programming: bool) -> np.float32:
        """Return the codes of an MVM's phases, as an engine takes them."""
        return F32(self.config.adc.mvm_codes(programming, self.config.dac.phases))

    def mvm_adcs(self, programming: bool) -> ADCs:
        """Return columns, full scale and codes of the ADCs in an MVM."""
        return self.columns(0), self.full_scale_us, self.mvm_codes(programming)

    # -- what changes the devices ------------------------------------------------------------

    def send(self, device: np.ndarray, code: np.ndarray, step: int) -> np.ndarray:
        """Let the devices answer; return how many there were of each of PULSES, (tile, 4)."""
        state, pulses = (self.conductance, self.last_device, self.last_s), (device, code)
        what = (self.engine, self.config.device, state, self.memory, pulses)
        return answer(*what, self.clock_s, step, self.identity)

    def pulse(self, device: np.ndarray, code: np.ndarray) -> None:
        """Pulse one device of each cell (255: none); the clock moves."""
        device = self._in_use(device)
        moved, counts = in_vain(self.stuck, device, code, self.config.device)
        counts = counts + self.send(moved, code, self.step)
        self.step += 1
        for name, count in zip(PULSES, counts.T, strict=True):
            self.counters[name] += count
        if self.cell_pulses is not None:
            self.cell_pulses += (device != NONE) & (self.cell_pulses < MOST_PULSES)
        circuit = self.config.circuit
        slots = np.ceil(counts[:, :2].sum(axis=1) / circuit.parallel_pulses)
        self._pulsed_s = self.clock_s.copy()
        self._stale_s = None
        self.clock_s = self.clock_s + slots * circuit.t_pulse_s

    def _in_use(self, device: np.ndarray) -> np.ndarray:
        """Return `device` without the cells beyond a partial tile's extent."""
        tiles, rows, columns = self.shape
        if (self.extents == (rows, columns)).all():
            return device
        device = device.copy()
        for tile in range(tiles):
            device[tile, self.extents[tile, 0] :] = NONE
            device[tile, :, self.extents[tile, 1] :] = NONE
        return device

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock_s = self.clock_s + seconds
        self.counters["wait_s"] += seconds

    # -- what reads them ----------------------------------------------------------------------

    def conduct(
        self,
        clock_s: np.ndarray,
        select: np.ndarray,
        out: tuple[np.ndarray, np.ndarray],
        keep: str | None = None,
        slow: np.ndarray | None = None,
    ) -> None:
        """Write mean and variance of what selected devices conduct, behind the wires if there are.

        `keep` names the correction of the wires' estimate that may be used, and replaced; None:
        it is worked out anew, so that the result depends on the devices alone.  `slow` is the slow
        noise as a core in use sees it; None: as one that is looked at once.
        """
        if self.config.wires is None:
            self._drift(clock_s, select, out, slow=slow)
            return

        def read(chosen: np.ndarray, part: Pair) -> None:
            self._drift(clock_s, chosen, part, slow=slow)

        kept = None if keep is None else self.corrections.get(keep)
        now = behind(self.engine, self.config, select, read, out, kept)
        if keep is not None and now is not None:
            self.corrections[keep] = now

    def _drift(
        self,
        clock_s: np.ndarray,
        select: np.ndarray,
        out: tuple[np.ndarray, np.ndarray],
        first: int = 0,
        slow: np.ndarray | None = None,
    ) -> None:
        """Write what selected devices conduct by themselves, of the rows from `first` on.

        `slow` is the slow noise as a core in use sees it; None: as one that is looked at once.
        """
        self.engine.drift(
            self.conductance,
            self.last_device,
            self.last_s,
            clock_s,
            select,
            self.identity,
            self.config.state_fits(),
            self.config.state_parameters(),
            self.config.device_significance(),
            octaves(self.config.read_noise, clock_s) if slow is None else slow,
            first,
            *out,
        )

    def matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance of what whole cells conduct now."""
        pairs = self.pairs()
        if len(pairs) == 1:
            return pairs[0]
        return held(pairs), pairs[0][1] + pairs[1][1]

    def pairs(self) -> tuple[Pair, ...]:
        """Return mean and variance now, refreshed where pulses or time have moved them.

        A pair for all devices, or in four phases for those that add and those that subtract.
        """
        if not self._are_fresh():
            self._pairs = self.conducted(self.clock_s, self._pairs, self._slow())
            self._stale_s = fresh_until(self.config, self.clock_s, self._pulsed_s)
        return self._pairs

    def conducted(
        self, clock_s: np.ndarray, out: tuple[Pair, ...] = (), slow: np.ndarray | None = None
    ) -> tuple[Pair, ...]:
        """Return mean and variance at a clock, as `phases.multiply` takes them, in `out` if any.

        `slow` as for `conduct`; with it corrections of the wires are kept.
        """
        chosen = selections(self.config.dac.phases, self.config.devices)
        out = out or tuple(
            (np.empty(self.shape, np.float32), np.empty(self.shape, np.float32)) for _ in chosen
        )
        for index, (select, pair) in enumerate(zip(chosen, out, strict=True)):
            keep = None if slow is None else KEPT[index]
            self.conduct(clock_s, select, pair, keep, slow)
        return turn(out)

    def _are_fresh(self) -> bool:
        """Whether the matrices are those of now."""
        return self._stale_s is not None and bool((self.clock_s <= self._stale_s).all())

    def _slow(self) -> np.ndarray:
        """Return the slow noise now."""
        return self.watch.octaves(self.config.read_noise, self.clock_s)

    def mvm(self, x: np.ndarray, group: np.ndarray, pattern: np.ndarray = NO_PATTERN) -> np.ndarray:
        """Multiply inputs (group, batch, row) in [-1, 1]: (tile, batch, column), µS.

        The matrices are kept from the second MVM on that finds the devices alike: a method that
        pulses after each one would keep them for nothing.  With wires they are always needed.
        """
        phases = self.config.dac.phases
        driven = self.engine.quantise(x, F32(self.config.dac.half_codes()))
        adcs = self.mvm_adcs(programming=True)
        new = self._measured != self.step and not self._are_fresh()
        if new and len(x) == 1 and phases == 1 and self.config.wires is None:
            y = self.engine.measure(
                driven[0],
                pattern,
                self.conductance,
                self.last_device,
                self.last_s,
                self.clock_s,
                self.identity,
                self.config.state_fits(),
                self.config.state_parameters(),
                self.config.device_significance(),
                self._slow(),
                self.number,
                *adcs,
            )
            self._measured = self.step
        else:
            what = (driven, group, pattern, self.pairs(), self.identity)
            y = multiply(self.engine, phases, *what, self.number, adcs)
        batch = x.shape[1]
        self.number += batch
        self._count("mvms", float(batch), self.config.circuit.mvm_s(phases), phases)
        return y

    def read_rows(self, rows: np.ndarray, select: np.ndarray | None, fine: bool) -> np.ndarray:
        """Drive single rows, (tile, len(rows), column); `select` as for the engine's drift."""
        fine = fine and self.config.adc.cell_lsb_us is not None
        full_scale, half = self.full_scale_us, self.half_codes(programming=True)
        if fine:
            full_scale, half = cell_range(self.config, self.full_scale_us)
        adc = (self.columns(int(fine)), full_scale, half)
        tiles, _, columns = self.shape
        wired = None if self.config.wires is None else self._wired(select)
        if select is None:
            select = selections(1, self.config.devices)[0]
        out = np.empty((tiles, len(rows), columns), dtype=np.float32)
        step = max(1, CELLS_AT_A_TIME // (tiles * columns))
        for low in range(0, len(rows), step):
            part = rows[low : low + step]
            first, last = int(part.min()), int(part.max()) + 1
            if wired is None:
                matrices = np.empty((2, tiles, last - first, columns), dtype=np.float32)
                mean, variance = matrices
                self._drift(self.clock_s, select, (mean, variance), first, self._slow())
            else:
                first, (mean, variance) = 0, wired
            out[:, low : low + step] = self.engine.read_rows(
                part, first, mean, variance, self.identity, self.step, *adc
            )
        self.step += 1
        read = (rows[None, :] < self.extents[:, :1]).sum(axis=1)
        self._count("row_reads", read, self.config.circuit.read_s)
        return out

    def _wired(self, select: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Return what reads of rows show behind the wires: all rows load them, read or not."""
        if select is None:
            return self.matrices()
        mean, variance = np.empty((2, *self.shape), dtype=np.float32)
        self.conduct(self.clock_s, select, (mean, variance), KEPT[2], self._slow())
        return mean, variance

    def _count(self, name: str, reads: float | np.ndarray, each_s: float, phases: int = 1) -> None:
        counters = self.counters  # sums of arrays take half the time that += does
        counters[name] = counters[name] + reads
        codes = reads * phases * self.extents[:, 1]
        counters["adc_conversions"] = counters["adc_conversions"] + codes
        self.clock_s = self.clock_s + reads * each_s
