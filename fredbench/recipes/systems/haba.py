"""HaBa: bases, shown through hallucinators: rates, trajectories, the extractor's width."""

from __future__ import annotations

from fredbench.recipes.methods import Method
from fredbench.recipes.rules import Case, Rule, at_least, between, chosen, except_for, inferred, script, where
from fredbench.recipes.systems.common import (
    IMAGENET_SUBSETS,
    LARGE,
    MIRRORED,
    MIRRORED_DIGITS,
    WHITENABLE,
    WHOLE_STRATEGY,
    mirrors_digits,
    pixels_rate,
)
from fredbench.recipes.systems.trajectories import (
    FRED_BY_SIDE,
    MTT_BY_DATASET,
    MTT_BY_SIDE,
    OF_FRED,
    WHITENED,
    Table,
    matched,
    of_datasets,
    of_sizes,
    row,
)

__all__ = ["METHODS", "RULES"]

METHODS = (
    Method(
        "haba",
        "tm",
        "haba",
        "Liu et al., Dataset Distillation via Factorization, NeurIPS 2022",
        "hallucinators, contrastive terms and the trajectory loss through them against golden haba",
        note="ZCA-whitened on CIFAR by the preset paper, by which students also score a picture among those beside it, "
        "128 at once; #Params are the bases' alone, as in the published table: the hallucinators' "
        "scalars stand in the strict count, or in both by --set parameterization.count_hallucinators=true",
        departures=MIRRORED,
    ),
)

_HABA = where(parameterization="haba", choice=False)
_TM_PAPER = where(objective="tm", parameterization="haba", preset="paper")
_STANDARDISED = "HaBa, utils.py:409: every batch of a network by its own mean and deviation"
# A weight moves every picture: at the rate of the bases, 24 iterations of TM on CIFAR-10 made the weights 199 times as
# large (loss .98 to .89 at width 16); at 1000 for the bases and .1 for them the loss came to .71, the weights to 1.1.
_HALLUCINATORS_SHARE = 1e-4
# A run below so many iterations is none of the published ones, of 15,000; one of none is the start of those.
_SHORT = between(1, 10_000)
_LONG = where(objective="tm", iterations=lambda count: not _SHORT(count))

# HaBa's CIFAR-10 scripts, which whiten, as the preset `paper` does. Elsewhere its README refers to MTT, and the rates
# are the code's defaults.
_AS_MTT = "HaBa, README.md:52: otherwise MTT's, which are these"
_TRAJECTORIES: Table = {1: row(50, 2, 2, 1e-7, 0.01), 10: row(30, 2, 20, 1e-5, 0.001), 50: row(30, 2, 20, 1e-5, 0.01)}


def _strategy(case: Case) -> str:
    return WHOLE_STRATEGY if case.flip or case.dataset in MIRRORED_DIGITS else WHOLE_STRATEGY.replace("flip_", "")


RULES: tuple[Rule, ...] = (
    script("run", "HaBa, distill_fac.py:458", {**_HABA, **where(objective="tm")}, iterations=15_000),
    script(
        "data",
        "HaBa, run_cifar10_ipc*_style5.sh: kornia's ZCA, eps .1 on [0, 1]",
        {**_HABA, **WHITENABLE, **where(objective="tm", dataset={"cifar10", "cifar100"})},
        published=(where(dataset="cifar10"),),
        whitening="mtt",
    ),
    chosen("parameterization", "not published: the rate of pixels", _HABA, lr=pixels_rate),
    chosen(
        "parameterization",
        "not published: a ten-thousandth of the bases' rate, at which the weights keep their size",
        _HABA,
        lr_hallucinators=lambda case: _HALLUCINATORS_SHARE * pixels_rate(case),
    ),
    chosen(
        "parameterization",
        "falls from 2 to .43 in 36 iterations at width 32; .001 to .8; .1 and more swell the weights",
        {**_HABA, **where(objective="tm", dataset="digits")},
        lr_hallucinators=0.01,
    ),
    script(
        "parameterization",
        "HaBa, run_cifar10_ipc*_style5.sh: bases and hallucinators alike, of whitened pictures",
        {**_HABA, **_LONG, **where(dataset="cifar10")},
        lr=100.0,
        lr_hallucinators=100.0,
    ),
    script(
        "parameterization",
        "HaBa, distill_fac.py:460,464: its defaults, whatever the dataset",
        {**_HABA, **_LONG, **where(dataset=IMAGENET_SUBSETS | {"svhn", "cifar100"}, preset="paper")},
        lr=100.0,
        lr_hallucinators=100.0,
    ),
    chosen(
        "parameterization",
        "the pictures stay: nothing may move them beside the objective",
        {**_HABA, **where(objective="label-solve")},
        contrast=0.0,
    ),
    chosen(
        "parameterization",
        "as wide as the run's networks; published: 128",
        {**_HABA, **where(width=except_for(128))},
        extractor_width=lambda case: case.width,
    ),
    # How trajectories are matched through it.
    *of_sizes(FRED_BY_SIDE, "haba"),
    *matched(FRED_BY_SIDE[128], "inferred", OF_FRED, "haba", dataset=IMAGENET_SUBSETS, side=at_least(LARGE)),
    *of_datasets("inferred", OF_FRED, "haba", "mnist", "fashion-mnist", "svhn", "cifar100"),
    *matched(_TRAJECTORIES, "script", f"HaBa's run_cifar10_ipc*.sh, {WHITENED}", "haba", dataset="cifar10"),
    *matched(MTT_BY_DATASET["cifar100"], "script", _AS_MTT, "haba", dataset="cifar100", preset="paper"),
    *matched(
        MTT_BY_SIDE[128], "script", _AS_MTT, "haba", dataset=IMAGENET_SUBSETS, side=at_least(LARGE), preset="paper"
    ),
    script(
        "objective",
        "HaBa, distill_fac.py:126",
        where(objective="tm", parameterization="haba", preset=except_for("quick")),
        step_size_momentum=0.9,
    ),
    script(
        "objective",
        "HaBa, distill_fac.py:126",
        where(objective="tm", parameterization="haba", dataset="digits"),
        step_size_momentum=0.9,
    ),
    *mirrors_digits("tm", "haba", "HaBa, distill_fac.py:476: the default, whatever the dataset"),
    # What its networks see, but for those of the matching: all of them, experts, students and what they are scored on.
    script("objective", _STANDARDISED, _TM_PAPER, expert_standardise="batch"),
    script("student", _STANDARDISED, _TM_PAPER, standardise="batch"),
    # The contrastive terms, which the code reads through the matching's batches.
    script(
        "parameterization",
        "HaBa, distill_fac.py:347-359, 392-413: DSA before the extractor, whose step has a batch and pair of its own",
        _TM_PAPER,
        contrast_augmentation=_strategy,
        contrast_fresh=True,
    ),
    script("parameterization", "HaBa, distill_fac.py:67-68: all bases", _TM_PAPER, contrast_batch=0),
    *(
        inferred(
            "parameterization",
            "HaBa, distill_fac.py:67-68: as many as a step of the matching sees, MTT's number here",
            {**_TM_PAPER, **cell},
            contrast_batch=batch,
        )
        for cell, batch in (
            (where(dataset="cifar100", ipc=at_least(50)), 125),
            (where(dataset=IMAGENET_SUBSETS, side=at_least(LARGE), ipc=at_least(10)), 20),
        )
    ),
)
