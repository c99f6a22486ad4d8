"""The published systems as named recipes over the parts, and the settings they were run with: a table, no code.

Every value says where it comes from: `script` (the authors' published scripts), `paper` (paper or its tables),
`inferred` (follows from published numbers), `chosen` (ours, where nothing is published).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fredbench.errors import CompatibilityError, UnknownNameError

__all__ = ["METHODS", "Method", "Origin", "Setting", "iterations_of", "method_named", "settings_of"]

Origin = Literal["script", "paper", "inferred", "chosen"]


@dataclass(frozen=True)
class Method:
    """A named system: what is matched, what is stored, where it was published and what was checked here."""

    name: str
    objective: str
    parameterization: str
    paper: str
    verified: str
    note: str = ""


@dataclass(frozen=True)
class Setting:
    """One value of a recipe and its origin."""

    value: Any
    origin: Origin
    why: str = ""


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "random",
            "none",
            "pixels",
            "the control of the whole literature",
            "equals its definition; student j trains on its own j-th draw",
        ),
        Method(
            "dm",
            "dm",
            "pixels",
            "Zhao and Bilen, Dataset Condensation with Distribution Matching, WACV 2023",
            "loss, gradients and optimiser steps against golden dm_loss",
        ),
        Method(
            "fred",
            "dm",
            "fred",
            "Shin, Shin and Moon, Frequency Domain-based Dataset Distillation, NeurIPS 2023",
            "transform, masks and decoding against golden fred_dct; DM through it against dm_loss",
            note="the paper's headline objective is tm; until trajectory matching exists this is FreD with dm",
        ),
    )
}


def method_named(name: str) -> Method:
    """The recipe row of `name`; `UnknownNameError` otherwise."""
    if name not in METHODS:
        raise UnknownNameError("method", name, METHODS)
    return METHODS[name]


# Iterations of the published runs, by objective.
_ITERATIONS: dict[str, Setting] = {
    "none": Setting(0, "paper"),
    "dm": Setting(20_000, "script", "DM README; FreD's DM folder"),
}

# FreD's k: coefficients kept a channel, by dataset and IPC. n' = floor(n H W / k).
# Source: the increment row of slides table 1 (k = 1024 / increment); ImageNet subsets: FreD's scripts at IPC 1.
_FRED_K: dict[str, dict[int, Setting]] = {
    "svhn": {1: Setting(64, "inferred"), 10: Setting(128, "inferred"), 50: Setting(256, "inferred")},
    "cifar10": {1: Setting(64, "script"), 10: Setting(160, "inferred"), 50: Setting(256, "inferred")},
    "cifar100": {1: Setting(128, "inferred"), 10: Setting(400, "inferred"), 50: Setting(400, "inferred")},
    "digits": {
        1: Setting(256, "chosen", "8 x 8 scans widened to 32 x 32 are nearly lossless at k = 64: nothing to distill")
    },
}
_FRED_K_LARGE = Setting(2048, "inferred", "FreD's ImageNet-A..E scripts at IPC 1, taken for every IPC")

# FreD's rates act on unnormalised DCT coefficients (see parameterizations.transforms.pixel_rate).
_FRED_LR: dict[str, Setting] = {"dm": Setting(1e6, "script", "CIFAR-10 IPC 2 and ImageNet-A..E; inferred elsewhere")}
_PIXELS_LR: dict[str, Setting] = {"dm": Setting(1.0, "script", "DM README, IPC 1, 10, 50")}
_PIXELS_LR_MANY = Setting(10.0, "script", "DM README: CIFAR-10, IPC 100 and more")


def iterations_of(objective: str) -> Setting:
    """Published number of iterations of an objective."""
    return _ITERATIONS.get(objective, Setting(1000, "chosen", "no published number for this objective"))


def settings_of(
    objective: str, parameterization: str, *, dataset: str, ipc: int, size: tuple[int, int]
) -> Mapping[str, Setting]:
    """Settings of the parameterization that depend on dataset, budget and objective.

    `ipc` is the whole pictures a class that the budget would buy (at least 1); `size` is (H, W).
    """
    if objective == "none":
        if parameterization != "pixels":
            raise CompatibilityError(
                f"objective 'none' chooses real pictures and cannot fill {parameterization!r}",
                hint="use --parameterization pixels, or --iterations 0 with another objective",
            )
        return {}
    if parameterization == "fred":
        lr = _FRED_LR.get(objective, Setting(1e6, "chosen"))
        return {"k": _fred_k(dataset, ipc, size), "lr": lr}
    if parameterization == "pixels":
        many = dataset == "cifar10" and ipc >= 100 and objective == "dm"
        return {"lr": _PIXELS_LR_MANY if many else _PIXELS_LR.get(objective, Setting(1.0, "chosen"))}
    return {}


def _fred_k(dataset: str, ipc: int, size: tuple[int, int]) -> Setting:
    if dataset in _FRED_K:
        rows = _FRED_K[dataset]
        # IPC 2, 11 and 51 take the k of 1, 10 and 50; so does whatever lies between.
        return rows[max((row for row in rows if row <= ipc), default=min(rows))]
    if max(size) >= 128:
        return _FRED_K_LARGE
    area = size[0] * size[1]
    return Setting(max(1, area // 16), "chosen", "a sixteenth of the frequencies, as CIFAR-10 at IPC 1")
