"""PyTorch for the tests of converted models: they are skipped without it, but in CI they fail."""

import importlib
import os
from typing import Any

import pytest


def torch_or_skip() -> Any:
    if os.environ.get("CI") == "true":  # tools/test installs it there
        return importlib.import_module("torch")
    return pytest.importorskip("torch", reason="the torch extra is not installed")


class Answers:
    """A data set of a model's outputs, each at a place of its own in the stream of noise.

    It is here because a process that is spawned can import this file.
    """

    def __init__(self, model: Any, inputs: Any) -> None:
        self.model, self.inputs = model, inputs

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> Any:
        import fastaimc as fa

        fa.network.seek(self.model, 1000 * index)
        return self.model(self.inputs[index]).detach()
