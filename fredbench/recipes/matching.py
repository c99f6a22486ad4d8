"""How the published systems match: loops, batches and augmentation by objective, dataset and IPC; how long they run.

`quick` values are ours: a fifth of the work or less, so that a cell ends in minutes on two cores.
"""

from __future__ import annotations

from fredbench.recipes.settings import Setting, Settings, chosen, script
from fredbench.recipes.trajectory import MANY, quick_trajectories, trajectory_settings

__all__ = ["iterations_of", "matching_settings", "network_of", "quick_iterations_of"]

# Iterations of the published runs, by objective.
_ITERATIONS: dict[str, Setting] = {
    "none": Setting(0, "paper"),
    "dc": Setting(1000, "script", "DC and FreD's DC folder"),
    "dsa": Setting(1000, "script", "as DC"),
    "cafe": Setting(2000, "script", "CAFE, distill.py"),
    # One iteration is a pass over the classes; the network is drawn anew every 100.
    "idc": Setting(200_000, "script", "2000 x 100 for 32 px and below"),
    "dm": Setting(20_000, "script", "DM README; FreD's DM folder"),
    "tm": Setting(5_000, "script", "MTT's distillation script"),
    "kip": Setting(1000, "script", "the notebook runs 300 to 1,000 steps, the released grid up to 50,000"),
    "label-solve": Setting(1, "paper", "a closed form"),
    "frepo": Setting(500_000, "script", "FRePo README"),
}
_IDC_LARGE = Setting(50_000, "script", "IDC: 500 x 100 for ImageNet")
# FreD's TM folder and HaBa run longer than MTT.
_LONGER_TM = {"fred": Setting(15_000, "script", "FreD's TM folder"), "haba": Setting(15_000, "script", "HaBa")}
_QUICK_ITERATIONS = Setting(300, "chosen", "quick: minutes on two cores")
_LOOPED = {"dc", "dsa", "cafe", "idc"}
_QUICK_LOOPS = Setting(150, "chosen", "quick: two rounds an iteration, or most pictures of a class in every one")
_QUICK_DC_OF_MANY = Setting(150, "chosen", "quick: FreD has up to 32 pictures a picture's budget for DC to go through")
# A step of KIP grows with the square of the pictures: 0.4 s of a core at 10, 7 s at 100.
_QUICK_KIP = Setting(100, "chosen", "quick: the loss has come to rest")
_QUICK_KIP_MANY = Setting(40, "chosen", "quick: five minutes of two cores at IPC 10")

# DC and DSA, (rounds, epochs) by IPC: the loops of the public code; 2, 11 and 51 are FreD's additions.
_DC_LOOPS: dict[int, tuple[int, int]] = {
    1: (1, 1), 2: (1, 1), 10: (10, 50), 11: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15),
    50: (50, 10), 51: (50, 10),
}  # fmt: skip
_LARGE = 128
_SMALL_GREY = {"mnist", "fashion-mnist"}


def iterations_of(objective: str, parameterization: str = "pixels", *, side: int = 32) -> Setting:
    """Published number of iterations of an objective; `side`: the longer side of a picture."""
    if objective == "idc" and side >= _LARGE:
        return _IDC_LARGE
    if objective == "tm" and parameterization in _LONGER_TM:
        return _LONGER_TM[parameterization]
    return _ITERATIONS.get(objective, Setting(1000, "chosen", "no published number for this objective"))


def quick_iterations_of(objective: str, parameterization: str = "pixels", *, dataset: str, ipc: int) -> Setting:
    """Iterations that the preset `quick` spends; `ipc`: whole pictures a class that the budget would buy."""
    if objective in {"dc", "dsa"} and parameterization == "fred" and ipc < MANY:
        return _QUICK_DC_OF_MANY
    if objective == "tm":
        return quick_trajectories(dataset, ipc)
    if objective == "kip":
        return _QUICK_KIP if ipc < MANY else _QUICK_KIP_MANY
    return _QUICK_LOOPS if objective in _LOOPED and ipc >= MANY else _QUICK_ITERATIONS


def network_of(objective: str, width: int) -> str | None:
    """The network that an objective was published with, `width` wide at 32 px; None for the usual ConvNet."""
    return f"frepo-w{width}-bn" if objective == "frepo" else None


