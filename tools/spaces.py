"""The sets that `tune.py` searches, method by method, at a size and a budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from optuna import TrialPruned
from optuna.trial import BaseTrial

import fastaimc as fa

SIZE = 256
ROUNDS = 27  # of IP, the reads of SET devices included: the budget, unless another one is asked for
# The least step that a search tries, by preset: the calibrated device's pulses scatter by 9 µA, not
# 1, and the best step found while calibrating it was 0.003.
PRESETS = {"hermes": 0.01, "hermes_calibrated": 0.002}
WAITS = 1.0  # of all waits together, in units of the time until evaluation
READS = {"two_device": 2, "max_fill": 0, "max_fill_read": 1}  # rounds of an allocation


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a search of a method's set is given."""

    size: int = SIZE  # rows of an array
    rounds: int = ROUNDS
    least_step: float = PRESETS["hermes"]
    counted: bool = False  # devices of counted pulses, of which none is read to allocate them

    @property
    def budget(self) -> int:
        """MVM-equivalents: the rounds of IP, and a dark reading."""
        return self.rounds * self.size + 1


def suggest_step(trial: BaseTrial, setting: Setting) -> fa.Step:
    """Suggest threshold and step of a pulse."""
    gain = trial.suggest_float("gain", 0.2, 1.6)
    return fa.Step(
        margin=trial.suggest_float("margin", 0.0, 3.0),
        margin_end=trial.suggest_float("margin_end", 0.0, 5.0),
        kappa=trial.suggest_float("kappa", 0.0, 4.0),
        gain=gain,
        gain_end=gain * trial.suggest_float("gain_decay", 0.2, 1.0, log=True),
        max_step=trial.suggest_float("max_step", setting.least_step, 0.3, log=True),
    )


def suggest_schedule(trial: BaseTrial, iterations: int) -> dict[str, Any]:
    """Suggest waits that add up to the time allowed, the one before the start's reads included."""
    passes = trial.suggest_int("final_passes", 0, 10)
    final = trial.suggest_float("final_delay", 0.0, 0.2)
    rest = WAITS - passes * final
    if rest < 0 or passes > iterations:
        raise TrialPruned
    return {
        "final_passes": passes,
        "final_delay": final,
        "verify_delay": rest / (iterations - passes + 1),
    }


def suggest_allocation(trial: BaseTrial, setting: Setting) -> tuple[str, int]:
    """Suggest how devices are allocated; return the rounds that it takes, too."""
    allocation = trial.suggest_categorical("allocation", list(READS))
    return allocation, 0 if setting.counted else READS[allocation]


def suggest_ip(
    trial: BaseTrial,
    setting: Setting,
    verify: str = "cell",
    ranges: Sequence[bool] = (False, True),
) -> list[fa.IterativeProgramming]:
    """Suggest one set of IP for both ranges of the ADC, or for the MVM or the cell range alone."""
    allocation, start = suggest_allocation(trial, setting)
    iterations = setting.rounds - start
    common = {
        "iterations": iterations,
        "verify": verify,
        "allocation": allocation,
        "step": suggest_step(trial, setting),
        **suggest_schedule(trial, iterations),
    }
    return [fa.IterativeProgramming(fine=fine, **common) for fine in ranges]


def suggest_start(trial: BaseTrial, setting: Setting) -> tuple[dict[str, Any], int, int]:
    """Suggest GDP's start; return the rounds it spends, and those of them that wait, too."""
    allocation, spent = suggest_allocation(trial, setting)
    source = trial.suggest_categorical("start_from", ["single_shot", "ip", "reset"])
    rounds = trial.suggest_int("start_rounds", 1, 6) if source == "ip" else 0
    start = {"allocation": allocation, "start_from": source, "start_rounds": max(rounds, 1)}
    return start, spent + rounds, rounds


