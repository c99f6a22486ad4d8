"""What is stored and how it is optimised: coefficients, rates, optimisers, labels, by dataset, budget, objective."""

from __future__ import annotations

import math
from dataclasses import replace

from fredbench.foundation.errors import CompatibilityError
from fredbench.recipes.hallucination import hallucination_settings
from fredbench.recipes.settings import Setting, Settings, chosen
from fredbench.recipes.trajectory import IMAGENET_SUBSETS, MANY, WHITENED

__all__ = ["label_settings", "storage_settings"]

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
_FRED_DC_K_2 = Setting(32, "script", "FreD-DC, CIFAR-10 IPC 2; DM keeps 64 there")
_FRED_K_LARGE = Setting(2048, "inferred", "FreD's ImageNet-A..E scripts at IPC 1, taken for every IPC")

# FreD's rates act on unnormalised DCT coefficients (see parameterizations.transforms.pixel_rate).
_FRED_LR: dict[str, Setting] = {
    "dm": Setting(1e6, "inferred", "FreD's DM scripts: CIFAR-10 IPC 2 and ImageNet-A..E"),
    "tm": Setting(1e8, "inferred", "FreD's TM script: CIFAR-10 IPC 1. Tune down where the loss stays above 1"),
}
_FRED_TM_LR_LARGE = Setting(1e9, "inferred", "FreD's TM script: ImageNet-A..E IPC 1 at 128 px")
_FRED_LR_GRADIENT = {False: Setting(1e3, "inferred", "FreD's DC script: CIFAR-10 IPC 2")}
_FRED_LR_GRADIENT[True] = Setting(1e5, "inferred", "FreD's DC script: ImageNet-A..E IPC 1")
# Where those scripts are of this very cell (ImageNet-A..E are none of our datasets).
_FRED_LR_SCRIPTS = {("dm", "cifar10", 2), ("tm", "cifar10", 1), ("dc", "cifar10", 2)}
_GRADIENT_LIKE = {"dc", "dsa", "cafe"}
_PIXELS_LR: dict[str, Setting] = {
    "dm": Setting(1.0, "script", "DM README, IPC 1, 10, 50"),
    "tm": Setting(1000.0, "paper", "MTT's table without ZCA, CIFAR-10 and CIFAR-100; README for ImageNet subsets"),
    "dc": Setting(0.1, "script", "DC"),
    "dsa": Setting(0.1, "script", "as DC"),
    "cafe": Setting(0.1, "script", "CAFE, distill.py"),
}
# The datasets that those rates were published for; elsewhere they are taken over.
_DC_DATASETS = {"mnist", "fashion-mnist", "svhn", "cifar10", "cifar100"}
_PIXELS_LR_DATASETS: dict[str, set[str]] = {
    "dm": {"cifar10", "cifar100"},
    "tm": {"cifar10", "cifar100", *IMAGENET_SUBSETS},
    "dc": _DC_DATASETS,
    "dsa": _DC_DATASETS,
    "cafe": {"cifar10"},
}
# Two epochs of 1,167 digits are ten steps of an expert: a segment is short, so that its relative loss is steep.
_TM_LR_DIGITS = {
    "fred": Setting(1e5, "chosen", "falls from .9 to .5 in 20 iterations at width 16; 1e6 rises to 2 first"),
    "pixels": Setting(10.0, "chosen", "falls at width 16; 100 rises first"),
}
_PIXELS_TM_LR_TINY = Setting(1e4, "paper", "Tiny-ImageNet at 64 px, DC-Benchmark's notes")
_PIXELS_LR_MANY = Setting(10.0, "script", "DM README: CIFAR-10, IPC 100 and more")
_PIXELS_INIT = {"dc": Setting("noise", "script", "DC's default"), "cafe": Setting("noise", "script", "CAFE's default")}
# Digits, IPC 10, DC: 300 iterations from noise end at 86.9 where random pictures have 91.7.
_QUICK_INIT = Setting("real", "chosen", "quick: noise takes more iterations than there are, at many pictures a class")
# A picture of [0, 1] is normalised by a deviation s of about .2: a step of eta on it is one of eta / s^2 after.
_NORMALISED = 0.04

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


