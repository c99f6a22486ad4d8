"""What holds where no system says otherwise, and words that several of them share."""

from __future__ import annotations

import dataclasses

from fredbench.recipes.rules import (
    AtMost,
    Case,
    Condition,
    Rule,
    Section,
    at_least,
    between,
    chosen,
    look_up,
    script,
    where,
)

__all__ = [
    "IMAGENET_SUBSETS",
    "LARGE",
    "MANY",
    "MIRRORED",
    "MIRRORED_DIGITS",
    "NORMALISED",
    "OWN_STATISTICS",
    "RULES",
    "SMALL_GREY",
    "WHITENABLE",
    "WHOLE_STRATEGY",
    "borrowed_statistics",
    "mirrors_digits",
    "pixels_rate",
    "quick_rounds",
    "quick_start",
]

IMAGENET_SUBSETS = frozenset({"imagenette", "imagewoof", "imagefruit", "imageyellow", "imagemeow", "imagesquawk"})
SMALL_GREY = frozenset({"mnist", "fashion-mnist"})
# Pixels of a side from which on the literature speaks of ImageNet.
LARGE = 128
# Whole pictures a class from which on `quick` has to save where it need not below.
MANY = 5
# Pictures that are whitened where a system's are: colour, below the size at which FRePo whitens by blocks.
WHITENABLE = where(channels=3, side=between(0, LARGE), preset="paper")
# A picture of [0, 1] is normalised by a deviation s of about .2: a step of eta on it is one of eta / s^2 after.
NORMALISED = 0.04

# Two habits of published scripts, which the preset `paper` shares and the others do not: CIFAR-100 by CIFAR-10's mean
# and deviation, and mirrored digits, of which a mirrored one is none of its class.
OWN_STATISTICS = {
    "cifar100": "CIFAR-100 is normalised by its own mean and deviation, but by CIFAR-10's with the preset paper where "
    "the system's code did so: trajectory matching, IDC and CAFE",
}
# The scripts' default: every operation of DSA.
WHOLE_STRATEGY = "color_crop_cutout_flip_scale_rotate"
MIRRORED_DIGITS = frozenset({"svhn", "mnist"})
MIRRORED = dict.fromkeys(
    sorted(MIRRORED_DIGITS),
    "augmentation mirrors digits in the preset paper, as the scripts do whatever the dataset; in fair and quick not",
)


def pixels_rate(case: Case) -> float:
    """The learning rate of whole pictures under the case's objective: where rates of other storages start from."""
    pixels = dataclasses.replace(case, parameterization="pixels")
    return float(look_up(pixels, "parameterization")["lr"].value)


def mirrors_digits(objective: str, parameterization: str, source: str) -> list[Rule]:
    """Rows of a system whose script has the whole strategy as its default, flip included, whatever the dataset."""
    cells = where(objective=objective, parameterization=parameterization, dataset=MIRRORED_DIGITS, preset="paper")
    sections: tuple[Section, ...] = ("objective", "student")
    return [script(section, source, cells, augmentation=WHOLE_STRATEGY) for section in sections]


def quick_rounds(*objectives: str) -> Rule:
    """A shorter `quick` run for objectives that go through every class in each of several rounds."""
    return chosen(
        "run",
        "quick: two rounds an iteration, or most pictures of a class in every one",
        where(objective=set(objectives), preset="quick", ipc=at_least(MANY)),
        iterations=150,
    )


def quick_start(objective: str) -> Rule:
    """A `quick` start of pictures for an objective that was published with noise.

    Digits, IPC 10, DC: 300 iterations from noise end at 86.9 where random pictures have 91.7.
    """
    return chosen(
        "parameterization",
        "quick: noise takes more iterations than there are, at many pictures a class",
        where(objective=objective, parameterization="pixels", preset="quick", ipc=at_least(MANY)),
        init="real",
    )


def borrowed_statistics(source: str, **conditions: Condition) -> Rule:
    """The preset `paper` on CIFAR-100, for code that normalises it by CIFAR-10's mean and deviation."""
    cells = where(dataset="cifar100", channels=3, preset="paper", choice=False, **conditions)
    return script("data", f"{source}: CIFAR-100 by CIFAR-10's mean and deviation", cells, statistics="cifar10")


RULES: tuple[Rule, ...] = (
    chosen("run", "no published number for this objective", iterations=1000),
    chosen("run", "quick: minutes on two cores", where(preset="quick", choice=False), iterations=300),
    # Of whatever follows experts, so that a plug-in's objective is as quick as ours.
    chosen(
        "objective",
        "quick: at most ten experts, and 15 steps of the student",
        where(preset="quick", experts=True),
        experts=AtMost(10),
        steps=AtMost(15),
    ),
    chosen(
        "parameterization",
        "as DM: nothing is published",
        where(parameterization="pixels", choice=False),
        lr=1.0,
    ),
)
