"""Shifted test sets: other pictures of a dataset's classes, as pairs of arrays (CIFAR-10.1)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fredbench.datasets.core import Dataset, Split
from fredbench.datasets.official import array_in
from fredbench.datasets.shifted_set import ShiftedSet
from fredbench.foundation.errors import DataError

__all__ = ["ShiftedArrays", "find_shifted", "locate_shifted"]


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
    images, labels = array_in(file, hint=shift.get), array_in(names, hint=shift.get)
    wanted = (*dataset.size, dataset.channels)
    if images.dtype != np.uint8 or images.shape[1:] != wanted:
        raise DataError(f"{file} holds {images.dtype} {images.shape}, not uint8 (n, {wanted})", hint=shift.get)
    classes = len(dataset.classes)
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise DataError(f"{names} holds {labels.dtype} {labels.shape}, not {len(images)} labels", hint=shift.get)
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise DataError(f"{names} holds labels {labels.min()}..{labels.max()} of {classes} classes", hint=shift.get)
    return Split(images, labels.astype(np.int64))
