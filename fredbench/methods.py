"""The published systems as named recipes over the parts, and the settings they were run with: a table, no code.

Every value says where it comes from: `script` (the authors' published scripts), `paper` (paper or its tables),
`inferred` (follows from published numbers), `chosen` (ours, where nothing is published).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fredbench.errors import CompatibilityError, UnknownNameError

__all__ = [
    "METHODS",
    "Method",
    "Origin",
    "Setting",
    "iterations_of",
    "label_settings_of",
    "matching_settings_of",
    "method_named",
    "network_of",
    "settings_of",
    "student_settings_of",
]

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


# The kernel of the published rows is `conv3-pre`; what it costs is measured, see docs/kernels.md.
_KIP_NOTE = (
    "kernel fc1, the authors' notebook; the published rows are of conv3-pre (ConvNet with pooling, ZCA, a large "
    "cluster), which --set objective.kernel=conv3-pre computes exactly, but at 32 px one pair of pictures takes 2 s of "
    "a core (measured; projected: 28 hours a step at IPC 1 with 5,000 targets), so these numbers do not reproduce those"
)

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
            "kip",
            "kip",
            "pixels",
            "Nguyen, Chen and Lee, Dataset Meta-Learning from Kernel Ridge-Regression, ICLR 2021; "
            "Nguyen, Novak, Xiao and Lee, Dataset Distillation with Infinitely Wide Convolutional Networks, "
            "NeurIPS 2021",
            "FC and pooled convolutional kernels, predictions, loss and gradients against golden kip",
            note=_KIP_NOTE,
        ),
        Method(
            "label-solve",
            "label-solve",
            "pixels",
            "Nguyen, Chen and Lee, Dataset Meta-Learning from Kernel Ridge-Regression, ICLR 2021",
            "the solved labels minimise the regression loss; kernels against golden kip",
            note="random real pictures with the best labels for the kernel fc1; see kip for other kernels",
        ),
        Method(
            "frepo",
            "frepo",
            "pixels",
            "Zhou, Nezhadarya and Ba, Dataset Distillation using Neural Feature Regression, NeurIPS 2022",
            "regression, label loss and gradients against golden frepo",
            note="without the paper's ZCA whitening",
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
    "kip": Setting(1000, "script", "the notebook runs 300 to 1,000 steps, the released grid up to 50,000"),
    "label-solve": Setting(1, "paper", "a closed form"),
    "frepo": Setting(500_000, "script", "FRePo README"),
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


# Optimisers of what is stored, where an objective brings its own: rate of the pictures, optimiser, end of the cosine.
_OPTIMISERS: dict[str, dict[str, Setting]] = {
    "kip": {"lr": Setting(0.04, "script", "notebook"), "optimiser": Setting("adam", "script")},
    "frepo": {
        "lr": Setting(3e-4, "script"),
        "optimiser": Setting("lamb", "script"),
        "final": Setting(0.1, "script", "half a cosine down to a tenth"),
    },
}
# LAMB moves a tensor by its rate's share of its norm a step: 300 steps of 3e-4 would leave real pictures as they are.
_FREPO_SHORT_LR = Setting(3e-3, "chosen", "ten times the published rate for runs of under 10,000 iterations")


def iterations_of(objective: str) -> Setting:
    """Published number of iterations of an objective."""
    return _ITERATIONS.get(objective, Setting(1000, "chosen", "no published number for this objective"))


def settings_of(
    objective: str, parameterization: str, *, dataset: str, ipc: int, size: tuple[int, int], iterations: int = 0
) -> Mapping[str, Setting]:
    """Settings of the parameterization that depend on dataset, budget, objective and length of the run.

    `ipc` is the whole pictures a class that the budget would buy (at least 1); `size` is (H, W).
    """
    own = _optimiser_of(objective, iterations)
    if objective == "none":
        if parameterization != "pixels":
            raise CompatibilityError(
                f"objective 'none' chooses real pictures and cannot fill {parameterization!r}",
                hint="use --parameterization pixels, or --iterations 0 with another objective",
            )
        return {}
    if parameterization == "fred":
        lr = _FRED_LR.get(objective, Setting(1e6, "chosen"))
        if "lr" in own and own["optimiser"].value == "adam":
            # Adam moves every number by its rate, and an unnormalised coefficient is 2 sqrt(HW) orthonormal ones.
            scale = 2 * math.sqrt(size[0] * size[1])
            own = {**own, "lr": Setting(own["lr"].value * scale, "chosen", "the pixels' rate on coefficients")}
        return {"k": _fred_k(dataset, ipc, size), "lr": lr, **own}
    if parameterization == "pixels":
        many = dataset == "cifar10" and ipc >= 100 and objective == "dm"
        return {"lr": _PIXELS_LR_MANY if many else _PIXELS_LR.get(objective, Setting(1.0, "chosen")), **own}
    return own


def _optimiser_of(objective: str, iterations: int) -> dict[str, Setting]:
    own = dict(_OPTIMISERS.get(objective, {}))
    if objective == "frepo" and 0 < iterations < 10_000:
        own["lr"] = _FREPO_SHORT_LR
    return own


def matching_settings_of(objective: str, *, dataset: str, ipc: int, flip: bool, preset: str) -> Mapping[str, Setting]:
    """Settings of the objective that depend on dataset and budget; `flip`: whether mirroring keeps the class."""
    if objective == "frepo":
        few = dataset not in ("cifar100", "tiny-imagenet") or ipc == 1
        found = {"flip": Setting(flip and few, "script", "off for digits, and for 100 classes above IPC 1")}
        if preset == "quick":
            found["batch_real"] = Setting(256, "chosen", "a quarter, for a quick cell of minutes")
        return found
    return {}


def label_settings_of(objective: str, *, classes: int, iterations: int = 0) -> Mapping[str, Setting]:
    """Labels that a method's set has; empty for hard ones."""
    centred = {"form": Setting("centred", "paper"), "learned": Setting(True, "paper")}
    match objective:
        case "kip":
            own = _optimiser_of(objective, iterations)
            return {**centred, "learned": Setting(True, "chosen", "fixed and learned were both published"), **own}
        case "label-solve":
            whole = Setting(1.0, "chosen", "one step lands on the solution")
            return {**centred, "lr": whole, "optimiser": Setting("sgd", "chosen")}
        case "frepo":
            divisor = Setting(math.sqrt(classes / 10), "script")
            return {**centred, "divisor": divisor, **_optimiser_of(objective, iterations)}
    return {}


