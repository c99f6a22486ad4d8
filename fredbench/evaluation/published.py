"""The literature's numbers, as data with their source: rows of `published.csv`, beside ours where they apply.

An entry applies when dataset, method, objective, parameterization and IPC agree, and HaBa's hallucinators are counted
as the table does: within the budget in table 2, beside it in table 1. FreD's CIFAR-10-C table prints neither IPC nor
severity, its table of ImageNet subsets no severity; what is inferred or unknown stands under `inferred` in what is
returned, and is said wherever the row is shown.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from fredbench.datasets.catalogue import plain_name
from fredbench.recipes.methods import METHODS
from fredbench.recipes.systems.common import IMAGENET_SUBSETS
from fredbench.suites.corruption import CorruptionSuite

__all__ = ["SCRIPT_LEVEL_OF", "known_to_script", "published_clean", "published_increment", "published_row"]

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
# Table 2 and that of ImageNet subsets (trajectory matching alone) are of an objective and what it optimises.
_STORED = {"pixels": "Vanilla", "idc": "IDC", "haba": "HaBa", "fred": "FreD"}
_PAIRS, _SUBSETS_C = "T2_objective_x_parameterization", "T4_imagenet_subset_c"


@cache
def _entries(file: str = "published.csv") -> tuple[Mapping[str, str], ...]:
    text = (files("fredbench.evaluation") / file).read_text()
    return tuple(csv.DictReader(text.splitlines()))


def _names(table: str, method: str, objective: str, parameterization: str) -> tuple[str, str] | None:
    """(objective, method) as a table prints them."""
    known = METHODS.get(method) if method in METHODS else None
    if table in {_PAIRS, _SUBSETS_C} or (known is not None and known.names_its_storage):
        return (objective.upper(), _STORED[parameterization]) if parameterization in _STORED else None
    # A name alone is not the system: a run may carry it and be put together of other parts.
    if known is None or (known.objective, known.parameterization) != (objective, parameterization):
        return None
    return _METHODS.get(method)


def _select(
    table: str, dataset: str, method: str, objective: str, parameterization: str, ipc: int | None, counted: bool
) -> list[Mapping[str, str]]:
    if parameterization == "haba" and counted != (table == _PAIRS):
        return []
    names = _names(table, method, objective, parameterization)
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


def published_clean(
    dataset: str, method: str, objective: str, parameterization: str, ipc: int, *, counted: bool = False
) -> dict[str, float | None] | None:
    """Printed clean accuracy (percent) of table 1 or, at IPC 2, 11 and 51, of table 2.

    `ipc`: whole pictures a class that the budget buys exactly; `counted`: whether hallucinators are within it.
    """
    for table in ("T1_main_accuracy", _PAIRS):
        title = _DATASETS.get(dataset, dataset)
        for entry in _select(table, title, method, objective, parameterization, ipc, counted):
            return {"mean": float(entry["mean"]), "std": float(entry["std"]) if entry["std"] else None}
    return None


def published_increment(dataset: str, method: str, objective: str, parameterization: str, ipc: int) -> float | None:
    """How many decoded pictures table 1 prints for each that the budget would buy whole (its "increment of decoded
    instances"); None where it prints none.
    """
    names = _names("T1_main_accuracy", method, objective, parameterization)
    for entry in _entries("increments.csv"):
        printed = (entry["dataset"], (entry["objective"], entry["parameterization_or_method"]), entry["ipc"])
        if printed == (_DATASETS.get(dataset, dataset), names, str(ipc)):
            return float(entry["increment"])
    return None


def published_row(
    suite: CorruptionSuite,
    *,
    dataset: str,
    method: str,
    objective: str,
    parameterization: str,
    ipc: int,
    counted: bool = False,
) -> dict[str, Any] | None:
    """What the literature prints for this method on this suite: clean, average, corruptions, source, inferred.

    `ipc`: whole pictures a class that the budget buys exactly; `counted`: whether hallucinators are within it.
    """
    system = (method, objective, parameterization)
    clean = published_clean(dataset, *system, ipc, counted=counted)
    # The corruption table fits IPC 1 (its FreD average lies just under the clean accuracy there).
    entries = _select("T3_cifar10c", suite.published, *system, None, counted) if suite.published and ipc == 1 else []
    corruptions = {entry["corruption"]: float(entry["mean"]) for entry in entries}
    average = next((corruptions.pop(key) for key in ("avg", "average") if key in corruptions), None)
    inferred = ["ipc", "severity"] if corruptions else []
    if average is None and suite.published:
        subset = _select(_SUBSETS_C, suite.published, *system, ipc, counted)
        average = next((float(entry["mean"]) for entry in subset if entry["corruption"] == "avg"), None)
        inferred = inferred if average is None else ["severity"]
    if clean is None and average is None and not corruptions:
        return None
    return {"clean": clean, "average": average, "corruptions": corruptions, "source": SOURCE, "inferred": inferred}


SCRIPT_LEVEL_OF = "cifar10"
"""The dataset that FreD's corruption script normalises by .5, whatever its sets were distilled for."""


def known_to_script(dataset: str) -> bool:
    """Whether FreD's published corruption script tests sets of `dataset`: CIFAR-10 and the ImageNet subsets."""
    return plain_name(dataset) in {SCRIPT_LEVEL_OF, *IMAGENET_SUBSETS}
