"""The list of a tree of pictures: every file below it with its fate, its split and its class, and what is said of them.

Nothing is decoded here: what is `read` by its name may still turn out to be no picture, which then is an error that
names it (`decoding`); `data verify` looks into all of them (`census`).
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from fredbench.datasets.layout import Layout, Written, find_layout, refuse_splits_inside
from fredbench.datasets.walking import Fate, File, Node, endings, printable, refusal, walk
from fredbench.foundation.errors import DataError, UsageError
from fredbench.foundation.files import canonical_json

__all__ = ["Entry", "Listing", "list_tree", "read_class_list", "refuse_options", "refuse_unnamed_splits"]

# Files that lie beside pictures in published sets, and are none: they are skipped without a note.
_COMPANIONS = {
    "", ".csv", ".db", ".doc", ".gz", ".html", ".ini", ".json", ".log", ".mat", ".md", ".npy", ".pdf", ".py", ".sh",
    ".tar", ".tsv", ".txt", ".xml", ".yaml", ".yml", ".zip",
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A file of the tree: its name below it, its fate and why; split and class number where it belongs to one."""

    name: str
    path: Path
    fate: Fate
    why: str = ""
    split: str = ""
    label: int = -1
    linked: bool = False


@dataclass(frozen=True, eq=False)
class Listing:
    """Every file of the tree at `base`, in the order of their names, and the classes in label order.

    folders: by split, the folder that it is read from, relative to `base` (`.` for `base` itself); no `test` where
    test pictures are held out. notes: what a reader of numbers must know. typed: the name to type so that the splits
    are named, where they were told by names other than `train/`.
    """

    base: Path
    classes: tuple[str, ...]
    entries: tuple[Entry, ...]
    folders: Mapping[str, str]
    notes: tuple[str, ...] = ()
    typed: str = ""

    def pictures(self, split: str) -> tuple[list[Path], list[int]]:
        """Files and labels of a split, in class order, by path inside a class."""
        held = sorted(
            (entry for entry in self.entries if entry.split == split and entry.fate == "read"),
            key=lambda entry: entry.label,
        )
        return [entry.path for entry in held], [entry.label for entry in held]

    def counts(self, split: str) -> list[int]:
        """Pictures by class of a split."""
        found = Counter(entry.label for entry in self.entries if entry.split == split and entry.fate == "read")
        return [found[label] for label in range(len(self.classes))]

    @property
    def fates(self) -> dict[str, int]:
        """How many files are read, skipped and refused; their sum is the number of files present."""
        found = Counter(entry.fate for entry in self.entries)
        return {fate: found[fate] for fate in ("read", "skipped", "refused")}

    @property
    def missing(self) -> str:
        """Which classes the test split has no pictures of, in words; empty for none, or without a test split."""
        if "test" not in self.folders:
            return ""
        counts = self.counts("test")
        absent = [printable(name) for name, count in zip(self.classes, counts, strict=True) if not count]
        return f"no pictures of {len(absent)} of {len(self.classes)} classes: {_some(absent)}" if absent else ""

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 over every file's name, fate, reason, split and class, and the classes."""
        rows = [[e.name, e.fate, e.why, e.split, e.label] for e in self.entries]
        return hashlib.sha256(canonical_json([list(map(printable, self.classes)), rows]).encode()).hexdigest()


def _some(names: Sequence[str], most: int = 5) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def same_name(name: str) -> str:
    """A name as it is compared: file systems write accented letters in one piece or in two."""
    return unicodedata.normalize("NFC", name)


def read_class_list(path: str, base: Path) -> list[str]:
    """The class names in a file, one a line; lines that start with # and what follows ` #` are comments.

    Looked for as given, then below `base`. Raises `DataError` for a file that is missing, empty or names one twice.
    """
    places = [Path(path).expanduser(), base / path]
    file = next((place for place in places if place.is_file()), None)
    hint = "a class list holds one class folder's name a line; # starts a comment"
    if file is None:
        raise DataError(f"the class list {printable(path)} is not there, nor below {printable(base)}", hint=hint)
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the class list {printable(file)}: {error}", hint=hint) from error
    names = [line.partition(" #")[0].strip() for line in lines if not line.lstrip().startswith("#")]
    names = [name for name in names if name]
    twice = [name for name, count in Counter(map(same_name, names)).items() if count > 1]
    if twice or len(names) < 2:
        fault = f"names {printable(twice[0])} twice" if twice else f"names {len(names)} classes; two are the least"
        raise DataError(f"the class list {printable(file)} {fault}", hint=hint)
    return names


