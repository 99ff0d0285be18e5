"""Convolutions as products: every position's patch of the input is a vector (im2col)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastaimc.errors import InputError
from fastaimc.network.layers import AnalogLayer

PATCH_VALUES = 2**24  # of the images that are unfolded at a time: 64 MB


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
        parts = [self.patches(part) for part in images.split(step)] if len(images) else []
        channels = sum(matrix.shape[0] for matrix in self.matrices)
        y = torch.cat(parts) if parts else images.new_empty((0, high * wide, channels))
        if self.bias is not None:
            y = y + self.bias.to(torch.float32)
        return y.transpose(1, 2).reshape(len(images), channels, high, wide)

    def patches(self, images: Tensor) -> Tensor:
        """Return the products of all patches, (batch, position, out)."""
        columns = functional.unfold(images, self.kernel, self.dilation, 0, self.stride)
        groups = columns.transpose(1, 2).chunk(self.groups, dim=2)
        return torch.cat([self.product(i, x, None) for i, x in enumerate(groups)], dim=2)


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
