"""Resistance of a crossbar's wires, and how IR drop is worked out from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastaimc.errors import ConfigError, check_choice, check_number
from fastaimc.parameters import WireParameters

SOLVERS = ("iterative", "estimate", "exact")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wires:
    """Rows driven at their left ends, and a column line of each polarity, read at the bottom.

    The resistance of a line is that of its segments, one a cell.  "estimate" is a closed form of
    first order in what the two families of lines do to each other; "iterative" adds what it leaves
    out, found by relaxation; "exact" finds it by a sparse factorisation, in seconds for 256².
    """

    row_ohm: float = 0.35  # aihwkit's default for 14 nm; that of HERMES is not published
    column_ohm: float = 0.35  # as row_ohm (assumption: all wires alike)
    solver: str = "iterative"  # assumption: right to 1e-4 for any wires that a core would have

    def __post_init__(self) -> None:
        check_number("wires.row_ohm", self.row_ohm, least=0)
        check_number("wires.column_ohm", self.column_ohm, least=0)
        check_choice("wires.solver", self.solver, SOLVERS)
        if self.row_ohm == 0 and self.column_ohm == 0:
            raise ConfigError(
                "wires.row_ohm or wires.column_ohm must be > 0, got 0 for both: "
                "wires=None is a core without IR drop"
            )

    def parameters(self, unused_rows: int) -> WireParameters:
        """Return the wires as the engines take them, with so many rows below the used ones."""
        ohms = (self.row_ohm, self.column_ohm, (1 + unused_rows) * self.column_ohm)
        return WireParameters(*(np.float64(1e-6 * ohm) for ohm in ohms))
