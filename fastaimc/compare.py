"""Which method programs a network better: the same weights by every method, over seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastaimc.api import program
from fastaimc.candidates import Candidate
from fastaimc.mapping import cuts
from fastaimc.matrix import AnalogMatrix
from fastaimc.metrics import INPUTS, exact_conductances, mvm_error, weight_error
from fastaimc.network.perceptron import Network, accuracy, digital, forward
from fastaimc.programming import Method

OUTSIDE = 0.025  # a cell is outside if it is off by more than this part of g_max
EXACT = "exact"
WHOLE = "all layers"

Matrices = dict[str, AnalogMatrix]


@dataclass(frozen=True, slots=True)
class Row:
    """What one candidate did to one layer with one seed.

    Errors are relative: `total`, `linear` and `residual` for uniform inputs, `residual_sparse` and
    `residual_relu` for others; `outside` is the part of cells off by more than 2.5 % of g_max.
    """

    label: str
    seed: int
    layer: str
    cells: int
    total: float
    linear: float
    residual: float
    residual_sparse: float
    residual_relu: float
    floor: float
    weight_error: float
    outside: float
    pulses: float
    mvms: float
    row_reads: float
    mvm_equivalents: float
    energy_j: float
    latency_s: float


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Accuracy of the default network programmed by one candidate with one seed."""

    label: str
    seed: int
    accuracy: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that was measured.

    Attributes
    ----------
    histories : dict
        Of the first seed, all layers together, by label: as `AnalogMatrix.history`, and
        "mvm_equivalents".
    maps : dict
        Error of every cell of the first seed's largest tile, (row, column), µS, by label.
    pulses : dict
        Of every cell of the first seed, all layers one after another, uint16, by label.
    methods : dict
        Every layer's method with all its parameters, by label and layer.
    """

    rows: list[Row]
    accuracies: list[Accuracy]
    histories: dict[str, dict[str, np.ndarray]]
    maps: dict[str, np.ndarray]
    pulses: dict[str, np.ndarray]
    methods: dict[str, dict[str, Any]]
    provenance: dict[str, Any]

    @property
    def labels(self) -> list[str]:
        """Candidates in their order."""
        return list(dict.fromkeys(row.label for row in self.rows))

    @property
    def layers(self) -> list[str]:
        """Layers in their order, the whole last."""
        return list(dict.fromkeys(row.layer for row in self.rows))

    @property
    def seeds(self) -> int:
        """How many programs there are of every candidate."""
        return len({row.seed for row in self.rows})

    def values(self, label: str, layer: str, field: str) -> np.ndarray:
        """Return one figure over the seeds."""
        found = [row for row in self.rows if row.label == label and row.layer == layer]
        return np.array([getattr(row, field) for row in found])


def compare(
    weights: Mapping[str, np.ndarray],
    ways: Sequence[Candidate],
    seeds: int,
    *,
    network: Network | None = None,
    images: tuple[np.ndarray, np.ndarray] | None = None,
    engine: str = "numba",
    threads: int | None = None,
    samples: int = 500,
    progress: Callable[[int, int, str], None] | None = None,
) -> Comparison:
    """Program all weights by every candidate with every seed, and measure.

    The exact write, whose cells hold their targets, is measured with the first candidate's
    converters.  With a network and labelled images its accuracy is measured, too.

    Raises
    ------
    KeyboardInterrupt
        Before the first seed is whole; later, what there is of whole seeds is returned, and its
        `seeds` are fewer than asked for.
    """
    found = Comparison([], [], {}, {}, {}, {}, {})
    seen = images if network is not None else None
    if network is not None and seen is not None:
        logits = forward(network, seen[0], digital(network))
        found.accuracies.append(Accuracy("digital", 0, accuracy(logits, seen[1])))
    options: dict[str, Any] = {
        "ranges": network.input_ranges if network else dict.fromkeys(weights, 1.0),
        "engine": engine,
        "threads": threads,
    }
    total = seeds * len(ways)
    try:
        for index in range(total):
            seed, way = index // len(ways), ways[index % len(ways)]
            observed: dict[str, Any] = {"seed": seed, "record_every": 1 if seed == 0 else 0}
            matrices = program_each(weights, way, **options, **observed)
            if way is ways[0]:
                _add(found, EXACT, seed, _exact(matrices), samples, network, seen)
            _add(found, way.label, seed, matrices, samples, network, seen)
            if seed == 0:
                _observe(found, way.label, matrices)
            if progress is not None:
                progress(index + 1, total, f"{way.label}, seed {seed}")
    except KeyboardInterrupt:
        whole = _first_seeds(found, index // len(ways))
        if not whole.rows:
            raise
        return whole
    return found


def _add(
    found: Comparison,
    label: str,
    seed: int,
    matrices: Matrices,
    samples: int,
    network: Network | None,
    images: tuple[np.ndarray, np.ndarray] | None,
) -> None:
    """Measure what one candidate programmed with one seed."""
    found.rows.extend(_measure(label, seed, matrices, samples))
    if network is not None and images is not None:
        logits = forward(network, images[0], {n: m.mvm for n, m in matrices.items()})
        found.accuracies.append(Accuracy(label, seed, accuracy(logits, images[1])))


def _observe(found: Comparison, label: str, matrices: Matrices) -> None:
    """Keep what was recorded of a candidate."""
    found.histories[label] = _history(matrices)
    found.maps[label] = _map(matrices)
    found.pulses[label] = _pulses(matrices)
    found.methods[label] = {n: m.provenance["method"] for n, m in matrices.items()}
    if not found.provenance:
        found.provenance.update(next(iter(matrices.values())).provenance)


def _first_seeds(found: Comparison, seeds: int) -> Comparison:
    """Return what was measured with the first seeds, of which all candidates are whole."""
    rows = [row for row in found.rows if row.seed < seeds]
    accuracies = [item for item in found.accuracies if item.seed < seeds]
    return dataclasses.replace(found, rows=rows, accuracies=accuracies)


def program_each(
    weights: Mapping[str, np.ndarray],
    way: Candidate,
    *,
    ranges: Mapping[str, float],
    **options: Any,
) -> Matrices:
    """Program all weights, those whose tiles have as many rows together.

    A stack's tiles are as large as its largest, and some methods' batches as large as its tiles.
    """
    found: Matrices = {}
    layers: dict[tuple[Method, int], list[str]] = {}
    for name, matrix in weights.items():
        rows = int(np.diff(cuts(matrix.shape[1], way.config.rows)).max())
        layers.setdefault((way.method_for(rows), rows), []).append(name)
    for (method, _), names in layers.items():
        parts = {name: weights[name] for name in names}
        own = {name: ranges[name] for name in names}
        found |= program(parts, way.config, method, input_range=own, **options)
    return {name: found[name] for name in weights}


def _exact(matrices: Matrices) -> Matrices:
    return {
        name: matrix.with_conductances(exact_conductances(matrix))
        for name, matrix in matrices.items()
    }


def _measure(label: str, seed: int, matrices: Matrices, samples: int) -> Iterator[Row]:
    """Yield a row for every layer and one for the whole."""
    found = [_row(label, seed, name, matrix, samples) for name, matrix in matrices.items()]
    yield from found
    cells = np.array([row.cells for row in found])
    names = [field.name for field in dataclasses.fields(Row)][4:]
    values = {name: np.array([getattr(row, name) for row in found]) for name in names}
    whole = {}
    for name, value in values.items():
        if name == "latency_s":
            whole[name] = float(value.max())
        elif name == "outside":
            whole[name] = float((value * cells).sum() / cells.sum())
        elif name in ("pulses", "mvms", "row_reads", "mvm_equivalents", "energy_j"):
            whole[name] = float(value.sum())
        else:
            whole[name] = float(np.sqrt((value**2 * cells).sum() / cells.sum()))
    yield Row(label=label, seed=seed, layer=WHOLE, cells=int(cells.sum()), **whole)


def _row(label: str, seed: int, name: str, matrix: AnalogMatrix, samples: int) -> Row:
    errors = {
        kind: mvm_error(matrix, samples=samples, seed=seed + 1, inputs=kind) for kind in INPUTS
    }
    uniform = errors["uniform"]
    cost = matrix.cost
    written = label == EXACT
    off = np.abs(matrix.conductances() - matrix.targets)
    outside = sum(
        int((off[tile, :rows, :columns] > OUTSIDE * matrix.config.g_max_us).sum())
        for tile, (rows, columns) in enumerate(matrix.core.extents)
    )
    cells = matrix.shape[0] * matrix.shape[1]
    return Row(
        label=label,
        seed=seed,
        layer=name,
        cells=cells,
        total=uniform.total,
        linear=uniform.linear,
        residual=uniform.residual,
        residual_sparse=errors["sparse"].residual,
        residual_relu=errors["relu"].residual,
        floor=uniform.floor,
        weight_error=weight_error(matrix),
        outside=outside / cells,
        pulses=0.0 if written else float(cost.pulses_set + cost.pulses_reset),
        mvms=0.0 if written else float(cost.mvms),
        row_reads=0.0 if written else float(cost.row_reads),
        mvm_equivalents=0.0 if written else float(cost.mvm_equivalents),
        energy_j=0.0 if written else cost.energy_j,
        latency_s=0.0 if written else cost.latency_s,
    )


def _map(matrices: Matrices) -> np.ndarray:
    """Return the errors of the cells of the largest tile."""
    largest = max(matrices.values(), key=lambda matrix: matrix.core.extents.prod(axis=1).max())
    extents = largest.core.extents
    tile = int(extents.prod(axis=1).argmax())
    rows, columns = extents[tile]
    error = largest.conductances()[tile] - largest.targets[tile]
    return np.asarray(error[:rows, :columns])


def _pulses(matrices: Matrices) -> np.ndarray:
    """Return how many pulses every cell of recorded matrices got."""
    counts = [matrix.cell_pulses for matrix in matrices.values()]
    flat = np.concatenate([count.ravel() for count in counts if count is not None])
    return flat.astype(np.uint16)


def _history(matrices: Matrices) -> dict[str, np.ndarray]:
    """Return the whole's history: sums of counts, rms of errors weighted by cells.

    A layer that is done before the others stays as it is.
    """
    histories = [matrix.history for matrix in matrices.values()]
    longest = max(histories, key=lambda history: len(history["iteration"]))
    histories = [_extended(history, len(longest["iteration"])) for history in histories]
    cells = np.array([matrix.shape[0] * matrix.shape[1] for matrix in matrices.values()])[:, None]
    out = {"iteration": longest["iteration"]}
    for name in histories[0]:
        stack = np.array([history[name] for history in histories], dtype=np.float64)
        if name.endswith("error"):
            out[name] = np.sqrt((stack**2 * cells).sum(axis=0) / cells.sum())
        elif name == "latency_s":
            out[name] = stack.max(axis=0)
        elif name != "iteration":
            out[name] = stack.sum(axis=0)
    phases = next(iter(matrices.values())).config.dac.phases
    out["mvm_equivalents"] = phases * out["mvms"] + out["row_reads"]
    return out


def _extended(history: dict[str, np.ndarray], length: int) -> dict[str, np.ndarray]:
    """Return a history that goes on with its last values."""
    return {
        name: np.pad(values, (0, length - len(values)), mode="edge" if len(values) else "constant")
        for name, values in history.items()
    }
