"""A comparison as a figure."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from fastaimc.compare import Comparison
from fastaimc.errors import InputError, StorageError

COLUMNS = 4
# The last has the curves' names: all methods wait, so that their curves end at about the same time.
COSTS = ("MVM-equivalents", "pulses per cell", "energy [µJ]", "programming time [s]")
# The colours of Okabe and Ito, which all readers tell apart, and dashes: a family has a colour.
STYLES: dict[str, tuple[str, str]] = {
    "max-fill": ("#000000", ":"),
    "TDP": ("#000000", "--"),
    "IP, dark": ("#d55e00", ":"),
    "IP": ("#d55e00", "-"),
    "fine IP": ("#d55e00", "--"),
    "averaged IP": ("#e69f00", "-"),
    "Hadamard verify": ("#009e73", "--"),
    "least squares": ("#009e73", "-"),
    "GDP": ("#0072b2", "-"),
    "GDP, estimates": ("#56b4e9", "-"),
}
OTHER = ("#cc79a7", "-")
LABEL_GAP = 0.085  # between the middles of two labels, as a part of the axis
MAPPED = ("IP", "GDP", "fine IP")  # before others
MOST_MAPS = 3
FEW = 4  # curves whose names leave room for as many maps
ROW_INCHES = 3.4


def check(path: str | os.PathLike[str]) -> None:
    """Raise unless a figure can be written in the format that the suffix names.

    Raises
    ------
    InputError
        Without matplotlib, or for a format it does not have.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError(
            "plot needs matplotlib: pip install 'fastaimc[plot]', or leave the plot out"
        ) from None
    formats = Figure().canvas.get_supported_filetypes()
    suffix = Path(path).suffix.lower().lstrip(".")
    if suffix not in formats:
        raise InputError(
            f"plot must end as one of {', '.join(f'.{name}' for name in sorted(formats))}, "
            f"got {str(path)!r}"
        )


def figure(comparison: Comparison) -> Any:
    """Return a matplotlib figure of the first seed.

    Above: error over four costs, all of which count.  Below: how many pulses the cells got, and
    maps of the cells' errors.  Of methods without iterations, whose cells are written, there are
    only maps.
    """
    from matplotlib.figure import Figure

    iterated = [label for label, history in comparison.histories.items() if len(history["pulses"])]
    shown = _mapped(comparison, MOST_MAPS if len(iterated) <= FEW else MOST_MAPS - 1)
    if not iterated:
        drawn = Figure(figsize=(ROW_INCHES * len(shown) + 1, ROW_INCHES), layout="constrained")
        _maps(drawn, comparison, list(drawn.subplots(1, len(shown), squeeze=False)[0]), shown)
        return drawn
    drawn = Figure(figsize=(13, 2 * ROW_INCHES), layout="constrained")
    halves = drawn.add_gridspec(2, 1)
    above, below = drawn.add_subfigure(halves[0]), drawn.add_subfigure(halves[1])
    _errors(above, comparison, iterated)
    grid = below.add_gridspec(1, COLUMNS)
    wide = COLUMNS - len(shown)
    _histogram(below.add_subplot(grid[:wide]), comparison, iterated)
    axes = [below.add_subplot(grid[index]) for index in range(wide, COLUMNS)]
    _maps(below, comparison, axes, shown)
    return drawn


def _mapped(comparison: Comparison, most: int) -> list[str]:
    """Return of which methods there is room for maps, in their order."""
    ranks = [*MAPPED, *(label for label in comparison.maps if label not in MAPPED)]
    chosen = [label for label in ranks if label in comparison.maps][:most]
    return [label for label in comparison.maps if label in chosen]


