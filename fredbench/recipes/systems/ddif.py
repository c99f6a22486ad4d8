"""DDiF: neural fields, under any objective: their size by budget, rates, the fit, trajectories."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from fredbench.recipes.methods import Method
from fredbench.recipes.rules import Rule, Where, at_least, at_most, by_budget, chosen, script, where
from fredbench.recipes.systems.common import IMAGENET_SUBSETS, LARGE, MANY, OWN_STATISTICS, borrowed_statistics
from fredbench.recipes.systems.trajectories import FRED_BY_SIDE, OF_FRED, Table, matched, of_datasets, of_sizes, row

__all__ = ["METHODS", "RULES"]

METHODS = (
    Method(
        "ddif",
        "tm",
        "ddif",
        "Shin et al., Distilling Dataset into Neural Field, ICLR 2025",
        "fields, coordinates, start and budget against the rules of its public code and by hand, gradients by finite "
        "differences; not against numbers that its code made, and no printed accuracy was made again",
        note="rates are published of ImageNette at 128 px and IPC 1 only, elsewhere they are those; its DC column "
        "augments as DSA does: --objective dsa; whether its printed rows are whitened is not known, here none is",
        departures=OWN_STATISTICS,
        names_its_storage=True,
    ),
)

_DDIF = where(parameterization="ddif", choice=False)
_TM = {**_DDIF, **where(objective="tm")}
_SIZES = "DDiF, {DC,DM,TM}/hyper_params.py:2-12"
_TRAJECTORIES = "DDiF, TM/hyper_params.py:16-24"
_UNKNOWN = "not published for this dataset: CIFAR-10's, of as many scalars a picture and class"
# What the scripts speak of: one cell.
_SCRIPTED = (where(dataset="imagenette", side=LARGE, ipc=1),)

# d by dataset and IPC.
_WIDTHS: dict[str, dict[int, Mapping[str, Any]]] = {
    "cifar10": {1: {"width": 6}, 10: {"width": 6}, 50: {"width": 20}},
    "cifar100": {1: {"width": 10}, 10: {"width": 15}, 50: {"width": 30}},
}
_WIDTHS_LARGE: dict[int, Mapping[str, Any]] = {1: {"width": 20}, 10: {"width": 20}, 50: {"width": 40}}
# More fields than a class has pictures cannot be fitted to pictures: the digits have 130 a class.
_WIDTHS_OF_DIGITS: dict[int, Mapping[str, Any]] = {1: {"width": 6}, 10: {"width": 20}, 50: {"width": 40}}
_of_ddif = functools.partial(row, batch=None)
_MATCHED: dict[str, Table] = {
    "cifar10": {
        1: _of_ddif(60, 2, 10, 1e-5, 0.01),
        10: _of_ddif(60, 2, 10, 1e-5, 0.01),
        50: _of_ddif(60, 2, 40, 1e-5, 0.01),
    },
    "cifar100": {ipc: _of_ddif(60, 2, 40, 1e-5, 0.01) for ipc in (1, 10, 50)},
}
_MATCHED_LARGE: Table = {
    1: _of_ddif(20, 2, 10, 1e-6, 0.01),
    10: _of_ddif(40, 2, 20, 1e-5, 0.01),
    50: _of_ddif(40, 2, 20, 1e-5, 0.01),
}
# A fifth of all fields, as the one script has it; at 32 px and IPC 1 all of them.
_FIFTHS: dict[str, dict[int, int]] = {
    "cifar10": {1: 0, 10: 758, 50: 564},
    "cifar100": {1: 0, 10: 1840, 50: 2760},
}
_FIFTHS_LARGE = {1: 102, 10: 1020, 50: 1394}


def _batches(fifths: Mapping[int, int], cell: Where) -> list[Rule]:
    rows = {ipc: {"batch": batch} for ipc, batch in fifths.items()}
    source = "not published: a fifth of all fields, as the script of ImageNette has it; all at 32 px and IPC 1"
    return by_budget("objective", rows, "inferred", source, {**_TM, **cell})


RULES: tuple[Rule, ...] = (
    borrowed_statistics("DDiF, {DC,DM,TM}/utils.py", objective={"dc", "dsa", "dm", "tm"}, parameterization="ddif"),
    script("run", "DDiF, TM/scripts/run_DDiF.sh", _TM, published=_SCRIPTED, iterations=15_000),
    # The field itself.
    *by_budget("parameterization", _WIDTHS["cifar10"], "inferred", _UNKNOWN, _DDIF),
    *(
        rule
        for dataset, rows in _WIDTHS.items()
        for rule in by_budget("parameterization", rows, "script", _SIZES, {**_DDIF, **where(dataset=dataset)})
    ),
    *by_budget("parameterization", _WIDTHS_LARGE, "inferred", _SIZES, {**_DDIF, **where(side=at_least(LARGE))}),
    *by_budget(
        "parameterization",
        _WIDTHS_LARGE,
        "script",
        _SIZES,
        {**_DDIF, **where(side=at_least(LARGE), dataset=IMAGENET_SUBSETS)},
    ),
    script(
        "parameterization",
        "DDiF, DM/hyper_params.py: ImageNet subsets at 256 px",
        {**_DDIF, **where(side=at_least(2 * LARGE), ipc=at_most(9))},
        width=40,
    ),
    *by_budget(
        "parameterization",
        _WIDTHS_OF_DIGITS,
        "chosen",
        "no more fields than a class has pictures",
        {**_DDIF, **where(dataset="digits")},
    ),
    script("parameterization", _SIZES, {**_DDIF, **where(side=at_most(LARGE - 1))}, w0=30.0, w=10.0, layers=2),
    script("parameterization", _SIZES, {**_DDIF, **where(side=at_least(LARGE))}, w0=30.0, w=40.0, layers=3),
    script("parameterization", "DDiF, TM/main_TM.py:402-403: the fit's defaults", _DDIF, fit_steps=5000, fit_lr=5e-4),
    chosen(
        "parameterization",
        "quick: CIFAR-10 at IPC 1 comes to 19.7 dB so, to 19.3 in 300 steps at 5e-3, to 19.8 in 1,000 of those",
        {**_DDIF, **where(preset="quick")},
        fit_steps=300,
        fit_lr=0.02,
    ),
    chosen(
        "parameterization",
        "quick: ten times as many fields in a few minutes of two cores",
        {**_DDIF, **where(preset="quick", ipc=at_least(MANY))},
        fit_steps=100,
    ),
    # Rates.
    chosen("parameterization", "not published for this objective: that of DM and DC", _DDIF, lr=5e-5),
    script(
        "parameterization",
        "DDiF, DM/scripts/run_DDiF.sh:13-15",
        {**_DDIF, **where(objective="dm")},
        published=_SCRIPTED,
        lr=5e-5,
    ),
    script(
        "parameterization",
        "DDiF, DC/scripts/run_DDiF.sh:13-15, which augments as DSA does",
        {**_DDIF, **where(objective={"dc", "dsa"})},
        published=_SCRIPTED,
        lr=5e-5,
    ),
    script("parameterization", "DDiF, TM/scripts/run_DDiF.sh:14-16", _TM, published=_SCRIPTED, lr=1e-4),
    chosen(
        "parameterization",
        "quick: on CIFAR-10 at IPC 1 the loss falls from 24 to 9 in 40 iterations, at 5e-5 to 20, at 5e-3 to 10",
        {**_DDIF, **where(objective="dm", preset="quick")},
        lr=1e-3,
    ),
    # How trajectories are matched through it.
    *of_sizes(FRED_BY_SIDE, "ddif"),
    *matched(_MATCHED_LARGE, "chosen", "DDiF's of the ImageNet subsets", "ddif", side=at_least(LARGE)),
    *of_datasets("inferred", OF_FRED, "ddif", "mnist", "fashion-mnist", "svhn"),
    *(
        rule
        for dataset, table in _MATCHED.items()
        for rule in matched(table, "script", _TRAJECTORIES, "ddif", dataset=dataset)
    ),
    *matched(_MATCHED_LARGE, "script", _TRAJECTORIES, "ddif", dataset=IMAGENET_SUBSETS, side=at_least(LARGE)),
    chosen("objective", "all: nothing is published", _TM, batch=0),
    *(rule for dataset, fifths in _FIFTHS.items() for rule in _batches(fifths, where(dataset=dataset))),
    *_batches(_FIFTHS_LARGE, where(dataset=IMAGENET_SUBSETS, side=at_least(LARGE))),
    script(
        "objective",
        "DDiF, TM/scripts/run_DDiF.sh:14-16",
        {**_TM, **where(dataset="imagenette", side=LARGE, ipc=1)},
        batch=102,
    ),
)
