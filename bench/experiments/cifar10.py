"""CIFAR-10 as arrays: from a folder of the standard binary files, or of JPEG images.

A. Krizhevsky, *Learning multiple layers of features from tiny images*, 2009.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
RECORD = 1 + 3 * 32 * 32  # of the binary files: a label, and three planes
ORIGINAL, RECOMPRESSED = "CIFAR-10", "CIFAR-10 (JPEG-recompressed)"

Split = tuple[np.ndarray, np.ndarray]  # images (n, 3, 32, 32), uint8, and labels (n,), int64


def load(source: Path) -> tuple[str, Split, Split]:
    """Return what the data is called, and its training and test images.

    Parameters
    ----------
    source : Path
        A folder with ``data_batch_1.bin`` … ``test_batch.bin``, as CIFAR-10's binary version has
        them; or a folder or a tar archive with ``train/<class>/*.jpg`` and ``test/<class>/*.jpg``.

    Raises
    ------
    FileNotFoundError
        Where neither is.
    """
    if (source / "test_batch.bin").exists():
        train = [binary(source / f"data_batch_{number}.bin") for number in range(1, 6)]
        images, labels = (np.concatenate(parts) for parts in zip(*train, strict=True))
        return ORIGINAL, (images, labels), binary(source / "test_batch.bin")
    if source.is_file():
        files = archive(source)
    elif (source / "test").is_dir():
        files = folder(source)
    else:
        raise FileNotFoundError(
            f"{source} must hold data_batch_1.bin to test_batch.bin, or train/ and test/ with a "
            "folder of JPEG images for each class, or be a tar archive of the latter"
        )
    splits: dict[str, list[tuple[str, int, np.ndarray]]] = {"train": [], "test": []}
    for name, content in files:
        split, kind, image = name.split("/")[-3:]
        splits[split].append((image, CLASSES.index(kind), decoded(content)))
    return RECOMPRESSED, stacked(splits["train"]), stacked(splits["test"])


def binary(path: Path) -> Split:
    """Return one file of the binary version."""
    records = np.fromfile(path, dtype=np.uint8).reshape(-1, RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)


def archive(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of an archive's images."""
    with tarfile.open(path) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.name.endswith(".jpg") else None
            if file is not None:
                yield member.name, file.read()


def folder(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of a folder's images."""
    for file in sorted(path.glob("*/*/*.jpg")):
        yield file.relative_to(path).as_posix(), file.read_bytes()


def decoded(content: bytes) -> np.ndarray:
    """Return a JPEG image, (3, 32, 32), uint8."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).transpose(2, 0, 1)


def stacked(images: list[tuple[str, int, np.ndarray]]) -> Split:
    """Return images in an order that does not depend on the archive's."""
    images = sorted(images, key=lambda item: (item[0], item[1]))
    pixels = np.stack([pixels for _, _, pixels in images])
    return pixels, np.array([label for _, label, _ in images])
