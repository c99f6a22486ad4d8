"""What a corrupted set says of itself, and how finished files are told from others.

While a set is being made every finished file has a record in `.records/`; at the end the records become the entries
of `manifest.json`. Entry and record are the same: the file's SHA-256 and a digest of everything that decides its
bytes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8

from fredbench.corruptions.libraries import library_versions
from fredbench.corruptions.published import published_as
from fredbench.corruptions.severities import KNOWN, EngineName, Family, family_of, own_constants
from fredbench.foundation.environment import instruction_sets
from fredbench.foundation.errors import ArtefactError, UsageError
from fredbench.foundation.files import (
    atomic_path,
    canonical_json,
    sha256_of,
    storage_errors,
    write_json,
    write_text,
)
from fredbench.foundation.locks import claimed

__all__ = ["NOTE", "Request", "array_digest", "claim_folder", "finish_set", "intact_files", "notes_on", "write_record"]

_FORMAT = "fredbench corrupted set 1"
_RECORDS = ".records"
NOTE = "NOTE.md"
"""Beside a set that readers of the archive's layout would take for another."""


def array_digest(array: Shaped[np.ndarray, ...]) -> str:
    """Hex SHA-256 of an array's type, shape and values."""
    head = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


@dataclass(frozen=True)
class Request:
    """Everything that decides a set's bytes, apart from the corruptions' names."""

    profile: str
    family: Family
    engine: EngineName
    seed: int
    severities: tuple[int, ...]
    archive_jpeg: bool
    pictures: int
    size: tuple[int, int]
    pictures_sha256: str
    numbers: tuple[int, ...] | None
    """The pictures' numbers in their set, or None for 0, 1, 2, …"""
    frost: str | None
    """Where frost's textures come from, with a digest."""
    versions: Mapping[str, str]

    @staticmethod
    def of(
        pictures: UInt8[np.ndarray, "n h w c"], numbers: Shaped[np.ndarray, " n"], *, profile: str, seed: int,
        severities: Sequence[int], archive_jpeg: bool, engine: EngineName, frost: str | None,
    ) -> Request:  # fmt: skip
        """The request for these pictures."""
        n, h, w, _ = pictures.shape
        plain = np.array_equal(numbers, np.arange(n))
        return Request(
            profile=profile, family=family_of(profile, h, w), engine=engine, seed=seed,
            severities=tuple(severities), archive_jpeg=archive_jpeg, pictures=n, size=(h, w),
            pictures_sha256=array_digest(pictures),
            numbers=None if plain else tuple(int(number) for number in numbers),
            frost=frost, versions=library_versions(engine),
        )  # fmt: skip

    def fingerprint(self, name: str, frost: str | None) -> str:
        """Digest of what decides the file of corruption `name`."""
        decisive = {**dataclasses.asdict(self), "frost": frost if name == "frost" else None, "name": name}
        return hashlib.sha256(canonical_json(decisive).encode()).hexdigest()


@contextlib.contextmanager
def claim_folder(out: Path) -> Iterator[None]:
    """Make folder `out` this process's own while a set is written, cleared of what killed runs left behind.

    UsageError if it holds corrupted sets that did not come from here; StorageError if another process
    writes there for longer than `claimed` waits.
    """
    with claimed(out, "writing a corrupted set to", "wait for it, or choose another --out"):
        foreign = [name for name in KNOWN if (out / f"{name}.npy").exists()]
        if foreign and not (out / "manifest.json").exists() and not (out / _RECORDS).is_dir():
            raise UsageError(
                f"{out} holds {foreign[0]}.npy, which fredbench did not write",
                hint="choose an empty folder for --out",
            )
        found = _read_json(out / "manifest.json")
        if isinstance(found, dict) and found.get("format") not in (None, _FORMAT):
            raise UsageError(f"{out} holds something else: {found['format']}", hint="choose an empty folder for --out")
        with storage_errors(out):
            (out / _RECORDS).mkdir(exist_ok=True)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                # Goes only when empty: records of finished files are what the next run resumes by.
                (out / _RECORDS).rmdir()


def notes_on(request: Request, split: str, total: int, names: Sequence[str]) -> dict[str, str]:
    """What a reader of the archive's layout must know of a set, by kind; empty for all of a test split under all five.

    `total`: how many pictures the split holds. Such readers cut at multiples of the split's length, so a set of fewer
    pictures or severities reads as another without an error.
    """
    found = {}
    rows = f"cut the rows at multiples of {request.pictures}"
    if request.severities != (1, 2, 3, 4, 5):
        levels = ", ".join(map(str, request.severities))
        found["severities"] = (
            f"severity {levels} only, not all five: block 1 is severity {request.severities[0]}; {rows}"
        )
    if request.pictures < total:
        found["pictures"] = f"{request.pictures} of {total} pictures, not the whole {split} split; {rows}"
    if split != "test":
        found["split"] = f"made of the {split} split: nothing may be tested on it that was trained on that"
    if request.profile == "cifar" and (said := own_constants(request.size, names)):
        found["constants"] = said
    return found


