"""Batch norm into the weights of the layer before it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.nn.utils import fusion

from fastaimc.errors import InputError

PAIRS = {nn.Linear: nn.BatchNorm1d, nn.Conv1d: nn.BatchNorm1d, nn.Conv2d: nn.BatchNorm2d}


def fold_batch_norm(model: nn.Module, fold: bool | Iterable[tuple[str, str]]) -> None:
    """Fold batch norms in place: see `fastaimc.convert`.

    Places are changed and not modules: what stands elsewhere, too, stays there as it is.
    """
    if fold is False:
        return
    pairs = [] if fold is True else [_checked(model, pair) for pair in _pairs(fold)]
    for name, module in list(model.named_modules()):
        if type(module) is nn.Sequential:
            children = [f"{name}.{child}".lstrip(".") for child in module._modules]  # noqa: SLF001
            for pair in itertools.pairwise(children):
                if pair not in pairs and _can_fold(*map(model.get_submodule, pair)):
                    pairs.append(pair)
    for pair in pairs:
        _fold(model, *pair)


def _pairs(fold: Any) -> list[Any]:
    if isinstance(fold, str) or not isinstance(fold, Iterable):
        raise InputError(f"fold must be True, False or pairs of names, got {fold!r}")
    return list(fold)


def _can_fold(layer: nn.Module, norm: nn.Module) -> bool:
    if type(norm) is not PAIRS.get(type(layer)):
        return False
    outputs = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    known = norm.running_mean is not None and norm.running_var is not None
    return known and norm.affine and norm.num_features == outputs


def _fold(model: nn.Module, first: str, second: str) -> None:
    layer, norm = model.get_submodule(first), model.get_submodule(second)
    fuse = fusion.fuse_linear_bn_eval
    if not isinstance(layer, nn.Linear):
        fuse = fusion.fuse_conv_bn_eval
    model.set_submodule(first, fuse(layer, norm))
    model.set_submodule(second, nn.Identity().eval())


def _checked(model: nn.Module, pair: Any) -> tuple[str, str]:
    """Return a pair of names, or raise `InputError` unless it can be folded."""
    names = dict(model.named_modules(remove_duplicate=False))
    if not isinstance(pair, tuple) or len(pair) != 2 or not all(name in names for name in pair):
        raise InputError(f"fold must hold pairs of names of modules, got {pair!r}")
    first, second = pair
    if not _can_fold(names[first], names[second]):
        raise InputError(
            f"fold must name a layer and a batch norm of its outputs with running statistics, "
            f"scale and offset, got {pair!r}"
        )
    return first, second
