"""Packed folders: lossless WebP contact sheets or ZIPs of JPEGs, labels, a description with checksums.

Every file's SHA-256 is compared on every load: for CIFAR-10's 84 MB that costs a twentieth of a second beside
a second of decoding, and no altered file passes.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from functools import partial as partial_of
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from fredbench.datasets.core import Dataset, FileRecord, Source, Split, StoredTest, hold_out
from fredbench.datasets.decoding import decode_all, in_threads, picture_sizes, rgb_picture
from fredbench.datasets.family import Family
from fredbench.datasets.manifest import MANIFEST, Manifest, SplitRecord, read_manifest
from fredbench.datasets.resize import Geometry, geometry_from
from fredbench.datasets.walking import expanded
from fredbench.foundation.errors import DataError, UsageError
from fredbench.foundation.files import sha256_of
from fredbench.foundation.progress import Progress

__all__ = ["find_packed", "open_packed", "packed_labels", "packed_source", "read_packed_split"]

_MEND = "restore it from its source: `fredbench data verify` lists every bad file"


def _altered(path: Path) -> DataError:
    return DataError(f"{path} is altered or cut off: its SHA-256 is not the one in {MANIFEST}", hint=_MEND)


def _checked_bytes(folder: Path, name: str, sha256: Mapping[str, str]) -> bytes:
    """The bytes of a file, compared with its recorded checksum where there is one."""
    path = folder / name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", hint=_MEND) from error
    if name in sha256 and hashlib.sha256(data).hexdigest() != sha256[name]:
        raise _altered(path)
    return data


def packed_labels(folder: Path, record: SplitRecord) -> Int64[np.ndarray, " n"]:
    """The labels of a split, int64 (n,), in file order."""
    path = folder / record.labels
    try:
        labels = np.load(io.BytesIO(_checked_bytes(folder, record.labels, record.sha256)), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"cannot read labels from {path}: {error}", hint=_MEND) from error
    if labels.shape != (record.count,) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{path} holds {labels.dtype} of shape {labels.shape}, not {record.count} whole numbers",
            hint=_MEND,
        )
    whole: Int64[np.ndarray, " n"] = labels.astype(np.int64)
    return whole


def _read_sheets(manifest: Manifest, record: SplitRecord) -> UInt8[np.ndarray, "n h w c"]:
    """Contact sheets, `grid` rows x columns row-major, to (n, h, w, c); the last may be filled in part."""
    if manifest.picture is None or record.grid is None:
        raise DataError(f"{manifest.folder / MANIFEST} lacks the picture size or the grid of its sheets", hint=_MEND)
    (height, width, channels), (rows, columns) = manifest.picture, record.grid
    each = rows * columns
    if len(record.files) != -(-record.count // each) or channels not in {1, 3}:
        raise DataError(
            f"{manifest.folder / MANIFEST}: {len(record.files)} sheets of {rows}x{columns} do not hold "
            f"{record.count} pictures of {channels} channels",
            hint=_MEND,
        )
    images = np.empty((record.count, height, width, channels), dtype=np.uint8)

    def fill(item: tuple[int, str]) -> int:
        number, name = item
        path = manifest.folder / name
        sheet = np.asarray(rgb_picture(_checked_bytes(manifest.folder, name, record.sha256), str(path)))
        if sheet.shape != (rows * height, columns * width, 3):
            raise DataError(f"{path} is {sheet.shape[1]}x{sheet.shape[0]}, not a {rows}x{columns} sheet", hint=_MEND)
        pictures = sheet.reshape(rows, height, columns, width, 3).swapaxes(1, 2)[..., :channels]
        part = images[number * each : (number + 1) * each]
        part[:] = pictures.reshape(each, height, width, channels)[: len(part)]
        return len(part)

    with Progress(f"reading {manifest.name} {record.name}", record.count, unit="pictures") as progress:
        for done in in_threads(fill, enumerate(record.files)):
            progress.advance(done)
    return images


@contextlib.contextmanager
def _zipped(manifest: Manifest, record: SplitRecord) -> Iterator[tuple[list[str], Callable[[str], bytes]]]:
    """The pictures in a split's ZIPs, in the order of the archives' own listing: their keys, and how to read one."""
    archives: list[zipfile.ZipFile] = []
    place: dict[str, tuple[zipfile.ZipFile, str]] = {}
    try:
        for file in record.files:
            path = manifest.folder / file
            if file in record.sha256 and sha256_of(path) != record.sha256[file]:
                raise _altered(path)
            archives.append(zipfile.ZipFile(path))
            for name in archives[-1].namelist():
                if not name.endswith("/"):
                    place[f"{path}:{name}"] = (archives[-1], name)
        if len(place) != record.count:
            raise DataError(
                f"the {record.name} ZIPs of {manifest.folder} hold {len(place)} pictures, not {record.count}",
                hint=_MEND,
            )
        yield list(place), lambda key: place[key][0].read(place[key][1])
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(f"cannot read the {record.name} archives of {manifest.folder}: {error}", hint=_MEND) from error
    finally:
        for archive in archives:
            archive.close()


def _read_zips(manifest: Manifest, record: SplitRecord, geometry: Geometry | None) -> UInt8[np.ndarray, "n h w 3"]:
    with _zipped(manifest, record) as (keys, read):
        return decode_all(keys, read, str, geometry, label=f"reading {manifest.name} {record.name}")


def _stored_sizes(manifest: Manifest, name: str) -> Int64[np.ndarray, "n 2"]:
    """(height, width) of the pictures of split `name`; of one picture's size where the description has one."""
    record = manifest.splits[name]
    if manifest.picture is not None:
        return np.tile(np.array(manifest.picture[:2], dtype=np.int64), (record.count, 1))
    with _zipped(manifest, record) as (keys, read):
        return picture_sizes(keys, read, str)


