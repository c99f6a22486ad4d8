"""TM (MTT): trajectories of experts' weights. Steps, expert epochs and step size by dataset, budget and storage."""

from __future__ import annotations

from typing import Any

from fredbench.recipes.methods import Method
from fredbench.recipes.rules import (
    Condition,
    Rule,
    at_least,
    between,
    by_budget,
    chosen,
    except_for,
    paper,
    script,
    where,
)
from fredbench.recipes.settings import Origin
from fredbench.recipes.systems.common import IMAGENET_SUBSETS, LARGE, MANY, NOT_MIRRORED, OWN_STATISTICS

__all__ = ["METHODS", "RULES"]

METHODS = (
    Method(
        "tm",
        "tm",
        "pixels",
        "Cazenavette et al., Dataset Distillation by Matching Training Trajectories, CVPR 2022",
        "loss, gradients and inner losses against golden tm_loss",
        note="without ZCA whitening, as FreD compares it; the published rows of CIFAR-10 at IPC 1 and 10 "
        "use it, and so do the settings taken over for CIFAR-100 at IPC 1 and 50",
        departures={**OWN_STATISTICS, **NOT_MIRRORED},
    ),
)


def _row(
    steps: int, expert_epochs: int, start_epochs: int, step_size_lr: float, step_size: float, batch: int = 0
) -> dict[str, Any]:
    """N, M, T+, the step size's rate, its first value, and pictures a step (0: all)."""
    return {
        "steps": steps, "expert_epochs": expert_epochs, "start_epochs": start_epochs, "step_size_lr": step_size_lr,
        "step_size": step_size, "batch": batch,
    }  # fmt: skip


_Table = dict[int, dict[str, Any]]
# FreD's TM folder, by dataset and IPC.
_FRED: dict[str, _Table] = {
    "mnist": {1: _row(50, 2, 5, 1e-7, 0.01), 10: _row(30, 2, 15, 1e-5, 0.01)},
    "fashion-mnist": {1: _row(50, 2, 5, 1e-7, 0.01), 10: _row(60, 2, 15, 1e-5, 0.01)},
    "svhn": {1: _row(50, 2, 5, 1e-7, 0.01), 10: _row(30, 2, 15, 1e-5, 0.01), 50: _row(40, 2, 40, 1e-5, 0.001)},
    "cifar10": {1: _row(50, 2, 5, 1e-7, 0.01), 10: _row(40, 2, 15, 1e-5, 0.01), 50: _row(30, 2, 40, 1e-5, 0.001)},
    "cifar100": {1: _row(50, 2, 15, 1e-5, 0.01), 10: _row(20, 2, 40, 1e-5, 0.01), 50: _row(80, 2, 40, 1e-5, 0.01)},
}
_FRED_BY_SIDE: dict[int, _Table] = {
    32: _FRED["cifar10"],
    64: {1: _row(30, 2, 30, 1e-4, 0.01), 10: _row(40, 2, 40, 1e-4, 0.01)},
    128: {1: _row(20, 2, 10, 1e-6, 0.01), 10: _row(20, 2, 10, 1e-6, 0.01)},
}
# Budgets of FreD's TM folder that equal the listed ones below them.
_FRED_TWINS: dict[str, set[int]] = {"cifar10": {2, 11, 51}, **{name: {2} for name in IMAGENET_SUBSETS}}
# MTT's table as public reruns and DC-Benchmark's notes quote it; CIFAR-100 IPC 1 and 50 were run with ZCA there.
_MTT: dict[str, _Table] = {
    "cifar10": {1: _row(50, 2, 5, 1e-7, 0.01), 10: _row(30, 2, 15, 1e-5, 0.01), 50: _row(30, 2, 40, 1e-5, 0.001)},
    "cifar100": {
        1: _row(20, 3, 20, 1e-5, 0.01), 10: _row(20, 2, 20, 1e-5, 0.01), 50: _row(80, 2, 40, 1e-5, 0.01, 125),
    },
}  # fmt: skip
_MTT_BY_SIDE: dict[int, _Table] = {
    32: _MTT["cifar10"],
    64: {1: _row(10, 2, 10, 1e-4, 0.01), 10: _row(20, 2, 40, 1e-4, 0.01, 200), 50: _row(20, 2, 40, 1e-4, 0.01, 300)},
    128: {1: _row(20, 2, 10, 1e-6, 0.01), 10: _row(20, 2, 10, 1e-6, 0.01, 20)},
}
# HaBa's CIFAR-10 scripts, which whiten; its settings for other datasets are not published.
_HABA: _Table = {1: _row(50, 2, 2, 1e-7, 0.01), 10: _row(30, 2, 20, 1e-5, 0.001), 50: _row(30, 2, 20, 1e-5, 0.01)}

_WHITENED = "with ZCA there, without here"
_WHITENED_BUDGETS = (1, 50)
_OF_A_SIZE = "nothing is published for this dataset: the settings of one of its size"
_OF_FRED = "FreD's, of this dataset: this system's own were not sourced"
_UNPUBLISHED_STORAGE = "not published for what is stored: FreD's settings"
_MTT_TABLE, _FRED_FOLDER, _HABA_SCRIPTS = "MTT's table", "FreD's TM folder", "HaBa's CIFAR-10 scripts"