def suggest_descent(trial: BaseTrial, setting: Setting, spent: int, rounds: int) -> dict[str, Any]:
    """Suggest what GDP and estimate-guided GDP have in common; a batch is that of 256 rows.

    The start has spent so many rounds, of which so many wait, too.
    """
    batch = trial.suggest_categorical("batch", [128, 256, 512]) * setting.size // SIZE
    iterations = (setting.rounds - spent) * setting.size // batch
    schedule = suggest_schedule(trial, iterations + rounds)
    schedule["final_passes"] = min(schedule["final_passes"], iterations)
    return {
        "iterations": iterations,
        "batch": batch,
        "inputs": trial.suggest_categorical("inputs", ["uniform", "gaussian", "sign", "hadamard"]),
        "amplitude": trial.suggest_float("amplitude", 0.2, 1.0),
        "step": suggest_step(trial, setting),
        **schedule,
    }


def suggest_gdp(trial: BaseTrial, setting: Setting) -> list[fa.GradientDescentProgramming]:
    """Suggest a set of GDP."""
    start, spent, rounds = suggest_start(trial, setting)
    common = start | suggest_descent(trial, setting, spent, rounds)
    if setting.rounds != ROUNDS:
        common["affine_every"] = common["iterations"]
    return [fa.GradientDescentProgramming(**common)]


def suggest_estimate(trial: BaseTrial, setting: Setting) -> list[fa.EstimateGuidedProgramming]:
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
        belief=belief, affine_every=every, **suggest_descent(trial, setting, 1, 0)
    )
    return [method]


def suggest_averaged(trial: BaseTrial, setting: Setting) -> list[fa.AveragedReadProgramming]:
    """Suggest one set of IP with averaged reads for both ranges of the ADC."""
    allocation, start = suggest_allocation(trial, setting)
    reads = trial.suggest_int("reads", 2, 5)
    iterations = (setting.rounds - start) // reads
    common = {"iterations": iterations, "reads": reads, "allocation": allocation}
    common |= {"step": suggest_step(trial, setting), **suggest_schedule(trial, iterations)}
    return [fa.AveragedReadProgramming(fine=fine, **common) for fine in (False, True)]


def suggest_hadamard(trial: BaseTrial, setting: Setting) -> list[fa.HadamardVerifyProgramming]:
    """Suggest a set of Hadamard verify."""
    allocation, start = suggest_allocation(trial, setting)
    iterations = setting.rounds - start
    amplitude = trial.suggest_float("amplitude", 0.2, 1.0)
    common = {"iterations": iterations, "amplitude": amplitude, "allocation": allocation}
    common |= {"step": suggest_step(trial, setting), **suggest_schedule(trial, iterations)}
    return [fa.HadamardVerifyProgramming(**common)]


def suggest_least_squares(
    trial: BaseTrial, setting: Setting
) -> list[fa.LeastSquaresReadProgramming]:
    """Suggest a set of IP by least-squares reads."""
    allocation, start = suggest_allocation(trial, setting)
    method = fa.LeastSquaresReadProgramming(
        over_sampling=trial.suggest_float("over_sampling", 1.05, 4.0, log=True),
        inputs=trial.suggest_categorical("inputs", ["uniform", "gaussian", "sign"]),
        amplitude=trial.suggest_float("amplitude", 0.2, 1.0),
        allocation=allocation,
        step=suggest_step(trial, setting),
    )
    iterations = (setting.rounds - start) * setting.size // method.batch(setting.size)
    schedule = suggest_schedule(trial, iterations)
    return [dataclasses.replace(method, iterations=iterations, **schedule)]


SEARCHES: dict[str, Callable[[BaseTrial, Setting], list[Any]]] = {
    "ip": suggest_ip,
    "textbook": partial(suggest_ip, verify="device"),
    "fine_ip": partial(suggest_ip, ranges=(True,)),
    "gdp": suggest_gdp,
    "estimate": suggest_estimate,
    "averaged": suggest_averaged,
    "hadamard": suggest_hadamard,
    "least_squares": suggest_least_squares,
}
