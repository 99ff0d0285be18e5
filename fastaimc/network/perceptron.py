"""The default network: a multilayer perceptron for Fashion-MNIST, and images to test it with.

Trained by ``tools/train_default.py``. The products may be analog; biases and ReLU are digital.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Any

import numpy as np

from fastaimc.errors import InputError, nearest
from fastaimc.mapping import real_array
from fastaimc.storage import read, require

NETWORK_FILE = "fashion_mlp.npz"
IMAGES_FILE = "fashion_test.npz"
PIXELS = 784
CLASSES = 10

Layer = Callable[[np.ndarray], Any]  # x (batch, in) -> x @ W.T (batch, out)


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A multilayer perceptron: products with bias, and ReLU between them.

    Attributes
    ----------
    names : tuple of str
        Layers, from the input to the logits.
    weights : dict of ndarray
        (out, in), float32.
    biases : dict of ndarray
        (out,), float32: digital, also where the product is analog.
    input_ranges : dict of float
        99.9th percentile of what each layer gets from the training images: `program` takes it.
    accuracy : float
        Digital, on all 10,000 test images.
    """

    names: tuple[str, ...]
    weights: dict[str, np.ndarray]
    biases: dict[str, np.ndarray]
    input_ranges: dict[str, float]
    accuracy: float


def default_network() -> Network:
    """Return the network that comes with the package: 784-256-128-10.

    Examples
    --------
    >>> from fastaimc.network.perceptron import default_network
    >>> {name: weights.shape for name, weights in default_network().weights.items()}
    {'fc1': (256, 784), 'fc2': (128, 256), 'fc3': (10, 128)}
    """
    arrays, meta = _read(NETWORK_FILE, "network")
    names = tuple(meta["layers"])
    weights, biases = {}, {}
    width = PIXELS
    for name in names:
        array = require(arrays, f"{name}/weight", (None, width), np.float16, NETWORK_FILE)
        width = len(array)
        bias = require(arrays, f"{name}/bias", (width,), np.float32, NETWORK_FILE)
        weights[name], biases[name] = array.astype(np.float32), bias
    ranges = {name: float(meta["input_ranges"][name]) for name in names}
    return Network(names, weights, biases, ranges, float(meta["accuracy"]["test"]))


def default_images() -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels of Fashion-MNIST: the first 200 of each class of its test set.

    Returns
    -------
    images : ndarray
        (2000, 784), float32, from 0 to 1.
    labels : ndarray
        (2000,), int64, from 0 to 9.
    """
    arrays, _ = _read(IMAGES_FILE, "images")
    images = require(arrays, "images", (None, PIXELS), np.uint8, IMAGES_FILE)
    labels = require(arrays, "labels", (len(images),), np.uint8, IMAGES_FILE)
    return images.astype(np.float32) / np.float32(255), labels.astype(np.int64)


def forward(network: Network, images: object, layers: Mapping[str, Layer]) -> np.ndarray:
    """Return the logits of images, with somebody else's products.

    Parameters
    ----------
    network : Network
        Its biases are used, and the shapes of its weights.
    images : array_like
        (batch, in), real numbers from 0 to 1.
    layers : mapping of str to callable
        For each layer a function ``x -> x @ W.T``, as `digital` returns and `AnalogMatrix.mvm` is.

    Returns
    -------
    ndarray
        (batch, classes), float32.

    Raises
    ------
    InputError
        If a layer is missing, unknown or no function, or a shape is wrong.

    Examples
    --------
    >>> from fastaimc.network.perceptron import default_images, default_network, digital, forward
    >>> network, (images, _) = default_network(), default_images()
    >>> forward(network, images[:5], digital(network)).shape
    (5, 10)
    """
    _check_layers(network, layers)
    x = real_array("images", images, "fiu").astype(np.float32, copy=False)
    width = network.weights[network.names[0]].shape[1]
    if x.ndim != 2 or x.shape[1] != width:
        raise InputError(f"images must have shape (batch, {width}), got {x.shape}")
    for name in network.names:
        if name != network.names[0]:
            x = np.maximum(x, np.float32(0))
        product = real_array(f"layers[{name!r}](x)", layers[name](x), "f")
        expected = (len(x), len(network.biases[name]))
        if product.shape != expected:
            raise InputError(f"layers[{name!r}](x) must have shape {expected}, got {product.shape}")
        x = product.astype(np.float32, copy=False) + network.biases[name]
    return x


def digital(network: Network) -> dict[str, Layer]:
    """Return the products of all layers in float32, without any core."""
    return {name: partial(_product, network.weights[name]) for name in network.names}


def accuracy(logits: object, labels: object) -> float:
    """Return the part of the images whose largest logit is that of their label.

    Parameters
    ----------
    logits : array_like
        (batch, classes), real numbers and no NaN.
    labels : array_like
        (batch,), integers.

    Examples
    --------
    >>> from fastaimc.network.perceptron import accuracy
    >>> accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1])
    0.5
    """
    scores = real_array("logits", logits, "fiu")
    truth = real_array("labels", labels, "iu")
    if scores.ndim != 2 or scores.size == 0:
        raise InputError(f"logits must have shape (batch, classes), got {scores.shape}")
    if truth.shape != scores.shape[:1]:
        raise InputError(f"labels must have shape {scores.shape[:1]}, got {truth.shape}")
    if np.isnan(scores).any():
        raise InputError("logits must not hold NaN")
    return float(np.mean(scores.argmax(axis=1) == truth))


def _product(weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    product: np.ndarray = x @ weights.T
    return product


def _check_layers(network: Network, layers: Mapping[str, Layer]) -> None:
    if not isinstance(layers, Mapping):
        raise InputError(f"layers must be a mapping of names to functions, got {layers!r}")
    wanted = ", ".join(repr(name) for name in network.names)
    for name in layers:
        if name not in network.names:
            hint = nearest(name, network.names)
            raise InputError(f"layers must have the names {wanted}, got {name!r}{hint}")
    for name in network.names:
        if name not in layers:
            raise InputError(f"layers must have the names {wanted}, none for {name!r}")
        if not callable(layers[name]):
            rule = "be a function, such as matrix.mvm"
            raise InputError(f"layers[{name!r}] must {rule}, got {type(layers[name]).__name__}")


def _read(name: str, kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    with resources.as_file(resources.files("fastaimc").joinpath("data", name)) as path:
        return read(path, kind)
