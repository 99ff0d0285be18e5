"""Set the speed of two revisions side by side: the same cases, in alternating rounds.

    python tools/bench_compare.py main HEAD
    python tools/bench_compare.py v0.1.0 .  --cases 'mvm-*' 'gdp-n256*'   # .: the files as they are
    python tools/bench_compare.py --list

Each revision is checked out into a temporary folder and runs in a process of its own; the cases
are this checkout's, so both do the same work, but a revision that lacks what they import has its
own.  The exit code is 1 where HEAD/BASE is beyond the limit by more than its spread: where even
the lower quartile of the rounds is.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
DEFAULT = ("mvm-n256-b32", "mvm-n1024-b*", "gdp-n256-b256", "gdp-n1024-b256", "pulse-*", "tiles-*")
ROUNDS = 9
LIMIT = 1.10
PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class Ratio:
    """HEAD's median over BASE's, the quartiles of the rounds, and that of the fastest calls."""

    value: float
    low: float
    high: float
    fastest: float

    def beyond(self, limit: float) -> bool:
        """Whether it is beyond a limit by more than its spread."""
        return min(self.value, self.low) > limit


def ratio(base: list[list[float]], head: list[list[float]]) -> Ratio:
    """Return the ratio of two lists of rounds of seconds."""
    medians = [statistics.median(t for one in side for t in one) for side in (base, head)]
    rounds = [statistics.median(h) / statistics.median(b) for b, h in zip(base, head, strict=True)]
    if len(rounds) == 1:
        rounds *= 2
    low, _, high = statistics.quantiles(rounds, n=4, method="inclusive")
    least = [min(t for one in side for t in one) for side in (base, head)]
    return Ratio(medians[1] / medians[0], low, high, least[1] / least[0])


class Worker:
    """A process that runs the cases on one checkout."""

    def __init__(self, package: Path, cases: Path = ROOT) -> None:
        path = os.pathsep.join(str(p) for p in (package, cases / "bench", cases / "tests"))
        environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(cases / "bench" / "worker.py")],
            env=environment | {"PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for this process; it stops the workers
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Return the answer to a request."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # its end shows in the missing answer
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a worker ended without an answer")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def checkouts(*revisions: str) -> Iterator[list[Path]]:
    """Check revisions out side by side, and leave nothing behind."""
    made: list[Path] = []
    with tempfile.TemporaryDirectory(prefix="fastaimc-") as folder:
        try:
            paths = []
            for number, revision in enumerate(revisions):
                path = ROOT if revision == "." else Path(folder) / str(number)
                if revision != ".":
                    made.append(path)
                    git("worktree", "add", "--quiet", "--detach", str(path), revision)
                paths.append(path)
            yield paths
        finally:
            for path in made:
                subprocess.run(
                    ["git", "-C", str(ROOT), "worktree", "remove", "--force", str(path)],
                    check=False,
                    capture_output=True,
                )
            git("worktree", "prune")


def git(*arguments: str) -> str:
    """Run git in this repository; end with its message where it fails."""
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def compile_all(package: Path, cases: list[str]) -> Path:
    """Fill a checkout's cache: a process that compiles may run other code than one that loads.

    Returns where its cases are: here, or for a revision that they cannot import its own.
    """
    for home in (ROOT, package):
        worker = Worker(package, home)
        try:
            answers = [worker.ask(load=case) for case in cases]
        finally:
            worker.stop()
        if not all("ImportError" in answer.get("error", "") for answer in answers):
            break
    return home


def compare(case: str, workers: list[Worker], rounds: int) -> Ratio | str:
    """Return HEAD over BASE of one case, or why there is none."""
    loaded = [worker.ask(load=case) for worker in workers]
    for name, answer in zip(("BASE", "HEAD"), loaded, strict=True):
        if "error" in answer:
            return f"does not run at {name}: {answer['error']}"
    calls = min(answer["calls"] for answer in loaded)
    times: list[list[list[float]]] = [[], []]
    for number in range(rounds):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            time.sleep(PAUSE_S)
            answer = workers[side].ask(round=calls)
            if "error" in answer:
                return f"failed: {answer['error']}"
            times[side].append(answer["seconds"])
    return ratio(*times)


def chosen(patterns: list[str]) -> list[str]:
    """Return the cases that any of the patterns names, in the order of the table."""
    listing = "from cases import CASES; print(*(case.id for case in CASES))"
    path = os.pathsep.join(str(p) for p in (ROOT, ROOT / "bench", ROOT / "tests"))
    done = subprocess.run(
        [sys.executable, "-P", "-c", listing],
        env=os.environ | {"PYTHONPATH": path},
        check=True,
        capture_output=True,
        text=True,
    )
    names = done.stdout.split()
    return [n for n in names if any(fnmatch.fnmatchcase(n, p) for p in patterns)]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", nargs="?", help="a revision, or . for the files as they are")
    parser.add_argument("head", nargs="?", help="the revision to judge")
    parser.add_argument("--cases", nargs="+", default=list(DEFAULT), metavar="PATTERN")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--limit", type=float, default=LIMIT, help="default: %(default)s")
    parser.add_argument("--list", action="store_true", help="print the names of all cases")
    options = parser.parse_args(arguments)
    if not options.list and not (options.base and options.head):
        parser.error("BASE and HEAD are needed")
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def terminated(*_: object) -> NoReturn:
    """End as on Ctrl-C, so that everything is cleaned up."""
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Compare; return the exit code."""
    options = parse(arguments)
    if options.list:
        print("\n".join(chosen(["*"])))
        return 0
    cases = chosen(options.cases)
    if not cases:
        raise SystemExit(f"no case is called {' or '.join(options.cases)}; see --list")
    signal.signal(signal.SIGTERM, terminated)
    slower = measured = 0
    with checkouts(options.base, options.head) as paths:
        workers: list[Worker] = []
        try:
            homes = [compile_all(path, cases) for path in paths]
            if any(home != ROOT for home in homes):
                print("A revision runs its own cases: it cannot import those of this checkout.")
            workers += [Worker(*both) for both in zip(paths, homes, strict=True)]
            print(f"{'case':24} HEAD/BASE  quartiles        fastest")
            for case in cases:
                found = compare(case, workers, options.rounds)
                if isinstance(found, str):
                    print(f"{case:24} {found}", flush=True)
                    continue
                measured += 1
                slower += found.beyond(options.limit)
                mark = "  slower" if found.beyond(options.limit) else ""
                spread = f"{found.low:.3f} to {found.high:.3f}"
                line = f"{case:24} {found.value:9.3f}  {spread:14}  {found.fastest:.3f}{mark}"
                print(line, flush=True)
        finally:
            for worker in workers:
                worker.stop()
    print(f"{measured} of {len(cases)} compared, {slower} beyond {options.limit:g}")
    return 1 if slower or not measured else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
