"""A comparison as a figure."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from fastaimc.compare import Comparison
from fastaimc.errors import InputError, StorageError

COSTS = (
    ("iteration", "iteration"),
    ("mvm_equivalents", "MVM-equivalents"),
    ("pulses", "pulses"),
    ("latency_s", "time [s]"),
)
COLOURS = {"IP": "#b2182b", "fine IP": "#ef8a62", "GDP": "#2166ac"}


def figure(comparison: Comparison) -> Any:
    """Return a matplotlib figure: error over four costs, and maps of the cells' errors.

    Raises
    ------
    InputError
        Without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError(
            "plot needs matplotlib: pip install 'fastaimc[plot]', or leave the plot out"
        ) from None
    iterated = [label for label, history in comparison.histories.items() if len(history["pulses"])]
    drawn = Figure(figsize=(13, 6.5), layout="constrained")
    axes = drawn.subplots(2, 4)
    for axis, (name, title) in zip(axes[0], COSTS, strict=True):
        for label in iterated:
            history = comparison.histories[label]
            x = (
                history["mvms"] + history["row_reads"]
                if name == "mvm_equivalents"
                else history[name]
            )
            axis.semilogy(x, 100 * history["mvm_error"], label=label, color=COLOURS.get(label))
        axis.set_xlabel(title)
        axis.grid(visible=True, which="both", alpha=0.25)
    axes[0][0].set_ylabel("MVM error at evaluation [%]")
    axes[0][0].legend(frameon=False)
    limit = max(
        (float(np.quantile(abs(item), 0.99)) for item in comparison.maps.values()), default=1
    )
    for axis in axes[1]:
        axis.set_axis_off()
    for axis, label in zip(axes[1], comparison.maps, strict=False):
        axis.set_axis_on()
        image = axis.imshow(
            comparison.maps[label],
            cmap="RdBu_r",
            vmin=-limit,
            vmax=limit,
            interpolation="nearest",
            aspect="auto",
        )
        axis.set_title(f"{label}: error of the cells")
        axis.set_xlabel("column")
    axes[1][0].set_ylabel("row")
    if comparison.maps:
        drawn.colorbar(image, ax=list(axes[1]), label="µS", shrink=0.9)
    return drawn


def save(comparison: Comparison, path: str | os.PathLike[str]) -> None:
    """Write the figure, beside its place and renamed; the suffix chooses the format.

    Raises
    ------
    InputError, StorageError
        Without matplotlib; for a format it does not have, or a place that cannot be written.
    """
    target = Path(path)
    beside = target.with_name(f".{target.stem}.tmp{target.suffix}")
    try:
        figure(comparison).savefig(beside, dpi=160)
        beside.replace(target)
    except (OSError, ValueError) as error:
        beside.unlink(missing_ok=True)
        raise StorageError(f"{str(path)!r} cannot be written: {error}") from None
