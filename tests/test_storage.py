"""Files: what comes back, with which bytes, and what the next layer asks of it."""

import hashlib
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from storage_files import HEADER, META, archive, arrays, npy, refused, same

from fastaimc.errors import StorageError
from fastaimc.storage import read, require, write

pytestmark = pytest.mark.nojit

KINDS = ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
# Of the file in test_the_bytes_of_a_file_are_held, as written by the first release of schema 1.
SHA_256 = "eaceae9ab64a87f6d0a86cb3cec17e3a47db746f42a5c27903a10104629ec1fc"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cells.npz"


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
