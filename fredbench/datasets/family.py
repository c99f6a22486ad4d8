"""What is known of a dataset before any file of it is seen: names, statistics, checksums, places."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from fredbench.datasets.core import LIKE, Dataset, Source, Split
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
    reads no pixels. `published` are picture counts by split, `fingerprints` those of the published splits; where only
    other sums of a whole split are known, `recognised` answers what a split of theirs is, or nothing, by its content.
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
    recognised: Callable[[Split], str] | None = None
    remote: tuple[RemoteFile, ...] = ()
    places: tuple[str, ...] = ()
    provide: str = ""
    wnids: tuple[str, ...] = ()
    geometry: Geometry | None = None

    def dataset(self, source: Source, *, name: str = "", geometry: Geometry | None = None) -> Dataset:
        """The dataset read from `source`, called `name` (default: the family's) under `geometry`.

        A source that is `unlike` the published set is called after it all the same, as `NAME-like`.
        """
        if source.unlike:
            return self.like(source)
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
            recognised=self.recognised,
            geometry=geometry,
        )

    def like(self, source: Source) -> Dataset:
        """Other pictures in this set's form: `NAME-like`, unchecked, with statistics of their own."""
        name = f"{self.name}{LIKE}"
        said = f"{name}: in the form of {self.name}, not compared with the published set" + (
            f" ({source.unlike})" if source.unlike else ""
        )
        source = replace(source, notes=(*source.notes, said), files=(), partial={})
        return Dataset(name, name, self.classes, self.channels, self.size, self.flip, source)
