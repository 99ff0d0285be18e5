"""The floors of the house, held by reading the sources: who may import whom, and what no file does.

A module imports only from floors below its own, or from its own package. A new module under
fastaimc/ gets a line in `FLOORS`.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, cast

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "fastaimc"

# Lowest first. A name is a file or a folder of fastaimc/; names on one floor do not see each other.
FLOORS = {
    "errors": 0,
    "parameters": 0,
    "config": 1,
    "storage": 1,
    "progress": 1,
    "cost": 2,
    "nominal": 2,
    "mapping": 3,
    "reference": 3,
    "kernels": 3,
    "engine": 4,
    "provenance": 5,
    "core": 6,
    "terminals": 7,
    "programming": 8,
    "matrix": 9,
    "metrics": 10,
    "job": 10,
    "files": 10,
    "checkpoint": 11,
    "api": 12,
    "cli": 13,
    "__main__": 14,
    "__init__": 14,
}
# The twins share the flat numbers that an engine takes, and nothing else.
TWINS_MAY_IMPORT = {"parameters"}
ONLY_IN_KERNELS = {"jit"}
ONLY_IN_REFERENCE: set[str] = set()
# What must start fast.
WITHOUT_NUMBA_AND_SCIPY = ("errors", "parameters", "config", "cli", "__init__")
# Only kernels/jit.py decides how kernels are compiled, cached and threaded.
ONLY_IN_JIT = {
    *("cfunc", "config", "guvectorize", "jit", "njit", "set_num_threads", "set_parallel_chunksize"),
    *("stencil", "threading_layer", "vectorize"),
}
RANDOM = {"np.random", "numpy.random"}
PICKLES = {"_pickle", "cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
MAX_LINES_OF_A_FILE = 400
MAX_LINES_OF_A_FUNCTION = 60


@dataclass(frozen=True)
class Import:
    """One imported module, and the names taken from it."""

    module: str
    names: tuple[str, ...]
    line: int
    when_called: bool  # inside a function
    for_types: bool  # under TYPE_CHECKING

    @property
    def at_start(self) -> bool:
        return not (self.when_called or self.for_types)

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


@dataclass(frozen=True)
class Module:
    """One file of the package."""

    path: Path

    @property
    def relative(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def name(self) -> str:
        return dotted(self.path)

    @property
    def house(self) -> str:
        return house(self.name)

    @property
    def tree(self) -> ast.Module:
        return parse(self.path)

    @property
    def is_jit(self) -> bool:
        return self.name == "fastaimc.kernels.jit"


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def house(name: str) -> str:
    """Name the entry of `FLOORS` that a module of the package belongs to."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def modules() -> tuple[Module, ...]:
    return tuple(Module(path) for path in sorted(PACKAGE.rglob("*.py")))


def in_house(*names: str) -> list[Module]:
    return [module for module in modules() if module.house in names]


