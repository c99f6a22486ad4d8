"""Writers of the official forms, so that readers are tested on files that other code made."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image


def _short(text: bytes) -> bytes:
    return b"U" + bytes((len(text),)) + text


def _integer(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def python2_batch(rows: np.ndarray, labels: np.ndarray, key: str) -> bytes:
    """A CIFAR batch as Python 2's pickle (protocol 2) wrote it: byte strings, `numpy.core.multiarray`."""
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n"
        + b"cnumpy\nndarray\n"
        + b"K\x00\x85"
        + _short(b"b")
        + b"\x87R"
        + b"(K\x01"
        + _integer(rows.shape[0])
        + _integer(rows.shape[1])
        + b"\x86"
        + b"cnumpy\ndtype\n"
        + _short(b"u1")
        + b"K\x00K\x01\x87R"
        + b"(K\x03"
        + _short(b"|")
        + b"NNN"
        + _integer(-1)
        + _integer(-1)
        + b"K\x00tb"
        + b"\x89"
        + b"T"
        + struct.pack("<I", rows.size)
        + rows.tobytes()
        + b"tb"
    )
    listed = b"](" + b"".join(_integer(int(label)) for label in labels) + b"e"
    items = _short(b"data") + array + _short(key.encode()) + listed
    items += _short(b"batch_label") + _short(b"a batch")
    return b"\x80\x02}(" + items + b"u."


def planes(images: np.ndarray) -> np.ndarray:
    """(n, 32, 32, 3) to rows of red, green and blue planes."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)


def cifar10_batches(train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> dict[str, bytes]:
    """The six official batches of pictures and labels."""
    files = {
        f"data_batch_{i + 1}": python2_batch(planes(x), y, "labels")
        for i, (x, y) in enumerate(zip(np.array_split(train[0], 5), np.array_split(train[1], 5), strict=True))
    }
    files["test_batch"] = python2_batch(planes(test[0]), test[1], "labels")
    return files


def write_archive(path: Path, folder: str, files: dict[str, bytes], level: int = 1) -> None:
    """A gzipped tar with `files` in `folder`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        gzip.open(path, "wb", compresslevel=level) as stream,
        tarfile.open(fileobj=stream, mode="w|") as archive,
    ):
        for name, data in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def write_folder(path: Path, files: dict[str, bytes]) -> None:
    """`files` in the folder `path`."""
    path.mkdir(parents=True)
    for name, data in files.items():
        (path / name).write_bytes(data)


def idx(array: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes."""
    head = bytes((0, 0, 8, array.ndim)) + b"".join(struct.pack(">I", size) for size in array.shape)
    return head + array.astype(np.uint8).tobytes()


def write_picture(path: Path, pixels: np.ndarray, **options: object) -> None:
    """Pixels as a picture file in the form of its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def random_pictures(count: int, size: tuple[int, int] = (32, 32), channels: int = 3, seed: int = 0) -> np.ndarray:
    """Pixels without structure, uint8 (count, height, width, channels)."""
    return np.random.default_rng(seed).integers(0, 256, (count, *size, channels), dtype=np.uint8)
