"""Weight matrices from files of other programs, honest and hostile ones."""

import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib import format as npy
from safetensors.numpy import save_file

import fastaimc as fa
from fastaimc.weights import kind_of, read_weights, shown

RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(3, 5))


def write_safetensors(path: Path, **arrays: tuple[str, Any]) -> Path:
    """Write arrays with dtypes that NumPy does not have."""
    header, data = {}, b""
    for name, (kind, array) in arrays.items():
        end = len(data) + array.nbytes
        header[name] = {
            "dtype": kind,
            "shape": list(array.shape),
            "data_offsets": [len(data), end],
        }
        data += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def write_npz(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def header_of(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f2", ">f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_of_any_precision_and_order(tmp_path: Path, dtype: str, order: Any) -> None:
    given = np.asarray(MATRIX.astype(dtype), order=order)
    np.save(tmp_path / "w.npy", given)
    matrices, notices = read_weights(tmp_path / "w.npy")
    assert list(matrices) == ["weights"]
    assert matrices["weights"].dtype == np.float32
    assert matrices["weights"].flags.c_contiguous
    assert matrices["weights"].flags.writeable
    np.testing.assert_array_equal(matrices["weights"], given.astype(np.float32))
    assert notices == []


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_flattens_and_skips_by_name(tmp_path: Path, save: Any) -> None:
    kernel = RNG.normal(size=(4, 3, 2, 2))
    save(
        tmp_path / "n.npz",
        **{"a.weight": MATRIX, "conv": kernel, "bias": np.ones(3), "none": np.ones((0, 3))},
        ids=np.ones((2, 2), np.int64),
        phase=np.ones((2, 2), np.complex64),
        scalar=np.float64(1),
        one=RNG.normal(size=(2, 3, 4)).astype("f4"),
    )
    matrices, notices = read_weights(str(tmp_path / "n.npz"))
    assert list(matrices) == ["a.weight", "conv", "one"]
    np.testing.assert_array_equal(matrices["conv"], kernel.reshape(4, 12).astype("f4"))
    assert matrices["one"].shape == (2, 12)
    assert notices == [
        "conv: 4-D (4, 3, 2, 2) flattened to (4, 12)",
        "bias: skipped, 1-D",
        "none: skipped, empty (0, 3)",
        "ids: skipped, int64",
        "phase: skipped, complex64",
        "scalar: skipped, 0-D",
        "one: 3-D (2, 3, 4) flattened to (2, 12)",
    ]


def test_safetensors_of_all_precisions(tmp_path: Path) -> None:
    exact = np.array([[1.5, -2.0, 0.0], [3.140625, -0.0078125, 256.0]], dtype=np.float32)
    path = write_safetensors(
        tmp_path / "m.safetensors",
        double=("F64", MATRIX),
        half=("F16", MATRIX.astype("f2")),
        brain=("BF16", (exact.view(np.uint32) >> 16).astype(np.uint16)),
        eighth=("F8_E4M3", np.ones((2, 4), np.uint8)),
        ids=("I64", np.ones((2, 2), np.int64)),
        bias=("BF16", np.ones(4, np.uint16)),
    )
    matrices, notices = read_weights(path)
    np.testing.assert_array_equal(matrices["brain"], exact)
    np.testing.assert_array_equal(matrices["double"], MATRIX.astype("f4"))
    np.testing.assert_array_equal(matrices["half"], MATRIX.astype("f2").astype("f4"))
    assert sorted(matrices) == ["brain", "double", "half"]
    expected = ["bias: skipped, 1-D", "eighth: skipped, F8_E4M3", "ids: skipped, I64"]
    assert sorted(notices) == expected


def test_safetensors_with_metadata_and_any_suffix(tmp_path: Path) -> None:
    save_file({"w": MATRIX}, tmp_path / "model.bin", metadata={"format": "pt"})
    assert read_weights(tmp_path / "model.bin")[0]["w"].shape == (3, 5)


def test_nothing_to_program_names_what_was_skipped(tmp_path: Path) -> None:
    np.savez(tmp_path / "n.npz", bias=np.ones(3), ids=np.ones((2, 2), int))
    with pytest.raises(fa.InputError, match=r"n\.npz.*weight matrix.*bias: skipped, 1-D; ids"):
        read_weights(tmp_path / "n.npz")
    np.savez(tmp_path / "empty.npz")
    with pytest.raises(fa.InputError, match=r"empty\.npz.*got nothing"):
        read_weights(tmp_path / "empty.npz")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_weights_that_are_not_finite(tmp_path: Path, value: float) -> None:
    np.savez(tmp_path / "n.npz", fc=np.array([[1.0, value]]))
    with pytest.raises(fa.InputError, match=r"n\.npz.*'fc'.*finite and fit into float32: 1 "):
        read_weights(tmp_path / "n.npz")


def test_our_own_files_get_a_hint(tmp_path: Path) -> None:
    matrix = fa.program(MATRIX, fa.presets.ideal(), engine="reference")
    fa.save(tmp_path / "matrix.npz", matrix)
    assert kind_of(tmp_path / "matrix.npz") == "matrix"
    with pytest.raises(fa.InputError, match=r"got a fastaimc matrix: `fastaimc info` shows it"):
        read_weights(tmp_path / "matrix.npz")
    with zipfile.ZipFile(tmp_path / "state.npz", "w") as archive:
        archive.writestr("meta.json", '{"format": "fastaimc", "kind": "checkpoint"}')
    assert kind_of(tmp_path / "state.npz") == "checkpoint"
    with pytest.raises(fa.InputError, match=r"fastaimc checkpoint: `fastaimc program --resume`"):
        read_weights(tmp_path / "state.npz")


@pytest.mark.parametrize("meta", ["[]", "no JSON", '{"format": "other"}', "{}"])
def test_a_foreign_meta_json_is_skipped(tmp_path: Path, meta: str) -> None:
    np.savez(tmp_path / "n.npz", fc=MATRIX)
    with zipfile.ZipFile(tmp_path / "n.npz", "a") as archive:
        archive.writestr("meta.json", meta)
    assert kind_of(tmp_path / "n.npz") is None
    assert read_weights(tmp_path / "n.npz")[1] == ["meta.json: skipped, no array"]


HOSTILE = {
    "empty": b"",
    "text": b"hello, world",
    "pickle": pickle.dumps([1.0]),
    "cut zip": b"PK\x03\x04" + bytes(20),
    "cut npy": header_of((2, 2)) + bytes(8),
    "long npy": header_of((2, 2)) + bytes(20),
    "huge npy": header_of((2**31, 2**31)) + bytes(16),
    "negative npy": header_of((-2, -2)) + bytes(16),
    "no header": npy.MAGIC_PREFIX + b"\x01\x00" + b"\xff\xff",
    "nested header": npy.MAGIC_PREFIX + b"\x01\x00" + (9000).to_bytes(2, "little") + b"(" * 9000,
    "huge safetensors header": (2**62).to_bytes(8, "little") + b"{}",
    "cut safetensors": (100).to_bytes(8, "little") + b'{"w":',
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_one_line_that_names_them(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hostile.file"
    path.write_bytes(content)
    with pytest.raises(fa.StorageError, match=r"hostile\.file") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


def test_arrays_of_objects_are_never_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(fa.InputError, match="objects, which are never opened"):
        read_weights(tmp_path / "o.npy")


def test_lies_within_a_zip(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "lie.npz", w=header_of((2, 2)) + bytes(12))
    with pytest.raises(fa.StorageError, match=r"'w', which must hold the 16 bytes"):
        read_weights(path)
    np.savez(tmp_path / "bad.npz", w=MATRIX)
    data = bytearray((tmp_path / "bad.npz").read_bytes())
    data[data.index(MATRIX.tobytes()) + 1] ^= 1
    (tmp_path / "bad.npz").write_bytes(data)
    with pytest.raises(fa.StorageError, match=r"bad\.npz.*CRC"):
        read_weights(tmp_path / "bad.npz")


def test_a_zip_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    zeros = bytes(1 << 20)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.npy", zeros)
    data = (tmp_path / "bomb.npz").read_bytes()
    declared = (1 << 20).to_bytes(4, "little")
    (tmp_path / "bomb.npz").write_bytes(data.replace(declared, (3 << 30).to_bytes(4, "little")))
    with pytest.raises(fa.StorageError, match="unpacks to more than"):
        read_weights(tmp_path / "bomb.npz")


def test_places_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(fa.StorageError, match=r"gone\.npy.*No such file"):
        read_weights(tmp_path / "gone.npy")
    with pytest.raises(fa.StorageError, match="a folder or a device"):
        read_weights(tmp_path)
    with pytest.raises(fa.StorageError, match="too long"):
        read_weights(tmp_path / ("x" * 300))
    with pytest.raises(fa.InputError, match="path must be a str or a path, got 3"):
        read_weights(3)  # type: ignore[arg-type]
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(fa.StorageError, match="a folder or a device"):
            read_weights(tmp_path / "pipe")
        assert kind_of(tmp_path / "pipe") is None


def test_names_are_one_plain_line(tmp_path: Path) -> None:
    path = write_safetensors(
        tmp_path / "m.safetensors", **{"a\n\x1b[2J": ("F32", np.ones(3, "f4"))}
    )
    with pytest.raises(fa.InputError) as caught:
        read_weights(path)
    assert str(caught.value).isprintable()
    assert len(shown("x" * 1000)) == 100


@given(data=st.data())
def test_any_damage_is_an_error_of_ours_or_a_matrix(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    kind = data.draw(st.sampled_from([".npy", ".npz", ".safetensors"]))
    path = folder / f"w{kind}"
    if kind == ".npy":
        np.save(path, MATRIX)
    elif kind == ".npz":
        np.savez_compressed(path, w=MATRIX)
    else:
        save_file({"w": MATRIX}, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        matrices, _ = read_weights(path)
    except fa.FastAIMCError as error:
        assert str(error).isprintable()  # noqa: PT017  a matrix may come back as well
    else:
        assert all(matrix.dtype == np.float32 for matrix in matrices.values())
