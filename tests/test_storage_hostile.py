"""Reading damaged and lying files: refused in words, and at no cost in memory."""

import io
import json
import pickle
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from storage_files import HEADER, META, MIB, archive, arrays, described, header, npy, refused, same

from fastaimc.errors import StorageError
from fastaimc.storage import read, write

pytestmark = pytest.mark.nojit


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cells.npz"


# Damaged and lying files


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
