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
    "matching_settings_of",
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
_PIXELS_LR: dict[str, Setting] = {
    "dm": Setting(1.0, "script", "DM README, IPC 1, 10, 50"),
    "tm": Setting(1000.0, "paper", "MTT's table without ZCA, CIFAR-10 and CIFAR-100; README for ImageNet subsets"),
}
_PIXELS_TM_LR_TINY = Setting(1e4, "paper", "Tiny-ImageNet at 64 px, DC-Benchmark's notes")
_PIXELS_LR_MANY = Setting(10.0, "script", "DM README: CIFAR-10, IPC 100 and more")


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
        large = objective == "tm" and max(size) >= 128
        lr = _FRED_TM_LR_LARGE if large else _FRED_LR.get(objective, Setting(1e6, "chosen"))
        return {"k": _fred_k(dataset, ipc, size), "lr": lr}
    if parameterization == "pixels":
        if dataset == "cifar10" and ipc >= 100 and objective == "dm":
            return {"lr": _PIXELS_LR_MANY}
        if objective == "tm" and 64 <= max(size) < 128:
            return {"lr": _PIXELS_TM_LR_TINY}
        return {"lr": _PIXELS_LR.get(objective, Setting(1.0, "chosen"))}
    return {}


@dataclass(frozen=True)
class _TM:
    """A row of a table of trajectory matching: N, M, T+, the step size's rate, its first value, batch (0: all)."""

    steps: int
    expert_epochs: int
    start_epochs: int
    step_size_lr: float
    step_size: float
    batch: int = 0


# FreD's TM folder, by dataset and IPC; IPC 2, 11 and 51 equal 1, 10 and 50 wherever it has them.
_FRED_TM: dict[str, dict[int, _TM]] = {
    "mnist": {1: _TM(50, 2, 5, 1e-7, 0.01), 10: _TM(30, 2, 15, 1e-5, 0.01)},
    "fashion-mnist": {1: _TM(50, 2, 5, 1e-7, 0.01), 10: _TM(60, 2, 15, 1e-5, 0.01)},
    "svhn": {1: _TM(50, 2, 5, 1e-7, 0.01), 10: _TM(30, 2, 15, 1e-5, 0.01), 50: _TM(40, 2, 40, 1e-5, 0.001)},
    "cifar10": {1: _TM(50, 2, 5, 1e-7, 0.01), 10: _TM(40, 2, 15, 1e-5, 0.01), 50: _TM(30, 2, 40, 1e-5, 0.001)},
    "cifar100": {1: _TM(50, 2, 15, 1e-5, 0.01), 10: _TM(20, 2, 40, 1e-5, 0.01), 50: _TM(80, 2, 40, 1e-5, 0.01)},
}
_FRED_TM_BY_SIZE: dict[int, dict[int, _TM]] = {
    32: _FRED_TM["cifar10"],
    64: {1: _TM(30, 2, 30, 1e-4, 0.01), 10: _TM(40, 2, 40, 1e-4, 0.01)},
    128: {1: _TM(20, 2, 10, 1e-6, 0.01)},
}
# MTT's table as public reruns and DC-Benchmark's notes quote it; CIFAR-100 IPC 1 and 50 were run with ZCA there.
_PIXELS_TM: dict[str, dict[int, _TM]] = {
    "cifar10": {1: _TM(50, 2, 5, 1e-7, 0.01), 10: _TM(30, 2, 15, 1e-5, 0.01), 50: _TM(30, 2, 40, 1e-5, 0.001)},
    "cifar100": {1: _TM(20, 3, 20, 1e-5, 0.01), 10: _TM(20, 2, 20, 1e-5, 0.01), 50: _TM(80, 2, 40, 1e-5, 0.01, 125)},
}
_PIXELS_TM_BY_SIZE: dict[int, dict[int, _TM]] = {
    32: _PIXELS_TM["cifar10"],
    64: {1: _TM(10, 2, 10, 1e-4, 0.01), 10: _TM(20, 2, 40, 1e-4, 0.01, 200), 50: _TM(20, 2, 40, 1e-4, 0.01, 300)},
    128: {1: _TM(20, 2, 10, 1e-6, 0.01), 10: _TM(20, 2, 10, 1e-6, 0.01, 20)},
}
_IMAGENET_SUBSETS = ("imagenette", "imagewoof", "imagefruit", "imageyellow", "imagemeow", "imagesquawk")


def matching_settings_of(
    objective: str, parameterization: str, *, dataset: str, ipc: int, size: tuple[int, int]
) -> Mapping[str, Setting]:
    """Settings of the objective that depend on dataset, budget and parameterization; arguments as `settings_of`."""
    if objective != "tm":
        return {}
    pixels = parameterization == "pixels"
    by_name, by_size = (_PIXELS_TM, _PIXELS_TM_BY_SIZE) if pixels else (_FRED_TM, _FRED_TM_BY_SIZE)
    origin: Origin = "paper" if pixels else "script"
    if dataset in by_name:
        rows = by_name[dataset]
    elif dataset in _FRED_TM:
        # MTT's own settings of SVHN and the MNISTs were not sourced; FreD's are the best start.
        rows, origin = _FRED_TM[dataset], "inferred"
    else:
        rows = by_size[max((edge for edge in by_size if edge <= max(size)), default=32)]
        origin = origin if dataset in _IMAGENET_SUBSETS else "chosen"
    row = rows[max((budget for budget in rows if budget <= ipc), default=min(rows))]
    return {name: Setting(value, origin) for name, value in vars(row).items()}


def _fred_k(dataset: str, ipc: int, size: tuple[int, int]) -> Setting:
    if dataset in _FRED_K:
        rows = _FRED_K[dataset]
        # IPC 2, 11 and 51 take the k of 1, 10 and 50; so does whatever lies between.
        return rows[max((row for row in rows if row <= ipc), default=min(rows))]
    if max(size) >= 128:
        return _FRED_K_LARGE
    area = size[0] * size[1]
    return Setting(max(1, area // 16), "chosen", "a sixteenth of the frequencies, as CIFAR-10 at IPC 1")
