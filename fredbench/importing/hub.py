"""Image datasets of the Hugging Face Hub, read from disk: Parquet of encoded pictures and labels.

A file, or a folder with `data/train-00000-of-00001.parquet` (or several such) and a card. Pictures are a struct of
`bytes` and `path`, or plain bytes; labels are numbers, whose class names the schema's metadata key `huggingface` holds,
or lists of numbers. What the footer says of rows and bytes is bounded before anything is read, and so are the sizes
that pictures have by their heads.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from fredbench.datasets.decoding import opened
from fredbench.foundation.arrow import parquet
from fredbench.foundation.errors import ArtefactError, DataError, UsageError
from fredbench.importing.found import MOST_LABELS, MOST_VALUES, Found, bounded, bounded_list, described_by
from fredbench.importing.picture_files import LABELS, PICTURES, decoded

__all__ = ["hub_files", "read_hub"]

SOFT = ("soft_label", "soft_labels", "probabilities", "logits")
"""Columns that are taken for soft labels, before those of class numbers."""
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})")
_BATCH = 64


def hub_files(path: Path) -> list[Path]:
    """The Parquet files of a folder's training split, in order; none where it holds no Parquet."""
    files = [file for part in (path, path / "data") for file in sorted(part.glob("*.parquet")) if file.is_file()]
    splits: dict[str, list[Path]] = {}
    for file in files:
        shard = _SHARD.fullmatch(file.stem)
        splits.setdefault(shard[1] if shard else file.stem, []).append(file)
    if not splits:
        return []
    name = "train" if "train" in splits else next(iter(splits))
    if len(splits) > 1 and name != "train":
        raise UsageError(f"{path} holds Parquet of {', '.join(sorted(splits))}", hint="name one of the files")
    shards = [_SHARD.fullmatch(file.stem) for file in splits[name]]
    wanted = max((int(shard[3]) for shard in shards if shard), default=len(shards))
    if len(shards) != wanted:
        raise ArtefactError(
            f"{path} holds {len(shards)} of the {wanted} files of {name}", hint="fetch all of them, or name one"
        )
    return splits[name]


def read_hub(files: Sequence[Path], path: Path, columns: tuple[str, ...] = ()) -> Found:
    """The set in Parquet `files`. columns: what the columns of pictures and of labels are called, if not as usual."""
    data: list[bytes] = []
    labels: list[Any] = []
    heads: list[_Head] = []
    for file in files:
        heads.append(_rows_of(file, columns, data, labels))
    head = heads[0]
    if any(other != head for other in heads[1:]):
        raise ArtefactError(f"the files of {path} differ in their columns", hint="fetch all of one version")
    if not data:
        raise UsageError(f"{path} has no rows", hint="fetch it anew")
    numbers = [str(number) for number in range(len(data))]
    images = decoded(numbers, lambda name: data[int(name)], lambda name: f"row {name}", path)
    array = _labels(labels, head.label, path) if head.label else None
    left = sorted(set(head.names) - {head.picture, head.label, "label"})
    notes = (f"columns left unread: {', '.join(left)}",) if left else ()
    found = Found(images, array, "Parquet of encoded pictures", "", folders=head.classes, pictures=True, notes=notes)
    return _described(found, head.description, path)


@dataclass(frozen=True)
class _Head:
    """What a file says before its rows: its columns, which hold pictures and labels, the classes, our description."""

    names: tuple[str, ...]
    picture: str
    label: str | None
    classes: tuple[str, ...]
    description: bytes | None


def _rows_of(file: Path, columns: tuple[str, ...], data: list[bytes], labels: list[Any]) -> _Head:
    """Append the pictures and labels of a file, a few rows at a time, so that no more is unpacked than is bounded."""
    _, pq = parquet()
    with _reading(file), pq.ParquetFile(file) as table:
        head = _head(table.schema_arrow, columns, file)
        _bounded_footer(table.metadata, file)
        _bounded_labels(table.metadata, head.label, file)
        wanted = [head.picture, *([head.label] if head.label else [])]
        stored, told = sum(map(len, data)), 0
        for batch in table.iter_batches(_BATCH, columns=wanted):
            pictures = [
                _bytes(value, f"{file}, row {number}")
                for number, value in enumerate(batch.column(head.picture).to_pylist(), len(data))
            ]
            if not data and pictures:
                _bounded_pictures(pictures[0], table.metadata.num_rows, file)
            stored += sum(map(len, pictures))
            bounded((stored,), f"{file}, the bytes of its pictures,")
            data += pictures
            if head.label:
                # What the footer says of a column may be untrue, and a dictionary of names is small in the file.
                told += batch.column(head.label).nbytes
                bounded((told,), f"{file}, its {head.label},", 8 * MOST_LABELS, "bytes")
                labels += batch.column(head.label).to_pylist()
    return head


def _bounded_pictures(first: bytes, rows: int, file: Path) -> None:
    """Refuse as many pictures of the first one's size as the footer claims, where that is above the bound."""
    try:
        with opened(first, f"{file}, row 0") as picture:
            bounded((rows, picture.height, picture.width, 3), str(file))
    except DataError as error:
        raise UsageError(error.message, hint=error.hint) from error


