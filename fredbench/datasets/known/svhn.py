"""SVHN, cropped digits (Y. Netzer et al., "Reading Digits in Natural Images", 2011).

Read from the official MATLAB files, `X` uint8 (32, 32, 3, n) and `y` (n, 1) with 10 for the digit 0, or from
packed sheets. Only `train` is used for training, not `extra` (methods of the literature do the same).
"""

from __future__ import annotations

import zlib
from functools import partial
from pathlib import Path

import numpy as np

from fredbench.datasets.core import FileRecord, Source, Split
from fredbench.datasets.family import Family, RemoteFile
from fredbench.datasets.packed import find_packed
from fredbench.datasets.resize import Geometry
from fredbench.foundation.errors import DataError

__all__ = ["SVHN", "find_matlab"]

_HDF = b"\x89HDF\r\n\x1a\n"
_MEND = "fetch it again: `fredbench data fetch svhn`"


def _is_hdf(path: Path) -> bool:
    """Whether a file is of MATLAB 7.3's form, by its head: HDF5 behind 512 bytes of text, or from the start."""
    try:
        with open(path, "rb") as file:
            head = file.read(520)
    except OSError:
        return False
    return head.startswith((b"MATLAB 7.3", _HDF)) or head[512:].startswith(_HDF)


def _read(path: Path) -> Split:
    # Imported here: scipy.io takes a while, and packed sheets do without.
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    if _is_hdf(path):
        raise DataError(
            f"{path} is a MATLAB 7.3 file (HDF5), and the published ones are MATLAB 5",
            hint="save it in the older form: in MATLAB save(file, 'X', 'y', '-v7'), in Python scipy.io.savemat",
        )
    try:
        values = loadmat(path, variable_names=["X", "y"])
    except (
        MatReadError,
        OSError,
        EOFError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        NotImplementedError,
        MemoryError,
        zlib.error,
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} is cut off or no MATLAB file: {reason}", hint=_MEND) from error
    pixels, labels = values.get("X"), values.get("y")
    if pixels is None or labels is None:
        raise DataError(f"{path} lacks X or y: it is cut off or another file", hint=_MEND)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[:3] != (32, 32, 3):
        raise DataError(f"{path} has X of {pixels.dtype} {pixels.shape}, not uint8 (32, 32, 3, n)", hint=_MEND)
    if labels.size != pixels.shape[3]:
        raise DataError(f"{path} has y of shape {labels.shape} for {pixels.shape[3]} pictures", hint=_MEND)
    strange = np.setdiff1d(labels, np.arange(11))
    if len(strange):
        raise DataError(
            f"{path} has labels in y that are none of 0 to 10: {', '.join(map(str, strange[:5]))}",
            hint="write the digit 0 as 10 or 0 and the others as themselves",
        )
    digits = labels.reshape(-1).astype(np.int64) % 10
    return Split(np.ascontiguousarray(pixels.transpose(3, 0, 1, 2)), digits)


def find_matlab(family: Family, root: Path, geometry: Geometry | None) -> Source | None:
    """`train_32x32.mat` and `test_32x32.mat` side by side in ROOT/svhn, ROOT/SVHN or ROOT."""
    for base in (root / family.name, root / "SVHN", root):
        paths = {part: base / f"{part}_32x32.mat" for part in ("train", "test")}
        if not any(path.is_file() for path in paths.values()):
            continue
        for path in paths.values():
            if not path.is_file():
                raise DataError(f"{path} is missing beside its twin in {base}", hint=_MEND)
        files = tuple(FileRecord(base / file.name, "md5", file.md5) for file in family.remote)
        readers = {part: partial(_read, path) for part, path in paths.items()}
        return Source("MATLAB files", base, readers, stored_size=family.size, files=files)
    return None


def _remote(part: str, md5: str) -> RemoteFile:
    name = f"{part}_32x32.mat"
    return RemoteFile(name, (f"http://ufldl.stanford.edu/housenumbers/{name}",), md5=md5)


SVHN = Family(
    name="svhn",
    classes=tuple("0123456789"),
    size=(32, 32),
    channels=3,
    flip=False,
    mean=(0.4377, 0.4438, 0.4728),
    std=(0.1980, 0.2010, 0.1970),
    published={"train": 73_257, "test": 26_032},
    finders=(find_packed, find_matlab),
    remote=(
        _remote("train", "e26dedcc434d2e4c54c9b2d4a06d8373"),
        _remote("test", "eb5a983be6a315427106f1b164d9cef3"),
    ),
    places=("svhn/dataset.json", "train_32x32.mat and test_32x32.mat (also below svhn/)"),
)
