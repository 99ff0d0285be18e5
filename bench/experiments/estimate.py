"""Estimate-guided GDP against plain GDP with three times as many MVMs, and fine IP at its own cost.

Each has the best set that ``tools/tune.py`` has found for its own budget (``tuning_*.json``).  To
the search of plain GDP at 120 rounds the best set of 60 with twice the batch was added by hand, as
more iterations are of no use to it.  Weights and seeds are others than those of the tuning.  The
start is part of every budget, a dark reading comes on top, and all wait as long.  Ratios are paired
by seed.

    python bench/experiments/estimate.py            # minutes; writes bench/results/estimate.md
    python bench/experiments/estimate.py --seeds 1  # a look
"""

from __future__ import annotations

import argparse
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

Found = dict[str, dict[str, list[float]]]  # by method and by what was measured


def methods(rounds: int) -> dict[str, tuple[Any, int]]:
    """Return the methods to compare at a budget, with the trials each took to tune.

    Plain GDP at the same budget has the set of the usual one, with its waits shared out anew.
    """
    usual = tuned.best("gdp", "hermes")
    same = fa.GradientDescentProgramming(
        affine_every=2**16, **tuned.descent_from_start(usual, rounds)
    )
    return {
        GUIDED: (tuned.estimate_guided(rounds=rounds), trials(f"estimate_{rounds}")),
        MORE: (tuned.gradient_descent(rounds=TIMES * rounds), trials(f"gdp_{TIMES * rounds}")),
        SAME: (same, trials("gdp")),
        FINE: (tuned.iterative("fine_ip", rounds=rounds), trials(f"fine_ip_{rounds}")),
    }


def trials(name: str) -> int:
    """Return how many sets a search has tried."""
    count: int = json.loads((RESULTS / f"tuning_{name}.json").read_text())["trials"]
    return count


def measure(rounds: int, seeds: int) -> dict[str, Found]:
    """Return residual and total error of each method by weights, and its costs."""
    found: dict[str, Found] = {family: {} for family in FAMILIES}
    for seed in track(range(seeds), description=f"{rounds} rounds"):
        weights = {family: families(seed)[family] for family in FAMILIES}
        for label, (method, _) in methods(rounds).items():
            for family, matrix in fa.program(weights, method=method, seed=seed).items():
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


def report(rounds: int, found: dict[str, Found]) -> str:
    """Return what was measured at one budget as tables."""
    labels = list(methods(rounds))
    lines = []
    for family, by in found.items():
        residual = {label: np.array(by[label]["residual"]) for label in labels}
        ratios = [residual[GUIDED] / residual[label] for label in (MORE, SAME, FINE)]
        cells = [mean_and_error(residual[label], 4) for label in labels]
        floor = f"{np.mean(by[GUIDED]['floor']):.4f}"
        lines.append([family, *cells, floor, *(mean_and_error(ratio) for ratio in ratios)])
    over = [f"guided / {label}" for label in (MORE, SAME, FINE)]
    text = f"## {rounds * SIZE:,} MVM-equivalents\n\nResidual MVM error:\n\n"
    text += table(["weights", *labels, "floor", *over], lines)
    costs = ("MVM-equivalents", "pulses per cell", "latency", "total")
    rows = []
    for label, (_, number) in methods(rounds).items():
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
    seeds = parser.parse_args().seeds
    parts = [report(rounds, measure(rounds, seeds)) for rounds in BUDGETS]
    text = (
        f"Matrices of {SIZE}×{SIZE} on `presets.hermes()`, {seeds} seeds, mean ± standard error; "
        f"all wait {tuned.WAITS:g} times the {fa.presets.hermes().t_eval_s:g} s until the "
        f"evaluation. {made(provenance())}\n\n" + "\n".join(parts)
    )
    print(text)
    if seeds >= 5:
        (RESULTS / "estimate.md").write_text(text)


if __name__ == "__main__":
    main()