def _write_note(out: Path, notes: Mapping[str, str]) -> None:
    """NOTE.md, or none where there is nothing to say."""
    if not notes:
        (out / NOTE).unlink(missing_ok=True)
        return
    lines = "".join(f"- {note}\n" for note in notes.values())
    write_text(out / NOTE, f"# Not a whole published-style set\n\n{lines}\nSee manifest.json.\n")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        # An unreadable record vouches for nothing: its file counts as unfinished.
        return None


def _entries(out: Path) -> dict[str, dict[str, Any]]:
    """Entries of the manifest and, newer, of the records, by corruption."""
    found: dict[str, dict[str, Any]] = {}
    manifest = _read_json(out / "manifest.json")
    if isinstance(manifest, dict) and isinstance(manifest.get("files"), dict):
        for file, entry in manifest["files"].items():
            if isinstance(entry, dict) and "fingerprint" in entry:
                found[Path(file).stem] = entry
    for name in KNOWN:
        entry = _read_json(out / _RECORDS / f"{name}.json")
        if isinstance(entry, dict) and "fingerprint" in entry:
            found[name] = entry
    return found


def _is_intact(path: Path, entry: Mapping[str, Any]) -> bool:
    return path.is_file() and path.stat().st_size == entry.get("bytes") and sha256_of(path) == entry.get("sha256")


def intact_files(out: Path, request: Request, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Entries of the finished files in `out` that are exactly what `request` asks for.

    UsageError if `out` holds a corruption of another request that `names` would not replace: the two must not mix.
    """
    kept: dict[str, dict[str, Any]] = {}
    entries = _entries(out)
    for name in KNOWN:
        path = out / f"{name}.npy"
        if not path.exists():
            continue
        entry = entries.get(name, {})
        frost = request.frost if name in names else entry.get("frost")
        if entry.get("fingerprint") == request.fingerprint(name, frost) and _is_intact(path, entry):
            kept[name] = entry
        elif name not in names:
            raise UsageError(
                f"{out} holds {name}.npy of another set (other pictures, profile, seed, severities or versions)",
                hint="choose another --out, or name that corruption too, to have it written anew",
            )
    return kept


def _identity(file: Path) -> dict[str, str]:
    """Which published array the file is, where it is one."""
    published = published_as(file)
    return {} if published is None else {"published": published}


def write_record(out: Path, request: Request, name: str, digest: str) -> None:
    """Vouch for the finished file of corruption `name`, and note the machine, should other bytes come out elsewhere."""
    frost = request.frost if name == "frost" else None
    entry = {
        "sha256": digest, "bytes": (out / f"{name}.npy").stat().st_size,
        "fingerprint": request.fingerprint(name, frost), "processor": instruction_sets(),
    }  # fmt: skip
    if frost is not None:
        entry["frost"] = frost
    entry |= _identity(out / f"{name}.npy")
    write_json(out / _RECORDS / f"{name}.json", entry)


def finish_set(
    out: Path, request: Request, labels: Shaped[np.ndarray, " rows"], source: Mapping[str, Any],
    notes: Mapping[str, str],
) -> dict[str, Any]:  # fmt: skip
    """Write labels.npy, manifest.json and what `notes` say, drop the records, and return the manifest."""
    with atomic_path(out / "labels.npy") as temporary, open(temporary, "wb") as file:
        np.save(file, labels)
    entries = _entries(out)
    present = [name for name in KNOWN if name in entries and (out / f"{name}.npy").exists()]
    if not present:
        raise ArtefactError(f"{out} lost its files while they were written", hint="run the same command again")
    manifest: dict[str, Any] = {"format": _FORMAT, **json.loads(json.dumps(dataclasses.asdict(request)))}
    del manifest["frost"]
    manifest |= {
        "corruptions": present,
        "rows": int(labels.size),
        "layout": "severity-major: the pictures of the lowest severity first",
        "frost": entries["frost"].get("frost") if "frost" in present else None,
        "whole": not {"severities", "pictures"} & notes.keys(),
        "notes": list(notes.values()),
        "source": dict(source),
        "files": {f"{name}.npy": entries[name] for name in present},
    }
    labels_file = out / "labels.npy"
    manifest["files"]["labels.npy"] = {"sha256": sha256_of(labels_file), **_identity(labels_file)}
    _write_note(out, notes)
    write_json(out / "manifest.json", manifest)
    shutil.rmtree(out / _RECORDS)
    return manifest
