"""What the sets of GDP are carried to: weights, sizes, trained layers, devices; and a search."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import tuned
from safetensors.numpy import load_file
from tables import RESULTS, ROOT

import fastaimc as fa
from fastaimc.config import MeltQuench
from fastaimc.network.perceptron import default_network

sys.path.insert(0, str(ROOT / "tools"))
import spaces
import tune

Weights = dict[str, np.ndarray]
Params = dict[str, Any]
Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]

SOURCE = "Gaussian"
AGAIN = "source again"  # the kind of other searches on it
SIZE = spaces.SIZE
LEAST_STEP = min(spaces.PRESETS.values())  # of all searches, so that their spaces are one
EXPLORED = 0.4  # of all trials; the others are near the best of these
MATRICES = 2  # of 256² for each seed; smaller ones are more, as each says less
ROWS_OF_IMAGES = 27  # of the first convolution, too few to be a core's work
RESNET9 = RESULTS / "resnet9_28-56-112-112.safetensors"  # of resnet9.py


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a set is searched, and where all are measured.

    Parameters
    ----------
    kind : str
        What about it is not the source's.
    weights : callable
        Matrices of a seed.
    setting : spaces.Setting
        Space and budget.
    seeds : tuple of int
        Of weights and cores that the search sees.
    sampler : int
        Seed of the search itself.
    told : bool
        The source's set is the search's first trial.
    times : int
        The search has so many times as many trials as others.
    """

    kind: str
    weights: Callable[[int], Weights]
    config: fa.CoreConfig = field(default_factory=fa.presets.hermes)
    setting: spaces.Setting = field(default_factory=lambda: spaces.Setting(least_step=LEAST_STEP))
    seeds: tuple[int, ...] = tune.SEEDS
    sampler: int = 1
    told: bool = True
    times: int = 1


def gaussian(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return weights of a normal distribution."""
    return rng.standard_normal(shape)


def sparse(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return normal weights, 30 % of them zero."""
    return rng.standard_normal(shape) * (rng.random(shape) >= 0.3)


DRAWS: dict[str, Draw] = {
    "Laplace": lambda rng, shape: rng.laplace(size=shape),
    "uniform": lambda rng, shape: rng.uniform(-1, 1, shape),
    "30 % sparse": sparse,
    "Student-t(3)": lambda rng, shape: rng.standard_t(3, shape),
}


def drawn(draw: Draw, size: int, seed: int) -> Weights:
    """Return random matrices of a seed."""
    rng = np.random.default_rng(seed)
    count = max(MATRICES * SIZE // size, 1)
    return {str(index): draw(rng, (size, size)) for index in range(count)}


def resized(size: int) -> Target:
    """Return Gaussian weights on arrays of another size: as many rounds, each of as many rows."""
    return Target(
        kind="size",
        weights=partial(drawn, gaussian, size),
        config=fa.override(fa.presets.hermes(), {"rows": size, "columns": size}),
        setting=spaces.Setting(size=size, least_step=LEAST_STEP),
    )


def on_device(config: fa.CoreConfig, counted: bool = False) -> Target:
    """Return Gaussian weights on other devices."""
    return Target(
        kind="device",
        weights=partial(drawn, gaussian, SIZE),
        config=config,
        setting=spaces.Setting(least_step=LEAST_STEP, counted=counted),
    )


def resnet9_layers(path: Path) -> Weights:
    """Return three matrices of a trained ResNet-9: convolutions of 252, 504 and 1,008 inputs.

    They are laid out as `fa.convert` does it.  Batch norm, a factor for each output, leaves the
    conductances as they are.  Of those with as many inputs it is the last.
    """
    found = {}
    for tensor in load_file(path).values():
        if tensor.ndim == 4 and tensor[0].size > ROWS_OF_IMAGES:
            found[str(tensor[0].size)] = tensor.reshape(len(tensor), -1).astype(np.float32)
    return found


def trained(layers: Weights) -> Target:
    """Return trained layers, which every seed programs onto another core."""
    return Target(kind="trained layers", weights=lambda seed: layers)


def again(number: int, told: bool) -> Target:
    """Return the source once more, searched by other random numbers, weights and cores."""
    return Target(
        kind=AGAIN,
        weights=partial(drawn, gaussian, SIZE),
        seeds=tuple(seed + 10 * number for seed in tune.SEEDS),
        sampler=1 + number,
        told=told,
    )


def targets() -> dict[str, Target]:
    """Return all targets by name, the source first."""
    usual = MeltQuench()
    scatter = MeltQuench(jitter_ua=2 * usual.jitter_ua, floor_us=2 * usual.floor_us)
    source = Target(kind="source", weights=partial(drawn, gaussian, SIZE), told=False, times=2)
    found = {SOURCE: source}
    found |= {f"{SOURCE}, again {number}": again(number, told=True) for number in (1, 2)}
    found |= {f"{SOURCE}, not told {number}": again(number, told=False) for number in (3, 4)}
    for name, draw in DRAWS.items():
        found[name] = Target(kind="weights", weights=partial(drawn, draw, SIZE))
    found |= {f"{size}²": resized(size) for size in (64, 128, 512)}
    found["perceptron"] = trained(default_network().weights)
    if RESNET9.exists():
        found["ResNet-9"] = trained(resnet9_layers(RESNET9))
    found["scatter × 2"] = on_device(dataclasses.replace(fa.presets.hermes(), device=scatter))
    found["calibrated"] = on_device(fa.presets.hermes_calibrated())
    found["accumulative"] = on_device(fa.presets.pcm_nandakumar(), counted=True)
    return found


def method_of(trial: optuna.trial.BaseTrial, target: Target) -> fa.GradientDescentProgramming:
    """Return GDP by a trial's set, at the target's budget."""
    [method] = spaces.suggest_gdp(trial, target.setting)
    return method


def error(method: fa.GradientDescentProgramming, target: Target, seeds: tuple[int, ...]) -> float:
    """Return the geometric mean of the residual MVM errors of all matrices of all seeds."""
    logs = [
        math.log(value)
        for seed in seeds
        for value in tune.residuals(
            target.weights(seed), target.config, method, seed, target.setting
        )
    ]
    return math.exp(float(np.mean(logs)))


def search(target: Target, source: Params | None, trials: int, tell: Any) -> dict[str, Any]:
    """Return the best set of a target, its error on the search's own seeds, and all errors."""

    def measure(trial: optuna.trial.BaseTrial) -> float:
        return error(method_of(trial, target), target, target.seeds)

    first = [source] if target.told and source else []
    explored = max(round(EXPLORED * trials), 1)
    rows = tune.explored(measure, explored, first, tell, seed=target.sampler)
    rows = tune.refined(measure, trials - explored, rows, tell, seed=target.sampler)
    best = min(rows, key=lambda row: row["value"])
    values = [round(row["value"], 5) for row in rows]
    return {"set": tune.params_of(best), "value": best["value"], "trials": values}


def default() -> Params:
    """Return the package's own set."""
    return tune.params_of(tuned.best("gdp", "hermes"))
