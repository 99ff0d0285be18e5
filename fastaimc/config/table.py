"""A user's own device, from a table of measured pulses."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastaimc.config.incremental import positions
from fastaimc.errors import ConfigError, InputError, check_number
from fastaimc.parameters import F32, IncrementParameters

HEADER = ("conductance_us", "pulse", "mean_us", "std_us")
FIELDS = ("up_mean_us", "up_std_us", "down_mean_us", "down_std_us")


@dataclass(frozen=True, slots=True, kw_only=True)
class PulseTable:
    """A device given by measured pulses: the mean and the spread of what one changes.

    Between the conductances of the table they are linear.  The first and the last one bound the
    device.  All fields are of equal length, in µS, with the conductances rising.

    Parameters
    ----------
    conductance_us
        Where the change was measured.
    up_mean_us, up_std_us
        Mean and standard deviation of the change by a SET pulse.
    down_mean_us, down_std_us
        Of that by a RESET pulse: the mean is negative, or zero where there is no way back but the
        full RESET to the first conductance.
    step_spread
        Standard deviation over devices of a factor on all changes.

    Examples
    --------
    >>> device = PulseTable(
    ...     conductance_us=(0.1, 10.0),
    ...     up_mean_us=(0.5, 0.0),
    ...     up_std_us=(0.1, 0.1),
    ...     down_mean_us=(0.0, -0.5),
    ...     down_std_us=(0.1, 0.1),
    ... )
    >>> device.low_us, device.high_us
    (0.1, 10.0)
    """

    conductance_us: tuple[float, ...]
    up_mean_us: tuple[float, ...]
    up_std_us: tuple[float, ...]
    down_mean_us: tuple[float, ...]
    down_std_us: tuple[float, ...]
    step_spread: float = 0.0  # assumption: all devices are alike

    def __post_init__(self) -> None:
        for name in ("conductance_us", *FIELDS):
            values = getattr(self, name)
            if not isinstance(values, tuple) or not 2 <= len(values) == len(self.conductance_us):
                raise ConfigError(
                    f"device.{name} must be a tuple of two numbers or more, as many as "
                    f"device.conductance_us, got {values!r}"
                )
            for value in values:
                check_number(f"device.{name}", value, least=0 if "std" in name else None)
        check_number("device.conductance_us", self.conductance_us[0], least=0)
        if any(a >= b for a, b in zip(self.conductance_us, self.conductance_us[1:], strict=False)):
            raise ConfigError(
                f"device.conductance_us must rise from row to row, got {self.conductance_us!r}"
            )
        if max(self.up_mean_us) <= 0 or max(self.down_mean_us) > 0:
            raise ConfigError(
                "device.up_mean_us must be above 0 somewhere, and device.down_mean_us nowhere, got "
                f"at most {max(self.up_mean_us):g} and {max(self.down_mean_us):g}"
            )
        check_number("device.step_spread", self.step_spread, least=0, most=1)

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str], *, step_spread: float = 0.0) -> PulseTable:
        """Read a table of measured pulses.

        A header ``conductance_us,pulse,mean_us,std_us`` and a row for each conductance and pulse:
        1 for a SET pulse, -1 for a RESET pulse; the latter may be missing as a whole.

        Raises
        ------
        InputError
            For another header, a hole, a value that is no number, or a pulse that is neither.
        ConfigError
            For values that no device can have.
        """
        with Path(path).open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        if not rows or tuple(name.strip() for name in rows[0]) != HEADER:
            given = ",".join(rows[0]) if rows else "an empty file"
            raise InputError(f"{path} must begin with the line {','.join(HEADER)}, got {given}")
        measured: dict[int, dict[float, tuple[float, float]]] = {1: {}, -1: {}}
        for line, row in enumerate(rows[1:], start=2):
            if not row:
                continue
            g, pulse, mean, std = _numbers(path, line, row)
            if pulse not in measured or g in measured[int(pulse)]:
                rule = "pulse must be 1 or -1" if pulse not in measured else "must not repeat"
                raise InputError(f"{path}, line {line}: {rule}, got {','.join(row)}")
            measured[int(pulse)][g] = (mean, std)
        return cls(**_columns(path, measured), step_spread=step_spread)

    @property
    def low_us(self) -> float:
        """Lower bound."""
        return self.conductance_us[0]

    @property
    def high_us(self) -> float:
        """Upper bound."""
        return self.conductance_us[-1]

    def steps(self) -> np.ndarray:
        """Return mean and standard deviation of pulses up and down, (4, 257), float32, µS."""
        g = self.low_us + positions() * (self.high_us - self.low_us)
        columns = [np.interp(g, self.conductance_us, getattr(self, name)) for name in FIELDS]
        return np.array(columns, dtype=np.float32)

    def parameters(self) -> IncrementParameters:
        """Return the rest of the device as the engines take it."""
        zero = F32(0)
        return IncrementParameters(
            low_us=F32(self.low_us),
            high_us=F32(self.high_us),
            low_spread=zero,
            high_spread=zero,
            step_spread=F32(self.step_spread),
            asymmetry_spread=zero,
            reset_us=F32(self.low_us),
            reset_std_us=zero,
            memory_rate=zero,
            mean_memory_us=zero,
            std_memory_us=zero,
        )


def _numbers(path: object, line: int, row: Sequence[str]) -> list[float]:
    """Return a row's four numbers."""
    try:
        values = [float(value) for value in row]
    except ValueError:
        values = []
    if len(values) != len(HEADER) or not all(map(math.isfinite, values)):
        raise InputError(
            f"{path}, line {line}: must hold {len(HEADER)} finite numbers "
            f"({', '.join(HEADER)}), got {','.join(row)}"
        )
    return values


def _columns(
    path: object, measured: dict[int, dict[float, tuple[float, float]]]
) -> dict[str, tuple[float, ...]]:
    """Return the fields of a table whose two pulses were measured at the same conductances."""
    up, down = measured[1], measured[-1] or dict.fromkeys(measured[1], (0.0, 0.0))
    hole = sorted(set(up) ^ set(down))
    if hole:
        pulse = -1 if hole[0] in up else 1
        raise InputError(
            f"{path} must not have holes: no row for conductance_us {hole[0]:g} and pulse {pulse}"
        )
    grid = sorted(up)
    columns: dict[str, tuple[float, ...]] = {"conductance_us": tuple(grid)}
    for names, table in ((FIELDS[:2], up), (FIELDS[2:], down)):
        for index, name in enumerate(names):
            columns[name] = tuple(table[g][index] for g in grid)
    return columns
