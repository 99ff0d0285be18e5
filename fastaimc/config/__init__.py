"""What a core is made of: frozen dataclasses, cited presets, JSON and overrides."""

from fastaimc.config import presets
from fastaimc.config.circuit import ADC, DAC, Circuit
from fastaimc.config.core import CoreConfig
from fastaimc.config.device import Drift, Faults, MeltQuench, ProgrammedState, ReadNoise, StateFit
from fastaimc.config.edit import from_json, override, to_json
from fastaimc.config.incremental import AccumulativeSet, ExponentialStep, SoftBounds
from fastaimc.config.own import DeviceModel, PythonDevice
from fastaimc.config.table import PulseTable
from fastaimc.config.wires import Wires

__all__ = [
    "ADC",
    "DAC",
    "AccumulativeSet",
    "Circuit",
    "CoreConfig",
    "DeviceModel",
    "Drift",
    "ExponentialStep",
    "Faults",
    "MeltQuench",
    "ProgrammedState",
    "PulseTable",
    "PythonDevice",
    "ReadNoise",
    "SoftBounds",
    "StateFit",
    "Wires",
    "from_json",
    "override",
    "presets",
    "to_json",
]
