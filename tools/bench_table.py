"""Write the README's speed table from what `pytest bench --benchmark-json` has measured.

pytest bench --benchmark-only --benchmark-json speed.json
python tools/bench_table.py speed.json               # into the README
python tools/bench_table.py speed.json --keep 0.1.0  # and into bench/history/0.1.0.json
python tools/bench_table.py speed.json --print       # to look at
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
HISTORY = ROOT / "bench" / "history"
MARKERS = ("<!-- speed -->\n", "<!-- /speed -->\n")


def summary(measured: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of a run: its machine, versions, commit, date and rows.

    Raises
    ------
    ValueError
        For a file without a single measured row.
    """
    rows = [bench["extra_info"] for bench in measured["benchmarks"] if bench["extra_info"]]
    if not rows:
        raise ValueError("nothing was measured: was it run with --benchmark-only?")
    machine = dict(measured["machine_info"]["fastaimc"])
    cpu = {name: machine.pop(name) for name in ("cpu", "cores")}
    blas = {name: machine.pop(name) for name in ("blas", "blas_kernel", "blas_threads")}
    commit = measured["commit_info"]
    return {
        "date": measured["datetime"][:10],
        "commit": commit.get("id"),
        "changed_since": bool(commit.get("dirty")),
        "machine": cpu,
        "blas": blas,
        "threads": rows[0]["threads"],
        "versions": machine,
        "rows": rows,
    }


def markdown(kept: dict[str, Any]) -> str:
    """Return the table with a line on where it was measured."""
    sys.path.insert(0, str(ROOT / "bench"))
    report: Any = importlib.import_module("report")
    lines = [list(report.COLUMNS), ["---"] * len(report.COLUMNS)]
    lines += [report.row(row) for row in kept["rows"]]
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    machine, blas, versions = kept["machine"], kept["blas"], kept["versions"]
    where = (
        f"{machine['cpu']}, {machine['cores']} cores; kernels on {kept['threads']} threads, "
        f"NumPy {versions['numpy']} with {blas['blas']} ({blas['blas_kernel']}) on "
        f"{blas['blas_threads']}, Numba {versions['numba']}; {kept['date']}, "
        f"commit {str(kept['commit'])[:10]}{' and changes' if kept['changed_since'] else ''}."
    )
    return f"{table}\n\n{where}\n"


def between(text: str, content: str) -> str:
    """Return a text with other content between the markers.

    Raises
    ------
    ValueError
        Where either marker is missing.
    """
    before, start, rest = text.partition(MARKERS[0])
    _, end, after = rest.partition(MARKERS[1])
    if not start or not end:
        raise ValueError(f"no markers {MARKERS[0].strip()} and {MARKERS[1].strip()}")
    return f"{before}{start}\n{content}\n{end}{after}"


def main(arguments: list[str] | None = None) -> None:
    """Write what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("json", type=Path, help="what --benchmark-json wrote")
    parser.add_argument("--keep", metavar="NAME", help="also keep it as bench/history/NAME.json")
    parser.add_argument("--print", action="store_true", help="print the table; write nothing")
    options = parser.parse_args(arguments)
    kept = summary(json.loads(options.json.read_text(encoding="utf-8")))
    if options.print:
        print(markdown(kept))
        return
    README.write_text(between(README.read_text(encoding="utf-8"), markdown(kept)), encoding="utf-8")
    if options.keep:
        HISTORY.mkdir(exist_ok=True)
        path = HISTORY / f"{options.keep}.json"
        path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
