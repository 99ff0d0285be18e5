"""Tables and figure of how sets of GDP transfer."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from tables import made, mean_and_error, table

Document = dict[str, Any]

SOURCE, DEFAULT = "Gaussian", "default"
REPLICA = f"{SOURCE}, "  # what the source's other searches begin with
WIDTH, HEIGHT, DPI = 7.2, 8.6, 200  # inches: two columns of a paper
DARKEST = np.log1p(100.0)  # of losses, %
COLOURS = {
    "weights": "#2166ac",
    "size": "#1b7837",
    "trained layers": "#762a83",
    "device": "#b2182b",
}


def loss(document: Document, target: str, used: str, own: str | None = None) -> np.ndarray:
    """Return by how much more error a set leaves than the target's own, by held-out seed, %."""
    errors = document["errors"][target]
    return np.asarray(100 * (np.divide(errors[used], errors[own or target]) - 1))


def names(document: Document) -> list[str]:
    """Return the targets but the source."""
    return [name for name in document["errors"] if name != SOURCE]


def replicas(document: Document, told: bool) -> list[str]:
    """Return the source's other searches, of those that began with its set or of those without."""
    start = REPLICA + ("again" if told else "not told")
    return [name for name in document["sets"] if name.startswith(start)]


def yardstick(document: Document) -> tuple[float, float]:
    """Return how far the source's set is from the best one there, and two searches, %.

    The latter is the largest loss of one search that knew of no set over another.
    """
    errors = document["errors"][SOURCE]
    missed = max(-loss(document, SOURCE, name, SOURCE).mean() for name in errors)
    free = [SOURCE, *replicas(document, told=False)]
    pairs = itertools.permutations(free, 2)
    return float(missed), float(max(loss(document, SOURCE, *pair).mean() for pair in pairs))


def losses(document: Document) -> str:
    """Return the table of what the source's set loses on every target."""
    lines = []
    for name in names(document):
        errors, kind = document["errors"][name], document["sets"][name]["kind"]
        own, carried = (mean_and_error(errors[label], 4) for label in (name, SOURCE))
        cells = [mean_and_error(loss(document, name, used), 1) for used in (SOURCE, DEFAULT)]
        lines.append([kind, name, own, carried, *cells])
    errors = document["errors"][SOURCE]
    carried = mean_and_error(errors[SOURCE], 4)
    for told in (True, False):
        for name in replicas(document, told):
            own = mean_and_error(errors[name], 4)
            cells = [
                mean_and_error(loss(document, SOURCE, used, name), 1) for used in (SOURCE, DEFAULT)
            ]
            lines.append(["the source itself", name, own, carried, *cells])
    header = ["what differs", "target", "its own set", "the source's set", "loss [%]"]
    return table([*header, "loss of the default set [%]"], lines)


def matrix(document: Document) -> tuple[list[str], list[str], np.ndarray]:
    """Return sets, targets, and the mean loss of each set on each target, %."""
    targets = list(document["errors"])
    sets = [*targets, DEFAULT]
    values = [
        [
            loss(document, target, name).mean() if document["errors"][target][name] else np.nan
            for target in targets
        ]
        for name in sets
    ]
    return sets, targets, np.array(values)


def parts(document: Document) -> tuple[list[str], list[str], np.ndarray]:
    """Return parts, targets, and the loss of the source's set with that part of the own, %."""
    targets = names(document)
    labels = list(document["parts"][targets[0]])
    rows = [[loss(document, name, SOURCE).mean() for name in targets]]
    for label in labels:
        row = []
        for name in targets:
            errors, own = document["parts"][name][label], document["errors"][name][name]
            row.append(100 * (np.divide(errors, own) - 1).mean() if errors else np.nan)
        rows.append(row)
    return ["nothing", *labels], targets, np.array(rows)


def percent(value: float) -> str:
    """Return a number of a table; none where a set cannot be had."""
    return "–" if np.isnan(value) else f"{value:.0f}" if abs(value) >= 9.95 else f"{value:z.1f}"


def grid(head: str, found: tuple[list[str], list[str], np.ndarray]) -> str:
    """Return numbers by two labels as a table."""
    labels, columns, values = found
    lines = [
        [label, *map(percent, row)] for label, row in zip(labels, values.tolist(), strict=True)
    ]
    return table([head, *columns], lines)


def parameters(document: Document) -> str:
    """Return the table of all sets."""
    found = document["sets"]
    keys = list(dict.fromkeys(key for one in found.values() for key in one["set"]))
    lines = []
    for key in keys:
        values = [one["set"].get(key, "–") for one in found.values()]
        lines.append([key, *(f"{v:.3g}" if isinstance(v, float) else str(v) for v in values)])
    return table(["", *found], lines)


