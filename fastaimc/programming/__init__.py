"""Programming methods: one a file, over one loop, on nothing but `Terminals`."""

from __future__ import annotations

import dataclasses
from typing import Any

from fastaimc.config import CoreConfig, MeltQuench, ProgrammedState, PythonDevice
from fastaimc.errors import ConfigError, nearest
from fastaimc.programming.averaged_read import AveragedReadProgramming
from fastaimc.programming.direct import DirectWrite
from fastaimc.programming.estimate_guided import Belief, EstimateGuidedProgramming
from fastaimc.programming.gradient_descent import GradientDescentProgramming
from fastaimc.programming.hadamard_verify import HadamardVerifyProgramming
from fastaimc.programming.iterative import IterativeProgramming
from fastaimc.programming.least_squares import LeastSquaresReadProgramming
from fastaimc.programming.method import Method, State
from fastaimc.programming.plan import Step
from fastaimc.programming.two_device import TwoDeviceProgramming

__all__ = [
    "AveragedReadProgramming",
    "Belief",
    "DirectWrite",
    "EstimateGuidedProgramming",
    "GradientDescentProgramming",
    "HadamardVerifyProgramming",
    "IterativeProgramming",
    "LeastSquaresReadProgramming",
    "Method",
    "State",
    "Step",
    "TwoDeviceProgramming",
    "check_method",
    "from_dict",
    "is_built_in",
    "to_dict",
]

_KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        DirectWrite,
        GradientDescentProgramming,
        IterativeProgramming,
        EstimateGuidedProgramming,
        HadamardVerifyProgramming,
        AveragedReadProgramming,
        LeastSquaresReadProgramming,
        TwoDeviceProgramming,
    )
}


def check_method(method: Method | None, config: CoreConfig) -> Method:
    """Return the method to use on a config: `method`, or its default for None.

    Raises
    ------
    ConfigError
        For something that is no method, or one that the device cannot follow.
    """
    written = isinstance(config.device, ProgrammedState)
    if method is None:
        return DirectWrite() if written else GradientDescentProgramming()
    for name in ("iterations", "start", "iterate"):
        if isinstance(method, type) or not hasattr(method, name):
            raise ConfigError(
                f"method must be a method such as {'(), '.join(_KINDS)}(), got {method!r}"
            )
    name = type(method).__name__
    if written and not isinstance(method, DirectWrite):
        raise ConfigError(
            f"method {name} needs a device that answers pulses (MeltQuench); this config's "
            "ProgrammedState is known by its statistics alone: use DirectWrite()"
        )
    if isinstance(config.device, PythonDevice):
        _ = config.device.high_us  # a name alone answers nothing
    if isinstance(method, DirectWrite) and not written:
        raise ConfigError(
            "method DirectWrite needs a device given by its statistics (ProgrammedState); this "
            f"config's {type(config.device).__name__} must be iterated: use "
            "GradientDescentProgramming() or IterativeProgramming()"
        )
    counts = not isinstance(config.device, MeltQuench | ProgrammedState)
    if counts and getattr(method, "verify", "cell") == "device":
        raise ConfigError(
            "method IterativeProgramming must have verify='cell' on devices of counted pulses "
            f"({type(config.device).__name__}), which share a target, got 'device'"
        )
    if counts and isinstance(method, TwoDeviceProgramming):
        raise ConfigError(
            "method TwoDeviceProgramming needs devices that a pulse sets anew (MeltQuench); those "
            f"of counted pulses ({type(config.device).__name__}) share a target: use "
            "IterativeProgramming()"
        )
    return method


def is_built_in(method: Method) -> bool:
    """Return whether `from_dict` can make the method again."""
    return type(method) in _KINDS.values()


def to_dict(method: Method) -> dict[str, Any]:
    """Return a method's name and hyper-parameters, fit for JSON."""
    fields: dict[str, Any] = {}
    if dataclasses.is_dataclass(method) and not isinstance(method, type):
        fields = dataclasses.asdict(method)
    return {"kind": type(method).__name__} | fields


def from_dict(fields: dict[str, Any]) -> Method:
    """Return the method that `to_dict` described.

    Raises
    ------
    ConfigError
        For an unknown method or hyper-parameter.
    """
    fields = dict(fields)
    name = fields.pop("kind", None)
    if name not in _KINDS:
        raise ConfigError(f"method.kind is unknown: {name!r}{nearest(name, _KINDS)}")
    kind = _KINDS[name]
    allowed = {item.name for item in dataclasses.fields(kind)}
    for field in fields:
        if field not in allowed:
            raise ConfigError(f"method.{field} is no field of {name}{nearest(field, allowed)}")
    for part, what in (("step", Step), ("belief", Belief)):
        if isinstance(fields.get(part), dict):
            fields[part] = what(**fields[part])
    method: Method = kind(**fields)
    return method
