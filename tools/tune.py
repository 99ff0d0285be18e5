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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna

import fastaimc as fa

RESULTS = Path(__file__).resolve().parent.parent / "bench" / "results"
SIZE = 256
SEEDS = (101, 102)
ROUNDS = 27  # of IP, the reads of SET devices included: the budget, unless another one is asked for
# The least step that a search tries, by preset: the calibrated device's pulses scatter by 9 µA, not
# 1, and the best step found while calibrating it was 0.003.
PRESETS = {"hermes": 0.01, "hermes_calibrated": 0.002}
WAITS = 1.0  # of all waits together, in units of the time until evaluation
SAMPLES = 300
READS = {"two_device": 2, "max_fill": 0, "max_fill_read": 1}  # rounds of an allocation

Weights = dict[str, np.ndarray]


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


def suggest_step(trial: optuna.trial.BaseTrial) -> fa.Step:
    """Suggest threshold and step of a pulse."""
    least = PRESETS[trial.user_attrs.get("preset", "hermes")]
    gain = trial.suggest_float("gain", 0.2, 1.6)
    return fa.Step(
        margin=trial.suggest_float("margin", 0.0, 3.0),
        margin_end=trial.suggest_float("margin_end", 0.0, 5.0),
        kappa=trial.suggest_float("kappa", 0.0, 4.0),
        gain=gain,
        gain_end=gain * trial.suggest_float("gain_decay", 0.2, 1.0, log=True),
        max_step=trial.suggest_float("max_step", least, 0.3, log=True),
    )


def suggest_schedule(trial: optuna.trial.BaseTrial, iterations: int) -> dict[str, Any]:
    """Suggest waits that add up to the time allowed, the one before the start's reads included."""
    passes = trial.suggest_int("final_passes", 0, 10)
    final = trial.suggest_float("final_delay", 0.0, 0.2)
    rest = WAITS - passes * final
    if rest < 0 or passes > iterations:
        raise optuna.TrialPruned
    return {
        "final_passes": passes,
        "final_delay": final,
        "verify_delay": rest / (iterations - passes + 1),
    }


def suggest_allocation(trial: optuna.trial.BaseTrial) -> tuple[str, int]:
    """Suggest how devices are allocated; return its MVM-equivalents, too."""
    allocation = trial.suggest_categorical("allocation", list(READS))
    return allocation, READS[allocation] * SIZE


def suggest_ip(
    trial: optuna.trial.BaseTrial, verify: str = "cell", ranges: Sequence[bool] = (False, True)
) -> list[fa.IterativeProgramming]:
    """Suggest one set of IP for both ranges of the ADC, or for the MVM or the cell range alone."""
    allocation, start = suggest_allocation(trial)
    iterations = (budget(trial) - start) // SIZE
    common = {
        "iterations": iterations,
        "verify": verify,
        "allocation": allocation,
        "step": suggest_step(trial),
        **suggest_schedule(trial, iterations),
    }
    return [fa.IterativeProgramming(fine=fine, **common) for fine in ranges]


def suggest_start(trial: optuna.trial.BaseTrial) -> tuple[dict[str, Any], int, int]:
    """Suggest GDP's start; return its MVM-equivalents and its rounds, which wait, too."""
    allocation, spent = suggest_allocation(trial)
    source = trial.suggest_categorical("start_from", ["single_shot", "ip", "reset"])
    rounds = trial.suggest_int("start_rounds", 1, 6) if source == "ip" else 0
    start = {"allocation": allocation, "start_from": source, "start_rounds": max(rounds, 1)}
    return start, spent + rounds * SIZE, rounds


def suggest_descent(trial: optuna.trial.BaseTrial, spent: int, rounds: int) -> dict[str, Any]:
    """Suggest what GDP and estimate-guided GDP have in common, after what a start has spent."""
    batch = trial.suggest_categorical("batch", [128, 256, 512])
    iterations = (budget(trial) - spent) // batch
    schedule = suggest_schedule(trial, iterations + rounds)
    schedule["final_passes"] = min(schedule["final_passes"], iterations)
    return {
        "iterations": iterations,
        "batch": batch,
        "inputs": trial.suggest_categorical("inputs", ["uniform", "gaussian", "sign", "hadamard"]),
        "amplitude": trial.suggest_float("amplitude", 0.2, 1.0),
        "step": suggest_step(trial),
        **schedule,
    }


