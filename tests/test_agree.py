"""The agreement tables: what is published, worked out beside the package."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).resolve().parent.parent / "tools" / "agree.py"


@pytest.fixture(scope="module")
def agree() -> ModuleType:
    spec = importlib.util.spec_from_file_location("agree", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["agree"] = module  # its dataclasses look for their module
    spec.loader.exec_module(module)
    return module


def test_programming_drift_and_noise_are_as_published(
    agree: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert agree.main(["programming", "drift", "noise", "wires"]) == 0
    text = capsys.readouterr().out
    assert "σ_prog, x = 0.1" in text
    assert "0 beyond their bounds" in text


def test_errors_are_those_of_the_formulas(agree: ModuleType) -> None:
    rows = [row for row in agree.errors() if row.what.endswith("formulas")]
    assert len(rows) == 9
    assert all(row.holds for row in rows)


def test_a_row_that_is_apart_does_not_hold(agree: ModuleType) -> None:
    assert not agree.Row("model", "what", 1.02, 1.0, 0.01).holds
    assert agree.Row("model", "what", 0.102, 0.1, 0.3, points=True).holds
    assert not agree.Row("model", "what", 0.104, 0.1, 0.3, points=True).holds
