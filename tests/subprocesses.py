"""Python programs in processes of their own: for environment variables, threads and aborts."""

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

TIMEOUT_S = 300
# Whatever the shell that runs the tests has set must not change what a program is to show.
# (Without bytecode files a start takes 50 ms more, which a user has only once.)
NOT_INHERITED = ("NUMBA_", "OMP_", "OPENBLAS_", "PYTHONDONTWRITEBYTECODE")


def tested_package() -> Path:
    """Folder that the package under test was found in, be it the checkout or an environment."""
    spec = importlib.util.find_spec("fastaimc")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent.parent


def start(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program with warnings as errors; return it with its output, whatever became of it."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(NOT_INHERITED)}
    inherited["PYTHONPATH"] = str(tested_package())
    return subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", textwrap.dedent(code)],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def run(code: str, **environment: str) -> Any:
    """Run a program that ends well; return what the last line that it prints says, in JSON.

    Parameters
    ----------
    code : str
        The program; its common indentation is taken off.
    **environment : str
        Environment variables, such as ``NUMBA_NUM_THREADS="3"``; a ``PYTHONPATH`` stands for
        that of the package under test.
    """
    done = start(code, **environment)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])
