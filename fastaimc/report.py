"""A comparison as tables, as words and as JSON."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from fastaimc.compare import EXACT, WHOLE, Comparison

# How each rival of GDP reads a cell, in the closing words.
RIVALS = {
    "IP": "in the MVM's range",
    "IP, dark": "in the MVM's range and calibrates no offsets",
    "fine IP": "in the ADC's fine range",
}


def spread(values: np.ndarray, scale: float = 1.0, digits: int = 2) -> str:
    """Return ``mean ± standard deviation`` over seeds, or the value alone."""
    mean = f"{scale * values.mean():.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {scale * values.std(ddof=1):.{digits}f}"


def _error(values: np.ndarray) -> str:
    """Return ± and the standard error of the mean; nothing for a single value."""
    if len(values) < 2:
        return ""
    return f" ± {values.std(ddof=1) / np.sqrt(len(values)):.2f}"


def error_table(comparison: Comparison, layer: str) -> Table:
    """Return the errors of one layer, in percent."""
    table = Table(title=f"Errors of {layer} [%]", title_justify="left")
    table.add_column("method")
    for name in ("total", "residual", "sparse", "ReLU", "weights", "cells off"):
        table.add_column(name, justify="right")
    for label in comparison.labels:
        fields = (
            "total",
            "residual",
            "residual_sparse",
            "residual_relu",
            "weight_error",
            "outside",
        )
        digits = (2, 2, 2, 2, 2, 1)
        cells = [
            spread(comparison.values(label, layer, field), 100, places)
            for field, places in zip(fields, digits, strict=True)
        ]
        table.add_row(label, *cells)
    return table


def cost_table(comparison: Comparison) -> Table:
    """Return what programming cost, all layers together."""
    table = Table(title=f"Cost of {WHOLE}", title_justify="left")
    table.add_column("method")
    for name in ("MVMs", "row reads", "MVM-equiv.", "pulses/cell", "energy \\[µJ]", "time \\[s]"):
        table.add_column(name, justify="right")
    for label in comparison.labels:
        if label == EXACT:
            continue

        def mean(field: str, label: str = label) -> float:
            return float(comparison.values(label, WHOLE, field).mean())

        table.add_row(
            label,
            f"{mean('mvms'):,.0f}",
            f"{mean('row_reads'):,.0f}",
            f"{mean('mvm_equivalents'):,.0f}",
            f"{mean('pulses') / mean('cells'):.1f}",
            f"{1e6 * mean('energy_j'):.0f}",
            f"{mean('latency_s'):.1f}",
        )
    return table


def accuracy_table(comparison: Comparison) -> Table:
    """Return the network's accuracy, and each difference to GDP paired by seed."""
    table = Table(title="Accuracy on the test images [%]", title_justify="left")
    for name, justify in (("method", "left"), ("accuracy", "right"), ("GDP − it", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    by_label = accuracies(comparison)
    gdp = by_label.get("GDP")
    for label, values in by_label.items():
        difference = ""
        if gdp is not None and label not in ("GDP", "digital") and len(values) == len(gdp):
            paired = 100 * (gdp - values)
            difference = f"{paired.mean():+.2f}{_error(paired)}"
        table.add_row(label, spread(values, 100), difference)
    return table


def accuracies(comparison: Comparison) -> dict[str, np.ndarray]:
    """Return the accuracies over seeds by label."""
    found: dict[str, list[float]] = {}
    for item in comparison.accuracies:
        found.setdefault(item.label, []).append(item.accuracy)
    return {label: np.array(values) for label, values in found.items()}


def closing(comparison: Comparison) -> str:
    """Return in words what the tables show."""
    lines = []
    for rival, how in RIVALS.items():
        if not {"GDP", rival} <= set(comparison.labels):
            continue
        ratio = comparison.values("GDP", WHOLE, "residual") / comparison.values(
            rival, WHOLE, "residual"
        )
        percent = 100 * abs(1 - ratio.mean())
        word = "less" if ratio.mean() < 1 else "more"
        lines.append(
            f"GDP leaves {percent:.0f} % {word} residual MVM error than IP that reads cells "
            f"{how} ({ratio.mean():.2f} of it), {_spent(comparison, rival)}."
        )
    by_label = accuracies(comparison)
    if {"GDP", "IP"} <= set(by_label):
        paired = 100 * (by_label["GDP"] - by_label["IP"])
        lines.append(
            f"Its network is {paired.mean():+.2f}{_error(paired)} points more accurate than IP's"
            + (" (paired, mean ± standard error)." if len(paired) > 1 else " (one seed).")
        )
    return " ".join(lines)


def _spent(comparison: Comparison, rival: str) -> str:
    """Return what GDP spent beside a rival, in words: a lower error at a higher cost is no gain."""
    spent, other = (
        comparison.values(label, WHOLE, "mvm_equivalents").mean() for label in ("GDP", rival)
    )
    return f"with {spent / other:.2f} times its MVM-equivalents"


def render(comparison: Comparison, layers: bool = False) -> Group:
    """Return everything a terminal shows."""
    names = comparison.layers if layers else [WHOLE]
    parts: list[Table | Text] = [error_table(comparison, layer) for layer in names]
    parts.append(cost_table(comparison))
    if comparison.accuracies:
        parts.append(accuracy_table(comparison))
    parts.append(Text(closing(comparison)))
    return Group(*parts)


def show(comparison: Comparison, console: Console, layers: bool = False) -> None:
    """Print a comparison."""
    console.print(render(comparison, layers))


def to_json(comparison: Comparison) -> str:
    """Return all measurements with their provenance as JSON."""
    document = {
        "provenance": comparison.provenance,
        "methods": comparison.methods,
        "rows": [dataclasses.asdict(row) for row in comparison.rows],
        "accuracies": [dataclasses.asdict(item) for item in comparison.accuracies],
        "histories": {
            label: {name: _numbers(values) for name, values in history.items()}
            for label, history in comparison.histories.items()
        },
        "pulses_per_cell": {
            label: np.bincount(pulses).tolist() for label, pulses in comparison.pulses.items()
        },
    }
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def _numbers(values: np.ndarray) -> list[float | None]:
    """Return values as JSON has them: null for what nobody saw."""
    return [float(value) if np.isfinite(value) else None for value in values]
