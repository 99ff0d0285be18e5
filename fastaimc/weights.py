"""Weight matrices from files of other programs: `.npy`, `.npz` and `.safetensors`."""

from __future__ import annotations

import json
import math
import os
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from reprlib import repr as short  # of bounded length: a value may come from a file
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from fastaimc.errors import InputError, StorageError

LONE = "weights"  # name of the matrix of a .npy file
SUFFIXES = (".npy", ".npz", ".safetensors")
_BFLOAT16 = "BF16"
_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", _BFLOAT16: "<u2"}
_MAX_META_BYTES = 1 << 20  # of a fastaimc file's meta.json
_MAX_BYTES = 16 << 30  # of one array
_UNPACKED_BYTES = 1 << 30  # what compressed arrays may always take; beyond, see _UNPACKED_TIMES
_UNPACKED_TIMES = 100  # trained weights compress to no less than a hundredth
_PIECE_BYTES = 1 << 20
# What zipfile, NumPy and safetensors' Python side raise on hostile bytes and odd paths.
_FAILURES = (
    *(OSError, EOFError, MemoryError, ArithmeticError, LookupError, RuntimeError, ValueError),
    *(TypeError, AttributeError, SyntaxError, tokenize.TokenError, struct.error, zlib.error),
    *(zipfile.BadZipFile, zipfile.LargeZipFile),
)

Matrices = dict[str, np.ndarray]


def read_weights(path: str | os.PathLike[str]) -> tuple[Matrices, list[str]]:
    """Read every weight matrix of a file.

    Parameters
    ----------
    path : str or path-like
        `.npy` (its matrix is named "weights"), `.npz` or `.safetensors`, told by the content.

    Returns
    -------
    matrices : dict of str to ndarray
        (out, in), float32: 2-D arrays of half, bfloat16, single and double precision; arrays of
        more dimensions are flattened as convolution kernels, (out, everything else).
    notices : list of str
        One line for every array that was flattened or skipped.

    Raises
    ------
    InputError
        For a file without a weight matrix, or weights that are not finite in float32.
    StorageError
        For a file that is missing, damaged, foreign, or says of itself what is not so.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/net.npz", fc=np.eye(3), bias=np.ones(3))
    ...     matrices, notices = read_weights(f"{folder}/net.npz")
    >>> matrices["fc"].dtype, notices
    (dtype('float32'), ['bias: skipped, 1-D'])
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"path must be a str or a path, got {short(path)}")
    name = os.fsdecode(path)
    matrices: Matrices = {}
    notices: list[str] = []
    with _explained(name):
        if Path(name).exists() and not Path(name).is_file():  # a pipe would wait for ever
            raise StorageError(f"{name!r} must be a file, got a folder or a device")
        with Path(name).open("rb") as file:
            for item in _items(name, file):
                _take(name, item, matrices, notices)
    if not matrices:
        kinds = ", ".join(SUFFIXES)
        held = _some(notices) if notices else "nothing"
        raise InputError(f"{name!r} must hold a weight matrix ({kinds}), got {held}")
    return matrices, notices


def kind_of(path: str | os.PathLike[str]) -> str | None:
    """Return what a file of fastaimc holds, such as "matrix" or "checkpoint"; None for others.

    Raises
    ------
    StorageError
        For a file that cannot be opened.
    """
    name = os.fsdecode(path)
    with _explained(name):
        if not Path(name).is_file() and Path(name).exists():
            return None
        with Path(name).open("rb") as file:
            if file.read(4) != b"PK\x03\x04":
                return None
            with zipfile.ZipFile(file) as archive:
                return _kind(archive)


def shown(name: str) -> str:
    """Return a name as one line of bounded length that no terminal obeys."""
    plain = name if name.isprintable() else ascii(name)
    return plain if len(plain) <= 100 else f"{plain[:97]}..."


class _Item:
    """One array of a file: what its header says, and how to read it."""

    def __init__(
        self, name: str, shape: tuple[int, ...], dtype: str, read: Callable[[], np.ndarray] | None
    ) -> None:
        self.name, self.shape, self.dtype, self.read = name, shape, dtype, read

    def skipped(self) -> str | None:
        """Why it is no weight matrix, if it is none."""
        if self.read is None:
            return self.dtype
        if len(self.shape) < 2:
            return f"{len(self.shape)}-D"
        return f"empty {short(self.shape)}" if 0 in self.shape else None


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn any failure into one line that names the file and the cause."""
    try:
        yield
    except (InputError, StorageError):
        raise
    except _FAILURES as error:
        text = error.strerror if isinstance(error, OSError) else None
        cause = " ".join(str(text or error).split())[:200] or type(error).__name__
        raise StorageError(f"{path!r} must be a whole, readable file, got: {cause}") from error


