"""How a run's pictures are prepared (section `data` of its settings), what its artefact says of it, and the fits.

A fit of 32 x 32 RGB has 3072 x 3072 numbers, 75 MB, where a synset has kilobytes: it is no part of the artefact. The
header names what determines it, and whoever needs it derives it again from the training pictures. Its last bits depend
on the machine and on the number of threads, so the fingerprint is of those causes, not of the numbers. A store keeps
each fit that was made in it, for each number of threads, so that a run taken up again computes with the same one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from fredbench.datasets import Dataset, Split, carve_validation
from fredbench.datasets.known.cifar import CIFAR10
from fredbench.foundation.config import from_mapping
from fredbench.foundation.errors import ArtefactError, CompatibilityError, DataError
from fredbench.foundation.files import canonical_json, write_bytes
from fredbench.foundation.locks import claimed
from fredbench.training.preprocessing import fit_pixels
from fredbench.training.whitening import EPS, Whitening

__all__ = ["FOLDER", "MOST_SCALARS", "RECIPES", "DataConfig", "checked", "described", "fit_of", "stored_fit", "training_count", "training_split"]

FOLDER = "whitening"
"""Name of the fits' folder in a store of runs."""
MOST_SCALARS = 12_288
"""Of a picture that is whitened: 64 x 64 RGB, a matrix of 1.2 GB. At 128 x 128 it would be 19 GB, of float64."""
RECIPES = ("mtt", "frepo", "kip")
_KEY = "fredbench"
# Parameterizations whose stored numbers are of pictures of [0, 1], which they normalise themselves.
_STORED_AS_PIXELS = frozenset({"idc", "gsdd"})


@dataclass(frozen=True)
class DataConfig:
    """What is done to pictures before anything sees them.

    whitening: none, or one of `fredbench.training.whitening`. statistics: the mean and deviation by channel, the
    dataset's own or CIFAR-10's, by which CIFAR-100 was normalised in published runs.
    """

    whitening: Literal["none", "mtt", "frepo", "kip"] = "none"
    statistics: Literal["own", "cifar10"] = "own"


def checked(config: DataConfig, dataset: Dataset, *, storage: str = "") -> DataConfig:
    """`config`, with `own` where the dataset's statistics are CIFAR-10's; what cannot be done is refused in words.

    Raises `CompatibilityError` for whitening of pictures of one channel, of more than 12,288 scalars, or stored in
    [0, 1] (`storage` idc or gsdd), and for statistics that do not fit the channels or are not used (`mtt`).
    """
    scalars = dataset.channels * dataset.size[0] * dataset.size[1]
    if config.whitening != "none":
        if dataset.channels == 1:
            raise CompatibilityError(
                f"{dataset.name} has one channel: the published recipes whiten colour pictures only",
                hint="set data.whitening=none",
            )
        if scalars > MOST_SCALARS:
            raise CompatibilityError(
                f"pictures of {scalars:,} scalars are too large to whiten: the transform would be a matrix of "
                f"{scalars**2 * 8 / 1e9:.0f} GB, and FRePo's whitening by blocks is not built",
                hint=f"set data.whitening=none, or take pictures of at most {MOST_SCALARS:,} scalars (64 x 64 RGB)",
            )
        if storage in _STORED_AS_PIXELS:
            raise CompatibilityError(
                f"parameterization {storage!r} stores pictures of [0, 1] and normalises them itself: it cannot be whitened",
                hint="set data.whitening=none, or use another --parameterization",
            )
    if config.statistics == "own":
        return config
    if config.whitening == "mtt":
        raise CompatibilityError(
            "whitening 'mtt' takes pixels of [0, 1] as they are, by no mean and deviation", hint="set data.statistics=own"
        )
    if dataset.channels != len(CIFAR10.mean):
        raise CompatibilityError(
            f"CIFAR-10's statistics are of 3 channels, {dataset.name} has {dataset.channels}",
            hint="set data.statistics=own",
        )
    same = (dataset.mean, dataset.std) == (CIFAR10.mean, CIFAR10.std)
    return DataConfig(config.whitening) if same else config


def training_split(dataset: Dataset, split: str) -> Split:
    """The training pictures that a run of `split` distils from: all, or all but the validation split."""
    return dataset.train if split == "train" else carve_validation(dataset.train)[0]


def training_count(dataset: Dataset, split: str) -> int:
    """How many pictures `training_split` has; none is copied for it."""
    labels = dataset.train.labels
    if split == "train":
        return len(labels)
    return len(carve_validation(Split(np.zeros((len(labels), 1, 1, 1), dtype=np.uint8), labels))[0])


