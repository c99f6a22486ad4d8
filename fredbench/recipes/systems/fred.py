"""FreD: the frequency coefficients that carry a class's variance, under any objective."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

from fredbench.recipes.methods import Method
from fredbench.recipes.rules import Case, Rule, Where, at_least, at_most, between, chosen, inferred, script, where
from fredbench.recipes.systems.common import (
    IMAGENET_SUBSETS,
    LARGE,
    MANY,
    MIRRORED,
    OWN_STATISTICS,
    borrowed_statistics,
    mirrors_digits,
    pixels_rate,
)
from fredbench.recipes.systems.trajectories import (
    FRED_BY_DATASET,
    FRED_BY_SIDE,
    FRED_TWINS,
    matched,
    of_datasets,
    of_sizes,
)

__all__ = ["METHODS", "RULES"]

METHODS = (
    Method(
        "fred",
        "tm",
        "fred",
        "Shin, Shin and Moon, Frequency Domain-based Dataset Distillation, NeurIPS 2023",
        "transform, masks and decoding against golden fred_dct; TM through it against tm_loss, DM against dm_loss",
        departures={**OWN_STATISTICS, **MIRRORED},
        names_its_storage=True,
    ),
)

_FRED = where(parameterization="fred", choice=False)
_TM_FOLDER = "FreD's TM folder, TM/hyper_params.py"
_INCREMENTS = "slides table 1, its increment row: k = 1024 / increment"
# k: coefficients kept a channel, by dataset and the least IPC that takes them; n' = floor(n H W / k). IPC 2, 11 and 51
# take the k of 1, 10 and 50; so does whatever lies between.
_KEPT = {
    "svhn": {1: 64, 10: 128, 50: 256},
    "cifar10": {1: 64, 10: 160, 50: 256},
    "cifar100": {1: 128, 10: 400, 50: 400},
}


def _on_coefficients(case: Case) -> float:
    return pixels_rate(case) * (2 * case.side) ** 2


# Pictures a step of trajectory matching: MTT's numbers, where the scripts' full unroll of all would not fit. What is
# stated: 24.6 GB for 160 pictures in 50 steps, at 32 px, of which the graph is linear in both (and in the area).
_UNROLLED_GB = 24.6 / (160 * 50)
# By dataset: from which IPC on; pictures a step, of how many, in how many steps.
_FITTING: dict[str, dict[int, tuple[int, int, int]]] = {
    "svhn": {50: (500, 2000, 40)},
    "cifar10": {50: (500, 2000, 30)},
    "cifar100": {1: (100, 800, 50), 10: (1000, 2500, 20), 50: (125, 12_800, 80)},
    "tiny-imagenet": {1: (200, 3200, 30), 10: (200, 32_000, 40), 50: (300, 160_000, 40)},
}
_FITTING_LARGE = {2: (80, 160, 20), 10: (20, 800, 20)}


def _unrolled(batch: int, count: int, steps: int) -> Callable[[Case], str]:
    def told(case: Case) -> str:
        size = _UNROLLED_GB * count * steps * (case.side / 32) ** 2
        return (
            f"no script is published here; {batch} as MTT: all {count:,} in {steps} steps would fill {size:,.0f} GB of "
            "the scripts' full unroll"
        )

    return told


def _fitting(rows: dict[int, tuple[int, int, int]], cell: Where) -> list[Rule]:
    """Rows of the pictures a step, each from its IPC to the next, for the preset `paper`."""
    cells = {**cell, **where(objective="tm", parameterization="fred", preset="paper")}
    edges = [*sorted(rows), math.inf]
    return [
        inferred(
            "objective",
            _unrolled(*rows[int(least)]),
            {**cells, **where(ipc=between(least, below))},
            batch=rows[int(least)][0],
        )
        for least, below in itertools.pairwise(edges)
    ]


# Rates act on unnormalised DCT coefficients (see parameterizations.transforms.pixel_rate).
RULES: tuple[Rule, ...] = (
    borrowed_statistics("FreD, TM/utils.py", objective="tm", parameterization="fred"),
    script("run", _TM_FOLDER, {**_FRED, **where(objective="tm")}, iterations=15_000),
    chosen(
        "run",
        "quick: FreD has up to 32 pictures a picture's budget for DC to go through",
        {**_FRED, **where(objective={"dc", "dsa"}, preset="quick", ipc=at_most(MANY - 1))},
        iterations=150,
    ),
    chosen(
        "parameterization",
        "a sixteenth of the frequencies, as CIFAR-10 at IPC 1",
        _FRED,
        k=lambda case: max(1, case.area // 16),
    ),
    inferred(
        "parameterization",
        "FreD's ImageNet-A..E scripts at IPC 1, taken for every IPC",
        {**_FRED, **where(side=at_least(LARGE))},
        k=2048,
    ),
    chosen(
        "parameterization",
        "8 x 8 scans widened to 32 x 32 are nearly lossless at k = 64: nothing to distill",
        {**_FRED, **where(dataset="digits")},
        k=256,
    ),
    *(
        inferred("parameterization", _INCREMENTS, {**_FRED, **where(dataset=dataset, ipc=at_least(least))}, k=kept)
        for dataset, rows in _KEPT.items()
        for least, kept in rows.items()
    ),
    script(
        "parameterization",
        "FreD, TM/scripts/run_TM_FreD.sh:16: CIFAR-10 IPC 1",
        {**_FRED, **where(dataset="cifar10", ipc=at_most(9))},
        k=64,
    ),
    script(
        "parameterization",
        "FreD, DC/scripts/run_DC_FreD.sh: CIFAR-10 IPC 2; DM keeps 64 there",
        {**_FRED, **where(objective="dc", dataset="cifar10", ipc=2)},
        k=32,
    ),
    chosen("parameterization", "as FreD-DM: nothing is published", _FRED, lr=1e6),
    script(
        "parameterization",
        "FreD, DM/scripts/run_DM_FreD.sh: CIFAR-10 IPC 2 and ImageNet-A..E",
        {**_FRED, **where(objective="dm")},
        published=(where(dataset="cifar10", ipc=2),),
        lr=1e6,
    ),
    script(
        "parameterization",
        "FreD, TM/scripts/run_TM_FreD.sh:17: CIFAR-10 IPC 1. Tune down where the loss stays above 1",
        {**_FRED, **where(objective="tm")},
        published=(where(dataset="cifar10", ipc=1),),
        lr=1e8,
    ),
    inferred(
        "parameterization",
        "FreD's TM script: ImageNet-A..E IPC 1 at 128 px",
        {**_FRED, **where(objective="tm", side=at_least(LARGE))},
        lr=1e9,
    ),
    # Two epochs of 1,167 digits are ten steps of an expert: a segment is short, so that its relative loss is steep.
    chosen(
        "parameterization",
        "falls from .9 to .5 in 20 iterations at width 16; 1e6 rises to 2 first",
        {**_FRED, **where(objective="tm", dataset="digits")},
        lr=1e5,
    ),
    chosen("parameterization", "as FreD-DC", {**_FRED, **where(objective={"dsa", "cafe"})}, lr=1e3),
    chosen(
        "parameterization", "as FreD-DC", {**_FRED, **where(objective={"dsa", "cafe"}, side=at_least(LARGE))}, lr=1e5
    ),
    script(
        "parameterization",
        "FreD, DC/scripts/run_DC_FreD.sh: CIFAR-10 IPC 2",
        {**_FRED, **where(objective="dc")},
        published=(where(dataset="cifar10", ipc=2),),
        lr=1e3,
    ),
    inferred(
        "parameterization",
        "FreD's DC script: ImageNet-A..E IPC 1",
        {**_FRED, **where(objective="dc", side=at_least(LARGE))},
        lr=1e5,
    ),
    chosen(
        "parameterization",
        "the pixels' rate on unnormalised coefficients",
        {**_FRED, **where(objective="idc")},
        lr=_on_coefficients,
    ),
    # How trajectories are matched through it.
    *of_sizes(FRED_BY_SIDE, "fred"),
    *(
        rule
        for name in sorted(IMAGENET_SUBSETS)
        for rule in matched(
            FRED_BY_SIDE[128], "script", _TM_FOLDER, "fred", FRED_TWINS[name], dataset=name, side=at_least(LARGE)
        )
    ),
    *of_datasets("script", _TM_FOLDER, "fred", *FRED_BY_DATASET),
    *matched(FRED_BY_SIDE[64], "script", _TM_FOLDER, "fred", dataset="tiny-imagenet", side=between(64, LARGE)),
    chosen(
        "objective", "all: the authors' number is published of two cells", {**_FRED, **where(objective="tm")}, batch=0
    ),
    script(
        "objective",
        "FreD, TM/scripts/run_TM_FreD.sh:15: all",
        {**_FRED, **where(objective="tm", dataset="cifar10", ipc=1)},
        batch=0,
    ),
    inferred(
        "objective",
        "FreD, ImageNet-abcde/scripts/run_TM_FreD.sh:18: all at IPC 1",
        {**_FRED, **where(objective="tm", dataset=IMAGENET_SUBSETS, side=at_least(LARGE), ipc=1)},
        batch=0,
    ),
    *mirrors_digits("tm", "fred", "FreD, TM/buffer.py:123 and main_TM_FreD.py:484: the default, whatever the dataset"),
    *mirrors_digits("dm", "fred", "FreD, DM/main_DM_FreD.py: the default, whatever the dataset"),
    *(rule for name, rows in _FITTING.items() for rule in _fitting(rows, where(dataset=name))),
    *_fitting(_FITTING_LARGE, where(dataset=IMAGENET_SUBSETS, side=at_least(LARGE))),
)
