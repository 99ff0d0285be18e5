"""The noisy MVM of other simulators: their own objects, set to our converters and mean noise.

Neither has every part of the engine's model, so each does other work, as its class says, and is
held to what it was set to instead of to the engine.  None has been installed or timed here: the
checks have passed on the unpacked sources of CrossSim 3.2.0 and aihwkit 1.1.0, the latter without
its compiled part, which its PyTorch tile does not call.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from baselines import Periphery, torch_threads
from scene import holding, inputs
from tolerances import SIGMAS

from fastaimc.core import Core

DRAWS = 50


class AihwkitCrossbar:
    """aihwkit's `AnalogLinear` on one tile of its PyTorch engine, in evaluation.

    It knows noise of the outputs, which here are all alike: one product where the engine has two.
    Its ADCs have no errors of their own, and nothing drifts.
    """

    def __init__(self, core: Core, batch: int) -> None:
        self.torch = importlib.import_module("torch")
        configs: Any = importlib.import_module("aihwkit.simulator.configs")
        mean, variance = (matrix[0] for matrix in core.matrices())
        p = Periphery(core)
        self.variance = float(variance.sum(axis=0).mean()) / 3  # of uniform inputs
        config = configs.TorchInferenceRPUConfig()
        io = config.forward
        io.inp_bound, io.inp_res, io.inp_noise = 1.0, 0.5 / p.dac, 0.0
        io.out_bound, io.out_res, io.out_noise = p.full_scale, 0.5 / p.adc, self.variance**0.5
        io.noise_management = configs.NoiseManagementType.NONE  # inputs are in range as they are
        io.bound_management = configs.BoundManagementType.NONE  # saturates, as the engine does
        config.mapping.max_input_size = config.mapping.max_output_size = 0  # a tile of any size
        rows, columns = mean.shape
        layer: Any = importlib.import_module("aihwkit.nn").AnalogLinear
        self.layer = layer(rows, columns, bias=False, rpu_config=config).eval()
        self.layer.set_weights(self.torch.from_numpy(mean.T.copy()))

    def mvm(self, x: np.ndarray) -> np.ndarray:
        """Return what the ADCs report of inputs (batch, row)."""
        with torch_threads(self.torch):
            outputs: np.ndarray = self.layer(self.torch.from_numpy(x)).numpy()
        return outputs

    def noise(self, driven: np.ndarray) -> np.ndarray:
        """Return the variance of the outputs before the ADC."""
        return np.full((len(driven), self.layer.out_features), self.variance)


class CrossSimCrossbar:
    """CrossSim's `AnalogCore`: a pair of devices a cell, all with the same relative read noise.

    It draws that noise for every device and vector, as it has no noise of outputs, and a batch
    holds as many copies of the matrix.  Its ADCs have no errors of their own, and nothing drifts.
    """

    def __init__(self, core: Core, batch: int) -> None:
        mean, variance = (matrix[0] for matrix in core.matrices())
        p = Periphery(core)
        self.square = mean * mean
        self.relative = float(np.sqrt(variance.sum() / self.square.sum()))
        parameters: Any = importlib.import_module("simulator").CrossSimParameters()
        crossbar = parameters.xbar
        crossbar.device.infinite_on_off_ratio = True
        noise = crossbar.device.read_noise
        noise.enable, noise.model = True, "NormalProportionalDevice"
        noise.magnitude = self.relative
        crossbar.dac.mvm.model, crossbar.dac.mvm.bits = "SignMagnitudeDAC", core.config.dac.bits
        crossbar.adc.mvm.model = "SignMagnitudeADC"  # replaces the object
        crossbar.adc.mvm.bits = core.config.adc.bits
        full_scale = p.full_scale / float(np.abs(mean).max())  # the largest weight is 1
        crossbar.adc.mvm.calibrated_range = [-full_scale, full_scale]
        self.core = importlib.import_module("simulator").AnalogCore(mean.T.copy(), parameters)

    def mvm(self, x: np.ndarray) -> np.ndarray:
        """Return what the ADCs report of inputs (batch, row)."""
        outputs: np.ndarray = (self.core @ x.T).T
        return outputs

    def noise(self, driven: np.ndarray) -> np.ndarray:
        """Return the variance of the outputs before the ADC."""
        variance: np.ndarray = self.relative**2 * ((driven * driven) @ self.square)
        return variance


def outputs_hold(kind: Callable[[Core, int], Any], n: int, batch: int) -> None:
    """Hold mean and variance of another simulator's outputs to what it was set to.

    Normal noise of about a code makes the error of rounding uniform and independent of the output.
    Outputs within reach of the ADC's ends are left out.
    """
    core, x = holding(n), inputs(n, batch)
    p = Periphery(core)
    other = kind(core, batch)
    found = np.array([other.mvm(x) for _ in range(DRAWS)], dtype=np.float64)
    driven = np.rint(x * p.dac) / p.dac
    exact, noise, code = driven @ core.matrices()[0][0], other.noise(driven), p.full_scale / p.adc
    inside = np.abs(exact) + SIGMAS * np.sqrt(noise) < p.full_scale
    assert inside.mean() > 0.8, "few outputs are in range"
    assert (noise > (0.5 * code) ** 2).all(), "too little noise for a mean between codes"
    variance = (noise + code**2 / 12)[inside]
    z = (found.mean(axis=0) - exact)[inside] / np.sqrt(variance / DRAWS)
    assert abs(z.mean()) * np.sqrt(z.size) < SIGMAS, f"means differ: {z.mean():.3g} on average"
    assert abs((z**2).mean() - 1) < SIGMAS * np.sqrt(2 / z.size), f"{(z**2).mean():.4g}"
    ratio = (found.var(axis=0, ddof=1)[inside] / variance).mean()
    assert abs(ratio - 1) < SIGMAS * np.sqrt(2 / (DRAWS - 1) / z.size), f"variance: {ratio:.4g}"
