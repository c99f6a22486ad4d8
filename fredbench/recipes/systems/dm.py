"""DM: mean embeddings, matched class by class."""

from __future__ import annotations

from fredbench.recipes.methods import Method
from fredbench.recipes.rules import Rule, at_least, script, where
from fredbench.recipes.systems.common import MIRRORED, mirrors_digits

__all__ = ["METHODS", "RULES"]

METHODS = (
    Method(
        "dm",
        "dm",
        "pixels",
        "Zhao and Bilen, Dataset Condensation with Distribution Matching, WACV 2023",
        "loss, gradients and optimiser steps against golden dm_loss",
        departures=MIRRORED,
    ),
)

_PIXELS = where(objective="dm", parameterization="pixels")

RULES: tuple[Rule, ...] = (
    *mirrors_digits("dm", "pixels", "DM, main_DM.py: the default, whatever the dataset"),
    script("run", "DM, main_DM.py:21-28; FreD, DM/main_DM_FreD.py:138-143", where(objective="dm"), iterations=20_000),
    script(
        "parameterization",
        "DM, readme.md:177: IPC 1, 10, 50",
        _PIXELS,
        published=(where(dataset={"cifar10", "cifar100"}),),
        lr=1.0,
    ),
    script(
        "parameterization",
        "DM, readme.md:177: CIFAR-10, IPC 100 and more",
        # Of the system itself: rates of other storages, which derive from the pixels', keep to the lower budgets' one.
        {**_PIXELS, **where(method="dm", dataset="cifar10", ipc=at_least(100))},
        lr=10.0,
    ),
)
