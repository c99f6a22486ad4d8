"""Looking over a folder of corrupted arrays: what each file is by its bytes, and whether its manifest holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fredbench.corruptions.published import EQUAL, published_as
from fredbench.corruptions.severities import KNOWN
from fredbench.foundation.errors import DataError
from fredbench.foundation.files import sha256_of

__all__ = ["ArrayReport", "check_arrays", "corrupted_arrays"]


@dataclass(frozen=True)
class ArrayReport:
    """What was found of one file; `problem` is empty where nothing contradicts it."""

    file: str
    content: str
    identity: str
    problem: str


def corrupted_arrays(folder: Path) -> list[Path]:
    """The `<corruption>.npy` files of a folder in table order, and its labels; empty where it has none."""
    found = [folder / f"{name}.npy" for name in KNOWN if (folder / f"{name}.npy").is_file()]
    labels = folder / "labels.npy"
    return [*found, *([labels] if found and labels.is_file() else [])]


def _manifest_entries(folder: Path) -> Mapping[str, Any]:
    file = folder / "manifest.json"
    if not file.exists():
        return {}
    try:
        return dict(json.loads(file.read_text())["files"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{file} cannot be read as a manifest of corrupted arrays", hint=f"move {file} away") from error


def _content(file: Path) -> str:
    array = np.load(file, mmap_mode="r", allow_pickle=False)
    return f"{array.dtype} {' × '.join(map(str, array.shape))}"


def _report(file: Path, entry: Mapping[str, Any] | None) -> ArrayReport:
    try:
        content, published = _content(file), published_as(file)
    except (OSError, ValueError, EOFError) as error:
        return ArrayReport(file.name, "", "", f"{file.name} cannot be read: {error}")
    identity, problem = f"{EQUAL} {published}" if published else "no published array", ""
    if published is not None and Path(published).name != file.name:
        problem = f"{file.name} holds the published {published}"
    elif entry is not None and entry.get("sha256") != sha256_of(file):
        problem = f"{file.name}: sha256 is not the manifest's"
    return ArrayReport(file.name, content, identity, problem)


def check_arrays(folder: Path) -> list[ArrayReport]:
    """A report a file of a folder that `corrupted_arrays` finds files in; DataError for a manifest that is none."""
    entries = _manifest_entries(folder)
    return [_report(file, entries.get(file.name)) for file in corrupted_arrays(folder)]
