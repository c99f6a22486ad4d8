"""The whitened spaces as candidates: each is undone by its fit to the dataset, and what comes out is weighed.

Of real pictures, and of sets chosen among them, the recipe shows exactly: undone by the right one pixels are whole
grey levels, or pictures of the one length that KIP's own normalisation gives them. Of optimised pictures nothing tells
the recipes apart but what is usual: they differ in how much of the fine detail they take away, and that is where
optimisation adds most. A network that recognises the classes does not tell either: undone by any recipe it likes them
about as well, and noisy sets that were never whitened even better.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float

from fredbench.datasets import Dataset
from fredbench.foundation.config import from_mapping, to_mapping
from fredbench.foundation.errors import CompatibilityError
from fredbench.foundation.progress import say
from fredbench.importing.spaces import WHITENED, Real, Space, Weighed, weighed, whole_levels
from fredbench.runs.preprocessing import FOLDER as FITS
from fredbench.runs.preprocessing import DataConfig, checked, described, fit_of
from fredbench.training.preprocessing import Preprocessing

__all__ = ["Split", "candidates", "preparation", "settings_of", "space_of"]

Split = Literal["train", "train without validation"]
"""Of which pictures a whitening was fitted."""

_FEW = 500
_LARGEST = 3072
"""Scalars of a picture up to which fits are made only to find out: 32 x 32 RGB, some 16 s each."""
_PRIOR = {"mtt": 0.12, "frepo": 0.03, "kip": 0.03}
_SEEN = 20.0
_ALIKE = 1e-3


def settings_of(recipe: str, dataset: Dataset, *, storage: str, where: str) -> dict[str, Any]:
    """The section `data` of a run whose pictures are whitened by `recipe`; raises as `checked` does."""
    config = from_mapping(DataConfig, {"whitening": recipe}, where=where)
    return to_mapping(checked(config, dataset, storage=storage))


def preparation(data: dict[str, Any], dataset: Dataset, split: Split, store: Path) -> Preprocessing:
    """What was done to the pixels of a set, by the fit that the store keeps or that is made now."""
    normalization = described(data, dataset, split)
    fit = fit_of(normalization, dataset, store / FITS)
    return Preprocessing(tuple(normalization["mean"]), tuple(normalization["std"]), fit)


def space_of(recipe: str, prepared: Preprocessing, prior: float = 1.0) -> Space:
    """The space of pictures that were whitened by `recipe`."""
    return Space(f"zca-{recipe}", prepared.mean, prepared.std, prior, f"ZCA-whitened ({recipe})")


def candidates(
    images: Float[np.ndarray, "n c h w"], dataset: Dataset, real: Real, store: Path, *, seen: bool
) -> list[Weighed]:
    """The evidence for each whitened space; none where the dataset cannot be whitened, or only in many minutes.

    seen: whether a file beside the set shows that its run was one of MTT's whitened ones.
    """
    if images[0].size > _LARGEST:
        return []
    some = torch.from_numpy(np.ascontiguousarray(images[:: max(1, len(images) // _FEW)]))
    found: list[Weighed] = []
    for recipe in WHITENED.values():
        try:
            data = settings_of(recipe, dataset, storage="pixels", where="whitening")
        except CompatibilityError:
            return []
        if not found:
            say(
                f"these pictures may be whitened: comparing with {dataset.title} whitened by each recipe (once a store)"
            )
        prepared = preparation(data, dataset, "train", store)
        pixels = prepared.undone(some).double().numpy()
        prior = _SEEN if seen and recipe == "mtt" else _PRIOR[recipe]
        found.append(weighed(space_of(recipe, prepared, prior), pixels, real, _exact(recipe, pixels, prepared)))
    return found


def _exact(recipe: str, pixels: Float[np.ndarray, "n c h w"], prepared: Preprocessing) -> str:
    """What undone pixels are that other recipes would not leave, in words; empty where they are nothing such."""
    if recipe != "kip":
        # Others' fits are of float32, whose errors grow a little as the whitening is undone: whole within a tenth.
        return "all whole grey levels" if whole_levels(pixels, 0.1) > 0.98 else ""
    mean, std = (np.reshape(values, (1, -1, 1, 1)) for values in (prepared.mean, prepared.std))
    rows = ((pixels - mean) / std).reshape(len(pixels), -1)
    lengths, means = np.sqrt((rows**2).mean(axis=1)), rows.mean(axis=1)
    alike = bool((np.abs(lengths - 1) < _ALIKE).all()) and bool((np.abs(means) < _ALIKE).all())
    return "all pictures of KIP's one length" if alike else ""
