"""What tests of files share: content, archives written by hand, and the manner of a refusal."""

import io
import json
import struct
import tracemalloc
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastaimc.errors import StorageError
from fastaimc.storage import SCHEMA

META = {"seed": 7, "note": "µS\n", "nested": {"list": [1, 2.5, None, True]}}
HEADER = {"format": "fastaimc", "schema": SCHEMA, "kind": "matrix"}
MIB = 1 << 20


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
