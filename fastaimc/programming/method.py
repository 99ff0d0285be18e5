"""What a programming method is."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from fastaimc.engine import Engine
from fastaimc.terminals import Terminals

# All that a method remembers between iterations: arrays by name, so that any of it can be saved.
State = dict[str, np.ndarray]


class Method(Protocol):
    """A way to program a core, as a frozen dataclass of its hyper-parameters.

    A method draws random numbers from `key` and never knows the core's; what it computes in
    digital it asks of `engine`.
    """

    @property
    def iterations(self) -> int:
        """How often `iterate` is called."""

    def start(self, terminals: Terminals, engine: Engine, key: np.ndarray) -> State:
        """Bring the core into its start state."""

    def iterate(
        self, terminals: Terminals, engine: Engine, key: np.ndarray, state: State, index: int
    ) -> None:
        """Measure once and pulse once; change `state` in place.

        `state["batch_error"]` is set to the relative error that the method has seen, (tile,).
        """