def _stored_names(manifest: Manifest, name: str) -> list[str] | None:
    """File names of the pictures of split `name`; None for sheets, which have none."""
    if manifest.splits[name].form != "zip-jpeg":
        return None
    with _zipped(manifest, manifest.splits[name]) as (keys, _):
        return [key.rpartition(":")[2].rpartition("/")[2] for key in keys]


def read_packed_split(manifest: Manifest, name: str, geometry: Geometry | None) -> Split:
    """Split `name` of a packed folder; pictures of another size than `geometry` asks for pass through it."""
    record = manifest.splits[name]
    labels = packed_labels(manifest.folder, record)
    if record.form == "zip-jpeg":
        return Split(_read_zips(manifest, record, geometry), labels)
    images = _read_sheets(manifest, record)
    if geometry is not None and images.shape[1:3] != (geometry.size, geometry.size):
        images = geometry.apply_array(images)
    return Split(images, labels)


def packed_source(
    manifest: Manifest,
    geometry: Geometry | None,
    label_map: Int64[np.ndarray, " k"] | None = None,
    published: Mapping[str, int] | None = None,
) -> Source:
    """The splits of a packed folder, lazily.

    `label_map[packed label]` is the label under which a picture is known to us; with it, pictures are put in
    class order (file order inside a class), as a tree of class folders gives them. Without a test split the
    last 25 % in file order are held out. A count below the `published` one makes a split partial even if the
    folder is silent.
    """
    partial = dict(manifest.partial)

    def order(name: str) -> Int64[np.ndarray, " n"] | slice:
        if label_map is None:
            return slice(None)
        return np.argsort(label_map[packed_labels(manifest.folder, manifest.splits[name])], kind="stable")

    def names(name: str, rows: Int64[np.ndarray, " m"] | slice) -> list[str] | None:
        found = _stored_names(manifest, name)
        return None if found is None else [found[row] for row in np.arange(len(found))[order(name)][rows]]

    def whole(name: str, shaping: Geometry | None) -> Split:
        split = read_packed_split(manifest, name, shaping)
        if label_map is None:
            return split
        rows = order(name)
        return Split(split.images[rows], label_map[split.labels][rows])

    readers: dict[str, Callable[[], Split]] = {"train": partial_of(whole, "train", geometry)}
    notes = list(manifest.notes)
    test = manifest.test_name
    resized = manifest.picture is not None
    if test is not None:
        readers["test"] = partial_of(whole, test, geometry)
        sizes = partial_of(_stored_sizes, manifest, test)
        stored = StoredTest(
            lambda: sizes()[order(test)], partial_of(whole, test), resized, partial_of(names, test, slice(None))
        )
        if test != "test" and test in partial:
            partial["test"] = partial.pop(test)
    else:
        labels = packed_labels(manifest.folder, manifest.splits["train"])
        if label_map is not None:
            labels = np.sort(label_map[labels], kind="stable")
        kept, held, note = hold_out(labels, where=str(manifest.folder))
        notes.append(note)
        partial["test"] = f"absent; {len(held)} training pictures are held out"
        # Both sides come out of one file, which is decoded once.
        both = cache(partial_of(whole, "train"))
        readers = {"train": lambda: both(geometry).take(kept), "test": lambda: both(geometry).take(held)}
        stored = StoredTest(
            lambda: _stored_sizes(manifest, "train")[order("train")][held],
            lambda shaping: both(shaping).take(held),
            resized,
            partial_of(names, "train", held),
        )
    for name, total in (published or {}).items():
        record = manifest.splits.get(test or "" if name == "test" else name)
        if record is not None and record.count < total:
            partial.setdefault(name, f"{record.count} of {total}")
    before = manifest.source_picture or (manifest.picture[:2] if manifest.picture else None)
    used = [manifest.splits[name] for name in ("train", test) if name]
    files = tuple(FileRecord(manifest.folder / f, "sha256", digest) for r in used for f, digest in r.sha256.items())
    return Source("packed", manifest.folder, readers, partial, tuple(notes), before, files, stored)