def _head(schema: Any, columns: tuple[str, ...], file: Path) -> _Head:
    metadata = schema.metadata or {}
    features = _features(metadata.get(b"huggingface", b"{}"), file)
    picture, label = _columns(schema, features, columns, file)
    # Rows of numbers have no names of their own: their columns are numbered as the class numbers beside them.
    named = next(
        (features[name]["names"] for name in (label or "label", "label") if "names" in features.get(name, {})), ()
    )
    names = tuple(map(str, schema.names))
    return _Head(names, picture, label, tuple(map(str, named)), metadata.get(b"fredbench"))


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[None]:
    arrow, _ = parquet()
    try:
        yield
    except (arrow.ArrowException, OSError, EOFError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise ArtefactError(
            f"{file} cannot be read: {first}", hint="the file is cut or altered; fetch it anew"
        ) from error


def _bounded_footer(metadata: Any, file: Path) -> None:
    """Refuse what the footer claims above the bound: rows, or bytes once unpacked."""
    bounded((metadata.num_rows,), f"{file}, its rows,")
    claimed = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    if claimed > MOST_VALUES:
        raise UsageError(
            f"{file} claims {claimed:,} bytes, above {MOST_VALUES:,}",
            hint="this is no set that one machine distils into; give a part of it",
        )


def _bounded_labels(metadata: Any, label: str | None, file: Path) -> None:
    """Refuse labels of more numbers or bytes than the bound, by what the footer says of their column."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    parts = [group.column(number) for group in groups for number in range(group.num_columns)]
    # The leaf of a list is called `label.list.element`.
    parts = [part for part in parts if part.path_in_schema.partition(".")[0] == label]
    where = f"{file}, its {label},"
    bounded((sum(part.num_values for part in parts),), where, MOST_LABELS)
    words = any(part.physical_type == "BYTE_ARRAY" for part in parts)
    most = MOST_LABELS if words else 8 * MOST_LABELS
    bounded((sum(part.total_uncompressed_size for part in parts),), where, most, "bytes")


def _features(text: bytes, file: Path) -> dict[str, Any]:
    """What the schema's metadata says of each column; empty where it says nothing."""
    try:
        said = json.loads(text)
        found = said["info"]["features"] if isinstance(said, Mapping) and "info" in said else {}
        return {str(name): feature for name, feature in found.items() if isinstance(feature, Mapping)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(f"{file} has unreadable metadata: {error}", hint="write it anew") from error


def _columns(
    schema: Any, features: Mapping[str, Any], asked: tuple[str, ...], file: Path
) -> tuple[str, str | None]:  # fmt: skip
    """(column of the pictures, column of the labels or None)."""
    names = [str(name) for name in schema.names]
    for name in asked:
        if name not in names:
            raise UsageError(f"{file} has no column {name!r}", hint=f"its columns: {', '.join(names)}")
    typed = [name for name in names if features.get(name, {}).get("_type") == "Image" or _is_bytes(schema, name)]
    usual = [name for word in ("image", "img", *PICTURES) for name in typed if name.lower() == word]
    picture = asked[0] if asked else next(iter(usual or typed), None)
    if picture is None or not _is_bytes(schema, picture):
        raise UsageError(
            f"{file} has the columns {', '.join(names)}, and {picture or 'none of them'} holds no bytes of pictures",
            hint="pictures are a struct of bytes and path, or bytes; say which: --columns PICTURE,LABEL",
        )
    classes = [name for name in names if features.get(name, {}).get("_type") == "ClassLabel"]
    usual = [name for word in (*SOFT, *LABELS) for name in names if name.lower() == word]
    label = asked[1] if len(asked) > 1 else next(iter(usual), None)
    if label is None and len(classes) > 1:
        raise UsageError(
            f"{file} has several columns of classes: {', '.join(classes)}", hint="say which: --columns PICTURE,LABEL"
        )
    return picture, label or next(iter(classes), None)


def _is_bytes(schema: Any, name: str) -> bool:
    arrow, _ = parquet()
    kind = schema.field(name).type
    if arrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    return bool(arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind))


def _bytes(value: Any, where: str) -> bytes:
    data = value.get("bytes") if isinstance(value, Mapping) else value
    if data is None:
        inside = value.get("path") if isinstance(value, Mapping) else None
        raise UsageError(
            f"{where} holds no picture" + (f", only the path {inside!r}" if inside else ""),
            hint="write the pictures' bytes into the table",
        )
    return bytes(data)


def _labels(values: Sequence[Any], name: str, path: Path) -> Shaped[np.ndarray, "n ..."]:
    """Class numbers, names, or rows of numbers."""
    missing = next((number for number, value in enumerate(values) if value is None), None)
    if missing is not None:
        raise UsageError(f"{path}, row {missing}: no {name}", hint="every picture has its label")
    bounded_list(values, f"{path}, its {name},")
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise UsageError(f"{path} has rows of {name} of several lengths", hint="a number for each class") from error
    if array.dtype.kind not in "fiubU":
        raise UsageError(f"{path} has labels in {name} that are no numbers", hint="say which: --columns PICTURE,LABEL")
    return array


def _described(found: Found, text: bytes | None, path: Path) -> Found:
    """`found` with what an export of ours says of itself, but for the values, which are grey levels here."""
    if text is None:
        return found
    told = described_by(found, text.decode("utf-8", "replace"), path)
    white = told.normalization.get("kind") == "zca"
    note = "the set was distilled whitened: these are its pictures with that undone, in 8 bits" if white else ""
    return replace(told, mean=(), std=(), normalization={}, classes=(), notes=(*told.notes, *([note] if note else [])))
