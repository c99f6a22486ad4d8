"""Corrupted pictures that a user has, published ones or others: arrays in the layout of CIFAR-10-C."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Int64, Shaped, UInt8

from fredbench.datasets.arrangement import disorder
from fredbench.datasets.core import Dataset
from fredbench.foundation.errors import DataError
from fredbench.foundation.files import sha256_of

__all__ = ["PublishedArrays", "array_in", "listing_digest"]


_MEND = "complete the folder or move it away"


def array_in(file: Path, *, mapped: bool = False, hint: str) -> Shaped[np.ndarray, ...]:
    """The array of an `.npy` file, never unpickled; `mapped` leaves it on disk. `DataError` with `hint` otherwise."""
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
    """`<corruption>.npy`, five blocks of the test split's pictures in rising severity, as CIFAR-10-C has them.

    Whether they are the published ones is told by their checksums elsewhere; here, whether they fit the test split.
    """

    folder: Path
    dataset: Dataset

    def check(self, corruption: str) -> None:
        """`DataError` where the rows are not the test pictures in their order, by labels, pixels or channels."""
        self.check_labels()
        if found := disorder(corruption, self._rows(corruption), self.dataset.test.images):
            raise DataError(
                f"{self.folder / f'{corruption}.npy'} {found}",
                hint="bring the rows into the order of the test split, severity by severity, RGB; or move the folder "
                "away to have the pictures made",
            )

    def check_labels(self) -> None:
        """`DataError` where the folder's labels are not the test split's: the rows would be other pictures."""
        file, own = self.folder / "labels.npy", self.dataset.test.labels
        if not file.is_file():
            return
        found = array_in(file, hint=_MEND)
        if found.ndim != 1 or len(found) not in (len(own), 5 * len(own)) or (found.reshape(-1, len(own)) != own).any():
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
        count = len(self.dataset.test)
        chosen: np.ndarray = np.ascontiguousarray(self._rows(corruption)[(severity - 1) * count + numbers])
        return chosen

    def _rows(self, corruption: str) -> UInt8[np.ndarray, "m h w c"]:
        """The whole array of one corruption, left on disk."""
        images = self.dataset.test.images
        file = self.folder / f"{corruption}.npy"
        rows = array_in(file, mapped=True, hint=_MEND)
        expected = (5 * len(images), *images.shape[1:])
        if rows.shape != expected or rows.dtype != np.uint8:
            raise DataError(
                f"{file} holds {rows.dtype} {rows.shape}, not uint8 {expected}", hint="fetch the archive again"
            )
        return rows


def listing_digest(files: Sequence[Path]) -> str:
    """Hex digest of the files' names and sizes, which tells one unpacked archive from another without reading it."""
    lines = [f"{file.parent.name}/{file.name} {file.stat().st_size}" for file in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
