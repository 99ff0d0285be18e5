"""Unit cells of many devices: masks of two bytes, stuck devices, files and checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interrupts import CONFIG, GDP, IP, WEIGHTS, digest, interrupted, program

import fastaimc as fa
from fastaimc import stuck
from fastaimc.config import Faults
from fastaimc.parameters import mask_dtype

EIGHT = fa.override(CONFIG, {"devices_per_polarity": 8, "g_max_us": 80.0})
FAULTS = Faults(set_rate=0.02, reset_rate=0.02, anywhere_rate=0.02)


@pytest.mark.parametrize(("devices", "size"), [(2, 1), (8, 1), (10, 2), (16, 2)])
def test_a_mask_has_a_bit_for_each_device(devices: int, size: int) -> None:
    """And no default takes more than a byte."""
    assert np.dtype(mask_dtype(devices)).itemsize == size
    every = np.ones((1, devices, 1, 1), np.uint8)
    bits = stuck.bits(every)
    assert bits.dtype == mask_dtype(devices)
    assert bits.item() == 2**devices - 1


@pytest.mark.parametrize("method", [IP, GDP])
def test_stuck_devices_of_large_cells(method: Any, tmp_path: Path) -> None:
    """No pulse moves them; files and checkpoints keep them."""
    kind = np.zeros((16, *WEIGHTS.shape), np.uint8)
    kind[15, 2, 3], kind[9, 4, 5], kind[0, 6, 7] = 1, 1, 3
    config = fa.override(EIGHT, {"faults": FAULTS})
    whole = program(method=method, config=config, faults=kind)
    assert whole.core.stuck.dtype == np.uint16
    assert 3 < whole.stuck == np.bitwise_count(whole.core.stuck).sum()
    blank = program(method=IP, config=config, faults=kind)
    held = [m.core.conductance for m in (whole, blank)]
    mask = (whole.core.stuck[:, None] >> np.arange(16)[:, None, None] & 1) == 1
    assert mask.sum() == whole.stuck
    np.testing.assert_array_equal(held[0][mask], held[1][mask])
    fa.save(tmp_path / "matrix.npz", whole)
    expected = digest(whole)
    assert digest(fa.load(tmp_path / "matrix.npz")) == expected
    interrupted(tmp_path / "run.npz", 5, method=method, config=config, faults=kind)
    assert digest(fa.resume(tmp_path / "run.npz", threads=1)) == expected


@pytest.mark.parametrize(("config", "wrong"), [(CONFIG, np.uint16), (EIGHT, np.uint8)])
def test_a_map_of_another_type(config: fa.CoreConfig, wrong: Any, tmp_path: Path) -> None:
    path = tmp_path / "matrix.npz"
    matrix = program(config=fa.override(config, {"faults": FAULTS}))
    matrix.core.stuck = matrix.core.stuck.astype(wrong)
    fa.save(path, matrix)
    with pytest.raises(fa.StorageError, match=r"'stuck' of uint.* and shape .*, got uint"):
        fa.load(path)


@pytest.mark.parametrize("verify", ["cell", "device"])
@pytest.mark.parametrize("allocation", ["two_device", "max_fill"])
def test_textbook_and_allocations_of_large_cells(verify: str, allocation: str) -> None:
    """Both engines end alike, with all devices of a cell but one SET or RESET."""
    method = fa.IterativeProgramming(iterations=6, verify=verify, allocation=allocation)
    found = [
        fa.program(WEIGHTS, EIGHT, method, seed=3, engine=engine)
        for engine in ("numba", "reference")
    ]
    errors = [fa.mvm_error(matrix, samples=200).total for matrix in found]
    assert errors[0] == pytest.approx(errors[1], rel=0.02)
    assert errors[0] < 0.2
