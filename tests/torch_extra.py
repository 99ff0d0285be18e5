"""PyTorch for the tests of converted models: they are skipped without it, but in CI they fail."""

import importlib
import os
from typing import Any

import pytest


def torch_or_skip() -> Any:
    if os.environ.get("CI") == "true":  # tools/test installs it there
        return importlib.import_module("torch")
    return pytest.importorskip("torch", reason="the torch extra is not installed")
