"""Hold the models to what is published about them: a table a subject.

    python tools/agree.py                # all tables; exit code 1 if a row is beyond its bound
    python tools/agree.py noise errors   # some of them

"Published" is worked out here from the formulas of the sources, not by the package: from
Joshi et al., Nat. Commun. 11, 2473 (2020), Wan et al., Nature 608, 504 (2022), and the fits of
aihwkit's HermesNoiseModel.  Statistics are of 65,536 cells or more.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import fastaimc as fa
from fastaimc.config import CoreConfig, ProgrammedState, Wires

STATES = (0.1, 0.2, 0.35, 0.5, 0.7, 0.9)
SIDE = 256
HOUR, DAY = 3600.0, 86400.0


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison; `bound` is relative, or in points of a relative error."""

    model: str
    what: str
    ours: float
    published: float
    bound: float
    points: bool = False

    @property
    def apart(self) -> float:
        """How far ours is, in the bound's terms."""
        difference = abs(self.ours - self.published)  # of nothing: in points
        return 100 * difference if self.points else difference / abs(self.published)

    @property
    def holds(self) -> bool:
        """Whether it is within the bound."""
        return self.apart <= self.bound


# --- what is published ----------------------------------------------------------------------------


def clipped_log(slope: float, offset: float, low: float, high: float) -> Callable[[float], float]:
    """Return the logarithmic fit that all sources use."""
    return lambda x: float(np.clip(slope * np.log(x) + offset, low, high))


def beside(
    split: float, below: Callable[[float], float], *cubic: float
) -> Callable[[float], float]:
    """Return a fit that is a polynomial, lowest order first, from `split` on."""
    return lambda x: below(x) if x < split else float(np.polyval(cubic[::-1], x))


@dataclass(frozen=True, slots=True)
class Source:
    """Published statistics over x = g / g_max."""

    preset: Callable[[], CoreConfig]
    std: tuple[float, ...]  # of programming, µS, lowest order first
    t0: float
    t_read: float = 0.0
    mu: Callable[[float], float] | None = None
    sigma: Callable[[float], float] | None = None
    q: Callable[[float], float] | None = None


HERMES_MU = beside(0.0945, clipped_log(-0.0387, -0.0182, 0.072, 0.13), 0.0736, -0.0126, -0.0436)
SOURCES = {
    "Joshi 2020": Source(
        fa.presets.pcm_joshi,
        (0.26348, 1.9650, -1.1731),
        t0=20.0,
        t_read=250e-9,
        mu=clipped_log(-0.0155, 0.0244, 0.049, 0.1),
        sigma=clipped_log(-0.0125, -0.0059, 0.008, 0.045),
        q=lambda x: min(0.0088 / x**0.65, 0.2),
    ),
    "HERMES, one device": Source(
        fa.presets.hermes_one_device,
        (0.15781817, 2.32443916, -2.16310839, 0.68841818),
        t0=200.0,
        t_read=512e-9,
        mu=HERMES_MU,
        sigma=beside(0.3039, clipped_log(-0.0120, -0.0023, 0.0124, 0.04), 0.0104, 0.0116, -0.0165),
        q=beside(
            0.1591, clipped_log(-0.0078, 0.0038, 0.0179, 0.04), 0.0088, 0.0768, -0.1352, 0.0664
        ),
    ),
    "HERMES, two devices": Source(
        fa.presets.hermes_statistics,
        (0.16603222, 4.71806468, -8.48101252, 4.68961419),
        t0=300.0,
        t_read=512e-9,
        mu=HERMES_MU,
        sigma=beside(0.3055, clipped_log(-0.0117, -0.0057, 0.0091, 0.04), 0.0073, 0.0093, -0.0118),
        q=beside(0.16, clipped_log(-0.0117, -0.0069, 0.015, 0.04), 0.0123, 0.0211, -0.0280, 0.0069),
    ),
    "ReRAM, 1 s": Source(fa.presets.reram_wan, (0.348, 16.030, -43.853, 45.393, -16.815), 1.0),
    "ReRAM, 1 day": Source(
        fa.presets.reram_wan_day, (0.701, 22.086, -50.773, 47.095, -16.458), DAY
    ),
}
# Of an MVM at 0 s, 1 h and 1 day after t0, %, worked out elsewhere from the same fits.  Why those
# of one device are up to a point from what the formulas give here, `by_formulas`, is not known.
ERRORS = {
    "Joshi 2020": (8.1, 9.5, 11.1),
    "HERMES, one device": (16.0, 17.1, 19.8),
    "HERMES, two devices": (10.0, 11.1, 14.2),
}


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


