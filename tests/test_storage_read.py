"""Reading files that are not ours, or of another kind or time: the words of each refusal."""

import errno
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from storage_files import HEADER, META, MIB, archive, arrays, npy, refused

from fastaimc import storage
from fastaimc.storage import SCHEMA, read, write

pytestmark = pytest.mark.nojit


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cells.npz"


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
