"""Exceptions and argument checks: the only place where message texts are made.

A message names the argument, the rule, what was given and, where it helps, the fix.
"""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable

FLOAT32 = (2.0**-126, 2.0**128 - 2.0**104)  # smallest normal and largest number of the engines


class FastAIMCError(Exception):
    """Base of all errors that fastaimc raises on purpose."""


class ConfigError(FastAIMCError, ValueError):
    """A configuration or hyper-parameter that describes nothing that can be built."""


class InputError(FastAIMCError, ValueError):
    """Weights, inputs or another argument of the wrong kind, shape or value."""


class StorageError(FastAIMCError, OSError):
    """A file that cannot be read or written, or is not what it claims to be."""


def check_number(
    name: str,
    value: object,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
) -> None:
    """Raise `ConfigError` unless `value` is a finite number within the bounds and float32."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ConfigError(f"{name} must be a number, got {value!r}")
    try:
        value = float(value)
    except OverflowError:  # of an integer of more than 308 digits
        value = math.inf
    if not math.isfinite(value):
        raise ConfigError(f"{name} must be finite, got {value!r}")
    if value != 0 and not FLOAT32[0] <= abs(value) <= FLOAT32[1]:
        raise ConfigError(f"{name} must fit into float32, got {value!r}")
    if above is not None and not value > above:
        raise ConfigError(f"{name} must be > {above:g}, got {value!r}")
    if least is not None and not value >= least:
        raise ConfigError(f"{name} must be >= {least:g}, got {value!r}")
    if most is not None and not value <= most:
        raise ConfigError(f"{name} must be <= {most:g}, got {value!r}")


def check_integer(name: str, value: object, least: int, most: int) -> None:
    """Raise `ConfigError` unless `value` is an integer from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ConfigError(f"{name} must be an integer, got {value!r}")
    if not least <= int(value) <= most:
        raise ConfigError(f"{name} must be from {least} to {most}, got {value}")


def check_type(name: str, value: object, *kinds: type) -> None:
    """Raise `ConfigError` unless `value` is an instance of one of `kinds`."""
    if not isinstance(value, kinds):
        names = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
        raise ConfigError(f"{name} must be of type {names}, got {value!r}")


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Raise `ConfigError` unless `value` is one of `choices`, naming the nearest."""
    choices = list(choices)
    if value not in choices:
        allowed = ", ".join(repr(choice) for choice in choices)
        hint = nearest(value, choices)
        raise ConfigError(f"{name} must be one of {allowed}, got {value!r}{hint}")


def nearest(value: object, choices: Iterable[object]) -> str:
    """Return `` (did you mean 'x'?)`` for the choice most like `value`, or nothing."""
    close = difflib.get_close_matches(str(value), [str(choice) for choice in choices], n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def how_to_open(kind: object) -> str:
    """Return ``: use ...`` for a file of that kind, or nothing if it is unknown."""
    functions = {"matrix": "fastaimc.load(path)", "checkpoint": "fastaimc.resume(path)"}
    found = functions.get(kind) if isinstance(kind, str) else None
    return f": use {found}" if found else ""
