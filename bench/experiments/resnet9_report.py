"""Tables of `resnet9_cifar10`, from the figures that there are so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import resnet9_figure
from resnet9_results import LABELS, TIMES, USUAL, Figures, Records, fewest, paired, share
from tables import made, mean_and_error, table, write_excerpt

RIVALS = ("ip", "ip-affine", "ip-fine")  # to which GDP is compared in sentences


def called(method: str) -> str:
    """Return a method's name in a sentence."""
    return LABELS[method].replace(",", " with")


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
        f"The digital network has {found.digital:.2f} %, the exact write "
        f"{np.mean(list(exact.values())):.2f} %. With cells read in the MVM's range IP loses "
        f"{lost:.2f} points to the exact write, and GDP gains {mean_and_error(gain, 2)} points "
        f"over IP{part}."
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
    every = len(found.known("seed"))
    said = []
    for method in ("gdp", *RIVALS):
        lost = paired(found.accuracy(method), found.accuracy(method, month))
        if len(lost) == every > 1:
            said.append(f"{called(method)} {mean_and_error(lost, 2)}")
    if not said:
        return ""
    sentence = f"From {TIMES[USUAL]} to {TIMES[month]} of drift, compensated, " + (
        "accuracy falls by, in points: " + ", ".join(said) + "."
    )
    plain = []
    for method in ("gdp", "estimate", "ip", "ip-fine"):
        runs = [found.accuracy(method, time, kind="none") for time in TIMES]
        if all(len(run) == every for run in runs):
            means = " / ".join(f"{np.mean(list(run.values())):.1f}" for run in runs)
            plain.append(f"{called(method)} {means} %")
    if plain:
        sentence += f" Without compensation, at {' / '.join(TIMES.values())}: {', '.join(plain)}."
    return sentence + "\n"


def over_bits(found: Figures) -> str:
    """Return in a sentence what GDP gains with bits of which all seeds are known."""
    every = len(found.known("seed"))
    said = []
    for bits in reversed(found.known("bits")):
        gdp = found.accuracy("gdp", bits=bits)
        gains = [paired(gdp, found.accuracy(name, bits=bits)) for name in RIVALS]
        if all(len(gain) == every > 1 for gain in gains):
            written = " / ".join(mean_and_error(gain, 2) for gain in gains)
            said.append(f"{bits} bits {np.mean(list(gdp.values())):.1f} % ({written})")
    if len(said) < 2:
        return ""
    return (
        "GDP's accuracy by bits of the ADC, and in brackets what it gains over "
        f"{' / '.join(map(called, RIVALS))}: {', '.join(said)}.\n"
    )


def sentences(found: Figures, some: Figures) -> str:
    """Return in words what was found."""
    later = [part for part in (over_time(some), over_bits(some)) if part]
    if later and some.images != found.images:
        later.insert(
            0,
            f"What follows is of {some.which}, digitally {some.digital:.2f} %; standard errors are "
            "those over seeds, and not over the choice of images.\n",
        )
    return "\n".join([recovered(found), *later])


def summary(found: Figures, some: Figures) -> str:
    """Return the methods' table, and what was found."""
    return main_table(found) + "\n" + sentences(found, some)


def drift_table(found: Figures) -> str:
    """Return accuracy over time, with and without compensation."""
    lines = []
    every = len(found.known("seed"))
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
    bits = found.known("bits")
    every = len(found.known("seed"))
    lines = [
        [LABELS[method], *(counted(found.accuracy(method, bits=b), every) for b in bits)]
        for method in found.methods
    ]
    for other in RIVALS:
        gains = [
            difference(paired(found.accuracy("gdp", bits=b), found.accuracy(other, bits=b)))
            for b in bits
        ]
        lines.append([f"GDP − {LABELS[other]}", *gains])
    return table(["method", *(f"{b} bits" for b in bits)], lines)


