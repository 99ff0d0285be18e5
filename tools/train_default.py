"""Train the default network and cut out the test images that come with the package.

The network is a multilayer perceptron 784-256-128-10 with ReLU and biases for Fashion-MNIST; pixels
are scaled to [0, 1].  It is trained by AdamW with dropout and mirrored images for a fixed number of
epochs: the test images choose nothing and are looked at once, at the end.
Takes some five minutes on two cores.

    sudo apt-get install dataset-fashion-mnist       # the data, 30 MB, MIT licence
    python -m venv .venv-torch                     # PyTorch is a tool, no dependency
    .venv-torch/bin/pip install torch==2.13.0 -e .
    .venv-torch/bin/python tools/train_default.py

Writes, into fastaimc/data/:

    fashion_mlp.npz     weights (float16) and biases (float32) of the layers fc1, fc2, fc3;
                        in its meta.json the accuracies of what is written, the input range of each
                        layer (99.9th percentile of |activation| on the training images), how it was
                        trained, versions, seed and date
    fashion_test.npz    the first 200 test images of each class, uint8, and their labels

The same seed, threads, versions and processor give the same arrays.  Nothing is written if the
accuracy on the 10,000 test images is below 88 %.
"""

from __future__ import annotations

import argparse
import datetime as dt
import gzip
import itertools
import platform
from pathlib import Path
from typing import Any

import numpy as np

from fastaimc import storage
from fastaimc.network import perceptron as net

DATA = Path("/usr/share/datasets/fashion-mnist")
OUT = Path(__file__).resolve().parent.parent / "fastaimc" / "data"
WIDTHS = (net.PIXELS, 256, 128, net.CLASSES)
NAMES = ("fc1", "fc2", "fc3")
RECIPE = {"epochs": 40, "batch": 128, "max_lr": 2e-3, "weight_decay": 1e-2, "dropout": 0.2}
LEAST_ACCURACY = 0.88
PERCENTILE = 99.9
PER_CLASS = 200

Labelled = tuple[np.ndarray, np.ndarray]


def read_idx(path: Path, magic: int) -> np.ndarray:
    """Return the bytes of an IDX file of images (magic 2051) or labels (2049), a row each."""
    with gzip.open(path) as file:
        content = file.read()
    found, count = np.frombuffer(content, ">i4", 2)
    if found != magic:
        raise SystemExit(f"{path} must begin with {magic}, got {found}")
    dimensions = magic & 0xFF
    values = np.frombuffer(content, np.uint8, offset=4 * (1 + dimensions))
    return values.reshape((count, net.PIXELS) if dimensions == 3 else (count,))


def load(folder: Path, part: str) -> Labelled:
    """Return images (n, 784) and labels (n,) of one part of Fashion-MNIST, both uint8."""
    try:
        images = read_idx(folder / f"{part}-images-idx3-ubyte.gz", 2051)
        labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz", 2049)
    except FileNotFoundError as error:
        fix = "apt-get install dataset-fashion-mnist, or --data FOLDER"
        raise SystemExit(f"{error.filename} is missing: {fix}") from None
    return images, labels


def scaled(images: np.ndarray) -> np.ndarray:
    """Return images as the network takes them: float32 from 0 to 1."""
    return images.astype(np.float32) / np.float32(255)


