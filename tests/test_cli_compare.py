"""`fastaimc compare`: what it prints and writes, and what it refuses before any work."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli import refused, run

import fastaimc as fa
from fastaimc import compare as module
from fastaimc.candidates import ALL, METHODS, Candidate, candidates

SHORT = ("--iterations", "2", "--threads", "1")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "w.npz"
    rng = np.random.default_rng(0)
    np.savez(path, first=rng.standard_normal((6, 8)), second=rng.standard_normal((4, 6)))
    return path


def test_tables_json_and_figure(weights: Path, tmp_path: Path) -> None:
    out, figure = tmp_path / "out.json", tmp_path / "figure.png"
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    options = ["--seeds", 2, "--layers", "--json", out, "--plot", figure, *SHORT]
    result = run("compare", weights, *options)
    for word in ("Errors of first", "Errors of second", "Errors of all layers", "GDP leaves"):
        assert word in result.stdout
    assert "8/8" in result.stderr
    document = json.loads(out.read_text())
    assert {row["label"] for row in document["rows"]} >= {"exact", "IP", "fine IP", "GDP"}
    assert document["methods"]["IP"]["first"]["iterations"] == 2
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_options_choose_methods_and_cores(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    options = ["--method", "gdp", "--method", "ip-dark", "--adc-bits", 6, "--batch", 4]
    options += ["--set", "drift=null", "--seeds", 1, "--json", out, *SHORT]
    result = run("compare", weights, *options)
    document = json.loads(out.read_text())
    assert [*document["histories"]] == ["GDP", "IP, dark"]
    config = document["provenance"]["config"]["config"]
    assert config["adc"]["bits"] == 6
    assert config["drift"] is None
    assert document["methods"]["GDP"]["first"]["batch"] == 4
    assert "calibrates no offsets" in result.stdout
    assert "±" not in result.stdout  # of one seed there is no spread


def test_all_methods_by_one_word(weights: Path, tmp_path: Path) -> None:
    out, figure = tmp_path / "out.json", tmp_path / "figure.png"
    options = ["--methods", "all", "--seeds", 1, "--json", out, *SHORT]
    if importlib.util.find_spec("matplotlib"):
        options += ["--plot", figure]
    result = run("compare", weights, *options)
    document = json.loads(out.read_text())
    ways = candidates(fa.presets.hermes(), METHODS)
    assert list(document["histories"]) == [way.label for way in ways]
    for way in ways:
        assert result.stdout.count(way.label) >= 3  # errors by two kinds of tables, and costs
    assert document["methods"]["TDP"]["first"]["kind"] == "TwoDeviceProgramming"


def test_help_names_all_methods() -> None:
    text = " ".join(run("compare", "--help").stdout.replace("│", " ").split())
    for name in (*METHODS, ALL):
        assert name in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--seeds", 0], ("--seeds", "0")),
        (["--method", "gpd"], ("gpd", "did you mean 'gdp'")),
        (["--iterations", 0], ("iterations", "0")),
        (["--batch", 0], ("batch", "0")),
        (["--adc-bits", 40], ("bits", "40")),
        (["--set", "adc.bit=6"], ("adc.bit", "did you mean")),
        (["--plot", "figure.nonsense"], ("plot", ".png", "figure.nonsense")),
        (["--plot", "nowhere/figure.png"], ("nowhere", "folder")),
        (["--json", "w.npz"], ("w.npz", "exists", "--force")),
        (["--engine", "nubma"], ("engine", "nubma")),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_what_is_refused_before_any_work(
    options: list[Any], words: tuple[str, ...], weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(weights.parent)
    if "--plot" in options:
        pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    before = weights.read_bytes()
    message = refused("compare", weights, *options)
    for word in words:
        assert word in message
    assert weights.read_bytes() == before
    assert [path.name for path in weights.parent.iterdir()] == ["w.npz"]


def test_ctrl_c_shows_the_seeds_that_are_whole(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    program = module.program_each

    def interrupted(given: Any, way: Candidate, **options: Any) -> dict[str, fa.AnalogMatrix]:
        calls.append(way.label)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return program(given, way, **options)

    monkeypatch.setattr(module, "program_each", interrupted)
    out = tmp_path / "out.json"
    options = ["--seeds", 3, "--method", "ip", "--method", "gdp", "--json", out, *SHORT]
    result = run("compare", weights, *options, code=130)
    assert "Interrupted: this is of 1 of 3 seeds." in result.stderr
    assert "GDP leaves" in result.stdout
    assert {row["seed"] for row in json.loads(out.read_text())["rows"]} == {0}
