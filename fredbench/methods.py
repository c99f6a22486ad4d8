"""The published systems as named recipes over the parts, and the settings they were run with: a table, no code.

Every value says where it comes from: `script` (the authors' published scripts), `paper` (paper or its tables),
`inferred` (follows from published numbers), `chosen` (ours, where nothing is published).
"""

from __future__ import annotations

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
    "method_named",
    "settings_of",
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
            "herding",
            "none",
            "pixels",
            "Welling, Herding Dynamical Weights to Learn, ICML 2009; as a baseline in DC and DSA",
            "selection against golden herding, exactly",
            note="features: this run's network trained on the real pictures (the literature does not say which)",
        ),
        Method(
            "k-centre",
            "none",
            "pixels",
            "Sener and Savarese, Active Learning for Convolutional Neural Networks, ICLR 2018",
            "greedy cover radius against its definition; no published vectors",
            note="greedy, class by class, from the picture nearest to the class mean; features as herding",
        ),
        Method(
            "dc",
            "dc",
            "pixels",
            "Zhao, Mopuri and Bilen, Dataset Condensation with Gradient Matching, ICLR 2021",
            "gradients, distances (ours, mse, cos) and losses against golden dc_loss",
        ),
        Method(
            "dsa",
            "dsa",
            "pixels",
            "Zhao and Bilen, Dataset Condensation with Differentiable Siamese Augmentation, ICML 2021",
            "DC's loss against golden dc_loss, the augmentation against dsa_aug",
        ),
        Method(
            "cafe",
            "cafe",
            "pixels",
            "Wang et al., CAFE: Learning to Condense Dataset by Aligning Features, CVPR 2022",
            "losses and gradients against golden cafe; the loop against its definition",
            note="each accuracy is measured alone: the published code adds a tenth of the one before to it",
        ),
        Method(
            "cafe-dsa",
            "cafe",
            "pixels",
            "Wang et al., CAFE: Learning to Condense Dataset by Aligning Features, CVPR 2022",
            "as cafe, with the augmentation of golden dsa_aug",
        ),
        Method(
            "idc",
            "idc",
            "idc",
            "Kim et al., Dataset Condensation via Efficient Synthetic-Data Parameterization, ICML 2022",
            "decoding, initialisation, gradient and feature matching against golden idc",
            note="factor 2 stores 4 pictures in one; the table's x5 is --set parameterization.mode=multi",
        ),
        Method(
            "dm",
            "dm",
            "pixels",
            "Zhao and Bilen, Dataset Condensation with Distribution Matching, WACV 2023",
            "loss, gradients and optimiser steps against golden dm_loss",
        ),
        Method(
            "tm",
            "tm",
            "pixels",
            "Cazenavette et al., Dataset Distillation by Matching Training Trajectories, CVPR 2022",
            "loss, gradients and inner losses against golden tm_loss",
            note="without ZCA whitening, as FreD compares it; the published rows of CIFAR-10 at IPC 1 and 10 use it",
        ),
        Method(
            "fred",
            "tm",
            "fred",
            "Shin, Shin and Moon, Frequency Domain-based Dataset Distillation, NeurIPS 2023",
            "transform, masks and decoding against golden fred_dct; TM through it against tm_loss, DM against dm_loss",
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
    "dc": Setting(1000, "script", "DC and FreD's DC folder"),
    "dsa": Setting(1000, "script", "as DC"),
    "cafe": Setting(2000, "script", "CAFE, distill.py"),
    # One iteration is a pass over the classes; the network is drawn anew every 100.
    "idc": Setting(200_000, "script", "2000 x 100 for 32 px and below; ImageNet: 500 x 100"),
    "dm": Setting(20_000, "script", "DM README; FreD's DM folder"),
    "tm": Setting(5_000, "script", "MTT's distillation script"),
}
_FRED_TM_ITERATIONS = Setting(15_000, "script", "FreD's TM folder")

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
_FRED_LR: dict[str, Setting] = {
    "dm": Setting(1e6, "script", "CIFAR-10 IPC 2 and ImageNet-A..E; inferred elsewhere"),
    "tm": Setting(1e8, "script", "CIFAR-10 IPC 1; inferred elsewhere. Tune down where the loss stays above 1"),
}
_FRED_TM_LR_LARGE = Setting(1e9, "script", "ImageNet-A..E IPC 1 at 128 px; inferred elsewhere")
_FRED_LR_GRADIENT = {False: Setting(1e3, "script", "FreD-DC, CIFAR-10 IPC 2; inferred elsewhere")}
_FRED_LR_GRADIENT[True] = Setting(1e5, "script", "FreD-DC, ImageNet-A..E IPC 1; inferred elsewhere")
_GRADIENT_LIKE = {"dc", "dsa", "cafe"}
_PIXELS_LR: dict[str, Setting] = {
    "dm": Setting(1.0, "script", "DM README, IPC 1, 10, 50"),
    "tm": Setting(1000.0, "paper", "MTT's table without ZCA, CIFAR-10 and CIFAR-100; README for ImageNet subsets"),
    "dc": Setting(0.1, "script", "DC"),
    "dsa": Setting(0.1, "script", "as DC"),
    "cafe": Setting(0.1, "script", "CAFE, distill.py"),
}
# Two epochs of 1,167 digits are ten steps of an expert: a segment is short, so that its relative loss is steep.
_TM_LR_DIGITS = {
    "fred": Setting(1e5, "chosen", "falls from .9 to .5 in 20 iterations at width 16; 1e6 rises to 2 first"),
    "pixels": Setting(10.0, "chosen", "falls at width 16; 100 rises first"),
}
_PIXELS_TM_LR_TINY = Setting(1e4, "paper", "Tiny-ImageNet at 64 px, DC-Benchmark's notes")
_PIXELS_LR_MANY = Setting(10.0, "script", "DM README: CIFAR-10, IPC 100 and more")
_PIXELS_INIT = {"dc": Setting("noise", "script", "DC's default"), "cafe": Setting("noise", "script", "CAFE's default")}
# A picture of [0, 1] is normalised by a deviation s of about .2: a step of eta on it is one of eta / s^2 after.
_NORMALISED = 0.04


