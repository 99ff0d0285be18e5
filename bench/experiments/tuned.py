"""The best sets that `tools/tune.py` has found, as methods."""

from __future__ import annotations

import json
from typing import Any

from tables import RESULTS

import fastaimc as fa

SIZE = 256
ROUNDS = 27  # of IP, the reads of SET devices included: the budget of a program, as tuned
WAITS = 1.0  # of a whole program, in units of the time until evaluation


def best(name: str, preset: str, rounds: int = ROUNDS) -> dict[str, Any]:
    """Return the best set of a search."""
    own = ("" if preset == "hermes" else f"_{preset}") + ("" if rounds == ROUNDS else f"_{rounds}")
    found: dict[str, Any] = json.loads((RESULTS / f"tuning_{name}{own}.json").read_text())["best"]
    return found


def step(found: dict[str, Any]) -> fa.Step:
    """Return a set's threshold and step."""
    names = ("margin", "margin_end", "kappa", "gain", "max_step")
    return fa.Step(
        gain_end=found["gain"] * found["gain_decay"], **{name: found[name] for name in names}
    )


def start_cost(found: dict[str, Any]) -> int:
    """Return the MVM-equivalents of reading SET devices one by one."""
    return {"two_device": 2, "max_fill": 0, "max_fill_read": 1}[found["allocation"]] * SIZE


def schedule(found: dict[str, Any], rounds: int, iterations: int) -> dict[str, Any]:
    """Return a set's waits; `rounds` also wait, before the iterations."""
    rest = WAITS - found["final_passes"] * found["final_delay"]
    return {
        "final_passes": min(found["final_passes"], iterations),
        "final_delay": found["final_delay"],
        "verify_delay": rest / (rounds + iterations - found["final_passes"] + 1),
    }


def iterative(
    name: str = "ip", preset: str = "hermes", rounds: int = ROUNDS
) -> fa.IterativeProgramming:
    """Return IP, or "textbook" IP, that reads cells in the ADC's cell range."""
    found = best(name, preset, rounds)
    iterations = (rounds * SIZE - start_cost(found)) // SIZE
    return fa.IterativeProgramming(
        iterations=iterations,
        fine=True,
        verify="device" if name == "textbook" else "cell",
        allocation=found["allocation"],
        step=step(found),
        **schedule(found, 0, iterations),
    )


def descent(found: dict[str, Any], rounds: int, spent: int, first: int) -> dict[str, Any]:
    """Return what GDP and estimate-guided GDP have in common.

    `spent` are the MVM-equivalents of the start, of which `first` rounds also wait.
    """
    iterations = (rounds * SIZE - spent) // found["batch"]
    return {
        "iterations": iterations,
        **{name: found[name] for name in ("batch", "inputs", "amplitude")},
        "step": step(found),
        **schedule(found, first, iterations),
    }


def descent_from_start(found: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Return what GDP takes of a set."""
    first = found["start_rounds"] if found["start_from"] == "ip" else 0
    start = {name: found[name] for name in ("start_from", "allocation")}
    start["start_rounds"] = max(first, 1)
    return start | descent(found, rounds, start_cost(found) + first * SIZE, first)


def gradient_descent(preset: str = "hermes", rounds: int = ROUNDS) -> fa.GradientDescentProgramming:
    """Return GDP, with the fits of columns that its search had."""
    common = descent_from_start(best("gdp", preset, rounds), rounds)
    if rounds != ROUNDS:
        common["affine_every"] = common["iterations"]
    return fa.GradientDescentProgramming(**common)


def estimate_guided(preset: str = "hermes", rounds: int = ROUNDS) -> fa.EstimateGuidedProgramming:
    """Return estimate-guided GDP."""
    found = best("estimate", preset, rounds)
    names = ("share", "first", "spread", "miss", "walk")
    return fa.EstimateGuidedProgramming(
        belief=fa.Belief(**{name: found[name] for name in names}),
        affine_every=found["affine_every"],
        **descent(found, rounds, SIZE, 0),
    )