def described(settings: Mapping[str, Any], dataset: Dataset, split: str) -> dict[str, Any]:
    """What a header says under `normalization`: kind `mean-std`, or `zca` with the fit's recipe and fingerprint.

    mean, std: of the step by channel; before `mtt`, which takes [0, 1] as it is, they are 0 and 1.
    """
    config = from_mapping(DataConfig, settings, where="data")
    mean, std = (dataset.mean, dataset.std) if config.statistics == "own" else (CIFAR10.mean, CIFAR10.std)
    if config.whitening == "none":
        return {"kind": "mean-std", "mean": list(mean), "std": list(std)}
    if config.whitening == "mtt":
        mean, std = (0.0,) * dataset.channels, (1.0,) * dataset.channels
    fit = {"recipe": config.whitening, "eps": EPS, "mean": list(mean), "std": list(std), "split": split}
    return {"kind": "zca", **fit, "fingerprint": _fingerprint(fit, dataset)}


def _fingerprint(fit: Mapping[str, Any], dataset: Dataset) -> str:
    """Hex SHA-256 of all that determines a fit: the pictures, which of them, the recipe and its numbers."""
    causes = {name: fit[name] for name in ("recipe", "eps", "mean", "std", "split")}
    return hashlib.sha256(canonical_json({**causes, "data": dataset.fingerprint}).encode()).hexdigest()


def fit_of(normalization: Mapping[str, Any], dataset: Dataset, cache: Path | None = None) -> Whitening | None:
    """The whitening that a header's `normalization` speaks of, from `cache` or the data; None where there is none.

    `cache`: the fits' folder of a store, where a fit that had to be made is kept. Raises `DataError` for a fit to other
    pictures than `dataset`'s, `ArtefactError` for a damaged file in `cache`.
    """
    if normalization["kind"] != "zca":
        return None
    if _fingerprint(normalization, dataset) != normalization["fingerprint"]:
        raise DataError(
            f"the whitening of this set was fitted to other pictures than those of {dataset.name} here "
            f"(fit {normalization['fingerprint'][:12]})",
            hint="point --data at the data of the run, or distill it again",
        )
    file = None if cache is None else _file(cache, normalization, str(torch.get_num_threads()))
    if file is None:
        return _fitted(normalization, dataset)
    if not file.is_file():
        with claimed(file.parent, "fitting a whitening in", "wait for it"):
            if not file.is_file():  # else another process made it, while this one waited
                _write(file, normalization, _fitted(normalization, dataset))
    return _read(file, normalization)


def _fitted(normalization: Mapping[str, Any], dataset: Dataset) -> Whitening:
    pixels = training_split(dataset, normalization["split"]).images
    mean, std, recipe = (normalization[name] for name in ("mean", "std", "recipe"))
    return fit_pixels(pixels, mean, std, recipe, eps=normalization["eps"])


def stored_fit(normalization: Mapping[str, Any], cache: Path) -> Whitening | None:
    """A fit that the store has, whatever the number of threads: for looking at pictures, not for computing with."""
    found = sorted(cache.glob(_file(cache, normalization, "*").name))
    return _read(found[0], normalization) if found else None


def _file(cache: Path, normalization: Mapping[str, Any], threads: str) -> Path:
    return cache / f"{normalization['recipe']}-{normalization['fingerprint'][:16]}-t{threads}.safetensors"


def _write(file: Path, normalization: Mapping[str, Any], fit: Whitening) -> None:
    tensors = {"mean": fit.mean, "transform": fit.transform}
    head = {"fingerprint": normalization["fingerprint"], "sha256": _digest(tensors)}
    write_bytes(file, safetensors.torch.save(tensors, metadata={_KEY: canonical_json(head)}))


def _read(file: Path, normalization: Mapping[str, Any]) -> Whitening:
    hint = "delete it: it is fitted again from the data"
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            head = json.loads((opened.metadata() or {}).get(_KEY, "null"))
            tensors = {name: opened.get_tensor(name) for name in ("mean", "transform")}
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ArtefactError(f"{file} cannot be read: {error}", hint=hint) from error
    wanted = {"fingerprint": normalization["fingerprint"], "sha256": _digest(tensors)}
    if head != wanted:
        raise ArtefactError(f"{file} was altered, or is the fit of another set", hint=hint)
    return Whitening(tensors["mean"], tensors["transform"], per_picture=normalization["recipe"] == "kip")


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}:{tuple(tensors[name].shape)};".encode())
        digest.update(tensors[name].contiguous().numpy().data)
    return digest.hexdigest()
