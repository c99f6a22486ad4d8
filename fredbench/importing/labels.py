"""The labels of a set made elsewhere, as class numbers of the dataset or as soft rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int64, Shaped

from fredbench.datasets import Dataset
from fredbench.datasets.catalogue import known_family
from fredbench.foundation.errors import UsageError
from fredbench.importing.asking import Asked
from fredbench.importing.found import Found
from fredbench.runs.exporting import class_folders

__all__ = ["labels_of"]


def labels_of(
    found: Found, images: Shaped[np.ndarray, "n c h w"], dataset: Dataset, asked: Asked, path: Path, assumed: list[str]
) -> tuple[Int64[np.ndarray, " n"], Float[np.ndarray, "n k"] | None, Literal["hard", "probability", "centred"]]:
    """(hard labels, soft rows or None, their form), numbered as the dataset numbers its classes."""
    classes, labels = len(dataset.classes), found.labels
    if labels is None:
        if len(images) % classes:
            raise UsageError(
                f"{path} has no labels, and {len(images)} pictures are no equal blocks of {classes} classes",
                hint="put a labels file beside it, or save {'images': ..., 'labels': ...}",
            )
        assumed.append(f"no labels in the file: equal blocks of {len(images) // classes} a class")
        labels = np.repeat(np.arange(classes), len(images) // classes)
    if labels.dtype.kind in "US" and labels.ndim == 1:
        return _by_name([str(name) for name in labels.tolist()], dataset, path), None, "hard"
    if labels.dtype.kind not in "fiub":
        raise UsageError(f"{path} has labels of type {labels.dtype}", hint="labels are class numbers, names or rows")
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    places = _places(found, dataset, asked, path)
    if places is not None:
        assumed.append("classes reordered by their names")
    if labels.ndim == 2:
        rows = labels.astype(np.float64)
        rows = rows[:, np.argsort(places)] if places is not None and rows.shape[1] == classes else rows
        return _soft(rows, found, dataset, asked, path, assumed)
    if labels.ndim != 1 or not np.array_equal(labels, np.rint(labels)):
        raise UsageError(f"{path} has labels of shape {labels.shape} that are no class numbers", hint="(N,) or (N, C)")
    hard = labels.astype(np.int64)
    low, high = int(hard.min()), int(hard.max())
    if low < 0 or high >= classes:
        off = ": they count from 1" if (low, high) == (1, classes) else ""
        raise UsageError(
            f"{path} has labels {low}..{high} for {classes} classes{off}", hint="labels are positions in 0..C-1"
        )
    hard = hard if places is None else places[hard]
    _complete(np.eye(classes)[hard], dataset, path)
    return hard, None, "hard"


def _complete(rows: Float[np.ndarray, "n k"], dataset: Dataset, path: Path) -> None:
    """`UsageError` where a class has no pictures: no row gives it half of what it gives its first class.

    Not the first class alone: a teacher's soft labels may rank the class of an honest picture second.
    """
    least = rows.min(1, keepdims=True)
    liked = (rows - least >= 0.5 * (rows.max(1, keepdims=True) - least)).any(0)
    missing = [dataset.classes[label] for label in np.flatnonzero(~liked)]
    if missing:
        raise UsageError(
            f"{path} has no pictures of {len(missing)} of {len(liked)} classes: {', '.join(missing[:5])}",
            hint="bring pictures of all, or name a dataset of those classes (folder:PATH?classes=FILE)",
        )


def _by_name(names: list[str], dataset: Dataset, path: Path) -> Int64[np.ndarray, " n"]:
    """Labels that are class names as positions in the dataset's classes."""
    places = {name: number for number, name in enumerate(dataset.classes)}
    strange = sorted(set(names) - places.keys())
    lacking = sorted(places.keys() - set(names))
    if strange or lacking:
        raise UsageError(
            f"{path} has labels by name that are not the classes of {dataset.title}: "
            + (f"{strange[0]!r} is none" if strange else f"no pictures of {lacking[0]!r}"),
            hint="use the dataset's class names or their numbers, see `fredbench data verify`",
        )
    return np.asarray([places[name] for name in names], dtype=np.int64)


