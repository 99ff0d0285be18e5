"""What must hold of a work before its time means anything: bounds come from tests/tolerances.py."""

from __future__ import annotations

import numpy as np
import tolerances
import tolerances_devices
from scene import THREADS, Phase, blank, holding, in_phases, inputs, targets_of, twin
from tolerances import SIGMAS

import fastaimc as fa
from fastaimc import engine as engines
from fastaimc.circuit.effective import effective
from fastaimc.config import AccumulativeSet, MeltQuench, SoftBounds, Wires
from fastaimc.core import NONE, Core
from fastaimc.parameters import PulseParameters
from fastaimc.reference import increments, melting, pcm, philox

AGREE = 0.02  # of the engines' errors after a program (rounding flips thresholds)


def mvm_agrees(n: int, batch: int) -> None:
    """Hold the kernel's codes to the reference's, but for those beside the edge of a code."""
    cores = holding(n), holding(n, "reference")
    x = inputs(n, batch)
    group = np.zeros(1, dtype=np.int32)
    found = []
    for core in cores:
        with core.engine.threads(THREADS):
            found.append(core.mvm(x[None], group)[0])
    core = cores[0]
    half, full_scale = float(core.half_codes(programming=True)), float(core.full_scale_us[0])
    error, size = tolerances.current(x, *(matrix[0] for matrix in core.matrices()))
    bound = tolerances.adc(error, size, core.columns(0)[0], full_scale) * half
    apart = np.abs(found[0] - found[1]) / full_scale * half
    chance = np.minimum(2 * bound, 1)  # of an edge within the bound, as codes are that far apart
    assert apart.max() < 1 + 2 * bound.max(), f"outputs differ by {apart.max():.3g} codes"
    expected = float(chance.sum())
    different = int((apart > 0.5).sum())
    assert different <= expected + SIGMAS * np.sqrt(expected) + 1, (
        f"{different} codes differ, {expected:.1f} may"
    )
    assert found[0].std() > 0.05 * full_scale


def windows_agree(
    matrix: fa.AnalogMatrix, images: np.ndarray, bases: np.ndarray, offsets: np.ndarray
) -> None:
    """Hold the products of windows to those of the vectors that they are, to the last bit."""
    found = matrix.copy().windows(images, bases, offsets)
    written_out = images[:, bases[:, None] + offsets].reshape(len(found), -1)
    np.testing.assert_array_equal(found, matrix.copy().mvm(written_out))
    assert found.std() > 0


def four_phases_agree(n: int, batch: int) -> None:
    """Hold the kernel's MVM in four phases to the reference's, but for a code in a hundred."""
    x, group = inputs(n, batch), np.zeros(1, dtype=np.int32)
    found = []
    for name in ("numba", "reference"):
        core = in_phases(n, 4, name)
        with core.engine.threads(THREADS):
            found.append(core.mvm(x[None], group)[0])
    step = float(core.full_scale_us[0]) / abs(float(core.mvm_codes(programming=True)))
    apart = np.abs(found[0] - found[1]) / step
    assert (apart > 0.5).mean() < 0.01, f"{(apart > 0.5).mean():.2%} of the codes differ"
    assert apart.max() < 2.5, f"outputs differ by {apart.max():.3g} codes"
    assert found[0].std() > step


def phases_agree(n: int, batch: int) -> None:
    """Hold iterations of GDP on both engines to the same pulses and the same error."""
    method = fa.GradientDescentProgramming(
        iterations=3, batch=batch, affine_every=3, final_passes=1
    )
    phase = Phase.of(n, method)
    ends = []
    for name in ("numba", "reference"):
        core, state = phase.restore(engines.load(name))
        before = core.counters["pulses_set"] + core.counters["pulses_reset"]
        phase.run(core, state, 3)
        pulses = core.counters["pulses_set"] + core.counters["pulses_reset"] - before
        ends.append((float(state["batch_error"][0]), float(pulses[0])))
    for mine, theirs in zip(*ends, strict=True):
        assert abs(mine - theirs) <= AGREE * theirs, f"{mine:g} on Numba, {theirs:g} in NumPy"


def all_pulsed(core: Core, device: np.ndarray, code: np.ndarray) -> None:
    """Hold a pulse of one device of every cell to the reference, from `core` on."""

    def pulsed(values: np.ndarray) -> np.ndarray:
        return np.take_along_axis(values, device[:, None].astype(np.int64), axis=1)[:, 0]

    theirs = twin(core)
    theirs.engine = engines.load("reference")
    part, which = core.config.device, (core.identity, core.conductance.shape)
    assert isinstance(part, MeltQuench)
    p = PulseParameters(*(float(value) for value in part.parameters()))  # type: ignore[arg-type]
    z = [pulsed(own) for own in melting.device_normals(*which, p)]
    z.append(pulsed(pcm.cell_normals(*which, core.step, philox.PULSE)))
    for one in (core, theirs):
        with one.engine.threads(THREADS):
            one.pulse(device, code)
    current = p.current_min_ua + code.astype(np.float64) * p.current_step_ua
    apart = np.abs(pulsed(core.conductance) - pulsed(theirs.conductance))
    assert (apart <= tolerances_devices.pulsed(current, z, p)).all()
    np.testing.assert_array_equal(core.last_device, device)