def find_packed(family: Family, root: Path, geometry: Geometry | None) -> Source | None:
    """A packed folder of `family` below `root` (ROOT/<name>, or ROOT itself)."""
    for folder in (root / family.name, root):
        if (folder / MANIFEST).is_file():
            manifest = read_manifest(folder)
            if manifest.name == family.name:
                return family_source(family, manifest, geometry)
    return None


def family_source(family: Family, manifest: Manifest, geometry: Geometry | None) -> Source:
    """A packed folder read as the known set that it claims to be; `DataError` when it contradicts that."""
    path, mend = manifest.folder / MANIFEST, "give the set another name there and load it as packed:PATH"
    label_map = None
    if family.wnids:
        if sorted(manifest.wnids) != sorted(family.wnids) or len(manifest.classes) != len(manifest.wnids):
            raise DataError(f"{path} is called {family.name}, but its wnids are not that set's", hint=mend)
        label_map = np.array([family.wnids.index(wnid) for wnid in manifest.wnids])
    elif manifest.classes != family.classes:
        raise DataError(f"{path} is called {family.name}, but its classes are not that set's", hint=mend)
    wanted = (*family.size, family.channels)
    if geometry is None and manifest.picture != wanted:
        raise DataError(
            f"{path} is called {family.name}, but its pictures are {manifest.picture}, not {wanted}",
            hint=mend,
        )
    source = packed_source(manifest, geometry, label_map, family.published)
    return replace(source, notes=(*_geometry_notes(manifest, geometry), *source.notes))


def _geometry_notes(manifest: Manifest, geometry: Geometry | None) -> tuple[str, ...]:
    if geometry is None:
        return ()
    if manifest.picture is None:
        return (f"pictures stored at varying sizes, {geometry.describe()}",)
    stored = f"pictures stored at {manifest.picture[1]}x{manifest.picture[0]} pixels"
    if manifest.picture[:2] == (geometry.size, geometry.size):
        return (stored,)
    return (f"{stored}, {geometry.describe()}",)


def open_packed(path: str, options: Mapping[str, str], families: Callable[[str], Family | None]) -> Dataset:
    """`packed:PATH`: under a known name the known set, with its class order; else a set of its own."""
    manifest = read_manifest(expanded(path))
    name = f"packed:{path}" + ("?" + "&".join(f"{k}={v}" for k, v in options.items()) if options else "")
    family = families(manifest.name)
    geometry = geometry_from(options, family.geometry if family else None, where=name)
    if family is not None:
        if geometry is not None and family.geometry is None:
            raise UsageError(f"{family.name} has one size only; {name} cannot change it", hint="leave out the options")
        return family.dataset(family_source(family, manifest, geometry), name=name, geometry=geometry)
    if geometry is None and manifest.picture is None:
        raise DataError(
            f"the pictures of {manifest.folder} vary in size",
            hint=f"say how to resize them, such as {name}?size=64",
        )
    source = packed_source(manifest, geometry)
    source = replace(source, notes=(*_geometry_notes(manifest, geometry), *source.notes))
    size = (geometry.size, geometry.size) if geometry else (manifest.picture or (0, 0, 0))[:2]
    sheets = all(record.form == "webp-sheets" for record in manifest.splits.values())
    channels = manifest.picture[2] if manifest.picture and sheets else 3
    flip = True if manifest.flip is None else manifest.flip
    return Dataset(name, manifest.name, manifest.classes, channels, size, flip, source)
