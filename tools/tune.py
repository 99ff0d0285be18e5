"""Search every method's hyper-parameters with the same number of trials.

The weights and seeds are others than those of ``bench/experiments``.  The objective is the
geometric mean of the residual MVM error.  All methods get the same number of MVM-equivalents,
start included (IP's calibration comes on top), and the same time to wait.  What is committed took
80 trials and 120 to refine, each; at other budgets the files count fewer, the best set of the
usual one being the first.

    pip install -e .[tune]
    python tools/tune.py ip              # IP: one set for both ranges of the ADC
    python tools/tune.py gdp textbook    # others
    python tools/tune.py ip --refine     # and trials near the best one so far
    python tools/tune.py ip --preset hermes_calibrated   # on other devices, in a file of its own
    python tools/tune.py estimate --rounds 20   # at another budget, in a file of its own
    python tools/tune.py --table         # the table of what was found so far
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import BaseTrial
from spaces import PRESETS, ROUNDS, SEARCHES, SIZE, WAITS, Setting

import fastaimc as fa

RESULTS = Path(__file__).resolve().parent.parent / "bench" / "results"
SEEDS = (101, 102)
SAMPLES = 300

# Refining may go beyond the ranges that were first thought of.
warnings.filterwarnings("ignore", ".* is out of (the )?range ", UserWarning)

Weights = dict[str, np.ndarray]
Rows = list[dict[str, Any]]  # trials: a value, what it was made of, and the parameters
Objective = Callable[[BaseTrial], float]


def families(seed: int) -> Weights:
    """Return weight matrices of distributions that no experiment reports."""
    rng = np.random.default_rng(seed)
    shape = (SIZE, SIZE)
    return {
        "logistic": rng.logistic(size=shape),
        "triangular": rng.triangular(-1, 0, 1, shape),
        "half_sparse": rng.uniform(-1, 1, shape) * (rng.random(shape) < 0.5),
        "bimodal": rng.choice([-1.0, 1.0], shape) + 0.5 * rng.standard_normal(shape),
    }


def objective(name: str, preset: str, rounds: int) -> Objective:
    """Return a function of a trial: the geometric mean residual of its methods on all weights."""
    config = getattr(fa.presets, preset)()
    setting = Setting(rounds=rounds, least_step=PRESETS[preset])

    def measure(trial: BaseTrial) -> float:
        logs = [
            [
                math.log(value)
                for seed in SEEDS
                for value in residuals(families(seed), config, method, seed, setting)
            ]
            for method in SEARCHES[name](trial, setting)
        ]
        trial.set_user_attr("residuals", [math.exp(float(np.mean(values))) for values in logs])
        return math.exp(float(np.mean(logs)))

    return measure


def residuals(
    weights: Weights, config: fa.CoreConfig, method: Any, seed: int, setting: Setting
) -> list[float]:
    """Return the residual MVM error of every matrix; ValueError for a method over its budget."""
    matrices = fa.program(weights, config, method, seed=seed).values()
    for matrix in matrices:
        allowed = matrix.core.shape[0] * (setting.budget + extra(method))
        if matrix.cost.mvm_equivalents > allowed:
            raise ValueError(f"over budget: {matrix.cost.mvm_equivalents}")
    return [float(fa.mvm_error(matrix, samples=SAMPLES).residual) for matrix in matrices]


def extra(method: Any) -> int:
    """Return the MVM-equivalents of a calibration."""
    calibrates = isinstance(method, fa.AveragedReadProgramming) or getattr(
        method, "calibrate", False
    )
    return SIZE if calibrates and not method.fine else 0


def file_of(name: str, preset: str, rounds: int) -> Path:
    """Return where a search's trials are."""
    own = ("" if preset == "hermes" else f"_{preset}") + ("" if rounds == ROUNDS else f"_{rounds}")
    return RESULTS / f"tuning_{name}{own}.json"


def search(name: str, trials: int, preset: str, rounds: int) -> None:
    """Run one search and write all its trials; at another budget the usual best is the first."""
    first = [] if rounds == ROUNDS else [first_guess(name, preset)]
    rows = explored(objective(name, preset, rounds), trials, first, told(name))
    write(file_of(name, preset, rounds), rows, rounds)


def told(name: str) -> Callable[[Rows], None]:
    """Return a function that prints the last of a search's trials."""

    def tell(rows: Rows) -> None:
        best = min(row["value"] for row in rows)
        print(f"{name} trial {len(rows)}: {rows[-1]['value']:.5f}, best {best:.5f}")

    return tell


