"""Hold the models to what is published about them: a table a subject.

    python tools/agree.py                # all tables; exit code 1 if a row is beyond its bound
    python tools/agree.py noise errors   # some of them

"Published" is worked out from the formulas of the sources (`published.py`), not by the package.
Statistics are of 65,536 cells or more.  The subjects aihwkit, crosssim and badcrossbar hold ours to
those programs' own code (`agree_others.py`), and are left out where they are not installed.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import agree_others as others
import numpy as np
from agree_devices import counted_devices
from published import ERRORS, SOURCES, TIMES, Source, by_formulas
from rich.console import Console
from rich.table import Table

import fastaimc as fa
from fastaimc import engine as engines
from fastaimc.circuit.effective import SWEEPS, TOLERANCE
from fastaimc.circuit.wires import exact_wires
from fastaimc.config import CoreConfig, ProgrammedState, Wires

STATES = (0.1, 0.2, 0.35, 0.5, 0.7, 0.9)
SIDE = 256


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison; `bound` is relative, or in points of a relative error; None: shown alone."""

    model: str
    what: str
    ours: float
    published: float
    bound: float | None
    points: bool = False

    @property
    def apart(self) -> float:
        """How far ours is, in the bound's terms."""
        difference = abs(self.ours - self.published)  # of nothing: in points
        return 100 * difference if self.points else difference / abs(self.published)

    @property
    def holds(self) -> bool:
        """Whether it is within the bound."""
        return self.bound is None or self.apart <= self.bound


# --- what ours does -------------------------------------------------------------------------------


def cells_at(config: CoreConfig, x: float, **changes: Any) -> fa.AnalogMatrix:
    """Return a matrix of cells of one state x, but for one row that sets the scale."""
    weights = np.full((SIDE, SIDE + 1), x)
    weights[:, 0] = 1.0
    exact = dataclasses.replace(
        config, rows=SIDE + 1, g_max_us=config.state_scale_us, compensation="none", **changes
    )
    matrix: fa.AnalogMatrix = fa.program(weights, exact, fa.DirectWrite(), seed=7)
    return matrix


def held(matrix: fa.AnalogMatrix) -> np.ndarray:
    """Return the conductances of the cells that are alike."""
    return matrix.conductances()[0, 1:].astype(np.float64).ravel()


def without_spread(config: CoreConfig) -> dict[str, Any]:
    """Return a device that is written exactly."""
    assert isinstance(config.device, ProgrammedState)
    return {"device": dataclasses.replace(config.device, std_us=(0.0,))}


def rectified(mean: float, std: float) -> float:
    """Return the standard deviation of a normal number of which the negative ones become zero."""
    from scipy.stats import norm

    a = mean / std
    first = mean * norm.cdf(a) + std * norm.pdf(a)
    second = (mean**2 + std**2) * norm.cdf(a) + mean * std * norm.pdf(a)
    return float(np.sqrt(second - first**2))


def programming() -> Iterator[Row]:
    """Yield the spread of what was just written; nothing conducts less than nothing."""
    for name, source in SOURCES.items():
        for x in STATES:
            config = source.preset()
            ours = held(cells_at(config, x, drift=None, read_noise=None)).std()
            std = float(np.polyval(source.std[::-1], x))
            wanted = rectified(x * config.state_scale_us, std)
            yield Row(name, f"σ_prog, x = {x}", ours, wanted, 0.01)


def folded(mu: float, sigma: float) -> tuple[float, float]:
    """Return mean and standard deviation of |N(mu, sigma)|."""
    from scipy.stats import foldnorm

    law = foldnorm(mu / sigma, scale=sigma)
    return float(law.mean()), float(law.std())


def exponents(matrix: fa.AnalogMatrix) -> np.ndarray:
    """Return the drift exponents of devices, from what they conduct at two times."""
    early, late = (held(matrix.at(t)) for t in (1e3, 1e6))
    return np.asarray(np.log(early / late) / np.log(1e3))


def drift() -> Iterator[Row]:
    """Yield the exponents of devices, from what they conduct at two times."""
    for name, source in SOURCES.items():
        if source.mu is None or source.sigma is None:
            continue
        for x in STATES:
            config = source.preset()
            nu = exponents(cells_at(config, x, read_noise=None, **without_spread(config)))
            mean, std = folded(source.mu(x), source.sigma(x))
            yield Row(name, f"µ_ν, x = {x}", nu.mean(), mean, 0.01)
            yield Row(name, f"σ_ν, x = {x}", nu.std(), std, 0.01)