def suggest_gdp(trial: optuna.trial.BaseTrial) -> list[fa.GradientDescentProgramming]:
    """Suggest a set of GDP."""
    start, spent, rounds = suggest_start(trial)
    common = start | suggest_descent(trial, spent, rounds)
    if trial.user_attrs["rounds"] != ROUNDS:
        common["affine_every"] = common["iterations"]
    return [fa.GradientDescentProgramming(**common)]


def suggest_estimate(trial: optuna.trial.BaseTrial) -> list[fa.EstimateGuidedProgramming]:
    """Suggest a set of estimate-guided GDP."""
    belief = fa.Belief(
        share=trial.suggest_float("share", 0.03, 1.0, log=True),
        first=trial.suggest_float("first", 1.0, 60.0, log=True),
        spread=trial.suggest_float("spread", 0.3, 4.0, log=True),
        miss=trial.suggest_float("miss", 0.05, 3.0, log=True),
        walk=trial.suggest_float("walk", 0.003, 0.5, log=True),
    )
    every = trial.suggest_int("affine_every", 1, 4)
    method = fa.EstimateGuidedProgramming(
        belief=belief, affine_every=every, **suggest_descent(trial, SIZE, 0)
    )
    return [method]


def suggest_averaged(trial: optuna.trial.BaseTrial) -> list[fa.AveragedReadProgramming]:
    """Suggest one set of IP with averaged reads for both ranges of the ADC."""
    allocation, start = suggest_allocation(trial)
    reads = trial.suggest_int("reads", 2, 5)
    iterations = (budget(trial) - start) // SIZE // reads
    common = {"iterations": iterations, "reads": reads, "allocation": allocation}
    common |= {"step": suggest_step(trial), **suggest_schedule(trial, iterations)}
    return [fa.AveragedReadProgramming(fine=fine, **common) for fine in (False, True)]


def suggest_hadamard(trial: optuna.trial.BaseTrial) -> list[fa.HadamardVerifyProgramming]:
    """Suggest a set of Hadamard verify."""
    allocation, start = suggest_allocation(trial)
    iterations = (budget(trial) - start) // SIZE
    amplitude = trial.suggest_float("amplitude", 0.2, 1.0)
    common = {"iterations": iterations, "amplitude": amplitude, "allocation": allocation}
    common |= {"step": suggest_step(trial), **suggest_schedule(trial, iterations)}
    return [fa.HadamardVerifyProgramming(**common)]


def suggest_least_squares(trial: optuna.trial.BaseTrial) -> list[fa.LeastSquaresReadProgramming]:
    """Suggest a set of IP by least-squares reads."""
    allocation, start = suggest_allocation(trial)
    method = fa.LeastSquaresReadProgramming(
        over_sampling=trial.suggest_float("over_sampling", 1.05, 4.0, log=True),
        inputs=trial.suggest_categorical("inputs", ["uniform", "gaussian", "sign"]),
        amplitude=trial.suggest_float("amplitude", 0.2, 1.0),
        allocation=allocation,
        step=suggest_step(trial),
    )
    iterations = (budget(trial) - start) // method.batch(SIZE)
    schedule = suggest_schedule(trial, iterations)
    return [dataclasses.replace(method, iterations=iterations, **schedule)]


SEARCHES: dict[str, Callable[[optuna.trial.BaseTrial], list[Any]]] = {
    "ip": suggest_ip,
    "textbook": lambda trial: suggest_ip(trial, verify="device"),
    "fine_ip": lambda trial: suggest_ip(trial, ranges=(True,)),
    "gdp": suggest_gdp,
    "estimate": suggest_estimate,
    "averaged": suggest_averaged,
    "hadamard": suggest_hadamard,
    "least_squares": suggest_least_squares,
}


