"""Layers of a PyTorch model whose products are those of programmed matrices."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastaimc.config import CoreConfig
from fastaimc.errors import InputError, check_integer, check_number
from fastaimc.network.allocation import Tile, tiles_of

MOST_NUMBER = 2**44  # half of the numbers that a matrix leaves to its user


class AnalogLayer(nn.Module):  # type: ignore[misc]
    """What analog layers have in common: matrices, and a digital bias.

    Attributes
    ----------
    kind : str
        The layer it stands for, such as "Linear".
    names : tuple of str
        Of its matrices, as they were programmed.
    matrices : list
        An `AnalogMatrix` each; while input ranges are calibrated, what counts inputs instead.
    """

    def __init__(self, kind: str, names: tuple[str, ...], matrices: list[Any]) -> None:
        super().__init__()
        self.kind = kind
        self.names = names
        self.matrices = matrices
        self.training = False

    def get_extra_state(self) -> Tensor:
        """Return the number of the next vector in each matrix's stream of noise, (matrix,)."""
        return torch.tensor([matrix.number for matrix in self.matrices], dtype=torch.int64)

    def set_extra_state(self, state: Tensor) -> None:
        """Let the matrices go on at those numbers."""
        count = len(self.matrices)
        if not isinstance(state, Tensor) or state.shape != (count,):
            raise InputError(
                f"state_dict must have {count} numbers of vectors for {self.names[0]!r}"
            )
        for matrix, number in zip(self.matrices, state.tolist(), strict=True):
            matrix.number = number

    def extra_repr(self) -> str:
        """Return what `print` shows of the layer."""
        shapes = {matrix.shape: None for matrix in self.matrices}
        return f"{self.kind}, {len(self.matrices)} × {', '.join(map(str, shapes))}"

    def check(self, *inputs: Tensor) -> None:
        """Raise `InputError` for what a core cannot take."""
        if self.training:
            raise InputError("a converted model only infers: call model.eval()")
        for x in inputs:
            if x.device.type != "cpu":
                raise InputError(f"inputs of {self.names[0]!r} must be on the CPU, got {x.device}")
            if not x.is_floating_point():
                raise InputError(f"inputs of {self.names[0]!r} must be floating, got {x.dtype}")

    def product(self, index: int, x: Tensor, bias: Tensor | None) -> Tensor:
        """Return a matrix's product and the bias, (..., out), of inputs (..., in), in float32."""
        y = torch.from_numpy(self.matrices[index].mvm(x.detach().to(torch.float32).numpy()))
        return y if bias is None else y + bias.to(torch.float32)


class AnalogLinear(AnalogLayer):
    """`torch.nn.Linear` on cores."""

    def __init__(self, source: nn.Linear, names: tuple[str, ...], matrices: list[Any]) -> None:
        super().__init__("Linear", names, matrices)
        self.register_parameter("bias", source.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., out) of inputs (..., in), in their dtype."""
        self.check(x)
        return self.product(0, x, self.bias).to(x.dtype)


class AnalogAttention(AnalogLayer):
    """`torch.nn.MultiheadAttention` whose projections are on cores.

    Its four matrices project query, key, value and output.
    """

    def __init__(
        self, source: nn.MultiheadAttention, names: tuple[str, ...], matrices: list[Any]
    ) -> None:
        super().__init__("MultiheadAttention", names, matrices)
        self.embed_dim, self.num_heads = source.embed_dim, source.num_heads
        self.batch_first, self.add_zero_attn = source.batch_first, source.add_zero_attn
        # Transformer layers ask for it: their fused path would take weights that are not here.
        self._qkv_same_embed_dim = False
        for name in ("in_proj_bias", "bias_k", "bias_v"):
            self.register_parameter(name, getattr(source, name))
        self.register_parameter("out_bias", source.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return outputs and attention as `torch.nn.MultiheadAttention` does."""
        self.check(query, key, value)
        biases = [None] * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        turned = self.batch_first and query.dim() == 3
        q, k, v = (
            self.product(index, x, bias).to(query.dtype)
            for index, (x, bias) in enumerate(zip((query, key, value), biases, strict=True))
        )
        if turned:
            q, k, v = q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1)
        # Masks and heads are PyTorch's own.  What is projected is handed through by identities,
        # which change no bit.
        same = torch.eye(self.embed_dim, dtype=query.dtype)
        out, weights = functional.multi_head_attention_forward(
            q,
            k,
            v,
            self.embed_dim,
            self.num_heads,
            None,
            None,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            0.0,
            same,
            None,
            training=False,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=True,
            q_proj_weight=same,
            k_proj_weight=same,
            v_proj_weight=same,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        out = self.product(3, out, self.out_bias).to(query.dtype)
        return (out.transpose(0, 1) if turned else out), weights


def analog_layers(model: Any) -> Iterator[tuple[str, AnalogLayer]]:
    """Yield names and layers of a converted model, or raise `InputError` if there are none."""
    if not isinstance(model, nn.Module):
        raise InputError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    found = [item for item in model.named_modules() if isinstance(item[1], AnalogLayer)]
    if not found:
        raise InputError("model must be one that fastaimc.convert returned: it has no analog layer")
    yield from found


def at_time(model: Any, seconds: float) -> Any:
    """See `fastaimc.network.at`."""
    layers = list(analog_layers(model))
    check_number("seconds", seconds, least=0)
    # Matrices that deepcopy finds here it takes as copied: shared ones stay shared.
    memo: dict[int, Any] = {}
    for _, layer in layers:
        for matrix in layer.matrices:
            if id(matrix) not in memo:
                memo[id(matrix)] = matrix.at(seconds)
    return copy.deepcopy(model, memo)


def seek_all(model: Any, number: int) -> None:
    """See `fastaimc.network.seek`."""
    check_integer("number", number, 0, MOST_NUMBER)
    for _, layer in analog_layers(model):
        for matrix in layer.matrices:
            matrix.number = int(number)


def model_tiles(model: Any) -> tuple[list[list[Tile]], CoreConfig]:
    """Return the tiles of each layer, those of shared weights with the first; and their config."""
    layers, seen = [], set()
    for path, layer in analog_layers(model):
        tiles = []
        for name, matrix in zip(layer.names, layer.matrices, strict=True):
            if id(matrix) not in seen:
                seen.add(id(matrix))
                tiles += tiles_of(path or "model", name, matrix)
            config = matrix.config
        layers.append(tiles)
    return layers, config
