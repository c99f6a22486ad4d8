"""Trees of pictures: `folder:PATH` in ImageFolder layout, and the reading that ImageNet trees share.

Which folders are the splits `layout` says, which files are read `listing`. Classes are the sorted folder names, or
those of `?classes=FILE` in its order; pictures stand in class order, sorted by path inside a class. Pictures become
RGB; they must all be of one size, or the name says how to resize them: `folder:PATH?size=64` (squashed) or
`folder:PATH?size=64&geometry=crop`. More options: `flip=no` where mirrored pictures change their class,
`train=A&test=B` for the folders of the splits, `depth=scale` for 16 bits a channel, `exif=turn` for pictures that
are to be turned as their camera says.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from fredbench.datasets.core import Dataset, Source, Split, hold_out
from fredbench.datasets.decoding import AS_STORED, Reading, decode_all, picture_sizes, rgb_picture
from fredbench.datasets.family import Family
from fredbench.datasets.listing import Listing, list_tree, refuse_options
from fredbench.datasets.manifest import MANIFEST
from fredbench.datasets.resize import Geometry, geometry_from
from fredbench.datasets.walking import expanded, printable
from fredbench.foundation.errors import DataError, UsageError

__all__ = ["open_folder", "read_pictures", "stored_sizes"]

_OWN = {"flip", "train", "test", "classes", "depth", "exif"}
_FOLDER_HINT = "write folder:PATH with a folder of class folders"


def _bytes_of(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"cannot read {printable(name)}: {reason}", hint="restore the file, or remove it") from error


def read_pictures(
    files: Sequence[Path],
    labels: Sequence[int],
    geometry: Geometry | None,
    label: str,
    reading: Reading = AS_STORED,
) -> Split:
    """The pictures in `files`, brought to 8-bit RGB by `reading` and to one size by `geometry`, as a split."""
    names = [str(path) for path in files]
    images = decode_all(names, _bytes_of, printable, geometry, label=f"reading {label}", reading=reading)
    return Split(images, np.asarray(labels, dtype=np.int64))


def stored_sizes(files: Sequence[Path]) -> Int64[np.ndarray, "n 2"]:
    """(height, width) of the pictures in `files`, as stored."""
    return picture_sizes([str(path) for path in files], _bytes_of, printable)


def _tree_source(listing: Listing, geometry: Geometry | None, reading: Reading, size: tuple[int, int]) -> Source:
    """Lazily read splits of a listed tree; `size` is (height, width) as stored."""
    label = listing.base.resolve().name or "folder"
    files, labels = listing.pictures("train")
    notes = [] if geometry is None else [geometry.describe()]
    partial_: dict[str, str] = {}
    readers: dict[str, Callable[[], Split]]
    if "test" in listing.folders:
        tests = listing.pictures("test")
        readers = {
            "train": partial(read_pictures, files, labels, geometry, f"{label} train", reading),
            "test": partial(read_pictures, *tests, geometry, f"{label} {listing.folders['test']}", reading),
        }
        if listing.missing:
            partial_["test"] = listing.missing
        notes += listing.notes
    else:
        kept, held, note = hold_out(
            np.asarray(labels, dtype=np.int64), listing.classes, where=printable(str(listing.base))
        )
        notes += [note, *listing.notes]

        @cache
        def both() -> Split:
            return read_pictures(files, labels, geometry, label, reading)

        readers = {"train": lambda: both().take(kept), "test": lambda: both().take(held)}
    return Source("picture folders", listing.base, readers, partial_, tuple(notes), size, listing=listing)


def _choice(options: Mapping[str, str], key: str, values: tuple[str, ...], name: str) -> str:
    """The value of an option among `values`, whose first is the default."""
    value = options.get(key, values[0])
    if value not in values:
        raise UsageError(
            f"{name} does not understand {key}={value}", hint=f"write {' or '.join(f'{key}={v}' for v in values)}"
        )
    return value


def _named(path: str, options: Mapping[str, str]) -> str:
    return f"folder:{path}" + ("?" + "&".join(f"{k}={v}" for k, v in options.items()) if options else "")


def _folder(path: str) -> Path:
    """The folder that a name means."""
    base = expanded(path)
    try:
        there = base.is_dir()
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{printable(path)} is not a folder: {reason}", hint=_FOLDER_HINT) from error
    if not there:
        raise DataError(f"{printable(base)} is not a folder", hint=_FOLDER_HINT)
    return base


def open_folder(path: str, options: Mapping[str, str], families: Callable[[str], Family | None]) -> Dataset:
    """`folder:PATH`, with its options; file names are read now, pictures later."""
    base, name = _folder(path), _named(path, options)
    if (base / MANIFEST).is_file():
        raise DataError(f"{base} is a packed dataset, not a tree of pictures", hint=f"load it as packed:{path}")
    flip = _choice(options, "flip", ("yes", "no"), name)
    reading = Reading(
        scale=_choice(options, "depth", ("refuse", "scale"), name) == "scale",
        turn=_choice(options, "exif", ("stored", "turn"), name) == "turn",
    )
    refuse_options(options, name)
    geometry = geometry_from({k: v for k, v in options.items() if k not in _OWN}, None, where=name)

    def written(changes: Mapping[str, str], inside: str) -> str:
        others = {key: value for key, value in options.items() if key not in {"train", "test"}}
        return shlex.quote(_named(f"{path.rstrip('/')}/{inside}" if inside else path, {**others, **changes}))

    listing = list_tree(base, options, written)
    first = listing.pictures("train")[0][0]
    width, height = rgb_picture(_bytes_of(str(first)), printable(first), reading).size
    source = _tree_source(listing, geometry, reading, (height, width))
    size = (geometry.size, geometry.size) if geometry else (height, width)
    title = base.resolve().name or "folder"
    return Dataset(name, title, listing.classes, 3, size, flip == "yes", source)
