"""Programmed matrices as files, and what they share with checkpoints."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from collections.abc import Mapping as Dictionary
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastaimc import engine as engines
from fastaimc import storage
from fastaimc.config import CoreConfig, from_json
from fastaimc.core import COUNTERS, PULSES, Core
from fastaimc.cost import Cost
from fastaimc.engine import Engine
from fastaimc.errors import FastAIMCError, StorageError, check_integer, check_number, check_type
from fastaimc.mapping import Mapping
from fastaimc.matrix import CALIBRATION, AnalogMatrix, check_matrix
from fastaimc.parameters import mask_dtype
from fastaimc.programmed import Programmed
from fastaimc.programming.loop import RECORDED
from fastaimc.response import no_memory

Path = str | os.PathLike[str]
Arrays = dict[str, np.ndarray]
KIND = "matrix"
WATCH = ("last_s", "since_s")


def save(path: Path, matrix: AnalogMatrix) -> None:
    """Write a programmed matrix: one uncompressed ``.npz`` of arrays and a ``meta.json``.

    The file is written beside its place and renamed; the matrix keeps its clock and its counter.

    Raises
    ------
    InputError, StorageError
        For something that is no `AnalogMatrix`, or a file that cannot be written.
    """
    check_matrix(matrix)
    programmed = matrix.programmed
    arrays = core_arrays(programmed.core) | mapping_arrays("mapping", programmed.mapping)
    arrays |= {name: getattr(programmed, name) for name in ("targets", "scale", "offset")}
    arrays |= {f"history.{name}": value for name, value in matrix.history.items()}
    meta = {
        "core": core_meta(programmed.core),
        "mapping": mapping_meta(programmed.mapping),
        "input_range": programmed.input_range,
        "time_s": matrix.time_s,
        "number": matrix.number,
        "saturated": matrix.saturated,
        "cost": programmed.cost.as_dict(),
        "provenance": programmed.provenance,
    }
    storage.write(path, KIND, arrays, meta)


def load(path: Path, *, engine: str | None = None, threads: int | None = None) -> AnalogMatrix:
    """Read what `save` wrote.

    Parameters
    ----------
    engine : str, optional
        None: the one that programmed it.
    threads : int, optional
        Threads of its products.

    Raises
    ------
    InputError, ConfigError, StorageError
        For an unknown engine; an impossible number of threads; a file that is missing, truncated,
        foreign, lying, or of a newer fastaimc.
    """
    if threads is not None:
        check_integer("threads", threads, 1, 65536)
    chosen = None if engine is None else engines.load(engine)
    arrays, meta = storage.read(path, KIND)
    with described(path):
        provenance = meta["provenance"]
        check_type("provenance.method", provenance["method"], dict)
        config = from_json(json.dumps(provenance["config"]))
        backend = chosen or engines.load(provenance["engine"])
        core = core_from(arrays, meta["core"], config, backend, path)
        tiles, _, columns = core.shape
        mapping = mapping_from("mapping", arrays, meta["mapping"], path)
        count = len(arrays["history.pulses"])
        arrays = {"history.energy_j": np.full(count, np.nan)} | arrays  # early files have none
        programmed = Programmed(
            core=core,
            mapping=mapping,
            targets=_finite(arrays, "targets", core.shape, np.float32, path),
            scale=_finite(arrays, "scale", (tiles, columns), np.float32, path),
            offset=_finite(arrays, "offset", (tiles, columns), np.float32, path),
            input_range=_positive("input_range", meta["input_range"]),
            cost=_cost(meta["cost"]),
            history={
                "iteration": storage.require(arrays, "history.iteration", (count,), np.int64, path)
            }
            | {
                name: storage.require(arrays, f"history.{name}", (count,), np.float64, path)
                for name in RECORDED
            },
            provenance=provenance,
        )
        if not np.array_equal(mapping.extents, core.extents):
            raise ValueError(f"weights that do not lie on its {tiles} tiles")
        matrix = AnalogMatrix(programmed, meta["time_s"], threads)
        matrix.number = _count("number", meta["number"], CALIBRATION)
        matrix.saturated = _count("saturated", meta["saturated"])
        return matrix


def _finite(
    arrays: Arrays, name: str, shape: tuple[int | None, ...], dtype: Any, path: Path
) -> np.ndarray:
    array = storage.require(arrays, name, shape, dtype, path)
    if not np.isfinite(array).all():
        raise ValueError(f"NaN or inf in {name!r}")
    return array


def _count(name: str, value: Any, most: int = 2**63 - 1) -> int:
    check_integer(name, value, 0, most)
    return int(value)


def _positive(name: str, value: Any) -> float:
    check_number(name, value, above=0)
    return float(value)


def _cost(meta: Dictionary[str, Any]) -> Cost:
    """Return the cost that a file holds."""
    cost = Cost(**meta)
    for name, value in meta.items():
        if name.endswith(("_j", "_s")):
            check_number(f"cost.{name}", value, least=0)
        else:
            _count(f"cost.{name}", value)
    return cost


@contextmanager
def described(path: Path) -> Iterator[None]:
    """Turn what a well-formed file with impossible contents raises into a `StorageError`."""
    try:
        yield
    except StorageError:
        raise
    except (
        *(FastAIMCError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError),
        RecursionError,
    ) as error:
        text = f"no {error}" if isinstance(error, KeyError) else str(error)
        name = os.fspath(path)
        raise StorageError(f"{name!r} must hold what fastaimc wrote, got: {text}") from error


def core_arrays(core: Core) -> Arrays:
    """Return a core's state as arrays."""
    names = ("conductance", "last_device", "last_s", "clock_s", "identity", "extents")
    arrays = {name: getattr(core, name) for name in (*names, "full_scale_us")}
    if core.cell_pulses is not None:
        arrays["cell_pulses"] = core.cell_pulses
    if core.stuck is not None:
        arrays["stuck"] = core.stuck
    if core.memory.shape[1]:
        arrays["memory"] = core.memory
    for name in WATCH:
        if getattr(core.watch, name) is not None:
            arrays[f"watch.{name}"] = getattr(core.watch, name)
    if core.own_ranges is not None:
        arrays["own_ranges"] = core.own_ranges
    return arrays | {f"counters.{name}": core.counters[name] for name in COUNTERS}


