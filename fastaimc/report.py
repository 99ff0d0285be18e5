"""A comparison as tables, as words and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import numpy as np
from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from fastaimc.compare import EXACT, OUTSIDE, WHOLE, Comparison

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


def _table(title: str, columns: Sequence[str]) -> Table:
    """Return an empty table: methods on the left, figures on the right."""
    table = Table(
        title="\n" + title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("method")
    for name in columns:
        table.add_column(name, justify="right")
    return table


def error_table(comparison: Comparison, layer: str) -> Table:
    """Return the errors of one layer for uniform inputs, in percent; the least in bold."""
    names = ("total", "linear", "residual", "weights", "cells off")
    table = _table(f"Errors of {layer}, uniform inputs \\[%]", names)
    fields = ("total", "linear", "residual", "weight_error", "outside")
    _fill(table, comparison, layer, fields)
    over = (
        f"mean ± standard deviation of {comparison.seeds} seeds; " if comparison.seeds > 1 else ""
    )
    table.caption = f"{over}cells off: by more than {100 * OUTSIDE:g} % of g_max"
    table.caption_justify = "left"
    return table


def inputs_table(comparison: Comparison, layer: str) -> Table:
    """Return the residual errors of one layer by inputs, in percent; the least in bold."""
    table = _table(f"Residual of {layer} \\[%]", ("sparse inputs", "ReLU inputs"))
    _fill(table, comparison, layer, ("residual_sparse", "residual_relu"))
    return table


def _fill(table: Table, comparison: Comparison, layer: str, fields: Sequence[str]) -> None:
    programmed = [label for label in comparison.labels if label != EXACT]
    cells: dict[str, list[str]] = {label: [] for label in comparison.labels}
    for field in fields:
        values = {label: comparison.values(label, layer, field) for label in comparison.labels}
        least = min(programmed, key=lambda label: values[label].mean())
        digits = 1 if field == "outside" else 2
        for label, value in values.items():
            text = spread(value, 100, digits)
            best = label == least and len(programmed) > 1
            cells[label].append(f"[bold]{text}[/bold]" if best else text)
    for label, texts in cells.items():
        table.add_row(label, *texts)


def cost_table(comparison: Comparison) -> Table:
    """Return what programming cost, all layers together."""
    names = ("MVMs", "row reads", "MVM-equiv.", "pulses/cell", "energy \\[µJ]", "time \\[s]")
    table = _table(f"Cost of {WHOLE}", names)
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
    table = _table("Accuracy on the test images \\[%]", ("accuracy", "GDP − it"))
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
    return "\n".join(lines)


def _spent(comparison: Comparison, rival: str) -> str:
    """Return what GDP spent beside a rival, in words: a lower error at a higher cost is no gain."""
    spent, other = (
        comparison.values(label, WHOLE, "mvm_equivalents").mean() for label in ("GDP", rival)
    )
    return f"with {spent / other:.2f} times its MVM-equivalents"


def render(comparison: Comparison, layers: bool = False) -> Group:
    """Return everything a terminal shows."""
    names = comparison.layers if layers else [WHOLE]
    parts: list[Table | Text] = []
    for layer in names:
        parts += [error_table(comparison, layer), inputs_table(comparison, layer)]
    parts.append(cost_table(comparison))
    if comparison.accuracies:
        parts.append(accuracy_table(comparison))
    parts.append(Text("\n" + closing(comparison)))
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
