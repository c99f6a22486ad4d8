"""One pass over a folder: every file in it with its fate by name alone, links followed, nothing decoded.

Files are `read` (a picture by its ending, or by its first bytes where it has none), `skipped` or `refused`, the last
two with a reason. Refused are links without target, links that lead back to a folder above them, and folders that
cannot be listed: pictures may be missing there, so that whoever uses the folder must hear of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

from PIL import Image

from fredbench.foundation.errors import DataError

__all__ = ["File", "Node", "endings", "expanded", "formats", "pictures_below", "printable", "refusal", "walk"]

# Pillow's own readers but for stubs without a decoder, moving pictures, data formats and what runs another program.
_NO_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF", "FPX", "MIC"}
_SYSTEM = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__pycache__"}
_SHORT = 64
Fate = Literal["read", "skipped", "refused"]


@cache
def formats() -> tuple[str, ...]:
    """The forms of pictures that are read, by Pillow's names; loads Pillow's readers."""
    Image.init()
    return tuple(sorted(name for name in Image.OPEN if name not in _NO_PICTURES))


@cache
def endings() -> frozenset[str]:
    """Endings of the files that are read, in lower case with their dot."""
    # Pillow's JPEG reader opens MPO, the form of phones and stereo cameras.
    known = {*formats(), "MPO"}
    return frozenset(ending for ending, form in Image.registered_extensions().items() if form in known)


def printable(text: str | Path) -> str:
    """A name as one line of a message: what cannot be printed is written as an escape."""
    line = str(text)
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)


def expanded(path: str) -> Path:
    """The path that a name means: `~` is the user's home, since no shell expands it after `folder:`."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise DataError(f"{printable(path)} names no home: {error}", hint="write the whole path") from error


@dataclass(frozen=True)
class File:
    """A file below a folder: its parts relative to it, its fate by name alone, whether it is reached through a link."""

    parts: tuple[str, ...]
    where: str
    fate: Fate
    why: str = ""
    linked: bool = False

    @property
    def path(self) -> Path:
        """The file itself."""
        return Path(self.where)

    @property
    def name(self) -> str:
        """Its path relative to the folder, fit for a message."""
        return printable("/".join(self.parts))


@dataclass
class Node:
    """A folder as it was walked: its own files, and the folders in it by name (no hidden ones)."""

    parts: tuple[str, ...]
    path: Path
    files: list[File] = field(default_factory=list)
    folders: dict[str, Node] = field(default_factory=dict)
    linked: bool = False

    def below(self) -> Iterator[File]:
        """All files below, sorted by path."""
        yield from sorted(self._unsorted(), key=lambda file: file.parts)

    def _unsorted(self) -> Iterator[File]:
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield from node.files
            waiting += node.folders.values()

    # Counted once, after the walk: every question about the layout asks for them again.
    @cached_property
    def holds(self) -> int:
        """How many files below are pictures, or were refused and may hide some."""
        waiting, total = [self], 0
        while waiting:
            node = waiting.pop()
            total += node.direct
            waiting += node.folders.values()
        return total

    @cached_property
    def direct(self) -> int:
        """How many pictures lie in the folder itself."""
        return sum(file.fate != "skipped" for file in self.files)

    @cached_property
    def holders(self) -> dict[str, Node]:
        """The folders in it that hold pictures, by name in sorted order."""
        return {name: self.folders[name] for name in sorted(self.folders) if self.folders[name].holds}


def _is_picture(path: Path) -> bool:
    """Whether a file without an ending starts as a picture does."""
    try:
        with open(path, "rb") as file:
            head = file.read(_SHORT)
    except OSError:
        return False
    return any(accept is not None and accept(head) is True for _, accept in (Image.OPEN[name] for name in formats()))


def _fate(entry: os.DirEntry[str]) -> tuple[Fate, str]:
    """The fate of what is no folder, by its name and kind."""
    if entry.name.startswith("."):
        return "skipped", "hidden"
    if not os.path.exists(entry.path):
        return "refused", "a link without target"
    if not entry.is_file():
        return "skipped", "no regular file"
    ending = os.path.splitext(entry.name)[1].lower()
    if ending[1:].isdigit():
        ending = ""  # a number or a date with dots
    if ending in endings() or (not ending and _is_picture(Path(entry.path))):
        return "read", ""
    return "skipped", f"its ending {printable(ending)} is of no picture" if ending else "no ending, and no picture"


def _identity(path: str | Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def walk(folder: Path) -> Node:
    """The folder with all that lies below it, in sorted order; raises nothing: what cannot be listed is refused."""
    root = Node((), folder)
    waiting: list[tuple[Node, Node, frozenset[tuple[int, int]], str]] = [(root, root, frozenset(), "")]
    while waiting:
        node, owner, above, hidden = waiting.pop()
        try:
            above |= {_identity(node.path)}
            with os.scandir(node.path) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            why: tuple[Fate, str] = (
                ("skipped", hidden) if hidden else ("refused", f"cannot be listed: {error.strerror}")
            )
            owner.files.append(File(node.parts, str(node.path), *why))
            continue
        for entry in entries:
            parts, linked = (*node.parts, entry.name), node.linked or entry.is_symlink()
            told = _enter(entry, above, hidden)
            if told is not None:
                owner.files.append(File(parts, entry.path, *told, linked=linked))
                continue
            inner = Node(parts, Path(entry.path), linked=linked)
            if hidden or _unseen(entry.name):
                # Counted with the folder that they are hidden in; nothing asks for them by name.
                waiting.append((inner, owner, above, hidden or f"in the hidden or system folder {entry.name}"))
            else:
                owner.folders[entry.name] = inner
                waiting.append((inner, inner, above, ""))
    return root


def _unseen(name: str) -> bool:
    return name.startswith(".") or name in _SYSTEM


def _enter(entry: os.DirEntry[str], above: frozenset[tuple[int, int]], hidden: str) -> tuple[Fate, str] | None:
    """What becomes of an entry; None for a folder that is to be walked."""
    try:
        folder = entry.is_dir()
        if not folder:
            return ("skipped", hidden) if hidden else _fate(entry)
        if (hidden or _unseen(entry.name)) and entry.is_symlink():
            return "skipped", hidden or "a hidden link"
        return ("refused", "a link to a folder above it") if _identity(entry.path) in above else None
    except OSError as error:
        return ("skipped", hidden) if hidden else ("refused", f"cannot be read: {error.strerror}")


def refusal(base: Path, refused: list[File]) -> DataError:
    """One error for all of them: how many of each reason, and the first by name."""
    reasons: dict[str, list[File]] = {}
    for file in refused:
        reasons.setdefault(file.why, []).append(file)
    told = "; ".join(f"{len(files):,}: {why} ({files[0].name})" for why, files in reasons.items())
    return DataError(
        f"{printable(base)} holds what cannot be followed: {told}",
        hint="bring the targets (git annex get, git lfs pull, dvc pull), or remove the links",
    )


def pictures_below(folder: Path) -> list[Path]:
    """The pictures below `folder`, sorted by path; `DataError` for links and folders that cannot be followed."""
    files = list(walk(folder).below()) if folder.is_dir() else []
    refused = [file for file in files if file.fate == "refused"]
    if refused:
        raise refusal(folder, refused)
    return [file.path for file in files if file.fate == "read"]
