"""Trees of pictures: `folder:PATH` in ImageFolder layout, and the reading that ImageNet trees share.

PATH holds `train/<class>/...` with `test/`, `val/` or `validation/` beside it (our test split), or the class
folders themselves. Classes are the sorted folder names, pictures stand in class order, sorted by path inside
a class. Pictures become RGB; they must all be of one size, or the name says how to resize them:
`folder:PATH?size=64` (squashed) or `folder:PATH?size=64&geometry=crop`; `flip=no` where mirrored pictures
change their class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from fredbench.datasets.core import Dataset, Source, Split, hold_out
from fredbench.datasets.decoding import decode_all, picture_sizes, rgb_picture
from fredbench.datasets.family import Family
from fredbench.datasets.manifest import MANIFEST
from fredbench.datasets.resize import Geometry, geometry_from
from fredbench.foundation.errors import DataError, UsageError

__all__ = ["TEST_FOLDERS", "open_folder", "pictures_below", "read_pictures", "stored_sizes"]

TEST_FOLDERS = ("test", "val", "validation")
_ENDINGS = {".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".bmp", ".webp", ".tif", ".tiff", ".gif"}


def pictures_below(folder: Path) -> list[Path]:
    """The picture files below `folder`, by their endings, sorted by path; hidden ones are left out."""
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in _ENDINGS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def _bytes_of(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {name}: {error.strerror}", hint="restore the file, or remove it") from error


def read_pictures(files: Sequence[Path], labels: Sequence[int], geometry: Geometry | None, label: str) -> Split:
    """The pictures in `files`, brought to one size by `geometry`, as a split."""
    names = [str(path) for path in files]
    images = decode_all(names, _bytes_of, str, geometry, label=f"reading {label}")
    return Split(images, np.asarray(labels, dtype=np.int64))


def stored_sizes(files: Sequence[Path]) -> Int64[np.ndarray, "n 2"]:
    """(height, width) of the pictures in `files`, as stored."""
    return picture_sizes([str(path) for path in files], _bytes_of, str)


def _class_folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise DataError(
            f"cannot list {folder}: {error.strerror}",
            hint="name a folder that holds one folder of pictures a class",
        ) from error


def _listed(folder: Path, classes: Sequence[str] | None) -> tuple[list[str], list[Path], list[int]]:
    """Class names, files and labels of a split; `classes` are the training split's, if this is not it."""
    folders = _class_folders(folder)
    names = [path.name for path in folders] if classes is None else list(classes)
    if len(names) < 2:
        raise DataError(
            f"{folder} has {len(names)} class folder{'' if len(names) == 1 else 's'}; two are the least",
            hint="lay the pictures out as PATH/train/<class>/picture.png, or PATH/<class>/picture.png",
        )
    files: list[Path] = []
    labels: list[int] = []
    for path in folders:
        if path.name not in names:
            raise DataError(
                f"{path} is a class that the training split does not have", hint="add it there, or remove it"
            )
        inside = pictures_below(path)
        if not inside:
            raise DataError(
                f"class folder {path} holds no pictures",
                hint=f"put pictures into it, or remove it (endings read: {' '.join(sorted(_ENDINGS))})",
            )
        files += inside
        labels += [names.index(path.name)] * len(inside)
    if not files:
        raise DataError(f"{folder} has no class folders", hint="lay the pictures out as <class>/picture.png in it")
    return names, files, labels


def _tree_source(base: Path, geometry: Geometry | None, size: tuple[int, int], label: str) -> tuple[list[str], Source]:
    """Class names and lazily read splits of the tree at `base`; `size` is (height, width) as stored."""
    tests = [name for name in TEST_FOLDERS if (base / name).is_dir()]
    whole = not (base / "train").is_dir()
    names, files, labels = _listed(base if whole else base / "train", None)
    notes: list[str] = [] if geometry is None else [geometry.describe()]
    readers: dict[str, Callable[[], Split]]
    if not whole and tests:
        _, test_files, test_labels = _listed(base / tests[0], names)
        readers = {
            "train": partial(read_pictures, files, labels, geometry, f"{label} train"),
            "test": partial(read_pictures, test_files, test_labels, geometry, f"{label} {tests[0]}"),
        }
        if tests[0] != "test":
            notes.append(f"the folder {tests[0]}/ is the test split")
        notes += [f"the folder {name}/ is not used" for name in tests[1:]]
    else:
        kept, held, note = hold_out(np.asarray(labels, dtype=np.int64))
        notes.append(note)

        @cache
        def both() -> Split:
            return read_pictures(files, labels, geometry, label)

        def part(rows: Int64[np.ndarray, " m"]) -> Split:
            return both().take(rows)

        readers = {"train": partial(part, kept), "test": partial(part, held)}
    return names, Source("picture folders", base, readers, notes=tuple(notes), stored_size=size)


def open_folder(path: str, options: Mapping[str, str], families: Callable[[str], Family | None]) -> Dataset:
    """`folder:PATH`, with its options; file names are read now, pictures later."""
    base = Path(path)
    name = f"folder:{path}" + ("?" + "&".join(f"{k}={v}" for k, v in options.items()) if options else "")
    if not base.is_dir():
        raise DataError(f"{base} is not a folder", hint="write folder:PATH with a folder of class folders")
    if (base / MANIFEST).is_file():
        raise DataError(f"{base} is a packed dataset, not a tree of pictures", hint=f"load it as packed:{path}")
    flip = options.get("flip", "yes")
    if flip not in {"yes", "no"}:
        raise UsageError(f"{name} does not understand flip={flip}", hint="write flip=yes or flip=no")
    shaping = {key: value for key, value in options.items() if key != "flip"}
    geometry = geometry_from(shaping, None, where=name)
    folders = _class_folders(base / "train" if (base / "train").is_dir() else base)
    first = next((file for folder in folders for file in pictures_below(folder)[:1]), None)
    if first is None:
        raise DataError(
            f"{base} holds no pictures in class folders",
            hint="lay them out as PATH/train/<class>/picture.png, or PATH/<class>/picture.png",
        )
    width, height = rgb_picture(_bytes_of(str(first)), str(first)).size
    title = base.resolve().name or "folder"
    names, source = _tree_source(base, geometry, (height, width), title)
    size = (geometry.size, geometry.size) if geometry else (height, width)
    return Dataset(name, title, tuple(names), 3, size, flip == "yes", source)
