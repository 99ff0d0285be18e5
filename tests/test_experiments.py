"""The experiments at sizes that take no time: that they run, and what they count."""

import importlib
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from extras import extra_or_skip
from rich.progress import Progress

import fastaimc as fa

FOLDER = Path(__file__).resolve().parent.parent / "bench" / "experiments"
TINY = 16


@pytest.fixture(scope="module")
def models() -> Iterator[ModuleType]:
    yield from experiment("models")


@pytest.fixture(scope="module")
def wires() -> Iterator[ModuleType]:
    yield from experiment("wires")


@pytest.fixture(scope="module")
def transfer() -> Iterator[ModuleType]:
    extra_or_skip("optuna", "tune")
    yield from experiment("transfer")


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


def tiny_targets(transfer: ModuleType) -> dict[str, Any]:
    """The source, itself again, and other weights, on cores that take no time."""
    module = sys.modules["transfer_targets"]
    setting = module.spaces.Setting(size=TINY, rounds=12, least_step=0.002)
    common = {
        "config": fa.override(fa.presets.hermes(), {"rows": TINY, "columns": TINY}),
        "setting": setting,
        "seeds": (101,),
    }

    def weights(draw: Any, seed: int) -> dict[str, np.ndarray]:
        return {"0": draw(np.random.default_rng(seed), (TINY, TINY))}

    gaussian = partial(weights, module.gaussian)
    laplace = partial(weights, module.DRAWS["Laplace"])
    target = partial(module.Target, **common)
    return {
        "Gaussian": target(kind="source", weights=gaussian, told=False, times=2),
        "Gaussian, again 1": target(kind=module.AGAIN, weights=gaussian, sampler=2),
        "Gaussian, not told 2": target(kind=module.AGAIN, weights=gaussian, told=False, sampler=3),
        "Laplace": target(kind="weights", weights=laplace),
    }


def test_transfer(transfer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target's search knows the source's set first, so on its own seeds it is never behind."""
    from optuna.trial import FixedTrial

    tiny = tiny_targets(transfer)
    monkeypatch.setattr(transfer, "targets", lambda: tiny)
    document: dict[str, Any] = {"trials": 4, "sets": {}, "errors": {}, "parts": {}}
    path = tmp_path / "transfer.json"
    with Progress(disable=True) as progress:
        transfer.search_all(document, path, 4, progress)
        transfer.measure_all(document, path, 2, progress)
        monkeypatch.delattr(
            sys.modules["transfer_targets"].tune, "residuals"
        )  # nothing is left to measure
        transfer.search_all(document, path, 4, progress)
        transfer.measure_all(document, path, 2, progress)
        monkeypatch.undo()
    source = document["sets"]["Gaussian"]
    assert [len(one["trials"]) for one in document["sets"].values()] == [8, 4, 4, 4]
    for name, target in tiny.items():
        if target.told:
            method = transfer.method_of(FixedTrial(source["set"]), target)
            carried = transfer.error(method, target, target.seeds)
            assert document["sets"][name]["trials"][0] == pytest.approx(carried, abs=1e-5)
            assert document["sets"][name]["value"] <= carried
    assert json.loads(path.read_text()) == document
    assert set(document["errors"]) == {"Gaussian", "Laplace"}
    assert set(document["parts"]["Laplace"]) == set(transfer.PARTS)
    text = transfer.transfer_report.report(document)
    assert "| weights | Laplace | " in text
    pytest.importorskip("matplotlib")
    transfer.transfer_report.write(document, tmp_path)
    assert (tmp_path / "transfer.png").stat().st_size > 10_000


def test_a_set_has_as_many_rounds_on_any_size(transfer: ModuleType) -> None:
    from optuna.trial import FixedTrial

    found = transfer.targets()
    for name in ("64²", "128²", "512²"):
        target, trial = found[name], FixedTrial(transfer.default())
        method = transfer.method_of(trial, target)
        size = target.config.rows
        assert method.batch * method.iterations == 24 * size  # a round of IP, and two to read SET
        assert target.setting.budget == 27 * size + 1


def test_a_part_of_a_set_is_exchanged_whole(transfer: ModuleType) -> None:
    one = {"start_from": "ip", "start_rounds": 2, "allocation": "max_fill", "gain": 1.0}
    other = {"start_from": "reset", "allocation": "two_device", "gain": 0.5}
    mixed = transfer.exchanged(one, other, "start")
    assert mixed == {"start_from": "reset", "allocation": "two_device", "gain": 1.0}
    assert set().union(*transfer.PARTS.values()) == {*transfer.default()} | {"start_rounds"}
