"""Configs as JSON, and changes to them by dotted path."""

from __future__ import annotations

import dataclasses
import json
import numbers
import reprlib
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any

from fastaimc.config.circuit import ADC, DAC, Circuit
from fastaimc.config.core import CoreConfig
from fastaimc.config.device import Drift, Faults, MeltQuench, ProgrammedState, ReadNoise, StateFit
from fastaimc.config.incremental import AccumulativeSet, ExponentialStep, SoftBounds
from fastaimc.config.own import PythonDevice
from fastaimc.config.table import PulseTable
from fastaimc.config.wires import Wires
from fastaimc.errors import ConfigError, check_integer, check_type, nearest

SCHEMA = 1  # raised whenever a config written before would be read differently

_PARTS: dict[str, type] = {
    part.__name__: part
    for part in (
        ADC,
        DAC,
        AccumulativeSet,
        Circuit,
        CoreConfig,
        Drift,
        ExponentialStep,
        Faults,
        MeltQuench,
        ProgrammedState,
        PulseTable,
        PythonDevice,
        ReadNoise,
        SoftBounds,
        StateFit,
        Wires,
    )
}


def to_json(config: CoreConfig) -> str:
    """Return `config` as JSON with a schema version.

    Examples
    --------
    >>> from fastaimc.config import presets
    >>> from_json(to_json(presets.hermes())) == presets.hermes()
    True
    """
    check_type("config", config, CoreConfig)
    return json.dumps({"schema": SCHEMA, "config": _encode(config)}, indent=2, default=_plain)


def from_json(text: str) -> CoreConfig:
    """Return the config that `to_json` wrote.

    Raises
    ------
    ConfigError
        For text that is no JSON, a newer schema, an unknown key or an impossible value.
    """
    try:
        return _read(json.loads(text))
    except ConfigError:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"config must be JSON, got: {error}") from None


def _read(document: Any) -> CoreConfig:
    rule = "config must be a JSON object of a 'schema' and a 'config'"
    if not isinstance(document, dict) or "schema" not in document:
        raise ConfigError(f"{rule}, got {reprlib.repr(document)}")
    check_integer("config.schema", document["schema"], 1, sys.maxsize)
    if document["schema"] > SCHEMA:
        raise ConfigError(
            f"config has schema {document['schema']}, this version reads up to {SCHEMA}: "
            "a newer fastaimc wrote it"
        )
    if set(document) != {"schema", "config"}:
        raise ConfigError(f"{rule} alone, got {reprlib.repr(sorted(document))}")
    config = _decode(document["config"], "config")
    if not isinstance(config, CoreConfig):
        raise ConfigError(f"config must describe a CoreConfig, got {type(config).__name__}")
    return config


def override(config: CoreConfig, changes: Mapping[str, Any]) -> CoreConfig:
    """Return `config` with the values at dotted paths replaced, all at once.

    A whole part may be given as JSON writes it, with its kind: ``{"kind": "Wires"}``.

    Raises
    ------
    ConfigError
        For an unknown path, naming the nearest, or a value that the field refuses.

    Examples
    --------
    >>> from fastaimc.config import presets
    >>> override(presets.hermes(), {"adc.bits": 6, "rows": 64}).adc.bits
    6
    """
    check_type("config", config, CoreConfig)
    check_type("changes", changes, Mapping)
    for path in changes:
        check_type("path", path, str)
    changed: CoreConfig = _replace(config, config, "", changes)
    return changed


def _paths(node: Any, prefix: str = "") -> list[str]:
    paths = []
    for item in dataclasses.fields(node):
        paths.append(prefix + item.name)
        child = getattr(node, item.name)
        if dataclasses.is_dataclass(child):
            paths += _paths(child, f"{prefix}{item.name}.")
    return paths


def _replace(root: CoreConfig, node: Any, prefix: str, changes: Mapping[str, Any]) -> Any:
    """Return `node` with changes by path below it; a part that is replaced is changed after."""
    fields = dataclasses.fields(node) if dataclasses.is_dataclass(node) else ()
    names = {item.name for item in fields}
    whole: dict[str, Any] = {}
    below: dict[str, dict[str, Any]] = {}
    for path, value in changes.items():
        name, dot, rest = path.partition(".")
        if name not in names:
            given = prefix + path
            reason = f": {prefix[:-1]} is None" if node is None else nearest(given, _paths(root))
            raise ConfigError(f"{given!r} is no field of the config{reason}")
        if dot:
            below.setdefault(name, {})[rest] = value
        elif isinstance(value, dict) and "kind" in value:
            whole[name] = _decode(value, prefix + path)
        else:
            whole[name] = value
    for name, inner in below.items():
        part = whole.get(name, getattr(node, name))
        whole[name] = _replace(root, part, f"{prefix}{name}.", inner)
    return dataclasses.replace(node, **whole)


def _plain(value: Any) -> Any:
    """Return a number that JSON does not know as Python's own."""
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def _encode(value: Any) -> Any:
    if isinstance(value, PythonDevice):
        return {"kind": "PythonDevice", "model": value.name}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"kind": type(value).__name__} | fields
    return list(value) if isinstance(value, tuple) else value


def _decode(value: Any, path: str) -> Any:
    if isinstance(value, list):
        return tuple(_decode(item, path) for item in value)
    if not isinstance(value, dict):
        return value
    kind = _PARTS.get(str(value.get("kind")))
    if kind is None:
        given = value.get("kind")
        raise ConfigError(f"{path}.kind is unknown: {given!r}{nearest(given, _PARTS)}")
    names = {item.name for item in dataclasses.fields(kind)}
    for name in value:
        if name != "kind" and name not in names:
            raise ConfigError(f"{path}.{name} is no field of {kind.__name__}{nearest(name, names)}")
    hints = typing.get_type_hints(kind)
    decoded = {}
    for name, item in value.items():
        if name == "kind":
            continue
        decoded[name] = _decode(item, f"{path}.{name}")
        if isinstance(decoded[name], list | tuple) and not _takes_tuple(hints[name]):
            raise ConfigError(f"{path}.{name} must not be a list")
    return kind(**decoded)


def _takes_tuple(hint: Any) -> bool:
    if isinstance(hint, types.UnionType):
        return any(_takes_tuple(option) for option in typing.get_args(hint))
    return typing.get_origin(hint) is tuple
