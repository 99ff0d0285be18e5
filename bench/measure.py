"""Time alternatives in alternating rounds of one process, and compare their medians.

Threads of BLAS and of the kernels' pool spin for a while after a call, and other programs come and
go: so every alternative gets its turn in every round, after a pause, and only ratios are reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_info

CALLS = 15  # of a work in a round
SLOW_S = 0.05  # a call that takes longer is called fewer times
PAUSE_S = 0.2
ROUNDS = 7
FEWEST_ROUNDS = 3  # so that there is a spread
BUDGET_S = 20.0  # of all rounds of one comparison, where that leaves enough of them


@dataclass(frozen=True, slots=True)
class Work:
    """What is timed: `call`, after `prepare`, which is not timed.

    `measures`: the call returns its own figure; it is called once a round.
    """

    call: Callable[[], object]
    prepare: Callable[[], object] | None = None
    measures: bool = False

    def ready(self) -> None:
        """Prepare a call."""
        if self.prepare is not None:
            self.prepare()

    def once(self) -> float:
        """Return the seconds that a call takes, or the figure that it returns."""
        if self.measures:
            return float(self.call())  # type: ignore[arg-type]
        start = time.perf_counter()
        self.call()
        return time.perf_counter() - start


@dataclass(frozen=True, slots=True)
class Figure:
    """What a comparison gives, with the quartiles of its rounds, and every work's median.

    `fastest` is the figure of every work's fastest call: where other programs take the processors
    away, a median may be theirs, as a parallel call lasts until its last thread gets its turn.
    """

    value: float
    low: float
    high: float
    fastest: float
    medians: tuple[float, ...]


# How a work's median and the sum of the others' become a figure.
FORMULAS: dict[str, Callable[[float, float], float]] = {
    "ratio": lambda own, others: own / others,
    "speed-up": lambda own, others: others / own,
    "difference": lambda own, others: own - others,
    "figure": lambda own, others: own,
}


def calls_of(seconds: float) -> int:
    """Return how often a work is called in a round."""
    return CALLS if seconds <= SLOW_S else max(1, int(CALLS * SLOW_S / seconds))


def rounds_of(seconds: float) -> int:
    """Return how many rounds there are, each of so many seconds."""
    return int(np.clip(BUDGET_S / max(seconds, 1e-9), FEWEST_ROUNDS, ROUNDS))


def figure(times: Sequence[Sequence[Sequence[float]]], formula: str, per: float = 1.0) -> Figure:
    """Return the figure of `times[work][round][call]`: the first work by the others, over `per`.

    The value is that of the medians over all calls, its spread the quartiles of the values of the
    single rounds.
    """
    combine = FORMULAS[formula]
    medians = [float(np.median([t for one in of_work for t in one])) for of_work in times]
    rounds = [
        combine(own, sum(others)) / per
        for own, *others in zip(
            *([float(np.median(one)) for one in of_work] for of_work in times), strict=True
        )
    ]
    low, high = np.quantile(rounds, [0.25, 0.75])
    value = combine(medians[0], sum(medians[1:])) / per
    least = [min(t for one in of_work for t in one) for of_work in times]
    fastest = combine(least[0], sum(least[1:])) / per
    return Figure(value, float(low), float(high), fastest, tuple(medians))


class Rounds:
    """Alternating rounds of some works, of which the first is called from outside.

    pytest-benchmark calls the first one, `before` and `call` in turn `total` times, and so keeps
    its times; at the start of each of its rounds the others have their turn.
    """

    def __init__(
        self, works: Sequence[Work], rounds: int | None = None, pause_s: float = PAUSE_S
    ) -> None:
        self.works = works
        self.pause_s = pause_s
        self.times: list[list[list[float]]] = [[] for _ in works]
        seconds = [self._warm(work) for work in works]
        self.calls = [
            1 if work.measures else calls_of(s) for work, s in zip(works, seconds, strict=True)
        ]
        whole = sum((n * s + pause_s) for n, s in zip(self.calls, seconds, strict=True))
        self.rounds = rounds_of(whole) if rounds is None else rounds
        self._left = 0

    @property
    def total(self) -> int:
        """Calls of the first work in all rounds."""
        return self.rounds * self.calls[0]

    def before(self) -> None:
        """Prepare the next call of the first work; between its rounds the others have theirs."""
        if self._left == 0:
            for index in range(1, len(self.works)):
                self._pause()
                self.times[index].append(self._round(index))
            self._pause()
            self.times[0].append([])
            self._left = self.calls[0]
        self.works[0].ready()

    def call(self) -> None:
        """Time a call of the first work."""
        self.times[0][-1].append(self.works[0].once())
        self._left -= 1

    def run(self) -> None:
        """Run all rounds."""
        for _ in range(self.total):
            self.before()
            self.call()

    def _round(self, index: int) -> list[float]:
        times = []
        for _ in range(self.calls[index]):
            self.works[index].ready()
            times.append(self.works[index].once())
        return times

    def _pause(self) -> None:
        time.sleep(self.pause_s)

    @staticmethod
    def _warm(work: Work) -> float:
        """Return about how long a call takes, once what it needs is compiled and in memory."""
        for _ in range(1 if work.measures else 2):
            work.ready()
            start = time.perf_counter()
            work.call()
            seconds = time.perf_counter() - start
            if seconds > 1:
                break
        return seconds


def numpy_blas() -> dict[str, str | int]:
    """Return which BLAS NumPy calls, which of its kernels runs here, and on how many threads."""
    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    own = [library for library in found if "numpy" in library["filepath"]]
    library = (own or found or [{}])[0]
    name = f"{library.get('internal_api', 'unknown')} {library.get('version', '')}".strip()
    return {
        "blas": name,
        "blas_kernel": str(library.get("architecture", "unknown")),
        "blas_threads": int(library.get("num_threads", 0)),
    }
