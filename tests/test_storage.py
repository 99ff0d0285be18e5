"""Files: what comes back, what is refused and in which words, and what a failure leaves behind."""

import errno
import hashlib
import io
import json
import os
import pickle
import re
import struct
import threading
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastaimc import storage
from fastaimc.errors import StorageError
from fastaimc.storage import SCHEMA, read, require, write

pytestmark = pytest.mark.nojit

KINDS = ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
META = {"seed": 7, "note": "µS\n", "nested": {"list": [1, 2.5, None, True]}}
HEADER = {"format": "fastaimc", "schema": SCHEMA, "kind": "matrix"}
MIB = 1 << 20
# Of the file in test_the_bytes_of_a_file_are_held, as written by the first release of schema 1.
SHA_256 = "eaceae9ab64a87f6d0a86cb3cec17e3a47db746f42a5c27903a10104629ec1fc"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cells.npz"


def arrays() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        "g_us": generator.random((2, 4, 5, 3)).astype(np.float32),
        "codes": generator.integers(0, 255, (7,), dtype=np.uint8),
        "time_s": np.array(20.0),
        "nothing": np.empty((0, 3), dtype=np.int64),
    }


def same(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> bool:
    return list(found) == list(expected) and all(
        found[name].dtype == array.dtype.newbyteorder("=")
        and found[name].shape == array.shape
        and found[name].tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()
        for name, array in expected.items()
    )


def npy(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


def header(text: str, version: int = 1) -> bytes:
    """The first bytes of an .npy with that header, however wrong."""
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode("latin-1")


def described(descr: str = "'<f4'", order: str = "False", shape: str = "(2,)") -> bytes:
    return header(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n")


def archive(path: Path, members: Mapping[str, bytes], meta: Any = HEADER, **options: Any) -> Path:
    """Write a zip by hand: whole, but of whatever content."""
    with zipfile.ZipFile(path, "w", **options) as file:
        if meta is not None:
            file.writestr("meta.json", meta if isinstance(meta, bytes) else json.dumps(meta))
        for name, content in members.items():
            file.writestr(name, content)
    return path


def patch(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


@contextmanager
def refused(path: object, words: str) -> Iterator[None]:
    """Expect one line that names the path, matches `words`, and cost no memory to find out."""
    tracemalloc.start()
    try:
        with pytest.raises(StorageError, match=words) as caught:
            yield
        assert tracemalloc.get_traced_memory()[1] < 32 * MIB
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert repr(str(path)) in message
    assert "\n" not in message
    assert len(message) < len(str(path)) + 500


# What comes back


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", KINDS)
def test_every_dtype_comes_back(path: Path, kind: str, order: Any) -> None:
    dtype = np.dtype(kind).newbyteorder(order)
    values = np.random.default_rng(1).integers(0, 60_000, (3, 5)).astype(dtype)
    write(path, "matrix", {"values": values}, {})
    found, _ = read(path, "matrix")
    assert same(found, {"values": values})
    assert found["values"].dtype.isnative


@given(
    values=hnp.arrays(
        st.sampled_from(KINDS).map(np.dtype), hnp.array_shapes(min_dims=0, max_dims=5, min_side=0)
    ),
    meta=st.dictionaries(
        st.text().filter(lambda key: key not in HEADER),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ).filter(lambda value: "inf" not in repr(value)),
    ),
)
def test_what_is_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory, values: np.ndarray, meta: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.npz"
    write(path, "matrix", {"values": values}, meta)
    found, whole = read(path, "matrix")
    assert same(found, {"values": values})
    assert whole == HEADER | meta


def test_all_shapes_and_layouts(path: Path) -> None:
    base = np.arange(24.0).reshape(4, 6)
    read_only = base.copy()
    read_only.flags.writeable = False
    given_arrays: dict[str, np.ndarray] = {
        "scalar": np.array(3, dtype=np.int16),
        "empty": np.empty((3, 0, 2), dtype=np.float16),
        "one": np.zeros((1, 1)),
        "fortran": np.asfortranarray(base),
        "strided": base[::2, ::-3],
        "broadcast": np.broadcast_to(np.float32(1.5), (3, 4)),
        "read_only": read_only,
        "deep": np.zeros((1,) * 32, dtype=bool),
        "layer.0/conv-1.weight": base,
        "special": np.array([np.nan, -np.nan, np.inf, -0.0]),
    }
    write(path, "matrix", given_arrays, META)
    found, meta = read(str(path), "matrix")
    assert same(found, given_arrays)
    assert all(array.flags.c_contiguous and array.flags.writeable for array in found.values())
    assert all(array.dtype.isnative for array in found.values())
    assert meta == HEADER | META


def test_a_large_array_in_many_pieces(path: Path) -> None:
    values = np.random.default_rng(2).random((1500, 1001))
    write(path, "matrix", {"values": values, "more": values.astype(np.float32)}, {})
    assert same(read(path, "matrix")[0], {"values": values, "more": values.astype(np.float32)})


def test_no_arrays_at_all(path: Path) -> None:
    write(path, "matrix", {}, {})
    assert read(path, "matrix") == ({}, HEADER)


def test_as_many_arrays_as_may_be(path: Path) -> None:
    """Their directory is still read in one piece, with the longest names."""
    names = [f"{i:0112d}" for i in range(4096)]
    write(path, "matrix", dict.fromkeys(names, np.zeros(1)), {})
    assert list(read(path, "matrix")[0]) == names
    with refused(path, "must hold at most 4096 arrays, got 4097"):
        write(path, "matrix", dict.fromkeys([*names, "x"], np.zeros(1)), {})


def test_numpy_opens_it(path: Path) -> None:
    write(path, "matrix", arrays(), META)
    with np.load(path, allow_pickle=False) as file:
        assert same({name: file[name] for name in arrays()}, arrays())
        assert json.loads(file["meta.json"]) == HEADER | META


def test_what_numpy_writes_is_read(path: Path) -> None:
    """A file that was unpacked and packed again by somebody with other tools."""
    members = {"a.npy": npy(np.arange(3.0)), "b.npy": npy(np.arange(4), version=(2, 0))}
    found, _ = read(archive(path, members), "matrix")
    assert same(found, {"a": np.arange(3.0), "b": np.arange(4)})


def test_the_same_content_makes_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a", "matrix", arrays(), META)
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr("sys.platform", "win32")
    fortran = {name: np.asfortranarray(a) if a.ndim else a for name, a in arrays().items()}
    big = {name: a.astype(a.dtype.newbyteorder(">")) for name, a in fortran.items()}
    write(tmp_path / "b", "matrix", big, META)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with zipfile.ZipFile(tmp_path / "a") as file:
        assert {info.compress_type for info in file.infolist()} == {zipfile.ZIP_STORED}


def test_inputs_stay_as_they_are(path: Path) -> None:
    values, meta = np.asfortranarray(np.eye(3)), dict(META)
    write(path, "matrix", {"values": values}, meta)
    assert values.flags.f_contiguous
    assert np.array_equal(values, np.eye(3))
    assert meta == META


# What a failure leaves behind


def fail_while_writing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Half of an array, then `error`."""
    whole = np.lib.format.write_array

    def half(file: Any, array: np.ndarray, **options: Any) -> None:
        whole(file, array.reshape(-1)[: array.size // 2], **options)
        raise error

    monkeypatch.setattr(np.lib.format, "write_array", half)


def fail_when(target: Any, name: str) -> Callable[[pytest.MonkeyPatch, BaseException], None]:
    def prepare(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
        def fail(*_args: Any, **_options: Any) -> None:
            raise error

        monkeypatch.setattr(target, name, fail)

    return prepare


MOMENTS = {
    "writing": fail_while_writing,
    "syncing": fail_when(os, "fsync"),
    "renaming": fail_when(Path, "replace"),
    "closing the zip": fail_when(zipfile.ZipFile, "_write_end_record"),
}


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(
    ("error", "expected", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), StorageError, "No space left"),
        (MemoryError(), StorageError, "can be written, got: MemoryError"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
        (SystemExit(3), SystemExit, "3"),
    ],
)
def test_a_failure_leaves_the_old_file(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    exists: bool,
    error: BaseException,
    expected: type[BaseException],
    words: str | None,
) -> None:
    if exists:
        write(path, "matrix", arrays(), META)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    MOMENTS[moment](monkeypatch, error)
    with pytest.raises(expected, match=words) as caught:
        write(path, "matrix", {"other": np.ones(1000)}, {})
    if expected is StorageError:
        assert str(caught.value).startswith(f"{str(path)!r} must be a file that can be written")
    monkeypatch.undo()
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_a_full_disk(path: Path) -> None:
    resource = pytest.importorskip("resource")  # not on Windows
    write(path, "matrix", arrays(), META)
    values = np.ones(2 * MIB)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 * MIB, limits[1]))
    try:
        with refused(path, "must be a file that can be written, got: File too large"):
            write(path, "matrix", {"values": values}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert same(read(path, "matrix")[0], arrays())


def test_a_folder_that_cannot_be_synced_is_no_failure(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", fail)
    write(path, "matrix", {}, {})
    monkeypatch.undo()
    assert read(path, "matrix")[0] == {}


def test_threads_write_the_same_file(path: Path) -> None:
    def work(value: int) -> None:
        write(path, "matrix", {"values": np.full(10_000, value)}, {"value": value})

    threads = [threading.Thread(target=work, args=(value,)) for value in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found, meta = read(path, "matrix")
    assert (found["values"] == meta["value"]).all()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    link = tmp_path / "link.npz"
    link.symlink_to("real.npz")
    for value in (1, 2):
        write(link, "matrix", {}, {"value": value})
        assert link.is_symlink()
        assert read(tmp_path / "real.npz", "matrix")[1]["value"] == value


# What cannot be written


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder, "must be a file, got a folder"),
        (lambda folder: str(folder / "new") + "/", "must be a file, got a folder"),
        (lambda folder: folder / "no" / "x.npz", "must lie in a folder that exists, got '.*no'"),
        (lambda folder: folder / "file" / "x.npz", "must lie in a folder that exists, got '.*file"),
        (lambda folder: folder / ("x" * 300), "can be written, got: File name too long"),
        (lambda folder: str(folder / "nul\0"), "can be written, got: .*null"),
        (lambda folder: folder / "pipe", "must be a file, got something that is no regular file"),
    ],
)
def test_paths_that_cannot_be_written(
    tmp_path: Path, make: Callable[[Path], object], words: str
) -> None:
    (tmp_path / "file").write_text("a file")
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    with refused(make(tmp_path), words):
        write(make(tmp_path), "matrix", arrays(), META)  # type: ignore[arg-type]
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "file").read_text() == "a file"


def test_the_empty_path() -> None:
    for use in (lambda: write("", "matrix", {}, {}), lambda: read("", "matrix")):
        with pytest.raises(StorageError, match=r"^'' must be a"):
            use()


@pytest.mark.parametrize("path", [3, None, b"x.npz"])
def test_what_is_no_path(path: Any) -> None:
    for use in (lambda: write(path, "matrix", {}, {}), lambda: read(path, "matrix")):
        with pytest.raises(StorageError, match=r"path must be a str or a path, got (3|None|b'x)"):
            use()


def test_a_read_only_file_is_not_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, "matrix", arrays(), META)
    path.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda *_args: False)  # whoever runs the tests may be root
    with refused(path, "must not be read-only, got a read-only file"):
        write(path, "matrix", {}, {})
    monkeypatch.undo()
    assert same(read(path, "matrix")[0], arrays())


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([None]), "of bool, int, uint or float of at most 64 bits, got object"),
        (np.zeros(2, dtype="f4,i4"), "of at most 64 bits, got"),
        (np.zeros(2, dtype=complex), "of at most 64 bits, got complex128"),
        (np.array(["text"]), "of at most 64 bits, got <U4"),
        (np.array([b"text"]), r"of at most 64 bits, got \|S4"),
        (np.zeros(2, dtype="M8[s]"), "of at most 64 bits, got datetime"),
        (np.zeros((1,) * 33), "have at most 32 dimensions, got 33"),
        (np.ma.masked_array([1.0], mask=[True]), "be a NumPy array, got MaskedArray"),
        ([1.0], "be a NumPy array, got list"),
    ],
)
def test_arrays_that_cannot_be_written(path: Path, array: Any, words: str) -> None:
    with refused(path, f"cannot be written: array 'values' must .*{words}"):
        write(path, "matrix", {"values": array}, {})
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize(
    "name", ["", "../up", "/root", ".hidden", "a\\b", "é", "x" * 113, "a\n", 3]
)
def test_names_that_cannot_be_written(path: Path, name: Any) -> None:
    with refused(path, "names of arrays must be 1 to 112 letters, digits or .*, got ['3]"):
        write(path, "matrix", {name: np.zeros(1)}, {})


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ({"value": np.float32(1.0)}, "meta must be JSON, got: .*float32"),
        ({"value": float("nan")}, "meta must be JSON, got: Out of range float"),
        ({"value": float("inf")}, "meta must be JSON, got: Out of range float"),
        ({(1, 2): 3}, "meta must be JSON, got: keys must be str"),
        ({"value": "x" * MIB}, "meta must fit into 1048576 bytes, got 10486"),
        ({"format": "mine"}, "meta must not hold 'format', which is set here"),
        ({"schema": 9}, "meta must not hold 'schema', which is set here"),
        ({"kind": "mine"}, "meta must not hold 'kind', which is set here"),
    ],
)
def test_meta_that_cannot_be_written(path: Path, meta: dict[str, Any], words: str) -> None:
    with refused(path, f"cannot be written: {words}"):
        write(path, "matrix", {}, meta)


def test_meta_in_circles(path: Path) -> None:
    circle: dict[str, Any] = {}
    circle["self"] = circle
    with refused(path, "meta must be JSON, got: Circular reference"):
        write(path, "matrix", {}, circle)


# What is refused when reading: foreign files


class Evil:
    """A pickle that leaves a trace if it is ever opened."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.trace,))


FOREIGN = {
    "empty": (b"", "an empty file"),
    "pickle": (pickle.dumps({"g_us": 1}), "a pickle, which is never opened"),
    "old pickle": (pickle.dumps({"g_us": 1}, protocol=0), "a file that begins with b'"),
    "npy": (npy(np.eye(3)), r"a single array \(.npy\)"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(100), "a file that begins with b'.x89PNG"),
    "text": (b"weights\n" * 10, "a file that begins with b'weights"),
    "zeros": (bytes(MIB), "a file that begins with"),
    "an empty zip": (b"PK\x05\x06" + bytes(18), r"a zip or npz without meta.json: \[\]"),
    "only a signature": (b"PK\x03\x04", "whole, readable file of fastaimc, got: File is not a zip"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files(path: Path, name: str) -> None:
    content, words = FOREIGN[name]
    path.write_bytes(content)
    with refused(path, words):
        read(path, "matrix")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_npz_of_somebody_else(path: Path, save: Callable[..., None]) -> None:
    save(path, weights=np.eye(3), bias=np.zeros(3))
    with refused(path, r"got a zip or npz without meta.json: \['weights.npy', 'bias.npy'\]"):
        read(path, "matrix")


def test_pickles_are_never_opened(path: Path) -> None:
    trace = path.with_name("trace")
    path.write_bytes(pickle.dumps(Evil(trace)))
    with refused(path, "a pickle, which is never opened"):
        read(path, "matrix")
    inside = npy(np.array([Evil(trace)], dtype=object), allow_pickle=True)
    with refused(path, r"holds 'g.npy', which must be of bool, int, uint or float, got '\|O'"):
        read(archive(path, {"g.npy": inside}), "matrix")
    assert not trace.exists()
    pickle.loads(pickle.dumps(Evil(trace)))
    assert trace.exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none.npz", "readable file of fastaimc, got: No such file or directory"),
        (".", "must be a file, got a folder"),
        ("file/x.npz", "readable file of fastaimc, got: Not a directory"),
        ("nul\0", "readable file of fastaimc, got: .*null"),
        ("pipe", "must be a file, got something that is no regular file"),
        ("loop", "readable file of fastaimc, got: Too many levels of symbolic links"),
    ],
)
def test_paths_that_cannot_be_read(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "file").write_text("a file")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    with refused(tmp_path / name, words):
        read(tmp_path / name, "matrix")


def test_a_file_that_may_not_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, "matrix", {}, {})

    def fail(*_args: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(storage, "_Pieces", fail)
    with refused(path, "got: Permission denied"):
        read(path, "matrix")


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        (b"", "got: Expecting value"),
        (b"{", "got: Expecting property name"),
        (b"\xff\xfe", "got: 'utf-8' codec"),
        (b"[" * 100_000, "readable file of fastaimc, got: .*recursion"),
        (b"1" * 100_000, "readable file of fastaimc, got: Exceeds the limit"),
        (b'{"format": NaN}', "finite numbers, got NaN"),
        (b'{"format": -Infinity}', "finite numbers, got -Infinity"),
        (b" " * (MIB + 1), "meta.json of at most 1048576 bytes, got 1048577"),
        ([], "a meta.json of another format"),
        ({}, "a meta.json of another format"),
        (HEADER | {"format": "aihwkit"}, "a meta.json of another format"),
        (HEADER | {"format": ["fastaimc"]}, "a meta.json of another format"),
        (HEADER | {"schema": SCHEMA + 1}, "at most 1, got 2: a newer fastaimc wrote it"),
        (HEADER | {"schema": 0}, "schema from 1 to 1, got 0"),
        (HEADER | {"schema": True}, "schema from 1 to 1, got True"),
        (HEADER | {"schema": "1"}, "schema from 1 to 1, got '1'"),
        ({"format": "fastaimc", "kind": "matrix"}, "schema from 1 to 1, got None"),
        (HEADER | {"kind": "x" * 10_000}, r"a 'matrix', got a 'xxx.*\.\.\..*xxx'$"),
        (HEADER | {"kind": {}}, r"a 'matrix', got a {}$"),
        (
            HEADER | {"kind": "checkpoint"},
            r"must hold a 'matrix', got a 'checkpoint': use fastaimc.resume\(path\)$",
        ),
    ],
)
def test_meta_that_is_refused(path: Path, meta: Any, words: str) -> None:
    with refused(path, words):
        read(archive(path, {}, meta), "matrix")


def test_a_matrix_is_no_checkpoint(path: Path) -> None:
    write(path, "matrix", arrays(), META)
    with refused(path, r"must hold a 'checkpoint', got a 'matrix': use fastaimc.load\(path\)"):
        read(path, "checkpoint")


def test_a_newer_schema_may_hold_what_we_cannot_read(path: Path) -> None:
    """Its message comes first, not one about whatever else is new."""
    archive(path, {"new.bin": b"?"}, HEADER | {"schema": 7})
    with refused(path, "must have a schema of at most 1, got 7: a newer fastaimc wrote it"):
        read(path, "matrix")


# What is refused when reading: damaged and lying files


def test_every_truncation(path: Path) -> None:
    write(path, "matrix", {"g_us": np.eye(2, dtype=np.float32)}, {})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(StorageError, match=r"cells.npz' must be a"):
            read(path, "matrix")


def test_every_flipped_bit_of_a_value_is_noticed(path: Path) -> None:
    write(path, "matrix", {"g_us": np.full(4, 0.7)}, {})
    whole = path.read_bytes()
    begin = whole.index(np.full(4, 0.7).tobytes())
    for bit in range(8 * 32):
        damaged = bytearray(whole)
        damaged[begin + bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(StorageError, match=r"got: Bad CRC-32 for file 'g_us\.npy'"):
            read(path, "matrix")


LYING = {
    "more than it has": (described(shape="(3,)") + bytes(8), r"the 12 bytes of .*\(3,\) .*, got 8"),
    "less than it has": (described() + bytes(12), r"the 8 bytes of its shape \(2,\) .*, got 12"),
    "a terabyte": (described(shape="(1000000, 250000)") + bytes(8), "the 1000000000000 bytes"),
    "overflow": (described(shape="(4611686018427387904, 4)"), "the 73786976294838206464 bytes"),
    "nothing of much": (described(shape="(0, 999999999999999999, 999)"), "too (big|large)"),
    "negative": (described(shape="(-2,)") + bytes(8), "have a plain header"),
    "no tuple": (described(shape="2") + bytes(8), "have a plain header"),
    "code": (described(shape="(__import__('os').getpid(),)"), "have a plain header"),
    "many dimensions": (described(shape=f"({'1, ' * 33})")[:-1] + b"\n", "have a plain header"),
    "33 dimensions": (described(shape="(" + ", ".join("1" * 33) + ")"), "most 32 dim.*got 33"),
    "deep": (header("(" * 3000), "have a plain header"),
    "no header": (b"\x93NUMPY\x01\x00\x00\x00", "have a plain header, got b''"),
    "half a header": (described()[:30], "header of at most 30 bytes, got 68"),
    "long header": (header("x" * 60_000), "header of at most 4096 bytes, got 60010"),
    "endless header": (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "of at most 12 bytes, got 4294967307"),
    "cut in its length": (b"\x93NUMPY\x01\x00\x00", "got: unpack_from requires"),
    "version 3": (b"\x93NUMPY\x03\x00\x00\x00", "be an array of .npy version 1 or 2"),
    "no npy": (b"hello", "be an array of .npy version 1 or 2, got b'hello'"),
    "no bytes": (b"", "be an array of .npy version 1 or 2, got b''"),
    "pickle": (pickle.dumps(1), "be an array of .npy version 1 or 2"),
    "objects": (described("'|O'") + bytes(16), r"be of bool, int, uint or float, got '\|O'"),
    "structured": (described("[('a', '<f4')]") + bytes(8), "be of bool, int, uint or float, got"),
    "text": (described("'<U1'") + bytes(8), "be of bool, int, uint or float, got '<U1'"),
    "complex": (described("'<c8'") + bytes(16), "be of bool, int, uint or float, got '<c8'"),
    "long double": (described("'<f16'") + bytes(32), "int, uint or float, got '<f16'"),
    "Fortran": (described(order="True") + bytes(8), "be in C order, got Fortran order"),
    "a false bool": (described("'|b1'") + b"\x01\x02", "be of bool, 0 or 1, got other bytes"),
}


@pytest.mark.parametrize("name", LYING)
def test_arrays_that_lie(path: Path, name: str) -> None:
    content, words = LYING[name]
    with refused(path, words):
        read(archive(path, {"g.npy": content}), "matrix")


def test_a_later_array_is_checked_before_an_earlier_is_allocated(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive(path, {"good.npy": npy(np.eye(3)), "bad.npy": LYING["a terabyte"][0]})
    monkeypatch.setattr(np, "empty", None)
    with refused(path, r"holds 'bad.npy', which must hold the 1000000000000 bytes"):
        read(path, "matrix")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_is_refused(path: Path, method: int) -> None:
    bomb = npy(np.zeros(64 * MIB, dtype=np.uint8))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("meta.json", json.dumps(HEADER))
        file.writestr("g.npy", bomb, method)
    with refused(path, "holds 'g.npy', which must be stored uncompressed, got compression"):
        read(path, "matrix")
    archive(path, {}, json.dumps(HEADER).encode() + b" " * 64 * MIB, compression=method)
    with refused(path, "holds 'meta.json', which must be stored uncompressed"):
        read(path, "matrix")


def test_a_compressed_member_that_says_it_is_not(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("meta.json", json.dumps(HEADER))
        file.writestr("g.npy", npy(np.zeros(MIB)), zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 10 : entry + 12] = b"\0\0"
    path.write_bytes(content)
    with refused(path, "must be stored uncompressed, got compression"):
        read(path, "matrix")


def test_members_larger_than_the_file(path: Path) -> None:
    """The directory of the zip declares them; the header of the array agrees with it."""
    values = described("'|u1'", shape="(2000000000,)")
    archive(path, {"g.npy": values})
    content = path.read_bytes()
    entry = content.rindex(b"PK\x01\x02") + 20
    size = struct.pack("<II", *[2_000_000_000 + len(values)] * 2)
    path.write_bytes(content[:entry] + size + content[entry + 8 :])
    with refused(path, r"must be as large as it declares \(20000\d+ bytes\), got \d{3}$"):
        read(path, "matrix")


def test_members_that_share_their_bytes(path: Path) -> None:
    """A quine: each of many members points at the same data."""
    content = npy(np.zeros(MIB, dtype=np.uint8))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("meta.json", json.dumps(HEADER))
        file.writestr("a.npy", content)
        for name in "bcdefgh":
            info = zipfile.ZipInfo(f"{name}.npy")
            first = file.getinfo("a.npy")
            info.header_offset, info.CRC = first.header_offset, first.CRC
            info.file_size = info.compress_size = first.file_size
            file.filelist.append(info)
    with refused(path, "must be as large as it declares"):
        read(path, "matrix")


@pytest.mark.parametrize("limit_bytes", [0, 100, 1000])
def test_the_limit(path: Path, limit_bytes: int) -> None:
    write(path, "matrix", {"values": np.zeros(1000, dtype=np.uint8)}, {})
    with refused(path, f"must hold at most limit_bytes={limit_bytes}, got 1.{{3}} bytes"):
        read(path, "matrix", limit_bytes)
    read(path, "matrix", 2000)


def test_a_name_twice(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.writestr("meta.json", json.dumps(HEADER))
        file.writestr("g.npy", npy(np.zeros(1)))
        file.writestr("g.npy", npy(np.ones(1)))
    with refused(path, "must name each member once, got a name twice"):
        read(path, "matrix")


def test_a_member_of_another_sort(path: Path) -> None:
    archive(path, {"readme.txt": b"hello"})
    with refused(path, "holds 'readme.txt', which must be an array, .npy"):
        read(path, "matrix")


def test_encryption_is_refused(path: Path) -> None:
    write(path, "matrix", {"g": np.zeros(1)}, {})
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with refused(path, "holds 'g.npy', which must not be encrypted"):
        read(path, "matrix")


def test_other_names_in_the_directory(path: Path) -> None:
    write(path, "matrix", {"abc": np.zeros(1)}, {})
    content = path.read_bytes()
    at = content.rindex(b"abc")
    path.write_bytes(content[:at] + b"xyz" + content[at + 3 :])
    with refused(path, "readable file of fastaimc, got: File name in directory"):
        read(path, "matrix")


def test_a_directory_of_many_members_is_not_read(path: Path) -> None:
    """A zip of 100 MB of nothing but names would otherwise take gigabytes."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("meta.json", json.dumps(HEADER))
        for number in range(1000):
            info = zipfile.ZipInfo(f"{number}.npy")
            info.header_offset = info.CRC = info.file_size = info.compress_size = 0
            info.comment = bytes(60_000)
            file.filelist.append(info)
    with refused(path, "readable file of fastaimc, got: Truncated central directory"):
        read(path, "matrix")


def test_a_directory_larger_than_the_file(path: Path) -> None:
    write(path, "matrix", {"g": np.zeros(1)}, {})
    content = path.read_bytes()
    at = content.rindex(b"PK\x05\x06") + 12
    path.write_bytes(content[:at] + b"\xfe\xff\xff\xff" + content[at + 4 :])
    with refused(path, "readable file of fastaimc, got: "):
        read(path, "matrix")


def test_a_member_hidden_in_the_comment_of_another(path: Path) -> None:
    """One wrong byte, the length of a comment, swallows the entries behind it."""
    write(path, "matrix", {"a": np.zeros(1), "b": np.ones(1)}, {})
    content = bytearray(path.read_bytes())
    first = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 4)
    content[first + 32] = len(content) - 22 - content.rindex(b"PK\x01\x02")
    path.write_bytes(content)
    with zipfile.ZipFile(path) as file:
        assert file.namelist() == ["meta.json", "a.npy"]
    with refused(path, "must end with the number of its members, 2"):
        read(path, "matrix")


def test_a_newer_zip(path: Path) -> None:
    write(path, "matrix", {"g": np.zeros(1)}, {})
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 6] = 255
    path.write_bytes(content)
    with refused(path, "readable file of fastaimc, got: zip file version 25.5"):
        read(path, "matrix")


# Whatever the bytes are


def survives(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Read, or get a StorageError: nothing else, and without much memory."""
    found, message = None, ""
    tracemalloc.start()
    try:
        found = read(path, "matrix")
    except StorageError as error:
        message = str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 8 * MIB
    assert found is not None or (repr(str(path)) in message and "\n" not in message)
    return found


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = tmp_path_factory.mktemp("fuzz") / "fuzzed.npz"
    write(path, "matrix", arrays(), META)
    return path, path.read_bytes()


@settings(max_examples=500)
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=6),
    length=st.just(1.0) | st.floats(0, 1),
    from_end=st.booleans(),
)
@example(flips=[], length=1.0, from_end=False)
def test_flips_and_truncations(
    fuzzed: tuple[Path, bytes], flips: list[tuple[float, int]], length: float, from_end: bool
) -> None:
    """Either it reads right or it is refused. Flips gather where the structure of the zip is."""
    path, whole = fuzzed
    content = bytearray(whole)
    directory = whole.index(b"PK\x01\x02")
    for where, mask in flips:
        begin = directory if from_end else 0
        content[begin + int(where * (len(content) - begin))] ^= mask
    path.write_bytes(content[: round(length * len(content))])
    found = survives(path)
    if found is not None:
        assert same(found[0], arrays())
        assert found[1] == HEADER | META
    if content == whole and length == 1:
        assert found is not None


def test_every_flipped_byte_of_the_structure(fuzzed: tuple[Path, bytes]) -> None:
    """Each byte of the directory and of the first local header, against four masks."""
    path, whole = fuzzed
    directory = whole.index(b"PK\x01\x02")
    for at in [*range(40), *range(directory, len(whole))]:
        for mask in (0x01, 0x08, 0x80, 0xFF):
            content = bytearray(whole)
            content[at] ^= mask
            path.write_bytes(content)
            found = survives(path)
            assert found is None or (same(found[0], arrays()) and found[1] == HEADER | META)


@settings(max_examples=300)
@given(
    content=st.binary(max_size=200)
    | st.text(alphabet="{}()[]'\", :0123456789<>|fiubOdescrshape_lTFn\\\n", max_size=120).map(
        header
    )
    | st.builds(
        lambda descr, order, shape, values: described(repr(descr), order, repr(shape)) + values,
        st.sampled_from(["<f4", ">i2", "|b1", "|u1", "|O", "<c8"]),
        st.sampled_from(["True", "False", "None"]),
        st.lists(st.integers(-1, 3) | st.integers(), max_size=4).map(tuple),
        st.binary(max_size=40),
    ),
    meta=st.just(json.dumps(HEADER).encode()) | st.binary(max_size=60),
)
def test_any_content_in_a_whole_zip(
    fuzzed: tuple[Path, bytes], content: bytes, meta: bytes
) -> None:
    """Checksums hold, so that only what is said in the members stands between them and memory."""
    found = survives(archive(fuzzed[0], {"g.npy": content}, meta))
    if found is not None:
        expected = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
        assert same(found[0], {"g": expected})


@given(content=st.binary(max_size=400), signature=st.sampled_from([b"", b"PK\x03\x04"]))
def test_any_bytes(fuzzed: tuple[Path, bytes], content: bytes, signature: bytes) -> None:
    fuzzed[0].write_bytes(signature + content)
    assert survives(fuzzed[0]) is None


# What the next layer asks for


@pytest.mark.parametrize("shape", [(2, 4, 5, 3), (None, 4, None, 3), (None,) * 4])
def test_require_returns_the_array(shape: tuple[int | None, ...]) -> None:
    found = arrays()
    assert require(found, "g_us", shape, np.float32, "x.npz") is found["g_us"]


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "words"),
    [
        ("gone", (2,), "f4", "'gone' of float32 and shape (2), got only ['g_us', 'codes', "),
        (
            "g_us",
            (None,) * 4,
            "f8",
            "'g_us' of float64 and shape (any, any, any, any), got float32",
        ),
        ("codes", (None,), "i1", "'codes' of int8 and shape (any), got uint8"),
        ("codes", (8,), "u1", "'codes' of uint8 and shape (8), got shape (7,)"),
        ("codes", (7, 1), "u1", "'codes' of uint8 and shape (7, 1), got shape (7,)"),
        ("time_s", (None,), "f8", "'time_s' of float64 and shape (any), got shape ()"),
        ("codes", (), "u1", "'codes' of uint8 and shape (), got shape (7,)"),
        ("nothing", (None, 0), "i8", "'nothing' of int64 and shape (any, 0), got shape (0, 3)"),
    ],
)
def test_require_refuses(name: str, shape: tuple[int | None, ...], dtype: str, words: str) -> None:
    with pytest.raises(StorageError, match=re.escape(f"'x.npz' must hold an array {words}")):
        require(arrays(), name, shape, dtype, Path("x.npz"))


def test_the_bytes_of_a_file_are_held(path: Path) -> None:
    """The same content makes the same bytes, on any system and with any version of Python."""
    write(path, "example", {"a": np.arange(3, dtype=np.float32), "b": np.array(True)}, {"seed": 7})
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA_256
