"""What was found in a file or folder of a distilled set, and what its readers share: names, bounds, files beside it."""

from __future__ import annotations

import contextlib
import json
import math
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from fredbench.foundation.errors import ArtefactError, UsageError

__all__ = [
    "IMAGE_WORD",
    "MOST_LABELS",
    "MOST_VALUES",
    "RESAVE",
    "Found",
    "beside",
    "bounded",
    "bounded_list",
    "described_by",
    "labels_beside",
    "rate_of",
    "reading_of",
    "table",
    "told_labels",
    "wanted_names",
]

MOST_VALUES = 2**30
"""Numbers that one array of a set may hold: 4 GiB as float32, a hundred times the largest published 32 px set."""
MOST_LABELS = 2**26
"""Numbers, or bytes of names, that the labels of a set may hold: a thousand classes for 67,000 pictures."""
RESAVE = "re-save it as plain tensors: torch.save({'images': images, 'labels': labels}, 'set.pt')"
IMAGE_WORD = re.compile(r"images?(?=[^a-z]|$)", re.IGNORECASE)
_IMAGES = ("images", "image", "x", "data", "pictures")
_LABELS = ("labels", "label", "y", "targets", "target")
_RATES = ("lr", "syn_lr", "step_size")


@dataclass(frozen=True)
class Found:
    """Pictures and labels of a set, as stored.

    images: (N, a, b, c), channels first or last, any number type. labels: (N,) or (N, classes), None where the file has
    none. form: the container, in words. folders: names of the class folders, by which `labels` are numbered. mean, std:
    of the pixels, where the file says so; normalization: all that an export of ours says of that. classes: names in
    label order, where the file lists them. step_size: a learned rate beside the pictures. student: how students of an
    export of ours are trained (network, students, recipe) and its preset. paired: stored as a bare list of two, as
    IDC's undecoded canvases are. whitened: files beside it show that its run was a whitened one. pictures: read from
    picture files, as RGB whatever they are. label_form: what rows of numbers are, as an export of ours says
    (`probability`, `centred`). brain: pictures that are bfloat16 in the file, and float32 here.
    notes: what a user should know of the reading.
    """

    images: Shaped[np.ndarray, ...]
    labels: Shaped[np.ndarray, ...] | None
    form: str
    sha256: str
    folders: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    classes: tuple[str, ...] = ()
    step_size: float | None = None
    student: Mapping[str, Any] = field(default_factory=dict)
    normalization: Mapping[str, Any] = field(default_factory=dict)
    paired: bool = False
    whitened: bool = False
    pictures: bool = False
    label_form: str = ""
    brain: bool = False
    notes: tuple[str, ...] = field(default=())


@contextlib.contextmanager
def reading_of(path: Path) -> Iterator[None]:
    """Turn what a cut or altered file raises into an `ArtefactError` that names `path`."""
    try:
        yield
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, RuntimeError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise ArtefactError(
            f"{path} cannot be read: {first}", hint="the file is cut or altered; fetch it anew"
        ) from error


def bounded(shape: Sequence[int], where: str, most: int = MOST_VALUES, unit: str = "numbers") -> None:
    """`UsageError` for what claims more than `most` of a `unit`."""
    if math.prod(shape) > most:
        raise UsageError(
            f"{where} claims {math.prod(shape):,} {unit}, above {most:,}",
            hint="this is no set that one machine distils into; give a part of it",
        )


def bounded_list(values: Any, where: str) -> None:
    """`UsageError` for lists that NumPy would make an array above the bound of, or that lie more than two deep.

    All names of an array are as wide as its longest, and a list may hold the same list many times.
    """
    rows = [values] if not isinstance(values, (list, tuple)) else values
    inner = [row for row in rows if isinstance(row, (list, tuple))]
    bounded((len(rows) + sum(map(len, inner)),), where, MOST_LABELS)
    if any(isinstance(value, (list, tuple, Mapping)) for row in inner for value in row):
        raise UsageError(f"{where} holds lists in lists in lists where numbers belong", hint=RESAVE)
    widest = max((len(value) for row in (rows, *inner) for value in row if isinstance(value, (str, bytes))), default=0)
    bounded((len(rows) + sum(map(len, inner)), 4 * widest), where, MOST_LABELS, "bytes of names")