def _errors(part: Any, comparison: Comparison, labels: list[str]) -> None:
    """Draw the error over each cost."""
    from matplotlib.ticker import LogFormatter, LogLocator

    axes = part.subplots(1, COLUMNS, sharey=True)
    for label in labels:
        history = comparison.histories[label]
        costs = (
            history["mvm_equivalents"],
            history["pulses"] / comparison.pulses[label].size,
            1e6 * history["energy_j"],
            history["latency_s"],
        )
        colour, line = STYLES.get(label, OTHER)
        for axis, cost in zip(axes, costs, strict=True):
            error = 100 * history["mvm_error"]
            axis.plot(cost, error, line, marker=".", markersize=3, label=label, color=colour)
    for axis, title in zip(axes, COSTS, strict=True):
        axis.set(xlabel=title, yscale="log")
        axis.grid(visible=True, which="both", alpha=0.25)
        axis.locator_params(axis="x", nbins=5, steps=(1, 2, 5, 10))
    percent = axes[0].yaxis
    percent.set_minor_locator(LogLocator(subs=(1.5, *range(2, 10))))
    for which in (percent.set_major_formatter, percent.set_minor_formatter):
        which(LogFormatter(minor_thresholds=(2, 1)))
    axes[0].set_ylabel("MVM error at evaluation [%]")
    _name(axes[-1])


def _name(axis: Any) -> None:
    """Write each curve's name beside its end, on the right, one above the other."""
    ends = axis.transData.transform([line.get_xydata()[-1] for line in axis.lines])
    heights = axis.transAxes.inverted().transform(ends)[:, 1]
    for line, height in zip(axis.lines, _apart(heights), strict=True):
        axis.annotate(
            line.get_label(),
            line.get_xydata()[-1],
            (1.08, height),
            textcoords="axes fraction",
            va="center",
            fontsize="small",
            arrowprops={
                "arrowstyle": "-",
                "color": line.get_color(),
                "linestyle": line.get_linestyle(),
                "linewidth": 1.2,
                "shrinkB": 1,
                "relpos": (0, 0.5),
            },
        )


def _apart(heights: np.ndarray, gap: float = LABEL_GAP) -> np.ndarray:
    """Return the nearest heights, in order and from 0 on, that are nowhere nearer than `gap`."""
    from scipy.optimize import isotonic_regression

    order = np.argsort(heights)
    steps = gap * np.arange(len(heights))
    out = np.empty_like(heights)
    out[order] = np.maximum(isotonic_regression(heights[order] - steps).x, 0) + steps
    return out


def _histogram(axis: Any, comparison: Comparison, labels: list[str]) -> None:
    """Draw how many cells got how many pulses."""
    for label in labels:
        pulses = comparison.pulses[label]
        colour, line = STYLES.get(label, OTHER)
        cells = np.bincount(pulses)
        name = f"{label}: {pulses.mean():.1f}"
        edges = np.arange(len(cells) + 1) - 0.5
        axis.stairs(cells, edges, label=name, color=colour, linestyle=line, linewidth=1.2)
    axis.set(xlabel="pulses per cell", ylabel="cells", yscale="log", xlim=(0, None))
    room = 10 ** (0.5 + 0.75 * -(-len(labels) // 2))  # for the legend
    axis.set_ylim(0.7, room * max(10, axis.dataLim.y1))
    axis.grid(visible=True, alpha=0.25)
    axis.legend(
        frameon=False,
        title="mean pulses",
        loc="upper right",
        ncols=2,
        fontsize="small",
        handlelength=1.2,
        columnspacing=1.0,
    )


def _maps(part: Any, comparison: Comparison, axes: list[Any], labels: list[str]) -> None:
    """Draw the cells' errors, all in the same colours."""
    limit = max(float(np.quantile(abs(comparison.maps[label]), 0.99)) for label in labels)
    for axis, label in zip(axes, labels, strict=True):
        image = axis.imshow(
            comparison.maps[label],
            cmap="RdBu_r",
            vmin=-limit,
            vmax=limit,
            interpolation="nearest",
            aspect="auto",
        )
        axis.set(title=f"{label}: error of the cells", xlabel="column")
        axis.locator_params(integer=True, min_n_ticks=1)
    axes[0].set_ylabel("row")
    part.colorbar(image, ax=axes, label="µS", pad=0.02)


def save(comparison: Comparison, path: str | os.PathLike[str]) -> None:
    """Write the figure, beside its place and renamed; the suffix chooses the format.

    Raises
    ------
    InputError, StorageError
        As `check`; for a place that cannot be written.
    """
    check(path)
    target = Path(path)
    beside = target.with_name(f".{target.stem}.tmp{target.suffix}")
    try:
        figure(comparison).savefig(beside, dpi=160)
        beside.replace(target)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise StorageError(f"{str(path)!r} cannot be written: {error}") from None
