"""The literature's numbers, as data with their source: rows of `published.csv`, beside ours where they apply.

An entry applies when dataset, method, objective and IPC agree. FreD's CIFAR-10-C table prints neither IPC nor
severity, its table of ImageNet subsets no severity; what is inferred or unknown stands under `inferred` in what is
returned, and is said wherever the row is shown.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from fredbench.suites import CorruptionSuite

__all__ = ["published_clean", "published_row"]

SOURCE = "FreD, NeurIPS 2023"
_DATASETS = {
    "cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "svhn": "SVHN",
    "imagenette": "ImageNette", "imagewoof": "ImageWoof", "imagefruit": "ImageFruit",
    "imageyellow": "ImageYellow", "imagemeow": "ImageMeow", "imagesquawk": "ImageSquawk",
}  # fmt: skip
_METHODS = {
    "random": ("coreset", "Random"), "herding": ("coreset", "Herding"), "dc": ("DC", "DC"), "dsa": ("DSA", "DSA"),
    "dm": ("DM", "DM"), "cafe": ("CAFE", "CAFE"), "cafe-dsa": ("CAFE", "CAFE+DSA"), "tm": ("TM", "TM"),
    "kip": ("KIP", "KIP"), "frepo": ("FRePo", "FRePo"), "idc": ("IDC-native", "IDC"), "haba": ("TM", "HaBa"),
}  # fmt: skip
# The table of ImageNet subsets holds trajectory matching alone, under the names of what it stores.
_SUBSETS_C, _SUBSETS_C_METHODS = "T4_imagenet_subset_c", {"tm": "Vanilla", "idc": "IDC", "fred": "FreD"}


@cache
def _entries() -> tuple[Mapping[str, str], ...]:
    text = (files("fredbench.report") / "published.csv").read_text()
    return tuple(csv.DictReader(text.splitlines()))


def _names(method: str, objective: str) -> tuple[str, str] | None:
    """(objective, method) as the tables print them."""
    if method == "fred":
        return (objective.upper(), "FreD")
    return _METHODS.get(method)


def _select(table: str, dataset: str, method: str, objective: str, ipc: int | None) -> list[Mapping[str, str]]:
    names = _names(method, objective)
    if table.startswith("T2") and names is not None and names[0] == names[1]:
        names = (names[0], "Vanilla")
    return [
        entry
        for entry in _entries()
        if entry["table"] == table
        and entry["dataset"] == dataset
        and names is not None
        and (entry["objective"], entry["parameterization_or_method"]) == names
        and entry["ipc"] == ("" if ipc is None else str(ipc))
        and entry["arch"].startswith("ConvNet")
    ]


def published_clean(dataset: str, method: str, objective: str, ipc: int) -> dict[str, float | None] | None:
    """Printed clean accuracy (percent) of table 1 or, at IPC 2, 11 and 51, of table 2."""
    for table in ("T1_main_accuracy", "T2_objective_x_parameterization"):
        for entry in _select(table, _DATASETS.get(dataset, dataset), method, objective, ipc):
            return {"mean": float(entry["mean"]), "std": float(entry["std"]) if entry["std"] else None}
    return None


def published_row(
    suite: CorruptionSuite, *, dataset: str, method: str, objective: str, ipc: int
) -> dict[str, Any] | None:
    """What the literature prints for this method on this suite: clean, average, corruptions, source, inferred."""
    clean = published_clean(dataset, method, objective, ipc)
    # The corruption table fits IPC 1 (its FreD average lies just under the clean accuracy there).
    entries = _select("T3_cifar10c", suite.published, method, objective, None) if suite.published and ipc == 1 else []
    corruptions = {entry["corruption"]: float(entry["mean"]) for entry in entries}
    average = next((corruptions.pop(key) for key in ("avg", "average") if key in corruptions), None)
    inferred = ["ipc", "severity"] if corruptions else []
    if average is None:
        average = _subset_average(suite.published, method, objective, ipc)
        inferred = inferred if average is None else ["severity"]
    if clean is None and average is None and not corruptions:
        return None
    return {"clean": clean, "average": average, "corruptions": corruptions, "source": SOURCE, "inferred": inferred}


def _subset_average(published: str, method: str, objective: str, ipc: int) -> float | None:
    """The printed mean over corruptions on an ImageNet subset."""
    name = _SUBSETS_C_METHODS.get(method)
    if method == "fred" and objective != "tm":
        return None
    for entry in _entries():
        found = (entry["table"], entry["dataset"], entry["parameterization_or_method"], entry["ipc"])
        if found == (_SUBSETS_C, published, name, str(ipc)) and entry["corruption"] == "avg":
            return float(entry["mean"])
    return None
