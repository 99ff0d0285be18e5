"""Cores of a few cells, whose every number can be worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastaimc import engine as engines
from fastaimc.config import ADC, DAC, CoreConfig, Drift, MeltQuench, StateFit
from fastaimc.core import Core
from fastaimc.parameters import mask_dtype

NU = 0.05
IDEAL_ADC = ADC(bits=None, gain_std=0, offset_std=0, inl_std=0)
EXACT = MeltQuench(g_set_spread=0, centre_spread=0, width_spread=0, jitter_ua=0, floor_us=0)
TWINS = pytest.mark.parametrize("engine", ["numba", "reference"])


def constant(value: float) -> StateFit:
    return StateFit(low=value, high=value)


def quiet(**values: Any) -> CoreConfig:
    """Devices that are all alike and drift by one exponent, read without noise or rounding."""
    plain: dict[str, Any] = {
        "rows": 5,
        "columns": 6,
        "device": EXACT,
        "drift": Drift(mean=constant(NU), std=constant(0)),
        "read_noise": None,
        "dac": DAC(bits=None),
        "adc": IDEAL_ADC,
    }
    return CoreConfig(**(plain | values))


def blank(
    config: CoreConfig,
    extents: list[tuple[int, int]] | None = None,
    engine: str = "reference",
    seed: int = 0,
) -> Core:
    """A core of tiles of 5 × 6 cells, of which the extents are in use; 1 µS is wanted of each."""
    extents = [(5, 6)] if extents is None else extents
    identity = np.zeros((len(extents), 3), dtype=np.uint32)
    identity[:, 0], identity[:, 2] = seed, np.arange(len(extents))
    targets = np.zeros((len(extents), 5, 6), dtype=np.float32)
    for tile, (rows, columns) in enumerate(extents):
        targets[tile, :rows, :columns] = 1
    return Core.blank(config, engines.load(engine), targets, identity, np.array(extents))


def pulse(core: Core, device: int, code: int) -> None:
    core.pulse(np.full(core.shape, device, np.uint8), np.full(core.shape, code, np.uint8))


def rows_of(core: Core, select: int | None = None, fine: bool = False) -> np.ndarray:
    chosen = (
        None
        if select is None
        else np.full((1, 1, 1), select, dtype=mask_dtype(core.config.devices))
    )
    return core.read_rows(np.arange(core.shape[1]), chosen, fine)


def ones(core: Core, batch: int = 1) -> np.ndarray:
    return np.ones((1, batch, core.shape[1]), dtype=np.float32)


def mvm(core: Core, x: np.ndarray) -> np.ndarray:
    return core.mvm(x, np.zeros(core.shape[0], dtype=np.int32))


def g_of(code: int) -> float:
    current = 100 + code * 400 / 255
    return float(14 * 10 ** (-2 / (1 + np.exp(-(current - 200) / 12))))
