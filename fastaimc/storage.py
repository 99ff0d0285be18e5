"""Files: arrays and JSON in one uncompressed `.npz`, replaced as a whole and never believed.

A file is written beside its place and renamed, so that a half-written one never replaces a whole
one. What a file declares is held against its real size before anything is allocated, and nothing
is ever unpickled. What the arrays mean is for others to know.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from reprlib import repr as short  # of bounded length: a value may come from a file
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from fastaimc.errors import StorageError, how_to_open

SCHEMA = 1  # raised whenever an older file would be read differently

_FORMAT = "fastaimc"
_META = "meta.json"
_MAX_META_BYTES = 1 << 20
_MAX_ARRAYS = 4096  # their entries in the directory of the zip stay below a piece
_PIECE_BYTES = 1 << 20
_MAX_HEADER_BYTES = 4096  # NumPy writes 118 to some 1000
_MAX_DIMENSIONS = 32
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,111}")  # without .npy
_KINDS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
_DTYPES = {dtype.str: dtype for kind in _KINDS for dtype in map(np.dtype, ("<" + kind, ">" + kind))}
# What NumPy writes, to the letter. Its own parser evaluates the text, warns, and takes more.
_HEADER = re.compile(
    rb"\{'descr': ([^\n]{1,200}?), 'fortran_order': (True|False), "
    rb"'shape': \(((?:[0-9]{1,19}(?:, [0-9]{1,19})*,?)?)\), \}\s*"
)
_LENGTHS = {b"\x93NUMPY\x01\x00": "<H", b"\x93NUMPY\x02\x00": "<I"}  # of a header, by version
_ENCRYPTED = 0x1
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of zip: the same content makes the same bytes
# What zipfile, json, struct and NumPy raise on hostile bytes, on full disks and for odd paths.
_FAILURES = (
    *(OSError, EOFError, MemoryError, ArithmeticError, LookupError, RuntimeError, ValueError),
    *(struct.error, zipfile.BadZipFile, zipfile.LargeZipFile),
)


class _RefusedError(Exception):
    """What is wrong, in words that follow the path."""


def _must(holds: bool, words: str) -> None:
    if not holds:
        raise _RefusedError(words)


class _Pieces(FileIO):
    """A file that gives a piece at a time, so that no size it declares becomes an allocation."""

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = _PIECE_BYTES if size is None or size < 0 else min(size, _PIECE_BYTES)
        return super().read(wanted) or b""


_Header = tuple[tuple[int, ...], np.dtype[Any], int]  # the last: where the values begin


def write(
    path: str | os.PathLike[str],
    kind: str,
    arrays: Mapping[str, npt.NDArray[Any]],
    meta: Mapping[str, Any],
) -> None:
    """Write arrays and metadata into one file, which is replaced as a whole or not at all.

    The same content makes the same bytes. `numpy.load` opens the file, too.

    Parameters
    ----------
    path : str or path-like
        The file; its folder must exist. No suffix is added.
    kind : str
        What the file holds, such as ``"matrix"``: `read` asks for it.
    arrays : mapping of str to ndarray
        Arrays of bool, int, uint or float of at most 64 bits, of any shape and layout.
    meta : mapping of str to anything JSON can hold
        Finite numbers, and text for keys; tuples come back as lists. 1 MiB at most.

    Raises
    ------
    StorageError
        If the file cannot be written, or could not be read again. What was there is left whole.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from fastaimc.storage import read, write
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "cells.npz")
    ...     write(path, "example", {"g_us": np.eye(2, dtype=np.float32)}, {"seed": 7})
    ...     arrays, meta = read(path, "example")
    >>> arrays["g_us"]
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    >>> meta
    {'format': 'fastaimc', 'schema': 1, 'kind': 'example', 'seed': 7}
    """
    name = _named(path)
    with _explained(name, "be a file that can be written"):
        encoded = _encoded(kind, meta)
        for key, array in arrays.items():
            _check(key, array)
        given = len(arrays)
        _must(given <= _MAX_ARRAYS, f"must hold at most {_MAX_ARRAYS} arrays, got {given}")
        with _replacement(name) as file, zipfile.ZipFile(file, "w") as archive:
            archive.writestr(_member(_META), encoded)
            for key, array in arrays.items():
                with archive.open(_member(f"{key}.npy"), "w", force_zip64=True) as member:
                    little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
                    npy.write_array(member, little, version=(1, 0), allow_pickle=False)


def read(
    path: str | os.PathLike[str], kind: str, limit_bytes: int = 16 * 2**30
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Read what `write` wrote; refuse anything else before it is allocated.

    Parameters
    ----------
    path : str or path-like
        The file.
    kind : str
        What it must hold.
    limit_bytes : int
        The most that its arrays may take.

    Returns
    -------
    arrays : dict of str to ndarray
        C-contiguous, writeable, in the byte order of this machine.
    meta : dict
        All of ``meta.json``: what `write` was given, and ``format``, ``schema`` and ``kind``.

    Raises
    ------
    StorageError
        If the file is missing, truncated, damaged, foreign, of another kind, of a newer fastaimc,
        too large, or says of itself what is not so.
    """
    name = _named(path)
    with _explained(name, "be a whole, readable file of fastaimc"):
        is_file = stat.S_ISREG(Path(name).stat().st_mode)  # opening a pipe would wait for ever
        _must(is_file, f"must be a file, got {_what_is_at(name)}")
        with _Pieces(name) as file:
            size = os.fstat(file.fileno()).st_size
            _check_first_bytes(file)
            with zipfile.ZipFile(file) as archive:
                members = _members(archive, file)
                meta = _read_meta(archive, members[_META], kind, size)
                _check_sizes(list(members.values()), size, limit_bytes)
                del members[_META]
                headers = [_read_header(archive, info) for info in members.values()]
                arrays = {
                    name.removesuffix(".npy"): _read_array(archive, info, header)
                    for (name, info), header in zip(members.items(), headers, strict=True)
                }
    return arrays, meta


