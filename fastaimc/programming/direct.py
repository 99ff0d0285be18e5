"""DirectWrite: cells that take the conductance they are told, with a published spread or none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastaimc.engine import Engine
from fastaimc.programming.method import State
from fastaimc.terminals import Terminals


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectWrite:
    """Write each target once, to the first device of its polarity; the others stay empty.

    For devices given by the statistics of their programmed state, the ideal one among them.
    """

    @property
    def iterations(self) -> int:
        """None: all happens in `start`."""
        return 0

    def start(self, terminals: Terminals, engine: Engine, key: np.ndarray) -> State:
        """Write both polarities."""
        half = terminals.devices // 2
        for index, sign in ((0, 1), (half, -1)):
            device = np.full(terminals.shape, index, dtype=np.uint8)
            value = np.maximum(sign * terminals.targets, np.float32(0))
            if terminals.significance.size:
                value /= terminals.significance[index]
            terminals.pulse(device, value)
        return {}

    def iterate(
        self, terminals: Terminals, engine: Engine, key: np.ndarray, state: State, index: int
    ) -> None:
        """Do nothing."""
