"""What only a process of its own can show: its start, its compiling, the memory that it takes."""

from __future__ import annotations

import os
import tempfile

import subprocesses

NUMBA_AND_SCIPY = """
import json, time
start = time.perf_counter()
import numba, scipy.linalg
print(json.dumps(time.perf_counter() - start))
"""

# With the engine and its threads, which `program` loads when it is called.
FASTAIMC = """
import json, time
start = time.perf_counter()
import fastaimc as fa
fa.program
from fastaimc import engine
with engine.load("numba").threads(None):
    pass
print(json.dumps(time.perf_counter() - start))
"""

FIRST_MATRIX = """
import json, time
import numpy as np
import fastaimc as fa
from fastaimc import engine
engine.load("numba"), fa.program
weights = np.random.default_rng(0).standard_normal((256, 256))
start = time.perf_counter()
fa.program(weights, seed=0)
print(json.dumps(time.perf_counter() - start))
"""

# The four default methods of `fastaimc compare`, observed, on a small matrix.
COMPARE = """
import json, time
import numpy as np
import fastaimc as fa
from fastaimc import candidates, compare
weights = {"w": np.random.default_rng(0).standard_normal((32, 32))}
ways = candidates.candidates(fa.presets.hermes(), iterations=3, batch=32)
start = time.perf_counter()
compare.compare(weights, ways, 1, samples=20)
print(json.dumps(time.perf_counter() - start))
"""

# The most that two iterations hold is the most that any number holds. The kernel's high-water mark
# is set back after the caller's array has been made and all code has been loaded.
PEAK = """
import json, pathlib
import numpy as np
import fastaimc as fa

def resident(name):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

def program(n):
    weights = np.random.default_rng(0).standard_normal((n, n), dtype=np.float32)
    config = fa.override(fa.presets.hermes(), {"rows": n, "columns": n})
    method = fa.GradientDescentProgramming(iterations=2, affine_every=2, final_passes=1)
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    matrix = fa.program(weights, config, method)
    return (resident("VmHWM") - before) / matrix.core.last_device.size

program(64)
print(json.dumps(program(SIZE)))
"""


def seconds(program: str, **environment: str) -> float:
    """Return what a program prints; it finds what was compiled where this process does."""
    if "NUMBA_CACHE_DIR" in os.environ:
        environment = {"NUMBA_CACHE_DIR": os.environ["NUMBA_CACHE_DIR"]} | environment
    return float(subprocesses.run(program, **environment))


def peak_bytes(n: int) -> float:
    """Return the bytes a cell that programming takes at most, above the caller's array."""
    return seconds(PEAK.replace("SIZE", str(n)))


def cold_compile() -> float:
    """Return how much longer `COMPARE` takes without anything compiled before."""
    with tempfile.TemporaryDirectory() as folder:
        cold, warm = (seconds(COMPARE, NUMBA_CACHE_DIR=folder) for _ in range(2))
    return cold - warm


def first_matrix() -> float:
    """Return how long the first matrix takes once everything is imported, and was compiled."""
    return seconds(FIRST_MATRIX)
