"""The methods that a comparison sets side by side, each at the same cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fastaimc.config import CoreConfig, ProgrammedState, override, presets
from fastaimc.errors import InputError, nearest
from fastaimc.programming import (
    AveragedReadProgramming,
    DirectWrite,
    EstimateGuidedProgramming,
    GradientDescentProgramming,
    HadamardVerifyProgramming,
    IterativeProgramming,
    LeastSquaresReadProgramming,
    Method,
    TwoDeviceProgramming,
)

DEFAULT = ("ip", "ip-fine", "gdp", "statistics")
METHODS = (
    *("max-fill", "tdp", "ip-dark", "ip", "ip-fine", "averaged", "hadamard", "least-squares"),
    *("gdp", "estimate", "statistics"),
)
ALL = "all"
Verified = (
    AveragedReadProgramming
    | HadamardVerifyProgramming
    | IterativeProgramming
    | LeastSquaresReadProgramming
    | TwoDeviceProgramming
)
Iterated = Verified | GradientDescentProgramming | EstimateGuidedProgramming

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

        All get as many iterations as IP's rounds leave them MVM-equivalents, but one at least; the
        rounds of IP that start GDP count.  Its batch, unless given, is the power of two that makes
        Hadamard inputs orthogonal, as is that of GDP guided by estimates.  All wait as long in all.
        """
        if isinstance(self.method, GradientDescentProgramming):
            return _gdp(self.method, rows, self.rounds, self.batch)
        if isinstance(self.method, EstimateGuidedProgramming):
            # What its start reads less than the others' goes into iterations, a dark read, too.
            half = self.config.devices // 2
            read = half - (self.config.device_significance().size == 0)
            left = rows * (self.rounds + half) + 1 - read * _power_of_two(rows)
            return _guided(self.method, left, self.batch or _power_of_two(rows))
        if isinstance(self.method, Verified):
            return _verified(self.method, rows, self.rounds)
        return self.method


def _power_of_two(rows: int) -> int:
    """Return the least one that is not below."""
    return 1 << (rows - 1).bit_length()


def _verified(method: Verified, rows: int, rounds: int) -> Method:
    cost = rows
    if isinstance(method, AveragedReadProgramming):
        cost = rows * method.reads
    elif isinstance(method, LeastSquaresReadProgramming):
        cost = method.batch(rows)
    elif isinstance(method, HadamardVerifyProgramming):
        cost = _power_of_two(rows)
    iterations = max(rows * rounds // cost, 1)
    settles = method.allocation != "max_fill"  # before its reads of SET devices
    return _waiting(method, iterations, int(settles))


def _guided(method: EstimateGuidedProgramming, mvms: int, batch: int) -> Method:
    return _waiting(replace(method, batch=batch), max(mvms // batch, 1), 1)


def _gdp(method: GradientDescentProgramming, rows: int, rounds: int, batch: int | None) -> Method:
    batch = batch or _power_of_two(rows)
    start_rounds = min(method.start_rounds, rounds)
    iterations = max(rows * (rounds - start_rounds) // batch, 1)
    own = replace(method, batch=batch, start_rounds=start_rounds, affine_every=iterations)
    return _waiting(own, iterations, 1 + start_rounds)


def _waiting(method: Iterated, iterations: int, before: int) -> Method:
    """Return a method with so many iterations, whose waits add up; its start waits `before`."""
    passes = min(method.final_passes, iterations - (before == 0))
    rest = WAITS - passes * method.final_delay
    return replace(
        method,
        iterations=iterations,
        final_passes=passes,
        verify_delay=rest / (before + iterations - passes),
    )


def candidates(
    config: CoreConfig,
    names: Sequence[str] = DEFAULT,
    iterations: int | None = None,
    batch: int | None = None,
) -> list[Candidate]:
    """Return the named ways to program a core.

    "ip" reads cells in the range of MVMs and calibrates its offsets, "ip-dark" takes them from one
    dark reading, "ip-fine" reads in the ADC's cell range, "averaged" reads twice a round.  "tdp"
    and "max-fill" verify single devices, from SET conductances that were read or are taken for
    alike.  "hadamard" and "least-squares" verify cells by MVMs, "gdp" needs nothing else, and
    "estimate" is GDP guided by estimates of cells; "statistics" are cells as the published
    statistics of HERMES have them.  "all" are all of them.

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
    known = (*METHODS, ALL)
    for name in names:
        if name not in known:
            raise InputError(
                f"methods must be from {', '.join(known)}, got {name!r}{nearest(name, known)}"
            )
    if ALL in names:
        names = METHODS
    if isinstance(config.device, ProgrammedState):
        return [Candidate("write", config, DirectWrite(), 0)]
    ways = _ways(config, iterations, batch)
    return [ways[name] for name in names]


def _ways(config: CoreConfig, iterations: int | None, batch: int | None) -> dict[str, Candidate]:
    """Return all ways to program a core by name."""
    ip, tdp = IterativeProgramming(), TwoDeviceProgramming()
    if iterations is not None:
        ip = replace(ip, iterations=iterations)
    gdp, guided = GradientDescentProgramming(), EstimateGuidedProgramming()
    if batch is not None:
        gdp, guided = replace(gdp, batch=batch), replace(guided, batch=batch)
    rounds = ip.iterations
    coarse = override(config, {"adc.cell_lsb_us": None})
    statistics = presets.hermes_statistics()
    return {
        "max-fill": Candidate("max-fill", coarse, replace(tdp, allocation="max_fill"), rounds),
        "tdp": Candidate("TDP", coarse, tdp, rounds),
        "ip-dark": Candidate("IP, dark", coarse, replace(ip, calibrate=False), rounds),
        "ip": Candidate("IP", coarse, ip, rounds),
        "ip-fine": Candidate("fine IP", config, replace(ip, fine=True), rounds),
        "averaged": Candidate("averaged IP", coarse, AveragedReadProgramming(), rounds),
        "hadamard": Candidate("Hadamard verify", coarse, HadamardVerifyProgramming(), rounds),
        "least-squares": Candidate("least squares", coarse, LeastSquaresReadProgramming(), rounds),
        "gdp": Candidate("GDP", coarse, gdp, rounds, batch),
        "estimate": Candidate("GDP, estimates", coarse, guided, rounds, batch),
        "statistics": Candidate("statistics", statistics, DirectWrite(), rounds),
    }
