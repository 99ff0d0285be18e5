"""What the cases of the benchmarks build: works, what they are set against, and their checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import baselines
import checks
import numpy as np
import probes
from measure import Work
from scene import (
    THREADS,
    Phase,
    blank,
    config,
    gaussian,
    holding,
    in_phases,
    inputs,
    targets_of,
    windows,
)

import fastaimc as fa
from fastaimc import engine as engines
from fastaimc.circuit.effective import effective
from fastaimc.config import Wires
from fastaimc.core import NONE, Core
from fastaimc.programming.method import State
from fastaimc.response import no_memory

ITERATIONS = 4  # of GDP beside a baseline
TEN = 10  # counted pulses


@dataclass(frozen=True, slots=True)
class Bench:
    """What a case has built.

    Attributes
    ----------
    work, others
        What is measured, and what its median is set against: the sum of theirs.
    check : callable
        Raises AssertionError unless the work does what it should.
    formula : str
        See `measure.FORMULAS`.
    per : float
        What the figure is divided by.
    size_bytes : int or None
        That a call has to move, where bytes per second mean something.
    """

    work: Work
    check: Callable[[], None]
    others: tuple[Work, ...] = ()
    formula: str = "ratio"
    per: float = 1.0
    size_bytes: int | None = None


Builder = Callable[[int, int], Bench]  # of rows and batch


# --- the MVM --------------------------------------------------------------------------------------


def mvm_work(core: Core, x: np.ndarray) -> Work:
    """Return the engine's noisy MVM as a caller meets it: DAC, products, noise, ADC, threads."""
    group = np.zeros(1, dtype=np.int32)

    def call() -> np.ndarray:
        with core.engine.threads(THREADS, blas=False):
            return core.mvm(x[None], group)

    return Work(call)


def products(*pairs: tuple[np.ndarray, np.ndarray]) -> tuple[Work, ...]:
    """Return bare products of NumPy, on the threads that its BLAS has by itself."""
    return tuple(Work(lambda a=a, b=b: a @ b) for a, b in pairs)  # type: ignore[misc]


def mvm(n: int, batch: int) -> Bench:
    """Set the noisy MVM against the two products that mean and variance need."""
    core, x = holding(n), inputs(n, batch)
    mean, variance = (matrix[0] for matrix in core.matrices())
    return Bench(
        work=mvm_work(core, x),
        others=products((x, mean), (x * x, variance)),
        check=lambda: checks.mvm_agrees(n, batch),
        size_bytes=4 * (2 * n * n + 2 * batch * n),
    )


def four_phases(n: int, batch: int) -> Bench:
    """Set the noisy MVM in four phases against the one in one."""
    x = inputs(n, batch)
    one, four = (mvm_work(core, x) for core in (holding(n), in_phases(n, 4)))
    return Bench(four, lambda: checks.four_phases_agree(n, batch), (one,))


def convolution(n: int, batch: int) -> Bench:
    """Set a convolution of images against the two products of its windows, all written out."""
    once = fa.IterativeProgramming(iterations=1)
    matrix = fa.program(gaussian(n), config(n), once, threads=THREADS)
    images, bases, offsets = windows(n, batch)
    x = images[:, bases[:, None] + offsets].reshape(-1, n)
    mean = matrix.conductances()[0]
    return Bench(
        work=Work(lambda: matrix.windows(images, bases, offsets)),
        others=products((x, mean), (x * x, mean * mean)),
        check=lambda: checks.windows_agree(matrix, images, bases, offsets),
    )


def after_product(n: int, batch: int) -> Bench:
    """Set a caller's product and the MVM right after it against both alone."""
    core, x = holding(n), inputs(n, batch)
    alone, (product,) = mvm_work(core, x), products((x, gaussian(n)))
    both = Work(lambda: (product.call(), alone.call()))
    return Bench(both, lambda: checks.mvm_agrees(n, batch), (product, alone))