def network_of(objective: str, width: int) -> str | None:
    """The network that an objective was published with, `width` wide at 32 px; None for the usual ConvNet."""
    return f"frepo-w{width}-bn" if objective == "frepo" else None


# FRePo trains its students for a number of steps by the number of its pictures (its evaluation script).
_FREPO_STEPS = {10: 1000, 100: 2000, 200: 20_000, 400: 5000, 500: 5000, 1000: 10_000, 2000: 40_000, 5000: 40_000}
_FREPO_WARMUP, _FREPO_BATCH = 500, 500


def student_settings_of(objective: str, preset: str, *, pictures: int, classes: int) -> Mapping[str, Setting]:
    """What differs from the shared protocol in how a method's own students are trained, by the `paper` preset.

    `pictures` is the number of decoded ones. `network` among the settings is the students' network.
    """
    if preset != "paper":
        return {}
    if objective == "frepo":
        nearest = min(_FREPO_STEPS, key=lambda listed: abs(math.log(listed / pictures)))
        exact = nearest == pictures
        batches = math.ceil(pictures / _FREPO_BATCH)
        steps = _FREPO_STEPS[nearest]
        length = steps // batches
        return {
            "network": Setting("frepo-w128-none", "script"),
            "epochs": Setting(length, "script") if exact else Setting(length, "chosen", "nearest listed number"),
            "warmup": Setting(_FREPO_WARMUP // batches, "script"),
            "batch_size": Setting(_FREPO_BATCH, "script"),
            "lr": Setting(3e-4, "script"),
            "optimiser": Setting("adam", "script"),
            "weight_decay": Setting(0.0, "script"),
            "schedule": Setting("cosine", "script"),
            "final": Setting(0.01, "script"),
            "strength": Setting("frepo", "inferred", "the same operations; ours draw parameters for each picture"),
        }
    if objective in ("kip", "label-solve"):
        batches = math.ceil(pictures / 100)
        return {
            "network": Setting("kip-w1024", "paper"),
            "epochs": Setting(5000 // batches, "paper"),
            "batch_size": Setting(100, "paper"),
            "lr": Setting(0.5, "chosen", "the factor was searched on validation pictures; winners are not published"),
            "lr_unit": Setting("stable", "paper", "times the largest stable rate on 50 inputs"),
            # Theirs is the mean over classes too: a C-th of our loss, so the decay is C times theirs.
            "weight_decay": Setting(0.001 * classes, "inferred"),
            "schedule": Setting("cosine", "paper"),
            "augmentation": Setting("none", "paper"),
        }
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
