"""What programming cost: operations counted, and the energy and latency that follow."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from fastaimc.config import CoreConfig

FULL_CORE = 256 * 256  # cells to which the circuit's energy of an MVM refers


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of programming a matrix, all its tiles together.

    Attributes
    ----------
    pulses_set, pulses_reset : int
        Pulses below and above the knee of the programming curve.
    mvms, row_reads, adc_conversions : int
        Reads of whole cores, of single rows, and codes converted.
    mvm_equivalents : int
        ``phases * mvms + row_reads``: a phase and a row either give one code per column.
    energy_j : float
        Pulses, and reads by their share of a 256×256 core: rows for the crossbar's half of an
        MVM's energy, columns for the converters' (assumption: half each); row reads by their
        columns where the circuit has an energy of their own.
    latency_s, wait_s : float
        Time of the slowest tile, as tiles work side by side, and the part of it spent waiting.
    """

    pulses_set: int
    pulses_reset: int
    mvms: int
    row_reads: int
    adc_conversions: int
    mvm_equivalents: int
    energy_j: float
    latency_s: float
    wait_s: float

    def as_dict(self) -> dict[str, float]:
        """Return the fields by name."""
        return asdict(self)


def energy_of(
    counters: dict[str, np.ndarray], extents: np.ndarray, config: CoreConfig
) -> np.ndarray:
    """Return the energy of what counters have counted, (tile,), J; see `Cost.energy_j`."""
    circuit = config.circuit
    cells, columns = extents.prod(axis=1), extents[:, 1]
    mvm_j = circuit.mvm_j(config.dac.phases) * 0.5 * (cells / FULL_CORE + columns / 256)
    row_j = circuit.energy_mvm_j * 0.5 * (columns / FULL_CORE + columns / 256)
    if circuit.energy_read_j is not None:
        row_j = circuit.energy_read_j * columns / 256
    energy: np.ndarray = (
        counters["mvms"] * mvm_j
        + counters["row_reads"] * row_j
        + counters["pulses_set"] * circuit.energy_set_j
        + counters["pulses_reset"] * circuit.energy_reset_j
    )
    return energy


def cost_of(
    counters: dict[str, np.ndarray], clock_s: np.ndarray, extents: np.ndarray, config: CoreConfig
) -> Cost:
    """Return the cost that a core's counters (tile,) and clocks (tile,) add up to."""
    names = ("pulses_set", "pulses_reset", "mvms", "row_reads", "adc_conversions")
    total = {name: int(counters[name].sum()) for name in names}
    slowest = int(np.argmax(clock_s))
    return Cost(
        **total,
        mvm_equivalents=config.dac.phases * total["mvms"] + total["row_reads"],
        energy_j=float(energy_of(counters, extents, config).sum()),
        latency_s=float(clock_s[slowest]),
        wait_s=float(counters["wait_s"][slowest]),
    )
