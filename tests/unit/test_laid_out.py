"""A grid's table in the shape of a printed one: where each number stands, and what stands below it."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any
from unittest.mock import NonCallableMock

import pytest
from made_rows import CORRUPTIONS, made_row

from fredbench.evaluation.published import published_increment
from fredbench.evaluation.statistics import summarise
from fredbench.execution.inline import GridRun, Planned, Stored
from fredbench.report.laid_out import laid_out
from fredbench.report.pooled import pooled
from fredbench.runs.spec import Spec
from fredbench.suites.grids import Cell


def cell_of(
    method: str, ipc: int, clean: list[float] | None, published: float | None, *, dataset: str = "cifar10",
    average: float | None = None, corruptions: dict[str, float] | None = None,
) -> Stored:  # fmt: skip
    row = None
    if clean is not None:
        sample = summarise([float(value) for value in clean])
        row = made_row(ipc, clean=sample, ipc=ipc, decoded=160 * ipc, students=len(clean))
    printed = {
        "clean": None if published is None else {"mean": published, "std": 0.5}, "average": average,
        "corruptions": corruptions or {}, "inferred": [],
    }  # fmt: skip
    return Stored(Planned(Cell(dataset, ipc, "paper", 0, method=method)), "own", row, row is not None, printed)


def grid_run(layout: str, *, ipcs: tuple[int, ...] = (1, 10), title: str = "CIFAR-10") -> Any:
    suite = SimpleNamespace(corruptions=CORRUPTIONS)
    return NonCallableMock(
        GridRun,
        grid=SimpleNamespace(layout=layout), place=SimpleNamespace(ipcs=ipcs), dataset=SimpleNamespace(title=title),
        evaluation=SimpleNamespace(domains=SimpleNamespace(suite=suite)),
    )  # fmt: skip


def lines_of(text: str) -> list[list[str]]:
    return [[part.strip() for part in line.strip("|").split("|")] for line in text.splitlines()]


def test_budgets_stand_side_by_side_with_the_published_below() -> None:
    cells = [
        cell_of("fred", 1, [59, 60, 61], 60.6), cell_of("fred", 10, None, 70.3),
        cell_of("dm", 1, [30, 30.1, 30.2], 26.0), cell_of("dm", 10, None, None),
    ]  # fmt: skip
    head, _, *body = lines_of(laid_out([(grid_run("budgets"), pooled(cells, 10))], "markdown"))
    assert head == ["", "CIFAR-10, IPC 1", "CIFAR-10, IPC 10"]
    assert body == [
        ["fred", "60.0 ± 1.0", "–"], ["published", "60.6 ± 0.5", "70.3 ± 0.5"], ["difference", "-0.6 =", "–"],
        ["decoded", "x16", "–"],
        ["dm", "30.1 ± 0.1", "–"], ["published", "26 ± 0.5", "–"], ["difference", "+4.1", "–"], ["decoded", "x16", "–"],
    ]  # fmt: skip


def test_corruptions_stand_in_order_with_their_average() -> None:
    stored = cell_of("fred", 1, [50, 51, 52], 60.6, average=57.0, corruptions={"snow": 58.0})
    head, _, *body = lines_of(laid_out([(grid_run("corruptions", ipcs=(1,)), pooled([stored]))], "markdown"))
    assert head == ["", "Gauss", "Defoc", "Snow", "JPEG", "Avg"]
    assert stored.row is not None and stored.row.average is not None
    means = [stored.row.corruptions[name].sample for name in CORRUPTIONS]
    assert body[0] == ["fred", *map(str, means), str(stored.row.average)]
    assert body[1] == ["published", "–", "–", "58", "–", "57"]
    assert body[2][3].startswith(f"{means[2].mean - 58:+.1f}") and body[2][1] == "–"


def test_datasets_stand_side_by_side() -> None:
    found = [
        (grid_run("datasets", title=title), pooled([cell_of("tm", ipc, clean, None, average=30.0) for ipc in (1, 10)]))
        for title, clean in (("ImageNette", [40.0, 41.0]), ("ImageWoof", None))
    ]
    head, _, *body = lines_of(laid_out(found, "markdown"))
    assert head == ["", "ImageNette", "ImageWoof"] and [line[0] for line in body] == [
        "tm, IPC 1", "published", "difference", "tm, IPC 10", "published", "difference",
    ]  # fmt: skip
    assert body[0][1] != "–" and body[0][2] == "–" and body[1][1:] == ["30", "30"]


@pytest.mark.parametrize(
    ("dataset", "method", "ipc", "printed"),
    [("cifar10", "fred", 10, 6.4), ("svhn", "haba", 50, 5), ("cifar100", "fred", 1, 8), ("cifar10", "dm", 1, None)],
)
def test_printed_increments(dataset: str, method: str, ipc: int, printed: float | None) -> None:
    parts = {"fred": ("tm", "fred"), "haba": ("tm", "haba"), "dm": ("dm", "pixels")}[method]
    assert published_increment(dataset, method, *parts, ipc) == printed


def test_an_increment_that_is_not_the_printed_one_says_so() -> None:
    stored = cell_of("fred", 1, [50, 51], 60.6)
    spec = NonCallableMock(Spec, dataset="cifar10", method="fred", objective="tm", parameterization="fred", ipc=1)
    other = dataclasses.replace(stored, planned=dataclasses.replace(stored.planned, spec=spec))
    for classes, said in ((10, "x16"), (20, "x8 (published x16)")):
        body = lines_of(laid_out([(grid_run("budgets"), pooled([other], classes))], "markdown"))
        assert body[-1] == ["decoded", said]
