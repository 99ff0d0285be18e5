"""Programs under way as files."""

from __future__ import annotations

import json
import os
from pathlib import Path as FilePath

import numpy as np

from fastaimc import engine as engines
from fastaimc import storage
from fastaimc.config import from_json, to_json
from fastaimc.engine import Engine
from fastaimc.files import (
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
from fastaimc.programming import from_dict, to_dict
from fastaimc.programming.loop import RECORDED, Run

KIND = "checkpoint"


def save(path: Path, job: Job, record_every: int) -> None:
    """Write all that a program needs to go on."""
    run = job.run
    arrays = core_arrays(run.core) | {"targets": run.targets}
    arrays |= {f"state.{name}": value for name, value in run.state.items()}
    arrays |= {f"records.{name}": np.array(run.records[name]) for name in RECORDED}
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
        layers = [
            Layer(
                item["name"],
                mapping_from(f"layer.{index}", arrays, item, path),
                float(item["input_range"]),
            )
            for index, item in enumerate(meta["layers"])
        ]
        run = Run(
            core=core,
            targets=storage.require(arrays, "targets", core.shape, np.float32, path),
            method=from_dict(meta["method"]),
            key=method_key(int(meta["seed"])),
            state=_prefixed(arrays, "state."),
            index=int(meta["index"]),
            records={name: list(arrays[f"records.{name}"]) for name in RECORDED},
        )
        if sum(layer.mapping.tiles for layer in layers) != core.shape[0]:
            raise ValueError(f"layers that do not add up to {core.shape[0]} tiles")
        job = Job(layers=layers, run=run, seed=int(meta["seed"]), engine_name=meta["engine"])
        return job, backend, int(meta["record_every"])


def check_target(path: Path) -> None:
    """Raise `StorageError` now if a checkpoint could not be written later."""
    target = FilePath(path)
    folder = target.absolute().parent
    if target.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        storage.write(path, KIND, {}, {})  # explains what is wrong


def _prefixed(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): value
        for name, value in arrays.items()
        if name.startswith(prefix)
    }