def _places(found: Found, dataset: Dataset, asked: Asked, path: Path) -> Int64[np.ndarray, " k"] | None:
    """For each class of the set its position in the dataset's classes; None where the orders are one."""
    if found.folders and not asked.classes:
        numbered = _by_folder(found, dataset)
        return None if np.array_equal(numbered, np.arange(len(numbered))) else numbered
    names = asked.classes or found.classes
    if not names or tuple(names) == tuple(dataset.classes):
        return None
    places = {name: number for number, name in enumerate(dataset.classes)}
    unknown = [name for name in names if name not in places]
    if unknown or len(set(names)) != len(dataset.classes):
        raise UsageError(
            f"{path} is of the classes {', '.join(map(repr, names[:4]))}, …, which are not those of {dataset.title}"
            + (f": {unknown[0]!r} is not" if unknown else f": {len(set(names))} of {len(dataset.classes)}"),
            hint="name the dataset that it is of, or the classes in the set's order (--classes FILE)",
        )
    return np.asarray([places[name] for name in names], dtype=np.int64)


def _by_folder(found: Found, dataset: Dataset) -> Int64[np.ndarray, " k"]:
    """The class of each folder: by the dataset's names, by the folders of our exports, or by numbers 0..C-1."""
    names = list(found.folders)
    family = known_family(dataset.title)
    tables: list[list[str]] = [list(dataset.classes), class_folders(tuple(dataset.classes))]
    if family is not None and family.wnids:
        tables.append(list(family.wnids))
    for table in tables:
        places = {name: number for number, name in enumerate(table)}
        if set(names) == set(table):
            return np.asarray([places[name] for name in names], dtype=np.int64)
    numbers = [
        int(found_number.group(1)) if (found_number := re.fullmatch(r"[a-z]*0*(\d+)", name)) else -1 for name in names
    ]
    if sorted(numbers) == list(range(len(dataset.classes))):
        return np.asarray(numbers, dtype=np.int64)
    known = set(tables[0])
    strange = [name for name in names if name not in known]
    lacking = [name for name in dataset.classes if name not in set(names)]
    raise UsageError(
        f"the folders {', '.join(names[:4])}{', …' if len(names) > 4 else ''} ({len(names)}) are not the "
        f"{len(dataset.classes)} classes of {dataset.title}"
        + (f"; it has none for {', '.join(lacking[:3])}" if lacking and not strange else ""),
        hint="call them after the classes or number them 0..C-1, one for each class",
    )


def _soft(
    rows: Float[np.ndarray, "n k"], found: Found, dataset: Dataset, asked: Asked, path: Path, assumed: list[str]
) -> tuple[Int64[np.ndarray, " n"], Float[np.ndarray, "n k"] | None, Literal["hard", "probability", "centred"]]:
    """Rows of numbers as what they are: one-hot, probabilities, logits or centred ones; what is not clear is asked."""
    classes = len(dataset.classes)
    if rows.shape[1] != classes or not np.isfinite(rows).all():
        raise UsageError(
            f"{path} has labels of shape {rows.shape}, {dataset.title} has {classes} classes"
            + ("" if np.isfinite(rows).all() else "; some are not finite"),
            hint="soft labels are (N, classes)",
        )
    _complete(rows, dataset, path)
    hard = rows.argmax(1).astype(np.int64)
    sums = rows.sum(1)
    probable = bool((rows >= -1e-4).all()) and bool((np.abs(sums - 1) < 1e-2).all())
    kind: str = asked.labels
    if kind in {"auto", "as-given"} and found.label_form == "centred":
        kind = "centred"
    if kind in {"auto", "as-given"}:
        if not probable:
            raise UsageError(
                f"{path} has labels that are rows of numbers with sums {sums.min():.3g} to {sums.max():.3g}, and no "
                "probabilities",
                hint="say --labels logits (DATM, EDF) or --labels centred (FRePo, KIP)",
            )
        kind = "probability"
    if kind == "hard" or (kind == "probability" and np.array_equal(rows, np.eye(classes)[hard])):
        return hard, None, "hard"
    if kind == "logits":
        scaled = rows / asked.temperature
        scaled = np.exp(scaled - scaled.max(1, keepdims=True))
        assumed.append(f"labels: softmax of logits at temperature {asked.temperature:g}")
        return hard, scaled / scaled.sum(1, keepdims=True), "probability"
    if kind == "centred":
        assumed.append("labels: rows that students regress on (squared error)")
        return hard, rows, "centred"
    if not probable:
        raise UsageError(f"{path} has labels that are no probabilities", hint="say --labels logits or centred")
    assumed.append("labels: probabilities, stored with the set")
    return hard, rows, "probability"
