"""Trajectory matching: steps, expert epochs and step size as published, by dataset, budget and what is stored."""

from __future__ import annotations

from dataclasses import dataclass

from fredbench.recipes.settings import Origin, Setting, Settings, chosen

__all__ = ["IMAGENET_SUBSETS", "MANY", "WHITENED", "quick_trajectories", "trajectory_settings"]


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
    128: {1: _TM(20, 2, 10, 1e-6, 0.01), 10: _TM(20, 2, 10, 1e-6, 0.01)},
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
# Rows of MTT's table that were run with ZCA whitening, by dataset and IPC; nothing is whitened here.
WHITENED = {("cifar100", 1), ("cifar100", 50)}
# HaBa's CIFAR-10 scripts, which whiten; its settings for other datasets are not published.
_HABA_TM: dict[str, dict[int, _TM]] = {
    "cifar10": {1: _TM(50, 2, 2, 1e-7, 0.01), 10: _TM(30, 2, 20, 1e-5, 0.001), 50: _TM(30, 2, 20, 1e-5, 0.01)},
}
IMAGENET_SUBSETS = ("imagenette", "imagewoof", "imagefruit", "imageyellow", "imagemeow", "imagesquawk")
# Cells of FreD's TM folder that equal those of the IPC listed below them.
_FRED_TWINS = {("cifar10", 2), ("cifar10", 11), ("cifar10", 51), *((name, 2) for name in IMAGENET_SUBSETS)}
_HABA_STEP_SIZE_MOMENTUM = 0.9


# Whole pictures a class from which on `quick` has to save where it need not below.
MANY = 5
_QUICK_STEPS, _QUICK_BATCH = 10, 80
# Measured on CIFAR-10 at IPC 1, FreD, width 32, two experts: the loss falls from .89 below .5 in twenty iterations at
# the published rate of the pictures.
_QUICK = chosen(
    "quick: two epochs of three experts, one of them covered in 10 steps of at most 80 pictures",
    experts=3,
    start_epochs=2,
    expert_epochs=1,
    steps=_QUICK_STEPS,
    batch=_QUICK_BATCH,
    step_size=0.02,
    step_size_lr=1e-5,
)


def quick_trajectories(dataset: str, ipc: int) -> Setting:
    """Iterations that `quick` spends: ten steps of 80 pictures and their adjoint are 1.5 seconds of two cores."""
    if dataset == "digits":
        spent = "fifteen steps of FreD's 40 pictures" if ipc < MANY else "ten steps of 80 pictures"
        return Setting(150 if ipc < MANY else 100, "chosen", f"quick: {spent} are a second or two of two cores")
    return Setting(80, "chosen", "quick: with three experts and the students five minutes of two cores")


def trajectory_settings(parameterization: str, dataset: str, ipc: int, side: int, *, quick: bool) -> Settings:
    """N, M, T+, step size and batch as published for dataset, budget and what is stored; or what `quick` spends."""
    if quick and dataset != "digits":  # an epoch of the digits is five steps: the published settings are cheap there
        return _QUICK
    pixels, haba = parameterization == "pixels", parameterization == "haba"
    by_name, by_size = (_PIXELS_TM, _PIXELS_TM_BY_SIZE) if pixels else (_FRED_TM, _FRED_TM_BY_SIZE)
    by_name = _HABA_TM if haba else by_name
    origin: Origin = "paper" if pixels else "script"
    if dataset in by_name:
        rows = by_name[dataset]
    elif dataset in _FRED_TM:
        # MTT's own settings of SVHN and the MNISTs were not sourced, nor HaBa's; FreD's are the best start.
        rows, origin = _FRED_TM[dataset], "inferred"
    else:
        rows = by_size[max((edge for edge in by_size if edge <= side), default=32)]
        origin = "chosen" if dataset not in IMAGENET_SUBSETS else "inferred" if haba else origin
    listed = max((budget for budget in rows if budget <= ipc), default=min(rows))
    why = "nothing is published for this dataset: the settings of one of its size" if origin == "chosen" else ""
    if (parameterization, dataset, listed) in {("pixels", *cell) for cell in WHITENED} or (haba and origin == "script"):
        why = "with ZCA there, without here"
    if parameterization not in {"pixels", "haba", "fred"}:
        origin, why = "chosen", "not published for what is stored: FreD's settings"
    if listed != ipc and not (parameterization == "fred" and (dataset, ipc) in _FRED_TWINS):
        origin, why = "chosen", f"IPC {ipc} is not published; the settings of IPC {listed}"
    settings = {name: Setting(value, origin, why) for name, value in vars(rows[listed]).items()}
    if quick and ipc >= MANY:
        settings |= chosen("quick: 10 steps of at most 80 pictures", steps=_QUICK_STEPS, batch=_QUICK_BATCH)
    if haba:
        settings["step_size_momentum"] = Setting(_HABA_STEP_SIZE_MOMENTUM, "script", "HaBa")
    return settings
