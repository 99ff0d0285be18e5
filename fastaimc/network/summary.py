"""What the layers of a converted model are on cores: tiles, use, error, cost; a table of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from rich import box
from rich.table import Table

from fastaimc.cost import Cost
from fastaimc.matrix import AnalogMatrix
from fastaimc.metrics import MVMError, mvm_error
from fastaimc.network.layers import analog_layers

SLOWEST = {"latency_s", "wait_s"}  # of matrices that are programmed side by side


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One layer of a converted model.

    Attributes
    ----------
    name, kind : str
        Its place in the model; the layer it stands for.
    shape : tuple of int
        (out, in) of its matrices.
    matrices, tiles : int
        How many it has: a matrix for each group or projection.
    utilisation : float
        Cells in use over the cells of the physical crossbars that its tiles take.
    input_range : float
        The largest of its matrices.
    error : MVMError
        On uniform inputs now, the mean of its matrices.
    cost : Cost
        Of programming; the slowest matrix's time.
    shares : str or None
        The first layer with the same matrices: they are not counted again.
    """

    name: str
    kind: str
    shape: tuple[int, int]
    matrices: int
    tiles: int
    utilisation: float
    input_range: float
    error: MVMError
    cost: Cost
    shares: str | None


@dataclass(frozen=True, slots=True)
class NetworkReport:
    """The layers of a converted model, from the first to the last.

    Attributes
    ----------
    layers : tuple of LayerReport
        Each place of a layer once.
    tiles : int
        Of all layers, those of shared weights once.
    utilisation : float
        Cells in use over the cells of all their crossbars.
    cost : Cost
        Of programming them side by side.
    """

    layers: tuple[LayerReport, ...]
    tiles: int
    utilisation: float
    cost: Cost

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as dictionaries and lists that JSON can write."""
        whole = asdict(self)
        whole["layers"] = [layer | {"shape": [*layer["shape"]]} for layer in whole["layers"]]
        return whole

    def __rich__(self) -> Table:
        """Return the table that ``rich.print`` shows: total errors, costs of programming."""
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
        for name in ("layer", "kind"):
            table.add_column(name, no_wrap=True)
        columns = ("matrices", "tiles", "used \\[%]", "range", "error \\[%]")
        for name in (*columns, "MVM-eq.", "\\[µJ]", "\\[s]"):
            table.add_column(name, justify="right", no_wrap=True)
        for layer in self.layers:
            table.add_row(
                layer.name,
                layer.kind,
                _shapes(layer),
                f"as {layer.shares}" if layer.shares else f"{layer.tiles}",
                f"{100 * layer.utilisation:.1f}",
                f"{layer.input_range:.3g}",
                f"{100 * layer.error.total:.2f}",
                *_costs(layer.cost),
            )
        use = f"{100 * self.utilisation:.1f}"
        table.add_section()
        table.add_row("all", "", "", f"{self.tiles}", use, "", "", *_costs(self.cost))
        return table


def _shapes(layer: LayerReport) -> str:
    shape = f"{layer.shape[0]}×{layer.shape[1]}"
    return shape if layer.matrices == 1 else f"{layer.matrices} of {shape}"


def _costs(cost: Cost) -> tuple[str, str, str]:
    return f"{cost.mvm_equivalents:,}", f"{1e6 * cost.energy_j:.0f}", f"{cost.latency_s:.1f}"


def summarise(model: Any, samples: int, seed: int) -> NetworkReport:
    """See `fastaimc.network.report`."""
    layers: list[LayerReport] = []
    owner: dict[int, str] = {}
    errors: dict[int, MVMError] = {}
    every: dict[int, AnalogMatrix] = {}
    for name, layer in analog_layers(model):
        matrices: list[AnalogMatrix] = layer.matrices
        shares = owner.get(id(matrices[0]))
        for matrix in matrices:
            every[id(matrix)] = matrix
            owner.setdefault(id(matrix), name)
            if id(matrix) not in errors:
                errors[id(matrix)] = mvm_error(matrix, samples, seed)
        layers.append(
            LayerReport(
                name=name or "model",
                kind=layer.kind,
                shape=matrices[0].shape,
                matrices=len(matrices),
                tiles=_tiles(matrices),
                utilisation=_utilisation(matrices),
                input_range=max(matrix.input_range for matrix in matrices),
                error=_mean([errors[id(matrix)] for matrix in matrices]),
                cost=_together(matrix.cost for matrix in matrices),
                shares=shares,
            )
        )
    whole = list(every.values())
    cost = _together(matrix.cost for matrix in whole)
    return NetworkReport(tuple(layers), _tiles(whole), _utilisation(whole), cost)


def _tiles(matrices: list[AnalogMatrix]) -> int:
    return sum(matrix.programmed.mapping.tiles for matrix in matrices)


def _utilisation(matrices: list[AnalogMatrix]) -> float:
    config = matrices[0].config
    used = sum(matrix.shape[0] * matrix.shape[1] for matrix in matrices)
    return used / (_tiles(matrices) * config.rows * config.columns)


def _mean(errors: list[MVMError]) -> MVMError:
    names = [item.name for item in fields(MVMError)]
    return MVMError(
        **{name: sum(getattr(error, name) for error in errors) / len(errors) for name in names}
    )


def _together(costs: Iterable[Cost]) -> Cost:
    """Return the cost of matrices programmed side by side."""
    parts = list(costs)
    total = {}
    for item in fields(Cost):
        values = [getattr(cost, item.name) for cost in parts]
        total[item.name] = max(values) if item.name in SLOWEST else sum(values)
    return Cost(**total)
