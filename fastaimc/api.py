"""`program`: weights onto cores, by a method; and `resume`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastaimc import checkpoint as checkpoints
from fastaimc import engine as engines
from fastaimc.config import CoreConfig, presets
from fastaimc.config.incremental import has_memory
from fastaimc.core import Core
from fastaimc.cost import cost_of
from fastaimc.errors import ConfigError, InputError, check_integer, check_number
from fastaimc.faults import check_names, of_layer
from fastaimc.job import Job, Layer, method_key, observer, stack_layers
from fastaimc.mapping import check_weights, to_tiles
from fastaimc.matrix import AnalogMatrix
from fastaimc.memory import check_fits
from fastaimc.programmed import Programmed
from fastaimc.programming import (
    EstimateGuidedProgramming,
    LeastSquaresReadProgramming,
    Method,
    check_method,
    to_dict,
)
from fastaimc.programming.loop import RECORDED, Hooks, Run, run
from fastaimc.progress import Progress, reporter
from fastaimc.provenance import provenance

WIRES_BYTES = 56  # of a cell, with wires: devices of each polarity, and two corrections
RELAXED_BYTES = 304  # of a cell of one tile, while two threads relax its wires
STATE_BYTES = 23  # of a cell beside conductances and target, at most, while it is programmed
START_BYTES = 11  # of a cell while devices are chosen, beside 5 for each device of a polarity
FAULT_BYTES = 10  # more, while it is programmed with stuck devices
STUCK_BYTES = 13  # of a cell while devices get stuck, beside 5 for each device
VARIANCE_BYTES = 4  # more, where every cell's error has an estimate with a variance
# More, where cells are regressed on inputs: for all tiles and for one; and as often as there are
# more inputs than rows: outputs of all tiles, and of one with the inputs, in float64.
REGRESSED_BYTES, OUTPUT_BYTES = (4, 32), (4, 36)
OBSERVED_BYTES = 10  # more, where errors and pulses are recorded

Path = str | os.PathLike[str]
Result = AnalogMatrix | dict[str, AnalogMatrix]


def program(
    weights: object,
    config: CoreConfig | None = None,
    method: Method | None = None,
    *,
    seed: int = 0,
    input_range: float | Mapping[str, float] = 1.0,
    engine: str = "numba",
    threads: int | None = None,
    progress: Progress = None,
    checkpoint: Path | None = None,
    record_every: int = 0,
    faults: object = None,
) -> Any:
    """Program weights onto AIMC cores and return them as a matrix that can be multiplied by.

    Parameters
    ----------
    weights : array_like or mapping of str to array_like
        (out, in), real and finite; a mapping's matrices are programmed as one parallel stack.
    config, method : optional
        None: `presets.hermes()`; `DirectWrite` for a device given by its statistics, else GDP.
    seed, input_range, engine
        Of devices, noise and method; the |x| at the DAC's full scale (by name for a mapping);
        "numba", or "reference" for the specification in NumPy.
    threads, progress, checkpoint
        Threads of the kernels (no result depends on it); True for a bar, or ``f(done, total,
        text)``; a file for the state, saved on Ctrl-C and every minute, for `resume`.
    record_every : int
        Iterations between observations of the errors in `history`; 0: none, and no `cell_pulses`.
    faults : array_like or mapping of str to array_like, optional
        Stuck devices, (device, out, in): 0 none, 1 at SET, 2 at RESET, 3 anywhere.

    Returns
    -------
    AnalogMatrix or dict of AnalogMatrix
        As `weights`, at the config's `t_eval_s` after programming.

    Raises
    ------
    InputError, ConfigError
        For what cannot be programmed, or not in the memory that there is.

    Examples
    --------
    >>> import numpy as np, fastaimc as fa
    >>> fa.program(np.eye(4), fa.presets.hermes(), seed=1).mvm(np.ones(4)).shape
    (4,)
    """
    config = presets.hermes() if config is None else config
    method = _check(config, method, seed, threads, record_every)
    backend = engines.load(engine)
    layers, blocks = _layers(weights, config, input_range)
    _check_memory(blocks, config, method, record_every, faults)
    core, targets = _blank(layers, blocks, config, backend, seed, faults)
    core.cell_pulses = np.zeros(core.shape, dtype=np.uint16) if record_every else None
    job = Job(layers, Run(core, targets, method, method_key(seed)), seed, engine)
    _check_path(checkpoint, method)
    return _finish(job, backend, threads, progress, checkpoint, record_every)


def resume(
    path: Path,
    *,
    threads: int | None = None,
    progress: Progress = None,
    checkpoint: Path | None = None,
) -> Any:
    """Go on with a program that was interrupted, bitwise as if it had not been.

    Parameters
    ----------
    path : path
        What `program` saved.
    threads, progress
        As for `program`.
    checkpoint : path, optional
        Where to save next; None: `path` again.

    Returns
    -------
    AnalogMatrix or dict of AnalogMatrix
        As `program` would have returned.

    Raises
    ------
    StorageError
        For a file that is no checkpoint of this version or an older one.
    """
    if threads is not None:
        check_integer("threads", threads, 1, 65536)
    job, backend, record_every = checkpoints.load(path)
    _check_path(checkpoint, job.run.method)
    return _finish(job, backend, threads, progress, checkpoint or path, record_every)


def _check(
    config: object, method: Method | None, seed: int, threads: int | None, record_every: int
) -> Method:
    """Raise for a bad argument; return the method to use."""
    if not isinstance(config, CoreConfig):
        raise ConfigError(f"config must be a CoreConfig, got {type(config).__name__}")
    check_integer("seed", seed, 0, 2**63 - 1)
    check_integer("record_every", record_every, 0, 10**9)
    if threads is not None:
        check_integer("threads", threads, 1, 65536)
    return check_method(method, config)


def _check_path(path: object, method: Method) -> None:
    """Raise now for a checkpoint that could not be written, or not be resumed, later."""
    if path is None:
        return
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"checkpoint must be a str or a path, got {path!r}")
    checkpoints.check_target(path, method)


def _layers(
    weights: object, config: CoreConfig, input_range: float | Mapping[str, float]
) -> tuple[list[Layer], list[np.ndarray]]:
    """Check the weights and cut them into tiles."""
    named = weights.items() if isinstance(weights, Mapping) else [(None, weights)]
    layers, blocks = [], []
    for name, matrix in named:
        if name is not None and not isinstance(name, str):
            raise InputError(f"weights must have names of type str, got {name!r}")
        label = "weights" if name is None else f"weights[{name!r}]"
        mapping, targets = to_tiles(check_weights(label, matrix), config)
        full_scale: object = input_range
        if isinstance(input_range, Mapping):
            if name is None or name not in input_range:
                raise InputError(
                    f"input_range must have an entry for each layer, none for {name!r}"
                )
            full_scale = input_range[name]
        try:
            check_number("input_range", full_scale, least=1e-30, most=1e30)
        except ConfigError as error:
            raise InputError(str(error)) from None
        layers.append(Layer(name, mapping, float(full_scale)))  # type: ignore[arg-type]
        blocks.append(targets)
    if not layers:
        raise InputError("weights must hold at least one matrix, got an empty mapping")
    return layers, blocks


def _blank(
    layers: list[Layer],
    blocks: list[np.ndarray],
    config: CoreConfig,
    backend: Any,
    seed: int,
    faults: object,
) -> tuple[Core, np.ndarray]:
    """Return the core of all layers before its programming, with its stuck devices, and targets."""
    check_names(faults, [layer.name for layer in layers])
    maps = [of_layer(faults, layer.name, config, layer.mapping) for layer in layers]
    return stack_layers(layers, blocks, config, backend, seed, maps)


def _check_memory(
    blocks: list[np.ndarray],
    config: CoreConfig,
    method: Method,
    record_every: int,
    faults: object,
) -> None:
    """Raise for a program that cannot fit beside the targets that there are already."""
    tiles, rows, columns = (
        sum(len(block) for block in blocks),
        *(max(block.shape[axis] for block in blocks) for axis in (1, 2)),
    )
    each = max(STATE_BYTES, START_BYTES + 5 * config.devices_per_polarity)
    each += OBSERVED_BYTES if record_every else 0
    if faults is not None or config.faults is not None:
        each = max(each + FAULT_BYTES, STUCK_BYTES + 5 * config.devices)
    each += 4 * config.devices
    if len(blocks) > 1:
        each += 4  # they are stacked
    if isinstance(method, EstimateGuidedProgramming):
        each += VARIANCE_BYTES
    if isinstance(method, LeastSquaresReadProgramming):
        of_all, of_one = REGRESSED_BYTES[0], REGRESSED_BYTES[1] / tiles
        over = method.over_sampling * (OUTPUT_BYTES[0] + OUTPUT_BYTES[1] / tiles)
        each += int(of_all + of_one + over) + 1
    if has_memory(config.device):
        each += config.devices
    if config.wires is not None:
        each += WIRES_BYTES + (RELAXED_BYTES // tiles if config.wires.solver == "iterative" else 0)
    each += {1: 0, 2: 8, 4: 16}[config.dac.phases]  # mean and variance, of either polarity
    check_fits(
        float(tiles * rows * columns) * each,
        f"weights ({tiles} × {rows} × {columns} cells, {each} bytes each)",
    )


def _finish(
    job: Job, backend: Any, threads: int | None, progress: Progress, path: Path | None, every: int
) -> Any:
    """Run a job to its end and return its matrices."""
    with backend.threads(threads), reporter(progress) as report:
        hooks = Hooks(
            progress=report,
            save=None if path is None else lambda: checkpoints.save(path, job, every),
            observe=observer(job.run, backend) if every else None,
            record_every=max(every, 1),
        )
        run(job.run, backend, hooks)
        matrices = _matrices(job, backend, threads)
    if job.layers[0].name is None:
        return matrices[0]
    return {str(layer.name): matrix for layer, matrix in zip(job.layers, matrices, strict=True)}


def _matrices(job: Job, backend: Any, threads: int | None) -> list[AnalogMatrix]:
    """Cut the finished stack into its layers."""
    core, state = job.run.core, job.run.state
    tiles, _, columns = core.shape
    scale = state.get("scale", np.ones((tiles, columns), dtype=np.float32))
    offset = state.get("offset", np.zeros((tiles, columns), dtype=np.float32))
    state.clear()  # what the method knew is not needed while matrices are made
    core.corrections.clear()  # a matrix works them out anew
    where = provenance(core.config, to_dict(job.run.method), job.seed, job.engine_name, backend)
    out, low = [], 0
    for layer in job.layers:
        part = slice(low, low + layer.mapping.tiles)
        low = part.stop
        rows, width = layer.mapping.extents.max(axis=0)
        whole = (layer.mapping.tiles, rows, width) == core.shape
        piece = core if whole else core.part(part, int(rows), int(width))
        programmed = Programmed(
            core=piece,
            mapping=layer.mapping,
            targets=np.ascontiguousarray(job.run.targets[part, :rows, :width]),
            scale=np.ascontiguousarray(scale[part, :width]),
            offset=np.ascontiguousarray(offset[part, :width]),
            input_range=layer.input_range,
            cost=cost_of(piece.counters, piece.clock_s, piece.extents, core.config),
            history=_history(job.run.records, part),
            provenance=where | ({} if layer.name is None else {"layer": layer.name}),
        )
        out.append(AnalogMatrix(programmed, core.config.t_eval_s, threads))
    return out


def _history(records: dict[str, list[np.ndarray]], part: slice) -> dict[str, np.ndarray]:
    """Return one layer's history: sums of counts, root mean squares of errors, slowest clock."""
    count = len(records["pulses"])
    history = {"iteration": np.arange(1, count + 1)}
    for name in RECORDED:
        values = np.array(records[name]).reshape(count, -1 if count else part.stop)[:, part]
        if name.endswith("error"):
            known = np.isfinite(values)  # a tile of zeros has no relative error
            square = np.where(known, values, 0.0) ** 2
            history[name] = np.sqrt(square.sum(axis=1) / np.maximum(known.sum(axis=1), 1))
            history[name][~known.any(axis=1)] = np.nan
        elif name == "latency_s":
            history[name] = values.max(axis=1)
        else:
            history[name] = values.sum(axis=1)
    return history