def table(arrays: Mapping[str, Any], path: Path, form: str, others: Sequence[str] = ()) -> Found:
    """A set whose pictures and labels stand under names."""
    images = named_first(arrays, _IMAGES)
    if images is None:
        there = ", ".join(sorted(map(str, [*arrays, *others]))) or "nothing"
        raise UsageError(
            f"{path} holds {there}, and no pictures by a name that is known",
            hint=f"call them {' or '.join(_IMAGES[:2])}, and the labels {_LABELS[0]}",
        )
    rate, classes = named_first(arrays, _RATES), arrays.get("classes")
    mean, std = (per_channel(arrays[key]) if {"mean", "std"} <= arrays.keys() else () for key in ("mean", "std"))
    labels = named_first(arrays, _LABELS)
    return Found(
        np.asarray(images), None if labels is None else np.asarray(labels), form, "",
        classes=() if classes is None else tuple(map(str, np.asarray(classes).ravel().tolist())),
        mean=mean, std=std, step_size=None if rate is None else rate_of(rate),
    )  # fmt: skip


def wanted_names(names: Sequence[str]) -> list[str]:
    """What is read of a table: one array of pictures, one of labels, and what is small; the rest is left unread."""
    groups = (_IMAGES, _LABELS, _RATES, ("mean",), ("std",), ("classes",))
    return [name for group in groups for name in [next((n for n in group if n in names), None)] if name is not None]


def per_channel(values: Any) -> tuple[float, ...]:
    """A mean or deviation a channel, whatever shape it was stored in; a `UsageError` where it is no numbers."""
    try:
        return tuple(np.asarray(values, dtype=np.float64).ravel().tolist())
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"a mean or deviation of {values!r:.40} is no number", hint="leave it out, say --space"
        ) from error


def named_first(arrays: Mapping[str, Any], names: Sequence[str]) -> Any:
    """What stands under the first of `names` that there is; None where there is none of them."""
    return next((arrays[name] for name in names if name in arrays), None)


def rate_of(value: Any) -> float | None:
    """A learned rate: one positive number; None for anything else."""
    found = np.asarray(value, dtype=np.float64).ravel()
    return float(found[0]) if found.size == 1 and 0 < float(found[0]) < math.inf else None


def labels_beside(path: Path, ending: str) -> Path | None:
    """The file of labels that belongs to a file of pictures: `images` in its name is `labels`."""
    if not (word := IMAGE_WORD.search(path.stem)):
        if re.search(r"labels?(?=[^a-z]|$)", path.stem, re.IGNORECASE):
            raise UsageError(f"{path} is called like labels", hint="give the file of the pictures; labels are found")
        return None
    other = "labels" if word.group().lower() == "images" else "label"
    file = path.with_name(f"{path.stem[: word.start()]}{other}{path.stem[word.end() :]}{ending}")
    return file if file.is_file() else None


def beside(path: Path, word: str) -> Path | None:
    """The file that is called as `path` with `word` in the place of `images`, where there is one."""
    found = IMAGE_WORD.search(path.stem)
    if found is None:
        return None
    file = path.with_name(f"{path.stem[: found.start()]}{word}{path.stem[found.end() :]}{path.suffix}")
    return file if file.is_file() else None


def told_labels(labels: Path | None) -> tuple[str, ...]:
    """The note that says where labels came from."""
    return () if labels is None else (f"labels from {labels.name}",)


def described_by(found: Found, text: str, path: Path) -> Found:
    """`found` with what the JSON of our exports says of it."""
    try:
        said = json.loads(text)
    except ValueError as error:
        raise ArtefactError(f"{path} has an unreadable description: {error}", hint="export the set again") from error
    if not isinstance(said, dict):
        return found
    statistics, rate = said.get("normalization"), said.get("step_size")
    statistics = statistics if isinstance(statistics, dict) else {}
    if statistics and not {"kind", "mean", "std"} <= statistics.keys():
        raise ArtefactError(f"{path} has a description whose normalization lacks a part", hint="export the set again")
    known = statistics.get("kind") == "mean-std"
    dataset, labels = said.get("dataset"), said.get("labels")
    settings = labels.get("settings") if isinstance(labels, dict) else None
    return replace(
        found,
        mean=per_channel(statistics["mean"]) if known else () if statistics else found.mean,
        std=per_channel(statistics["std"]) if known else () if statistics else found.std,
        normalization=statistics,
        label_form=str(settings.get("form", "")) if isinstance(settings, dict) else "",
        classes=tuple(dataset.get("classes", ())) if isinstance(dataset, dict) else found.classes,
        step_size=found.step_size if rate is None else rate_of(rate),
        student={"preset": said.get("preset"), **said["student"]} if isinstance(said.get("student"), dict) else {},
    )
