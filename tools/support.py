"""What tools/test needs to know from pyproject.toml and from pytest's reports.

Usage: support.py lowest | dev | counts REPORT...

lowest  the lower bounds of the run-time dependencies, as constraints for pip
dev     the pinned development tools, as requirements for pip
counts  the sum of JUnit reports as the line "N passed, N failed, N skipped"
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
LOWER_BOUND = re.compile(r"([A-Za-z0-9._-]+)\s*>=\s*([0-9][0-9A-Za-z.]*)")


def project() -> dict[str, Any]:
    """Read the [project] table of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    return table


def lowest(dependencies: list[str]) -> list[str]:
    """Pin each dependency to its lower bound; a dependency without one is an error."""
    pins = []
    for dependency in dependencies:
        bound = LOWER_BOUND.match(dependency)
        if bound is None:
            raise SystemExit(f"pyproject.toml: {dependency!r} must start as 'name>=version'")
        pins.append(f"{bound[1]}=={bound[2]}")
    return pins


def counts(reports: list[str]) -> str:
    """Sum JUnit reports; a report that is missing is a run that broke off, and fails as one."""
    total = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for report in reports:
        if not Path(report).exists():
            total["tests"] += 1
            total["errors"] += 1
            continue
        for suite in ET.parse(report).iter("testsuite"):  # noqa: S314 - pytest wrote it
            for key in total:
                total[key] += int(suite.get(key, "0"))
    failed = total["failures"] + total["errors"]
    passed = total["tests"] - failed - total["skipped"]
    return f"{passed} passed, {failed} failed, {total['skipped']} skipped"


def main(arguments: list[str]) -> None:
    """Print what was asked for."""
    match arguments:
        case ["lowest"]:
            print("\n".join(lowest(project()["dependencies"])))
        case ["dev"]:
            print("\n".join(project()["optional-dependencies"]["dev"]))
        case ["counts", *reports]:
            print(counts(reports))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
