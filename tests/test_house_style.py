"""The manners of the house: files and functions are short and finished, needs are declared."""

import ast
import re
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, cast

from architecture import PACKAGE, ROOT, imports, modules, none, parse

UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
MAX_LINES_OF_A_FILE = 400
MAX_LINES_OF_A_FUNCTION = 60
TESTS = ROOT / "tests"


def sources(*more: Path) -> list[Path]:
    """The package, the tools and the benchmarks, and what is in `more` folders."""
    folders = (PACKAGE, ROOT / "tools", ROOT / "bench", *more)
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def test_files_are_short() -> None:
    none(
        [
            f"{path.relative_to(ROOT)}: {lines} lines"
            for path in sources(TESTS)
            if (lines := len(path.read_text(encoding="utf-8").splitlines())) >= MAX_LINES_OF_A_FILE
        ]
    )


def test_functions_are_short() -> None:
    violations = []
    for path in sources():
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines >= MAX_LINES_OF_A_FUNCTION:
                    where = f"{path.relative_to(ROOT)}:{node.lineno}"
                    violations.append(f"{where} {node.name}: {lines} lines")
    none(violations)


def test_nothing_is_left_unfinished() -> None:
    none(
        [
            f"{path.relative_to(ROOT)}:{number} {match[0]}"
            for path in sources()
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
            if (match := UNFINISHED.search(line))
        ]
    )


@cache
def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return cast(dict[str, Any], table["project"])


def required(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9_-]", requirement)[0] for requirement in requirements}


def test_what_is_imported_is_declared() -> None:
    """At start the run-time dependencies, inside functions also those of an extra for users.

    Who may load PyTorch at start is a matter of test_architecture.py.
    """
    run_time = required(project()["dependencies"])
    extras = project()["optional-dependencies"].items()
    optional = {n for extra, needs in extras if extra != "dev" for n in required(needs)}
    known = {"fastaimc", *sys.stdlib_module_names}
    none(
        [
            f"{module.relative}:{i.line} imports {i.module}, which pyproject.toml does not declare"
            for module in modules()
            for i in imports(module)
            if i.top not in known | (run_time if i.at_start else run_time | optional)
            and (i.top, module.house) != ("torch", "network")
        ]
    )


def test_dependencies_have_bounds_and_tools_are_pinned() -> None:
    none([d for d in project()["dependencies"] if not re.fullmatch(r"[\w.-]+>=[\d.]+", d)])
    dev = project()["optional-dependencies"]["dev"]
    none([d for d in dev if not re.fullmatch(r"[\w.-]+(\[\w+\])?==[\w.]+", d)])


def test_one_version() -> None:
    version = project()["version"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {version}\n" in citation
    none(
        [
            f"{module.relative} repeats the version"
            for module in modules()
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Constant) and node.value == version
        ]
    )