def relative_noise(source: Source, x: float) -> float:
    """Return the relative read noise at t0: what a device shows, fast and slow together."""
    config = source.preset()
    matrix = cells_at(config, x, drift=None, **without_spread(config)).at(source.t0)
    core, exact_us = matrix.core, x * config.state_scale_us
    ((_, variance),) = core.conducted(core.clock_s + source.t0)
    fast = variance[0, 1:].astype(np.float64).mean()
    return float(np.sqrt(held(matrix).var() + fast) / exact_us)


def noise() -> Iterator[Row]:
    """Yield the relative read noise at t0."""
    for name, source in SOURCES.items():
        if source.q is None:
            continue
        for x in STATES:
            band = np.log((source.t0 + source.t_read) / (2 * source.t_read))
            wanted = source.q(x) * np.sqrt(band)
            yield Row(name, f"read noise, x = {x}", relative_noise(source, x), wanted, 0.01)


def protocol() -> np.ndarray:
    """Return weights as the HERMES notebook draws them: uniform, 30 % of them zero."""
    rng = np.random.default_rng(3)
    return np.asarray(rng.uniform(-1, 1, (512, 512)) * (rng.random((512, 512)) >= 0.3))


def written(source: Source, weights: np.ndarray) -> fa.AnalogMatrix:
    """Return 512² weights on cells of a source, behind an ideal ADC and one scale."""
    changes = {"rows": 512, "columns": 512, "compensation": "global", "adc.bits": None}
    without = dict.fromkeys(("adc.gain_std", "adc.offset_std", "adc.inl_std"), 0.0)
    preset = source.preset()
    scale = {"g_max_us": preset.state_scale_us}  # the largest weight is at x = 1
    config = fa.override(preset, changes | without | scale)
    matrix: fa.AnalogMatrix = fa.program(weights, config, fa.DirectWrite(), seed=5)
    return matrix


def errors() -> Iterator[Row]:
    """Yield the MVM error of 512² weights under the protocol of the HERMES notebook."""
    weights = protocol()
    for name, known in ERRORS.items():
        source = SOURCES[name]
        matrix = written(source, weights)
        formulas = by_formulas(source, weights, tuple(TIMES.values()))
        for (label, seconds), formula, wanted in zip(TIMES.items(), formulas, known, strict=True):
            at = matrix.at(source.t0 + seconds)
            ours = fa.mvm_error(at, samples=300, inputs="sparse").total
            yield Row(name, f"MVM error, {label}, by formulas", ours, formula, 0.1, points=True)
            yield Row(name, f"MVM error, {label}, known", ours, wanted / 100, 0.3, points=True)


def wires() -> Iterator[Row]:
    """Yield how far IR drop by relaxation is from nodal analysis, over all effective conductances.

    The nodal solution is `fastaimc.circuit.wires`'s; a test holds it to an independent assembly.
    """
    weights = np.random.default_rng(3).standard_normal((64, 64))
    for ohm in (0.15, 1.0, 5.0):
        held = []
        for solver in ("exact", "iterative"):
            drop = Wires(row_ohm=ohm, column_ohm=ohm, solver=solver)
            config = dataclasses.replace(fa.presets.ideal(), rows=64, wires=drop)
            held.append(fa.program(weights, config, fa.DirectWrite()).conductances())
        apart = float(np.linalg.norm(held[1] - held[0]) / np.linalg.norm(held[0]))
        yield Row("IR drop", f"relaxation, {ohm} Ω a cell", apart, 0.0, 1e-4, points=True)


def devices() -> Iterator[Row]:
    """Yield what counted pulses leave: of the published law of PCM, and of aihwkit's steps."""
    for model, what, ours, published in counted_devices():
        yield Row(model, what, ours, published, 0.01)


# --- what other programs do -----------------------------------------------------------------------


def aihwkit() -> Iterator[Row]:
    """Yield what aihwkit's own code draws beside what ours does, state by state.

    Then MVM errors: of its cells by our conventions, and, shown alone, by its own; see `ERRORS`.
    """
    every = others.aihwkit_cells()
    for name, cells in every.items():
        source, zero = SOURCES[name], np.zeros(others.CELLS)
        for x in STATES:
            config, level = source.preset(), np.full(others.CELLS, x * cells.scale_us())
            ours = held(cells_at(config, x, drift=None, read_noise=None)).std()
            yield Row(name, f"σ_prog, x = {x}", ours, cells.written(level).std(), 0.01)
            if not cells.drifts:
                continue
            matrix = cells_at(config, x, read_noise=None, **without_spread(config))
            nu, drawn = exponents(matrix), cells.exponents(level)
            yield Row(name, f"µ_ν, x = {x}", nu.mean(), drawn.mean(), 0.01)
            yield Row(name, f"σ_ν, x = {x}", nu.std(), drawn.std(), 0.01)
            shown = cells.later(level, zero, 0.0).std() / level[0]
            yield Row(name, f"read noise, x = {x}", relative_noise(source, x), shown, 0.01)
    weights = protocol()
    for name in ERRORS:
        matrix = written(SOURCES[name], weights)
        for label, seconds in TIMES.items():
            at = matrix.at(SOURCES[name].t0 + seconds)
            ours = fa.mvm_error(at, samples=300, inputs="sparse").total
            for theirs, bound in ((False, 0.1), (True, None)):
                other = others.aihwkit_error(every[name], weights, seconds, theirs=theirs)
                what = f"MVM error, {label}, {'its' if theirs else 'our'} conventions"
                yield Row(name, what, ours, other, bound, points=True)