def storage_settings(
    objective: str,
    parameterization: str,
    *,
    dataset: str,
    ipc: int,
    size: tuple[int, int],
    iterations: int = 0,
    width: int = 128,
    quick: bool = False,
) -> Settings:
    """Settings of the parameterization that depend on dataset, budget, objective and length of the run.

    `ipc` is the whole pictures a class that the budget would buy (at least 1); `size` is (H, W); `width` that of the
    run's networks.
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
        if "lr" in own and own["optimiser"].value == "adam":
            # Adam moves every number by its rate, and an unnormalised coefficient is 2 sqrt(HW) orthonormal ones.
            scale = 2 * math.sqrt(size[0] * size[1])
            own = {**own, "lr": Setting(own["lr"].value * scale, "chosen", "the pixels' rate on coefficients")}
        return {"k": _fred_k(objective, dataset, ipc, size), "lr": _fred_lr(objective, dataset, ipc, size), **own}
    if parameterization == "pixels":
        many = dataset == "cifar10" and ipc >= 100 and objective == "dm"
        lr = _PIXELS_LR_MANY if many else _pixels_lr(objective, dataset, ipc, size)
        return {"lr": lr, **_pixels_init(objective, quick and ipc >= MANY), **own}
    if parameterization == "haba":
        pixels_lr = _pixels_lr(objective, dataset, ipc, size)
        return hallucination_settings(
            objective, dataset=dataset, iterations=iterations, pixels_lr=pixels_lr, own=own, width=width
        )
    if parameterization == "idc":
        lr = _idc_lr(dataset, ipc, size)
        if objective != "idc":
            rate = _pixels_lr(objective, dataset, ipc, size).value * _NORMALISED
            lr = Setting(rate, "chosen", "not published: the pixels' rate, from normalised pictures to [0, 1]")
        if "lr" in own and own["optimiser"].value == "adam":
            # Adam moves every number by its rate, and a canvas's numbers are a deviation s of a normalised picture's;
            # LAMB's rate is a share of the canvases' own norm, and stays.
            rate = own["lr"].value * math.sqrt(_NORMALISED)
            own = {**own, "lr": Setting(rate, "chosen", "the pixels' rate, from normalised pictures to [0, 1]")}
        factor = Setting(3 if max(size) >= 128 else 2, "script", "IDC: 2 at 32 px, 3 for ImageNet")
        return {"factor": factor, "lr": lr, **own}
    return {}


def _optimiser_of(objective: str, iterations: int) -> dict[str, Setting]:
    """Rate, optimiser and schedule of what is stored, where an objective brings its own; else nothing."""
    own = dict(_OPTIMISERS.get(objective, {}))
    if objective == "frepo" and 0 < iterations < 10_000:
        own["lr"] = _FREPO_SHORT_LR
    return own


def _idc_lr(dataset: str, ipc: int, size: tuple[int, int]) -> Setting:
    """IDC's rates are for 10 pictures a class of 32 px (ImageNet: 224), and multiplied by n / 10 and by the area."""
    if max(size) >= 128:
        return Setting(3e-3 * ipc / 10 * (max(size) / 224) ** 2, "inferred", "IDC, ImageNet-10, scaled by n and area")
    grey = dataset in {"mnist", "fashion-mnist"}
    area = 1.0 if grey else (max(size) / 32) ** 2
    rate = (1e-4 if grey else 5e-3) * ipc / 10 * area
    why = "IDC: CIFAR and SVHN 5e-3, MNIST and Fashion 1e-4, times n / 10"
    if grey or dataset in {"svhn", "cifar10", "cifar100"}:
        return Setting(rate, "script", why)
    return Setting(rate, "inferred", f"{why} and (size / 32)^2; published for others")


