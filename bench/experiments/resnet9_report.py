"""Tables of `resnet9_cifar10`, from the figures that there are so far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import resnet9_figure
from resnet9_results import LABELS, TIMES, USUAL, Figures, Records, paired
from tables import made, mean_and_error, table, write_excerpt


def spread(values: Iterable[float]) -> str:
    """Return mean and standard deviation, in per cent."""
    found = list(values)
    if not found:
        return ""
    deviation = f" ± {np.std(found, ddof=1):.2f}" if len(found) > 1 else ""
    return f"{np.mean(found):.2f}{deviation}"


def counted(run: dict[int, float], every: int) -> str:
    """Return `spread`, and of how many seeds where it is not of all."""
    return spread(run.values()) + (f" ({len(run)} of {every})" if 0 < len(run) < every else "")


def difference(values: Sequence[float]) -> str:
    """Return a mean with its standard error, in points."""
    if len(values) < 2:
        return f"{values[0]:+.2f}" if values else ""
    sign = "+" if np.mean(values) >= 0 else ""
    return sign + mean_and_error(values, 2)


def main_table(found: Figures) -> str:
    """Return accuracy, paired differences, errors and cost of every method."""
    exact, gdp = found.accuracy("exact"), found.accuracy("gdp")
    lines = [["digital", f"{found.digital:.2f}", *[""] * 6]]
    for method in found.methods:
        own = found.accuracy(method)
        written = method.startswith("exact")
        lines.append(
            [
                LABELS[method],
                spread(own.values()),
                "" if method == "exact" else difference(paired(own, exact)),
                "" if method == "gdp" else difference(paired(gdp, own)),
                *(f"{found.error(method, name):.2f}" for name in ("residual", "total")),
                "" if written else f"{found.cost(method, 'mvm_equivalents'):,.0f}",
                "" if written else f"{found.cost(method, 'latency_s'):.0f}",
            ]
        )
    header = ["method", "accuracy [%]", "it − exact", "GDP − it"]
    return table([*header, "residual [%]", "total [%]", "MVM-equivalents", "time [s]"], lines)


def recovered(found: Figures) -> str:
    """Return in a sentence what GDP gives back of what IP loses."""
    exact, ip, gdp = (found.accuracy(name) for name in ("exact", "ip", "gdp"))
    lost, gain = np.mean(paired(exact, ip)), paired(gdp, ip)
    part = f": {np.mean(gain) / lost:.2f} of it" if lost > 0 else ""
    sentence = (
        f"With cells read in the MVM's range IP loses {lost:.2f} points to the exact write, and "
        f"GDP gains {mean_and_error(gain, 2)} points over IP{part}."
    )
    fair = found.accuracy("ip-affine"), found.accuracy("ip-fine-affine")
    if all(fair):
        left = [mean_and_error(paired(gdp, other), 2) for other in fair]
        sentence += (
            " Most of that is the correction of columns' gains and offsets, which GDP fits as it "
            f"programs: over IP that gets one, too, it gains {left[0]}, and over fine IP with one "
            f"{left[1]}."
        )
    return sentence + "\n"


def over_time(found: Figures) -> str:
    """Return in a sentence what a month costs the methods of which all seeds are known."""
    month = max(TIMES)
    every = len({item["seed"] for item in found.records})
    said = []
    for method, name in (("gdp", "GDP"), ("ip-affine", "IP with affine"), ("ip", "IP")):
        lost = paired(found.accuracy(method), found.accuracy(method, month))
        if len(lost) == every > 1:
            said.append(f"{name} {mean_and_error(lost, 2)}")
    if not said:
        return ""
    sentence = f"From {TIMES[USUAL]} to {TIMES[month]} of drift, compensated, " + (
        "accuracy falls by, in points: " + ", ".join(said) + "."
    )
    plain = [found.accuracy("gdp", time, kind="none") for time in (min(TIMES), month)]
    if all(len(runs) == every for runs in plain):
        first, last = (f"{np.mean(list(runs.values())):.1f}" for runs in plain)
        sentence += f" Without compensation GDP's falls from {first} % at once to {last} %."
    return sentence + "\n"


def over_bits(found: Figures) -> str:
    """Return in a sentence what GDP gains with bits of which all seeds are known."""
    every = len({item["seed"] for item in found.records})
    said = []
    for bits in sorted({item["bits"] for item in found.records}, reverse=True):
        gdp = found.accuracy("gdp", bits=bits)
        gains = [paired(gdp, found.accuracy(name, bits=bits)) for name in ("ip", "ip-affine")]
        if all(len(gain) == every > 1 for gain in gains):
            both = " / ".join(mean_and_error(gain, 2) for gain in gains)
            said.append(f"{bits} bits {np.mean(list(gdp.values())):.1f} % ({both})")
    if len(said) < 2:
        return ""
    return (
        "GDP's accuracy by bits of the ADC, and in brackets what it gains over IP / IP with "
        f"affine: {', '.join(said)}.\n"
    )


def summary(found: Figures) -> str:
    """Return what the README shows, too."""
    parts = [main_table(found), recovered(found), over_time(found), over_bits(found)]
    return "\n".join(part for part in parts if part)


def drift_table(found: Figures) -> str:
    """Return accuracy over time, with and without compensation."""
    lines = []
    every = len({item["seed"] for item in found.records})
    for kind, name in (("global", "one scale a tile"), ("none", "none")):
        for method, label in LABELS.items():
            runs = [found.accuracy(method, t, kind=kind) for t in TIMES]
            cells = [counted(run, every) for run in runs]
            if any(cells) and not method.startswith("exact"):
                kept = "affine" if method.endswith("-affine") else name
                lines.append([label, kept, *cells])
    return table(["method", "compensation", *TIMES.values()], lines)


def bits_table(found: Figures) -> str:
    """Return accuracy over the bits of the ADC, and what GDP gains."""
    bits = sorted({item["bits"] for item in found.records})
    every = len({item["seed"] for item in found.records})
    lines = [
        [LABELS[method], *(counted(found.accuracy(method, bits=b), every) for b in bits)]
        for method in found.methods
    ]
    for other in ("ip", "ip-affine", "ip-fine"):
        gains = [
            difference(paired(found.accuracy("gdp", bits=b), found.accuracy(other, bits=b)))
            for b in bits
        ]
        lines.append([f"GDP − {LABELS[other]}", *gains])
    return table(["method", *(f"{b} bits" for b in bits)], lines)


def layers_table(found: Figures) -> str:
    """Return residual and total error of every layer, and its sensitivity."""
    names = list(dict.fromkeys(item["name"] for item in found.layers(found.methods[0])))
    alone = {item["layer"]: item["noise"] for item in found.noisy if item["layer"]}
    lines = []
    for name in names:
        cells = []
        for method in found.methods:
            both = (found.error(method, error, name) for error in ("residual", "total"))
            cells.append(" / ".join(f"{value:.2f}" for value in both))
        lines.append([name, *cells, spread(lost(found, name, alone.get(name, 0.0)))])
    header = ["layer", *(LABELS[method] for method in found.methods)]
    level = f"{100 * max(alone.values(), default=0):g} %"
    return table([*header, f"points lost to {level} noise in it alone"], lines)


def lost(found: Figures, layer: str | None, noise: float) -> list[float]:
    """Return the points that noise on weights costs, by seed."""
    return [
        found.digital - 100 * item["right"] / item["images"]
        for item in found.noisy
        if (item["layer"], item["noise"]) == (layer, noise)
    ]


def noise_table(found: Figures) -> str:
    """Return what noise on all weights costs."""
    levels = sorted({item["noise"] for item in found.noisy if item["layer"] is None})
    lines = [["points lost", *(spread(lost(found, None, level)) for level in levels)]]
    return table(["MVM error", *(f"{100 * level:g} %" for level in levels)], lines)


def text(found: Figures, widths: str) -> str:
    """Return all tables."""
    seeds = len({item["seed"] for item in found.records})
    parts = [
        (
            f"ResNet-9 of widths {widths} on `presets.hermes()`, {found.data}, all test images, "
            f"{seeds} seeds: mean ± standard deviation; differences are paired by seed, in points, "
            f"mean ± standard error. {made(found.provenance)}"
        ),
        f"## {TIMES[USUAL]} after programming, ADCs of 8 bits\n\n" + summary(found),
        "## Drift\n\nAccuracy in per cent (of fewer seeds where it says so):\n\n"
        + drift_table(found),
        (
            "## Bits of the ADC, programming and in use\n\nAccuracy in per cent (of fewer seeds "
            "where it says so):\n\n" + bits_table(found)
        ),
        (
            "## Layers\n\nMVM error for uniform inputs, residual / total in per cent:\n\n"
            + layers_table(found)
        ),
        (
            "## Sensitivity\n\nGaussian noise on all weights of the digital network, such that a "
            "layer's MVM error for white inputs is:\n\n" + noise_table(found)
        ),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def write(path: Path, records: Records, *, excerpt: bool) -> None:
    """Print the tables, and write them and the figure beside the figures' file."""
    found = Figures(records)
    if not found.methods:
        print("there are no figures yet")
        return
    whole = text(found, path.stem.removeprefix("resnet9_cifar10_"))
    print(whole)
    path.with_suffix(".md").write_text(whole)
    resnet9_figure.draw(found).savefig(path.with_suffix(".png"), dpi=resnet9_figure.DPI)
    if excerpt:
        write_excerpt("resnet9", summary(found))
