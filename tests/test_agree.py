"""The agreement tables: what is published, worked out beside the package."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

TOOLS = Path(__file__).resolve().parent.parent / "tools"


@pytest.fixture(scope="module")
def agree() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TOOLS)  # a tool imports its neighbours
        yield importlib.import_module("agree")


def test_programming_drift_and_noise_are_as_published(
    agree: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert agree.main(["programming", "drift", "noise", "wires", "devices"]) == 0
    text = capsys.readouterr().out
    assert "σ_prog, x = 0.1" in text
    assert "0 beyond their bounds" in text


def test_errors_are_those_of_the_formulas(agree: ModuleType) -> None:
    rows = [row for row in agree.errors() if row.what.endswith("formulas")]
    assert len(rows) == 9
    assert all(row.holds for row in rows)


def test_known_errors_hold_but_for_those_that_are_said_not_to(agree: ModuleType) -> None:
    """Of one HERMES device ours are the formulas', and up to a point from the known ones."""
    known = [row for row in agree.errors() if row.what.endswith("known")]
    assert all(row.bound == 0.3 for row in known)
    assert {row.model for row in known if not row.holds} == {"HERMES, one device"}


def test_a_row_that_is_apart_does_not_hold(agree: ModuleType) -> None:
    assert not agree.Row("model", "what", 1.02, 1.0, 0.01).holds
    assert agree.Row("model", "what", 0.102, 0.1, 0.3, points=True).holds
    assert not agree.Row("model", "what", 0.104, 0.1, 0.3, points=True).holds


def test_a_row_without_a_bound_is_shown_alone(agree: ModuleType) -> None:
    row = agree.Row("model", "what", 2.0, 1.0, None)
    assert row.holds
    assert agree.bound(row) == "–"


@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("subject", ["aihwkit", "crosssim", "badcrossbar"])
def test_other_programs_agree_where_they_are_installed(
    agree: ModuleType, subject: str, capsys: pytest.CaptureFixture[str]
) -> None:
    package = agree.others.missing(subject)
    assert agree.main([subject]) == 0
    text = capsys.readouterr().out
    if package is None:
        assert "0 beyond their bounds" in text
    else:
        assert f"{subject}: left out, as the package {package} is not installed" in text


def test_what_is_missing_is_left_out(
    agree: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(agree.others.NEEDED, "crosssim", "no_such_package")
    assert agree.main(["crosssim"]) == 0
    assert "crosssim: left out, as the package no_such_package is not" in capsys.readouterr().out


def test_the_error_of_cells_is_that_of_an_mvm_after_one_scale(agree: ModuleType) -> None:
    rng = np.random.default_rng(0)
    g = rng.uniform(0, 1, (2, 30, 20))
    held = 0.5 * (g + 0.1 * rng.standard_normal(g.shape))
    x = rng.standard_normal((100_000, 30))
    y, wanted = x @ (held[0] - held[1]), x @ (g[0] - g[1])
    scale = np.vdot(y, wanted) / np.vdot(y, y)
    exact = np.linalg.norm(scale * y - wanted) / np.linalg.norm(wanted)
    assert agree.others.relative_error(held, g) == pytest.approx(exact, rel=0.02)