def list_tree(base: Path, options: Mapping[str, str], written: Written) -> Listing:
    """The list of the tree at `base` under the options `train`, `test` and `classes` of its name (see `find_layout`).

    Raises `DataError` for links and folders that cannot be followed, for a class without pictures, for fewer than two
    classes, and for a class that the training split does not have, each with its path.
    """
    root = walk(base)
    lost = [file for file in root.files if file.fate == "refused"]
    if lost:
        raise refusal(base, lost)
    layout = find_layout(root, options, written)
    wanted = read_class_list(options["classes"], base) if "classes" in options else None
    for node in filter(None, (layout.train, layout.test)):
        _refuse_lost(node, wanted)
    return _Assignment(root, layout, wanted).listing(options.get("classes", ""))


def _refuse_lost(node: Node, wanted: Sequence[str] | None) -> None:
    """`DataError` for what cannot be followed in a split; under a class list, in the classes that it names."""
    picked = None if wanted is None else set(map(same_name, wanted))
    start = len(node.parts)
    lost = [
        file
        for file in node.below()
        if file.fate == "refused" and (picked is None or same_name(file.parts[start]) in picked)
    ]
    if lost:
        raise refusal(node.path, [replace(file, parts=file.parts[start:]) for file in lost])


class _Assignment:
    """Splits and classes handed out to the files of a tree."""

    def __init__(self, root: Node, layout: Layout, wanted: Sequence[str] | None) -> None:
        self.root, self.layout, self.wanted = root, layout, wanted
        self.given: dict[tuple[str, ...], tuple[str, int]] = {}
        self.notes: list[str] = list(layout.notes)
        self.classes = self._training()
        if layout.test is not None:
            self._testing(layout.test)

    def _class_folders(self, node: Node) -> dict[str, Node]:
        """The class folders of a split by their name; the other split is none of them."""
        return {
            name: folder
            for name, folder in sorted(node.folders.items())
            if folder not in (self.layout.train, self.layout.test)
        }

    def _training(self) -> tuple[str, ...]:
        folders = self._class_folders(self.layout.train)
        if self.wanted is not None:
            known = {same_name(name): name for name in folders}
            absent = [printable(name) for name in self.wanted if same_name(name) not in known]
            if absent:
                raise DataError(
                    f"{printable(self.layout.train.path)} has no folder for {len(absent)} of the "
                    f"{len(self.wanted)} classes listed: {_some(absent)}",
                    hint=f"folders there: {_some([printable(name) for name in folders], 10)}",
                )
            folders = {known[same_name(name)]: folders[known[same_name(name)]] for name in self.wanted}
        if len(folders) < 2:
            count = f"{len(folders)} class folder{'' if len(folders) == 1 else 's'}"
            raise DataError(
                f"{printable(self.layout.train.path)} has {count}; two are the least",
                hint="lay the pictures out as PATH/train/<class>/picture.png, or PATH/<class>/picture.png",
            )
        if not self.layout.asked:
            refuse_splits_inside(folders.values())
        for label, folder in enumerate(folders.values()):
            self._take(folder, "train", label)
        return tuple(folders)

    def _take(self, folder: Node, split: str, label: int) -> None:
        files = list(folder.below())
        if not any(file.fate == "read" for file in files):
            why = Counter(file.why for file in files).most_common(1)
            skipped = f" ({why[0][1]:,} files skipped: {why[0][0]})" if why else ""
            raise DataError(
                f"class folder {printable(folder.path)} holds no pictures{skipped}",
                hint=f"put pictures into it, or remove it (endings read: {' '.join(sorted(endings()))})",
            )
        self.given |= {file.parts: (split, label) for file in files if file.fate == "read"}

    def _testing(self, node: Node) -> None:
        labels = {same_name(name): label for label, name in enumerate(self.classes)}
        if self.layout.truth is not None:
            self._told(node, labels)
            return
        folders = self._class_folders(node)
        for name, folder in folders.items():
            if same_name(name) in labels:
                self._take(folder, "test", labels[same_name(name)])
            elif self.wanted is None:
                raise DataError(
                    f"{printable(folder.path)} is a class that the training split does not have",
                    hint="add it there, or remove it",
                )
        if not any(split == "test" for split, _ in self.given.values()):
            raise DataError(
                f"{printable(node.path)} has no class folders", hint="lay the pictures out as <class>/picture.png in it"
            )

    def _told(self, node: Node, labels: Mapping[str, int]) -> None:
        """Pictures lying flat, by the file that tells their classes."""
        truth = self.layout.truth
        assert truth is not None
        files = [file for file in node.below() if file.fate == "read"]
        told = {file.parts: truth.classes.get(file.path.stem) for file in files}
        self.given |= {
            parts: ("test", labels[same_name(name)])
            for parts, name in told.items()
            if name is not None and same_name(name) in labels
        }
        if not any(split == "test" for split, _ in self.given.values()):
            raise DataError(
                f"{printable(truth.file)} tells no class of the {len(files)} pictures in {printable(node.path)}",
                hint="bring the file and the pictures of one publication, or move the folder away",
            )
        untold = sum(name is None for name in told.values())
        absent = len(set(truth.classes) - {file.path.stem for file in files})
        if untold:
            self.notes.append(f"{untold:,} pictures in {node.path.name}/ are not in {truth.file.name} and not read")
        if absent:
            self.notes.append(f"{absent:,} pictures that {truth.file.name} names are not there")

    def listing(self, class_list: str) -> Listing:
        """The list, once all is handed out."""
        entries = tuple(self._entry(file) for file in self.root.below())
        if class_list:
            every = len(self._class_folders(self.layout.train))
            self.notes.append(
                f"{len(self.classes)} of {every} classes, in the order of {printable(Path(class_list).name)}"
            )
        folders = {"train": "/".join(self.layout.train.parts) or "."}
        if self.layout.test is not None:
            folders["test"] = "/".join(self.layout.test.parts) or "."
        notes = (*self.notes, *_surprises(entries), *_twice(entries))
        return Listing(self.root.path, self.classes, entries, folders, notes, self.layout.typed)

    def _entry(self, file: File) -> Entry:
        if file.parts in self.given:
            return Entry(file.name, file.path, file.fate, file.why, *self.given[file.parts], linked=file.linked)
        if file.fate == "skipped":
            return Entry(file.name, file.path, "skipped", file.why)
        return Entry(file.name, file.path, "skipped", self._left_out(file))

    def _left_out(self, file: File) -> str:
        """Why a picture, or what cannot be followed, is not of any split."""
        top = file.parts[0]
        if top in self.layout.unused and len(file.parts) > 1:
            return "in a folder that is not used"
        for node in filter(None, (self.layout.test, self.layout.train)):
            if file.parts[: len(node.parts)] == node.parts:
                listed = self.wanted is not None and len(file.parts) > len(node.parts) + 1
                return "of a class that is not listed" if listed else "not in a class folder"
        return "outside the splits"


