"""How a measured row is written, in the terminal as in the README."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COLUMNS = ("work", "rows", "batch", "goal", "measured", "spread", "fastest", "unit", "met")


def number(value: float | None) -> str:
    """Return three digits of a number, and a dash for none."""
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def row(info: Mapping[str, Any]) -> list[str]:
    """Return the cells of a row from what a benchmark has noted in its `extra_info`."""
    goal = info["goal"]
    sign = "≥" if info["at_least"] else "≤"
    met = {None: "–", True: "yes", False: "no"}[info["met"]]
    return [
        info["work"],
        "" if info["n"] is None else str(info["n"]),
        "" if info["batch"] is None else str(info["batch"]),
        "–" if goal is None else f"{sign} {number(goal)}",
        number(info["value"]),
        f"{number(info['low'])} to {number(info['high'])}",
        number(info["fastest"]),
        info["unit"],
        met,
    ]
