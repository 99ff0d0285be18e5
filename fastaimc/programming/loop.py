"""The loop that every method runs in: recording, progress, interrupts, checkpoints."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

import numpy as np

from fastaimc.core import Core
from fastaimc.cost import energy_of
from fastaimc.engine import Engine
from fastaimc.programming.method import Method, State
from fastaimc.terminals import Terminals

log = logging.getLogger("fastaimc")

CHECKPOINT_EVERY_S = 60.0

# What is recorded of every tile in every iteration.
COSTS = ("pulses", "mvms", "row_reads", "latency_s", "energy_j")
RECORDED = ("batch_error", *COSTS, "mvm_error", "weight_error")

Observer = Callable[[], tuple[np.ndarray, np.ndarray]]


@dataclass(slots=True)
class Run:
    """A program under way: all that an interrupted one must keep."""

    core: Core
    targets: np.ndarray
    method: Method
    key: np.ndarray
    state: State = field(default_factory=dict)
    index: int = -1  # iterations done; -1: not even the start
    records: dict[str, list[np.ndarray]] = field(
        default_factory=lambda: {name: [] for name in RECORDED}
    )


@dataclass(frozen=True, slots=True)
class Hooks:
    """What happens beside the method: all of it outside cost and clock.

    Attributes
    ----------
    progress : callable or None
        ``f(done, total, text)``.
    save : callable or None
        Writes a checkpoint.
    observe : callable or None
        Returns mvm_error and weight_error of every tile.
    record_every : int
        Iterations from one observation to the next.
    """

    progress: Callable[[int, int, str], None] | None = None
    save: Callable[[], None] | None = None
    observe: Observer | None = None
    record_every: int = 1


@contextmanager
def deferred_interrupt(saving: bool) -> Iterator[list[bool]]:
    """Hold back Ctrl-C until an iteration that is to be saved is whole; a second acts at once.

    Yields a list whose one element says whether it was pressed.  Only the main thread gets
    signals; elsewhere, and where the program has a handler of its own, nothing is changed.
    """
    pressed = [False]
    if not saving:  # nothing would be kept: stop between two compiled calls
        yield pressed
        return
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield pressed
        return

    def note(signum: int, frame: FrameType | None) -> None:
        if pressed[0]:
            signal.default_int_handler(signum, frame)
        pressed[0] = True

    signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def run(job: Run, engine: Engine, hooks: Hooks) -> None:
    """Program `job.core` from where it stands to the end.

    Raises
    ------
    KeyboardInterrupt
        After the iteration under way and a checkpoint; at once where none is kept.
    """
    terminals = Terminals(job.core, job.targets)
    total = job.method.iterations
    saved = time.monotonic()
    with deferred_interrupt(hooks.save is not None) as interrupted:
        while job.index < total:
            if job.index < 0:
                _show(hooks, 0, total, "start")  # beforehand: a large array takes a minute
                job.state = job.method.start(terminals, engine, job.key)
                job.index = 0
            else:
                job.method.iterate(terminals, engine, job.key, job.state, job.index)
                job.index += 1
                _record(job, hooks)
                _show(hooks, job.index, total, _text(job))
            due = time.monotonic() - saved > CHECKPOINT_EVERY_S and job.index < total
            if (due or interrupted[0]) and hooks.save is not None:
                hooks.save()
                saved = time.monotonic()
            if interrupted[0]:
                raise KeyboardInterrupt


def _show(hooks: Hooks, done: int, total: int, text: str) -> None:
    if hooks.progress is not None:
        hooks.progress(done, total, text)


def _record(job: Run, hooks: Hooks) -> None:
    """Append one iteration of every tile."""
    core, tiles = job.core, job.core.shape[0]
    unseen = np.full(tiles, np.nan)
    due = job.index % hooks.record_every == 0 or job.index == job.method.iterations
    mvm_error, weight_error = hooks.observe() if hooks.observe and due else (unseen, unseen)
    counters = core.counters
    row = {
        "batch_error": job.state.get("batch_error", unseen),
        "pulses": counters["pulses_set"] + counters["pulses_reset"],
        "mvms": counters["mvms"],
        "row_reads": counters["row_reads"],
        "latency_s": core.clock_s,
        "energy_j": energy_of(counters, core.extents, core.config),
        "mvm_error": mvm_error,
        "weight_error": weight_error,
    }
    for name in RECORDED:
        job.records[name].append(np.array(row[name], dtype=np.float64))
    log.debug("iteration %d of %d: %s", job.index, job.method.iterations, _text(job))


def _text(job: Run) -> str:
    error = job.state.get("batch_error", np.zeros(0))
    error = error[np.isfinite(error)]
    return f"error {float(np.sqrt(np.mean(error**2))):.4f}" if error.size else ""