def crosssim() -> Iterator[Row]:
    """Yield how far noiseless MVMs of 256² are from CrossSim's, ideal and through converters.

    Of the latter, how many outputs have another code: single precision decides at a code's edge.
    """
    rng = np.random.default_rng(3)
    weights = rng.standard_normal((SIDE, SIDE))
    weights /= np.abs(weights).max(axis=1, keepdims=True)  # as every output's largest is g_max
    x = rng.uniform(-1, 1, (SIDE, SIDE)).astype(np.float32)
    for bits in (None, 8, 6, 4):
        changes = {"rows": SIDE, "dac.bits": bits, "adc.bits": bits}
        config = fa.override(fa.presets.ideal(), changes)
        matrix = fa.program(weights, config, fa.DirectWrite())
        full_scale = float(matrix.core.full_scale_us[0]) / config.g_max_us
        apart = matrix.mvm(x) - (other := others.crosssim(weights, bits, full_scale)(x))
        if bits is None:
            error = float(np.linalg.norm(apart) / np.linalg.norm(other))
            yield Row("noiseless MVM", "ideal converters", error, 0.0, 1e-4, points=True)
        else:
            step = full_scale / config.adc.half_codes(programming=False)
            share = float((np.abs(apart) > step / 2).mean())
            what = f"{bits} bits in and out, another code"
            yield Row("noiseless MVM", what, share, 0.0, 1e-2, points=True)


def badcrossbar() -> Iterator[Row]:
    """Yield how far our solvers are from badcrossbar, on a crossbar of one device a cell."""
    g = np.random.default_rng(2).uniform(0.1, 20, (1, 64, 64)).astype(np.float32)
    engine, none = engines.load("numba"), np.zeros_like(g)
    for ohm in (0.15, 1.0, 5.0):
        wires = Wires(row_ohm=ohm, column_ohm=ohm).parameters(0)
        known = others.badcrossbar(g[0].astype(np.float64), ohm, ohm)
        relaxed = np.empty(g.shape)
        engine.relax_wires(g, none, wires, TOLERANCE, SWEEPS, relaxed)
        for solver, found in (("nodal", exact_wires(g[0], none[0], wires)), ("iterative", relaxed)):
            apart = float(np.linalg.norm(found - known) / np.linalg.norm(known))
            yield Row("IR drop", f"{solver}, {ohm} Ω a cell", apart, 0.0, 1e-4, points=True)


SUBJECTS = {
    "programming": programming,
    "drift": drift,
    "noise": noise,
    "errors": errors,
    "wires": wires,
    "devices": devices,
    "aihwkit": aihwkit,
    "crosssim": crosssim,
    "badcrossbar": badcrossbar,
}


def bound(row: Row) -> str:
    """Return a row's bound as text."""
    if row.bound is None:
        return "–"
    return f"{row.bound:g} pt" if row.points else f"{row.bound:.0%}"


def table(title: str, rows: list[Row]) -> Table:
    """Return rows as a table."""
    made = Table(title=title)
    for name in ("model", "what", "ours", "published", "apart", "bound", "holds"):
        left = name in ("model", "what")
        made.add_column(name, justify="left" if left else "right", no_wrap=True)
    for row in rows:
        unit = " pt" if row.points else ""
        made.add_row(
            row.model,
            row.what,
            f"{row.ours:.5g}",
            f"{row.published:.5g}",
            f"{row.apart:.2g}{unit}" if row.points else f"{row.apart:.2%}",
            bound(row),
            "–" if row.bound is None else "yes" if row.holds else "NO",
        )
    return made


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("subjects", nargs="*", choices=[*SUBJECTS, []], metavar="SUBJECT")
    chosen = parser.parse_args(arguments).subjects or list(SUBJECTS)
    console, wrong = Console(width=max(Console().width, 120)), 0
    for name in chosen:
        if package := others.missing(name):
            console.print(f"{name}: left out, as the package {package} is not installed")
            continue
        rows = list(SUBJECTS[name]())
        wrong += sum(not row.holds for row in rows)
        console.print(table(name, rows))
    console.print(f"{wrong} beyond their bounds")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