def matching_settings(
    method: str,
    objective: str,
    parameterization: str,
    *,
    dataset: str,
    ipc: int,
    side: int,
    flip: bool,
    iterations: int,
    quick: bool,
) -> Settings:
    """Settings of the objective that are not its defaults.

    `ipc`: whole pictures a class that the budget would buy; `side`: the longer side of a picture; `flip`: whether a
    mirrored picture keeps its class.
    """
    if objective in {"dc", "dsa"}:
        return _gradient(ipc, quick)
    if objective == "cafe":
        return _alignment(method, iterations, quick)
    if objective == "idc":
        return _idc(dataset, side, quick)
    if objective == "tm":
        return trajectory_settings(parameterization, dataset, ipc, side, quick=quick)
    if objective == "kip" and quick:
        # fc1 takes milliseconds, but what it asks of pictures makes convolutional students worse (docs/kernels.md).
        why = "quick: the convolutional kernel that minutes allow, 100 targets a step"
        return chosen(why, kernel="conv3-nopool", batch_real=100, precision="float32")
    if objective == "frepo":
        return _regression(dataset, ipc, side, flip, quick)
    if objective == "none" and method != "random":
        if quick:
            return chosen("quick: the features need no more than a rough network", epochs=5)
        why = "the features' network of the published rows and its training were not sourced"
        return chosen(why, epochs=20, lr=0.01, momentum=0.9, weight_decay=5e-4, batch_size=256)
    return {}


def _gradient(ipc: int, quick: bool) -> Settings:
    listed = max((row for row in _DC_LOOPS if row <= ipc), default=1)
    rounds, epochs = _DC_LOOPS[listed]
    if quick:
        why = "quick: at most 2 rounds with 2 epochs between them, 32 real pictures a class"
        return chosen(why, rounds=min(rounds, 2), epochs=min(epochs, 2), batch_real=32)
    if listed != ipc:
        return chosen(f"IPC {ipc} is not published; the loops of IPC {listed}", rounds=rounds, epochs=epochs)
    return script("DC and FreD, get_loops", rounds=rounds, epochs=epochs)


def _alignment(method: str, iterations: int, quick: bool) -> Settings:
    # 1200, 1600 and 1800 of the published 2000, at the same shares of any other number.
    # Rounded up, so that the first iteration of the shortest run still has the whole rate.
    milestones = tuple(max(1, -(-iterations * share // 10)) for share in (6, 8, 9))
    settings = {"milestones": Setting(milestones, "script" if iterations == 2000 else "inferred", "CAFE, distill.py")}
    if method != "cafe-dsa":
        settings |= script("CAFE without DSA", augmentation="none")
    if quick:
        why = "quick: 64 real pictures a class, 16 to measure by, at most 2 rounds with 2 epochs between them"
        settings |= chosen(why, batch_real=64, batch_probe=16, most_rounds=2, most_epochs=2)
    return settings


def _idc(dataset: str, side: int, quick: bool) -> Settings:
    settings = script(
        "IDC, argument.py: color_crop_cutout, cutout left out beside CutMix", augmentation="color+crop+cutout"
    )
    if dataset in _SMALL_GREY or side >= _LARGE:
        settings |= script("IDC: l1 for MNIST, Fashion and ImageNet", metric="l1")
    if dataset.startswith("cifar"):
        settings |= script("IDC: 2000 real pictures for CIFAR, 500 elsewhere", train_pictures=2000)
    if side >= _LARGE:
        settings |= script("IDC: a new network is trained for 10 epochs first (ImageNet-10)", pretrain_epochs=10)
        settings |= chosen("the probability of CutMix is published for 32 px", cutmix=0.5)
    if quick:
        why = "quick: 32 real and at most 32 synthetic pictures a class, 128 to train by, no training beforehand"
        settings |= chosen(why, batch_real=32, batch_synthetic=32, train_pictures=128, pretrain_epochs=0)
    return settings


def _regression(dataset: str, ipc: int, side: int, flip: bool, quick: bool) -> Settings:
    few = dataset not in {"cifar100", "tiny-imagenet"} or ipc == 1
    if dataset == "svhn":
        settings = chosen("published: on; but a mirrored digit is none of its class", flip=flip)
    elif not flip and dataset != "mnist":
        settings = chosen("a mirror changes the class", flip=False)
    else:
        why = "FRePo: off for digits, for ImageNet, and for 100 classes above IPC 1"
        settings = script(why, flip=flip and few and side < _LARGE)
    if quick:
        settings |= chosen("quick: a quarter of the real pictures", batch_real=256)
    return settings
