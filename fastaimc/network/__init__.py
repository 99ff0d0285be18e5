"""Networks on cores: PyTorch models whose layers compute on programmed crossbars.

PyTorch comes with the extra ``torch`` and is loaded when a function here is called.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fastaimc.errors import InputError

if TYPE_CHECKING:
    from fastaimc.config import CoreConfig
    from fastaimc.network.allocation import Allocation
    from fastaimc.network.summary import NetworkReport
    from fastaimc.programming import Method
    from fastaimc.progress import Progress

# aihwkit's `calibrate_input_ranges` takes this quantile of each layer's inputs by default.
QUANTILE = 0.99995


def convert(
    model: Any,
    config: CoreConfig | None = None,
    method: Method | None = None,
    *,
    seed: int = 0,
    calibration: Iterable[Any] | None = None,
    input_range: float | Mapping[str, float] | None = None,
    quantile: float = QUANTILE,
    fold: bool | Iterable[tuple[str, str]] = True,
    engine: str = "numba",
    threads: int | None = None,
    progress: Progress = None,
) -> Any:
    """Return a copy of a PyTorch model whose layers compute on programmed cores.

    `Linear`, `Conv1d`, `Conv2d` and the four projections of `MultiheadAttention` multiply in
    analog; biases and all else stay digital.  A convolution is unfolded into one matrix for each
    group, (out_channels / groups, in_channels / groups · kernel).  All matrices are programmed as
    one stack, those of shared weights once.  The copy infers and does not train.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode and on the CPU; of any floating dtype.
    config, method, seed, engine, threads, progress
        As for `program`.
    calibration : iterable, optional
        A few batches: tensors, tuples or lists of positional arguments, or mappings of keyword
        arguments.  The digital model runs on them to find each layer's input range.
    input_range : float or mapping of str to float, optional
        Instead of `calibration`: the |x| at the DAC's full scale, of all layers or by name.
        Neither is needed where both converters are ideal and nothing saturates.
    quantile : float
        Of all |x| that a layer gets in the calibration: its input range, at most 1/128 above it.
    fold : bool or iterable of pairs of str
        Whether batch norm that directly follows a layer in a `Sequential` goes into its weights;
        or the names of more such pairs, (layer, batch norm).

    Returns
    -------
    torch.nn.Module
        A normal module.  Its state holds, beside digital parameters, the number of the next vector
        in each matrix's stream of noise, but not what the cells hold.  Hooks of layers that became
        analog are not kept.

    Raises
    ------
    InputError, ConfigError
        For a model that trains, is elsewhere, or is converted; without PyTorch; as `program` does.
    """
    _need_torch("fastaimc.convert")
    from fastaimc.network.conversion import Options, convert_model

    options = Options(calibration, input_range, quantile, fold)
    settings = {"seed": seed, "engine": engine, "threads": threads, "progress": progress}
    return convert_model(model, config, method, options, settings)


def at(model: Any, seconds: float) -> Any:
    """Return a copy of a converted model at an absolute time since programming, compensated anew.

    Parameters
    ----------
    model : torch.nn.Module
        What `convert` returned.  The copy shares its programmed cells and goes on with its noise.
    seconds : float
        As for `AnalogMatrix.at`.

    Raises
    ------
    InputError, ConfigError
        For a model without analog layers; a time below zero.
    """
    _need_torch("fastaimc.network.at")
    from fastaimc.network.layers import at_time

    return at_time(model, seconds)


def seek(model: Any, number: int) -> None:
    """Let every matrix of a converted model go on with vector `number` of its stream of noise.

    From the same numbers a model gives the same outputs: so workers that share one model take
    numbers far apart.

    Parameters
    ----------
    model : torch.nn.Module
        What `convert` returned; changed in place.
    number : int
        From 0 to 2**44: a call takes one for each vector, in a convolution for each position.

    Raises
    ------
    InputError, ConfigError
        For a model without analog layers; another number.
    """
    _need_torch("fastaimc.network.seek")
    from fastaimc.network.layers import seek_all

    seek_all(model, number)


def report(model: Any, samples: int = 200, seed: int = 1) -> NetworkReport:
    """Return tiles, utilisation, MVM error and programming cost of each layer.

    Parameters
    ----------
    model : torch.nn.Module
        What `convert` returned; neither its noise nor its clocks move.
    samples, seed
        Of `mvm_error`, on uniform inputs.

    Raises
    ------
    InputError, ConfigError
        For a model without analog layers; as `mvm_error` does.
    """
    _need_torch("fastaimc.network.report")
    from fastaimc.network.summary import summarise

    return summarise(model, samples, seed)


def allocate(model: Any, cores: int | None = None) -> Allocation:
    """Return which tile of a converted model is on which physical core, and where.

    Parameters
    ----------
    model : torch.nn.Module
        What `convert` returned; its config tells the size of a core.
    cores : int, optional
        How many there are: if they are too few for all layers, they are programmed in rounds,
        layer by layer.  None: as many as are needed.

    Raises
    ------
    InputError, ConfigError
        For a model without analog layers; less than one core.
    """
    _need_torch("fastaimc.network.allocate")
    from fastaimc.network.allocation import allocate_layers
    from fastaimc.network.layers import model_tiles

    layers, config = model_tiles(model)
    return allocate_layers(layers, config.rows, config.columns, cores)


def picture(allocation: Allocation) -> Any:
    """Return an allocation as a matplotlib figure: rounds from above, cores from the left.

    Parameters
    ----------
    allocation : Allocation
        What `allocate` returned.

    Raises
    ------
    InputError
        Without matplotlib (the extra ``plot``).
    """
    from fastaimc.network.allocation import figure

    return figure(allocation)


def _need_torch(name: str) -> None:
    if importlib.util.find_spec("torch") is None:
        raise InputError(f"{name} needs PyTorch: pip install 'fastaimc[torch]'")