def _surprises(entries: Iterable[Entry]) -> Iterator[str]:
    """Notes on skipped files that somebody may have taken for pictures: by reason, their number and the first."""
    reasons: dict[str, list[str]] = {}
    for entry in entries:
        if entry.fate != "skipped":
            continue
        ending = Path(entry.name).suffix.lower()
        quiet = entry.why in {"hidden", "in a folder that is not used", "of a class that is not listed"}
        if not quiet and not _hidden(entry.name):
            if entry.why.startswith(("its ending", "no ending")) and ending in _COMPANIONS:
                continue
            reasons.setdefault(entry.why, []).append(entry.name)
    for why, names in reasons.items():
        yield f"{len(names):,} file{'s are' if len(names) > 1 else ' is'} not read: {why} ({names[0]})"


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _twice(entries: Sequence[Entry]) -> Iterator[str]:
    """A note where one and the same file is a picture of two classes, or of both splits, through links."""
    seen: dict[Path, Entry] = {}
    clashes = []
    if not any(entry.linked for entry in entries):
        return
    for entry in entries:
        if entry.fate == "read":
            first = seen.setdefault(entry.path.resolve(), entry)
            if (first.split, first.label) != (entry.split, entry.label):
                clashes.append((first, entry))
    if clashes:
        one, two = clashes[0]
        yield f"{len(clashes):,} pictures are read twice, in two classes or splits ({one.name} is {two.name})"


def refuse_unnamed_splits(listing: Listing, *, of: str) -> None:
    """`UsageError` where a run would stand on splits that names of folders told: it keeps the name for good."""
    if listing.typed:
        splits = ", ".join(f"{split} from {printable(folder)}/" for split, folder in listing.folders.items())
        raise UsageError(
            f"the splits of {printable(of)} are told by names of folders ({splits}); a run wants them named",
            hint=f"if they are right, write {listing.typed}",
        )


def refuse_options(options: Mapping[str, str], name: str) -> None:
    """`UsageError` for an empty `train`, `test` or `classes`."""
    for key in ("train", "test", "classes"):
        if key in options and not options[key]:
            raise UsageError(f"{name}: {key}= names nothing", hint=f"write {key}=NAME, or leave it out")
