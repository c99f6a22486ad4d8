"""Small pictures and small runs that the tests of the spine share."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch

from fredbench.datasets import Dataset, Split
from fredbench.foundation.device import use_threads
from fredbench.recipes.resolution import Request, resolve
from fredbench.runs import distillation
from fredbench.runs.assembly import Distillation
from fredbench.runs.spec import Spec
from fredbench.runs.store import RunFolder
from fredbench.training.batches import RealPictures


def pictures_of(count: int, size: tuple[int, int], channels: int, seed: int) -> np.ndarray:
    """Smooth random pictures, uint8 (count, h, w, channels): low frequencies carry more, as in photographs."""
    rng = np.random.default_rng(seed)
    rows, columns = (np.linspace(0, np.pi, side)[None, :, None] for side in size)
    waves = np.arange(1, 5)[None, None, :]
    amplitudes = rng.normal(size=(count, channels, 4, 4)) / np.outer(np.arange(1, 5), np.arange(1, 5))
    smooth = np.einsum("ncab,rwa,rvb->ncwv", amplitudes, np.cos(rows * waves), np.cos(columns * waves), optimize=True)
    noise = rng.normal(scale=0.1, size=smooth.shape)
    return np.clip((smooth + noise + 2) * 64, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1).copy()


def set_of(
    classes: int, size: tuple[int, int], *, channels: int = 3, per_class: int = 40, name: str = "small"
) -> Dataset:
    """A dataset in memory, classes interleaved."""
    splits = [
        Split(pictures_of(count * classes, size, channels, seed), np.arange(count * classes) % classes)
        for seed, count in enumerate((per_class, 4))
    ]
    return Dataset.from_splits(name, *splits, [f"class {c}" for c in range(classes)])


@functools.cache
def cifar_like() -> Dataset:
    """Ten classes of 32 x 32 RGB."""
    return set_of(10, (32, 32), name="cifar-like")


# What makes an iteration of each objective a matter of milliseconds.
TINY_SETTINGS = {
    "dm": ("objective.batch_real=8",),
    "dc": ("objective.batch_real=4", "objective.epochs=1"),
    "dsa": ("objective.batch_real=4", "objective.epochs=1"),
    "cafe": ("objective.batch_real=4", "objective.batch_probe=4", "objective.most_rounds=2", "objective.most_epochs=1"),
    "idc": ("objective.batch_real=4", "objective.train_pictures=8"),
    "tm": ("objective.steps=2", "objective.experts=1", "objective.expert_epochs=1", "objective.start_epochs=1"),
}
# What makes the start of each parameterization that.
TINY_STARTS = dict.fromkeys(("ddif", "gsdd"), ("parameterization.fit_steps=5",))


def spec_of(dataset: Dataset, *, ipc: int = 1, iterations: int = 2, preset: str = "quick", **asked: Any) -> Spec:
    """A spec for moments of work; `overrides` are added to the tiny ones."""
    objective = "none" if asked.get("method") == "random" else asked.get("objective") or "dm"
    stored = TINY_STARTS.get(asked.get("parameterization", ""), ())
    overrides = (*TINY_SETTINGS.get(objective, ()), *stored, "student.epochs=1", *asked.pop("overrides", ()))
    request = Request(
        ipc=ipc,
        preset=preset,
        iterations=iterations,
        objective=None if "method" in asked else objective,
        network=asked.pop("network", "convnet-d2-w4-in"),
        overrides=overrides,
        **{name: value for name, value in asked.items() if name != "objective"},
    )
    return resolve(request, dataset, device="cpu", threads=use_threads(1))


def distillation_of(dataset: Dataset, *, folder: RunFolder | None = None, **asked: Any) -> Distillation:
    """A run in memory, or on disk too where `folder` is given."""
    spec = spec_of(dataset, **asked)
    if folder is not None:
        distillation.run(spec, dataset, folder)
    return Distillation(spec, dataset, torch.device("cpu"))


def real(dataset: Dataset) -> RealPictures:
    """The training pictures as parameterizations and objectives get them."""
    return RealPictures(
        dataset.train.images,
        dataset.train.labels,
        mean=dataset.mean,
        std=dataset.std,
        classes=len(dataset.classes),
        device=torch.device("cpu"),
    )
