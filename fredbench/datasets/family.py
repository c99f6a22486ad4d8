"""What is known of a dataset before any file of it is seen: names, statistics, checksums, places."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fredbench.datasets.core import Dataset, Source
from fredbench.datasets.resize import Geometry

__all__ = ["Family", "RemoteFile"]


@dataclass(frozen=True)
class RemoteFile:
    """A published file: its name, addresses in order of preference, and its MD5 or SHA-256."""

    name: str
    urls: tuple[str, ...]
    md5: str = ""
    sha256: str = ""


@dataclass(frozen=True, eq=False)
class Family:
    """A known dataset; the registry `DATASETS` holds one for each name, plug-ins add theirs.

    `finders` look below a root folder, each for one form, and answer a `Source` or None; opening a source
    reads no pixels. `published` are picture counts by split, `fingerprints` those of the published splits.
    `places` are the files and folders looked for, relative to the root, in words for messages; `provide` says
    what a user must bring when nothing can be fetched. `geometry` is the default way to one size, where
    pictures come in many.
    """

    name: str
    classes: tuple[str, ...]
    size: tuple[int, int]
    channels: int
    flip: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    published: Mapping[str, int]
    finders: tuple[Callable[[Family, Path, Geometry | None], Source | None], ...]
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    remote: tuple[RemoteFile, ...] = ()
    places: tuple[str, ...] = ()
    provide: str = ""
    wnids: tuple[str, ...] = ()
    geometry: Geometry | None = None

    def dataset(self, source: Source, *, name: str = "", geometry: Geometry | None = None) -> Dataset:
        """The dataset read from `source`, called `name` (default: the family's) under `geometry`."""
        size = self.size if geometry is None else (geometry.size, geometry.size)
        return Dataset(
            name=name or self.name,
            title=self.name,
            classes=self.classes,
            channels=self.channels,
            size=size,
            flip=self.flip,
            source=source,
            normalization=(self.mean, self.std),
            published=self.published,
            known_fingerprints=self.fingerprints,
            geometry=geometry,
        )
