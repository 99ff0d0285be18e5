"""MVM error and weight error of a programmed matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fastaimc.circuit.effective import behind
from fastaimc.circuit.phases import Pair, selections, turn
from fastaimc.config import CoreConfig
from fastaimc.config.core import device_reach
from fastaimc.engine import NO_SLOW_NOISE
from fastaimc.errors import check_choice, check_integer
from fastaimc.matrix import METRICS, AnalogMatrix, check_matrix
from fastaimc.parameters import F32

VECTORS = 1 << 25  # numbers in the stream of noise that a seed may use
SEEDS = 1 << 20  # such parts; 2**45 numbers follow METRICS
PURPOSE = 0x4D564D  # with the seed: weights may come from NumPy's generator of the same seed
INPUTS = ("uniform", "sparse", "relu")


@dataclass(frozen=True, slots=True)
class MVMError:
    """Relative error of the outputs, mean over inputs of ``||y~ - y|| / ||y||``.

    Attributes
    ----------
    total : float
        Of the outputs as they are.
    residual : float
        After a least-squares affine fit of every output, on separate inputs.
    linear : float
        ``sqrt(total² - residual²)``: what the fit removes (Le Gallo et al., 2023, Fig. 2d).
    exact : float
        Total of a core whose cells hold the targets.
    floor : float
        Residual of that core: read noise, quantisation, non-linearity.
    """

    total: float
    linear: float
    residual: float
    exact: float
    floor: float


def draw_inputs(
    kind: str, samples: int, width: int, input_range: float, rng: np.random.Generator
) -> np.ndarray:
    """Return test inputs (samples, width), float32.

    "uniform" in ±input_range; "sparse": half of them zero (the protocol of aihwkit's HERMES
    notebook); "relu": positive halves of Gaussian inputs of a third of the range.
    """
    if kind == "relu":
        x = np.clip(rng.standard_normal((samples, width)) / 3, 0, 1)
    else:
        x = rng.uniform(-1, 1, (samples, width))
        if kind == "sparse":
            x *= rng.random((samples, width)) < 0.5
    return np.asarray(x * input_range, dtype=np.float32)


def relative_error(y: np.ndarray, wanted: np.ndarray) -> float:
    """Return the mean over vectors of ``||y - wanted|| / ||wanted||``; 0 where both are zero."""
    error = np.linalg.norm(y - wanted, axis=1)
    norm = np.linalg.norm(wanted, axis=1)
    kept = norm > 0
    if not kept.any():
        return 0.0 if not error.any() else float("inf")
    return float((error[kept] / norm[kept]).mean())


def fit_affine(y: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return scale and offset of every output that bring `y` nearest to `wanted`."""
    centred = y - y.mean(axis=0)
    power = (centred**2).sum(axis=0)
    product = (centred * (wanted - wanted.mean(axis=0))).sum(axis=0)
    scale = np.divide(product, power, out=np.ones_like(power), where=power > 0)
    return scale, wanted.mean(axis=0) - scale * y.mean(axis=0)