def _pixels_init(objective: str, hurried: bool) -> dict[str, Setting]:
    """Where pixels start, unless from real pictures as is their default."""
    if objective not in _PIXELS_INIT:
        return {}
    return {"init": _QUICK_INIT if hurried else _PIXELS_INIT[objective]}


def _pixels_lr(objective: str, dataset: str, ipc: int, size: tuple[int, int]) -> Setting:
    if objective == "idc":
        rate = _idc_lr(dataset, ipc, size).value / _NORMALISED
        return Setting(rate, "chosen", "not published: IDC's rate, from [0, 1] to normalised pictures")
    if objective == "tm" and dataset == "digits":
        return _TM_LR_DIGITS["pixels"]
    if objective == "tm" and 64 <= max(size) < 128:
        return _of_cell(_PIXELS_TM_LR_TINY, dataset == "tiny-imagenet")
    found = _PIXELS_LR.get(objective)
    if found is None:
        return Setting(1.0, "chosen", "as DM: nothing is published")
    if objective == "tm" and (dataset, ipc) in WHITENED:
        return replace(found, why="MTT's table, with ZCA there, without here")
    return _of_cell(found, dataset in _PIXELS_LR_DATASETS[objective])


def _of_cell(found: Setting, published: bool) -> Setting:
    """`found`, or what is inferred from it where it is not published for this dataset and budget."""
    return found if published else Setting(found.value, "inferred", f"published for others: {found.why}")


def _fred_lr(objective: str, dataset: str, ipc: int, size: tuple[int, int]) -> Setting:
    if objective in _GRADIENT_LIKE:
        found = _FRED_LR_GRADIENT[max(size) >= 128]
        if objective != "dc":
            return Setting(found.value, "chosen", "as FreD-DC")
        return _scripted(found, objective, dataset, ipc)
    if objective == "idc":
        rate = _pixels_lr(objective, dataset, ipc, size).value * (2 * max(size)) ** 2
        return Setting(rate, "chosen", "the pixels' rate on unnormalised coefficients")
    if objective == "tm" and dataset == "digits":
        return _TM_LR_DIGITS["fred"]
    if objective == "tm" and max(size) >= 128:
        return _FRED_TM_LR_LARGE
    return _scripted(
        _FRED_LR.get(objective, Setting(1e6, "chosen", "as FreD-DM: nothing is published")), objective, dataset, ipc
    )


def _scripted(found: Setting, objective: str, dataset: str, ipc: int) -> Setting:
    return replace(found, origin="script") if (objective, dataset, ipc) in _FRED_LR_SCRIPTS else found


def _fred_k(objective: str, dataset: str, ipc: int, size: tuple[int, int]) -> Setting:
    if (objective, dataset, ipc) == ("dc", "cifar10", 2):
        return _FRED_DC_K_2
    if dataset in _FRED_K:
        rows = _FRED_K[dataset]
        # IPC 2, 11 and 51 take the k of 1, 10 and 50; so does whatever lies between.
        return rows[max((row for row in rows if row <= ipc), default=min(rows))]
    if max(size) >= 128:
        return _FRED_K_LARGE
    area = size[0] * size[1]
    return Setting(max(1, area // 16), "chosen", "a sixteenth of the frequencies, as CIFAR-10 at IPC 1")


def label_settings(objective: str, *, classes: int, iterations: int) -> Settings:
    """Labels that an objective was published with; empty for hard ones."""
    centred = {"form": Setting("centred", "paper"), "learned": Setting(True, "paper")}
    if objective == "kip":
        own = _optimiser_of(objective, iterations)
        return {**centred, "learned": Setting(True, "chosen", "fixed and learned were both published"), **own}
    if objective == "label-solve":
        return {**centred, **chosen("one step lands on the solution", lr=1.0, optimiser="sgd")}
    if objective == "frepo":
        divisor = Setting(math.sqrt(classes / 10), "script")
        return {**centred, "divisor": divisor, **_optimiser_of(objective, iterations)}
    return {}
