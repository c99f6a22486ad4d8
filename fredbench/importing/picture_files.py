"""Sets that are folders of picture files: a folder a class, or a CSV file that gives each picture its label.

The CSV has a row a picture: a column of file names, relative to its folder, and either a column of labels (class
numbers, or class names) or a column a class with numbers, which are soft labels. Sizes are read from the pictures'
heads and bounded before any is decoded.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8

from fredbench.datasets.decoding import decode_all, picture_sizes
from fredbench.datasets.walking import pictures_below, printable, walk
from fredbench.foundation.errors import ArtefactError, DataError, UsageError
from fredbench.foundation.files import sha256_of
from fredbench.importing.found import Found, bounded

__all__ = ["LABELS", "PICTURES", "decoded", "read_folder"]

PICTURES = ("file_name", "filename", "file", "image", "img", "picture", "path", "name", "image_id", "id")
"""Columns that are taken for the pictures', in this order; case does not matter."""
LABELS = ("label", "labels", "class", "target", "fine_label", "class_id", "class_name", "category", "y")
"""Columns that are taken for the labels'."""
_LARGEST_CSV = 2**26
_LARGEST_PICTURE = 2**27
"""Bytes of one picture's file: uncompressed, 6,600 x 6,600 pixels."""


def decoded(
    names: Sequence[str], read: Callable[[str], bytes], where: Callable[[str], str], path: Path
) -> UInt8[np.ndarray, "n h w 3"]:
    """The pictures that `names` stand for, as RGB, whose heads are looked at before any is decoded."""
    try:
        sizes = picture_sizes(names, read, where)
        odd = np.flatnonzero((sizes != sizes[:1]).any(axis=1))
        if len(odd):
            (height, width), (high, wide) = sizes[0].tolist(), sizes[odd[0]].tolist()
            raise UsageError(
                f"{path} has pictures of several sizes: {where(names[0])} is {width}x{height}, "
                f"{where(names[int(odd[0])])} is {wide}x{high}",
                hint="bring all to the dataset's size first",
            )
        bounded((len(names), *sizes[0].tolist(), 3), str(path))
        return decode_all(names, read, where, None, label=f"reading {path.name}")
    except DataError as error:
        raise UsageError(f"{path}: {error.message}", hint=error.hint) from error


def read_folder(path: Path, columns: tuple[str, ...] = ()) -> Found:
    """The pictures below `path`, by the CSV that lies in it, else by class folders. columns: names of the CSV's."""
    tables = [file for file in sorted(path.glob("*.csv")) if not file.name.startswith(".")]
    holders = walk(path).holders
    if len(tables) > 1:
        named = [file for file in tables if file.stem in {"labels", "metadata"}]
        if len(named) != 1:
            raise UsageError(
                f"{path} holds {len(tables)} CSV files: {', '.join(file.name for file in tables[:4])}",
                hint="give the one with the labels the name metadata.csv",
            )
        tables = named
    if tables:
        rows = _rows(tables[0])
        if columns or _named(rows[0], PICTURES) is not None or not holders:
            return _by_table(path, tables[0], rows, columns)
    if not holders:
        raise UsageError(
            f"{path} holds neither tensors, nor Parquet, nor folders of pictures, nor pictures with a CSV of labels",
            hint="give the folder of the classes, or of the file",
        )
    names = tuple(sorted(holders))
    each = [_pictures(path / name, path) for name in names]
    files = [file for part in each for file in part]
    labels = np.repeat(np.arange(len(names)), [len(part) for part in each])
    ignored = tuple(f"{file.name} is left unread: it has no column of file names" for file in tables)
    return _found(path, files, labels, "a folder of class folders", names, (), ignored)


def _pictures(folder: Path, path: Path) -> list[Path]:
    try:
        return pictures_below(folder)
    except DataError as error:
        raise UsageError(f"{path}: {error.message}", hint=error.hint) from error


def _found(
    path: Path, files: Sequence[Path], labels: Shaped[np.ndarray, "n ..."], form: str, folders: tuple[str, ...],
    more: Sequence[Path], notes: tuple[str, ...],
) -> Found:  # fmt: skip
    """The set of `files`; more: other files that its digest is of."""
    images = decoded([str(file) for file in files], _bytes_of, printable, path)
    digest = hashlib.sha256()
    for file in (*files, *more):
        digest.update(sha256_of(file).encode())
    return Found(images, labels, form, digest.hexdigest(), folders=folders, pictures=True, notes=notes)


def _bytes_of(name: str) -> bytes:
    """The bytes of a picture's file, whose size is looked at first."""
    file = Path(name)
    try:
        bounded((file.stat().st_size,), f"the picture {printable(name)}", _LARGEST_PICTURE, "bytes")
        return file.read_bytes()
    except OSError as error:
        raise ArtefactError(f"{printable(name)} cannot be read: {error}", hint="fetch it anew") from error


# Tables of labels