def mvm_error(
    matrix: AnalogMatrix, samples: int = 1000, seed: int = 1, inputs: str = "uniform"
) -> MVMError:
    """Measure the MVM error of a matrix on inputs it was not programmed with.

    Neither counter nor clock of the matrix moves.

    Parameters
    ----------
    samples : int
        Test vectors; the affine fit takes as many others.
    seed : int
        Of the inputs and the noise.
    inputs : str
        "uniform", "sparse" or "relu".

    Raises
    ------
    InputError, ConfigError
        For something that is no `AnalogMatrix`; another kind of inputs or an impossible number.

    Examples
    --------
    >>> import numpy as np, fastaimc as fa
    >>> weights = np.random.default_rng(0).standard_normal((8, 16))
    >>> matrix = fa.program(weights, fa.presets.ideal(), engine="reference")
    >>> fa.mvm_error(matrix, samples=100).total < 1e-6
    True
    """
    check_matrix(matrix)
    check_integer("samples", samples, 2, 10**7)
    check_integer("seed", seed, 0, 2**32 - 1)
    check_choice("inputs", inputs, INPUTS)
    rng = np.random.default_rng((seed, PURPOSE))
    width = matrix.shape[1]
    fit_x = draw_inputs(inputs, samples, width, matrix.input_range, rng)
    test_x = draw_inputs(inputs, samples, width, matrix.input_range, rng)
    stream = int(np.random.SeedSequence(seed).generate_state(1)[0]) % SEEDS
    first = METRICS + stream * VECTORS

    def measure(subject: AnalogMatrix) -> tuple[float, float]:
        fit_y = subject.evaluate(fit_x, first).astype(np.float64)
        y = subject.evaluate(test_x, first + samples).astype(np.float64)
        scale, offset = fit_affine(fit_y, fit_wanted)
        return relative_error(y, wanted), relative_error(y * scale + offset, wanted)

    with matrix.core.engine.threads(None):  # bits must not depend on the threads of BLAS either
        weights = matrix.target_weights().T.astype(np.float64)
        fit_wanted, wanted = fit_x @ weights, test_x @ weights
        total, residual = measure(matrix)
        exact, floor = measure(matrix.with_conductances(exact_conductances(matrix)))
    linear = float(np.sqrt(max(total**2 - residual**2, 0.0)))
    return MVMError(total=total, linear=linear, residual=residual, exact=exact, floor=floor)


def weight_error(matrix: AnalogMatrix) -> float:
    """Return ``||W~ - W|| / ||W||`` of what the cells hold now, without any compensation."""
    check_matrix(matrix)
    wanted = matrix.target_weights()
    with matrix.core.engine.threads(None):
        norm = float(np.linalg.norm(wanted))
        error = float(np.linalg.norm(matrix.weights() - wanted))
    return error / norm if norm > 0 else error


def split_exact(targets: np.ndarray, config: CoreConfig) -> np.ndarray:
    """Return devices that add up to the targets: SET ones first, the last one the rest.

    Which these are is as in `Engine.allocate`.

    (tile, device, row, column), float32, µS.
    """
    half = config.devices_per_polarity
    factors = config.significance or (1.0,) * half
    order = sorted(range(half), key=lambda index: -factors[index])
    most, _ = device_reach(config.device)
    differ = config.device_significance().size > 0 and most < math.inf
    tiles, rows, columns = targets.shape
    out = np.zeros((tiles, config.devices, rows, columns), dtype=np.float32)
    for polarity, sign in ((0, 1), (half, -1)):
        rest = np.maximum(sign * targets, 0)
        for rank, index in enumerate(order):
            part = rest if rank == half - 1 else np.minimum(rest, F32(most * factors[index]))
            if differ and rank < half - 1:
                later = sum(factors[other] for other in order[rank + 1 :])
                part = np.where(rest <= F32(most * later), F32(0), part)
            out[:, polarity + index] = part / F32(factors[index])
            rest = rest - part
    return out


def exact_conductances(matrix: AnalogMatrix) -> tuple[Pair, ...]:
    """Return mean and variance of a core whose cells hold the targets now, a pair a polarity.

    Behind its wires, if it has any.
    """
    core, config = matrix.core, matrix.core.config
    held = split_exact(matrix.targets, config)
    still = np.where(np.arange(3)[:, None] < 2, 0, config.state_fits()).astype(np.float32)

    def read(select: np.ndarray, out: Pair) -> None:
        state = (held, core.last_device, core.last_s, core.clock_s, select, core.identity)
        known = (still, config.state_parameters(), config.device_significance(), NO_SLOW_NOISE)
        core.engine.drift(*state, *known, 0, *out)

    pairs = []
    for select in selections(config.dac.phases, config.devices):
        mean, variance = np.empty((2, *core.shape), dtype=np.float32)
        if config.wires is not None:
            behind(core.engine, config, select, read, (mean, variance))
        else:
            read(select, (mean, variance))
            mean = matrix.targets if config.dac.phases < 4 else mean
        pairs.append((mean, variance))
    return turn(tuple(pairs))
