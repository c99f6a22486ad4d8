"""What a suite file says of a shifted test set: data alone, read without the libraries that decode pictures."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ShiftedSet"]


@dataclass(frozen=True)
class ShiftedSet:
    """A test set of other pictures of the same classes, as a pair of .npy arrays; a suite file's `[shift]` table.

    folders: where the arrays lie, relative to the data folder. images, labels: file names with `{version}` in them,
    tried in the order of `versions`. pictures: how many the published set holds, by version. get: how to get it.
    """

    name: str
    folders: tuple[str, ...]
    versions: tuple[str, ...]
    images: str
    labels: str
    pictures: tuple[int, ...]
    get: str
