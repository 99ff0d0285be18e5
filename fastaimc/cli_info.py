"""What files and presets hold, for `fastaimc info` and `fastaimc presets`."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
import tokenize
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fastaimc.errors import StorageError

if TYPE_CHECKING:
    from fastaimc.config import CoreConfig

CLIPPED = ("clipped_conductance", "clipped_current")  # pulses, told where there are any

Presets = Mapping[str, "Callable[[], CoreConfig]"]


def describe_file(file: Path, threads: int | None) -> dict[str, Any]:
    """Return what a file of fastaimc holds, fit for JSON but for NaN and inf."""
    from fastaimc.weights import kind_of

    kind = kind_of(file)
    if kind == "matrix":
        return _describe_matrix(file, threads)
    if kind == "checkpoint":
        return _describe_checkpoint(file)
    given = "another file" if kind is None else f"a {kind!r}"
    raise StorageError(f"{str(file)!r} must be a matrix or a checkpoint of fastaimc, got {given}")


def _describe_matrix(file: Path, threads: int | None) -> dict[str, Any]:
    from fastaimc.files import load
    from fastaimc.metrics import mvm_error, weight_error

    matrix = load(file, threads=threads)
    return {
        "kind": "matrix",
        "shape": list(matrix.shape),
        "tiles": matrix.programmed.mapping.tiles,
        "time_s": matrix.time_s,
        "input_range": matrix.input_range,
        "clipped": matrix.clipped,
        **{name: count for name in CLIPPED if (count := getattr(matrix, name))},
        "mvm_error": dataclasses.asdict(mvm_error(matrix)),
        "weight_error": weight_error(matrix),
        "cost": matrix.cost.as_dict(),
        **matrix.provenance,
    }


def _describe_checkpoint(file: Path) -> dict[str, Any]:
    from fastaimc import checkpoint as checkpoints
    from fastaimc.programming import to_dict

    job, _, _ = checkpoints.load(file)
    return {
        "kind": "checkpoint",
        "iterations_done": max(job.run.index, 0),
        "iterations": job.run.method.iterations,
        "layers": {layer.name or "": list(layer.mapping.shape) for layer in job.layers},
        "tiles": sum(layer.mapping.tiles for layer in job.layers),
        "method": to_dict(job.run.method),
        "seed": job.seed,
        "engine": job.engine_name,
    }


def facts_table(facts: Mapping[str, Any]) -> Table:
    """Return what `describe_file` found as two columns; hyper-parameters only by --json."""
    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if name in ("config", "threading"):
            continue
        if name == "method" and isinstance(value, dict):
            value = value.get("kind")
        table.add_row(name.replace("_", " "), Text(_printable(_fact(name, value))))
    return table


def _fact(name: str, value: Any) -> str:
    if isinstance(value, dict):
        unit = name.endswith("error")
        return "\n".join(f"{key}: {_fact(name if unit else key, v)}" for key, v in value.items())
    if isinstance(value, list):
        return "×".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.2%}" if name.endswith("error") else f"{value:.6g}"
    if isinstance(value, int) and name != "seed":
        return f"{value:,}"
    return str(value)


def _printable(text: str) -> str:
    """Return text of a file without what a terminal would obey."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def preset_summaries(known: Presets) -> Group:
    """Return what each preset models, in the words of its docstring."""
    parts: list[Any] = []
    for name, make in known.items():
        parts += _headed(name, make)
    parts.append(Text("`fastaimc presets NAME` shows every number with its source or assumption."))
    return Group(*parts)


def preset_details(name: str, make: Callable[[], CoreConfig]) -> Group:
    """Return every number of a preset with the source that the config's code gives."""
    parts: list[Any] = [
        Text(name, style="bold"),
        Padding(Text(_prose(make)), (0, 0, 1, 2), expand=False),
    ]
    table = Table("field", "value", "source or assumption")
    for path, value, source in _rows(make(), ""):
        table.add_row(Text(path), Text(value), Text(source))
    return Group(*parts, table)


def _headed(name: str, make: Callable[[], CoreConfig]) -> list[Any]:
    prose = Padding(Text(_prose(make)), (0, 0, 1, 2), expand=False)
    return [Text(name, style="bold"), prose]


def _rows(node: Any, prefix: str) -> list[tuple[str, str, str]]:
    """Return path, value and source of every number; nested parts follow one another."""
    comments = field_comments(type(node))
    rows = []
    for item in dataclasses.fields(node):
        value, path = getattr(node, item.name), prefix + item.name
        own = value != default_of(item)
        source = "set by this preset" if own else comments.get(item.name, "")
        if dataclasses.is_dataclass(value) and type(value).__name__ == "StateFit":
            rows.append((path, _fit(value), source))
        elif dataclasses.is_dataclass(value):
            rows.append((path, type(value).__name__, _prose(type(value))))
            rows += _rows(value, f"{path}.")
        else:
            rows.append((path, str(value), source))
    return rows


def _fit(fit: Any) -> str:
    """Return a fit's numbers in one cell."""
    return ", ".join(f"{item.name}={getattr(fit, item.name)}" for item in dataclasses.fields(fit))


def default_of(item: dataclasses.Field[Any]) -> Any:
    """Return a field's default."""
    if item.default_factory is not dataclasses.MISSING:
        return item.default_factory()
    return item.default


def _prose(thing: Any) -> str:
    """Return a docstring up to its first section, one line a paragraph."""
    paragraphs = []
    for paragraph in (inspect.getdoc(thing) or "").split("\n\n"):
        lines = paragraph.splitlines()
        if len(lines) > 1 and set(lines[1].strip()) == {"-"}:
            break
        paragraphs.append(" ".join(" ".join(lines).split()))
    text = "\n".join(paragraphs).replace("``", "").removeprefix("Return ")
    return text[:1].upper() + text[1:]


def field_comments(kind: type) -> dict[str, str]:
    """Return what stands behind each field of a dataclass in its source."""
    source = textwrap.dedent(inspect.getsource(kind))
    comments = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    (tree,) = ast.parse(source).body
    assert isinstance(tree, ast.ClassDef)
    return {
        node.target.id: comments.get(node.lineno, "")
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
