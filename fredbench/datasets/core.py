"""The nouns of this package: a split of pictures, a dataset of two splits, and where it was read from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from functools import partial as partial_of
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from fredbench.datasets.listing import Listing
from fredbench.datasets.resize import Geometry
from fredbench.foundation.arrays import as_labels, as_pictures, distinct_names, labels_by_name
from fredbench.foundation.errors import DataError, UsageError
from fredbench.foundation.files import canonical_json, checksum_of

__all__ = [
    "LIKE",
    "Dataset",
    "FileRecord",
    "Source",
    "Split",
    "StoredTest",
    "carve_validation",
    "channel_statistics",
    "hold_out",
    "share_of",
]

HELD_OUT_SHARE = 0.25
LIKE = "-like"
"""What follows a known set's name where other pictures lie in its form."""
_MEND_ARRAYS = "labels are positions in the list of classes, from 0; both splits have pictures of one size"
_MEND = "fetch it again (`fredbench data fetch`), or pack a set of your own under a name of its own"


@dataclass(frozen=True, eq=False, init=False)
class Split:
    """Pictures, uint8 (n, height, width, channels), with labels, int64 (n,); row i of both belongs together.

    Given in another form (floats, tensors, channels first, Pillow's pictures, one-hot rows, see `foundation.arrays`)
    they are brought to this one; labels that are class names stay text until `named` knows the classes. Raises
    `DataError` when there are no pictures or the two lengths differ, `UsageError` for what can be meant in two ways.
    """

    images: UInt8[np.ndarray, "n h w c"]
    labels: Int64[np.ndarray, " n"]

    def __init__(self, images: Any, labels: Any) -> None:
        if not len(images) or (len(images) != len(labels) and np.ndim(labels) == 1):
            raise DataError(
                f"{len(images)} pictures and {len(labels)} labels do not make a split",
                hint="every picture needs its label, and there must be one picture at least",
            )
        object.__setattr__(self, "images", as_pictures(images))
        object.__setattr__(self, "labels", as_labels(labels, len(images)))

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 of shape (as text), pixels in row order, labels (little-endian int64)."""
        digest = hashlib.sha256(canonical_json(list(self.images.shape)).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels.astype("<i8", copy=False)).data)
        return digest.hexdigest()

    def named(self, classes: Sequence[str]) -> Split:
        """The same with labels that are names as positions in `classes`; `UsageError` for one that is none of them."""
        labels = labels_by_name(self.labels, classes)
        return self if labels is self.labels else Split(self.images, labels)

    def class_indices(self, label: int) -> Int64[np.ndarray, " m"]:
        """Positions of the pictures of class `label`, in file order."""
        return np.flatnonzero(self.labels == label)

    def take(self, indices: Int64[np.ndarray, " m"]) -> Split:
        """The pictures at `indices`, in that order, as a split of their own."""
        return Split(self.images[indices], self.labels[indices])


def share_of(count: int, fraction: float) -> int:
    """`fraction` of `count`, rounded to the nearest whole number, halves up."""
    return int(count * fraction + 0.5)


def _last_of_each_class(
    labels: Int64[np.ndarray, " n"], fraction: float, classes: Sequence[str] = (), where: str = ""
) -> Bool[np.ndarray, " n"]:
    """Mask of the last `fraction` of each class in file order; every class keeps one picture on each side."""
    last = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            name = classes[label] if classes else label
            raise DataError(
                f"{where and f'{where}: '}class {name} has one picture, too few to hold any out",
                hint="bring two pictures a class or more, or a test split of its own",
            )
        count = min(max(share_of(len(members), fraction), 1), len(members) - 1)
        last[members[-count:]] = True
    return last


def carve_validation(split: Split, fraction: float = 0.1) -> tuple[Split, Split]:
    """(train, validation): the last `fraction` of each class in file order becomes the validation split.

    Deterministic; both keep the file order. Each class keeps at least one picture on each side. Raises
    `UsageError` for a fraction outside (0, 1), `DataError` for a class of a single picture.
    """
    if not 0 < fraction < 1:
        raise UsageError(f"a validation fraction of {fraction} is not between 0 and 1", hint="0.1 is the rule")
    last = _last_of_each_class(split.labels, fraction)
    return split.take(np.flatnonzero(~last)), split.take(np.flatnonzero(last))


def hold_out(
    labels: Int64[np.ndarray, " n"], classes: Sequence[str] = (), *, where: str = ""
) -> tuple[Int64[np.ndarray, " a"], Int64[np.ndarray, " b"], str]:
    """Positions kept for training, positions held out for testing, and the sentence that says so.

    `classes` names the labels in the error for a class of a single picture, `where` the place of the pictures.

    The last 25 % in file order; where that would take a class away from either side (files sorted by class),
    the last 25 % of each class in file order.
    """
    total, present = len(labels), np.unique(labels)
    count = share_of(total, HELD_OUT_SHARE)
    cut = total - count
    if np.array_equal(np.unique(labels[:cut]), present) and np.array_equal(np.unique(labels[cut:]), present):
        order = np.arange(total)
        note = f"no test split here: the last 25 % in file order ({count} of {total}) are held out for testing"
        return order[:cut], order[cut:], note
    last = _last_of_each_class(labels, HELD_OUT_SHARE, classes, where)
    note = (
        "no test split here: the last 25 % of each class in file order "
        f"({int(last.sum())} of {total}) are held out for testing"
    )
    return np.flatnonzero(~last), np.flatnonzero(last), note


_COUNTED_AT_ONCE = 64


def channel_statistics(
    images: UInt8[np.ndarray, "n h w c"],
) -> tuple[Float64[np.ndarray, " c"], Float64[np.ndarray, " c"]]:
    """Mean and standard deviation over all pixels of each channel, on [0, 1].

    Counted from the histogram of grey levels, so exact and independent of the order of summation.
    """
    levels, channels = np.arange(256, dtype=np.float64) / 255, images.shape[-1]
    counts = np.zeros((channels, 256), dtype=np.int64)
    # numpy counts integers of eight bytes: of all pictures at once a channel would take eight times its own.
    for start in range(0, len(images), _COUNTED_AT_ONCE):
        part = images[start : start + _COUNTED_AT_ONCE]
        counts += np.stack([np.bincount(part[..., c].ravel(), minlength=256) for c in range(channels)])
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ levels
    return mean, np.sqrt((share * (levels - mean[:, None]) ** 2).sum(axis=1))


@dataclass(frozen=True)
class FileRecord:
    """A file of a dataset and the checksum it should have (`algorithm`: md5 or sha256)."""

    path: Path
    algorithm: str
    digest: str


@dataclass(frozen=True, eq=False)
class StoredTest:
    """The test pictures before any geometry of the dataset's, for suites that cut them otherwise.

    sizes: reads (height, width) of each, in the split's order, without decoding. read: the split under another
    geometry; None takes the pictures as they are stored, which needs them to be of one size. resized: they were
    brought to one size before they were stored, so that their framing is no longer the original one. names: reads
    the file name of each, in the split's order; None where the form keeps no names.
    """

    sizes: Callable[[], Int64[np.ndarray, "n 2"]]
    read: Callable[[Geometry | None], Split]
    resized: bool
    names: Callable[[], Sequence[str] | None]


@dataclass(frozen=True, eq=False)
class Source:
    """Where a dataset was found, in which form, and how its splits are read; opening one decodes nothing.

    `partial` says by split what is missing against the published set; `stored_size` is (height, width) of the
    pictures as stored, None where they vary; `files` are those whose checksums are known. `stored_test` reads
    the test pictures anew, where the form holds them at another size than the dataset. `listing` is every file of
    a tree of pictures with its fate. `unlike` says why this cannot be the published set, where that is seen without
    decoding.
    """

    form: str
    path: Path | None
    readers: Mapping[str, Callable[[], Split]]
    partial: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    stored_size: tuple[int, int] | None = None
    files: tuple[FileRecord, ...] = ()
    stored_test: StoredTest | None = None
    listing: Listing | None = None
    unlike: str = ""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Real pictures: a train and a test split, each decoded once, on first use.

    `name` loads it again (`load_dataset(name)`); `title` is the same without a path, fit for artefacts and
    file names. `classes` are in label order, `size` is (height, width), `flip` says whether mirrored pictures
    keep their class. `mean` and `std` are per channel on [0, 1]: the literature's where the set is a known
    one, else those of its training pixels. `partial` is empty for a whole set.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    channels: int
    size: tuple[int, int]
    flip: bool
    source: Source
    normalization: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    published: Mapping[str, int] = field(default_factory=dict)
    known_fingerprints: Mapping[str, str] = field(default_factory=dict)
    recognised: Callable[[Split], str] | None = None
    geometry: Geometry | None = None

    @classmethod
    def from_splits(cls, name: str, train: Split, test: Split, classes: Iterable[Any], *, flip: bool = True) -> Dataset:
        """A dataset of arrays that are in memory already, in any form that `Split` takes.

        classes: names in label order; numbers become text. Everything is checked now, before anything is computed:
        `DataError` for labels outside the classes and splits of different shapes, `UsageError` for names that are
        not known or not distinct.
        """
        names = distinct_names(classes)
        height, width, channels = (int(side) for side in train.images.shape[1:])
        readers = {part: partial_of(split.named, names) for part, split in (("train", train), ("test", test))}
        source = Source("arrays", None, readers, stored_size=(height, width))
        dataset = cls(str(name), str(name), names, channels, (height, width), flip, source)
        for part in readers:
            getattr(dataset, part)
        return dataset

    @cached_property
    def train(self) -> Split:
        """The training split, whole (see `carve_validation`)."""
        return self._read("train")

    @cached_property
    def test(self) -> Split:
        """The test split; only final scoring touches it."""
        return self._read("test")

    @property
    def partial(self) -> dict[str, str]:
        """What is missing against the published set, by split; empty when the set is whole.

        Forms that tell no counts before they are decoded (official batches) say it once the split has been
        read.
        """
        missing = dict(self.source.partial)
        for part, total in self.published.items():
            read = self.__dict__.get(part)
            if read is not None and len(read) < total:
                missing.setdefault(part, f"{len(read)} of {total}")
        return missing

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of this set's numbers must know, such as geometry or a held-out test split."""
        return self.source.notes

    @property
    def stored_size(self) -> tuple[int, int] | None:
        """(height, width) of the pictures as stored, before any resizing; None where they vary."""
        return self.source.stored_size

    @cached_property
    def _statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        if self.normalization is not None:
            return self.normalization
        mean, std = channel_statistics(self.train.images)
        # A channel without contrast would divide by nothing; half a grey level keeps the picture finite.
        return tuple(mean.tolist()), tuple(np.maximum(std, 0.5 / 255).tolist())

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean per channel on [0, 1], as used for normalisation."""
        return self._statistics[0]

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation per channel on [0, 1], as used for normalisation."""
        return self._statistics[1]

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 of the training split's fingerprint, the class names and the picture's shape."""
        return self._fingerprint_of(self.train)

    @cached_property
    def test_fingerprint(self) -> str:
        """The same of the test split; reads it."""
        return self._fingerprint_of(self.test)

    def _fingerprint_of(self, split: Split) -> str:
        parts = [split.fingerprint, list(self.classes), [*self.size, self.channels]]
        return hashlib.sha256(canonical_json(parts).encode()).hexdigest()

    def _read(self, part: str) -> Split:
        split = self.source.readers[part]()
        where = f"the {part} split of {self.name}" + (f" at {self.source.path}" if self.source.path else "")
        shape, wanted = split.images.shape[1:], (*self.size, self.channels)
        mend = _MEND if self.source.path else _MEND_ARRAYS
        if shape != wanted:
            raise DataError(f"{where} has pictures of shape {shape}, not {wanted}", hint=mend)
        low, high = int(split.labels.min()), int(split.labels.max())
        if low < 0 or high >= len(self.classes):
            raise DataError(f"{where} has labels {low}..{high} for {len(self.classes)} classes", hint=mend)
        if problem := self._contradiction(part, split):
            raise DataError(f"{where} is altered or another set: {problem}", hint=self._hint_of_another())
        return split

    def compared(self, part: str) -> bool:
        """Whether the content of a whole split `part` is compared with the published one on reading."""
        return part in self.known_fingerprints or self.recognised is not None

    def _contradiction(self, part: str, split: Split) -> str:
        """What tells a split that has the published count from the published one; empty where nothing does."""
        if len(split) != self.published.get(part):
            return ""
        if known := self.known_fingerprints.get(part):
            if split.fingerprint == known:
                return ""
            prints = f"fingerprint {split.fingerprint[:12]}…, published {known[:12]}…"
            return f"its pixels or labels are not those published ({prints})"
        if self.recognised is not None:
            found = self.recognised(split)
            other = f"it is the {found.rpartition(' ')[2]} split of {found.rpartition(' ')[0]}" if found else ""
            return "" if found == f"{self.title} {part}" else other or "its content has another MD5 than the published"
        return self._altered_files

    @cached_property
    def _altered_files(self) -> str:
        """Official files whose MD5 is not the published one, where nothing else is known of the content."""
        bad = [
            record.path.name
            for record in self.source.files
            if record.algorithm == "md5" and checksum_of(record.path, "md5") != record.digest
        ]
        return f"{', '.join(bad)} {'has' if len(bad) == 1 else 'have'} another MD5 than the published" if bad else ""

    def _hint_of_another(self) -> str:
        if self.source.form == "packed":
            return _MEND
        return (
            f"fetch it again (`fredbench data fetch {self.title}`); name other pictures in its form {self.title}{LIKE}"
        )
