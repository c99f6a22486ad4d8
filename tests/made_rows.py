"""Rows and sets made by hand, for tests of what is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fredbench.evaluation.rows import Calibration, CorruptionScore, Reliability, Row
from fredbench.evaluation.statistics import Sample, summarise
from fredbench.foundation.rng import Stream
from fredbench.parameterizations.budget import Budget
from fredbench.parameterizations.frequency import FreD, FreDConfig
from fredbench.parameterizations.pixels import Pixels, PixelsConfig
from fredbench.runs.synset import Synset
from fredbench.training.batches import RealPictures

CORRUPTIONS = ("gaussian_noise", "defocus_blur", "snow", "jpeg_compression")


def made_row(
    number: int = 0, /, *, corruptions: Sequence[str] = CORRUPTIONS, severities: int = 5, **changes: Any
) -> Row:
    """A row of random accuracies over three students; `changes` are fields of `Row`."""
    draws = np.random.default_rng(number)
    scores = draws.uniform(10, 90, (len(corruptions), 3, severities))
    values: dict[str, Any] = {
        "run": f"runs/run-{number}",
        "dataset": "cifar10",
        "method": "fred",
        "objective": "dm",
        "parameterization": "fred",
        "iterations": 300,
        "ipc": 1,
        "params": 30720,
        "params_strict": 31040,
        "decoded": 160,
        "students": 3,
        "network": "convnet-d3-w32-in",
        "preset": "quick",
        "recipe": "quick: 300 iterations, 200 epochs at lr 0.01",
        "control": False,
        "start": False,
        "protocol": "own",
        "source": "generated",
        "limit": None,
        "partial": {},
        "clean": summarise(draws.uniform(80, 90, 3).tolist()),
    }
    if corruptions:
        values["average"] = summarise(scores.mean(axis=(0, 2)).tolist())
        values["corruptions"] = {
            name: CorruptionScore(summarise(score.mean(axis=1).tolist()), tuple(score.mean(axis=0).tolist()))
            for name, score in zip(corruptions, scores, strict=True)
        }
    return Row(**{**values, **changes})


def made_calibration(number: int = 0, *, brier: bool = True) -> dict[str, Calibration]:
    """Measures of clean pictures and of the average over three students, with bins of which the first is empty."""
    draws = np.random.default_rng(number)

    def sample(most: float) -> Sample:
        return summarise(draws.uniform(0.1 * most, most, 3).tolist())

    def bins(scale: int) -> Reliability:
        right = tuple(draws.uniform(0, 100, 14).tolist())
        middles = tuple(100 * (place + 0.5) / 15 for place in range(1, 15))
        return Reliability((0, 5 * scale, *[40 * scale] * 13), (None, *middles), (None, *right))

    return {
        where: Calibration(sample(2), sample(30), sample(30), sample(40), sample(1) if brier else None, bins(scale))
        for where, scale in (("clean", 1), ("average", 75))
    }


def made_trio(**changes: Any) -> list[Row]:
    """A distilled row, its start and its control."""
    control = {"method": "random", "objective": "none", "parameterization": "pixels", "params_strict": 30720}
    return [
        made_row(1, **changes),
        made_row(2, iterations=0, start=True, **changes),
        made_row(3, iterations=0, control=True, **control, **changes),
    ]


def made_synset(kind: str = "fred", *, classes: Sequence[str] = ("ant", "bee"), ipc: int = 1, **header: Any) -> Synset:
    """A FreD (k = 16) or pixels set of random 8 x 8 colour pictures."""
    draws = np.random.default_rng(5)
    count = len(classes)
    images = draws.integers(0, 256, (20 * count, 8, 8, 3), dtype=np.uint8)
    labels = np.repeat(np.arange(count), 20)
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
    real = RealPictures(images, labels, mean=mean, std=std, classes=count, device=torch.device("cpu"))
    parameterization = FreD(FreDConfig(k=16)) if kind == "fred" else Pixels(PixelsConfig())
    budget = Budget.for_ipc(ipc, count, (3, 8, 8))
    state = parameterization.init(real, budget, Stream(0))
    description = {
        "dataset": {
            "name": "made",
            "fingerprint": "0" * 64,
            "classes": list(classes),
            "shape": [3, 8, 8],
            "partial": {},
            "split": "train",
        },
        "method": "fred" if kind == "fred" else "random",
        "objective": "dm",
        "parameterization": {"name": kind, "settings": {"k": 16} if kind == "fred" else {}},
        "budget": budget.scalars,
        "iterations": 0,
        "preset": "quick",
        "normalization": {"kind": "mean-std", "mean": mean, "std": std},
        "labels": {"kind": "hard", "learned": False, "order": "class"},
        "step_size": None,
        "student": {"network": "convnet", "students": 3},
    }
    return Synset.pack(parameterization, state, {**description, **header})
