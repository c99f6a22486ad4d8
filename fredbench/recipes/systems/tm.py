"""TM (MTT): trajectories of experts' weights, matched. Other storages' rows stand with their systems."""

from __future__ import annotations

from fredbench.recipes.methods import Method
from fredbench.recipes.rules import Rule, at_least, between, chosen, except_for, inferred, paper, script, where
from fredbench.recipes.systems.common import (
    IMAGENET_SUBSETS,
    LARGE,
    MANY,
    MIRRORED,
    OWN_STATISTICS,
    WHITENABLE,
    borrowed_statistics,
    mirrors_digits,
)
from fredbench.recipes.systems.trajectories import (
    FRED_BY_DATASET,
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
        "tm",
        "tm",
        "pixels",
        "Cazenavette et al., Dataset Distillation by Matching Training Trajectories, CVPR 2022",
        "loss, gradients and inner losses against golden tm_loss",
        note="ZCA-whitened with the preset paper where the published rows are: CIFAR-10 at IPC 1 and 10, CIFAR-100 at "
        "IPC 1 and 50; nowhere else, and not with the presets fair and quick",
        departures={**OWN_STATISTICS, **MIRRORED},
    ),
)


# Cells whose printed numbers are of whitened pictures, with MTT's settings there and the pictures' rate.
_WHITENED: dict[str, Table] = {
    "cifar10": {1: row(50, 2, 2, 1e-7, 0.01), 10: row(30, 2, 20, 1e-5, 0.001)},
    "cifar100": {1: MTT_BY_DATASET["cifar100"][1], 50: MTT_BY_DATASET["cifar100"][50]},
}
_WHITENED_RATES = {"cifar10": 100.0, "cifar100": 1000.0}
_WITH_ZCA = "MTT's table with ZCA, DC-Benchmark's notes (methods/tm/readme.md:48-69)"
_MTT_TABLE = "MTT's table"
_UNPUBLISHED_STORAGE = "not published for what is stored: FreD's settings"
_OTHERS = except_for("pixels", "haba", "fred", "ddif", "gsdd")
_QUICK = where(objective="tm", preset="quick")
_PIXELS = where(objective="tm", parameterization="pixels")