def train(images: np.ndarray, labels: np.ndarray, seed: int, threads: int) -> list[Any]:
    """Return the trained linear layers."""
    try:
        import torch
    except ImportError:
        raise SystemExit("needs PyTorch: pip install torch==2.13.0 (see --help)") from None
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    x, y = torch.from_numpy(scaled(images)), torch.from_numpy(labels.astype(np.int64))
    linear = [torch.nn.Linear(*pair) for pair in itertools.pairwise(WIDTHS)]
    between = [torch.nn.ReLU(), torch.nn.Dropout(RECIPE["dropout"])]
    model = torch.nn.Sequential(linear[0], *between, linear[1], *between, linear[2])
    epochs, batch = int(RECIPE["epochs"]), int(RECIPE["batch"])
    steps = -(-len(x) // batch)
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=RECIPE["weight_decay"])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, RECIPE["max_lr"], total_steps=epochs * steps
    )
    for epoch in range(1, epochs + 1):
        total = 0.0
        for chosen in torch.randperm(len(x)).split(batch):
            square = x[chosen].view(-1, 28, 28)
            mirrored = torch.rand(len(chosen), 1, 1) < 0.5
            square = torch.where(mirrored, square.flip(2), square)
            loss = torch.nn.functional.cross_entropy(model(square.flatten(1)), y[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(chosen)
        print(f"epoch {epoch:2d} of {epochs}: loss {total / len(x):.4f}", flush=True)
    return linear


def arrays_of(linear: list[Any]) -> dict[str, np.ndarray]:
    """Return what is stored: weights rounded to float16, biases in float32."""
    arrays = {}
    for name, layer in zip(NAMES, linear, strict=True):
        arrays[f"{name}/weight"] = layer.weight.detach().numpy().astype(np.float16)
        arrays[f"{name}/bias"] = layer.bias.detach().numpy().astype(np.float32)
    return arrays


def as_network(arrays: dict[str, np.ndarray]) -> net.Network:
    """Return stored arrays as a network whose ranges and accuracy are not known yet."""
    weights = {name: arrays[f"{name}/weight"].astype(np.float32) for name in NAMES}
    return net.Network(NAMES, weights, {n: arrays[f"{n}/bias"] for n in NAMES}, {}, 0.0)


def measure_ranges(network: net.Network, images: np.ndarray) -> dict[str, float]:
    """Return the percentile of |activation| that each layer gets."""
    ranges = {}
    products = net.digital(network)

    def watched(name: str) -> net.Layer:
        def layer(x: np.ndarray) -> Any:
            ranges[name] = round(float(np.percentile(np.abs(x), PERCENTILE)), 4)
            return products[name](x)

        return layer

    net.forward(network, scaled(images), {name: watched(name) for name in NAMES})
    return ranges


def measure_accuracy(network: net.Network, data: Labelled) -> float:
    """Return the digital accuracy on labelled images."""
    return net.accuracy(net.forward(network, scaled(data[0]), net.digital(network)), data[1])


def first_of_each_class(data: Labelled) -> Labelled:
    """Return the first images of each class, in the order of the whole set."""
    images, labels = data
    each = [np.flatnonzero(labels == label)[:PER_CLASS] for label in range(net.CLASSES)]
    chosen = np.sort(np.concatenate(each))
    return images[chosen], labels[chosen]


def versions() -> dict[str, str]:
    """Return what the arrays depend on besides seed and processor."""
    import torch

    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": str(torch.__version__),
    }


def main() -> None:
    """Train, measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help=f"IDX files (default: {DATA})")
    parser.add_argument("--out", type=Path, default=OUT, help="where to write, a folder")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and dropout")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch (default: 2)")
    given = parser.parse_args()
    if not given.out.is_dir():
        parser.error(f"--out must be a folder that exists, got {given.out}")
    training, test = load(given.data, "train"), load(given.data, "t10k")
    arrays = arrays_of(train(*training, given.seed, given.threads))
    network, shipped = as_network(arrays), first_of_each_class(test)
    parts = {"train": training, "test": test, "images": shipped}
    accuracies = {part: measure_accuracy(network, data) for part, data in parts.items()}
    for part, value in accuracies.items():
        print(f"accuracy on {len(parts[part][1])} images ({part}): {value:.4f}")
    if accuracies["test"] < LEAST_ACCURACY:
        raise SystemExit(f"accuracy must be at least {LEAST_ACCURACY}: nothing was written")
    meta = {
        "layers": list(NAMES),
        "input_ranges": measure_ranges(network, training[0]),
        "accuracy": accuracies,
        "data": "Fashion-MNIST (Zalando, MIT), pixels / 255",
        "recipe": RECIPE,
        "seed": given.seed,
        "threads": given.threads,
        "versions": versions(),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
    }
    print(f"input ranges: {meta['input_ranges']}")
    storage.write(given.out / net.NETWORK_FILE, "network", arrays, meta)
    origin = {"data": f"Fashion-MNIST (Zalando, MIT), the first {PER_CLASS} of each test class"}
    images = {"images": shipped[0], "labels": shipped[1]}
    storage.write(given.out / net.IMAGES_FILE, "images", images, origin)
    for name in (net.NETWORK_FILE, net.IMAGES_FILE):
        print(f"wrote {given.out / name}: {(given.out / name).stat().st_size} bytes")


if __name__ == "__main__":
    main()
