"""A comparison as a figure."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from fastaimc.compare import Comparison
from fastaimc.errors import InputError, StorageError

COLUMNS = 4
COSTS = ("iteration", "MVM-equivalents", "pulses per cell", "latency [s]")
COLOURS = {"IP": "#b2182b", "IP, dark": "#67001f", "fine IP": "#ef8a62", "GDP": "#2166ac"}
MAPPED = ("IP", "fine IP", "GDP")  # before others
MOST_MAPS = 3
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

    Above: error over four costs.  Below: how many pulses the cells got, and maps of the cells'
    errors.  Of methods without iterations, whose cells are written, there are only maps.
    """
    from matplotlib.figure import Figure

    iterated = [label for label, history in comparison.histories.items() if len(history["pulses"])]
    colours = {label: COLOURS.get(label, f"C{index}") for index, label in enumerate(iterated)}
    shown = sorted(comparison.maps, key=lambda label: label not in MAPPED)[:MOST_MAPS]
    if not iterated:
        drawn = Figure(figsize=(ROW_INCHES * len(shown) + 1, ROW_INCHES), layout="constrained")
        _maps(drawn, comparison, list(drawn.subplots(1, len(shown), squeeze=False)[0]), shown)
        return drawn
    drawn = Figure(figsize=(13, 2 * ROW_INCHES), layout="constrained")
    halves = drawn.add_gridspec(2, 1)
    above, below = drawn.add_subfigure(halves[0]), drawn.add_subfigure(halves[1])
    _errors(above, comparison, colours)
    grid = below.add_gridspec(1, COLUMNS)
    wide = COLUMNS - len(shown)
    _histogram(below.add_subplot(grid[:wide]), comparison, colours)
    axes = [below.add_subplot(grid[index]) for index in range(wide, COLUMNS)]
    _maps(below, comparison, axes, shown)
    return drawn


def _errors(part: Any, comparison: Comparison, colours: dict[str, str]) -> None:
    """Draw the error over each cost."""
    from matplotlib.ticker import LogFormatter, LogLocator

    axes = part.subplots(1, COLUMNS, sharey=True)
    for label, colour in colours.items():
        history = comparison.histories[label]
        costs = (
            history["iteration"],
            history["mvms"] + history["row_reads"],
            history["pulses"] / comparison.pulses[label].size,
            history["latency_s"],
        )
        for axis, cost in zip(axes, costs, strict=True):
            error = 100 * history["mvm_error"]
            axis.plot(cost, error, marker=".", markersize=4, label=label, color=colour)
    for axis, title in zip(axes, COSTS, strict=True):
        axis.set(xlabel=title, yscale="log")
        axis.grid(visible=True, which="both", alpha=0.25)
        axis.locator_params(axis="x", nbins=5, steps=(1, 2, 5, 10))
    percent = axes[0].yaxis
    percent.set_minor_locator(LogLocator(subs=(1.5, *range(2, 10))))
    for which in (percent.set_major_formatter, percent.set_minor_formatter):
        which(LogFormatter(minor_thresholds=(2, 1)))
    axes[0].set_ylabel("MVM error at evaluation [%]")
    axes[0].legend(frameon=False)


def _histogram(axis: Any, comparison: Comparison, colours: dict[str, str]) -> None:
    """Draw how many cells got how many pulses."""
    for label, colour in colours.items():
        pulses = comparison.pulses[label]
        cells = np.bincount(pulses)
        name = f"{label}: {pulses.mean():.1f}"
        edges = np.arange(len(cells) + 1) - 0.5
        axis.stairs(cells, edges, label=name, color=colour, linewidth=1.5)
    axis.set(xlabel="pulses per cell", ylabel="cells", yscale="log", xlim=(0, None))
    axis.set_ylim(0.7, 30 * max(10, axis.dataLim.y1))  # room for the legend
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
