"""SET devices read by Hadamard-encoded MVMs (as HD-PV does; arXiv:2604.12420).

Rows that are read one after another are each rounded by a step of the ADC's MVM range; a decoded
read by that step over the square root of the number of lines.
"""

from __future__ import annotations

import numpy as np

from fastaimc.engine import INPUT_KINDS, Engine
from fastaimc.parameters import F32
from fastaimc.programming.plan import NONE
from fastaimc.programming.start import RESET, SET, factors, read_devices
from fastaimc.terminals import Terminals

FIRST_STEP = 1 << 31  # of the inputs' numbers: those of iterations are below
AT_A_TIME = 512  # rows and columns that are decoded together
SIGMAS = 4.0  # assumption: standard deviations of outputs that are to fit into the ADC's range


def encoded_set_values(
    terminals: Terminals, engine: Engine, key: np.ndarray, settle: float
) -> np.ndarray:
    """SET the devices of each target's polarity one after another, and read them all each time.

    An MVM takes all devices of a cell: what the last SET one adds is a difference.  All others are
    in RESET.  The last device is not read where all are alike, as with "max_fill_read".  It costs
    an MVM for each line and each device that is read.

    Parameters
    ----------
    settle : float
        Wait before all these reads together, in units of the time until evaluation.

    Returns
    -------
    ndarray
        What the devices will add at the evaluation, (device, tile, row, column), float32, µS; one
        that is not read has 0.
    """
    half, nominal, targets = terminals.devices // 2, terminals.nominal, terminals.targets
    count = read_devices(terminals)
    seconds = settle * terminals.t_eval_s / max(count, 1)
    expected = F32(nominal.set_us) * factors(terminals)
    values = np.zeros((half, *terminals.shape), dtype=np.float32)
    if count == 0:
        _set_next(terminals, 0)
        terminals.wait(seconds)
    for index, own in enumerate(values[:count]):
        _set_next(terminals, index)
        terminals.wait(seconds)
        limit = float(expected[: index + 1].sum())
        hidden = _read(terminals, engine, key, FIRST_STEP + index, limit, own)
        own *= np.where(targets < 0, F32(-1), F32(1))
        for before in range(index):  # each is older by now
            own -= values[before] / nominal.fading(seconds, (index - before) * seconds)[0]
        used = targets != 0
        used[:, hidden] = False
        for tile, level in enumerate(own):
            level *= _scales(level, used[tile])
        own[~used] = expected[index].item()
    values /= nominal.fading(seconds, terminals.t_eval_s)[0]
    return np.abs(values, out=values)


def _set_next(terminals: Terminals, index: int) -> None:
    """SET device `index` of each target's polarity; before the first all others go to RESET."""
    half, targets = terminals.devices // 2, terminals.targets
    adds = (targets > 0, targets < 0)
    for device in range(terminals.devices) if index == 0 else ():
        is_set = adds[device // half] & (device % half == 0)
        code = np.where(is_set, np.uint8(SET), np.uint8(RESET))
        terminals.pulse(np.full(terminals.shape, device, dtype=np.uint8), code)
    if index > 0:
        next_one = np.where(adds[0], np.uint8(index), np.uint8(half + index))
        next_one[targets == 0] = NONE
        terminals.pulse(next_one, np.full(terminals.shape, SET, dtype=np.uint8))


def _read(
    terminals: Terminals,
    engine: Engine,
    key: np.ndarray,
    step: int,
    limit: float,
    out: np.ndarray,
) -> np.ndarray:
    """Read all cells, which hold up to `limit` µS, by encoded MVMs: (tile, row, column), µS.

    Sums in float64 are exact whatever their order, as codes are few, so that no bit depends on the
    threads of a product.  They go a few rows and columns at a time, as float64 takes much memory.

    Returns
    -------
    ndarray
        The rows, at most one, whose input is the same in all lines: what is read of it is the
        column's offset, too.
    """
    tiles, rows, columns = terminals.shape
    batch = 1 << (rows - 1).bit_length()
    signs = engine.inputs(INPUT_KINDS["hadamard"], key, step, batch, rows)
    amplitude = _amplitude(terminals, limit)
    y = terminals.mvm(signs * F32(amplitude), engine.pattern(key, step, batch, rows))
    for low in range(0, columns, AT_A_TIME):
        part = slice(low, low + AT_A_TIME)
        for tile in range(tiles):
            seen = y[tile, :, part].astype(np.float64)
            for row in range(0, rows, AT_A_TIME):
                lines = signs[:, row : row + AT_A_TIME].astype(np.float64)
                sums = lines.T @ seen
                out[tile, row : row + AT_A_TIME, part] = sums / (batch * amplitude)
    hidden: np.ndarray = np.abs(signs.sum(axis=0)) == batch
    return hidden


def _amplitude(terminals: Terminals, limit: float) -> float:
    """Return the largest input with which cells of `limit` µS stay within the ADC's range.

    It is one that the DAC has a code for.
    """
    cells = np.count_nonzero(terminals.targets, axis=1).max(axis=1)
    most = SIGMAS * limit * np.sqrt(np.maximum(cells, 1))
    amplitude = min(float((terminals.full_scale_us / most).min()), 1.0)
    codes = terminals.dac_codes
    if codes > 0:
        amplitude = min(max(np.floor(amplitude * codes), 1.0) / codes, 1.0)
    return float(amplitude)


def _scales(values: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Return a factor for each column that takes off what its ADC's gain is beside the others'.

    The SET devices of all columns are of one kind: the columns' means differ by gain, and by
    chance as their devices' spread lets them.  The factor is the part of that difference that
    chance leaves (empirical Bayes; Efron and Morris, 1973).

    Parameters
    ----------
    values, used : ndarray
        (row, column), µS; bool.
    """
    number = used.sum(axis=0)
    some = number > 1
    scale = np.ones(values.shape[1], dtype=np.float32)
    if some.sum() < 2:
        return scale
    taken, count = np.where(used, values, 0)[:, some].astype(np.float64), number[some]
    mean = taken.sum(axis=0) / count
    within = (np.square(taken - mean) * used[:, some]).sum(axis=0) / (count - 1)
    chance = within / count
    gain = max(float(mean.var() - chance.mean()), 0.0)
    share = np.divide(gain, gain + chance, out=np.zeros_like(chance), where=gain + chance > 0)
    ratio = np.divide(mean.mean(), mean, out=np.ones_like(mean), where=mean > 0)
    scale[some] = 1 + share * (ratio - 1)
    return scale
