"""The figure of `resnet9_cifar10`: accuracy by method, over time, bits and MVM error."""

from __future__ import annotations

from typing import Any

import numpy as np
from resnet9_results import LABELS, TIMES, Figures, share

WIDTH, HEIGHT = 7.2, 6.0  # inches: two columns of a paper
DPI = 200
# Okabe and Ito: told apart by colour-blind readers, too.
COLOURS = {
    "exact": "#555555",
    "exact-affine": "#999999",
    "ip": "#d55e00",
    "ip-affine": "#e69f00",
    "ip-fine": "#cc79a7",
    "ip-fine-affine": "#882255",
    "gdp": "#0072b2",
    "estimate": "#009e73",
}
MARKERS = {
    "exact": "s",
    "exact-affine": "s",
    "ip": "o",
    "ip-affine": "D",
    "ip-fine": "^",
    "ip-fine-affine": "<",
    "gdp": "v",
    "estimate": "P",
}
DIGITAL: dict[str, Any] = {"color": "0.6", "linestyle": ":", "linewidth": 1}


def draw(found: Figures, some: Figures, noise: Figures) -> Any:
    """Return the figure, each panel of the images that all its figures are of."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = {"font.size": 8, "axes.titlesize": 8, "legend.fontsize": 7, "lines.markersize": 4}
    with mpl.rc_context(style):
        drawn = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        (methods, errors), (time, bits) = drawn.subplots(2, 2)
        _methods(methods, found)
        _noise(errors, noise)
        _time(time, some)
        _bits(bits, some)
        for axis in (methods, errors, time, bits):
            axis.grid(visible=True, alpha=0.25)
            axis.set_ylabel("accuracy [%]")
        others = {"(b)": noise, "(c), (d)": some}
        said = [f"{k}: {v.which}" for k, v in others.items() if v.images != found.images]
        drawn.legend(*errors.get_legend_handles_labels(), loc="outside lower center", ncols=5,
                     frameon=False, title="; ".join(said), title_fontsize=7)  # fmt: skip
        time.set_visible(len(some.known("time_s")) > 1)
        bits.set_visible(len(some.known("bits")) > 1)
    return drawn


def _by_error(axis: Any) -> None:
    """Scale an axis of accuracies by the logarithm of their errors."""
    axis.set_yscale(
        "function",
        functions=(lambda y: -np.log(np.maximum(100 - y, 1)), lambda z: 100 - np.exp(-z)),
    )
    axis.set_yticks([10, 30, 50, 70, 80, 85, 90])
    axis.minorticks_off()


def _methods(axis: Any, found: Figures) -> None:
    """Draw every seed of every method, lines for pairs."""
    methods = found.methods
    runs = [found.accuracy(method) for method in methods]
    for seed in sorted(set.intersection(*(set(run) for run in runs))):
        axis.plot(range(len(runs)), [run[seed] for run in runs], color="0.85", linewidth=0.7)
    for place, (method, run) in enumerate(zip(methods, runs, strict=True)):
        values = list(run.values())
        dots = {"linestyle": "", "marker": MARKERS[method], "color": COLOURS[method]}
        axis.plot([place] * len(values), values, markersize=3, alpha=0.5, **dots)
        mean = f"{np.mean(values):.1f}"
        axis.plot([place - 0.25, place + 0.25], [np.mean(values)] * 2, color=COLOURS[method])
        axis.annotate(
            mean,
            (place + 0.27, np.mean(values)),
            va="center",
            fontsize=6.5,
            color=COLOURS[method],
        )
    axis.axhline(found.digital, **DIGITAL)
    axis.annotate(f"digital {found.digital:.1f}", (-0.4, found.digital), va="bottom", fontsize=6.5)
    axis.set_xticks(range(len(methods)), [LABELS[m].replace(", ", ",\n") for m in methods])
    axis.tick_params(axis="x", labelsize=6.5)
    axis.set_xlim(-0.5, len(methods) - 0.2)
    axis.margins(y=0.12)
    axis.set_title("(a) 200 s after programming; lines join a seed", loc="left")


def _noise(axis: Any, found: Figures) -> None:
    """Draw accuracy over MVM error: of noise on weights, and of each method."""
    levels = sorted({item["noise"] for item in found.noisy if item["layer"] is None})
    if levels:
        values = [
            [share(item) for item in found.noisy if (item["layer"], item["noise"]) == (None, level)]
            for level in levels
        ]
        means = np.array([np.mean(value) for value in values])
        bars = np.array([np.std(value) for value in values])
        x = 100 * np.array([0.0, *levels])
        axis.plot(x, [found.digital, *means], color="0.4", linewidth=1, label="noise on weights")
        axis.fill_between(x, [found.digital, *means - bars], [found.digital, *means + bars],
                          color="0.4", alpha=0.15, linewidth=0)  # fmt: skip
    for method in found.methods:
        error, y = found.error(method, "total"), np.mean(list(found.accuracy(method).values()))
        dots = {"linestyle": "", "marker": MARKERS[method], "color": COLOURS[method]}
        axis.plot([error], [y], label=LABELS[method], **dots)
    axis.set_xlabel("MVM error, root mean square over the layers [%]")
    axis.set_title("(b) what explains it", loc="left")


def _time(axis: Any, found: Figures) -> None:
    """Draw accuracy over time, compensated or not."""
    places = np.arange(len(TIMES))
    for kind, line in (("global", "-"), ("none", "--")):
        for method, colour in COLOURS.items():
            runs = [list(found.accuracy(method, t, kind=kind).values()) for t in TIMES]
            known = [i for i, run in enumerate(runs) if run]
            if method == "exact" or len(known) < 2:
                continue
            means = [np.mean(runs[i]) for i in known]
            bars = [np.std(runs[i]) for i in known]
            look = {"linestyle": line, "marker": MARKERS[method], "color": colour}
            axis.errorbar(places[known], means, bars, linewidth=1, elinewidth=0.7, **look)
    _by_error(axis)
    axis.set_xticks(places, list(TIMES.values()))
    axis.set_xlabel("time since programming")
    axis.set_title("(c) drift: one scale a tile (solid), uncompensated (dashed)", loc="left")


def _bits(axis: Any, found: Figures) -> None:
    """Draw accuracy over the bits of the ADC."""
    bits = found.known("bits")
    for method in found.methods:
        runs = [list(found.accuracy(method, bits=b).values()) for b in bits]
        known = [i for i, run in enumerate(runs) if run]
        look = {"marker": MARKERS[method], "color": COLOURS[method]}
        means, deviations = zip(*((np.mean(runs[i]), np.std(runs[i])) for i in known), strict=True)
        axis.errorbar([bits[i] for i in known], means, deviations, linewidth=1, elinewidth=0.7,
                      **look)  # fmt: skip
    axis.axhline(found.digital, **DIGITAL)
    _by_error(axis)
    axis.set_xticks(bits)
    axis.set_xlabel("bits of the ADC, programming and in use")
    axis.set_title("(d) converters", loc="left")