def iterations_of(objective: str, parameterization: str = "pixels") -> Setting:
    """Published number of iterations of an objective."""
    if (objective, parameterization) == ("tm", "fred"):
        return _FRED_TM_ITERATIONS
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
        return {"k": _fred_k(dataset, ipc, size), "lr": _fred_lr(objective, dataset, ipc, size)}
    if parameterization == "pixels":
        many = dataset == "cifar10" and ipc >= 100 and objective == "dm"
        lr = _PIXELS_LR_MANY if many else _pixels_lr(objective, dataset, ipc, size)
        return {"lr": lr, **({"init": _PIXELS_INIT[objective]} if objective in _PIXELS_INIT else {})}
    if parameterization == "idc":
        lr = _idc_lr(dataset, ipc, size)
        if objective != "idc":
            rate = _pixels_lr(objective, dataset, ipc, size).value * _NORMALISED
            lr = Setting(rate, "chosen", "not published: the pixels' rate, from normalised pictures to [0, 1]")
        return {"factor": Setting(3 if max(size) >= 128 else 2, "script", "IDC: 2 at 32 px, 3 for ImageNet"), "lr": lr}
    return {}


def _idc_lr(dataset: str, ipc: int, size: tuple[int, int]) -> Setting:
    """IDC's rates are for 10 pictures a class, and multiplied by n / 10; ImageNet's for 224 px, by the area."""
    if max(size) >= 128:
        return Setting(3e-3 * ipc / 10 * (max(size) / 224) ** 2, "inferred", "IDC, ImageNet-10, scaled by n and area")
    base = 1e-4 if dataset in {"mnist", "fashion-mnist"} else 5e-3
    return Setting(base * ipc / 10, "script", "IDC: CIFAR and SVHN 5e-3, MNIST and Fashion 1e-4, times n / 10")


def _pixels_lr(objective: str, dataset: str, ipc: int, size: tuple[int, int]) -> Setting:
    if objective == "idc":
        rate = _idc_lr(dataset, ipc, size).value / _NORMALISED
        return Setting(rate, "chosen", "not published: IDC's rate, from [0, 1] to normalised pictures")
    if objective == "tm" and dataset == "digits":
        return _TM_LR_DIGITS["pixels"]
    if objective == "tm" and 64 <= max(size) < 128:
        return _PIXELS_TM_LR_TINY
    return _PIXELS_LR.get(objective, Setting(1.0, "chosen"))


def _fred_lr(objective: str, dataset: str, ipc: int, size: tuple[int, int]) -> Setting:
    if objective in _GRADIENT_LIKE:
        found = _FRED_LR_GRADIENT[max(size) >= 128]
        return found if objective == "dc" else Setting(found.value, "chosen", "as FreD-DC")
    if objective == "idc":
        rate = _pixels_lr(objective, dataset, ipc, size).value * (2 * max(size)) ** 2
        return Setting(rate, "chosen", "the pixels' rate on unnormalised coefficients")
    if objective == "tm" and dataset == "digits":
        return _TM_LR_DIGITS["fred"]
    if objective == "tm" and max(size) >= 128:
        return _FRED_TM_LR_LARGE
    return _FRED_LR.get(objective, Setting(1e6, "chosen"))


def _fred_k(dataset: str, ipc: int, size: tuple[int, int]) -> Setting:
    if dataset in _FRED_K:
        rows = _FRED_K[dataset]
        # IPC 2, 11 and 51 take the k of 1, 10 and 50; so does whatever lies between.
        return rows[max((row for row in rows if row <= ipc), default=min(rows))]
    if max(size) >= 128:
        return _FRED_K_LARGE
    area = size[0] * size[1]
    return Setting(max(1, area // 16), "chosen", "a sixteenth of the frequencies, as CIFAR-10 at IPC 1")
