"""The engine in Numba: no checks, no classes, never raises."""

from fastaimc.kernels.allocation import allocate
from fastaimc.kernels.converters import columns, quantise
from fastaimc.kernels.crossbar import mvm, read_rows
from fastaimc.kernels.estimate import estimate_pulses
from fastaimc.kernels.faults import faults
from fastaimc.kernels.gradient import gradient_pulses, wanted_outputs
from fastaimc.kernels.increments import device_normals, increment
from fastaimc.kernels.inputs import inputs, pattern
from fastaimc.kernels.jit import threading_info, threads
from fastaimc.kernels.measure import measure
from fastaimc.kernels.pcm import drift
from fastaimc.kernels.pulses import pulse, write
from fastaimc.kernels.relaxation import relax_wires
from fastaimc.kernels.tiling import join, patches
from fastaimc.kernels.verify import verify_pulses
from fastaimc.kernels.wires import estimate_wires

__all__ = [
    "allocate",
    "columns",
    "device_normals",
    "drift",
    "estimate_pulses",
    "estimate_wires",
    "faults",
    "gradient_pulses",
    "increment",
    "inputs",
    "join",
    "measure",
    "mvm",
    "patches",
    "pattern",
    "pulse",
    "quantise",
    "read_rows",
    "relax_wires",
    "threading_info",
    "threads",
    "verify_pulses",
    "wanted_outputs",
    "write",
]