def _rows(file: Path) -> list[list[str]]:
    """The rows of a CSV, its head first: separated by commas, semicolons or tabs, as the head is."""
    if file.stat().st_size > _LARGEST_CSV:
        raise UsageError(f"{file} has {file.stat().st_size:,} bytes", hint="labels of a set are a line a picture")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{file} cannot be read: {error}", hint="save it as UTF-8") from error
    head = text.partition("\n")[0]
    mark = max(",;\t", key=head.count)
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(), delimiter=mark) if any(row)]
    except csv.Error as error:
        raise ArtefactError(f"{file} cannot be read: {error}", hint="save it anew as CSV") from error
    if len(rows) < 2:
        raise UsageError(f"{file} has no rows below its head", hint="a line a picture: its file name and its label")
    short = next((number for number, row in enumerate(rows) if len(row) != len(rows[0])), None)
    if short is not None:
        raise UsageError(
            f"{file}: row {short} has {len(rows[short])} columns, the head has {len(rows[0])}", hint="mend that row"
        )
    return rows


def _named(head: Sequence[str], names: Sequence[str]) -> int | None:
    """The first column that is called like one of `names`."""
    lower = [name.lower() for name in head]
    return next((lower.index(name) for name in names if name in lower), None)


def _by_table(path: Path, file: Path, rows: list[list[str]], columns: tuple[str, ...]) -> Found:
    head, body = rows[0], rows[1:]
    for name in columns:
        if name not in head:
            raise UsageError(f"{file} has no column {name!r}", hint=f"its columns: {', '.join(head)}")
    picture = head.index(columns[0]) if columns else _named(head, PICTURES)
    if picture is None:
        raise UsageError(
            f"{file} has the columns {', '.join(head[:6])}, none of which is known for file names",
            hint="say which: --columns PICTURE,LABEL",
        )
    files = _files(path, file, [row[picture] for row in body])
    labels, names, notes = _labels(file, head, body, picture, columns[1:])
    return _found(path, files, labels, f"pictures with {file.name}", names, (file,), notes)


def _files(path: Path, file: Path, names: Sequence[str]) -> list[Path]:
    """The picture of each row; whatever picture has no row, or row no picture, is named."""
    there = _pictures(path, path)
    known: dict[str, list[Path]] = {}
    for each in there:
        inside = each.relative_to(path)
        for spelled in {inside.as_posix(), inside.with_suffix("").as_posix(), each.name, each.stem}:
            known.setdefault(spelled, []).append(each)
    found = [known.get(name.removeprefix("./"), []) for name in names]
    one = Counter(files[0] for files in found if files)
    for problem, listed in (
        ("names pictures that are not there", [n for n, files in zip(names, found, strict=True) if not files]),
        ("names what several pictures are called", [n for n, f in zip(names, found, strict=True) if len(f) > 1]),
        ("names pictures twice", [file.relative_to(path).as_posix() for file, times in one.items() if times > 1]),
    ):
        if listed:
            raise UsageError(f"{file} {problem}: {_listed(listed)}", hint="bring them, or mend the rows")
    chosen = [files[0] for files in found]
    unlabelled = sorted(set(there) - set(chosen))
    if unlabelled:
        raise UsageError(
            f"{file} has no label for {_listed([each.relative_to(path).as_posix() for each in unlabelled])}",
            hint="add their rows, or move them away",
        )
    return chosen


def _listed(names: Sequence[str]) -> str:
    told = ", ".join(printable(name) for name in names[:5])
    return f"{told}, … ({len(names):,})" if len(names) > 5 else told


def _labels(
    file: Path, head: Sequence[str], body: Sequence[Sequence[str]], picture: int, asked: Sequence[str]
) -> tuple[Shaped[np.ndarray, "n ..."], tuple[str, ...], tuple[str, ...]]:
    """(labels, names by which they are numbered where the table has them, notes)."""
    rest = [number for number in range(len(head)) if number != picture]
    known = _named([head[number] if number != picture else "" for number in range(len(head))], LABELS)
    if asked:
        chosen = [head.index(name) for name in asked]
    elif known is not None:
        chosen = [known]
    elif len(rest) == 1 or all(_number(cell) is not None for row in body for cell in (row[n] for n in rest)):
        chosen = rest
    else:
        raise UsageError(
            f"{file} has the columns {', '.join(head[:6])}, none of which is known for labels",
            hint="say which: --columns PICTURE,LABEL, or PICTURE and a column for each class",
        )
    left = [head[number] for number in rest if number not in chosen]
    notes = (f"columns left unread: {_listed(left)}",) if left else ()
    cells = [[row[number] for number in chosen] for row in body]
    empty = next((number for number, row in enumerate(cells, 1) if not all(row)), None)
    if empty is not None:
        raise UsageError(f"{file}: row {empty} has no label ({body[empty - 1][picture]})", hint="fill it in")
    if len(chosen) > 1:
        rows = [[_number(cell) for cell in row] for row in cells]
        bad = next((n for n, row in enumerate(rows, 1) if any(value is None for value in row)), None)
        if bad is not None:
            raise UsageError(f"{file}: row {bad} has labels that are no numbers", hint="a number for each class")
        columns = tuple(head[number] for number in chosen)
        return np.asarray(rows, dtype=np.float64), columns, notes
    words = [row[0] for row in cells]
    if all(word.lstrip("-").isdecimal() for word in words):
        return np.asarray([int(word) for word in words], dtype=np.int64), (), notes
    names = tuple(sorted(set(words)))
    return np.asarray([names.index(word) for word in words], dtype=np.int64), names, notes


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
