"""ResNet-9 on PCM cores: its accuracy on CIFAR-10, programmed by each method.

    python bench/experiments/resnet9_cifar10.py --data ../shared/data/cifar10_jpeg.tar.xz

The published experiment (Büchel et al., IEDM 2022): a trained ResNet-9 on HERMES cores, by IP and
by GDP.  Every method gets the MVM-equivalents of 25 rounds of IP for each tile.  All 10,000 test
images go through the converted network; a seed stands for the same devices, converters and noise
with every method, so that differences are paired.  Train the network first (``resnet9.py``).

Hours of work: each figure is one line of ``bench/results/resnet9_cifar10_<widths>.jsonl`` as soon
as it is known, and a later call goes on where this one was stopped, by Ctrl-C, too.  Stages, from
the first to the last: ``main`` (8 bits, 200 s after programming, when all methods are to hold),
``drift`` (0 s, 1 h, 1 day, 30 days, compensated), ``bits`` (ADCs of 4 to 7 bits, programming and
in use), ``noise`` (Gaussian noise on the weights of the digital network), ``plain`` (drift without
compensation).  ``--images`` takes the first test images alone, where all of them would take long;
what is known of more images is not measured again.  ``--report`` writes tables and the figure.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cifar10
import numpy as np
import resnet9
import resnet9_report
import torch
from resnet9_results import ALL
from rich.progress import Progress
from tables import RESULTS, provenance
from torch import nn

import fastaimc as fa
from fastaimc.candidates import Candidate, candidates
from fastaimc.compare import program_each
from fastaimc.metrics import exact_conductances
from fastaimc.network.folding import fold_batch_norm
from fastaimc.network.layers import AnalogLayer

SEEDS = 5
PART = 1000  # of them that are counted together
TOGETHER = 100  # images that go through the network at a time
CALIBRATION = 512  # training images from which the input ranges follow
HOUR, DAY = 3600.0, 86400.0
DRIFT = (0.0, HOUR, DAY, 30 * DAY)
USUAL = fa.presets.hermes().t_eval_s
EXACT, AFFINE = "exact", "-affine"  # the latter after a method: with an affine correction
METHODS = ("ip", "ip-affine", "ip-fine", "gdp", "estimate")
NOISE = (0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2)  # relative MVM errors, for white inputs
ALONE = 0.2  # in one layer
# Methods and compensation of each stage, bits of the ADC and times.
STAGES: dict[str, tuple[tuple[str, ...], str, tuple[int, ...], tuple[float, ...]]] = {
    "main": ((EXACT, *METHODS, "ip-fine-affine", "exact-affine"), "global", (8,), (USUAL,)),
    "drift": (METHODS, "global", (8,), DRIFT),
    "bits": ((EXACT, *METHODS), "global", (7, 6, 5, 4), (USUAL,)),
    "noise": ((), "", (), ()),
    "plain": (("ip", "ip-fine", "gdp", "estimate"), "none", (8,), (*DRIFT, USUAL)),
}


@dataclass(frozen=True, slots=True)
class Task:
    """A network to program once, and the times at which it is to be used."""

    method: str
    seed: int
    bits: int
    compensation: str
    times: tuple[float, ...]

    def label(self, time_s: float) -> dict[str, Any]:
        """Return what tells a figure from all others."""
        return {
            "method": self.method,
            "seed": self.seed,
            "bits": self.bits,
            "compensation": self.compensation,
            "time_s": time_s,
        }


@dataclass(frozen=True, slots=True)
class NoiseTask:
    """Noise on the weights of one layer or all, of the digital network."""

    noise: float
    layer: str | None
    seed: int

    times = (0.0,)

    @property
    def key(self) -> tuple[Any, ...]:
        """Tell it from all others."""
        return self.noise, self.layer, self.seed


class Bench:
    """What a process needs for all its tasks: the network, and images."""

    def __init__(
        self, widths: tuple[int, ...], calibration: torch.Tensor, test: Any, target: Path
    ) -> None:
        self.model = resnet9.trained(widths)
        self.calibration = [calibration]
        self.test = test
        self.target = target
        self.ranges: dict[str, float] | None = None

    def program(self, task: Task) -> nn.Module:
        """Return the network on cores; every tile by a method for its rows."""
        way = candidate(task)
        first = fa.IterativeProgramming(iterations=1)
        known: dict[str, Any] = {"calibration": self.calibration}
        if self.ranges is not None:
            known = {"input_range": self.ranges}
        model = fa.convert(self.model, way.config, first, seed=task.seed, threads=1, **known)
        layers = analog(model)
        matrices = {layer.names[0]: layer.matrices[0] for layer in layers}
        self.ranges = {name: matrix.input_range for name, matrix in matrices.items()}
        if task.method.startswith(EXACT):
            made = {n: m.with_conductances(exact_conductances(m)) for n, m in matrices.items()}
        else:
            weights = {name: matrix.target_weights() for name, matrix in matrices.items()}
            made = program_each(weights, way, ranges=self.ranges, seed=task.seed, threads=1)
        for layer in layers:
            layer.matrices = [made[layer.names[0]]]
        return model

    def run(self, task: Task | NoiseTask) -> int:
        """Program once, use it at every time, and append what was found; return the figures."""
        if isinstance(task, NoiseTask):
            append(self.target, asdict(task) | right(noisy(self.model, task), *self.test))
            return 1
        model = self.program(task)
        for time_s in task.times:
            # A core whose cells hold its targets does not drift.
            now = model if task.method.startswith(EXACT) else fa.network.at(model, time_s)
            fa.network.seek(now, 0)
            found = task.label(time_s) | right(now, *self.test)
            if task.bits == 8 and time_s == USUAL:
                found["layers"] = errors(now, task.seed)
            append(self.target, found)
        return len(task.times)


def right(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
    """Return how many images a network names rightly, of all and of each PART."""
    found = []
    with torch.inference_mode():
        for some, own in zip(images.split(PART), labels.split(PART), strict=True):
            outputs = [model(resnet9.normalised(x.numpy())) for x in some.split(TOGETHER)]
            found.append(int((torch.cat(outputs).argmax(1) == own).sum()))
    return {"right": sum(found), "images": len(labels), "parts": found}


def candidate(task: Task) -> Candidate:
    """Return a task's method, with the cores that it is for."""
    name = task.method.removesuffix(AFFINE).replace(EXACT, "ip")
    kind = "affine" if task.method.endswith(AFFINE) else task.compensation
    config = fa.override(fa.presets.hermes(), {"adc.bits": task.bits, "compensation": kind})
    (way,) = candidates(config, [name])
    return way


