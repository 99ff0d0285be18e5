"""The experiments at sizes that take no time: that they run, and what they count."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import fastaimc as fa

FOLDER = Path(__file__).resolve().parent.parent / "bench" / "experiments"
TINY = 16


@pytest.fixture(scope="module")
def models() -> Iterator[ModuleType]:
    yield from experiment("models")


@pytest.fixture(scope="module")
def wires() -> Iterator[ModuleType]:
    yield from experiment("wires")


def experiment(name: str) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        yield importlib.import_module(name)
    sys.modules.pop(name)


def test_models_are_those_of_the_config(models: ModuleType) -> None:
    hermes = fa.presets.hermes()
    for model in models.MODELS.values():
        assert fa.override(hermes, model.on) != fa.override(hermes, model.off)


def test_bytes_are_those_of_arrays_once(models: ModuleType) -> None:
    one = np.zeros(10, np.float32)
    assert models.kept_bytes({"a": one, "b": [one, one[2:]], "c": "text"}, None) == 40
    assert models.kept_bytes(one[::2], np.zeros(3, np.uint8)) == 43


@pytest.mark.parametrize(
    ("name", "programming", "matrix"),
    [
        ("1 % of devices stuck", 1, 1),
        ("four devices more a cell, of eight", 16, 16),
        ("two phases", 8, 8),
        ("IR drop, iterative", 32, 8),
    ],
)
def test_what_a_model_costs(
    models: ModuleType, name: str, programming: float, matrix: float
) -> None:
    found = models.cost(models.MODELS[name], TINY, rounds=1)
    assert found.bytes_programming == programming
    assert found.bytes_matrix == matrix
    assert len(found.ratios) == 4
    assert all(one.value > 0 for one in found.ratios)
    text = models.report({name: found}, TINY, 1)
    assert f"| {name} | {programming:+.1f} | {matrix:+.1f} |" in text


def test_a_run_begins_from_the_same_state(models: ModuleType) -> None:
    config = fa.override(fa.presets.hermes(), {"wires": {"kind": "Wires"}})
    started = models.Programming.of(TINY, config, fa.GradientDescentProgramming(iterations=2))
    ends = []
    for _ in range(2):
        core, state = started.again()
        started.run(core, state)
        ends.append(core.conductance)
    np.testing.assert_array_equal(*ends)
    assert (ends[0] != started.core.conductance).any()


def test_ir_drop(wires: ModuleType, tmp_path: Path) -> None:
    found = wires.measure([8, TINY], fitted=TINY)
    text = wires.report(found)
    assert "| 16² | 0.35 Ω | Gaussian |" in text
    assert "| cosine transform |" in text
    assert all(row["estimate"] < row["ignored"] for row in found["solvers"])
    assert all(row["residual"] < row["total"] for row in found["fits"])
    pytest.importorskip("matplotlib")
    wires.save(found, tmp_path / "wires.png")
    assert (tmp_path / "wires.png").stat().st_size > 10_000