def report(document: Document) -> str:
    """Return all tables as Markdown."""
    missed, free = yardstick(document)
    seeds = len(document["errors"][SOURCE][SOURCE])
    return (
        "Residual MVM errors that GDP leaves with a set tuned on Gaussian weights of 256×256 on "
        "`presets.hermes()`, and with one tuned on the target itself, "
        f"{document['trials']} trials each and twice as many on the source; geometric mean over "
        "the matrices of a seed, "
        f"{seeds} held-out seeds, mean ± standard error; losses are paired by seed. A target's "
        "search began with the source's set. The default set is the package's own, tuned on four "
        f"other kinds of weights in 200 trials. {made(document['provenance'])}\n\n"
        f"{losses(document)}\nThe yardstick: on the source itself the best of all sets leaves "
        f"{missed:.1f} % less than the source's own, so much its search has missed, and of "
        f"searches there that know nothing of each other one is up to {free:.1f} % behind another. "
        "The standard errors are those of measuring given sets, and know nothing of that.\n\n"
        f"Loss of every set (rows) on every target [%]:\n\n{grid('set of', matrix(document))}\n"
        "Loss of the source's set when one part of it is taken from the target's own [%]:\n\n"
        f"{grid('taken', parts(document))}\n"
        f"The sets; a batch is that of 256 rows:\n\n{parameters(document)}"
    )


def draw(document: Document) -> Any:
    """Return the figure."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = {"font.size": 8, "axes.titlesize": 8, "legend.fontsize": 7}
    with mpl.rc_context(style):
        drawn = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        halves: Any = drawn.subfigures(2, 1, height_ratios=(1, 1.25))
        upper, lower = halves
        left, right = upper.subplots(1, 2)
        _losses(left, document)
        _heat(right, parts(document), ylabel="taken from the target's own set")
        right.set_title("(b) loss [%] with one part exchanged", loc="left")
        below = lower.subplots()
        _heat(below, matrix(document), ylabel="set tuned on")
        below.set_xlabel("carried to")
        below.set_title("(c) loss [%] of every set on every target", loc="left")
    return drawn


def _losses(axis: Any, document: Document) -> None:
    """Draw the losses of the source's set and of the default one, over the yardstick."""
    labels = names(document)
    missed, free = yardstick(document)
    axis.axvspan(-missed, missed, color="0.8", label="what the source's search has missed")
    axis.axvline(free, color="0.5", linestyle=":", label="searches that begin anew, at worst")
    for row, name in enumerate(labels):
        values = loss(document, name, SOURCE)
        deviation = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
        colour = COLOURS[document["sets"][name]["kind"]]
        axis.errorbar(values.mean(), row, xerr=deviation, fmt="o", color=colour, markersize=4)
        axis.plot(loss(document, name, DEFAULT).mean(), row, "|", color=colour, markersize=7)
    axis.plot([], [], "o", color="0.3", markersize=4, label="set of the source")
    axis.plot([], [], "|", color="0.3", markersize=7, label="the package's default set")
    axis.set_yticks(range(len(labels)), labels)
    axis.set(ylim=(len(labels) - 0.4, -0.6), xlabel="loss over the target's own set [%]")
    axis.grid(visible=True, axis="x", alpha=0.25)
    axis.legend(facecolor="white", edgecolor="none", framealpha=1, loc="upper right")
    axis.set_title("(a) what the source's set loses", loc="left")


def _heat(axis: Any, found: tuple[list[str], list[str], np.ndarray], ylabel: str) -> None:
    """Draw numbers by two labels, darker for more."""
    rows, columns, values = found
    shade = np.log1p(np.clip(values, 0, None))
    axis.imshow(shade, cmap="YlOrRd", aspect="auto", vmin=0, vmax=DARKEST)
    for (y, x), value in np.ndenumerate(values):
        ink = "white" if shade[y, x] > 0.8 * DARKEST else "black"
        axis.text(x, y, percent(value), ha="center", va="center", fontsize=6, color=ink)
    axis.set_xticks(range(len(columns)), columns, rotation=60, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(rows)), rows)
    axis.tick_params(length=0)
    axis.set_ylabel(ylabel)


def write(document: Document, folder: Path) -> None:
    """Print the tables, and write them and the figure."""
    text = report(document)
    print(text)
    (folder / "transfer.md").write_text(text)
    draw(document).savefig(folder / "transfer.png", dpi=DPI)
