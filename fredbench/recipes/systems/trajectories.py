"""Rows of trajectory matching by dataset, size and IPC: their form, FreD's tables and MTT's, on which others lean."""

from __future__ import annotations

import functools
from typing import Any

from fredbench.recipes.rules import Condition, Rule, between, by_budget, where
from fredbench.recipes.settings import Origin
from fredbench.recipes.systems.common import IMAGENET_SUBSETS

__all__ = [
    "FRED_BY_DATASET",
    "FRED_BY_SIDE",
    "FRED_TWINS",
    "MTT_BY_DATASET",
    "MTT_BY_SIDE",
    "OF_FRED",
    "WHITENED",
    "Table",
    "matched",
    "of_datasets",
    "of_sizes",
    "row",
]

WHITENED = "with ZCA there, which the preset paper alone shares"
OF_FRED = "FreD's, of this dataset: this system's own were not sourced"
_OF_A_SIZE = "nothing is published for this dataset: the settings of one of its size"

Table = dict[int, dict[str, Any]]
"""Settings by IPC."""


def row(
    steps: int, expert_epochs: int, start_epochs: int, step_size_lr: float, step_size: float, batch: int | None = 0
) -> dict[str, Any]:
    """N, M, T+, the step size's rate, its first value, and pictures a step (0: all, None: the table does not say)."""
    listed = {} if batch is None else {"batch": batch}
    return {
        "steps": steps, "expert_epochs": expert_epochs, "start_epochs": start_epochs, "step_size_lr": step_size_lr,
        "step_size": step_size, **listed,
    }  # fmt: skip


# FreD's table (TM/hyper_params.py) has no number of pictures a step.
_of_fred = functools.partial(row, batch=None)

# FreD's TM folder, by dataset and IPC.
FRED_BY_DATASET: dict[str, Table] = {
    "mnist": {1: _of_fred(50, 2, 5, 1e-7, 0.01), 10: _of_fred(30, 2, 15, 1e-5, 0.01)},
    "fashion-mnist": {1: _of_fred(50, 2, 5, 1e-7, 0.01), 10: _of_fred(60, 2, 15, 1e-5, 0.01)},
    "svhn": {
        1: _of_fred(50, 2, 5, 1e-7, 0.01),
        10: _of_fred(30, 2, 15, 1e-5, 0.01),
        50: _of_fred(40, 2, 40, 1e-5, 0.001),
    },
    "cifar10": {
        1: _of_fred(50, 2, 5, 1e-7, 0.01),
        10: _of_fred(40, 2, 15, 1e-5, 0.01),
        50: _of_fred(30, 2, 40, 1e-5, 0.001),
    },
    "cifar100": {
        1: _of_fred(50, 2, 15, 1e-5, 0.01),
        10: _of_fred(20, 2, 40, 1e-5, 0.01),
        50: _of_fred(80, 2, 40, 1e-5, 0.01),
    },
}
FRED_BY_SIDE: dict[int, Table] = {
    32: FRED_BY_DATASET["cifar10"],
    64: {1: _of_fred(30, 2, 30, 1e-4, 0.01), 10: _of_fred(40, 2, 40, 1e-4, 0.01), 50: _of_fred(40, 2, 40, 1e-4, 0.01)},
    128: {1: _of_fred(20, 2, 10, 1e-6, 0.01), 10: _of_fred(20, 2, 10, 1e-6, 0.01)},
}
# Budgets of FreD's TM folder that equal the listed ones below them.
FRED_TWINS: dict[str, set[int]] = {"cifar10": {2, 11, 51}, **{name: {2} for name in IMAGENET_SUBSETS}}

# MTT's table as public reruns and DC-Benchmark's notes quote it; CIFAR-100 IPC 1 and 50 were run with ZCA there.
MTT_BY_DATASET: dict[str, Table] = {
    "cifar10": {1: row(50, 2, 5, 1e-7, 0.01), 10: row(30, 2, 15, 1e-5, 0.01), 50: row(30, 2, 40, 1e-5, 0.001)},
    "cifar100": {
        1: row(20, 3, 20, 1e-5, 0.01), 10: row(20, 2, 20, 1e-5, 0.01), 50: row(80, 2, 40, 1e-5, 0.01, 125),
    },
}  # fmt: skip
MTT_BY_SIDE: dict[int, Table] = {
    32: MTT_BY_DATASET["cifar10"],
    64: {1: row(10, 2, 10, 1e-4, 0.01), 10: row(20, 2, 40, 1e-4, 0.01, 200), 50: row(20, 2, 40, 1e-4, 0.01, 300)},
    128: {1: row(20, 2, 10, 1e-6, 0.01), 10: row(20, 2, 10, 1e-6, 0.01, 20)},
}


def matched(
    table: Table,
    origin: Origin,
    source: str,
    stored: Condition,
    twins: set[int] | None = None,
    **conditions: Condition,
) -> list[Rule]:
    """Rows of one table for what is stored and where, by IPC."""
    cells = where(objective="tm", parameterization=stored, **conditions)
    return by_budget("objective", table, origin, source, cells, twins=twins or ())


def of_sizes(tables: dict[int, Table], stored: Condition, source: str = _OF_A_SIZE) -> list[Rule]:
    """Where a dataset has no settings of its own: those of one of its size; below the smallest, the smallest's."""
    edges = sorted(tables)
    ranges = zip(edges, [0, *edges[1:]], [*edges[1:], float("inf")], strict=True)
    return [
        rule
        for edge, least, below in ranges
        for rule in matched(tables[edge], "chosen", source, stored, side=between(least, below))
    ]


def of_datasets(origin: Origin, source: str, stored: Condition, *names: str) -> list[Rule]:
    """FreD's rows of some datasets; budgets that its folder has twice are published for its own storage alone."""
    twins = FRED_TWINS if stored == "fred" else {}
    return [
        rule
        for name in names
        for rule in matched(FRED_BY_DATASET[name], origin, source, stored, twins.get(name), dataset=name)
    ]
