"""Programs under way as files."""

from __future__ import annotations

import json
import os
from pathlib import Path as FilePath

import numpy as np

from fastaimc import engine as engines
from fastaimc import storage
from fastaimc.circuit.effective import Correction
from fastaimc.config import from_json, to_json
from fastaimc.core import KEPT, Core
from fastaimc.engine import Engine
from fastaimc.errors import ConfigError
from fastaimc.files import (
    Arrays,
    Path,
    core_arrays,
    core_from,
    core_meta,
    described,
    mapping_arrays,
    mapping_from,
    mapping_meta,
)
from fastaimc.job import Job, Layer, method_key
from fastaimc.programming import Method, from_dict, is_built_in, to_dict
from fastaimc.programming.loop import RECORDED, Run
from fastaimc.terminals import Terminals

KIND = "checkpoint"
PARTS = ("plus", "minus", "value")  # of a correction of IR drop


def save(path: Path, job: Job, record_every: int) -> None:
    """Write all that a program needs to go on."""
    run = job.run
    arrays = core_arrays(run.core) | {"targets": run.targets}
    arrays |= {f"state.{name}": value for name, value in run.state.items()}
    for name, kept in run.core.corrections.items():
        arrays |= {f"wires.{name}.{part}": getattr(kept, part) for part in PARTS}
    count = (max(run.index, 0), run.core.shape[0])
    arrays |= {f"records.{name}": np.reshape(run.records[name], count) for name in RECORDED}
    layers = []
    for index, layer in enumerate(job.layers):
        arrays |= mapping_arrays(f"layer.{index}", layer.mapping)
        layers.append(
            {"name": layer.name, "input_range": layer.input_range} | mapping_meta(layer.mapping)
        )
    meta = {
        "core": core_meta(run.core),
        "layers": layers,
        "config": json.loads(to_json(run.core.config)),
        "method": to_dict(run.method),
        "index": run.index,
        "seed": job.seed,
        "engine": job.engine_name,
        "record_every": record_every,
    }
    storage.write(path, KIND, arrays, meta)


def load(path: Path) -> tuple[Job, Engine, int]:
    """Return the program that `save` wrote, its engine, and how often it is observed.

    Raises
    ------
    StorageError
        For a file that is no checkpoint, or an impossible one.
    """
    arrays, meta = storage.read(path, KIND)
    with described(path):
        backend = engines.load(meta["engine"])
        config = from_json(json.dumps(meta["config"]))
        core = core_from(arrays, meta["core"], config, backend, path)
        core.corrections = _corrections_from(arrays, core, path)
        layers = [
            Layer(
                item["name"],
                mapping_from(f"layer.{index}", arrays, item, path),
                float(item["input_range"]),
            )
            for index, item in enumerate(meta["layers"])
        ]
        method, index = from_dict(meta["method"]), int(meta["index"])
        if not 0 <= index <= method.iterations:
            raise ValueError(f"{index} iterations done of {method.iterations}")
        count = (index, core.shape[0])
        arrays = {"records.energy_j": np.full(count, np.nan)} | arrays  # early ones have none
        run = Run(
            core=core,
            targets=storage.require(arrays, "targets", core.shape, np.float32, path),
            method=method,
            key=method_key(int(meta["seed"])),
            state=_state_from(arrays, method, core, index, path),
            index=index,
            records={
                name: list(storage.require(arrays, f"records.{name}", count, np.float64, path))
                for name in RECORDED
            },
        )
        extents = np.concatenate([layer.mapping.extents for layer in layers])
        if not np.array_equal(extents, core.extents):
            raise ValueError(f"layers that do not lie on its {core.shape[0]} tiles")
        job = Job(layers=layers, run=run, seed=int(meta["seed"]), engine_name=meta["engine"])
        return job, backend, int(meta["record_every"])


def check_target(path: Path, method: Method) -> None:
    """Raise now if a checkpoint could not be written, or not be resumed, later."""
    if not is_built_in(method):
        raise ConfigError(
            "checkpoint needs a method of fastaimc, as `resume` must find it again; "
            f"got {type(method).__name__}: leave checkpoint=None"
        )
    try:
        name = os.fsdecode(path)
        target = FilePath(os.path.realpath(name))  # of a link, what it points to is written
        new = not target.exists() and not name.endswith(("/", os.sep))
        writable = os.access(target, os.W_OK) if target.is_file() else new
        writable = writable and target.parent.is_dir() and os.access(target.parent, os.W_OK)
    except (OSError, ValueError):
        writable = False
    if not writable:
        storage.write(path, KIND, {}, {})  # explains what is wrong


def _corrections_from(arrays: Arrays, core: Core, path: Path) -> dict[str, Correction]:
    """Return what the estimate of IR drop left out when last solved."""
    return {
        name: Correction(
            *(
                storage.require(arrays, f"wires.{name}.{part}", core.shape, np.float32, path)
                for part in PARTS
            )
        )
        for name in KEPT
        if f"wires.{name}.value" in arrays
    }


def _state_from(
    arrays: Arrays, method: Method, core: Core, index: int, path: Path
) -> dict[str, np.ndarray]:
    """Return a method's state, of the names, dtypes and shapes that kernels rely on.

    Which these are shows the method itself, on a core of a few cells.
    """
    small = (1, 3, 5)  # none of them is a length that a state has by itself
    size = dict(zip(small, core.shape, strict=True))
    engine = engines.load("reference")
    targets = np.ones(small, dtype=np.float32)
    few = Core.blank(core.config, engine, targets, np.zeros((1, 3), np.uint32), np.array([[3, 5]]))
    terminals, key = Terminals(few, targets), np.zeros(2, dtype=np.uint32)
    expected = method.start(terminals, engine, key)
    if index > 0:
        method.iterate(terminals, engine, key, expected, 0)
    state = {}
    for name, value in expected.items():
        shape = [size.get(length, length) for length in value.shape]
        state[name] = storage.require(arrays, f"state.{name}", shape, value.dtype, path)
    return state
