r"""ResNet-9, and its training on CIFAR-10.

    python bench/experiments/resnet9.py --data ../shared/data/cifar10_jpeg.tar.xz
    python bench/experiments/resnet9.py --data ../shared/data/cifar10_jpeg.tar.xz \
        --widths 64 128 256 512 --epochs 16 --classifier-rate 0.015625

Interrupted, it goes on with the next epoch when it is called again.  The weights, folded with
nothing, are saved as float16 in bench/results; no random number depends on where it was
interrupted.  Needs PyTorch and Pillow.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import cifar10
import numpy as np
import torch
from rich.progress import track
from safetensors.torch import load_file, save_file
from tables import RESULTS
from torch import nn
from torch.nn import functional

WIDTHS = (28, 56, 112, 112)  # its 3×3 convolutions have 252 and 504 and 1,008 rows of a crossbar
BATCH = 512
EPOCHS = 24
RATE = 0.4  # largest, of a batch of 512
MOMENTUM = 0.9
DECAY = 5e-4
SMOOTHING = 0.1
WARM_UP = 0.2  # part of the training in which the rate rises
PADDING = 4  # of random crops
HOLE = 8  # side of the square that is cut out
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.262)  # of CIFAR-10's training images
SEED = 1


def convolution(inputs: int, outputs: int, pool: bool = False) -> nn.Sequential:
    """Return a 3×3 convolution with batch norm and ReLU, and a pooling of two by two."""
    layers = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, nn.ReLU(), *([nn.MaxPool2d(2)] if pool else []))


class Residual(nn.Module):  # type: ignore[misc, unused-ignore]
    """Two convolutions and a way around them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(convolution(width, width), convolution(width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the input and what the convolutions add to it."""
        return x + self.inner(x)


def resnet9(widths: tuple[int, ...] = WIDTHS) -> nn.Sequential:
    """Return the network: eight convolutions and a linear layer."""
    first, second, third, fourth = widths
    return nn.Sequential(
        convolution(3, first),
        convolution(first, second, pool=True),
        Residual(second),
        convolution(second, third, pool=True),
        convolution(third, fourth, pool=True),
        Residual(fourth),
        nn.MaxPool2d(4),
        nn.Flatten(),
        nn.Linear(fourth, len(cifar10.CLASSES)),
    )


def normalised(images: np.ndarray) -> torch.Tensor:
    """Return images (n, 3, 32, 32) of bytes as the network takes them."""
    x = torch.from_numpy(images).float() / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def augmented(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return images shifted, mirrored and with a hole, each by chance."""
    n, _, height, width = x.shape
    padded = functional.pad(x, (PADDING,) * 4, mode="reflect").permute(0, 2, 3, 1)
    shifts = torch.randint(0, 2 * PADDING + 1, (2, n, 1), generator=generator)
    holes = torch.randint(0, height - HOLE + 1, (2, n, 1), generator=generator)
    mirrored = torch.rand((n, 1), generator=generator) < 0.5
    down, right = torch.arange(height), torch.arange(width)
    rows, columns = shifts[0] + down, shifts[1] + torch.where(mirrored, right.flip(0), right)
    out = padded[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    above, left = (down - holes[0], right - holes[1])
    inside = [(at >= 0) & (at < HOLE) for at in (above, left)]
    out[inside[0][:, :, None] & inside[1][:, None, :]] = 0
    return out.permute(0, 3, 1, 2)  # channels last


def rate_at(step: float, steps: int) -> float:
    """Return the learning rate: up in a line, down in a line."""
    done = step / steps
    return RATE * min(done / WARM_UP, max((1 - done) / (1 - WARM_UP), 0.0))


def has_bf16() -> bool:
    """Whether the processor multiplies bfloat16; older versions of PyTorch do not say."""
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(known.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def accuracy(model: nn.Module, x: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the part of images that a network names rightly."""
    model.eval()
    with torch.inference_mode():
        found = torch.cat([model(part).argmax(1) for part in x.split(1000)])
    return float((found == labels).float().mean())


def train_epoch(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    data: tuple[torch.Tensor, torch.Tensor],
    epoch: int,
    epochs: int,
) -> float:
    """Train once on all images, in an order of the epoch's own; return the mean loss."""
    model.train()
    x, labels = data
    generator = torch.Generator().manual_seed(1000 * SEED + epoch)
    order = torch.randperm(len(x), generator=generator).split(BATCH)
    total = 0.0
    for number, chosen in enumerate(track(order, description=f"epoch {epoch + 1} of {epochs}")):
        for group in optimiser.param_groups:
            group["lr"] = group["part"] * rate_at(epoch + number / len(order), epochs)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=has_bf16()):
            outputs = model(augmented(x[chosen], generator))
        loss = functional.cross_entropy(outputs.float(), labels[chosen], label_smoothing=SMOOTHING)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        total += loss.item() * len(chosen)
    return total / len(x)


def optimiser_of(model: nn.Sequential, classifier: float) -> torch.optim.Optimizer:
    """Return the optimiser; the last layer learns at a part of the others' rate.

    A step moves an output by the rate times the squared length of the last layer's input, which
    grows with the width: the larger network begins with a loss of 5 where that is not held down.
    """
    last = list(model[-1].parameters())
    others = list(model[:-1].parameters())
    groups = [{"params": others, "part": 1.0}, {"params": last, "part": classifier}]
    return torch.optim.SGD(groups, lr=RATE, momentum=MOMENTUM, weight_decay=DECAY, nesterov=True)


def parameters_of(optimiser: torch.optim.Optimizer) -> list[torch.Tensor]:
    """Return the parameters of all its groups."""
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def save_state(path: Path, model: nn.Module, optimiser: Any, log: list[dict[str, float]]) -> None:
    """Write all that an interrupted training needs, beside and renamed."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, parameter in enumerate(parameters_of(optimiser)):
        momentum = optimiser.state[parameter].get("momentum_buffer")
        if momentum is not None:
            tensors[f"momentum.{index}"] = momentum
    beside = path.with_suffix(".part")
    save_file({k: v.contiguous() for k, v in tensors.items()}, beside, {"log": json.dumps(log)})
    beside.replace(path)


def load_state(path: Path, model: nn.Module, optimiser: Any) -> list[dict[str, float]]:
    """Read what `save_state` wrote; return the log of the epochs done."""
    from safetensors import safe_open

    tensors = load_file(path)
    model.load_state_dict(
        {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    )
    for index, parameter in enumerate(parameters_of(optimiser)):
        if f"momentum.{index}" in tensors:
            optimiser.state[parameter]["momentum_buffer"] = tensors[f"momentum.{index}"]
    with safe_open(path, framework="pt") as file:
        log: list[dict[str, float]] = json.loads(file.metadata()["log"])
    return log


def weights_file(widths: tuple[int, ...]) -> Path:
    """Return where a trained network is."""
    return RESULTS / f"resnet9_{'-'.join(map(str, widths))}.safetensors"


def trained(widths: tuple[int, ...] = WIDTHS) -> nn.Module:
    """Return the network that was trained, in evaluation mode."""
    model = resnet9(widths)
    state = {name: value.float() for name, value in load_file(weights_file(widths)).items()}
    model.load_state_dict(state, strict=False)  # batches that were counted are of no use
    return model.eval().to(memory_format=torch.channels_last)


def train(source: Path, widths: tuple[int, ...], epochs: int, classifier: float = 1.0) -> None:
    """Train, and save the weights."""
    kind, (images, labels), (test_images, test_labels) = cifar10.load(source)
    data = normalised(images), torch.from_numpy(labels)
    test = normalised(test_images), torch.from_numpy(test_labels)
    torch.manual_seed(SEED)
    model = resnet9(widths).to(memory_format=torch.channels_last)
    optimiser = optimiser_of(model, classifier)
    path = weights_file(widths).with_suffix(".training")
    log = load_state(path, model, optimiser) if path.exists() else []
    for epoch in range(len(log), epochs):
        loss = train_epoch(model, optimiser, data, epoch, epochs)
        if not math.isfinite(loss):
            raise ArithmeticError(f"the loss is {loss} after epoch {epoch + 1}: lower the rate")
        log.append({"loss": loss, "accuracy": accuracy(model, *test)})
        print(f"epoch {epoch + 1}: loss {loss:.3f}, test accuracy {log[-1]['accuracy']:.4f}")
        save_state(path, model, optimiser, log)
    state = {k: v.half().contiguous() for k, v in model.state_dict().items() if "num_" not in k}
    about = {"data": kind, "epochs": str(epochs), "seed": str(SEED), "log": json.dumps(log)}
    about |= {"classifier_rate": str(classifier), "torch": torch.__version__}
    save_file(state, weights_file(widths), about)
    print(f"{kind}, float16 weights: {accuracy(trained(widths), *test):.4f}")
    path.unlink()


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="see cifar10.py")
    parser.add_argument("--widths", type=int, nargs=4, default=list(WIDTHS))
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument(
        "--classifier-rate", type=float, default=1.0, help="part of the rate for the last layer"
    )
    options = parser.parse_args()
    train(options.data, tuple(options.widths), options.epochs, options.classifier_rate)


if __name__ == "__main__":
    main()