def layers_table(found: Figures, noise: Figures) -> str:
    """Return residual and total error of every layer, and its sensitivity."""
    names = list(dict.fromkeys(item["name"] for item in found.layers(found.methods[0])))
    alone = {item["layer"]: item["noise"] for item in noise.noisy if item["layer"]}
    lines = []
    for name in names:
        cells = []
        for method in found.methods:
            both = (found.error(method, error, name) for error in ("residual", "total"))
            cells.append(" / ".join(f"{value:.2f}" for value in both))
        if alone:
            cells.append(spread(lost(noise, name, alone.get(name, 0.0))))
        lines.append([name, *cells])
    header = ["layer", *(LABELS[method] for method in found.methods)]
    if alone:
        header.append(f"points lost to {100 * max(alone.values()):g} % noise in it alone")
    return table(header, lines)


def lost(found: Figures, layer: str | None, level: float) -> list[float]:
    """Return the points that noise on weights costs, by seed."""
    return [
        found.digital - share(item)
        for item in found.noisy
        if (item["layer"], item["noise"]) == (layer, level)
    ]


def noise_table(found: Figures) -> str:
    """Return what noise on all weights costs."""
    levels = sorted({item["noise"] for item in found.noisy if item["layer"] is None})
    lines = [["points lost", *(spread(lost(found, None, level)) for level in levels)]]
    return table(["MVM error", *(f"{100 * level:g} %" for level in levels)], lines)


def text(found: Figures, some: Figures, noise: Figures, widths: str) -> str:
    """Return all tables, each of the images that all its figures are of."""
    seeds = len(found.known("seed"))
    given = (
        f"Accuracy in per cent, of {some.which}, of which the digital network has "
        f"{some.digital:.2f} % (of fewer seeds where it says so):\n\n"
    )
    parts = [
        (
            f"ResNet-9 of widths {widths} on `presets.hermes()`, {found.data}, {found.which}, "
            f"{seeds} seeds: mean ± standard deviation; differences are paired by seed, in points, "
            f"mean ± standard error. {made(found.provenance)}"
        ),
        f"## {TIMES[USUAL]} after programming, ADCs of 8 bits\n\n" + summary(found, some),
    ]
    if len(some.known("time_s")) > 1:
        parts.append("## Drift\n\n" + given + drift_table(some))
    if len(some.known("bits")) > 1:
        parts.append("## Bits of the ADC, programming and in use\n\n" + given + bits_table(some))
    parts.append(
        "## Layers\n\nMVM error for uniform inputs, residual / total in per cent"
        f"{f'; points lost are of {noise.which}' if noise.noisy else ''}:\n\n"
        + layers_table(found, noise)
    )
    if noise.noisy:
        parts.append(
            f"## Sensitivity\n\nGaussian noise on all weights of the digital network, such "
            f"that a layer's MVM error for white inputs is (points lost, of {noise.which}):\n\n"
            + noise_table(noise)
        )
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def write(path: Path, records: Records) -> None:
    """Print the tables, and write them and the figure beside the figures' file.

    The README shows a part of those of the published network, and says what a larger one does.
    """
    every = Figures(records)
    if not every.methods:
        print("there are no figures yet")
        return
    parts = (every.usual, every.records, every.usual + every.noisy)
    found, some, noise = (Figures(records, fewest(part)) for part in parts)
    widths = path.stem.removeprefix("resnet9_cifar10_")
    whole = text(found, some, noise, widths)
    print(whole)
    path.with_suffix(".md").write_text(whole)
    drawn = resnet9_figure.draw(found, some, noise)
    drawn.savefig(path.with_suffix(".png"), dpi=resnet9_figure.DPI)
    if widths in EXCERPTS:
        name, said = EXCERPTS[widths]
        write_excerpt(name, said(found, some))


# What the README holds, by a network's widths.
EXCERPTS: dict[str, tuple[str, Callable[[Figures, Figures], str]]] = {
    "28-56-112-112": ("resnet9", summary),
    "64-128-256-512": ("resnet9_large", sentences),
}
