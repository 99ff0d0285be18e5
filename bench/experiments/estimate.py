"""Estimate-guided GDP against plain GDP with three times as many MVMs, and fine IP at its own cost.

Each has the best set that ``tools/tune.py`` has found for its own budget (``tuning_*.json``).  To
the search of plain GDP at 120 rounds the best set of 60 with twice the batch was added by hand, as
more iterations are of no use to it.  Weights and seeds are others than those of the tuning.  The
start is part of every budget, a dark reading comes on top, and all wait as long.  Ratios are paired
by seed.

With ``--preset hermes_calibrated``, whose pulses scatter far more, all methods at the usual budget.

    python bench/experiments/estimate.py            # minutes; writes bench/results/estimate.md
    python bench/experiments/estimate.py --seeds 1  # a look
    python bench/experiments/estimate.py --preset hermes_calibrated   # estimate_calibrated.md
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

import numpy as np
import tuned
from read_range import SIZE, families
from rich.progress import track
from tables import RESULTS, made, mean_and_error, provenance, table

import fastaimc as fa

BUDGETS = (20, 40)  # in rounds of IP: 5,120 and 10,240 MVM-equivalents
TIMES = 3  # as many for plain GDP
FAMILIES = ("Gaussian", "Laplace", "uniform", "30 % sparse")
GUIDED, MORE, SAME, FINE = "GDP, estimates", "GDP × 3", "GDP", "fine IP"
COARSE = "IP in the MVM's range"

Found = dict[str, dict[str, list[float]]]  # by method and by what was measured
Methods = dict[str, tuple[Any, int]]  # with the trials that each took to tune


def methods(rounds: int) -> Methods:
    """Return the methods to compare at a budget on HERMES.

    Plain GDP at the same budget has the set of the usual one, with its waits shared out anew, and
    "max_fill_read", with which it leaves less than with its own allocation.
    """
    usual = tuned.best("gdp", "hermes") | {"allocation": "max_fill_read"}
    start = tuned.descent_from_start(usual, rounds)
    same = fa.GradientDescentProgramming(affine_every=2**16, **start)
    return {
        GUIDED: (tuned.estimate_guided(rounds=rounds), trials(f"estimate_{rounds}")),
        MORE: (tuned.gradient_descent(rounds=TIMES * rounds), trials(f"gdp_{TIMES * rounds}")),
        SAME: (same, trials("gdp")),
        FINE: (tuned.iterative("fine_ip", rounds=rounds), trials(f"fine_ip_{rounds}")),
    }


def usual_methods(preset: str) -> Methods:
    """Return the methods to compare at the usual budget, each tuned on a preset's devices."""
    coarse = dataclasses.replace(tuned.iterative("ip", preset), fine=False)
    return {
        GUIDED: (tuned.estimate_guided(preset), trials(f"estimate_{preset}")),
        SAME: (tuned.gradient_descent(preset), trials(f"gdp_{preset}")),
        COARSE: (coarse, trials(f"ip_{preset}")),
        FINE: (tuned.iterative("fine_ip", preset), trials(f"fine_ip_{preset}")),
    }


def trials(name: str) -> int:
    """Return how many sets a search has tried."""
    count: int = json.loads((RESULTS / f"tuning_{name}.json").read_text())["trials"]
    return count


def measure(chosen: Methods, config: fa.CoreConfig, seeds: int) -> dict[str, Found]:
    """Return residual and total error of each method by weights, and its costs."""
    found: dict[str, Found] = {family: {} for family in FAMILIES}
    for seed in track(range(seeds), description="seeds"):
        weights = {family: families(seed)[family] for family in FAMILIES}
        for label, (method, _) in chosen.items():
            for family, matrix in fa.program(weights, config, method, seed=seed).items():
                error, cost = fa.mvm_error(matrix, seed=seed + 1), matrix.cost
                values = {
                    "residual": error.residual,
                    "total": error.total,
                    "floor": error.floor,
                    "MVM-equivalents": cost.mvm_equivalents,
                    "pulses per cell": (cost.pulses_set + cost.pulses_reset) / SIZE**2,
                    "latency": cost.latency_s,
                }
                kept = found[family].setdefault(label, {})
                for name, value in values.items():
                    kept.setdefault(name, []).append(float(value))
    return found


def report(rounds: int, chosen: Methods, found: dict[str, Found]) -> str:
    """Return what was measured at one budget as tables."""
    labels = list(chosen)
    lines = []
    for family, by in found.items():
        residual = {label: np.array(by[label]["residual"]) for label in labels}
        ratios = [residual[GUIDED] / residual[label] for label in labels[1:]]
        cells = [mean_and_error(residual[label], 4) for label in labels]
        floor = f"{np.mean(by[GUIDED]['floor']):.4f}"
        lines.append([family, *cells, floor, *(mean_and_error(ratio) for ratio in ratios)])
    over = [f"guided / {label}" for label in labels[1:]]
    text = f"## {rounds * SIZE:,} MVM-equivalents\n\nResidual MVM error:\n\n"
    text += table(["weights", *labels, "floor", *over], lines)
    costs = ("MVM-equivalents", "pulses per cell", "latency", "total")
    rows = []
    for label, (_, number) in chosen.items():
        means = [np.mean([by[label][name] for by in found.values()]) for name in costs]
        counts = [f"{means[0]:,.0f}", f"{means[1]:.1f}", f"{means[2]:.1f} s", f"{means[3]:.4f}"]
        rows.append([label, *counts, str(number)])
    header = ["method", *costs[:3], "mean total error", "trials of its tuning"]
    return text + "\nWhat it cost, mean over the weights:\n\n" + table(header, rows)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--preset", choices=("hermes", "hermes_calibrated"), default="hermes")
    options = parser.parse_args()
    config = getattr(fa.presets, options.preset)()
    usual = options.preset == "hermes"
    budgets = {rounds: methods(rounds) for rounds in BUDGETS} if usual else {}
    budgets = budgets or {tuned.ROUNDS: usual_methods(options.preset)}
    parts = [
        report(rounds, chosen, measure(chosen, config, options.seeds))
        for rounds, chosen in budgets.items()
    ]
    text = (
        f"Matrices of {SIZE}×{SIZE} on `presets.{options.preset}()`, {options.seeds} seeds, mean ± "
        f"standard error; all wait {tuned.WAITS:g} times the {config.t_eval_s:g} s until the "
        f"evaluation. {made(provenance())}\n\n" + "\n".join(parts)
    )
    print(text)
    if options.seeds >= 5:
        name = "estimate" if usual else "estimate_calibrated"
        (RESULTS / f"{name}.md").write_text(text)


if __name__ == "__main__":
    main()
