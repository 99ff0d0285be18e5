"""A PyTorch model onto cores: its layers replaced, calibrated and programmed as one stack."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from fastaimc.api import program
from fastaimc.config import CoreConfig, presets
from fastaimc.errors import InputError, check_number, nearest
from fastaimc.mapping import check_weights
from fastaimc.network.calibration import FAR, Recorder, range_is_free
from fastaimc.network.convolution import AnalogConv
from fastaimc.network.folding import fold_batch_norm
from fastaimc.network.layers import AnalogAttention, AnalogLayer, AnalogLinear
from fastaimc.programming import Method

# Only these classes themselves: a subclass may compute something else.
SUPPORTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.MultiheadAttention)
# They hold matrices and multiply by none.
LOOK_UPS = (nn.Embedding, nn.EmbeddingBag, nn.LayerNorm, nn.RMSNorm)
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")


@dataclass(frozen=True, slots=True)
class Options:
    """What `fastaimc.convert` is told beyond what `program` takes; see there."""

    calibration: Iterable[Any] | None
    input_range: float | Mapping[str, float] | None
    quantile: float
    fold: bool | Iterable[tuple[str, str]]


@dataclass(slots=True)
class Stack:
    """The matrices of a model before they are programmed, by name; shared weights once.

    Attributes
    ----------
    recorders : dict of Recorder
        In the order of the layers.
    owners : dict of str
        The layer that a matrix is named after.
    known : dict of Recorder
        By where the weights lie in memory.
    """

    recorders: dict[str, Recorder] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    known: dict[tuple[Any, ...], Recorder] = field(default_factory=dict)

    def add(self, owner: str, name: str, weight: torch.Tensor) -> Recorder:
        """Return the recorder of a matrix: weights (out, in, ...), unfolded."""
        key = (weight.data_ptr(), weight.dtype, tuple(weight.shape), weight.stride())
        if key not in self.known:
            matrix = weight.detach().to(torch.float32).reshape(len(weight), -1).numpy().copy()
            check_weights(f"weights of {name!r}", matrix)
            self.known[key] = self.recorders[name] = Recorder(name, matrix)
            self.owners[name] = owner
        return self.known[key]


def convert_model(
    model: Any,
    config: CoreConfig | None,
    method: Method | None,
    options: Options,
    settings: Mapping[str, Any],
) -> Any:
    """See `fastaimc.convert`; `settings` are further arguments of `program`."""
    config = presets.hermes() if config is None else config
    check_model(model)
    check_number("quantile", options.quantile, above=0, most=1)
    known = _check_ranges(config, options)
    model = copy.deepcopy(model)
    fold_batch_norm(model, options.fold)
    model, stack = replace_layers(model)
    if not stack.recorders:
        raise InputError(
            f"model must have a layer of {', '.join(kind.__name__ for kind in SUPPORTED)}, "
            f"got {type(model).__name__}"
        )
    if known is None:
        ranges = _calibrate(model, stack, options)
    else:
        ranges = _given_ranges(known, stack)
    weights = {name: recorder.weights for name, recorder in stack.recorders.items()}
    matrices = program(weights, config, method, input_range=ranges, **settings)
    for module in model.modules():
        if isinstance(module, AnalogLayer):
            module.matrices = [matrices[recorder.name] for recorder in module.matrices]
    return model


def check_model(model: Any) -> None:
    """Raise `InputError` for a model that cannot be converted."""
    if not isinstance(model, nn.Module):
        raise InputError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    for name, module in model.named_modules():
        if isinstance(module, AnalogLayer):
            raise InputError(f"model must not be converted already: {name or 'it'} is analog")
        if module.training:
            where = f" (its part {name!r} trains)" if name else ""
            raise InputError(f"model must be in evaluation mode{where}: call model.eval()")
    for name, tensor in itertools.chain(model.named_parameters(), model.named_buffers()):
        if nn.parameter.is_lazy(tensor):
            raise InputError(f"model must have its shapes, {name!r} is lazy: run it once")
        if tensor.device.type != "cpu":
            raise InputError(
                f"model must be on the CPU, got {name!r} on {tensor.device}: call model.cpu()"
            )


def _check_ranges(config: Any, options: Options) -> float | Mapping[str, float] | None:
    """Return the input ranges that are known before calibration, or None."""
    if options.input_range is not None:
        if options.calibration is not None:
            raise InputError("input_range must not be given with calibration: choose one")
        return options.input_range
    if isinstance(config, CoreConfig) and range_is_free(config):
        return FAR
    if options.calibration is None:
        raise InputError(
            "calibration must hold a few batches of inputs, from which the layers' input ranges "
            "follow; or give input_range"
        )
    return None


def replace_layers(model: nn.Module) -> tuple[nn.Module, Stack]:
    """Put analog layers in place of digital ones, with recorders for matrices.

    What else holds matrices stays, with one warning.
    """
    stack = Stack()
    done: dict[int, AnalogLayer] = {}
    inside: list[str] = []  # what belongs to a replaced layer
    digital: list[str] = []
    for path, module in list(model.named_modules(remove_duplicate=False)):
        if any(path.startswith(prefix) for prefix in inside):
            continue
        if type(module) in SUPPORTED and not _is_complex(module):
            if id(module) not in done:
                done[id(module)] = _analog(path or "model", module, stack)
            if not path:
                return done[id(module)], stack
            model.set_submodule(path, done[id(module)])
            inside.append(f"{path}.")
        elif _holds_matrices(module):
            digital.append(f"{path or 'model'} ({type(module).__name__})")
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False  # its fused path would take weights that are not here
    if digital:
        warnings.warn(
            f"layers that cores cannot compute stay digital: {', '.join(digital)}", stacklevel=4
        )
    return model, stack


def _is_complex(module: nn.Module) -> bool:
    return any(weight.is_complex() for weight in module.parameters())


def _holds_matrices(module: nn.Module) -> bool:
    if isinstance(module, SUPPORTED):
        return True
    own = module.parameters(recurse=False)
    leaf = next(module.children(), None) is None
    return leaf and not isinstance(module, LOOK_UPS) and any(weight.dim() > 1 for weight in own)


def _analog(name: str, module: Any, stack: Stack) -> AnalogLayer:
    """Return the analog layer of a digital one, its matrices added to the stack."""
    if isinstance(module, nn.MultiheadAttention):
        weights = _projections(module)
        names = tuple(f"{name}.{part}" for part in PROJECTIONS)
    elif isinstance(module, nn.Linear):
        weights, names = [module.weight], (name,)
    else:
        weights = list(module.weight.chunk(module.groups))
        names = (name,)
        if module.groups > 1:
            names = tuple(f"{name}.{group}" for group in range(module.groups))
    recorders = [stack.add(name, *pair) for pair in zip(names, weights, strict=True)]
    names = tuple(recorder.name for recorder in recorders)
    if isinstance(module, nn.MultiheadAttention):
        return AnalogAttention(module, names, recorders)
    if isinstance(module, nn.Linear):
        return AnalogLinear(module, names, recorders)
    return AnalogConv(module, names, recorders)


def _projections(module: nn.MultiheadAttention) -> list[torch.Tensor]:
    if module.in_proj_weight is not None:
        return [*module.in_proj_weight.chunk(3), module.out_proj.weight]
    return [
        module.q_proj_weight,
        module.k_proj_weight,
        module.v_proj_weight,
        module.out_proj.weight,
    ]


def _calibrate(model: nn.Module, stack: Stack, options: Options) -> dict[str, float]:
    """Run the digital model on the batches; return each matrix's input range."""
    count = 0
    with torch.no_grad():
        for batch in _batches(options.calibration):
            count += 1
            if isinstance(batch, Mapping):
                model(**batch)
            elif isinstance(batch, tuple | list):
                model(*batch)
            else:
                model(batch)
    if not count:
        raise InputError("calibration must hold at least one batch of inputs")
    unseen = [repr(name) for name, one in stack.recorders.items() if not one.seen.counts.any()]
    if unseen:
        raise InputError(
            f"calibration must reach every layer, none of its inputs came to {', '.join(unseen)}"
        )
    return {name: one.input_range(options.quantile) for name, one in stack.recorders.items()}


def _batches(calibration: Any) -> Iterator[Any]:
    if isinstance(calibration, torch.Tensor | np.ndarray | Mapping | str) or not isinstance(
        calibration, Iterable
    ):
        raise InputError(
            f"calibration must be a list or another iterable of batches, "
            f"got {type(calibration).__name__}"
        )
    yield from calibration


def _given_ranges(given: float | Mapping[str, float], stack: Stack) -> dict[str, float]:
    """Return the range of each matrix, by its own name or its layer's."""
    if not isinstance(given, Mapping):
        return dict.fromkeys(stack.recorders, given)
    names = {*stack.owners, *stack.owners.values()}
    for name in given:
        if name not in names:
            raise InputError(
                f"input_range must have names of layers, got {name!r}{nearest(name, names)}"
            )
    ranges = {}
    for name, owner in stack.owners.items():
        if name not in given and owner not in given:
            raise InputError(f"input_range must have an entry for each layer, none for {owner!r}")
        ranges[name] = given[name] if name in given else given[owner]
    return ranges