def all_counted(core: Core, device: np.ndarray, code: np.ndarray) -> None:
    """Hold counted pulses of every cell to the reference, from `core` on."""
    theirs = twin(core)
    theirs.engine = engines.load("reference")
    part = core.config.device
    assert isinstance(part, AccumulativeSet | SoftBounds)
    p, steps = part.parameters(), part.steps()
    which, number = (core.identity, core.conductance.shape), code.view(np.int8)[:, None]
    z = [pcm.cell_normals(*which, core.step, philox.INCREMENT, i) for i in range(number.max())]
    spread = np.array([pcm.cell_normals(*which, i, philox.STEP_SPREAD) for i in range(4)])
    own = (increments.own_devices(*which, p), tolerances_devices.own_devices(spread, p))
    before = core.memory if core.memory.size else np.zeros(which[1])
    for one in (core, theirs):
        with one.engine.threads(THREADS):
            one.pulse(device, code)
    bound = tolerances_devices.incremented(number, before * 1.0, np.array(z), *own, steps, p)
    apart = np.abs(core.conductance - theirs.conductance)
    assert (apart <= bound).all()
    np.testing.assert_array_equal(core.memory, theirs.memory)


def none_pulsed(n: int) -> None:
    """Hold a call that pulses nothing to change nothing, and to count nothing."""
    core, _ = blank(n)
    core.conductance[:] = 3.0
    with core.engine.threads(THREADS):
        core.pulse(np.full(core.shape, NONE, dtype=np.uint8), np.zeros(core.shape, np.uint8))
    assert (core.conductance == np.float32(3.0)).all()
    assert core.counters["pulses_set"][0] == core.counters["pulses_reset"][0] == 0


def behind_wires(n: int, solver: str) -> None:
    """Hold the kernel's effective conductances to the reference's."""
    targets = targets_of(n)
    devices = np.zeros((4, *targets.shape), dtype=np.float32)
    devices[:2] = np.maximum(targets, 0.1), np.maximum(-targets, 0.1)
    found = []
    for name in ("numba", "reference"):
        out = np.empty_like(targets), np.empty_like(targets)
        effective(engines.load(name), Wires(solver=solver), 0, devices, out)
        found.append(out[0][0])
    bound, _ = tolerances.wired(devices[0, 0], devices[1, 0], Wires().parameters(0))
    scale = np.abs(found[1]).max(axis=0)
    assert (np.abs(found[0] - found[1]) <= bound + tolerances.RELAXED_RELATIVE * scale).all()
    assert np.abs(found[0] - targets[0]).max() > 0.01 * scale.max()


def same_bits(one: fa.AnalogMatrix, other: fa.AnalogMatrix) -> None:
    """Hold two programs to the same cells."""
    np.testing.assert_array_equal(one.core.conductance, other.core.conductance)


def same_error(one: fa.AnalogMatrix, other: fa.AnalogMatrix) -> None:
    """Hold two programs to the same MVM error."""
    errors = [fa.mvm_error(matrix, samples=300).total for matrix in (one, other)]
    assert abs(errors[0] - errors[1]) <= AGREE * errors[1], errors


def same_statistics(one: np.ndarray, other: np.ndarray) -> None:
    """Hold two samples (draw, ...) to the same mean and variance of every output.

    The variance of a sample variance is that of a normal, whatever the ADC has made of it: a
    rounded one scatters less where a step hides it, and no more where it does not.
    """
    draws = len(one)
    means, variances = zip(
        *((sample.mean(axis=0), sample.var(axis=0, ddof=1)) for sample in (one, other)), strict=True
    )
    spread = np.sqrt((variances[0] + variances[1]) / draws)
    still = spread == 0
    assert (means[0][still] == means[1][still]).all(), "outputs without noise differ"
    z = (means[0] - means[1])[~still] / spread[~still]
    assert z.size > still.sum(), "hardly an output shows its noise"
    assert abs(z.mean()) * np.sqrt(z.size) < SIGMAS, f"means differ: {z.mean():.3g} on average"
    assert abs((z**2).mean() - 1) < SIGMAS * np.sqrt(2 / z.size) + 4 / draws, f"{(z**2).mean():.4g}"
    total = variances[0].sum(), variances[1].sum()
    scatter = np.sqrt(sum((v**2).sum() for v in variances) * 2 / (draws - 1))
    assert abs(total[0] - total[1]) < SIGMAS * scatter, f"variances {total[0]:.4g}, {total[1]:.4g}"
