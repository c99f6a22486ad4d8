"""What the values of a set's pictures are, and the pixels behind them; whitened sets by the fit to the dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from fredbench.datasets import Dataset
from fredbench.foundation.errors import UsageError
from fredbench.importing.asking import Asked
from fredbench.importing.found import Found
from fredbench.importing.spaces import WHITENED, Evidence, Space, found_space, neighbours
from fredbench.importing.whitened import Split, candidates, preparation, settings_of, space_of
from fredbench.runs.preprocessing import described

__all__ = ["Values", "columns", "values_of"]

_NOISY = 0.5


@dataclass(frozen=True, eq=False)
class Values:
    """The space of a set's values, what speaks for it, and the pixels of [0, 1] behind them.

    data: the section `data` of the run, empty but for whitened sets. split: of which pictures their whitening was
    fitted. told: what was assumed, a line each.
    """

    space: Space
    evidence: list[Evidence]
    pixels: Float[np.ndarray, "n c h w"]
    data: dict[str, Any]
    split: Split
    told: tuple[str, ...]


def columns(values: tuple[float, ...]) -> Float[np.ndarray, "1 c 1 1"]:
    """A value a channel, in the shape of pictures."""
    return np.reshape(np.asarray(values, dtype=np.float64), (1, -1, 1, 1))


def values_of(
    found: Found, images: Float[np.ndarray, "n c h w"], dataset: Dataset, asked: Asked, factor: int, store: Path,
    path: Path,
) -> Values:  # fmt: skip
    """The values of `images` as asked for, as the file says, or as found out; raises `UsageError` where not clear."""
    data = _whitening(found, asked, dataset, factor, path)
    if data:
        who = "asked for" if asked.space else "the file says so"
        return _whitened(images, data, dataset, _split(found), store, [], who)
    said = (found.mean, found.std) if found.mean and asked.space is None else None
    if said is not None and {len(part) for part in said} != {dataset.channels}:
        raise UsageError(
            f"{path} says a mean and a deviation of {len(found.mean)} and {len(found.std)} numbers, {dataset.title} "
            f"has {dataset.channels} channel(s)",
            hint="say --space MEAN/STD, a number a channel each",
        )
    space, evidence, who = found_space(
        images, dataset, asked=asked.space, said=said, suspect=found.whitened, where=f" of {path}",
        whitened=None if factor > 1 else lambda real: candidates(images, dataset, real, store, seen=found.whitened),
    )  # fmt: skip
    if space.name in WHITENED:
        data = settings_of(WHITENED[space.name], dataset, storage="pixels", where=str(path))
        return _whitened(images, data, dataset, "train", store, evidence, who)
    told = [f"values: {space.what} ({who})"]
    alike = neighbours(images)
    if asked.space is None and said is None and alike < _NOISY:
        tried = any(each.space.name in WHITENED for each in evidence)
        told.append(
            f"neighbouring pixels correlate by {alike:.2f}, real ones by {neighbours(_some(dataset)):.2f}: a noisy set"
            + (
                ", which fits no whitening"
                if tried
                else ", or a ZCA-whitened one (--space zca-mtt, zca-frepo, zca-kip)"
            )
        )
    pixels = images.astype(np.float64) * columns(space.std) + columns(space.mean)
    return Values(space, evidence, pixels, {}, "train", tuple(told))


def _whitened(
    images: Float[np.ndarray, "n c h w"], data: dict[str, Any], dataset: Dataset, split: Split, store: Path,
    evidence: list[Evidence], who: str,
) -> Values:  # fmt: skip
    """The values of a set that is whitened as the section `data` says."""
    prepared = preparation(data, dataset, split, store)
    space = space_of(data["whitening"], prepared)
    pixels = prepared.undone(torch.from_numpy(images)).double().numpy()
    return Values(space, evidence, pixels, data, split, (f"values: {space.what} ({who})",))


def _split(found: Found) -> Split:
    """Of which pictures a whitening was fitted: what an export of ours says, else the whole training split."""
    return "train without validation" if found.normalization.get("split") == "train without validation" else "train"


def _some(dataset: Dataset) -> Float[np.ndarray, "n c h w"]:
    """A few real pictures."""
    some: Float[np.ndarray, "n c h w"] = dataset.train.images[:200].transpose(0, 3, 1, 2).astype(np.float32)
    return some


def _whitening(found: Found, asked: Asked, dataset: Dataset, factor: int, path: Path) -> dict[str, Any]:
    """The section `data` of a set of whitened pictures; empty where the set is none."""
    kind = found.normalization.get("kind", "mean-std")
    if asked.space is None and kind == "mean-std":
        return {}
    if asked.space is not None and asked.space not in WHITENED:
        return {}
    recipe = WHITENED[asked.space] if asked.space is not None else str(found.normalization.get("recipe"))
    storage = "idc" if factor > 1 else "pixels"
    data = settings_of(recipe, dataset, storage=storage, where=f"{path}, normalization")
    if asked.space is None and found.normalization != described(data, dataset, _split(found)):
        raise UsageError(
            f"{path} was whitened by a fit to other pictures than those of {dataset.title} here",
            hint="point --data at the pictures that it was distilled from",
        )
    return data
