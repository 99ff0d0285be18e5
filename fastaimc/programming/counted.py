"""The start of devices of counted pulses: all in RESET, then as many pulses as are nominal."""

from __future__ import annotations

import numpy as np

from fastaimc.config.incremental import FULL_RESET, MOST
from fastaimc.programming.method import State
from fastaimc.programming.plan import NONE
from fastaimc.terminals import Terminals

RESET = FULL_RESET & 255


def prepare_counted(terminals: Terminals, shoot: bool) -> State:
    """RESET all devices and bring those of each target's polarity near their shares of it.

    The devices of a polarity are to conduct alike, so that each has its part of the target by its
    significance.  With `shoot` each gets the pulses that take a nominal one there; without they
    stay in RESET.

    Returns
    -------
    dict of ndarray
        What the engine's `gradient_pulses` takes of cells, as `start.prepare`.
    """
    shape, nominal = terminals.shape, terminals.nominal
    half = terminals.devices // 2
    whole = terminals.significance[:half].sum() if terminals.significance.size else half
    for index in range(terminals.devices):
        device = np.full(shape, index, dtype=np.uint8)
        terminals.pulse(device, np.full(shape, RESET, dtype=np.uint8))
    low = np.where(terminals.targets >= 0, np.uint8(0), np.uint8(half))
    share = np.abs(terminals.targets) / whole + nominal.conductance_us[-1]
    aim = _nearest(nominal.conductance_us, share)
    if shoot:
        number = nominal.pulses[aim]
        for index in range(half):
            _send(terminals, (low + index).astype(np.uint8), number)
    return {
        "device": low,
        "filled": np.full(shape, NONE, dtype=np.uint8),
        "aim": aim,
        "level": np.zeros(shape, dtype=np.int16),
        "swing": np.zeros(shape, dtype=np.int8),
        "fire": np.full(shape, NONE, dtype=np.uint8),
        "code": np.zeros(shape, dtype=np.uint8),
    }


def _nearest(curve: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Return the place of the nearest value on an evenly falling curve of 256, uint8."""
    step = (curve[0] - curve[-1]) / (len(curve) - 1)
    return np.asarray(np.clip(np.rint((curve[0] - g) / step), 0, 255), dtype=np.uint8)


def _send(terminals: Terminals, device: np.ndarray, number: np.ndarray) -> None:
    """Send pulses up, as many at a time as a code can say."""
    for done in range(0, int(number.max(initial=0)), MOST):
        code = np.clip(number - done, 0, MOST).astype(np.uint8)
        terminals.pulse(np.where(code > 0, device, np.uint8(NONE)), code)
