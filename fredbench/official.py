"""Published test pictures, where a user has them: arrays in the layout of CIFAR-10-C, and shifted test sets."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Int64, Shaped, UInt8

from fredbench.datasets import Dataset, Split
from fredbench.errors import DataError
from fredbench.files import sha256_of
from fredbench.suite_parts import ShiftedSet

__all__ = ["PublishedArrays", "ShiftedArrays", "find_shifted", "listing_digest", "locate_shifted"]


_MEND = "complete the folder or move it away"


def _array(file: Path, *, mapped: bool = False, hint: str) -> Shaped[np.ndarray, ...]:
    try:
        found: np.ndarray = np.load(file, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{file} cannot be read: {error}", hint=hint) from error
    return found


@cache
def _content_digest(file: Path, size: int, changed: int) -> str:
    """SHA-256 of a file that had this size and this time of change: read once a process, anew when it is replaced."""
    return sha256_of(file)


@dataclass(frozen=True)
class PublishedArrays:
    """`<corruption>.npy`, five blocks of the test split's pictures in rising severity, as CIFAR-10-C has them."""

    folder: Path
    dataset: Dataset

    def check_labels(self) -> None:
        """`DataError` where the folder's labels are not the test split's: the rows would be other pictures."""
        file, own = self.folder / "labels.npy", self.dataset.test.labels
        if not file.is_file():
            return
        found = _array(file, hint=_MEND)
        if found.ndim != 1 or not np.array_equal(found[: len(own)], own):
            raise DataError(
                f"{file} holds other labels than the test split of {self.dataset.name}",
                hint="point the data folder at the published arrays, or move them away",
            )

    def digest(self, corruption: str) -> str:
        """Hex digest of one corruption's file; `DataError` where it is missing or cannot be read."""
        file = self.folder / f"{corruption}.npy"
        try:
            found = file.stat()
            return _content_digest(file, found.st_size, found.st_mtime_ns)
        except OSError as error:
            raise DataError(f"{file} cannot be read: {error}", hint=_MEND) from error

    def pictures(
        self, corruption: str, severity: int, numbers: Int64[np.ndarray, " k"]
    ) -> UInt8[np.ndarray, "k h w c"]:
        """The test pictures `numbers` under one corruption and severity."""
        images = self.dataset.test.images
        file = self.folder / f"{corruption}.npy"
        rows = _array(file, mapped=True, hint=_MEND)
        expected = (5 * len(images), *images.shape[1:])
        if rows.shape != expected or rows.dtype != np.uint8:
            raise DataError(
                f"{file} holds {rows.dtype} {rows.shape}, not uint8 {expected}", hint="fetch the archive again"
            )
        chosen: np.ndarray = np.ascontiguousarray(rows[(severity - 1) * len(images) + numbers])
        return chosen


@dataclass(frozen=True, eq=False)
class ShiftedArrays:
    """A shifted test set that was found: its name with the version, its pictures and labels, what it lacks."""

    name: str
    split: Split
    partial: str

    def digest(self) -> str:
        """Hex digest of pictures and labels."""
        return hashlib.sha256(f"{self.name} {self.split.fingerprint}".encode()).hexdigest()


def locate_shifted(shift: ShiftedSet, root: Path | None) -> tuple[Path, str, int]:
    """Folder, version and published count of the first arrays of `shift` below `root`; `DataError` without any."""
    places = [Path(str(root)) / folder for folder in shift.folders] if root is not None else []
    for version, count in zip(shift.versions, shift.pictures, strict=True):
        for folder in places:
            if (folder / shift.images.format(version=version)).is_file():
                return folder, version, count
    wanted = " or ".join(shift.images.format(version=version) for version in shift.versions)
    raise DataError(f"no {wanted} below {root or 'any data folder'}", hint=shift.get)


def find_shifted(shift: ShiftedSet, dataset: Dataset, root: Path | None) -> ShiftedArrays:
    """The arrays of `shift` below `root`, the first version that is there; `DataError` where none is or none fits."""
    folder, version, count = locate_shifted(shift, root)
    split = _read_shifted(shift, dataset, folder, version)
    partial = "" if len(split) >= count else f"{len(split)} of {count}"
    return ShiftedArrays(f"{shift.name}-{version}", split, partial)


def _read_shifted(shift: ShiftedSet, dataset: Dataset, folder: Path, version: str) -> Split:
    file = folder / shift.images.format(version=version)
    names = folder / shift.labels.format(version=version)
    images, labels = _array(file, hint=shift.get), _array(names, hint=shift.get)
    wanted = (*dataset.size, dataset.channels)
    if images.dtype != np.uint8 or images.shape[1:] != wanted:
        raise DataError(f"{file} holds {images.dtype} {images.shape}, not uint8 (n, {wanted})", hint=shift.get)
    classes = len(dataset.classes)
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise DataError(f"{names} holds {labels.dtype} {labels.shape}, not {len(images)} labels", hint=shift.get)
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise DataError(f"{names} holds labels {labels.min()}..{labels.max()} of {classes} classes", hint=shift.get)
    return Split(images, labels.astype(np.int64))


def listing_digest(files: Sequence[Path]) -> str:
    """Hex digest of the files' names and sizes, which tells one unpacked archive from another without reading it."""
    lines = [f"{file.parent.name}/{file.name} {file.stat().st_size}" for file in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
