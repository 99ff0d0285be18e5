"""The figure of IR drop: what the estimate errs, what solvers cost, and what a fit absorbs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Records = list[dict[str, Any]]

WIDTH, HEIGHT = 7.2, 5.4  # inches: two columns of a paper
DPI = 200
OHM_COLOURS = ("#9ecae1", "#4292c6", "#2171b5", "#08306b")  # darker: more resistance
SOLVERS = {"estimate": "#1b7837", "iterative": "#762a83", "exact": "#b2182b"}
SPAN_COLOURS = ("#2166ac", "#b2182b")
MARKER: dict[str, Any] = {"linestyle": "", "marker": "o", "color": "0.3"}
FITTED_OHM = 1.0  # of the panel of fits


def draw(found: dict[str, Any]) -> Any:
    """Return the figure of what `wires.measure` returns."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = {
        "font.size": 8,
        "axes.titlesize": 8,
        "legend.fontsize": 7,
        "lines.markersize": 3.5,
    }
    with mpl.rc_context(style):
        drawn = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        (positive, gaussian), (times, absorbed) = drawn.subplots(2, 2)
        ohms = sorted({row["ohm"] for row in found["solvers"]})
        _errors(positive, found["solvers"], ohms, "positive")
        _errors(gaussian, found["solvers"], ohms, "Gaussian")
        positive.sharex(gaussian)
        positive.sharey(gaussian)
        gaussian.autoscale()
        _legend(positive, ohms)
        _times(times, found["solvers"])
        _fits(absorbed, [row for row in found["fits"] if row["ohm"] == FITTED_OHM])
        positive.set_title("(a) dense positive weights", loc="left")
        gaussian.set_title("(b) signed Gaussian weights", loc="left")
        times.set_title("(c) time of the solvers, over all of (a) and (b)", loc="left")
        absorbed.set_title(
            f"(d) outputs of {found['fitted']}², {FITTED_OHM:g} Ω a cell", loc="left"
        )
    return drawn


def _errors(axis: Any, rows: Records, ohms: list[float], family: str) -> None:
    """Draw the error of effective conductances, ignored and estimated, over the size."""
    for ohm, colour in zip(ohms, OHM_COLOURS, strict=False):
        own = [row for row in rows if row["ohm"] == ohm and row["weights"] == family]
        sizes = [row["size"] for row in own]
        for what, line in (("ignored", "--"), ("estimate", "-")):
            values = [row[what] for row in own]
            axis.plot(sizes, values, line, marker="o", color=colour, linewidth=1.2)
    axis.set(yscale="log", ylabel="error of effective conductances")
    _sizes(axis, rows)


def _legend(axis: Any, ohms: list[float]) -> None:
    """Name the resistances and the kinds of lines."""
    from matplotlib.lines import Line2D

    colours = [
        Line2D([], [], color=colour, label=f"{ohm:g} Ω a cell")
        for ohm, colour in zip(ohms, OHM_COLOURS, strict=False)
    ]
    kinds = [
        Line2D([], [], color="0.3", linestyle="--", label="IR drop ignored"),
        Line2D([], [], color="0.3", linestyle="-", label="estimate"),
    ]
    axis.legend(handles=[*colours, *kinds], frameon=False, loc="lower right", ncols=2)


def _times(axis: Any, rows: Records) -> None:
    """Draw the median and the range of times that each solver takes."""
    for name, colour in SOLVERS.items():
        taken: dict[int, list[float]] = {}
        for row in rows:
            if row[f"{name}_s"] is not None:
                taken.setdefault(row["size"], []).append(row[f"{name}_s"])
        sizes = list(taken)
        low, high = ([pick(taken[n]) for n in sizes] for pick in (min, max))
        axis.fill_between(sizes, low, high, color=colour, alpha=0.25, linewidth=0)
        middle = [sorted(taken[n])[len(taken[n]) // 2] for n in sizes]
        axis.plot(sizes, middle, marker="o", color=colour, linewidth=1.2, label=name)
    axis.set(yscale="log", ylabel="processor time [s]")
    axis.legend(frameon=False, loc="upper left")
    _sizes(axis, rows)


def _fits(axis: Any, rows: Records) -> None:
    """Draw the error of outputs before and after a fit of every output, for either span."""
    from matplotlib.lines import Line2D

    names = list(dict.fromkeys(row["weights"] for row in rows))
    spans = list(dict.fromkeys(row["inputs"] for row in rows))
    for index, (span, colour) in enumerate(zip(spans, SPAN_COLOURS, strict=True)):
        for row in (row for row in rows if row["inputs"] == span):
            y = names.index(row["weights"]) + 0.3 * (index - 0.5)
            before, after = 100 * row["total"], 100 * row["residual"]
            axis.plot([before, after], [y, y], color=colour, linewidth=1, alpha=0.6)
            axis.plot(before, y, "o", color=colour, markerfacecolor="white")
            axis.plot(after, y, "o", color=colour)
    axis.set(xscale="log", xlabel="error of outputs [%]", ylim=(len(names) - 0.4, -0.6))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_yticks(range(len(names)), [name.replace(", ", ",\n", 1) for name in names])
    axis.grid(visible=True, axis="x", alpha=0.25)
    handles = [
        Line2D([], [], color=colour, label=f"inputs {span}")
        for span, colour in zip(spans, SPAN_COLOURS, strict=True)
    ]
    for face, label in (("white", "as read"), ("0.3", "after an affine fit")):
        handles.append(Line2D([], [], **MARKER, markerfacecolor=face, label=label))
    axis.legend(handles=handles, frameon=False, loc="lower left", borderpad=0)


def _sizes(axis: Any, rows: Records) -> None:
    """Give an axis the array's sizes."""
    sizes = sorted({row["size"] for row in rows})
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, [f"{n}²" for n in sizes])
    axis.set_xlabel("array")
    axis.grid(visible=True, alpha=0.25)


def save(found: dict[str, Any], path: Path) -> None:
    """Write the figure."""
    draw(found).savefig(path, dpi=DPI)