def require(
    arrays: Mapping[str, npt.NDArray[Any]],
    name: str,
    shape: Sequence[int | None],
    dtype: npt.DTypeLike,
    path: str | os.PathLike[str],
) -> npt.NDArray[Any]:
    """Return an array that `read` gave, or raise `StorageError` naming `path`.

    Its dtype must be exactly `dtype`; None in `shape` stands for any length.
    """
    array = arrays.get(name)
    if array is None:
        given = f"only {short(list(arrays))}"
    elif array.dtype != np.dtype(dtype):
        given = f"{array.dtype}"
    elif array.ndim != len(shape) or any(
        rule not in (None, length) for rule, length in zip(shape, array.shape, strict=True)
    ):
        given = f"shape {short(array.shape)}"
    else:
        return array
    lengths = ", ".join("any" if rule is None else str(rule) for rule in shape)
    rule = f"hold an array {name!r} of {np.dtype(dtype)} and shape ({lengths})"
    raise StorageError(f"{_named(path)!r} must {rule}, got {given}")


def _named(path: object) -> str:
    if not isinstance(path, str | os.PathLike):
        raise StorageError(f"path must be a str or a path, got {short(path)}")
    return os.fsdecode(path)


@contextmanager
def _explained(path: str, rule: str) -> Iterator[None]:
    """Turn any failure into one line that names the path, the rule and the cause."""
    try:
        yield
    except _RefusedError as error:
        raise StorageError(f"{path!r} {error}") from None
    except _FAILURES as error:
        text = error.strerror if isinstance(error, OSError) else None
        cause = " ".join(str(text or error).split())[:200] or type(error).__name__
        raise StorageError(f"{path!r} must {rule}, got: {cause}") from error


def _what_is_at(path: str) -> str:
    folder = path.endswith(("/", os.sep)) or Path(path).is_dir()
    return "a folder" if folder else "something that is no regular file"


