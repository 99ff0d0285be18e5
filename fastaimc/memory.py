"""How much memory is left, so that work that cannot fit is refused before it begins.

Linux promises more memory than it has: without a check, a program that is too large ends after
minutes as a process that was killed without a word.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fastaimc.errors import InputError

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
NO_LIMIT = 2**60  # version 1 has no word for it and writes the largest number of pages


class Names(NamedTuple):
    """What a version of Linux's control groups calls its figures, all in bytes."""

    limit: str  # file
    used: str  # file
    cache: str  # line of memory.stat: the cached files that are dropped first, counted as used


VERSION_1 = Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
VERSION_2 = Names("memory.max", "memory.current", "inactive_file")


def available_bytes(proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Return how much memory this process can still allocate, as far as the system says.

    The least of what the machine has available (without swap; all that it has where only this
    is known), of the room under the limits of the process's control groups, and of the room in
    its address space if that is limited.

    Parameters
    ----------
    proc, cgroups : Path
        Where Linux shows its processes and its control groups.

    Returns
    -------
    int or None
        Bytes; None where nothing is known.
    """
    machine = _field(proc / "meminfo", "MemAvailable:")
    parts = [
        _physical() if machine is None else 1024 * machine,
        _address_space(proc),
        *(_room(group, names) for group, names in _groups(proc, cgroups)),
    ]
    return min((part for part in parts if part is not None), default=None)


def check_fits(
    needed: float, what: str, *, fix: str = "program fewer layers at a time, or free some memory"
) -> None:
    """Raise if more bytes are needed than are available; pass where that is unknown.

    Parameters
    ----------
    needed : float
        Bytes, finite.
    what : str
        What needs them, in the plural and led by the argument's name, such as ``weights (512×256
        cells, 42 bytes each)``.
    fix : str
        What can be done about it.

    Raises
    ------
    InputError
        If it does not fit.
    """
    available = available_bytes()
    if available is not None and needed > available:
        # Rounded away from each other: never "need 8.0 GB, and 8.0 GB are available".
        raise InputError(
            f"{what} need {_figure(needed, math.ceil)} of memory, and "
            f"{_figure(available, math.floor)} are available: {fix}"
        )


def _figure(count: float, rounded: Callable[[float], int]) -> str:
    """Return bytes in GB of 1e9 to a tenth, or in MB below one GB."""
    if count < 1e9:
        return f"{rounded(count / 1e6)} MB"
    return f"{rounded(count / 1e8) / 10:.1f} GB"


def _physical() -> int | None:
    """All memory of a machine without /proc, such as a Mac: what is free there says too little."""
    try:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows; a system without one of the names
        return None
    return pages * size if pages > 0 else None


def _address_space(proc: Path) -> int | None:
    """Room under ``ulimit -v``, or None without one."""
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    except (AttributeError, ImportError, OSError):  # Windows; a system without this limit
        return None
    used = _field(proc / "self" / "status", "VmSize:")
    if limit == resource.RLIM_INFINITY or used is None:
        return None
    return max(limit - 1024 * used, 0)


def _groups(proc: Path, cgroups: Path) -> Iterator[tuple[Path, Names]]:
    """Folders of the process's groups and of all around them, whose limits hold as well.

    A container may be shown the path of its group on the host but have only the group itself,
    at the root: a folder that is missing has no figures, and does no harm.
    """
    for line in _text(proc / "self" / "cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and controllers == "":
            root, names = cgroups, VERSION_2
        elif "memory" in controllers.split(","):
            root, names = cgroups / "memory", VERSION_1
        else:
            continue
        group = PurePosixPath(path.lstrip("/"))
        for part in (group, *group.parents):
            if ".." not in part.parts:  # a group outside of the process's own namespace
                yield root / part, names


def _room(group: Path, names: Names) -> int | None:
    """What a group's limit leaves, or None without one."""
    limit, used = _number(_text(group / names.limit)), _number(_text(group / names.used))
    if limit is None or used is None or limit >= NO_LIMIT:
        return None
    cache = _field(group / "memory.stat", names.cache) or 0
    return max(limit - max(used - cache, 0), 0)


def _field(path: Path, name: str) -> int | None:
    """Return the number behind a name that leads a line of a file, or None."""
    for line in _text(path).splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == name:
            return _number(words[1])
    return None


def _number(text: str) -> int | None:
    """Return a count, or None for another text, such as "max"."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None


def _text(path: Path) -> str:
    """Return what a file holds, or nothing if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except (OSError, ValueError):  # ValueError: a NUL in the path, from a garbled file
        return ""
