"""Simulate analog in-memory computing cores and the programming of weights onto them.

>>> import numpy as np, fastaimc as fa
>>> weights = np.random.default_rng(0).standard_normal((10, 64))
>>> matrix = fa.program(weights, fa.presets.hermes(), seed=0)
>>> matrix
AnalogMatrix(shape=(10, 64), tiles=1, method=GradientDescentProgramming, time_s=200)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastaimc import network as network
    from fastaimc.api import program as program
    from fastaimc.api import resume as resume
    from fastaimc.config import CoreConfig as CoreConfig
    from fastaimc.config import from_json as from_json
    from fastaimc.config import override as override
    from fastaimc.config import presets as presets
    from fastaimc.config import to_json as to_json
    from fastaimc.errors import ConfigError as ConfigError
    from fastaimc.errors import FastAIMCError as FastAIMCError
    from fastaimc.errors import InputError as InputError
    from fastaimc.errors import StorageError as StorageError
    from fastaimc.files import load as load
    from fastaimc.files import save as save
    from fastaimc.matrix import AnalogMatrix as AnalogMatrix
    from fastaimc.metrics import mvm_error as mvm_error
    from fastaimc.metrics import weight_error as weight_error
    from fastaimc.network import convert as convert
    from fastaimc.programming import AveragedReadProgramming as AveragedReadProgramming
    from fastaimc.programming import Belief as Belief
    from fastaimc.programming import DirectWrite as DirectWrite
    from fastaimc.programming import EstimateGuidedProgramming as EstimateGuidedProgramming
    from fastaimc.programming import GradientDescentProgramming as GradientDescentProgramming
    from fastaimc.programming import HadamardVerifyProgramming as HadamardVerifyProgramming
    from fastaimc.programming import IterativeProgramming as IterativeProgramming
    from fastaimc.programming import LeastSquaresReadProgramming as LeastSquaresReadProgramming
    from fastaimc.programming import Step as Step
    from fastaimc.programming import TwoDeviceProgramming as TwoDeviceProgramming

# Public names and where they live: resolved on first use, so that importing stays cheap.
_HOMES = {
    "AnalogMatrix": "matrix",
    "AveragedReadProgramming": "programming",
    "Belief": "programming",
    "ConfigError": "errors",
    "CoreConfig": "config",
    "DirectWrite": "programming",
    "EstimateGuidedProgramming": "programming",
    "FastAIMCError": "errors",
    "GradientDescentProgramming": "programming",
    "HadamardVerifyProgramming": "programming",
    "InputError": "errors",
    "IterativeProgramming": "programming",
    "LeastSquaresReadProgramming": "programming",
    "Step": "programming",
    "StorageError": "errors",
    "TwoDeviceProgramming": "programming",
    "convert": "network",
    "from_json": "config",
    "load": "files",
    "mvm_error": "metrics",
    "override": "config",
    "presets": "config",
    "program": "api",
    "resume": "api",
    "save": "files",
    "to_json": "config",
    "weight_error": "metrics",
}

__all__ = ["__version__", "network", *_HOMES]  # noqa: PLE0604  all of them are strings


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("fastaimc")
        except PackageNotFoundError:  # a checkout that is not installed
            return "unknown"
    if name == "network":
        return importlib.import_module("fastaimc.network")
    if name not in _HOMES:
        raise AttributeError(f"module 'fastaimc' has no attribute {name!r}")
    return getattr(importlib.import_module(f"fastaimc.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
