"""Stuck devices: what a user says of them, and a blank core that gets them."""

from __future__ import annotations

from collections.abc import Mapping as Dictionary

import numpy as np

from fastaimc.config import CoreConfig, MeltQuench, ProgrammedState
from fastaimc.config.incremental import FULL_RESET
from fastaimc.core import NONE, Core
from fastaimc.errors import InputError, nearest
from fastaimc.mapping import Mapping, split_cells
from fastaimc.parameters import F32
from fastaimc.stuck import ANYWHERE, AT_RESET, AT_SET, FINE, bits


def check_map(label: str, given: object, config: CoreConfig, shape: tuple[int, int]) -> np.ndarray:
    """Return a map of stuck devices as uint8, (device, out, in).

    Raises
    ------
    InputError
        For another shape, or values other than 0 to 3.
    """
    array = np.asarray(given)
    wanted = (config.devices, *shape)
    if array.shape != wanted or array.dtype.kind not in "iu":
        raise InputError(
            f"{label} must be integers of shape (device, out, in) = {wanted}, "
            f"got {array.dtype} of shape {array.shape}"
        )
    if array.size and not 0 <= array.min() <= array.max() <= ANYWHERE:
        raise InputError(
            f"{label} must hold 0 (fine), 1 (stuck at SET), 2 (at RESET) or 3 (anywhere), "
            f"got {array.min()} to {array.max()}"
        )
    return array.astype(np.uint8)


def check_names(given: object, names: list[str | None]) -> None:
    """Raise `InputError` for a mapping of maps that names no layer, which would be left out."""
    if not isinstance(given, Dictionary):
        return
    unknown = [name for name in given if name not in names]
    if unknown:
        known = [name for name in names if name is not None]
        rule = (
            f"name layers of weights ({', '.join(map(repr, known))})" if known else "be one array"
        )
        raise InputError(f"faults must {rule}, got {unknown[0]!r}{nearest(unknown[0], known)}")


def of_layer(
    given: object, name: str | None, config: CoreConfig, mapping: Mapping
) -> np.ndarray | None:
    """Return a layer's map on its tiles, (tile, device, row, column), uint8; None: no map."""
    if isinstance(given, Dictionary):
        given = given.get(name)
    if given is None:
        return None
    label = "faults" if name is None else f"faults[{name!r}]"
    devices = check_map(label, given, config, mapping.shape)
    return np.stack([split_cells(mapping, one) for one in devices], axis=1)


def stick(core: Core, kind: np.ndarray | None) -> None:
    """Let devices of a blank core be stuck: by a map (tile, device, row, column), and by rate.

    Those at SET or RESET are as a pulse leaves them; one of counted pulses is at the upper end of
    its nominal range instead of at SET.  See `Engine.faults`.
    """
    faults = core.config.faults
    if faults is None and kind is None:
        return
    kind = np.zeros(core.conductance.shape, dtype=np.uint8) if kind is None else kind
    rates = faults.rates() if faults else np.zeros(3, dtype=np.float32)
    place = core.engine.faults(core.identity, rates, kind)
    for tile, (rows, columns) in enumerate(core.extents):  # what no weight uses conducts nothing
        kind[tile, :, rows:] = kind[tile, :, :, columns:] = FINE
    most, codes = _ends(core.config)
    for index in range(core.config.devices):
        for which, code in codes.items():
            device = np.where(kind[:, index] == which, np.uint8(index), np.uint8(NONE))
            core.send(device, np.full(core.shape, code), step=0)
    place *= F32(most)
    np.copyto(core.conductance, place, where=kind == ANYWHERE)
    if AT_SET not in codes:
        np.copyto(core.conductance, F32(most), where=kind == AT_SET)
    core.last_device[...] = NONE
    core.last_s[...] = 0
    core.stuck = bits(kind)


def _ends(config: CoreConfig) -> tuple[float, dict[int, np.generic]]:
    """Return what a nominal device conducts at most, µS, and the codes that SET and RESET it.

    No code of counted pulses SETs a device.
    """
    part = config.device
    if isinstance(part, MeltQuench):
        return part.g_set_us, {AT_SET: np.uint8(0), AT_RESET: np.uint8(255)}
    if isinstance(part, ProgrammedState):
        return part.g_scale_us, {AT_SET: F32(part.g_scale_us), AT_RESET: F32(0)}
    return part.high_us, {AT_RESET: np.uint8(FULL_RESET & 255)}
