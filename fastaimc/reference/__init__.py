"""The engine in NumPy: the specification of what ``kernels`` computes."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastaimc.reference.allocation import allocate
from fastaimc.reference.converters import columns, quantise
from fastaimc.reference.crossbar import mvm, read_rows
from fastaimc.reference.estimate import estimate_pulses
from fastaimc.reference.faults import faults
from fastaimc.reference.gradient import gradient_pulses, wanted_outputs
from fastaimc.reference.increments import device_normals, increment
from fastaimc.reference.inputs import inputs, pattern
from fastaimc.reference.measure import measure
from fastaimc.reference.pcm import drift
from fastaimc.reference.pulses import pulse, write
from fastaimc.reference.relaxation import relax_wires
from fastaimc.reference.tiling import join, patches
from fastaimc.reference.verify import verify_pulses
from fastaimc.reference.wires import estimate_wires

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


@contextmanager
def threads(n: int | None, *, blas: bool = True) -> Iterator[None]:
    """Do nothing: NumPy's own threads serve; the twin of `fastaimc.kernels.threads`."""
    yield


def threading_info() -> dict[str, str | int]:
    """Return that no threads of ours are in use."""
    return {"threading_layer": "none", "threads": 1, "blas": "numpy"}