def _some(lines: list[str]) -> str:
    more = f" and {len(lines) - 5} more" if len(lines) > 5 else ""
    return "; ".join(line[:80] for line in lines[:5]) + more


def _take(path: str, item: _Item, matrices: Matrices, notices: list[str]) -> None:
    """Convert an array into a matrix, or say why not."""
    reason = item.skipped()
    if reason is not None or item.read is None:
        notices.append(f"{shown(item.name)}: skipped, {reason}")
        return
    flat = (item.shape[0], math.prod(item.shape[1:]))
    size = math.prod(flat) * 4
    if size > _MAX_BYTES:
        raise StorageError(f"{path!r} holds {short(item.name)} of {size} bytes: too large")
    array = item.read()
    with np.errstate(over="ignore", invalid="ignore"):  # what becomes inf is refused below
        matrix = np.ascontiguousarray(array.reshape(flat), dtype=np.float32)
    bad = matrix.size - int(np.isfinite(matrix).sum())
    if bad:
        rule = "must be finite and fit into float32"
        raise InputError(f"{path!r} holds {short(item.name)}, which {rule}: {bad} weights do not")
    if len(item.shape) > 2:
        flattened = f"{len(item.shape)}-D {item.shape} flattened to {flat}"
        notices.append(f"{shown(item.name)}: {flattened}")
    matrices[item.name] = matrix


def _items(path: str, file: IO[bytes]) -> Iterator[_Item]:
    """Yield the arrays of a file of any kind, told by its first bytes."""
    first = file.read(10)
    file.seek(0)
    size = os.fstat(file.fileno()).st_size
    if first.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        with zipfile.ZipFile(file) as archive:
            _refuse_our_own(path, archive)
            yield from _zip_items(path, archive, size)
    elif first.startswith(npy.MAGIC_PREFIX):
        yield _npy_item(path, LONE, file, size, lambda: file)
    elif first[8:9] == b"{" or path.endswith(".safetensors"):
        yield from _safetensors_items(path, file, size)
    else:
        given = f"a file that begins with {first!r}" if first else "an empty file"
        if first[:1] == b"\x80":
            given = "a pickle, which is never opened: save its weights as .safetensors or .npz"
        raise StorageError(f"{path!r} must be one of {', '.join(SUFFIXES)}, got {given}")


def _kind(archive: zipfile.ZipFile) -> str | None:
    if "meta.json" not in archive.namelist():
        return None
    info = archive.getinfo("meta.json")
    if max(info.file_size, info.compress_size) > _MAX_META_BYTES:
        return None
    with archive.open(info) as member:
        try:
            meta = json.loads(member.read(_MAX_META_BYTES))
        except ValueError:
            return None
    ours = isinstance(meta, dict) and meta.get("format") == "fastaimc"
    return str(meta.get("kind"))[:40] if ours else None


def _refuse_our_own(path: str, archive: zipfile.ZipFile) -> None:
    kind = _kind(archive)
    if kind is None:
        return
    hint = ": `fastaimc info` shows it"
    if kind == "checkpoint":
        hint = ": `fastaimc program --resume` goes on from it"
    raise InputError(f"{path!r} must hold weights, got a fastaimc {kind}{hint}")


