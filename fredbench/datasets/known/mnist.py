"""MNIST (Y. LeCun et al., 1998) and Fashion-MNIST (H. Xiao et al., 2017), grey pictures of 28 x 28.

Read from the official IDX files, gzipped or not: two zero bytes, the type (8: unsigned bytes), the number of
dimensions, their sizes as big-endian 32-bit numbers, then the bytes in row order.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from fredbench.datasets.core import FileRecord, Source, Split
from fredbench.datasets.family import Family, RemoteFile
from fredbench.datasets.packed import find_packed
from fredbench.datasets.resize import Geometry
from fredbench.foundation.errors import DataError

__all__ = ["FASHION_MNIST", "MNIST", "find_idx", "parse_idx", "recognised"]

_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
# torchvision unpacks to these folders below its root.
_TORCHVISION = {"mnist": "MNIST/raw", "fashion-mnist": "FashionMNIST/raw"}


# MD5 of the unpacked files, pictures and labels, as the loaders of several public projects list them.
_CONTENT = {
    "mnist train": ("6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624"),
    "mnist test": ("2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"),
    "fashion-mnist train": ("f4a8712d7a061bf5bd6d2ca38dc4d50a", "9018921c3c673c538a1fc5bad174d6f9"),
    "fashion-mnist test": ("8181f5470baa50b63fa0f6fddb340f0a", "15d484375f8d13e6eb1aabb0c3f46965"),
}


def parse_idx(data: bytes, dimensions: int, where: str, mend: str) -> UInt8[np.ndarray, ...]:
    """The array in an IDX file of unsigned bytes; `DataError` naming `where` for anything else."""
    head = 4 + 4 * dimensions
    if len(data) < head or data[:4] != bytes((0, 0, 8, dimensions)):
        raise DataError(f"{where} is no IDX file of bytes in {dimensions} dimensions", hint=mend)
    shape = tuple(int(size) for size in np.frombuffer(data[4:head], ">u4"))
    expected = int(np.prod(shape, dtype=np.int64))
    if len(data) - head != expected:
        raise DataError(f"{where} holds {len(data) - head} bytes, its header says {expected}: it is cut off", hint=mend)
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)


def _bytes_of(path: Path, mend: str) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is cut off or damaged: {error}", hint=mend) from error


def _read(mend: str, images: Path, labels: Path) -> Split:
    pixels = parse_idx(_bytes_of(images, mend), 3, str(images), mend)
    digits = parse_idx(_bytes_of(labels, mend), 1, str(labels), mend)
    return Split(pixels[..., None].copy(), digits.astype(np.int64))


def _head(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            return file.read(8)
    except (OSError, EOFError, zlib.error):
        return b""  # whoever reads the file says what is wrong with it


def _unlike(family: Family, present: dict[str, Path]) -> str:
    """Why the files cannot be the published ones, told from the counts in their heads; empty where they may be."""
    for part, (images, _) in _FILES.items():
        head = _head(present[images])
        count = int.from_bytes(head[4:8], "big")
        if len(head) == 8 and count != family.published[part]:
            return f"{present[images].name} holds {count:,} pictures, not {family.published[part]:,}"
    return ""


def _idx_md5(array: UInt8[np.ndarray, ...]) -> str:
    """MD5 of the unpacked IDX file that holds `array`."""
    shape = b"".join(size.to_bytes(4, "big") for size in array.shape)
    digest = hashlib.md5(bytes((0, 0, 8, array.ndim)) + shape, usedforsecurity=False)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def recognised(split: Split) -> str:
    """`NAME SPLIT` of the published split whose content this is, in whatever form it lay; or nothing."""
    if split.images.shape[-1] != 1 or int(split.labels.max()) > 255:
        return ""
    sums = (_idx_md5(split.images[..., 0]), _idx_md5(split.labels.astype(np.uint8)))
    return next((name for name, known in _CONTENT.items() if known == sums), "")


def find_idx(family: Family, root: Path, geometry: Geometry | None) -> Source | None:
    """The four IDX files, each gzipped or not, in ROOT/<name> or where torchvision leaves them.

    ROOT itself is not searched: both sets' files have the same names.
    """
    mend = f"fetch it again: `fredbench data fetch {family.name}`"
    for base in (
        root / family.name,
        root / _TORCHVISION[family.name],
        root / family.name / _TORCHVISION[family.name],
    ):
        present = {
            name: path
            for names in _FILES.values()
            for name in names
            for path in (base / f"{name}.gz", base / name)
            if path.is_file()
        }
        if not present:
            continue
        for names in _FILES.values():
            for name in names:
                if name not in present:
                    raise DataError(f"{base} lacks {name}(.gz), which belongs to its other files", hint=mend)
        md5 = {file.name: file.md5 for file in family.remote}
        files = tuple(FileRecord(path, "md5", md5[path.name]) for path in present.values() if path.name in md5)
        readers = {part: partial(_read, mend, *(present[name] for name in names)) for part, names in _FILES.items()}
        unlike = _unlike(family, present)
        return Source("IDX files", base, readers, stored_size=family.size, files=files, unlike=unlike)
    return None


def _remote(mirrors: tuple[str, ...], md5s: tuple[str, ...]) -> tuple[RemoteFile, ...]:
    names = [f"{name}.gz" for part in _FILES.values() for name in part]
    return tuple(
        RemoteFile(name, tuple(mirror + name for mirror in mirrors), md5=md5)
        for name, md5 in zip(names, md5s, strict=True)
    )


# Addresses and MD5s as torchvision's `MNIST` and `FashionMNIST` list them.
MNIST = Family(
    name="mnist",
    classes=tuple("0123456789"),
    size=(28, 28),
    channels=1,
    flip=False,
    mean=(0.1307,),
    std=(0.3081,),
    published={"train": 60_000, "test": 10_000},
    recognised=recognised,
    finders=(find_packed, find_idx),
    remote=_remote(
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
        (
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
    ),
    places=("mnist/dataset.json", "mnist/*-ubyte(.gz)", "MNIST/raw/"),
)

FASHION_MNIST = Family(
    name="fashion-mnist",
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    size=(28, 28),
    channels=1,
    flip=True,
    mean=(0.2861,),
    std=(0.3530,),
    published={"train": 60_000, "test": 10_000},
    recognised=recognised,
    finders=(find_packed, find_idx),
    remote=_remote(
        ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        (
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
    ),
    places=("fashion-mnist/dataset.json", "fashion-mnist/*-ubyte(.gz)", "FashionMNIST/raw/"),
)
