"""What programming leaves behind, and how it goes from process to process."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from fastaimc import engine as engines
from fastaimc.core import Core
from fastaimc.cost import Cost
from fastaimc.mapping import Mapping


@dataclass(frozen=True, slots=True)
class Programmed:
    """What programming leaves behind.

    Attributes
    ----------
    core : Core
        The tiles of this matrix, no longer pulsed.
    mapping : Mapping
        How the matrix lies on them.
    targets : ndarray
        (tile, row, column), float32, µS.
    scale, offset : ndarray
        Digital correction of each column, (tile, column), float32.
    cost, history, provenance
        See `AnalogMatrix`.
    """

    core: Core
    mapping: Mapping
    targets: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    input_range: float
    cost: Cost
    history: dict[str, np.ndarray]
    provenance: dict[str, Any]


def pack(programmed: Programmed) -> dict[str, Any]:
    """Return what pickle takes of it: the engine by its name."""
    arrays = _by_name(programmed)
    core = _by_name(arrays.pop("core"))
    module = getattr(core.pop("engine"), "__name__", "")
    engine = next(name for name, home in engines.MODULES.items() if home == module)
    return {"programmed": arrays, "core": core, "engine": engine}


def unpack(saved: dict[str, Any]) -> Programmed:
    """Return what `pack` was given."""
    core = Core(engine=engines.load(saved["engine"]), **saved["core"])
    return Programmed(core=core, **saved["programmed"])


def _by_name(instance: Programmed | Core) -> dict[str, Any]:
    return {item.name: getattr(instance, item.name) for item in fields(instance)}