def mvm_baseline(
    kind: Callable[[Core, int], Any], holds: Callable[[Any, int, int], None]
) -> Builder:
    """Return what sets another MVM of the same core against the engine's, and what it must hold."""

    def build(n: int, batch: int) -> Bench:
        core, x = holding(n), inputs(n, batch)
        other = kind(core, batch)
        return Bench(
            work=mvm_work(core, x),
            others=(Work(lambda: other.mvm(x)),),
            check=lambda: holds(kind, n, batch),
            formula="speed-up",
        )

    return build


# --- programming ----------------------------------------------------------------------------------


def phase_work(phase: Phase, iterations: int) -> Work:
    """Return iterations of GDP, always from the same start."""
    restored: list[tuple[Core, State]] = []

    def prepare() -> None:
        restored[:] = [phase.restore()]

    return Work(lambda: phase.run(*restored[0], iterations), prepare)


def gdp_phase(n: int, batch: int) -> Bench:
    """Set all iterations of the default GDP against the four products that each one needs."""
    phase = Phase.of(n, fa.GradientDescentProgramming(batch=batch))
    core, _ = phase.restore()
    with core.engine.threads(THREADS):
        mean, variance = (matrix[0] for matrix in core.matrices())
    x = inputs(n, batch)
    error = np.random.default_rng(0).standard_normal((batch, n), dtype=np.float32)
    four = products((x, mean), (x * x, variance), (x, phase.targets[0]), (x.T, error))
    iterations = phase.method.iterations
    return Bench(
        work=phase_work(phase, iterations),
        others=four,
        check=lambda: checks.phases_agree(n, batch),
        per=iterations,
    )


def gdp_baseline(kind: Callable[[Phase, int], Any]) -> Builder:
    """Return what sets a baseline's first iterations of GDP against the engine's."""

    def build(n: int, batch: int) -> Bench:
        phase = Phase.of(n, fa.GradientDescentProgramming(batch=batch, affine_every=0))
        other = kind(phase, ITERATIONS)

        def iterate() -> None:
            for index in range(ITERATIONS):
                other.iterate(index)

        return Bench(
            work=phase_work(phase, ITERATIONS),
            others=(Work(iterate, other.restore),),
            check=lambda: baselines.iterations_agree(phase, other),
            formula="speed-up",
        )

    return build


def pulse_work(core: Core, device: np.ndarray, code: np.ndarray) -> Work:
    """Return a pulse of one device of every cell, or of none."""

    def call() -> None:
        with core.engine.threads(THREADS):
            core.pulse(device, code)

    return Work(call)


def pulses(mixed: bool) -> Builder:
    """Pulse every cell: ns a device, the same one in all cells as at a start, or any."""

    def build(n: int, _batch: int) -> Bench:
        core, _ = blank(n)
        generator = np.random.default_rng(0)
        code = generator.integers(0, 256, core.shape).astype(np.uint8)
        device = generator.integers(0, core.config.devices, core.shape).astype(np.uint8)
        device *= mixed
        return Bench(
            work=pulse_work(core, device, code),
            check=lambda: checks.all_pulsed(core, device, code),
            formula="figure",
            per=n * n * 1e-9,
            size_bytes=n * n * (4 + 1 + 4 + 1 + 1),
        )

    return build


def counted(kind: str) -> Builder:
    """Give every cell's device ten pulses up: ns a pulse."""

    def build(n: int, _batch: int) -> Bench:
        core, _ = blank(n)
        core.config = fa.override(core.config, {"device": {"kind": kind}})
        core.memory = no_memory(core.config, core.shape)
        device = np.zeros(core.shape, dtype=np.uint8)
        code = np.full(core.shape, TEN, dtype=np.uint8)
        return Bench(
            work=pulse_work(core, device, code),
            check=lambda: checks.all_counted(core, device, code),
            formula="figure",
            per=TEN * n * n * 1e-9,
        )

    return build


