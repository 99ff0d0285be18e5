"""No bit depends on the number of threads, nor on Numba's threading layer."""

from __future__ import annotations

from functools import cache

import pytest
import subprocesses

# 517 is odd, prime to every block and number of threads, and leaves a partial block.
SIZES = (256, 517)
BATCHES = (1, 33)
THREADS = (1, 2, 3)
LAYERS = ("omp", "workqueue")

PROGRAM = f"""
import hashlib, json
import numba
import numpy as np
import fastaimc as fa

def digest(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()

def of(matrix):
    core = matrix.core
    return digest(core.conductance, core.last_device, core.last_s, core.clock_s,
                  matrix.weights(), *matrix.history.values())

found = {{}}
for size in {SIZES}:
    config = fa.override(fa.presets.hermes(), {{"rows": size, "columns": size}})
    random = np.random.default_rng(size)
    weights = random.normal(size=(size, size)).astype(np.float32)
    methods = {{
        "ip": fa.IterativeProgramming(iterations=2, final_passes=1),
        "gdp": fa.GradientDescentProgramming(iterations=2, batch=33, inputs="uniform",
            start_from="single_shot", affine_every=1, final_passes=1),
        "estimate": fa.EstimateGuidedProgramming(iterations=2, batch=33, inputs="uniform",
            affine_every=1, final_passes=1),
        "least squares": fa.LeastSquaresReadProgramming(iterations=2, over_sampling=1.25),
    }}
    for name, method in methods.items():
        matrix = fa.program(weights, config, method, seed=size, record_every=1)
        found[f"{{size}} {{name}}"] = of(matrix)
        if name == "ip":
            core = matrix.core
            for batch in {BATCHES}:
                x = random.uniform(-1, 1, (batch, size)).astype(np.float32)
                found[f"{{size}} mvm {{batch}}"] = digest(matrix.mvm(x, draw=5))
            with core.engine.threads(None):
                rows = np.arange(0, size, 3)
                select = random.integers(0, 16, core.shape).astype(np.uint8)
                for fine in (False, True):
                    read = core.read_rows(rows, select, fine)
                    found[f"{{size}} read_rows {{fine}}"] = digest(read)
tiled = fa.override(fa.presets.hermes(), {{"rows": 200, "columns": 130}})  # 12 tiles
matrix = fa.program(weights, tiled, methods["gdp"], seed=7)
found["tiles gdp"] = of(matrix)
found["tiles mvm"] = digest(matrix.mvm(x, draw=5))
error = fa.mvm_error(matrix, samples=200)
found["mvm_error"] = [error.total, error.residual, error.floor]
print(json.dumps([found, numba.threading_layer(), numba.get_num_threads()]))
"""


@cache
def digests(layer: str, threads: int, blas: int = 2) -> dict[str, object]:
    found, used, count = subprocesses.run(
        PROGRAM,
        NUMBA_THREADING_LAYER=layer,
        NUMBA_NUM_THREADS=str(threads),
        OPENBLAS_NUM_THREADS=str(blas),
    )
    assert (used, count) == (layer, threads)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("layer", LAYERS)
def test_no_bit_depends_on_threads(layer: str, threads: int) -> None:
    """Nor on how many the caller's BLAS may use."""
    expected = digests("omp", 1)
    found = digests(layer, threads, blas=threads)
    assert len(expected) == len(SIZES) * (4 + len(BATCHES) + 2) + 3
    assert len(set(map(str, expected.values()))) == len(expected)  # all of them say something
    differing = [name for name in expected if found[name] != expected[name]]
    assert differing == []
