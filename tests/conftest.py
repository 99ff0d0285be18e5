"""Settings that all tests share."""

import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

IN_CI = os.environ.get("CI") == "true"
COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")

# The first example of a kernel compiles it, and other programs may be busy: time is no property of
# the code. Without the compiler an example takes thousands of times longer, so there are few.
settings.register_profile(
    "fastaimc",
    deadline=None,
    derandomize=IN_CI,
    max_examples=50 if COMPILED else 8,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=not IN_CI,
)
settings.load_profile("fastaimc")


# Files of fastaimc/network that need PyTorch as soon as they are imported, be it for doctests.
NEED_TORCH = {"conversion.py", "convolution.py", "folding.py", "layers.py", "summary.py"}


class WithoutTorch:
    """Where PyTorch is not installed there are no doctests of what needs it."""

    @staticmethod
    def pytest_ignore_collect(collection_path: Path) -> bool | None:
        found = collection_path.parent.name == "network" and collection_path.name in NEED_TORCH
        return True if found else None


def pytest_configure(config: pytest.Config) -> None:
    """Register what holds for the package, too: hooks of this file hold for this folder alone."""
    if not IN_CI and importlib.util.find_spec("torch") is None:
        config.pluginmanager.register(WithoutTorch())


def pytest_report_header() -> list[str]:
    """Say which package is tested, and how."""
    spec = importlib.util.find_spec("fastaimc")
    where = "not found" if spec is None else str(spec.origin)
    return [f"fastaimc: {where}", f"numba: {'compiled' if COMPILED else 'not compiled'}"]
