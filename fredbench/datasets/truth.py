"""Classes of pictures that lie flat in one folder, from the file that the publisher tells them in.

Tiny ImageNet: `val_annotations.txt` (name, WordNet id, box; tabs between) beside the pictures. Kaggle's ImageNet:
`LOC_val_solution.csv`. ILSVRC-2012's development kit: `ILSVRC2012_validation_ground_truth.txt`, a number a line for
`ILSVRC2012_val_00000001.JPEG` and on. Those numbers are the kit's own order, not that of the sorted WordNet ids; the
kit's `meta.mat` (or the later `map_clsloc.txt`) says which is which, and without it nothing is guessed. A list of
WordNet ids in the same order is taken as well.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fredbench.foundation.errors import DataError

__all__ = ["Truth", "flat_truth"]

_GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_SOLUTION, _ANNOTATIONS = "LOC_val_solution.csv", "val_annotations.txt"
_KITS = ("", "data", "devkit/data", "ILSVRC2012_devkit_t12/data", "ILSVRC2012_devkit_t3/data", "ILSVRC/devkit/data")
_WNID = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class Truth:
    """A file that tells classes, or why it cannot: file names without their ending and their classes."""

    file: Path
    classes: Mapping[str, str]
    fault: str = ""


def _unreadable(file: Path, error: object, wanted: str) -> DataError:
    return DataError(f"cannot read {file}: {error}", hint=f"bring the published file, which holds {wanted}")


def _text(file: Path, wanted: str) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise _unreadable(file, error, wanted) from error


def _annotations(file: Path) -> Truth:
    rows = (
        line.split("\t") for line in _text(file, "a picture and its WordNet id a line").splitlines() if line.strip()
    )
    classes = {}
    for row in rows:
        if len(row) < 2:
            raise _unreadable(file, f"{row[0]!r} has no second column", "a picture and its WordNet id a line")
        classes[Path(row[0].strip()).stem] = row[1].strip()
    return Truth(file, classes)


def _solution(file: Path) -> Truth:
    wanted = "the columns ImageId,PredictionString"
    try:
        with open(file, newline="", encoding="utf-8-sig") as text:
            return Truth(
                file,
                {row["ImageId"]: (row["PredictionString"] or "").partition(" ")[0] for row in csv.DictReader(text)},
            )
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise _unreadable(file, repr(error), wanted) from error


def _meta(file: Path) -> dict[str, str]:
    """WordNet ids by number from the kit's meta.mat, a struct array with ILSVRC2012_ID and WNID."""
    from scipy.io import loadmat

    try:
        synsets: Any = loadmat(file, squeeze_me=True, variable_names=["synsets"])["synsets"]
        pairs = zip(synsets["ILSVRC2012_ID"].ravel(), synsets["WNID"].ravel(), strict=True)
        return {str(int(number)): str(wnid) for number, wnid in pairs}
    # scipy ends in many kinds of error over a damaged file.
    except Exception as error:
        raise _unreadable(file, " ".join(str(error).split()) or type(error).__name__, "the struct `synsets`") from error


def _numbers(kit: Path) -> dict[str, str]:
    """WordNet ids by the kit's number, from what lies beside the ground truth; empty where nothing does."""
    if (kit / "meta.mat").is_file():
        return _meta(kit / "meta.mat")
    for name in ("map_clsloc.txt", "../map_clsloc.txt"):
        if (kit / name).is_file():
            rows = (line.split() for line in _text(kit / name, "WordNet id, number, name a line").splitlines())
            return {row[1]: row[0] for row in rows if len(row) > 1}
    return {}


def _ground_truth(file: Path) -> Truth:
    lines = _text(file, "a number or a WordNet id a line").split()
    if all(_WNID.fullmatch(line) for line in lines):
        told = lines
    else:
        numbers = _numbers(file.parent)
        if not numbers:
            fault = "its numbers are the development kit's, and its meta.mat is not beside it"
            return Truth(file, {}, fault)
        unknown = next((line for line in lines if line not in numbers), None)
        if unknown is not None:
            raise _unreadable(file, f"meta.mat has no class {unknown}", "numbers 1 to 1000")
        told = [numbers[line] for line in lines]
    return Truth(file, {f"ILSVRC2012_val_{number:08d}": wnid for number, wnid in enumerate(told, 1)})


def _places(base: Path, folder: Path) -> Iterator[tuple[Path, Callable[[Path], Truth]]]:
    for place in dict.fromkeys((folder, folder.parent)):
        yield place / _ANNOTATIONS, _annotations
    above = list(dict.fromkeys((folder, folder.parent, base, *base.resolve().parents[:4])))
    yield from ((place / _SOLUTION, _solution) for place in above)
    yield from ((place / kit / _GROUND_TRUTH, _ground_truth) for place in above for kit in _KITS)


def flat_truth(base: Path, folder: Path) -> Truth | None:
    """What tells the classes of pictures lying flat in `folder`, a split of the tree at `base`; None for nothing.

    A file whose numbers cannot be read as classes comes with a `fault`. Raises `DataError` for a damaged one.
    """
    first = None
    for file, read in _places(base, folder):
        if file.is_file():
            truth = read(file)
            if not truth.fault:
                return truth
            first = first or truth
    return first
