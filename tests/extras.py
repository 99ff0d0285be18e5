"""What extras bring, for tests that are skipped without it; but in CI they fail."""

import importlib
import os
from typing import Any

import pytest


def extra_or_skip(module: str, extra: str) -> Any:
    if os.environ.get("CI") == "true":  # tools/test installs it there
        return importlib.import_module(module)
    return pytest.importorskip(module, reason=f"the {extra} extra is not installed")


def torch_or_skip() -> Any:
    return extra_or_skip("torch", "torch")


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