def core_meta(core: Core) -> dict[str, Any]:
    """Return a core's counters of noise."""
    return {"step": core.step, "number": core.number}


def core_from(
    arrays: Arrays, meta: Dictionary[str, Any], config: CoreConfig, engine: Engine, path: Path
) -> Core:
    """Return the core that `core_arrays` and `core_meta` describe."""

    def need(name: str, shape: tuple[int | None, ...], dtype: Any) -> np.ndarray:
        return _finite(arrays, name, shape, dtype, path)

    conductance = need("conductance", (None, config.devices, None, None), np.float32)
    tiles, _, rows, columns = conductance.shape
    core = Core(
        config=config,
        engine=engine,
        identity=need("identity", (tiles, 3), np.uint32),
        extents=need("extents", (tiles, 2), np.int64),
        full_scale_us=need("full_scale_us", (tiles,), np.float32),
        conductance=conductance,
        last_device=need("last_device", (tiles, rows, columns), np.uint8),
        last_s=need("last_s", (tiles, rows, columns), np.float32),
        clock_s=need("clock_s", (tiles,), np.float64),
        memory=no_memory(config, (tiles, rows, columns)),
        step=_count("step", meta["step"], 2**32 - 1),
        number=_count("number", meta["number"], 2**48 - 1),
    )
    if (core.extents < 1).any() or (core.extents > (rows, columns)).any():
        raise ValueError(f"tiles that are not within {rows} x {columns} cells")
    if (core.full_scale_us <= 0).any():
        raise ValueError("an ADC without a range")
    if config.adc.range == "column":
        core.own_ranges = need("own_ranges", (tiles, columns), np.float32)
        if (core.own_ranges <= 0).any():
            raise ValueError("a column's ADC without a range")
    if "cell_pulses" in arrays:
        core.cell_pulses = need("cell_pulses", (tiles, rows, columns), np.uint16)
    if core.memory.shape[1]:
        core.memory = need("memory", core.memory.shape, np.uint8)
    if "stuck" in arrays:
        core.stuck = need("stuck", (tiles, rows, columns), mask_dtype(config.devices))
    for name in WATCH:
        if f"watch.{name}" in arrays:
            setattr(core.watch, name, need(f"watch.{name}", (tiles,), np.float64))
    uncounted = {f"counters.{name}": np.zeros(tiles) for name in PULSES[2:]}  # in early files
    arrays = uncounted | arrays
    core.counters = {name: need(f"counters.{name}", (tiles,), np.float64) for name in COUNTERS}
    return core


def mapping_arrays(prefix: str, mapping: Mapping) -> Arrays:
    """Return a mapping's arrays."""
    names = ("row_edges", "column_edges", "scale")
    return {f"{prefix}.{name}": getattr(mapping, name) for name in names}


def mapping_meta(mapping: Mapping) -> dict[str, Any]:
    """Return the rest of a mapping."""
    return {"shape": list(mapping.shape), "clipped": mapping.clipped}


def mapping_from(prefix: str, arrays: Arrays, meta: Dictionary[str, Any], path: Path) -> Mapping:
    """Return the mapping that `mapping_arrays` and `mapping_meta` describe."""
    rows, columns = (_count("shape", length) for length in meta["shape"])
    edges = {}
    for name, length in (("row_edges", columns), ("column_edges", rows)):
        array = storage.require(arrays, f"{prefix}.{name}", (None,), np.int64, path)
        if len(array) < 2 or array[0] != 0 or array[-1] != length or (np.diff(array) < 1).any():
            raise StorageError(f"{os.fspath(path)!r} must cut its weights from 0 to {length}")
        edges[name] = array
    scale = _finite(arrays, f"{prefix}.scale", (rows,), np.float64, path)
    return Mapping(
        shape=(rows, columns), scale=scale, clipped=_count("clipped", meta["clipped"]), **edges
    )
