"""Writing files: what a failure leaves behind, and what is refused in which words."""

import errno
import os
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from storage_files import META, MIB, arrays, refused, same

from fastaimc.errors import StorageError
from fastaimc.storage import read, write

pytestmark = pytest.mark.nojit


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cells.npz"


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