def exists(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


@cache
def imports(module: Module) -> tuple[Import, ...]:
    return tuple(walk(module, module.tree, when_called=False, for_types=False))


def walk(module: Module, node: ast.AST, *, when_called: bool, for_types: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        called = when_called or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for statement in child.body:
                yield from found(module, statement, called, for_types=True)
                yield from walk(module, statement, when_called=called, for_types=True)
            for statement in child.orelse:
                yield from found(module, statement, called, for_types=for_types)
                yield from walk(module, statement, when_called=called, for_types=for_types)
        else:
            yield from found(module, child, called, for_types=for_types)
            yield from walk(module, child, when_called=called, for_types=for_types)


def found(module: Module, node: ast.AST, when_called: bool, *, for_types: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, (), node.lineno, when_called, for_types)
    elif isinstance(node, ast.ImportFrom):
        base = absolute(module, node)
        names = tuple(alias.name for alias in node.names)
        # `from package import module` imports the module; any other name comes from the package.
        submodules = [n for n in names if base.startswith("fastaimc") and exists(f"{base}.{n}")]
        for name in submodules:
            yield Import(f"{base}.{name}", (), node.lineno, when_called, for_types)
        rest = tuple(n for n in names if n not in submodules)
        if rest:
            yield Import(base, rest, node.lineno, when_called, for_types)


def absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    is_package = module.path.name == "__init__.py"
    kept = parts[: len(parts) - node.level + is_package]
    return ".".join([*kept, node.module] if node.module else kept)


def internal(module: Module) -> list[Import]:
    return [i for i in imports(module) if i.top == "fastaimc"]


def none(violations: list[str]) -> None:
    assert not violations, "\n" + "\n".join(violations)


def test_every_module_has_a_floor() -> None:
    none(
        [
            f"{module.relative}: {module.house!r} has no floor; add it to FLOORS in {__file__}"
            for module in modules()
            if module.house not in FLOORS
        ]
    )


def test_imports_go_to_lower_floors() -> None:
    none(
        [
            f"{module.relative}:{i.line} imports {i.module}, which is not below {module.house}"
            for module in modules()
            for i in internal(module)
            if house(i.module) != module.house
            and FLOORS.get(house(i.module), 99) >= FLOORS.get(module.house, 99)
        ]
    )


def test_no_circles() -> None:
    graph = {
        module.name: {i.module for i in internal(module) if i.module != module.name}
        for module in modules()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("imports in a circle: " + " -> ".join(error.args[1]))


@pytest.mark.parametrize("twin", ["reference", "kernels"])
def test_twins_know_only_themselves(twin: str) -> None:
    none(
        [
            f"{module.relative}:{i.line} imports {i.module}"
            for module in in_house(twin)
            for i in internal(module)
            if house(i.module) not in {twin, *TWINS_MAY_IMPORT}
        ]
    )


def test_twins_have_the_same_files() -> None:
    kernels = {module.path.stem for module in in_house("kernels")} - ONLY_IN_KERNELS
    reference = {module.path.stem for module in in_house("reference")} - ONLY_IN_REFERENCE
    none(
        [f"kernels/{name}.py has no twin in reference/" for name in sorted(kernels - reference)]
        + [f"reference/{name}.py has no twin in kernels/" for name in sorted(reference - kernels)]
    )


def test_the_reference_is_numpy() -> None:
    """Also inside functions: no Numba, and of SciPy only special functions at start."""
    allowed = {"fastaimc", "numpy", "scipy", *sys.stdlib_module_names}
    none(
        [
            f"{module.relative}:{i.line} imports {i.module}"
            for module in in_house("reference")
            for i in imports(module)
            if i.top not in allowed or (i.top == "scipy" and i.at_start and not is_scipy_special(i))
        ]
    )


def is_scipy_special(i: Import) -> bool:
    return i.module.startswith("scipy.special") or (i.module == "scipy" and i.names == ("special",))


def test_numba_stays_in_kernels() -> None:
    none(
        [
            f"{module.relative}:{i.line} imports {i.module}"
            for module in modules()
            for i in imports(module)
            if i.top in {"numba", "llvmlite"} and module.house != "kernels"
        ]
    )


def test_options_of_numba_stay_in_jit() -> None:
    none(
        [
            f"{module.relative}:{i.line} imports {i.module} {', '.join(i.names)}"
            for module in in_house("kernels")
            for i in imports(module)
            if i.top == "numba"
            and not module.is_jit
            and (not i.names or ONLY_IN_JIT.intersection(i.names))
        ]
    )


def test_scipy_waits() -> None:
    """In kernels it is imported inside functions; scipy.sparse is everywhere."""
    none(
        [
            f"{module.relative}:{i.line} imports {i.module} at start"
            for module in modules()
            for i in imports(module)
            if i.top == "scipy"
            and i.at_start
            and not module.is_jit
            and (
                module.house == "kernels"
                or i.module.startswith("scipy.sparse")
                or "sparse" in i.names
            )
        ]
    )


def test_kernels_neither_raise_nor_draw_from_numpy() -> None:
    violations = []
    for module in in_house("kernels"):
        if module.is_jit:
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Raise | ast.Assert):
                violations.append(f"{module.relative}:{node.lineno} raises")
            elif isinstance(node, ast.ClassDef):
                violations.append(f"{module.relative}:{node.lineno} defines a class")
            elif isinstance(node, ast.Attribute) and ast.unparse(node) in RANDOM:
                violations.append(f"{module.relative}:{node.lineno} uses {ast.unparse(node)}")
        violations += [
            f"{module.relative}:{i.line} imports {i.module}"
            for i in imports(module)
            if i.top == "random"
            or i.module.startswith("numpy.random")
            or (i.module == "numpy" and "random" in i.names)
        ]
    none(violations)


def test_no_pickle() -> None:
    violations = [
        f"{module.relative}:{i.line} imports {i.module}"
        for module in modules()
        for i in imports(module)
        if i.top in PICKLES
    ]
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                constant = node.value.value if isinstance(node.value, ast.Constant) else None
                if constant is not False:
                    violations.append(f"{module.relative}:{node.value.lineno} allows pickle")
    none(violations)


def sized() -> list[Path]:
    """The package, the tools and the benchmarks; tests may be long where a table is."""
    return sorted(
        path
        for folder in (PACKAGE, ROOT / "tools", ROOT / "bench")
        for path in folder.rglob("*.py")
    )


def test_files_are_short() -> None:
    none(
        [
            f"{path.relative_to(ROOT)}: {lines} lines"
            for path in sized()
            if (lines := len(path.read_text(encoding="utf-8").splitlines())) >= MAX_LINES_OF_A_FILE
        ]
    )


def test_functions_are_short() -> None:
    violations = []
    for path in sized():
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
            for path in sized()
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
            if (match := UNFINISHED.search(line))
        ]
    )


@pytest.mark.nojit
@pytest.mark.parametrize("name", WITHOUT_NUMBA_AND_SCIPY)
def test_starts_without_numba_and_scipy(name: str) -> None:
    target = "fastaimc" if name == "__init__" else f"fastaimc.{name}"
    if exists(target):
        assert loaded_by([target], {"numba", "llvmlite", "scipy"}) == ""


def test_the_reference_loads_no_numba() -> None:
    names = [module.name for module in in_house("reference")]
    assert loaded_by(names, {"numba", "llvmlite"}) == ""


def loaded_by(names: list[str], unwanted: set[str]) -> str:
    """Import modules in a new process, from where this one has them; name what came along."""
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; import importlib\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(*sorted({unwanted!r}.intersection(sys.modules)))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@cache
def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return cast(dict[str, Any], table["project"])


def required(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9_-]", requirement)[0] for requirement in requirements}


def test_what_is_imported_is_declared() -> None:
    """At start the run-time dependencies, inside functions also those of an extra for users."""
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
