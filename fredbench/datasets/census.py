"""What the pictures of a listed tree are, by their heads: forms, modes, and which of them cannot be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image

from fredbench.datasets.decoding import depth_in_words, in_threads, opened
from fredbench.datasets.depth import NARROW, largest_value
from fredbench.datasets.listing import Listing
from fredbench.datasets.walking import printable
from fredbench.foundation.errors import DataError
from fredbench.foundation.progress import Progress

__all__ = ["Census", "census", "told"]

_COLOURS = {
    "1": "black and white", "L": "grey", "LA": "grey", "La": "grey", "P": "palette", "PA": "palette", "CMYK": "CMYK",
    "RGB": "colour", "RGBA": "colour", "RGBX": "colour", "RGBa": "colour", "YCbCr": "colour",
}  # fmt: skip
_SHOWN = 10


@dataclass(frozen=True)
class Census:
    """Traits of the pictures and how many have each, with the first one's name; faults by reason likewise.

    looked: how many pictures were looked at; those with a fault are refused when they are read.
    """

    looked: int
    traits: dict[str, tuple[int, str]]
    faults: dict[str, tuple[int, str]]

    @property
    def refused(self) -> int:
        """How many pictures cannot be read."""
        return sum(count for count, _ in self.faults.values())


def _traits(data: bytes, picture: Image.Image) -> Iterator[str]:
    yield f"form {picture.format}"
    yield f"mode {_COLOURS.get(picture.mode, picture.mode)}"
    if picture.has_transparency_data:
        yield "with transparency (dropped)"
    if getattr(picture, "n_frames", 1) > 1:
        yield "animated or of several pages (the first picture is read)"
    if picture.getexif().get(ExifTags.Base.Orientation, 1) not in {0, 1}:
        yield "turned by EXIF (read as stored; ?exif=turn turns them)"
    top = largest_value(data, picture)
    if top is None or top > NARROW:
        yield f"of {depth_in_words(top)} (refused; ?depth=scale scales whole numbers)"


def _look(path: Path) -> tuple[list[str], str]:
    """The traits of a picture, or what is wrong with it."""
    shown = printable(path)
    try:
        data = path.read_bytes()
        with opened(data, shown) as picture:
            return list(_traits(data, picture)), ""
    except DataError as error:
        return [], error.message.replace(shown, "").strip()
    except OSError as error:
        return [], f"cannot be read: {error.strerror}"


def census(listing: Listing) -> Census:
    """A look into every picture that the splits of `listing` read."""
    chosen = [entry for entry in listing.entries if entry.split and entry.fate == "read"]
    traits: dict[str, tuple[int, str]] = {}
    faults: dict[str, tuple[int, str]] = {}
    with Progress(f"looking into {listing.base.name}", len(chosen), unit="pictures") as progress:
        for entry, (seen, fault) in zip(chosen, in_threads(_look, [e.path for e in chosen]), strict=True):
            for kind, into in [*((trait, traits) for trait in seen), *([(fault, faults)] if fault else [])]:
                count, first = into.get(kind, (0, entry.name))
                into[kind] = (count + 1, first)
            progress.advance()
    return Census(len(chosen), traits, faults)


def _counted(counts: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{what} {count:,}" for what, count in counts)


def _classes(listing: Listing, split: str) -> str:
    counts = listing.counts(split)
    pairs = [(printable(name), count) for name, count in zip(listing.classes, counts, strict=True)]
    if len(pairs) <= _SHOWN:
        return _counted(pairs)
    half = _SHOWN // 2
    return f"{_counted(pairs[:half])}, ..., {_counted(pairs[-half:])} (fewest {min(counts):,}, most {max(counts):,})"


def told(listing: Listing, found: Census) -> list[str]:
    """What `data verify` says of a tree: classes, splits, endings, forms and modes, what was skipped and why."""
    read = [entry for entry in listing.entries if entry.fate == "read"]
    names = listing.classes
    lines = [f"{len(names)} classes, first {printable(names[0])}, last {printable(names[-1])}"]
    for split, folder in listing.folders.items():
        lines.append(f"{split} split from {printable(folder)}/: {sum(listing.counts(split)):,} pictures: "
                     f"{_classes(listing, split)}")  # fmt: skip
    if listing.missing:
        lines.append(f"test split: {listing.missing}")
    endings = Counter(Path(entry.name).suffix.lower() or "(none)" for entry in read)
    lines.append(f"endings: {_counted(endings.most_common())}")
    for trait, (count, first) in sorted(found.traits.items(), key=lambda item: (-item[1][0], item[0])):
        lines.append(f"{trait}: {count:,}" + ("" if trait.startswith(("form ", "mode ")) else f", first {first}"))
    for fault, (count, first) in found.faults.items():
        lines.append(f"refused: {count:,}, first {first}: {fault}")
    skipped: dict[str, list[str]] = {}
    for entry in listing.entries:
        if entry.fate == "skipped":
            skipped.setdefault(entry.why, []).append(entry.name)
    for why, files in sorted(skipped.items(), key=lambda item: (-len(item[1]), item[0])):
        lines.append(f"skipped: {len(files):,}, first {files[0]}: {why}")
    total, fates = len(listing.entries), listing.fates
    lines.append(
        f"{total:,} files: {fates['read'] - found.refused:,} read, {fates['skipped']:,} skipped, "
        f"{fates['refused'] + found.refused:,} refused; digest of the list {listing.digest}"
    )
    return lines
