"""What a good programmer would write with NumPy or PyTorch: batched, in float32, in place.

They know the same devices and converters as the engine and draw from generators of their own, so
their outputs have the same mean and variance (`checks.same_statistics`), and never the same bits.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from checks import same_statistics
from scene import THREADS, Phase, holding, inputs

from fastaimc.config.circuit import half_codes
from fastaimc.core import Core

SHAPE_NORM = np.float32(2.598076211353316)  # as in fastaimc/reference/converters.py
DRAWS = 200  # of the MVM that are compared


class Periphery:
    """The converters of a core of one tile, as factors of whole arrays."""

    def __init__(self, core: Core) -> None:
        gain, offset, bow, shape = core.columns(0)[0]
        self.dac = float(half_codes(core.config.dac.bits))
        self.adc = float(core.half_codes(programming=True))
        self.full_scale = float(core.full_scale_us[0])
        self.gain, self.offset, self.bow = 1 + gain, offset, bow
        self.cubic = SHAPE_NORM * shape


class NumpyCrossbar:
    """The noisy MVM: two products, one draw of normals, and the converters in place."""

    def __init__(self, core: Core, batch: int) -> None:
        self.mean, self.variance = (matrix[0] for matrix in core.matrices())
        self.periphery = Periphery(core)
        self.random = np.random.Generator(np.random.SFC64(1))  # NumPy's fastest
        rows, columns = self.mean.shape
        self.driven = np.empty((batch, rows), dtype=np.float32)
        self.noise = np.empty((batch, columns), dtype=np.float32)
        self.normals = np.empty_like(self.noise)

    def mvm(self, x: np.ndarray) -> np.ndarray:
        """Return what the ADCs report of inputs (batch, row)."""
        p, driven, noise, spare = self.periphery, self.driven, self.noise, self.normals
        np.clip(x, -1, 1, out=driven)
        driven *= p.dac
        np.rint(driven, out=driven)
        driven /= p.dac
        y: np.ndarray = driven @ self.mean
        driven *= driven
        np.matmul(driven, self.variance, out=noise)
        np.sqrt(noise, out=noise)
        self.random.standard_normal(dtype=np.float32, out=spare)
        noise *= spare
        y += noise
        y /= p.full_scale
        np.clip(y, -1, 1, out=noise)
        np.multiply(noise, p.cubic, out=spare)
        spare += p.bow
        noise *= noise
        np.subtract(1, noise, out=noise)
        noise *= spare
        y *= p.gain
        y += p.offset
        y += noise
        np.clip(y, -1, 1, out=y)
        y *= p.adc
        np.rint(y, out=y)
        y *= p.full_scale / p.adc
        return y


@contextmanager
def torch_threads(torch: Any) -> Iterator[None]:
    """Run PyTorch on as many threads as the kernels, and without bookkeeping for gradients."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)


class TorchCrossbar:
    """The same in PyTorch."""

    def __init__(self, core: Core, batch: int) -> None:
        torch = self.torch = importlib.import_module("torch")
        self.random = torch.Generator().manual_seed(1)
        self.mean, self.variance = (torch.from_numpy(m[0].copy()) for m in core.matrices())
        p = self.periphery = Periphery(core)
        self.columns = [torch.from_numpy(a.copy()) for a in (p.gain, p.offset, p.bow, p.cubic)]
        self.normals = torch.empty((batch, self.mean.shape[1]))

    def mvm(self, x: np.ndarray) -> np.ndarray:
        """Return what the ADCs report of inputs (batch, row)."""
        with torch_threads(self.torch):
            outputs: np.ndarray = self.outputs(self.torch.from_numpy(x)).numpy()
        return outputs

    def outputs(self, x: Any) -> Any:
        """Return the same of a tensor."""
        p = self.periphery
        gain, offset, bow, cubic = self.columns
        driven = x.clamp(-1, 1).mul_(p.dac).round_().div_(p.dac)
        y = driven @ self.mean
        noise = (driven.square_() @ self.variance).sqrt_()
        y.addcmul_(noise, self.normals.normal_(generator=self.random)).div_(p.full_scale)
        inside = y.clamp(-1, 1)
        bend = self.torch.addcmul(bow, inside, cubic)
        bend.mul_(inside.square_().neg_().add_(1))
        y.mul_(gain).add_(offset).add_(bend).clamp_(-1, 1)
        return y.mul_(p.adc).round_().mul_(p.full_scale / p.adc)


def crossbar_agrees(kind: Callable[[Core, int], Any], n: int, batch: int) -> None:
    """Hold a baseline's outputs to mean and variance of the engine's."""
    core, x = holding(n), inputs(n, batch)
    other = kind(core, batch)
    theirs = np.array([other.mvm(x) for _ in range(DRAWS)])
    with core.engine.threads(THREADS):
        mine = np.array([core.mvm(x[None], np.zeros(1, np.int32))[0] for _ in range(DRAWS)])
    same_statistics(mine, theirs)


def iterations_agree(phase: Phase, other: Any, iterations: int = 2, draws: int = 100) -> None:
    """Hold the first iterations of a baseline of GDP to the engine's.

    The columns of a tile are independent of each other: what the cells of each conduct afterwards,
    and how many of them the last iteration pulses.
    """
    conducted, pulsed = [], []
    for draw in range(draws):
        core, state = phase.restore()
        core.number += draw << 16
        core.step += draw * iterations
        phase.run(core, state, iterations)
        with core.engine.threads(THREADS):
            conducted.append(core.matrices()[0][0].sum(axis=0))
        pulsed.append((state["fire"][0] != 255).sum(axis=0))
    conducts, pulses = [], []
    for _ in range(draws):
        other.restore()
        for index in range(iterations):
            other.iterate(index)
        other.refresh()
        conducts.append(other.mean.sum(axis=0))
        pulses.append(other.pulsed_columns())
    same_statistics(np.array(conducted), np.array(conducts))
    same_statistics(np.array(pulsed), np.array(pulses))
