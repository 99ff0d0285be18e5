"""What experiments share: figures with errors, Markdown tables, excerpts in the README."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastaimc.provenance import cpu, versions

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results"


def mean_and_error(values: Sequence[float] | np.ndarray, digits: int = 3) -> str:
    """Return ``mean ± standard error``."""
    spread = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{np.mean(values):.{digits}f} ± {spread:.{digits}f}"


def table(header: list[str], lines: list[list[str]]) -> str:
    """Return a Markdown table."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def provenance() -> dict[str, Any]:
    """Return where figures of time come from, fit for JSON."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    return {"versions": versions(), "cpu": cpu(), "cores": os.cpu_count(), "date": now}


def made(where: dict[str, Any]) -> str:
    """Return a provenance in one line."""
    names = ("fastaimc", "numpy", "numba", "scipy")
    packages = ", ".join(f"{name} {where['versions'][name]}" for name in names)
    return f"{where['cpu']}, {where['cores']} cores; {packages}; {where['date'][:10]}."


def write_excerpt(name: str, text: str) -> None:
    """Write a text between its two markers in the README."""
    readme = ROOT / "README.md"
    before, marker, rest = readme.read_text().partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->\n")
    if not marker or not end:
        raise ValueError(f"README.md has no markers <!-- {name} --> and <!-- /{name} -->")
    readme.write_text(before + marker + "\n" + text + "\n" + end + after)
