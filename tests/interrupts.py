"""Programs that are interrupted, and all that two of them must have in common."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastaimc as fa
from fastaimc.core import STATE

CONFIG = fa.override(fa.presets.hermes(), {"rows": 16, "columns": 12})
WEIGHTS = np.random.default_rng(0).normal(size=(20, 24))  # four tiles
ROUNDS = 12
IP = fa.IterativeProgramming(iterations=ROUNDS, final_passes=2)
GDP = fa.GradientDescentProgramming(iterations=ROUNDS, batch=32, affine_every=0, final_passes=2)


def digest(result: Any) -> str:
    """Of all that a program returns: cells, outputs, history, cost."""
    matrices = result if isinstance(result, dict) else {"": result}
    found = hashlib.sha256()
    for name, matrix in matrices.items():
        found.update(name.encode())
        for array in (*STATE, "memory"):
            found.update(np.ascontiguousarray(getattr(matrix.core, array)).tobytes())
        x = np.random.default_rng(1).uniform(-1, 1, (5, matrix.shape[1]))
        found.update(matrix.mvm(x).tobytes() + matrix.weights().tobytes())
        for key, values in matrix.history.items():
            found.update(key.encode() + values.tobytes())
        found.update(json.dumps(matrix.cost.as_dict()).encode())
        found.update(matrix.programmed.scale.tobytes() + matrix.programmed.offset.tobytes())
        found.update(json.dumps([matrix.core.step, matrix.core.number]).encode())
    return found.hexdigest()


class Presser:
    """A progress function that presses Ctrl-C when `at` iterations are done."""

    def __init__(self, at: int, times: int = 1) -> None:
        self.at, self.times, self.seen = at, times, list[int]()

    def __call__(self, done: int, total: int, text: str) -> None:
        self.seen.append(done)
        if done == self.at:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)


def program(
    weights: Any = WEIGHTS, method: Any = IP, config: fa.CoreConfig = CONFIG, **rest: Any
) -> Any:
    return fa.program(weights, config, method, seed=3, threads=1, **rest)


def interrupted(path: Path, at: int, weights: Any = WEIGHTS, method: Any = IP, **rest: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        program(weights, method, checkpoint=path, progress=Presser(at), **rest)
