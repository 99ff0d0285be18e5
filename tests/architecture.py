"""The sources of the package as tests read them: its modules, and who imports what."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "fastaimc"


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
