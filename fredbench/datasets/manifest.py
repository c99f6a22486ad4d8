"""`dataset.json`, the description that lies in every packed folder, read strictly.

Keys: `format` (1), `name`, `picture` (height, width, channels; null where sizes vary), `classes`, optional
`wnids`, `partial` (by split), and `splits`: each with `form` (`webp-sheets` with `grid` rows x columns, or
`zip-jpeg`), `files`, `count`, `labels` and `sha256` by file. What `pack` adds, all optional: `notes`, `flip`,
`source_picture` (height and width of the pictures before they were resized and packed).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fredbench.foundation.errors import DataError

__all__ = ["FORMAT", "MANIFEST", "Manifest", "SplitRecord", "read_manifest"]

FORMAT = 1
MANIFEST = "dataset.json"
_FORMS = ("webp-sheets", "zip-jpeg")


@dataclass(frozen=True)
class SplitRecord:
    """One split of a packed folder, as its description has it."""

    name: str
    form: str
    files: tuple[str, ...]
    grid: tuple[int, int] | None
    count: int
    labels: str
    sha256: Mapping[str, str]


@dataclass(frozen=True)
class Manifest:
    """A packed folder's description."""

    folder: Path
    name: str
    picture: tuple[int, int, int] | None
    classes: tuple[str, ...]
    wnids: tuple[str, ...]
    partial: Mapping[str, str]
    splits: Mapping[str, SplitRecord]
    notes: tuple[str, ...]
    flip: bool | None
    source_picture: tuple[int, int] | None

    @property
    def test_name(self) -> str | None:
        """The split that serves as our test split: `test`, else `val`, else None."""
        return next((name for name in ("test", "val") if name in self.splits), None)


class _Reader:
    """Takes typed values out of parsed JSON; whatever is missing or of another type is a `DataError`."""

    def __init__(self, path: Path, values: Any, at: str = "") -> None:
        self.path, self.at = path, at
        if not isinstance(values, dict):
            raise self.wrong("is not a table of keys")
        self.values: dict[str, Any] = values

    def wrong(self, what: str) -> DataError:
        place = f"{self.path}{f' ({self.at})' if self.at else ''}"
        return DataError(f"{place} {what}", hint="restore the packed folder from its source, or pack the dataset again")

    def get(self, key: str, kind: type | tuple[type, ...], default: Any = ...) -> Any:
        value = self.values.get(key, default)
        if value is ...:
            raise self.wrong(f"lacks the key {key!r}")
        if value is not default and (not isinstance(value, kind) or (isinstance(value, bool) and kind is int)):
            raise self.wrong(f"has {key} = {value!r}, of another type than expected")
        return value

    def strings(self, key: str, default: Any = ...) -> tuple[str, ...]:
        value = self.get(key, list, default)
        if not all(isinstance(item, str) for item in value):
            raise self.wrong(f"has {key} with entries that are not text")
        return tuple(value)

    def sizes(self, key: str, length: int, default: Any = ...) -> Any:
        value = self.get(key, list, default)
        if value is default:
            return value
        if len(value) != length or not all(type(item) is int and item > 0 for item in value):
            raise self.wrong(f"has {key} = {value!r}, not {length} positive whole numbers")
        return tuple(value)

    def table(self, key: str) -> dict[str, str]:
        value = self.get(key, dict, {})
        if not all(isinstance(item, str) for item in value.values()):
            raise self.wrong(f"has {key} with entries that are not text")
        return dict(value)

    def plain_names(self, names: tuple[str, ...]) -> tuple[str, ...]:
        # A description from elsewhere must not lead out of its own folder.
        for name in names:
            if Path(name).name != name or name in {"", ".", ".."}:
                raise self.wrong(f"names {name!r}, which is not a plain file name")
        return names


def _split_record(path: Path, name: str, values: Any) -> SplitRecord:
    reader = _Reader(path, values, f"split {name}")
    form = reader.get("form", str)
    if form not in _FORMS:
        raise reader.wrong(f"has the form {form!r}; known: {', '.join(_FORMS)}")
    count = reader.get("count", int)
    files = reader.plain_names(reader.strings("files"))
    if count < 1 or not files:
        raise reader.wrong("has no pictures")
    return SplitRecord(
        name=name,
        form=form,
        files=files,
        grid=reader.sizes("grid", 2) if form == "webp-sheets" else None,
        count=count,
        labels=reader.plain_names((reader.get("labels", str),))[0],
        sha256=reader.table("sha256"),
    )


def read_manifest(folder: Path) -> Manifest:
    """The description in `folder`; `DataError` when absent, no JSON, of another format or incomplete."""
    path = Path(folder) / MANIFEST
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} holds no {MANIFEST}, so it is no packed dataset",
            hint="name a folder that `fredbench data pack` wrote, or use folder:PATH for a tree of pictures",
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}", hint="restore it from its source, or pack again") from error
    reader = _Reader(path, values)
    if reader.get("format", int) != FORMAT:
        raise reader.wrong(f"is of format {values['format']}, this version reads {FORMAT}")
    splits = {name: _split_record(path, name, record) for name, record in reader.get("splits", dict).items()}
    if "train" not in splits:
        raise reader.wrong("has no train split")
    picture = reader.sizes("picture", 3, None)
    if picture is None and any(split.form == "webp-sheets" for split in splits.values()):
        raise reader.wrong("has sheets, but no picture size")
    return Manifest(
        folder=Path(folder),
        name=reader.get("name", str),
        picture=picture,
        classes=reader.strings("classes"),
        wnids=reader.strings("wnids", []),
        partial=reader.table("partial"),
        splits=splits,
        notes=reader.strings("notes", []),
        flip=reader.get("flip", bool, None),
        source_picture=reader.sizes("source_picture", 2, None),
    )