def _rows(
    table: _Table,
    origin: Origin,
    source: str,
    stored: Condition,
    twins: set[int] | None = None,
    **conditions: Condition,
) -> list[Rule]:
    cells = where(objective="tm", parameterization=stored, **conditions)
    return by_budget("objective", table, origin, source, cells, twins=twins or ())


def _of_sizes(tables: dict[int, _Table], stored: Condition) -> list[Rule]:
    """Where a dataset has no settings of its own: those of one of its size; below the smallest, the smallest's."""
    edges = sorted(tables)
    ranges = zip(edges, [0, *edges[1:]], [*edges[1:], float("inf")], strict=True)
    return [
        rule
        for edge, least, below in ranges
        for rule in _rows(tables[edge], "chosen", _OF_A_SIZE, stored, side=between(least, below))
    ]


def _of_datasets(origin: Origin, source: str, stored: Condition, *names: str) -> list[Rule]:
    twins = _FRED_TWINS if stored == "fred" else {}
    return [
        rule for name in names for rule in _rows(_FRED[name], origin, source, stored, twins.get(name), dataset=name)
    ]


_OTHERS = except_for("pixels", "haba", "fred")
_QUICK = where(objective="tm", preset="quick")
_PIXELS = where(objective="tm", parameterization="pixels")

RULES: tuple[Rule, ...] = (
    script("run", "MTT's distillation script", _PIXELS, iterations=5_000),
    script("run", "MTT's distillation script", where(objective="tm", parameterization=_OTHERS), iterations=5_000),
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
    *_of_sizes(_MTT_BY_SIDE, "pixels"),
    *(
        rule
        for name in sorted(IMAGENET_SUBSETS)
        for rule in _rows(_MTT_BY_SIDE[128], "paper", _MTT_TABLE, "pixels", dataset=name, side=at_least(LARGE))
    ),
    *_of_datasets("inferred", _OF_FRED, "pixels", "mnist", "fashion-mnist", "svhn"),
    *(rule for name, table in _MTT.items() for rule in _rows(table, "paper", _MTT_TABLE, "pixels", dataset=name)),
    *(
        paper(
            "objective",
            f"{_MTT_TABLE}, {_WHITENED}",
            {**_PIXELS, **where(dataset="cifar100", ipc=ipc)},
            **_MTT["cifar100"][ipc],
        )
        for ipc in _WHITENED_BUDGETS
    ),
    # Coefficients: FreD's.
    *_of_sizes(_FRED_BY_SIDE, "fred"),
    *(
        rule
        for name in sorted(IMAGENET_SUBSETS)
        for rule in _rows(
            _FRED_BY_SIDE[128], "script", _FRED_FOLDER, "fred", _FRED_TWINS[name], dataset=name, side=at_least(LARGE)
        )
    ),
    *_of_datasets("script", _FRED_FOLDER, "fred", *_FRED),
    # Bases: HaBa's where it has them.
    *_of_sizes(_FRED_BY_SIDE, "haba"),
    *_rows(_FRED_BY_SIDE[128], "inferred", _OF_FRED, "haba", dataset=IMAGENET_SUBSETS, side=at_least(LARGE)),
    *_of_datasets("inferred", _OF_FRED, "haba", "mnist", "fashion-mnist", "svhn", "cifar100"),
    *_rows(_HABA, "script", f"{_HABA_SCRIPTS}, {_WHITENED}", "haba", dataset="cifar10"),
    script(
        "objective",
        "HaBa",
        where(objective="tm", parameterization="haba", preset=except_for("quick")),
        step_size_momentum=0.9,
    ),
    script(
        "objective", "HaBa", where(objective="tm", parameterization="haba", dataset="digits"), step_size_momentum=0.9
    ),
    # Whatever else is stored: FreD's.
    *_of_sizes(_FRED_BY_SIDE, _OTHERS),
    *_of_datasets("chosen", _UNPUBLISHED_STORAGE, _OTHERS, *_FRED),
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
        "MTT's table without ZCA, CIFAR-10 and CIFAR-100; README for ImageNet subsets",
        _PIXELS,
        published=(where(dataset=IMAGENET_SUBSETS | {"cifar10", "cifar100"}),),
        lr=1000.0,
    ),
    paper(
        "parameterization",
        f"{_MTT_TABLE}, {_WHITENED}",
        {**_PIXELS, **where(dataset="cifar100", ipc=_WHITENED_BUDGETS)},
        lr=1000.0,
    ),
    paper(
        "parameterization",
        "Tiny-ImageNet at 64 px, DC-Benchmark's notes",
        {**_PIXELS, **where(side=between(64, LARGE))},
        published=(where(dataset="tiny-imagenet"),),
        lr=1e4,
    ),
    # Two epochs of 1,167 digits are ten steps of an expert: a segment is short, so that its relative loss is steep.
    chosen("parameterization", "falls at width 16; 100 rises first", {**_PIXELS, **where(dataset="digits")}, lr=10.0),
)
