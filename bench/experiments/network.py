"""Every method on the default network: errors of its layers, accuracy, paired differences.

python bench/experiments/network.py             # a minute; writes bench/results
python bench/experiments/network.py --seeds 2   # a look
"""

from __future__ import annotations

import argparse

from rich.progress import Progress
from tables import RESULTS, mean_and_error, table, write_excerpt

import fastaimc as fa
from fastaimc import plots, report
from fastaimc.candidates import METHODS, candidates
from fastaimc.compare import EXACT, WHOLE, Comparison, compare
from fastaimc.network.perceptron import default_images, default_network

LEAST = 10  # seeds of what is written


def measure(seeds: int) -> Comparison:
    """Program the network by all methods."""
    network = default_network()
    ways = candidates(fa.presets.hermes(), METHODS)
    with Progress() as progress:
        task = progress.add_task("comparing", total=seeds * len(ways))
        return compare(
            network.weights,
            ways,
            seeds,
            network=network,
            images=default_images(),
            progress=lambda done, total, text: progress.update(task, completed=done),
        )


def layers(found: Comparison) -> str:
    """Return GDP's errors over those of others, layer by layer."""
    lines = []
    for error in ("residual", "total"):
        for layer in found.layers:
            gdp = found.values("GDP", layer, error)
            others = [found.values(label, layer, error) for label in rivals(found)]
            lines.append([error, layer, *(mean_and_error(gdp / other) for other in others)])
    return table(["error", "layer", *(f"GDP / {label}" for label in rivals(found))], lines)


def rivals(found: Comparison) -> list[str]:
    """Return what GDP is held against."""
    return [label for label in found.labels if label != "GDP"]


def methods(found: Comparison) -> str:
    """Return errors, cost and accuracy of every method."""
    accuracies = report.accuracies(found)
    gdp = 100 * accuracies["GDP"]
    digital = 100 * accuracies["digital"][0]
    lines = [["digital", f"{digital:.2f}", "", "", "", ""]]
    for label in found.labels:
        accuracy = 100 * accuracies[label]
        spread = f"{accuracy.mean():.2f} ± {accuracy.std(ddof=1):.2f}"
        gain = "" if label == "GDP" else mean_and_error(gdp - accuracy, 2)
        errors = [
            f"{100 * found.values(label, WHOLE, name).mean():.2f}" for name in ("residual", "total")
        ]
        cost = found.values(label, WHOLE, "mvm_equivalents").mean()
        lines.append([label, spread, gain, *errors, f"{cost:.0f}" if label != EXACT else ""])
    header = ["method", "accuracy [%]", "GDP − it", "residual [%]", "total [%]", "MVM-equivalents"]
    return table(header, lines)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=LEAST)
    arguments = parser.parse_args()
    found = measure(arguments.seeds)
    text = (
        f"The default network, {arguments.seeds} seeds: mean ± standard deviation of the accuracy, "
    )
    text += "mean ± standard error of the differences, which are paired by seed.\n\n"
    text += methods(found) + "\n" + layers(found)
    print(text)
    if arguments.seeds >= LEAST:
        (RESULTS / "network.md").write_text(text)
        (RESULTS / "network.json").write_text(report.to_json(found))
        plots.save(found, RESULTS / "network.png")
        write_excerpt("network", methods(found))


if __name__ == "__main__":
    main()
