"""HaBa: bases, shown through hallucinators: rates, trajectories, the extractor's width."""

from __future__ import annotations

from fredbench.recipes.methods import Method
from fredbench.recipes.rules import Rule, at_least, between, chosen, except_for, script, where
from fredbench.recipes.systems.common import IMAGENET_SUBSETS, LARGE, NOT_MIRRORED, WHITENABLE, pixels_rate
from fredbench.recipes.systems.trajectories import (
    FRED_BY_SIDE,
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
        note="ZCA-whitened on CIFAR with the preset paper, as published; #Params are the bases' alone, as in the "
        "published table: the hallucinators' scalars stand in the strict count, or in both by "
        "--set parameterization.count_hallucinators=true",
        departures=NOT_MIRRORED,
    ),
)

_HABA = where(parameterization="haba", choice=False)
# A weight moves every picture: at the rate of the bases, 24 iterations of TM on CIFAR-10 made the weights 199 times as
# large (loss .98 to .89 at width 16); at 1000 for the bases and .1 for them the loss came to .71, the weights to 1.1.
_HALLUCINATORS_SHARE = 1e-4
# A run below so many iterations is none of the published ones, of 15,000; one of none is the start of those.
_SHORT = between(1, 10_000)

# HaBa's CIFAR-10 scripts, which whiten, as the preset `paper` does; its settings for other datasets are not published.
_TRAJECTORIES: Table = {1: row(50, 2, 2, 1e-7, 0.01), 10: row(30, 2, 20, 1e-5, 0.001), 50: row(30, 2, 20, 1e-5, 0.01)}

RULES: tuple[Rule, ...] = (
    script("run", "HaBa", {**_HABA, **where(objective="tm")}, iterations=15_000),
    script(
        "data",
        "HaBa's CIFAR-10 scripts: kornia's ZCA, eps .1 on [0, 1]",
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
        "HaBa's CIFAR-10 scripts: bases and hallucinators alike",
        {**_HABA, **where(objective="tm", dataset="cifar10", iterations=lambda count: not _SHORT(count))},
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
    *matched(_TRAJECTORIES, "script", f"HaBa's CIFAR-10 scripts, {WHITENED}", "haba", dataset="cifar10"),
    script(
        "objective",
        "HaBa",
        where(objective="tm", parameterization="haba", preset=except_for("quick")),
        step_size_momentum=0.9,
    ),
    script(
        "objective", "HaBa", where(objective="tm", parameterization="haba", dataset="digits"), step_size_momentum=0.9
    ),
)
