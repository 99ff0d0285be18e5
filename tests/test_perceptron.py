"""The default network: what is shipped, and the digital parts between somebody else's products."""

from importlib import resources
from typing import Any

import numpy as np
import pytest

import fastaimc as fa
from fastaimc.errors import InputError
from fastaimc.network.perceptron import (
    IMAGES_FILE,
    NETWORK_FILE,
    Network,
    accuracy,
    default_images,
    default_network,
    digital,
    forward,
)
from fastaimc.storage import read

DATA = resources.files("fastaimc") / "data"
LICENCE = "LICENSE-fashion-mnist"
SHAPES = {"fc1": (256, 784), "fc2": (128, 256), "fc3": (10, 128)}


@pytest.fixture(scope="module")
def network() -> Network:
    return default_network()


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    return default_images()


def plain(network: Network, x: np.ndarray) -> np.ndarray:
    """The same network, written out, in float64."""
    w, b = network.weights, network.biases
    hidden = np.maximum(x.astype(np.float64) @ w["fc1"].T + b["fc1"], 0)
    hidden = np.maximum(hidden @ w["fc2"].T + b["fc2"], 0)
    return np.asarray(hidden @ w["fc3"].T + b["fc3"])


def meta(name: str, kind: str) -> dict[str, Any]:
    with resources.as_file(DATA / name) as path:
        return read(path, kind)[1]


@pytest.mark.nojit
def test_what_is_shipped_is_small_and_licensed() -> None:
    sizes = [len((DATA / name).read_bytes()) for name in (NETWORK_FILE, IMAGES_FILE, LICENCE)]
    assert sum(sizes) < 2_500_000
    text = (DATA / LICENCE).read_text(encoding="utf-8")
    assert "Copyright (c) 2017 Zalando SE" in text
    assert "Permission is hereby granted, free of charge" in text


@pytest.mark.nojit
def test_shapes(network: Network, images: tuple[np.ndarray, np.ndarray]) -> None:
    assert {name: network.weights[name].shape for name in network.names} == SHAPES
    assert {name: network.biases[name].shape for name in network.names} == {
        name: shape[:1] for name, shape in SHAPES.items()
    }
    arrays = [*network.weights.values(), *network.biases.values()]
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in arrays)
    x, labels = images
    assert (x.shape, x.dtype, x.min(), x.max()) == ((2000, 784), np.float32, 0, 1)
    assert (labels.shape, labels.dtype) == ((2000,), np.int64)
    assert np.bincount(labels).tolist() == [200] * 10


@pytest.mark.nojit
def test_input_ranges_are_the_percentile_of_activations(
    network: Network, images: tuple[np.ndarray, np.ndarray]
) -> None:
    """Calibrated on 60,000 training images; 2,000 test images see nearly the same."""
    seen: dict[str, float] = {}

    def watched(name: str, product: Any) -> Any:
        def layer(x: np.ndarray) -> Any:
            seen[name] = float(np.percentile(np.abs(x), 99.9))
            return product(x)

        return layer

    forward(network, images[0], {n: watched(n, p) for n, p in digital(network).items()})
    assert list(network.input_ranges) == list(network.names)
    assert network.input_ranges == pytest.approx(seen, rel=0.05)


def test_digital_accuracy(network: Network, images: tuple[np.ndarray, np.ndarray]) -> None:
    recorded = meta(NETWORK_FILE, "network")["accuracy"]
    assert network.accuracy == recorded["test"] >= 0.88
    found = accuracy(forward(network, images[0], digital(network)), images[1])
    assert found >= 0.87
    assert found == pytest.approx(recorded["images"], abs=1.01 / 2000)  # one tie of rounding


def test_it_says_where_it_comes_from() -> None:
    known = meta(NETWORK_FILE, "network")
    assert {"seed", "date", "recipe", "versions", "data"} <= set(known)
    assert "torch" in known["versions"]
    assert "Fashion-MNIST" in meta(IMAGES_FILE, "images")["data"]