def noisy(model: nn.Module, task: NoiseTask) -> nn.Module:
    """Return a copy whose folded weights are disturbed, each layer's relative to their rms."""
    model = copy.deepcopy(model)
    fold_batch_norm(model, True)
    generator = torch.Generator().manual_seed(task.seed)
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            weight = layer.weight.data
            noise = torch.randn(weight.shape, generator=generator) * weight.square().mean().sqrt()
            if task.layer in (None, name):
                weight += task.noise * noise
    return model


def analog(model: nn.Module) -> list[AnalogLayer]:
    """Return the layers on cores."""
    return [module for module in model.modules() if isinstance(module, AnalogLayer)]


def errors(model: nn.Module, seed: int) -> list[dict[str, Any]]:
    """Return MVM errors and cost of each layer."""
    return [
        {
            "name": layer.name,
            "tiles": layer.tiles,
            "cells": layer.shape[0] * layer.shape[1],
            **asdict(layer.error),
            "mvm_equivalents": layer.cost.mvm_equivalents,
            "latency_s": layer.cost.latency_s,
        }
        for layer in fa.network.report(model, seed=seed + 1).layers
    ]


def append(path: Path, found: dict[str, Any]) -> None:
    """Add a line in one piece, as other processes do."""
    line = (json.dumps(found) + "\n").encode()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(handle, line)
    finally:
        os.close(handle)


def results_file(widths: tuple[int, ...]) -> Path:
    """Return where the figures of a network are."""
    return RESULTS / f"resnet9_cifar10_{'-'.join(map(str, widths))}.jsonl"