def explored(
    measure: Objective,
    trials: int,
    first: Sequence[dict[str, Any]],
    tell: Callable[[Rows], None],
    seed: int = 1,
) -> Rows:
    """Return so many trials, those of `first` among them; a schedule too long is no trial."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=min(20, trials // 4))
    study = optuna.create_study(sampler=sampler)
    for params in first:
        study.enqueue_trial(params)
    rows: Rows = []

    def keep(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if trial.value is not None:
            rows.append({"value": trial.value, **trial.user_attrs, **trial.params})
            tell(rows)
        if len(rows) >= trials:
            study.stop()

    study.optimize(measure, callbacks=[keep])
    return rows


def first_guess(name: str, preset: str) -> dict[str, Any]:
    """Return the best set of the usual budget; guided GDP has GDP's, but for what is default."""
    source = {"estimate": "gdp", "fine_ip": "ip"}.get(name, name)
    best: dict[str, Any] = json.loads(file_of(source, preset, ROUNDS).read_text())["best"]
    if name == "estimate":
        method = fa.EstimateGuidedProgramming()
        own = dataclasses.asdict(method.step) | dataclasses.asdict(method.belief)
        own["gain_decay"] = own.pop("gain_end") / own["gain"]
        best |= own | {"amplitude": method.amplitude, "affine_every": method.affine_every}
        best = {k: v for k, v in best.items() if not k.startswith(("start", "alloc"))}
    return best


def refine(name: str, trials: int, preset: str, rounds: int) -> None:
    """Add trials, each a small change of all numbers of the best one so far."""
    path = file_of(name, preset, rounds)
    rows = json.loads(path.read_text())["all"]
    write(path, refined(objective(name, preset, rounds), trials, rows, told(name)), rounds)


def refined(
    measure: Objective, trials: int, rows: Rows, tell: Callable[[Rows], None], seed: int = 0
) -> Rows:
    """Return trials and so many more, each a small change of all numbers of the best one so far."""
    rows = list(rows)
    rng = np.random.default_rng([seed, len(rows)] if seed else len(rows))
    wanted = len(rows) + trials
    while len(rows) < wanted:
        params = {
            key: changed(key, value, rng)
            for key, value in params_of(min(rows, key=lambda row: row["value"])).items()
        }
        trial = optuna.trial.FixedTrial(params)
        try:
            value = measure(trial)
        except optuna.TrialPruned:
            continue
        rows.append({"value": value, **trial.user_attrs, **params})
        tell(rows)
    return rows


def params_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a trial alone."""
    return {key: value for key, value in row.items() if key not in ("value", "residuals")}


def changed(name: str, value: Any, rng: np.random.Generator) -> Any:
    """Return a parameter somewhat larger or smaller, within its range; choices as they are."""
    if isinstance(value, str) or name == "batch":
        return value
    if name in ("start_rounds", "affine_every"):
        return int(np.clip(value + rng.integers(-1, 2), 1, 6 if name == "start_rounds" else 4))
    if name == "final_passes":
        return int(np.clip(value + rng.integers(-1, 2), 0, 10))
    most = {"gain": 1.6, "gain_decay": 1.0, "amplitude": 1.0, "margin": 3.0, "share": 1.0}
    most["max_step"] = 1.0
    return min(value * math.exp(0.15 * rng.standard_normal()), most.get(name, math.inf))


def write(path: Path, rows: Rows, rounds: int) -> None:
    """Write all trials of a search."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "trials": len(rows),
        "seeds": SEEDS,
        "families": list(families(0)),
        "size": SIZE,
        "budget": Setting(rounds=rounds).budget,
        "waits": WAITS,
        "best": min(rows, key=lambda row: row["value"]),
        "all": rows,
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def table() -> None:
    """Print and write the best of each search so far."""
    rows = []
    for path in sorted(RESULTS.glob("tuning_*.json")):
        document = json.loads(path.read_text())
        best = document["best"]
        rows.append(
            {"search": path.stem.removeprefix("tuning_"), "trials": document["trials"]} | best
        )
    names = list(dict.fromkeys(name for row in rows for name in row))
    with (RESULTS / "tuning.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
    print((RESULTS / "tuning.csv").read_text())


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("searches", nargs="*", choices=[*SEARCHES, []], help="what to search")
    parser.add_argument("--trials", type=int, default=80, help="completed trials of each search")
    parser.add_argument("--refine", action="store_true", help="add trials to those written before")
    parser.add_argument("--preset", choices=PRESETS, default="hermes", help="the device")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="the budget, in rounds of IP")
    parser.add_argument("--table", action="store_true", help="write bench/results/tuning.csv")
    arguments = parser.parse_args()
    for name in arguments.searches:
        what = (name, arguments.trials, arguments.preset, arguments.rounds)
        (refine if arguments.refine else search)(*what)
    if arguments.table or arguments.searches:
        table()


if __name__ == "__main__":
    main()
