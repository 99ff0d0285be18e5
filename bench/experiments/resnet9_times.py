"""How long ResNet-9 takes on cores: all tiles programmed by GDP, and images through them.

    python bench/experiments/resnet9_times.py    # a minute; writes bench/results/resnet9_times.md

Random weights and images do, as no time depends on them.  Compiled code is loaded beforehand; run
it on an idle machine.
"""

from __future__ import annotations

import os
import time

import numpy as np
import resnet9
import torch
from resnet9_results import ALL
from tables import RESULTS, made, provenance, table

import fastaimc as fa

NETWORKS = {(28, 56, 112, 112): (250, 10.0, 600.0), (64, 128, 256, 512): (50, 60.0, None)}
ROUNDS = 3


def images(count: int) -> torch.Tensor:
    """Return random images as the network takes them."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    return resnet9.normalised(pixels)


def measure(widths: tuple[int, ...], count: int) -> tuple[int, int, list[float], list[float]]:
    """Return weights, tiles, and seconds of each program and of each pass of `count` images."""
    torch.manual_seed(0)
    model = resnet9.resnet9(widths).eval().to(memory_format=torch.channels_last)
    x = images(count)
    programs, passes = [], []
    for seed in range(ROUNDS):
        start = time.perf_counter()
        analog = fa.convert(model, fa.presets.hermes(), seed=seed, calibration=[x[:50]])
        programs.append(time.perf_counter() - start)
        with torch.inference_mode():
            start = time.perf_counter()
            analog(x)
            passes.append(time.perf_counter() - start)
    report = fa.network.report(analog, samples=2)
    return sum(p.numel() for p in model.parameters() if p.dim() > 1), report.tiles, programs, passes


def main() -> None:
    """Measure, print and write."""
    fa.program(np.eye(300, dtype=np.float32), fa.presets.hermes())  # load compiled code
    lines = []
    for widths, (count, most, limit) in NETWORKS.items():
        weights, tiles, programs, passes = measure(widths, count)
        whole = np.array(passes) / count * ALL
        goals = [f"{most:g} s", f"{limit:g} s" if limit else ""]
        lines.append(
            [
                "-".join(map(str, widths)),
                f"{weights:,}",
                str(tiles),
                f"{np.median(programs):.1f} ({min(programs):.1f} to {max(programs):.1f})",
                goals[0],
                f"{np.median(whole):.0f} ({whole.min():.0f} to {whole.max():.0f})",
                goals[1],
            ]
        )
    header = ["widths", "weights", "tiles", "converted by GDP [s]", "goal"]
    text = (
        f"Median of {ROUNDS} rounds, and their range; {os.cpu_count()} cores, calibration of input "
        f"ranges included. {made(provenance())}\n\n"
    )
    text += table([*header, f"{ALL:,} images [s]", "goal"], lines)
    print(text)
    (RESULTS / "resnet9_times.md").write_text(text)


if __name__ == "__main__":
    main()