@pytest.mark.nojit
def test_forward_is_a_plain_perceptron(
    network: Network, images: tuple[np.ndarray, np.ndarray]
) -> None:
    x = images[0][:100]
    before = x.copy()
    logits = forward(network, x, digital(network))
    assert (logits.dtype, logits.shape) == (np.float32, (100, 10))
    # n·eps·Σ|x||w| through all layers: the products of magnitudes
    bound = np.abs(x).astype(np.float64)
    for name in network.names:
        bound = bound @ np.abs(network.weights[name]).T + np.abs(network.biases[name])
    terms = sum(shape[1] + 2 for shape in SHAPES.values())
    error = np.abs(logits - plain(network, x))
    assert (error <= terms * np.finfo(np.float32).eps * bound).all()
    assert np.array_equal(x, before)


def test_products_are_the_callers(network: Network, images: tuple[np.ndarray, np.ndarray]) -> None:
    zero = {name: lambda x, out=shape[0]: np.zeros((len(x), out)) for name, shape in SHAPES.items()}
    logits = forward(network, images[0][:3], zero)
    assert np.array_equal(logits, np.tile(network.biases["fc3"], (3, 1)))


def test_an_ideal_core_predicts_the_same(
    network: Network, images: tuple[np.ndarray, np.ndarray]
) -> None:
    x = images[0]
    matrices = fa.program(
        network.weights, fa.presets.ideal(), seed=0, input_range=100.0
    )  # nothing saturates
    analog = forward(network, x, {name: matrix.mvm for name, matrix in matrices.items()})
    expected = forward(network, x, digital(network))
    assert np.allclose(analog, expected, atol=1e-3)
    assert np.array_equal(analog.argmax(axis=1), expected.argmax(axis=1))


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"fc4": None}, r"layers must have the names 'fc1', 'fc2', 'fc3', got 'fc4' \(did you"),
        ({"fc2": ...}, "layers must have the names 'fc1', 'fc2', 'fc3', none for 'fc2'"),
        ({"fc1": 3}, r"layers\['fc1'\] must be a function, such as matrix.mvm, got int"),
        ({"fc3": lambda x: x}, r"layers\['fc3'\]\(x\) must have shape \(2, 10\), got \(2, 128\)"),
    ],
)
def test_wrong_layers(network: Network, layers: dict[str, Any], message: str) -> None:
    products = {n: p for n, p in {**digital(network), **layers}.items() if p is not ...}
    with pytest.raises(InputError, match=message):
        forward(network, np.zeros((2, 784)), products)


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("images", "layers", "message"),
    [
        (np.zeros(784), {}, r"images must have shape \(batch, 784\), got \(784,\)"),
        (np.zeros((2, 28, 28)), {}, r"images must have shape \(batch, 784\), got \(2, 28, 28\)"),
        (["shoe"], {}, "images must be real numbers"),
        (np.zeros((2, 784)), 7, "layers must be a mapping of names to functions, got 7"),
    ],
)
def test_wrong_images(network: Network, images: Any, layers: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        forward(network, images, layers if layers == 7 else digital(network))


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        ([0.5, 0.5], [1, 1], r"logits must have shape \(batch, classes\), got \(2,\)"),
        (np.zeros((0, 10)), [], "labels must be real numbers"),
        (np.zeros((0, 10)), np.zeros(0, int), r"logits must have shape .*, got \(0, 10\)"),
        ([[0.5, 0.5]], [1, 1], r"labels must have shape \(1,\), got \(2,\)"),
        ([[0.5, np.nan]], [1], "logits must not hold NaN"),
    ],
)
def test_wrong_scores(logits: Any, labels: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        accuracy(logits, labels)


@pytest.mark.nojit
def test_accuracy_counts() -> None:
    assert accuracy(np.eye(4), [0, 1, 2, 0]) == 0.75
