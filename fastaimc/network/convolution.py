"""Convolutions as products: every position's patch of the input is a vector (im2col)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fastaimc.errors import InputError
from fastaimc.network.layers import AnalogLayer


class AnalogConv(AnalogLayer):
    """`torch.nn.Conv1d` or `Conv2d` on cores: a matrix for each group.

    A row of a matrix is an output channel, a column a value of the patch in the order (channel,
    row, column), as in the weights of PyTorch.
    """

    def __init__(
        self, source: nn.Conv1d | nn.Conv2d, names: tuple[str, ...], matrices: list[Any]
    ) -> None:
        super().__init__(type(source).__name__, names, matrices)
        self.register_parameter("bias", source.bias)
        self.flat = isinstance(source, nn.Conv1d)
        self.in_channels, self.groups = source.in_channels, source.groups
        self.mode = "constant" if source.padding_mode == "zeros" else source.padding_mode
        self.pads = _pads(source)
        # A signal is an image of one row.
        one = (1,) if self.flat else ()
        self.kernel = (*one, *source.kernel_size)
        self.stride = (*one, *source.stride)
        self.dilation = (*one, *source.dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, out, ...) of inputs (batch, in, ...), in their dtype and memory format."""
        self.check(x)
        axes = 2 if self.flat else 3
        if x.dim() not in (axes, axes + 1) or x.shape[-axes] != self.in_channels:
            shape = f"({self.in_channels}, {'length' if self.flat else 'height, width'})"
            raise InputError(
                f"inputs of {self.names[0]!r} must be {shape} or a batch of them, "
                f"got shape {tuple(x.shape)}"
            )
        images = x if x.dim() == axes + 1 else x.unsqueeze(0)
        images = images.detach().to(torch.float32)
        if any(self.pads):
            images = functional.pad(images, self.pads, mode=self.mode)
        y = self.convolve((images.unsqueeze(2) if self.flat else images).numpy())
        last = x.dim() == 4 and not x.is_contiguous()
        last = last and x.is_contiguous(memory_format=torch.channels_last)
        y = y.transpose(0, 3, 1, 2)
        out = torch.from_numpy(y if last else np.ascontiguousarray(y)).to(x.dtype)
        out = out.squeeze(2) if self.flat else out
        return out if x.dim() == axes + 1 else out.squeeze(0)

    def convolve(self, images: np.ndarray) -> np.ndarray:
        """Return outputs (batch, row, column, out) of padded images (batch, in, row, column)."""
        sizes = [
            (size - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, dilation, stride in zip(
                images.shape[2:], self.kernel, self.dilation, self.stride, strict=True
            )
        ]
        if min(sizes) < 1:
            raise InputError(
                f"inputs of {self.names[0]!r} must be at least as large as its kernel, got "
                f"{images.shape[3 if self.flat else 2 :]} with padding"
            )
        each = self.in_channels // self.groups
        bases, offsets = self.places(images.shape[3], sizes, each)
        # Channels come last: a window of the first place is some whole pieces of memory.
        source = images.transpose(0, 2, 3, 1)
        parts = []
        for index, matrix in enumerate(self.matrices):
            own = source[..., index * each : (index + 1) * each]
            values = np.ascontiguousarray(own).reshape(len(images), math.prod(own.shape[1:]))
            parts.append(matrix.windows(values, bases, offsets))
        out = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        if self.bias is not None:
            out += self.bias.detach().to(torch.float32).numpy()
        return out.reshape(len(images), *sizes, out.shape[1])

    def places(self, width: int, sizes: list[int], channels: int) -> tuple[np.ndarray, np.ndarray]:
        """Return where windows begin and what is where in them; see `AnalogMatrix.windows`.

        Images are (row, column, channel), of so many columns and channels; windows go by row and
        column, their values by channel, row and column.
        """
        steps = np.array([width * channels, channels])
        rows, columns = (
            np.arange(size) * stride * step
            for size, stride, step in zip(sizes, self.stride, steps, strict=True)
        )
        down, right = (
            np.arange(size) * dilation * step
            for size, dilation, step in zip(self.kernel, self.dilation, steps, strict=True)
        )
        bases = rows[:, None] + columns
        offsets = np.arange(channels)[:, None, None] + down[:, None] + right
        return bases.reshape(-1), offsets.reshape(-1)


def _pads(source: nn.Conv1d | nn.Conv2d) -> tuple[int, ...]:
    """Return what is added before and behind each axis, the last one first, as `pad` takes it."""
    pads: list[int] = []
    for axis in reversed(range(len(source.kernel_size))):
        if source.padding == "same":  # the odd one goes behind
            whole = source.dilation[axis] * (source.kernel_size[axis] - 1)
            pads += [whole // 2, whole - whole // 2]
        elif source.padding == "valid":
            pads += [0, 0]
        else:
            pads += [source.padding[axis]] * 2
    return tuple(pads)
