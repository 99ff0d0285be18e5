"""Convolutions as products: every position's patch of the input is a vector (im2col)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor, nn
from torch.nn import functional

from fastaimc.errors import InputError
from fastaimc.network.layers import AnalogLayer

PATCH_VALUES = 2**20  # of the images that are unfolded at a time: 4 MB stay in cache


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
        y = self.convolve(images.unsqueeze(2) if self.flat else images)
        y = y.squeeze(2) if self.flat else y
        y = (y if x.dim() == axes + 1 else y.squeeze(0)).to(x.dtype)
        last = x.dim() == 4 and not x.is_contiguous()
        last = last and x.is_contiguous(memory_format=torch.channels_last)
        return y.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)

    def convolve(self, images: Tensor) -> Tensor:
        """Return outputs of padded images (batch, in, row, column), a few images at a time."""
        high, wide = (
            (size - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, dilation, stride in zip(
                images.shape[2:], self.kernel, self.dilation, self.stride, strict=True
            )
        )
        if high < 1 or wide < 1:
            raise InputError(
                f"inputs of {self.names[0]!r} must be at least as large as its kernel, got "
                f"{tuple(images.shape[3 if self.flat else 2 :])} with padding"
            )
        each = self.in_channels * self.kernel[0] * self.kernel[1] * high * wide
        step = max(1, PATCH_VALUES // each)
        channels = sum(matrix.shape[0] for matrix in self.matrices)
        out = np.empty((len(images), high * wide, channels), dtype=np.float32)
        for low in range(0, len(images), step):
            self.patches(images[low : low + step].numpy(), out[low : low + step])
        y = torch.from_numpy(out)
        if self.bias is not None:
            y = y + self.bias.to(torch.float32)
        return y.transpose(1, 2).reshape(len(images), channels, high, wide)

    def patches(self, images: np.ndarray, out: np.ndarray) -> None:
        """Write the products of all patches, (batch, position, out)."""
        # Windows and one copy: `torch.nn.functional.unfold` takes ten times as long.
        seen = [(kernel - 1) * d + 1 for kernel, d in zip(self.kernel, self.dilation, strict=True)]
        windows = sliding_window_view(images, seen, axis=(2, 3))
        (down, right), (skip, hop) = self.stride, self.dilation
        windows = windows[:, :, ::down, ::right, ::skip, ::hop]
        windows = windows.transpose(0, 2, 3, 1, 4, 5)  # (batch, ..., channel, row, column)
        each = out.shape[2] // self.groups
        for index, x in enumerate(np.split(windows, self.groups, axis=3)):
            product = self.multiply(index, x.reshape(*out.shape[:2], -1))
            out[:, :, index * each : (index + 1) * each] = product


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