RULES: tuple[Rule, ...] = (
    script("run", "MTT, distill.py:431", _PIXELS, iterations=5_000),
    script("run", "MTT, distill.py:431", where(objective="tm", parameterization=_OTHERS), iterations=5_000),
    # Ten steps of 80 pictures and their adjoint are 1.5 seconds of two cores.
    chosen("run", "quick: with three experts and the students five minutes of two cores", _QUICK, iterations=80),
    chosen(
        "run",
        "quick: fifteen steps of FreD's 40 pictures are a second or two of two cores",
        {**_QUICK, **where(dataset="digits")},
        iterations=150,
    ),
    chosen(
        "run",
        "quick: ten steps of 80 pictures are a second or two of two cores",
        {**_QUICK, **where(dataset="digits", ipc=at_least(MANY))},
        iterations=100,
    ),
    # Pictures: MTT's.
    *of_sizes(MTT_BY_SIDE, "pixels"),
    *(
        rule
        for name in sorted(IMAGENET_SUBSETS)
        for rule in matched(MTT_BY_SIDE[128], "paper", _MTT_TABLE, "pixels", dataset=name, side=at_least(LARGE))
    ),
    *of_datasets("inferred", OF_FRED, "pixels", "mnist", "fashion-mnist", "svhn"),
    *(
        rule
        for name, table in MTT_BY_DATASET.items()
        for rule in matched(table, "paper", _MTT_TABLE, "pixels", dataset=name)
    ),
    *(
        paper(
            "objective",
            f"{_MTT_TABLE}, {WHITENED}",
            {**_PIXELS, **where(dataset="cifar100", ipc=ipc)},
            **MTT_BY_DATASET["cifar100"][ipc],
        )
        for ipc in _WHITENED["cifar100"]
    ),
    # Where the printed numbers are of whitened pictures, the preset that reproduces them whitens.
    borrowed_statistics("MTT, utils.py", objective="tm", parameterization="pixels", ipc=except_for(1, 50)),
    *(
        rule
        for name, table in _WHITENED.items()
        for ipc, settings in table.items()
        for cells in [{**_PIXELS, **WHITENABLE, **where(dataset=name, ipc=ipc)}]
        for rule in (
            script("data", f"{_WITH_ZCA}: kornia's, eps .1 on [0, 1]", cells, whitening="mtt"),
            paper("objective", _WITH_ZCA, cells, **settings),
            # By name: rates of other storages start from the rate of plain pictures.
            paper("parameterization", _WITH_ZCA, {**cells, **where(method="tm")}, lr=_WHITENED_RATES[name]),
        )
    ),
    # Whatever else is stored: FreD's.
    *of_sizes(FRED_BY_SIDE, _OTHERS, _UNPUBLISHED_STORAGE),
    *of_datasets("chosen", _UNPUBLISHED_STORAGE, _OTHERS, *FRED_BY_DATASET),
    # Measured on CIFAR-10 at IPC 1, FreD, width 32, two experts: the loss falls from .89 below .5 in twenty iterations
    # at the published rate of the pictures. An epoch of the digits is five steps: there the published ones are cheap.
    chosen(
        "objective",
        "quick: two epochs of three experts, one of them covered in 10 steps of at most 80 pictures",
        {**_QUICK, **where(dataset=except_for("digits"))},
        experts=3,
        start_epochs=2,
        expert_epochs=1,
        steps=10,
        batch=80,
        step_size=0.02,
        step_size_lr=1e-5,
    ),
    chosen(
        "objective",
        "quick: 10 steps of at most 80 pictures",
        {**_QUICK, **where(dataset="digits", ipc=at_least(MANY))},
        steps=10,
        batch=80,
    ),
    paper(
        "parameterization",
        "MTT's table without ZCA, CIFAR-10 and CIFAR-100",
        _PIXELS,
        published=(where(dataset={"cifar10", "cifar100"}),),
        lr=1000.0,
    ),
    script(
        "parameterization",
        "mtt-distillation, readme.md:106: the example, which is not what its author ran",
        {**_PIXELS, **where(dataset=IMAGENET_SUBSETS, side=at_least(LARGE))},
        lr=1000.0,
    ),
    # Of the system itself: rates of other storages that derive from the pixels' keep to the example's.
    inferred(
        "parameterization",
        "sources disagree: 1e5 is what MTT's author says of the published runs (its issue 1), 1000 its readme.md:106, "
        "1e4 what FTD's authors took as MTT's (their issue 3)",
        where(method="tm", dataset=IMAGENET_SUBSETS, side=at_least(LARGE), preset="paper"),
        lr=1e5,
    ),
    paper(
        "parameterization",
        f"{_MTT_TABLE}, {WHITENED}",
        {**_PIXELS, **where(dataset="cifar100", ipc=set(_WHITENED["cifar100"]))},
        lr=1000.0,
    ),
    paper(
        "parameterization",
        "Tiny-ImageNet at 64 px, DC-Benchmark's notes",
        {**_PIXELS, **where(side=between(64, LARGE))},
        published=(where(dataset="tiny-imagenet"),),
        lr=1e4,
    ),
    *mirrors_digits("tm", "pixels", "MTT, buffer.py:122 and distill.py:449: the default, whatever the dataset"),
    script(
        "objective",
        "MTT, distill.py:210: the step size is not clamped",
        where(method="tm", preset="paper"),
        min_step_size=0.0,
    ),
    # Two epochs of 1,167 digits are ten steps of an expert: a segment is short, so that its relative loss is steep.
    chosen("parameterization", "falls at width 16; 100 rises first", {**_PIXELS, **where(dataset="digits")}, lr=10.0),
)
