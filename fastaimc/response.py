"""How the devices of a core answer pulses, by their kind."""

from __future__ import annotations

import numpy as np

from fastaimc.config import CoreConfig, MeltQuench, ProgrammedState, PythonDevice
from fastaimc.config.core import Device
from fastaimc.config.incremental import FULL_RESET, counted, has_memory
from fastaimc.config.own import SPREADS
from fastaimc.engine import Engine
from fastaimc.parameters import F32
from fastaimc.reference import philox

State = tuple[np.ndarray, np.ndarray, np.ndarray]  # conductance, last_device, last_s


def answer(
    engine: Engine,
    part: Device,
    state: State,
    memory: np.ndarray,
    pulses: tuple[np.ndarray, np.ndarray],
    clock_s: np.ndarray,
    step: int,
    identity: np.ndarray,
) -> np.ndarray:
    """Let devices answer, in place; return the counts of the engine's `pulse`, (tile, 4).

    Counted pulses up count as such that SET.  `pulses` are the device of each cell (255: none) and
    its code; the other arguments are as for the engine's `pulse` and `increment`.
    """
    device, code = pulses
    if isinstance(part, PythonDevice):
        return _python(engine, part, state, pulses, clock_s, step, identity)
    if isinstance(part, MeltQuench):
        own = part.parameters()
        return engine.pulse(*state, device, code, clock_s, step, identity, own)
    if isinstance(part, ProgrammedState):
        law = (F32(1.0 / part.g_scale_us), part.coefficients())
        return engine.write(*state, device, code, clock_s, step, identity, *law)
    steps = (part.steps(), part.parameters())
    counts = engine.increment(*state, memory, device, code, clock_s, step, identity, *steps)
    return np.pad(counts, ((0, 0), (0, 2)))  # bounds clip, and are the device's own


def no_memory(config: CoreConfig, shape: tuple[int, int, int]) -> np.ndarray:
    """Return the memory of devices in RESET; of no devices where pulses leave none."""
    devices = config.devices if has_memory(config.device) else 0
    return np.zeros((shape[0], devices, *shape[1:]), dtype=np.uint8)


def _python(
    engine: Engine,
    part: PythonDevice,
    state: State,
    pulses: tuple[np.ndarray, np.ndarray],
    clock_s: np.ndarray,
    step: int,
    identity: np.ndarray,
) -> np.ndarray:
    """Do what `Engine.increment` does, with a user's model: one pulse of all devices at a time."""
    conductance, last_device, last_s = state
    device, code = pulses
    up, down = counted(code)
    up, down = (np.where(device < conductance.shape[1], number, 0) for number in (up, down))
    at = np.nonzero(up + down)
    chosen = (at[0], device[at], at[1], at[2])
    g = conductance[chosen].astype(np.float64)
    full = code.view(np.int8)[at] == FULL_RESET
    g[full] = part.low_us
    number, rises = np.where(full, 0, (up + down)[at]), up[at] > 0
    spread = np.array(
        [
            engine.device_normals(identity, device, which, philox.STEP_SPREAD, 0)[at]
            for which in range(SPREADS)
        ]
    )
    clipped = np.zeros(g.shape, dtype=bool)
    for i in range(int(number.max(initial=0))):
        more = number > i
        noise = engine.device_normals(identity, device, step, philox.INCREMENT, i)[at]
        after = part.after(g[more], rises[more], spread[:, more], noise[more])
        clipped[more] |= after < 0
        g[more] = np.maximum(after, 0)
    conductance[chosen] = g
    last_device[at] = device[at]
    last_s[at] = clock_s[at[0]]
    counts = np.zeros((len(conductance), 4), dtype=np.int64)
    counts[:, 0], counts[:, 1] = up.sum(axis=(1, 2)), down.sum(axis=(1, 2))
    counts[:, 2] = np.bincount(at[0][clipped], minlength=len(conductance))
    return counts