def budget(trial: optuna.trial.BaseTrial) -> int:
    """Return a trial's MVM-equivalents: its rounds of IP, and a dark reading."""
    rounds: int = trial.user_attrs["rounds"]
    return rounds * SIZE + 1


def objective(
    trial: optuna.trial.BaseTrial,
    suggest: Callable[[optuna.trial.BaseTrial], list[Any]],
    preset: str,
    rounds: int,
) -> float:
    """Return the geometric mean residual of a trial's methods on all weights."""
    config = getattr(fa.presets, preset)()
    trial.set_user_attr("preset", preset)
    trial.set_user_attr("rounds", rounds)
    logs: dict[int, list[float]] = {}
    methods = suggest(trial)
    for index, method in enumerate(methods):
        for seed in SEEDS:
            matrices = fa.program(families(seed), config, method, seed=seed)
            for matrix in matrices.values():
                if matrix.cost.mvm_equivalents > budget(trial) + extra(method):
                    raise ValueError(f"over budget: {matrix.cost.mvm_equivalents}")
                error = fa.mvm_error(matrix, samples=SAMPLES)
                logs.setdefault(index, []).append(math.log(error.residual))
    trial.set_user_attr("residuals", [math.exp(float(np.mean(values))) for values in logs.values()])
    return math.exp(float(np.mean(list(logs.values()))))


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
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=1, n_startup_trials=min(20, trials // 4))
    study = optuna.create_study(sampler=sampler)
    if rounds != ROUNDS:
        study.enqueue_trial(first_guess(name, preset))

    def tell(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if trial.value is not None:
            print(f"{name} trial {trial.number}: {trial.value:.5f}, best {study.best_value:.5f}")

    def enough(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        done = sum(other.value is not None for other in study.trials)
        if done >= trials:  # a schedule that takes too long is no trial
            study.stop()

    study.optimize(
        lambda trial: objective(trial, SEARCHES[name], preset, rounds), callbacks=[tell, enough]
    )
    rows = [
        {"value": trial.value, "residuals": trial.user_attrs["residuals"], **trial.params}
        for trial in study.trials
        if trial.value is not None
    ]
    write(file_of(name, preset, rounds), rows, rounds)


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
    rows = json.loads(file_of(name, preset, rounds).read_text())["all"]
    rng = np.random.default_rng(len(rows))
    wanted = len(rows) + trials
    while len(rows) < wanted:
        best = min(rows, key=lambda row: row["value"])
        params = {
            key: changed(key, value, rng)
            for key, value in best.items()
            if key not in ("value", "residuals")
        }
        trial = optuna.trial.FixedTrial(params)
        try:
            value = objective(trial, SEARCHES[name], preset, rounds)
        except optuna.TrialPruned:
            continue
        rows.append({"value": value, "residuals": trial.user_attrs["residuals"], **params})
        print(f"{name} trial {len(rows)}: {value:.5f}, best {min(value, best['value']):.5f}")
    write(file_of(name, preset, rounds), rows, rounds)


def changed(name: str, value: Any, rng: np.random.Generator) -> Any:
    """Return a parameter somewhat larger or smaller, within its range; choices as they are."""
    if isinstance(value, str) or name == "batch":
        return value
    if name in ("start_rounds", "affine_every"):
        return int(np.clip(value + rng.integers(-1, 2), 1, 6 if name == "start_rounds" else 4))
    if name == "final_passes":
        return int(np.clip(value + rng.integers(-1, 2), 0, 10))
    most = {"gain": 1.6, "gain_decay": 1.0, "amplitude": 1.0, "margin": 3.0, "share": 1.0}.get(
        name, math.inf
    )
    return min(value * math.exp(0.15 * rng.standard_normal()), most)


def write(path: Path, rows: list[dict[str, Any]], rounds: int) -> None:
    """Write all trials of a search."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "trials": len(rows),
        "seeds": SEEDS,
        "families": list(families(0)),
        "size": SIZE,
        "budget": rounds * SIZE + 1,
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
