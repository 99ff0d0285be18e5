"""The ResNet-9 experiment at sizes that take no time: images, training, resumption, figures."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from extras import torch_or_skip

torch = torch_or_skip()

FOLDER = Path(__file__).resolve().parent.parent / "bench" / "experiments"
NAMES = ("cifar10", "resnet9", "resnet9_cifar10", "resnet9_figure", "resnet9_report")
WIDTHS = (2, 3, 4, 4)
IMAGES = 24


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, ModuleType]]:
    """The experiment's files, with results in a folder of their own."""
    monkeypatch.syspath_prepend(FOLDER)
    found = {name: __import__(name) for name in NAMES}
    for name in ("resnet9", "resnet9_cifar10"):
        monkeypatch.setattr(found[name], "RESULTS", tmp_path)
    yield found
    for name in (*NAMES, "resnet9_results", "tables"):
        sys.modules.pop(name, None)


def data(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (IMAGES, 3, 32, 32), dtype=np.uint8)
    return images, rng.integers(0, 10, IMAGES)


def binary(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    records = [labels[:, None].astype(np.uint8), images.reshape(len(images), -1)]
    path.write_bytes(np.concatenate(records, axis=1).tobytes())


def test_the_standard_files(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    for number in range(1, 6):
        binary(tmp_path / f"data_batch_{number}.bin", *data(number))
    binary(tmp_path / "test_batch.bin", *data(6))
    kind, (images, labels), test = modules["cifar10"].load(tmp_path)
    assert kind == "CIFAR-10"
    np.testing.assert_array_equal(images, np.concatenate([data(n)[0] for n in range(1, 6)]))
    np.testing.assert_array_equal(labels, np.concatenate([data(n)[1] for n in range(1, 6)]))
    np.testing.assert_array_equal(test[0], data(6)[0])


def test_a_folder_of_jpeg_images(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    pil = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    for split in ("train", "test"):
        for label, kind in enumerate(modules["cifar10"].CLASSES):
            folder = tmp_path / split / kind
            folder.mkdir(parents=True)
            grey = np.full((32, 32, 3), 20 * label + 10, np.uint8)
            pil.fromarray(grey).save(folder / "0001.jpg")
    kind, (images, labels), _ = modules["cifar10"].load(tmp_path)
    assert kind == "CIFAR-10 (JPEG-recompressed)"
    np.testing.assert_array_equal(labels, range(10))
    assert images.shape == (10, 3, 32, 32)
    near = np.abs(images.mean(axis=(1, 2, 3)) - (20.0 * np.arange(10) + 10))
    assert near.max() < 2


def test_another_folder(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"must hold data_batch_1\.bin"):
        modules["cifar10"].load(tmp_path)


def test_an_augmented_image_is_a_part_of_it_with_a_hole(modules: dict[str, ModuleType]) -> None:
    resnet9 = modules["resnet9"]
    x = torch.arange(1, 1 + 32 * 32).reshape(1, 1, 32, 32).float().repeat(IMAGES, 3, 1, 1)
    out = resnet9.augmented(x, torch.Generator().manual_seed(0))
    padded = np.pad(x[0, 0].numpy(), resnet9.PADDING, mode="reflect")
    seen = set()
    for image in out.numpy():
        hole = image[0] == 0
        assert hole.sum() == resnet9.HOLE**2
        assert (np.ptp(np.nonzero(hole), axis=1) == resnet9.HOLE - 1).all()
        fits = [
            (dy, dx, turn)
            for dy in range(9)
            for dx in range(9)
            for turn in (1, -1)
            if (padded[dy : dy + 32, dx : dx + 32][:, ::turn] == image[0])[~hole].all()
        ]
        assert len(fits) == 1
        seen.update(fits)
    assert len({turn for _, _, turn in seen}) == 2
    assert len(seen) > IMAGES // 2


def train(modules: dict[str, ModuleType], epochs: int) -> dict[str, Any]:
    resnet9 = modules["resnet9"]
    resnet9.train(Path(), WIDTHS, epochs)
    return dict(resnet9.trained(WIDTHS).state_dict())


@pytest.fixture
def small(modules: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """The files, with few images."""
    monkeypatch.setattr(modules["cifar10"], "load", lambda _: ("noise", data(0), data(1)))
    return modules


def test_training_goes_on_where_it_was_stopped(
    small: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    resnet9 = small["resnet9"]
    whole = train(small, 2)
    epochs, save = [], resnet9.save_state

    def interrupted(*arguments: Any) -> None:
        save(*arguments)
        epochs.append(len(arguments[-1]))
        if epochs == [1]:
            raise KeyboardInterrupt

    monkeypatch.setattr(resnet9, "save_state", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(small, 2)
    again = train(small, 2)
    assert epochs == [1, 2]
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_what_is_known_is_not_measured_again(modules: dict[str, ModuleType]) -> None:
    experiment = modules["resnet9_cifar10"]
    every = list(experiment.tasks(["drift", "noise"], 2, IMAGES, []))
    first, noise = every[0], next(task for task in every if hasattr(task, "noise"))
    seen = {"right": 1, "images": IMAGES}
    known = [
        first.label(first.times[0]) | seen | {"images": IMAGES - 1},
        first.label(first.times[1]) | seen,
        {"noise": noise.noise, "layer": noise.layer, "seed": noise.seed} | seen,
    ]
    left = list(experiment.tasks(["drift", "noise"], 2, IMAGES, known))
    assert left[0].times == (first.times[0], *first.times[2:])
    assert len(left) == len(every) - 1
    assert noise not in left


def test_a_line_that_was_cut_off_is_left_out(
    modules: dict[str, ModuleType], tmp_path: Path
) -> None:
    experiment = modules["resnet9_cifar10"]
    path = tmp_path / "found.jsonl"
    experiment.append(path, {"a": 1})
    path.write_text(path.read_text() + '{"b": ')
    assert experiment.read(path) == [{"a": 1}]


def test_figures_and_report(
    small: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    train(small, 1)
    experiment, report = small["resnet9_cifar10"], small["resnet9_report"]
    monkeypatch.setattr(experiment, "PART", IMAGES // 2)
    images, labels = data(1)
    target = experiment.results_file(WIDTHS)
    experiment.append(target, {"data": "noise", "digital": {"right": 12, "images": IMAGES}})
    experiment.append(target, {"provenance": experiment.provenance()})
    test = torch.from_numpy(images), torch.from_numpy(labels)
    calibration = small["resnet9"].normalised(images)
    bench = experiment.Bench(WIDTHS, calibration, test, target)
    times = (0.0, experiment.USUAL)
    for seed in range(2):
        for method in ("exact", "ip", "gdp"):
            bench.run(experiment.Task(method, seed, 8, "global", times))
        bench.run(experiment.NoiseTask(experiment.ALONE, "0.0", seed))
        bench.run(experiment.NoiseTask(0.1, None, seed))
    records = experiment.read(target)
    assert all(0 <= item["right"] <= IMAGES for item in records if "right" in item)
    report.write(target, records)
    text = target.with_suffix(".md").read_text()
    assert "| GDP | " in text
    assert "points over IP" in text
    assert target.with_suffix(".png").stat().st_size > 10_000
    assert f"noise, the first {IMAGES} test images, 2 seeds" in text
    assert f"lost are of the first {IMAGES} test images" in text
    few = {"right": 3, "images": IMAGES // 2, "parts": [3]}
    experiment.append(target, experiment.Task("gdp", 0, 6, "global", ()).label(0.0) | few)
    report.write(target, experiment.read(target))
    text = target.with_suffix(".md").read_text()
    assert f"Accuracy in per cent, of the first {IMAGES // 2} test images" in text
    assert f"lost are of the first {IMAGES} test images" in text
    assert json.loads(target.read_text().splitlines()[0])["data"] == "noise"


def test_figures_of_fewer_images_stand_beside_the_same_ones(modules: dict[str, ModuleType]) -> None:
    results = sys.modules["resnet9_results"]
    label = {"method": "gdp", "bits": 8, "compensation": "global", "seed": 0}
    records = [
        {"digital": {"right": 19, "images": 20, "parts": [10, 9]}},
        {"provenance": {}},
        label | {"time_s": 200.0, "right": 14, "images": 20, "parts": [8, 6]},
        label | {"time_s": 200.0, "right": 9, "images": 10, "parts": [9]},
        label | {"time_s": 0.0, "right": 5, "images": 10, "parts": [5]},
    ]
    found = results.Figures(records)
    assert found.images == results.fewest(found.usual) == 20
    assert results.fewest(found.records) == 10
    assert found.accuracy("gdp") == {0: 70.0}
    some = results.Figures(records[:3] + records[4:], 10)
    assert some.accuracy("gdp") == {0: 80.0}
    assert some.accuracy("gdp", 0.0) == {0: 50.0}
    assert (found.digital, some.digital) == (95.0, 100.0)