def read(path: Path) -> list[dict[str, Any]]:
    """Return all figures so far; a line that was cut off is left out."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def tasks(stages: list[str], seeds: int, images: int, known: list[dict[str, Any]]) -> Iterator[Any]:
    """Yield what is not yet known of so many images, in order."""
    known = [item for item in known if item.get("images", 0) >= images]
    done = {tuple(item.get(name) for name in KEYS) for item in known}
    for stage in stages:
        if stage == "noise":
            yield from noise_tasks(seeds, known)
        methods, compensation, bits, times = STAGES[stage]
        for number, seed, method in itertools.product(bits, range(seeds), methods):
            task = Task(method, seed, number, compensation, times)
            left = [t for t in times if tuple(task.label(t)[name] for name in KEYS) not in done]
            if left:
                yield replace(task, times=tuple(left))


def noise_tasks(seeds: int, known: list[dict[str, Any]]) -> Iterator[NoiseTask]:
    """Yield what is not yet known of the network's sensitivity."""
    done = {(item["noise"], item["layer"], item["seed"]) for item in known if "noise" in item}
    model = resnet9.resnet9()
    layers = [n for n, layer in model.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for seed in range(seeds):
        for noise, layer in [*((n, None) for n in NOISE), *((ALONE, name) for name in layers)]:
            task = NoiseTask(noise, layer, seed)
            if task.key not in done:
                yield task


KEYS = ("method", "seed", "bits", "compensation", "time_s")
_bench: Bench


def _begin(*arguments: Any) -> None:
    global _bench  # noqa: PLW0603  one for each process
    torch.set_num_threads(1)
    _bench = Bench(*arguments)


def _run(task: Task | NoiseTask) -> int:
    return _bench.run(task)


def measure(
    source: Path, widths: tuple[int, ...], left: list[Any], images: int, workers: int
) -> None:
    """Do all tasks, one thread for each process."""
    target = results_file(widths)
    kind, (training, _), (test_images, test_labels) = cifar10.load(source)
    chosen = np.random.default_rng(0).choice(len(training), CALIBRATION, replace=False)
    calibration = resnet9.normalised(training[chosen])
    every = torch.from_numpy(test_images), torch.from_numpy(test_labels)
    test = every[0][:images], every[1][:images]
    if not target.exists():
        append(target, {"data": kind, "digital": right(resnet9.trained(widths), *every)})
    append(target, {"provenance": provenance() | {"torch": torch.__version__}})
    # What was freed stays with the process: layers' outputs would be paged in anew each time.
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**33))
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**34))
    context = multiprocessing.get_context("spawn")
    start = (widths, calibration, test, target)
    with (
        Progress() as progress,
        ProcessPoolExecutor(workers, context, initializer=_begin, initargs=start) as pool,
    ):
        bar = progress.add_task("figures", total=sum(len(task.times) for task in left))
        waiting = [pool.submit(_run, task) for task in left]
        try:
            for ready in as_completed(waiting):
                progress.advance(bar, ready.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def main() -> None:
    """Parse the command line; measure what is missing; report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="see cifar10.py")
    parser.add_argument("--widths", type=int, nargs=4, default=list(resnet9.WIDTHS))
    parser.add_argument("--stages", nargs="*", choices=tuple(STAGES), default=list(STAGES))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--images", type=int, default=ALL, help="of the test images, the first")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--report", action="store_true", help="write tables and figure alone")
    options = parser.parse_args()
    widths = tuple(options.widths)
    if options.images not in range(PART, ALL + 1, PART):
        parser.error(f"--images must be thousands up to {ALL:,}, got {options.images}")
    known = read(results_file(widths))
    left = list(tasks(options.stages, options.seeds, options.images, known))
    if left and not options.report:
        if options.data is None:
            parser.error("--data must tell where the images are")
        measure(options.data, widths, left, options.images, options.workers)
    resnet9_report.write(results_file(widths), read(results_file(widths)))


if __name__ == "__main__":
    main()
