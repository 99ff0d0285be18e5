"""Every case of the table, checked at a small size, and then timed: see bench/README.md."""

from __future__ import annotations

from typing import Any

import pytest
from cases import CASES, Case
from measure import Figure, Rounds, figure, numpy_blas
from scene import THREADS
from works import Bench

# Modules that baselines of these names are made of, where they are installed.
NEEDED = {"torch": "torch", "aihwkit": "aihwkit", "crosssim": "simulator"}


def marked(case: Case) -> Any:
    return pytest.param(case, id=case.id, marks=pytest.mark.benchmark(group=case.group))


@pytest.mark.parametrize("case", [marked(case) for case in CASES])
def test_speed(case: Case, benchmark: Any, request: pytest.FixtureRequest) -> None:
    """Hold what is timed to its specification; no time is ever an error."""
    if (needed := NEEDED.get(case.key.split("_")[0])) is not None:
        pytest.importorskip(needed)
    checked = case.shrunk().build()
    checked.check()
    if benchmark.disabled:
        benchmark.pedantic(run_once, (checked,))
        return
    built = case.build()
    if case.checked_at_size:
        built.check()
    rounds = Rounds((built.work, *built.others), request.config.getoption("--rounds"))
    benchmark.pedantic(rounds.call, setup=rounds.before, rounds=rounds.total)
    found = figure(rounds.times, built.formula, built.per)
    benchmark.extra_info.update(extra_info(case, built, found, len(rounds.times[0])))


def run_once(built: Bench) -> None:
    """Call every work once, but for processes of their own, which the check has called."""
    for work in (built.work, *built.others):
        if not work.measures:
            work.ready()
            work.call()


def extra_info(case: Case, built: Bench, found: Figure, rounds: int) -> dict[str, Any]:
    """Return what the JSON holds of a case beside pytest-benchmark's times."""
    size = built.size_bytes
    return {
        "id": case.id,
        "work": case.title,
        "n": case.n,
        "batch": case.batch,
        "goal": case.goal,
        "at_least": case.at_least,
        "unit": case.unit,
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "fastest": found.fastest,
        "met": case.met(found.value),
        "rounds": rounds,
        "medians": list(found.medians),
        "bytes_per_second": None if size is None else size / found.medians[0],
        "threads": THREADS,
        **numpy_blas(),
    }
