"""The tools that measure: their arithmetic, their tables, and what they leave behind."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import cases
import checks
import measure
import numpy as np
import pytest
import report

ROOT = Path(__file__).resolve().parent.parent


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


table, compare = tool("bench_table"), tool("bench_compare")


# --- measuring ----------------------------------------------------------------------------------


def test_a_figure_is_the_ratio_of_medians_and_its_spread_that_of_rounds() -> None:
    own = [[2.0, 2.0, 100.0], [4.0], [6.0]]
    others = [[[1.0], [1.0], [1.0]], [[1.0], [1.0], [1.0]]]
    found = measure.figure([own, *others], "ratio", per=2)
    assert found.medians == (4.0, 1.0, 1.0)  # of 2 2 4 6 100
    assert (found.value, found.low, found.high) == (1.0, 0.75, 1.25)
    assert found.fastest == 0.5


@pytest.mark.parametrize(
    ("formula", "value"), [("ratio", 1.5), ("speed-up", 2 / 3), ("difference", 1), ("figure", 3)]
)
def test_formulas(formula: str, value: float) -> None:
    found = measure.figure([[[3.0]], [[2.0]]], formula)
    assert found.value == found.low == found.high == pytest.approx(value)


@pytest.mark.parametrize(
    ("seconds", "calls"), [(1e-6, 15), (0.05, 15), (0.1, 7), (0.7, 1), (60, 1)]
)
def test_slow_works_are_called_less(seconds: float, calls: int) -> None:
    assert measure.calls_of(seconds) == calls


@pytest.mark.parametrize(("seconds", "rounds"), [(1e-3, 7), (4, 5), (100, 3)])
def test_slow_rounds_are_fewer(seconds: float, rounds: int) -> None:
    assert measure.rounds_of(seconds) == rounds


def test_works_take_turns() -> None:
    order: list[str] = []
    works = [
        measure.Work(lambda: order.append("a"), lambda: order.append("+")),
        measure.Work(lambda: order.append("b")),
    ]
    rounds = measure.Rounds(works, rounds=2, pause_s=0)
    order.clear()
    rounds.run()
    one = "b" * 15 + "+a" * 15
    assert "".join(order) == one * 2
    assert [[len(r) for r in of_work] for of_work in rounds.times] == [[15, 15]] * 2


def test_preparation_and_what_measures_itself() -> None:
    slow = measure.Work(lambda: None, lambda: time.sleep(0.02))
    slow.ready()
    assert slow.once() < 0.01
    own = measure.Rounds([measure.Work(lambda: 42.0, measures=True)], rounds=3, pause_s=0)
    own.run()
    assert own.times == [[[42.0], [42.0], [42.0]]]


def test_numpy_says_which_kernel_of_blas_it_runs() -> None:
    found = measure.numpy_blas()
    assert found["blas_threads"] >= 1
    assert found["blas_kernel"] != "unknown"


# --- checks that must be able to fail -------------------------------------------------------------


def test_other_statistics_are_noticed() -> None:
    random = np.random.default_rng(0)
    one, other = random.standard_normal((2, 200, 16, 64))
    checks.same_statistics(one, other)
    for wrong in (1.03 * other, other + 0.02, other + 0.2 * (np.arange(64) % 2 - 0.5)):
        with pytest.raises(AssertionError):
            checks.same_statistics(one, wrong)


def test_the_table_covers_every_goal() -> None:
    ids = [case.id for case in cases.CASES]
    assert len(set(ids)) == len(ids)
    goals = {case.id: case.goal for case in cases.CASES if case.goal is not None}
    for n, goal in ((256, 1.5), (512, 1.5), (1024, 1.2), (2048, 1.2), (4096, 1.2)):
        assert {goals[f"mvm-n{n}-b32"], goals[f"mvm-n{n}-b256"]} == {goal}
    for case in cases.CASES:
        reached, missed = (0.5, 2.0) if not case.at_least else (2.0, 0.5)
        if case.goal is not None:
            assert case.met(reached * case.goal)
            assert not case.met(missed * case.goal)
        assert case.shrunk().size() <= case.size()


# --- tables -------------------------------------------------------------------------------------

ROW: dict[str, Any] = {
    "work": "noisy MVM",
    "n": 256,
    "batch": None,
    "goal": 1.5,
    "at_least": False,
    "value": 1.2345,
    "low": 1.2,
    "high": 123.4,
    "fastest": 1.19,
    "unit": "× its two products",
    "met": True,
    "threads": 2,
}
VERSIONS = {"numpy": "2", "numba": "0.6"}
BLAS = {"blas": "openblas 1", "blas_kernel": "SkylakeX", "blas_threads": 2}
MEASURED: dict[str, Any] = {
    "machine_info": {"fastaimc": {"cpu": "a CPU", "cores": 2, **VERSIONS, **BLAS}},
    "commit_info": {"id": "0123456789abcdef", "dirty": True},
    "datetime": "2030-01-02T03:04:05",
    "benchmarks": [{"extra_info": ROW}, {"extra_info": {}}],
}


def test_a_row_is_written_as_it_was_measured() -> None:
    cells = report.row(ROW)
    assert cells == [
        "noisy MVM",
        "256",
        "",
        "≤ 1.5",
        "1.23",
        "1.2 to 123",
        "1.19",
        "× its two products",
        "yes",
    ]
    assert report.row(ROW | {"goal": None, "met": None})[3::5] == ["–", "–"]
    assert report.row(ROW | {"at_least": True, "met": False})[3::5] == ["≥ 1.5", "no"]


def test_the_readme_gets_the_table_between_its_markers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- speed -->\nold\n<!-- /speed -->\nafter\n")
    measured = tmp_path / "speed.json"
    measured.write_text(json.dumps(MEASURED))
    monkeypatch.setattr(table, "README", readme)
    monkeypatch.setattr(table, "HISTORY", tmp_path / "history")
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    table.main([str(measured), "--keep", "9.9"])
    text = readme.read_text()
    assert text.startswith("before\n<!-- speed -->\n")
    assert text.endswith("<!-- /speed -->\nafter\n")
    assert "| noisy MVM | 256 |  | ≤ 1.5 | 1.23 |" in text
    assert "a CPU, 2 cores" in text
    assert "SkylakeX" in text
    assert "commit 0123456789 and changes" in text
    assert "old" not in text
    kept = json.loads((tmp_path / "history" / "9.9.json").read_text())
    assert kept["machine"] == {"cpu": "a CPU", "cores": 2}
    assert kept["versions"] == VERSIONS
    assert kept["rows"] == [ROW]


def test_no_table_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        table.summary(MEASURED | {"benchmarks": []})
    with pytest.raises(ValueError, match="no markers <!-- speed --> and <!-- /speed -->"):
        table.between("a text", "a table")


# --- two revisions --------------------------------------------------------------------------------


def test_a_ratio_is_beyond_the_limit_by_more_than_its_spread() -> None:
    steady = compare.ratio([[1.0]] * 4, [[1.2]] * 4)
    assert (steady.value, steady.low, steady.high) == pytest.approx((1.2, 1.2, 1.2))
    assert steady.beyond(1.1)
    assert not steady.beyond(1.3)
    shaky = compare.ratio([[1.0]] * 5, [[1.0], [1.0], [1.2], [1.3], [1.4]])
    assert shaky.value == pytest.approx(1.2)
    assert shaky.fastest == 1.0
    assert not shaky.beyond(1.1)
    assert compare.ratio([[2.0]], [[1.0]]).value == 0.5


def test_a_revision_that_is_none_ends_with_a_message_and_leaves_nothing() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    before = compare.git("worktree", "list")
    with pytest.raises(SystemExit, match="no-such-revision"), compare.checkouts("no-such-revision"):
        pass
    assert compare.git("worktree", "list") == before


def test_checkouts_go_away_on_an_interrupt() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    before = compare.git("worktree", "list")
    with contextlib.suppress(KeyboardInterrupt), compare.checkouts("HEAD", ".") as paths:
        assert (paths[0] / "fastaimc" / "__init__.py").exists()
        assert paths[1] == ROOT
        raise KeyboardInterrupt
    assert not paths[0].exists()
    assert compare.git("worktree", "list") == before


def test_a_worker_times_on_request_and_says_what_fails() -> None:
    worker = compare.Worker(ROOT)
    try:
        assert worker.ask(load="import") == {"calls": 1}
        assert "KeyError" in worker.ask(load="no such case")["error"]
    finally:
        worker.stop()
    assert worker.process.poll() is not None


def test_the_names_of_cases_are_listed() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "bench_compare.py"), "--list"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "mvm-n256-b32" in done.stdout.split()
