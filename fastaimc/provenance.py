"""Where a result comes from: versions, machine, config, method, seed."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

from fastaimc.config import CoreConfig, to_json
from fastaimc.engine import Engine

STREAM_VERSION = 1  # raised whenever a seed gives other results than before
PACKAGES = ("fastaimc", "numpy", "numba", "scipy")


def versions() -> dict[str, str]:
    """Return the versions of Python, fastaimc and what it computes with."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def cpu() -> str:
    """Return the processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def provenance(
    config: CoreConfig, method: dict[str, Any], seed: int, engine_name: str, engine: Engine
) -> dict[str, Any]:
    """Return everything needed to make a result again, fit for JSON."""
    return {
        "versions": versions(),
        "cpu": cpu(),
        "system": platform.platform(),
        "engine": engine_name,
        "threading": engine.threading_info(),
        "config": json.loads(to_json(config)),
        "method": method,
        "seed": seed,
        "stream_version": STREAM_VERSION,
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }
