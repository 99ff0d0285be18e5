"""The table at the end of a run of the benchmarks: goal and measured figure of every row."""

from __future__ import annotations

import os
from typing import Any

import pytest
from report import COLUMNS, row
from rich.console import Console
from rich.table import Table

collect_ignore = ["experiments"]
SETTINGS = ("OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY", "NUMBA_NUM_THREADS")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the number of rounds."""
    parser.addoption(
        "--rounds", type=int, help="alternating rounds of each case (default: by their time)"
    )


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: Any) -> None:
    """Note what beside the machine the figures depend on."""
    from measure import numpy_blas

    from fastaimc.provenance import cpu, versions

    machine_info["fastaimc"] = versions() | {"cpu": cpu(), "cores": os.cpu_count()} | numpy_blas()
    machine_info["settings"] = {name: os.environ.get(name) for name in SETTINGS}


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print goal and figure of every row."""
    session = getattr(config, "_benchmarksession", None)
    measured = [] if session is None else [b for b in session.benchmarks if b.extra_info]
    if not measured:
        return
    table = Table(*COLUMNS, title="Goals")
    for bench in measured:
        table.add_row(*row(bench.extra_info))
    info = measured[0].extra_info
    terminalreporter.write_line("")
    Console(width=130).print(table)
    terminalreporter.write_line(
        f"BLAS: {info['blas']}, kernel {info['blas_kernel']}, {info['blas_threads']} threads; "
        f"kernels on {info['threads']}.  Spread: quartiles of the rounds."
    )
    if os.environ.get("OPENBLAS_CORETYPE"):
        terminalreporter.write_line("OPENBLAS_CORETYPE is set: BLAS does not run its best kernel.")
