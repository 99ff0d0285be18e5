"""IR drop: what it does to an MVM, what a fit absorbs of it, and what each solver errs and costs.

Errors of effective conductances are relative, in the Frobenius norm, against the exact solver up
to 256², and beyond against relaxation at a tight tolerance, which is itself held to the exact
solver where there is one.  Cells of up to 20 µS, the other device of a pair at 0.1 µS.

    python bench/experiments/wires.py             # some minutes; writes bench/results/wires.*
    python bench/experiments/wires.py --sizes 64  # a look
    python bench/experiments/wires.py --figure    # draws bench/results/wires.json again
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.progress import track
from tables import RESULTS, made, provenance, table
from wires_figure import save

from fastaimc import engine as engines
from fastaimc.circuit.effective import SWEEPS, TOLERANCE
from fastaimc.circuit.wires import exact_wires
from fastaimc.config import Wires
from fastaimc.metrics import fit_affine, relative_error
from fastaimc.parameters import WireParameters

OHMS = (0.15, 0.35, 1.0, 5.0)
SIZES = (64, 128, 256, 512, 1024)
LARGEST_EXACT = 256
LARGEST_ANY = 512  # beyond, 0.35 Ω and Gaussian weights alone
TIGHT = 1e-8
THREADS = 2
FITTED = 256  # size of the matrices whose outputs are fitted
FITTED_OHMS = (0.35, 1.0)
SPANS = {"0 to 1": 0, "±1": -1}  # inputs, and the least of them
FASTEST_OF = 25

ENGINE = engines.load("numba")
Pair = tuple[np.ndarray, np.ndarray]
Record = dict[str, Any]


def pair(weights: np.ndarray) -> Pair:
    """Return what devices that hold the weights conduct, each (1, row, column), µS."""
    g = 20.0 * weights / np.abs(weights).max(axis=0)
    plus, minus = (np.maximum(part, 0.1).astype(np.float32)[None] for part in (g, -g))
    return plus, minus


def families(n: int) -> dict[str, np.ndarray]:
    """Return dense positive weights and signed Gaussian ones."""
    rng = np.random.default_rng(n)
    return {"positive": rng.uniform(0.5, 1, (n, n)), "Gaussian": rng.standard_normal((n, n))}


def structured(n: int) -> dict[str, np.ndarray]:
    """Return matrices whose outputs are fitted, random and structured."""
    rng = np.random.default_rng(0)
    shape = (n, n)
    positive, row = rng.uniform(0, 1, shape), np.arange(n)[:, None]
    cosine = np.cos(np.pi * (row + 0.5) * np.arange(n) / n)
    return {
        "uniform, positive": positive,
        "Gaussian": rng.standard_normal(shape),
        "low-rank (4)": rng.standard_normal((n, 4)) @ rng.standard_normal((4, n)),
        "cosine transform": cosine,
        "positive above, negative below": np.where(row < n // 2, positive, -positive),
    }


def estimate(devices: Pair, wires: WireParameters) -> np.ndarray:
    """Return effective conductances in closed form, (row, column)."""
    zero = np.zeros_like(devices[0])
    mean, variance = np.empty_like(zero), np.empty_like(zero)
    ENGINE.estimate_wires(*devices, zero, zero, wires, mean, variance)
    found: np.ndarray = mean[0].astype(np.float64)
    return found


def relax(devices: Pair, wires: WireParameters, tolerance: float) -> np.ndarray:
    """Return effective conductances by relaxation, (row, column)."""
    out = np.empty(devices[0].shape)
    left = ENGINE.relax_wires(*devices, wires, tolerance, SWEEPS, out)
    return out[0] if left[0] <= tolerance else np.full_like(out[0], np.nan)


def timed(call: Callable[[], np.ndarray], times: int = 1) -> tuple[np.ndarray, float]:
    """Return a result and the processor's seconds, on one thread, of the fastest of some calls.

    What others do on the machine takes none of them.
    """
    least = np.inf
    time.sleep(0.2)  # until the threads of BLAS no longer spin
    with ENGINE.threads(1):
        for _ in range(times):
            begin = time.process_time()
            found = call()
            least = min(least, time.process_time() - begin)
    return found, least


def compare(n: int, ohm: float, family: str) -> Record:
    """Return what each solver errs on one array, and the seconds it takes."""
    devices = pair(families(n)[family])
    wires = Wires(row_ohm=ohm, column_ohm=ohm).parameters(0)
    tight = relax(devices, wires, TIGHT)
    known, against, seconds = tight, None, None
    if n <= LARGEST_EXACT:
        known, seconds = timed(lambda: exact_wires(devices[0][0], devices[1][0], wires))
        against = error(tight, known)
    cheap, cheap_s = timed(lambda: estimate(devices, wires), FASTEST_OF)
    found, found_s = timed(lambda: relax(devices, wires, TOLERANCE), 3 if n < LARGEST_ANY else 1)
    ignored = devices[0][0].astype(np.float64) - devices[1][0]
    return {
        "size": n,
        "ohm": ohm,
        "weights": family,
        "ignored": error(ignored, known),
        "estimate": error(cheap, known),
        "iterative": error(found, known),
        "tight": against,
        "estimate_s": cheap_s,
        "iterative_s": found_s,
        "exact_s": seconds,
    }


def error(found: np.ndarray, known: np.ndarray) -> float:
    """Return the relative error in the Frobenius norm."""
    return float(np.linalg.norm(found - known) / np.linalg.norm(known))


def fit(name: str, weights: np.ndarray, ohm: float, inputs: str) -> Record:
    """Return the error of outputs for inputs in a span, and what an affine fit leaves."""
    devices = pair(weights)
    wires = Wires(row_ohm=ohm, column_ohm=ohm).parameters(0)
    held, ideal = relax(devices, wires, TOLERANCE), devices[0][0].astype(np.float64) - devices[1][0]
    fit_x, x = np.random.default_rng(1).uniform(SPANS[inputs], 1, (2, 1000, len(weights)))
    scale, offset = fit_affine(fit_x @ held, fit_x @ ideal)
    total = relative_error(x @ held, x @ ideal)
    residual = relative_error(x @ held * scale + offset, x @ ideal)
    return {"weights": name, "ohm": ohm, "inputs": inputs, "total": total, "residual": residual}


def measure(sizes: list[int], fitted: int = FITTED) -> dict[str, Any]:
    """Return all figures and where they come from, fit for JSON."""
    cases = [
        (n, ohm, family)
        for n in sizes
        for ohm in (OHMS if n <= LARGEST_ANY else (0.35,))
        for family in (("positive", "Gaussian") if n <= LARGEST_ANY else ("Gaussian",))
    ]
    cores = [(name, held, ohm) for name, held in structured(fitted).items() for ohm in FITTED_OHMS]
    with ENGINE.threads(THREADS):
        estimate(pair(families(32)["positive"]), Wires().parameters(0))  # compiles
        return {
            "provenance": provenance(),
            "solvers": [compare(*case) for case in track(cases, description="solvers")],
            "fitted": fitted,
            "fits": [
                fit(*core, inputs) for core in track(cores, description="fits") for inputs in SPANS
            ],
        }


def report(found: dict[str, Any]) -> str:
    """Return the figures as tables."""
    return f"{solvers(found)}\n{fits(found)}\n{made(found['provenance'])}\n"


def solvers(found: dict[str, Any]) -> str:
    """Return the table of what solvers err and cost."""
    lines = [
        [
            *(f"{row['size']}²", f"{row['ohm']:g} Ω", row["weights"], f"{row['ignored']:.1%}"),
            *(f"{row['estimate']:.1e}", f"{row['iterative']:.0e}"),
            "–" if row["tight"] is None else f"{row['tight']:.0e}",
            *(f"{row['estimate_s'] * 1e3:.2f} ms", f"{row['iterative_s']:.3g} s"),
            "–" if row["exact_s"] is None else f"{row['exact_s']:.1f} s",
        ]
        for row in found["solvers"]
    ]
    header = ["size", "a cell", "weights", "ignored", "estimate", "iterative", "tight iterative"]
    text = table([*header, "time: estimate", "iterative", "exact"], lines)
    return (
        "Error of the effective conductances, by how IR drop is treated, and time of the processor "
        "on one thread. "
        f"Iterative at its tolerance of {TOLERANCE:g}; tight at {TIGHT:g}, against the exact "
        f"solver, and what the others are held to beyond {LARGEST_EXACT}².\n\n{text}"
    )


def fits(found: dict[str, Any]) -> str:
    """Return the table of what an affine fit of each output leaves."""
    rows = found["fits"]
    lines = [
        [name]
        + [f"{row['total']:.1%} → {row['residual']:.2%}" for row in rows if row["weights"] == name]
        for name in dict.fromkeys(row["weights"] for row in rows)
    ]
    header = [f"{ohm:g} Ω, inputs {span}" for ohm in FITTED_OHMS for span in SPANS]
    return (
        f"Error of the outputs of a {found['fitted']}² core with nothing but IR drop → after an "
        f"affine fit of every output.\n\n{table(['weights', *header], lines)}"
    )


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--figure", action="store_true", help="draw what was measured last, again")
    arguments = parser.parse_args()
    if arguments.figure:
        save(json.loads((RESULTS / "wires.json").read_text()), RESULTS / "wires.png")
        return
    found = measure(arguments.sizes)
    print(report(found))
    if arguments.sizes == list(SIZES):
        (RESULTS / "wires.md").write_text(report(found))
        (RESULTS / "wires.json").write_text(json.dumps(found, indent=1) + "\n")
        save(found, RESULTS / "wires.png")


if __name__ == "__main__":
    main()