def unpulsed(n: int, _batch: int) -> Bench:
    """Set a call that pulses no cell against a copy of what it has to read."""
    core, _ = blank(n)
    code = np.zeros(core.shape, dtype=np.uint8)
    source, target = np.full((2, *core.shape), NONE, dtype=np.uint8)
    return Bench(
        work=pulse_work(core, np.full(core.shape, NONE, dtype=np.uint8), code),
        others=(Work(lambda: np.copyto(target, source)),),
        check=lambda: checks.none_pulsed(n),
        size_bytes=n * n,
    )


def wires(solver: str) -> Builder:
    """Work out what one tile's cells conduct behind wires of 0.35 Ω a cell: ns a cell."""

    def build(n: int, _batch: int) -> Bench:
        engine, targets = engines.load("numba"), targets_of(n)
        devices = np.zeros((4, *targets.shape), dtype=np.float32)
        devices[:2] = np.maximum(targets, 0.1), np.maximum(-targets, 0.1)
        out = np.empty_like(targets), np.empty_like(targets)
        config = Wires(solver=solver)

        def call() -> None:
            with engine.threads(THREADS, blas=False):
                effective(engine, config, 0, devices, out)

        return Bench(
            work=Work(call),
            check=lambda: checks.behind_wires(n, solver),
            formula="figure",
            per=n * n * 1e-9,
            size_bytes=n * n * 24 if solver == "estimate" else None,
        )

    return build


def tiles(n: int, side: int) -> Bench:
    """Set GDP of a matrix of tiles of `side` rows on one thread against two."""
    weights = gaussian(n)

    def work(threads: int) -> Work:
        return Work(lambda: fa.program(weights, config(side), seed=0, threads=threads))

    one, two = work(1), work(THREADS)
    return Bench(
        work=two,
        others=(one,),
        check=lambda: checks.same_bits(two.call(), one.call()),  # type: ignore[arg-type]
        formula="speed-up",
    )


def against_reference(n: int, batch: int) -> Bench:
    """Set GDP in plain NumPy against the kernels: start, two iterations and result."""
    method = fa.GradientDescentProgramming(
        iterations=2, batch=batch, affine_every=2, final_passes=1
    )

    def work(engine: str) -> Work:
        return Work(lambda: fa.program(gaussian(n), config(n), method, engine=engine))

    mine, theirs = work("numba"), work("reference")
    return Bench(
        work=mine,
        others=(theirs,),
        check=lambda: checks.same_error(mine.call(), theirs.call()),  # type: ignore[arg-type]
        formula="speed-up",
    )


# --- processes of their own -----------------------------------------------------------------------


def memory(n: int, _batch: int) -> Bench:
    """Measure the peak of programming, bytes a cell."""

    def check() -> None:
        least = 4 * config(1).devices  # the conductances alone
        assert probes.peak_bytes(n) > least

    return Bench(Work(lambda: probes.peak_bytes(n), measures=True), check, formula="figure")


def start_up(_n: int, _batch: int) -> Bench:
    """Set the import of fastaimc against what it needs anyway: ms more."""

    def check() -> None:
        assert probes.seconds(probes.FASTAIMC) > 0
        assert probes.seconds(probes.NUMBA_AND_SCIPY) > 0
        assert engines.load("numba").__name__ == "fastaimc.kernels"  # type: ignore[attr-defined]

    return Bench(
        work=Work(lambda: probes.seconds(probes.FASTAIMC), measures=True),
        others=(Work(lambda: probes.seconds(probes.NUMBA_AND_SCIPY), measures=True),),
        check=check,
        formula="difference",
        per=1e-3,
    )


def probe(call: Callable[[], float], program: str) -> Builder:
    """Return what measures a program of its own; its check runs it with what is compiled."""

    def check() -> None:
        assert probes.seconds(program) > 0

    return lambda _, __: Bench(Work(call, measures=True), check, formula="figure")
