"""Program one huge array by GDP, and print how long it took and how much memory.

    python bench/huge.py               # 50 iterations of batch 256 on 16,384 × 16,384 cells
    python bench/huge.py --size 2048   # a look
    python bench/huge.py --checkpoint huge.npz   # survives Ctrl-C; fastaimc.resume goes on

The goal at 16,384² is less than 12 GB and less than 6 minutes.  It is not part of `pytest bench`.
"""

from __future__ import annotations

import argparse
import os
import resource
import time

import numpy as np
from measure import numpy_blas

import fastaimc as fa
from fastaimc.provenance import cpu, versions

GOAL_S, GOAL_BYTES = 360, 12e9


def resident() -> int:
    """Return the largest resident memory of this process so far, bytes (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Program, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=16384, help="rows and columns")
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, help="of the kernels (default: all)")
    parser.add_argument("--checkpoint", metavar="FILE.npz", help="saved on Ctrl-C")
    options = parser.parse_args()
    n = options.size
    config = fa.override(fa.presets.hermes(), {"rows": n, "columns": n})
    method = fa.GradientDescentProgramming(
        iterations=options.iterations, batch=options.batch, affine_every=options.iterations
    )
    print(f"{n}×{n}, {method.iterations} iterations of batch {method.batch}")
    print(f"{cpu()}, {os.cpu_count()} cores; {versions()}; {numpy_blas()}")
    weights = np.random.default_rng(0).standard_normal((n, n), dtype=np.float32)
    before, start = resident(), time.perf_counter()
    marks: list[float] = []

    def progress(done: int, total: int, text: str) -> None:
        marks.append(time.perf_counter() - start)
        print(f"{marks[-1]:8.1f} s  {done} of {total}  {text}", flush=True)

    matrix = fa.program(
        weights,
        config,
        method,
        threads=options.threads,
        progress=progress,
        checkpoint=options.checkpoint,
    )
    seconds, peak = time.perf_counter() - start, resident()
    error = fa.mvm_error(matrix, samples=64)
    each = np.median(np.diff(marks)[1:]) if len(marks) > 2 else float("nan")
    start_s = marks[1] - marks[0] - each
    print(f"start {start_s:.1f} s, {each:.2f} s an iteration, {seconds:.1f} s in all")
    print(f"peak {peak / 1e9:.2f} GB, {(peak - before) / n**2:.1f} bytes a cell above the array")
    print(f"MVM error: total {error.total:.4f}, residual {error.residual:.4f}")
    if (n, options.iterations, options.batch) == (16384, 50, 256):
        met = seconds < GOAL_S and peak < GOAL_BYTES
        print(f"goal (under {GOAL_S} s and {GOAL_BYTES / 1e9:g} GB): {'met' if met else 'not met'}")


if __name__ == "__main__":
    main()