def drift() -> Iterator[Row]:
    """Yield the exponents of devices, from what they conduct at two times."""
    for name, source in SOURCES.items():
        if source.mu is None or source.sigma is None:
            continue
        for x in STATES:
            config = source.preset()
            matrix = cells_at(config, x, read_noise=None, **without_spread(config))
            early, late = (held(matrix.at(t)) for t in (1e3, 1e6))
            nu = np.log(early / late) / np.log(1e3)
            mean, std = folded(source.mu(x), source.sigma(x))
            yield Row(name, f"µ_ν, x = {x}", nu.mean(), mean, 0.01)
            yield Row(name, f"σ_ν, x = {x}", nu.std(), std, 0.01)


def noise() -> Iterator[Row]:
    """Yield the relative read noise at t0: what a device shows, fast and slow together."""
    for name, source in SOURCES.items():
        if source.q is None:
            continue
        for x in STATES:
            config = source.preset()
            matrix = cells_at(config, x, drift=None, **without_spread(config)).at(source.t0)
            core, exact_us = matrix.core, x * config.state_scale_us
            ((_, variance),) = core.conducted(core.clock_s + source.t0)
            band = np.log((source.t0 + source.t_read) / (2 * source.t_read))
            fast = variance[0, 1:].astype(np.float64).mean()
            ours = np.sqrt(held(matrix).var() + fast) / exact_us
            yield Row(name, f"read noise, x = {x}", ours, source.q(x) * np.sqrt(band), 0.01)


def protocol() -> np.ndarray:
    """Return weights as the HERMES notebook draws them: uniform, 30 % of them zero."""
    rng = np.random.default_rng(3)
    return np.asarray(rng.uniform(-1, 1, (512, 512)) * (rng.random((512, 512)) >= 0.3))


def by_formulas(source: Source, weights: np.ndarray, seconds: tuple[float, ...]) -> list[float]:
    """Return MVM errors by the published formulas alone: relative errors of the cells.

    For independent inputs that is the MVM's.  Devices of zero are not written, and one scale is
    fitted at each time.
    """
    assert source.mu is not None
    assert source.sigma is not None
    assert source.q is not None
    rng, scale_us = np.random.default_rng(1), source.preset().state_scale_us
    g = np.stack([np.maximum(weights, 0), np.maximum(-weights, 0)]) * scale_us
    fits = [np.vectorize(fit) for fit in (source.mu, source.sigma, source.q)]
    x = np.clip(g / scale_us, 1e-3, 1)
    spread = np.where(g > 0, np.polyval(source.std[::-1], x), 0)
    written = np.maximum(g + spread * rng.standard_normal(g.shape), 0)
    mu, sigma, q = (fit(np.clip(written / scale_us, 1e-3, 1)) for fit in fits)
    nu = np.abs(mu + sigma * rng.standard_normal(g.shape))
    out = []
    for t in seconds:
        age = t + source.t0
        noise = q * np.sqrt(np.log((age + source.t_read) / (2 * source.t_read)))
        now = written * (age / source.t0) ** -nu
        now = np.maximum(now * (1 + noise * rng.standard_normal(g.shape)), 0)
        seen, wanted = now[0] - now[1], g[0] - g[1]
        seen *= np.vdot(seen, wanted) / np.vdot(seen, seen)
        out.append(float(np.linalg.norm(seen - wanted) / np.linalg.norm(wanted)))
    return out


def errors() -> Iterator[Row]:
    """Yield the MVM error of 512² weights under the protocol of the HERMES notebook."""
    weights, times = protocol(), (0.0, HOUR, DAY)
    for name, known in ERRORS.items():
        source = SOURCES[name]
        config = fa.override(
            source.preset(),
            {
                "rows": 512,
                "columns": 512,
                "compensation": "global",
                "adc.bits": None,
                "adc.gain_std": 0.0,
                "adc.offset_std": 0.0,
                "adc.inl_std": 0.0,
            },
        )
        matrix = fa.program(weights, config, fa.DirectWrite(), seed=5)
        formulas = by_formulas(source, weights, times)
        for label, seconds, formula, wanted in zip(
            ("0 s", "1 h", "1 day"), times, formulas, known, strict=True
        ):
            at = matrix.at(source.t0 + seconds)
            ours = fa.mvm_error(at, samples=300, inputs="sparse").total
            yield Row(name, f"MVM error, {label}, by formulas", ours, formula, 0.3, points=True)
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


SUBJECTS = {
    "programming": programming,
    "drift": drift,
    "noise": noise,
    "errors": errors,
    "wires": wires,
}


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
            f"{row.bound:g}{unit}" if row.points else f"{row.bound:.0%}",
            "yes" if row.holds else "NO",
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
        rows = list(SUBJECTS[name]())
        wrong += sum(not row.holds for row in rows)
        console.print(table(name, rows))
    console.print(f"{wrong} beyond their bounds")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