def _zip_items(path: str, archive: zipfile.ZipFile, size: int) -> Iterator[_Item]:
    most = min(_MAX_BYTES, max(_UNPACKED_BYTES, _UNPACKED_TIMES * size))
    infos = archive.infolist()
    if sum(info.file_size for info in infos) > most:
        raise StorageError(f"{path!r} unpacks to more than {most} bytes: too large")
    if len({info.filename for info in infos}) != len(infos):
        raise StorageError(f"{path!r} must name each array once, got a name twice")
    for info in infos:
        if not info.filename.endswith(".npy"):
            yield _Item(info.filename, (), "no array", None)
            continue
        name = info.filename.removesuffix(".npy")
        with archive.open(info) as member:
            yield _npy_item(path, name, member, info.file_size, partial(archive.open, info))


def _npy_item(
    path: str, name: str, file: IO[bytes], size: int, again: Callable[[], IO[bytes]]
) -> _Item:
    """Read a header; `again` opens the array from its start, or goes on with `file`."""
    version = npy.read_magic(file)
    with warnings.catch_warnings():  # of headers that Python 2 wrote
        warnings.simplefilter("ignore")
        if version == (1, 0):
            shape, fortran, dtype = npy.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, fortran, dtype = npy.read_array_header_2_0(file)
        else:
            return _Item(name, (), f".npy version {version[0]}", None)
    start = file.tell()
    if dtype.kind != "f" or dtype.itemsize not in (2, 4, 8):
        kind = "objects, which are never opened" if dtype.hasobject else str(dtype)[:40]
        return _Item(name, shape, kind, None)
    needed = math.prod(shape) * dtype.itemsize
    if any(length < 0 for length in shape) or needed != size - start:
        held = f"{needed} bytes of its shape {short(shape)}, got {size - start}"
        raise StorageError(f"{path!r} holds {short(name)}, which must hold the {held}")

    def read() -> np.ndarray:
        with again() as source:
            source.seek(start)
            values = _values(source, needed)
        array = values.view(dtype)
        return array.reshape(shape, order="F" if fortran else "C")

    return _Item(name, shape, str(dtype), read)


def _values(source: IO[bytes], needed: int) -> np.ndarray:
    """Read bytes to the end, where a zip's checksum is compared."""
    values = np.empty(needed, np.uint8)
    filled = 0
    while piece := source.read(_PIECE_BYTES):
        if filled + len(piece) > needed:
            raise ValueError(f"more than {needed} bytes")
        values[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
        filled += len(piece)
    if filled != needed:
        raise ValueError(f"{filled} of {needed} bytes")
    return values


def _safetensors_items(path: str, file: IO[bytes], size: int) -> Iterator[_Item]:
    """Let safetensors check the file, then read from where its header says."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as checked:
            names = list(checked.keys())
    except SafetensorError as error:
        raise StorageError(
            f"{path!r} must be a whole .safetensors file, got: {str(error)[:200]}"
        ) from error
    length = int.from_bytes(file.read(8), "little")
    if length > size - 8:
        raise ValueError(f"a header of {length} bytes in a file of {size}")
    header: dict[str, Any] = json.loads(file.read(length))
    for name in names:
        entry = header[name]
        kind, shape = str(entry["dtype"]), tuple(int(extent) for extent in entry["shape"])
        if kind not in _FLOATS:
            yield _Item(name, shape, kind, None)
            continue
        low, high = (8 + length + int(offset) for offset in entry["data_offsets"])

        def read(
            low: int = low, high: int = high, kind: str = kind, shape: tuple[int, ...] = shape
        ) -> np.ndarray:
            if not 0 <= low <= high <= size:
                raise ValueError(f"bytes {low} to {high} in a file of {size}")
            file.seek(low)
            array = np.frombuffer(file.read(high - low), _FLOATS[kind]).reshape(shape)
            if kind == _BFLOAT16:  # the high half of a float32
                array = (array.astype(np.uint32) << 16).view(np.float32)
            return array

        yield _Item(name, shape, kind, read)
