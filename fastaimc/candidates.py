"""The methods that a comparison sets side by side, each at the same cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fastaimc.config import CoreConfig, ProgrammedState, override, presets
from fastaimc.errors import InputError, nearest
from fastaimc.programming import (
    DirectWrite,
    EstimateGuidedProgramming,
    GradientDescentProgramming,
    HadamardVerifyProgramming,
    IterativeProgramming,
    Method,
)

DEFAULT = ("ip", "ip-fine", "gdp", "statistics")
METHODS = ("ip", "ip-dark", *DEFAULT[1:], "estimate", "hadamard")

WAITS = 1.0  # of a whole program, in units of the time until evaluation


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to program: its label, the cores, the method and the rounds of IP it may cost."""

    label: str
    config: CoreConfig
    method: Method
    rounds: int
    batch: int | None = None

    def method_for(self, rows: int) -> Method:
        """Return the method for tiles of so many rows.

        GDP, guided by estimates or not, gets as many iterations as IP's rounds leave it
        MVM-equivalents, start included; its batch, unless given, is the power of two that makes
        Hadamard inputs orthogonal.  All wait as long in all.
        """
        if isinstance(self.method, GradientDescentProgramming):
            return _gdp(self.method, rows, self.rounds, self.batch)
        if isinstance(self.method, EstimateGuidedProgramming):
            # What its start reads less than the others' goes into iterations, a dark read, too.
            half = self.config.devices // 2
            read = half - (self.config.device_significance().size == 0)
            left = rows * (self.rounds + half) + 1 - read * _power_of_two(rows)
            return _guided(self.method, left, self.batch or _power_of_two(rows))
        if isinstance(self.method, IterativeProgramming | HadamardVerifyProgramming):
            passes = min(self.method.final_passes, self.rounds)
            rest = WAITS - passes * self.method.final_delay
            return replace(
                self.method,
                iterations=self.rounds,
                final_passes=passes,
                verify_delay=rest / (self.rounds - passes + 1),
            )
        return self.method


def _power_of_two(rows: int) -> int:
    """Return the least one that is not below."""
    return 1 << (rows - 1).bit_length()


def _guided(method: EstimateGuidedProgramming, mvms: int, batch: int) -> EstimateGuidedProgramming:
    iterations = max(mvms // batch, 1)
    passes = min(method.final_passes, iterations)
    rest = WAITS - passes * method.final_delay
    return replace(
        method,
        iterations=iterations,
        batch=batch,
        final_passes=passes,
        verify_delay=rest / (1 + iterations - passes),
    )


def _gdp(
    method: GradientDescentProgramming, rows: int, rounds: int, batch: int | None
) -> GradientDescentProgramming:
    batch = batch or _power_of_two(rows)
    start_rounds = min(method.start_rounds, rounds)
    iterations = max(rows * (rounds - start_rounds) // batch, 1)
    passes = min(method.final_passes, iterations)
    rest = WAITS - passes * method.final_delay
    return replace(
        method,
        iterations=iterations,
        batch=batch,
        start_rounds=start_rounds,
        affine_every=iterations,
        final_passes=passes,
        verify_delay=rest / (1 + start_rounds + iterations - passes),
    )


def candidates(
    config: CoreConfig,
    names: Sequence[str] = DEFAULT,
    iterations: int | None = None,
    batch: int | None = None,
) -> list[Candidate]:
    """Return the named ways to program a core.

    "ip" reads cells in the range of MVMs and calibrates its offsets, "ip-dark" takes them from one
    dark reading, "ip-fine" reads in the ADC's cell range, "gdp" needs only MVMs, and "estimate" is
    GDP guided by estimates of cells; "hadamard" verifies by encoded reads; "statistics" are cells
    as the published statistics of HERMES have them.

    Parameters
    ----------
    config : CoreConfig
        The core.
    names : sequence of str
        Methods.
    iterations : int or None
        Rounds of IP; GDP gets iterations for as many MVM-equivalents.
    batch : int or None
        MVMs in each iteration of GDP.

    Raises
    ------
    InputError
        For an unknown name, or no name at all.
    ConfigError
        For a number of iterations or a batch that is out of range.
    """
    if not names:
        raise InputError(f"methods must name at least one of {', '.join(METHODS)}")
    for name in names:
        if name not in METHODS:
            raise InputError(
                f"methods must be from {', '.join(METHODS)}, got {name!r}{nearest(name, METHODS)}"
            )
    ip = IterativeProgramming()
    if iterations is not None:
        ip = replace(ip, iterations=iterations)
    gdp, guided = GradientDescentProgramming(), EstimateGuidedProgramming()
    if batch is not None:
        gdp, guided = replace(gdp, batch=batch), replace(guided, batch=batch)
    rounds = ip.iterations
    coarse = override(config, {"adc.cell_lsb_us": None})
    ways = {
        "ip": Candidate("IP", coarse, ip, rounds),
        "ip-dark": Candidate("IP, dark", coarse, replace(ip, calibrate=False), rounds),
        "ip-fine": Candidate("fine IP", config, replace(ip, fine=True), rounds),
        "gdp": Candidate("GDP", coarse, gdp, rounds, batch),
        "estimate": Candidate("GDP, estimates", coarse, guided, rounds, batch),
        "hadamard": Candidate("Hadamard verify", coarse, HadamardVerifyProgramming(), rounds),
        "statistics": Candidate("statistics", presets.hermes_statistics(), DirectWrite(), rounds),
    }
    if isinstance(config.device, ProgrammedState):
        return [Candidate("write", config, DirectWrite(), rounds)]
    return [ways[name] for name in names]