def _encoded(kind: str, meta: Mapping[str, Any]) -> bytes:
    for key in ("format", "schema", "kind"):
        _must(key not in meta, f"cannot be written: meta must not hold {key!r}, which is set here")
    whole = {"format": _FORMAT, "schema": SCHEMA, "kind": kind, **meta}
    try:
        encoded = json.dumps(whole, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise _RefusedError(f"cannot be written: meta must be JSON, got: {error}") from None
    rule = f"fit into {_MAX_META_BYTES} bytes, got {len(encoded)}"
    _must(len(encoded) <= _MAX_META_BYTES, f"cannot be written: meta must {rule}")
    return encoded


def _check(name: str, array: npt.NDArray[Any]) -> None:
    rule = "1 to 112 letters, digits or _ . - / and not begin with one of . - /"
    named = isinstance(name, str) and _NAME.fullmatch(name) is not None
    _must(named, f"cannot be written: names of arrays must be {rule}, got {short(name)}")
    what = f"cannot be written: array {name!r} must"
    plain = isinstance(array, np.ndarray) and not isinstance(array, np.ma.MaskedArray)
    _must(plain, f"{what} be a NumPy array, got {type(array).__name__}")
    rule = f"be of bool, int, uint or float of at most 64 bits, got {array.dtype}"
    _must(array.dtype in _DTYPES.values(), f"{what} {rule}")
    rule = f"have at most {_MAX_DIMENSIONS} dimensions, got {array.ndim}"
    _must(array.ndim <= _MAX_DIMENSIONS, f"{what} {rule}")


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_STORED
    info.create_system = 3  # Unix, on all systems
    info.external_attr = 0o644 << 16
    return info


@contextmanager
def _replacement(path: str) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` that takes its place if all goes well."""
    target = Path(os.path.realpath(path))  # of a link, what it points to is replaced
    folder = target.parent
    _must(folder.is_dir(), f"must lie in a folder that exists, got {str(folder)!r}")
    new = not target.exists() and not path.endswith(("/", os.sep))
    _must(new or target.is_file(), f"must be a file, got {_what_is_at(path)}")
    _must(new or os.access(target, os.W_OK), "must not be read-only, got a read-only file")
    temporary = folder / f".fastaimc-{os.urandom(8).hex()}.tmp"
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # so that the name lasts as well; Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _check_first_bytes(file: FileIO) -> None:
    first = file.read(8) or b""
    if first.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return
    if not first:
        given = "an empty file"
    elif re.match(rb"\x80[\x02-\x05]", first):
        given = "a pickle, which is never opened"
    elif first.startswith(npy.MAGIC_PREFIX):
        given = "a single array (.npy)"
    else:
        given = f"a file that begins with {first!r}"
    raise _RefusedError(f"must be a file of fastaimc, got {given}")


def _members(archive: zipfile.ZipFile, file: FileIO) -> dict[str, zipfile.ZipInfo]:
    names = archive.namelist()
    file.seek(-22, os.SEEK_END)
    end = b"PK\x05\x06" + bytes(4) + struct.pack("<HH", *[len(names) & 0xFFFF] * 2)
    _must(file.read(12) == end, f"must end with the number of its members, {len(names)}")
    members = dict(zip(names, archive.infolist(), strict=True))
    _must(len(members) == len(names), "must name each member once, got a name twice")
    given = f"a zip or npz without {_META}: {short(list(members))}"
    _must(_META in members, f"must be a file of fastaimc, got {given}")
    return members


def _check_sizes(infos: list[zipfile.ZipInfo], size: int, limit_bytes: int) -> None:
    for info in infos:
        what = f"holds {short(info.filename)}, which must"
        _must(info.filename == _META or info.filename.endswith(".npy"), f"{what} be an array, .npy")
        stored = info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size
        _must(stored, f"{what} be stored uncompressed, got compression")
        _must(not info.flag_bits & _ENCRYPTED, f"{what} not be encrypted, got encryption")
    declared = sum(info.file_size for info in infos)
    _must(declared <= size, f"must be as large as it declares ({declared} bytes), got {size}")
    _must(declared <= limit_bytes, f"must hold at most {limit_bytes=}, got {declared} bytes")


def _read_meta(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, kind: str, size: int
) -> dict[str, Any]:
    _check_sizes([info], size, size)
    small = f"must hold a {_META} of at most {_MAX_META_BYTES} bytes, got {info.file_size}"
    _must(info.file_size <= _MAX_META_BYTES, small)
    meta = json.loads(archive.read(info).decode("utf-8"), parse_constant=_no_constant)
    if not isinstance(meta, dict) or meta.get("format") != _FORMAT:
        raise _RefusedError(f"must be a file of fastaimc, got a {_META} of another format")
    schema, found = meta.get("schema"), meta.get("kind")
    if type(schema) is not int or schema < 1:
        raise _RefusedError(f"must have a schema from 1 to {SCHEMA}, got {short(schema)}")
    newer = f"{short(schema)}: a newer fastaimc wrote it, and upgrading opens it"
    _must(schema <= SCHEMA, f"must have a schema of at most {SCHEMA}, got {newer}")
    _must(found == kind, f"must hold a {kind!r}, got a {short(found)}{how_to_open(found)}")
    return meta


def _no_constant(text: str) -> None:
    raise _RefusedError(f"must hold a {_META} of finite numbers, got {text}")


def _read_header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Header:
    """Parse and check the header of an array, from its first bytes."""
    what = f"holds {short(info.filename)}, which must"
    with archive.open(info) as member:
        first = member.read(_MAX_HEADER_BYTES)
    length = _LENGTHS.get(first[: npy.MAGIC_LEN])
    if length is None:
        raise _RefusedError(f"{what} be an array of .npy version 1 or 2, got {first[:8]!r}")
    begin = npy.MAGIC_LEN + struct.calcsize(length)
    start = begin + struct.unpack_from(length, first, npy.MAGIC_LEN)[0]
    _must(start <= len(first), f"{what} have a header of at most {len(first)} bytes, got {start}")
    match = _HEADER.fullmatch(first, begin, start)
    if match is None:
        raise _RefusedError(f"{what} have a plain header, got {short(first[begin:start])}")
    description = match[1].decode("latin-1").strip("'")
    dtype = _DTYPES.get(description)
    if dtype is None:
        raise _RefusedError(f"{what} be of bool, int, uint or float, got {short(description)}")
    _must(match[2] == b"False", f"{what} be in C order, got Fortran order")
    shape = tuple(int(length) for length in match[3].replace(b",", b" ").split())
    many = f"{what} have at most {_MAX_DIMENSIONS} dimensions, got {len(shape)}"
    _must(len(shape) <= _MAX_DIMENSIONS, many)
    needed, held = math.prod(shape) * dtype.itemsize, info.file_size - start
    fit = f"{what} hold the {needed} bytes of its shape {short(shape)} of {dtype}, got {held}"
    _must(needed == held, fit)
    return shape, dtype, start


def _read_array(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, header: _Header
) -> npt.NDArray[Any]:
    shape, dtype, start = header
    array: npt.NDArray[Any] = np.empty(shape, dtype)
    values = array.reshape(-1).view(np.uint8)
    with archive.open(info) as member:
        member.read(start)
        filled = 0
        while piece := member.read(_PIECE_BYTES):  # to its end, where the checksum is compared
            values[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
            filled += len(piece)
    what = f"holds {short(info.filename)}, which must"
    _must(filled == values.size, f"{what} be whole, got {filled} of {values.size} bytes")
    if array.dtype == np.bool_:
        _must(not (values > 1).any(), f"{what} be of bool, 0 or 1, got other bytes")
    return array.astype(array.dtype.newbyteorder("="), copy=False)
