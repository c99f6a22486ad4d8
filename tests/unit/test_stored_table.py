"""What is stored of a grid beside what is published: pooled over seeds, with where the published number lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from made_rows import made_row

from fredbench.evaluation.statistics import summarise
from fredbench.execution.inline import Planned, Stored
from fredbench.report.pooled import Pooled, pooled
from fredbench.suites.grids import Cell


def stored(
    clean: Sequence[float] | None, *, seed: int = 0, ipc: int = 1, protocol: Any = "own", mean: float = 14.4,
    std: float | None = 2.0, whole: bool = True, method: str = "random",
) -> Stored:  # fmt: skip
    """A cell whose students have these clean accuracies (None: not scored), beside a published one."""
    cell = Cell("cifar10", ipc, "paper", seed, method=method)
    row = None
    if clean is not None:
        row = made_row(
            seed,
            clean=summarise([float(value) for value in clean]),
            students=len(clean),
            **({} if whole else {"average": None}),
        )
    published = {"clean": {"mean": mean, "std": std}, "average": None, "corruptions": {}, "inferred": []}
    whole = whole and row is not None
    return Stored(Planned(cell), protocol, row, whole, published, () if whole else ("fredbench corrupt-eval x",))


def test_cells_are_pooled_by_system_budget_and_protocol_in_order() -> None:
    cells = [
        stored([1, 2], seed=seed, ipc=ipc, protocol=protocol, method=method)
        for seed in (0, 1)
        for ipc in (1, 10)
        for method in ("random", "herding")
        for protocol in ("own", "fred-literal")
    ]
    lines = pooled(cells)
    assert [(p.cells[0].planned.cell.ipc, p.cells[0].planned.cell.method, p.cells[0].protocol) for p in lines] == [
        (ipc, method, protocol)
        for ipc in (1, 10)
        for method in ("random", "herding")
        for protocol in ("own", "fred-literal")
    ]
    assert all([cell.planned.cell.seed for cell in line.cells] == [0, 1] for line in lines)


def test_the_unit_is_the_set_where_there_are_several() -> None:
    # Students of a set agree, sets do not: 12 students would make a narrow interval of what 3 sets leave wide.
    line = Pooled(
        tuple(stored([value - 0.1, value, value, value + 0.1], seed=s) for s, value in enumerate((13, 15, 17)))
    )
    assert line.clean is not None and line.clean.n == 3 and line.clean.mean == pytest.approx(15)
    assert line.clean.std == pytest.approx(2) and line.counted == "3 sets × 4"
    assert line.to_mapping()["unit"] == "set"
    alone = Pooled((stored([14, 15, 16]),))
    assert alone.clean is not None and alone.clean.n == 3 and alone.counted == "1 set × 3"
    assert alone.to_mapping()["unit"] == "student"


@pytest.mark.parametrize(
    ("clean", "mean", "std", "verdict"),
    [
        # Over 15 ± 1 of three students the interval is 15 ± 2.484.
        ([14, 15, 16], 17.4, None, "inside"),
        ([14, 15, 16], 12.6, 0.1, "inside"),
        ([14, 15, 16], 17.6, None, "outside"),
        ([14, 15, 16], 17.6, 0.2, "reaches ±"),
        ([14, 15, 16], 19.6, 2.0, "outside"),
        ([14, 15, 16], 10.4, 2.2, "reaches ±"),
        ([14, 15, 16], 10.4, 2.0, "outside"),
        ([15], 15, 2.0, None),
        (None, 15, 2.0, None),
    ],
)
def test_where_the_published_number_lies(
    clean: Sequence[float] | None, mean: float, std: float | None, verdict: str | None
) -> None:
    line = Pooled((stored(clean, mean=mean, std=std),))
    assert line.verdict == verdict
    assert line.difference == (None if clean is None else pytest.approx(sum(clean) / len(clean) - mean))


def test_what_is_missing_is_named_with_its_commands_and_counts_for_nothing() -> None:
    line = Pooled((stored([13, 14], seed=0), stored(None, seed=1), stored([15, 16], seed=2, whole=False)))
    assert line.counted == "2 of 3 sets × 2" and line.clean is not None and line.clean.mean == pytest.approx(14.5)
    # An average over some of the sets is not put beside a clean accuracy over others.
    assert line.average is None
    found = line.to_mapping()
    assert found["seeds"] == [0, 1, 2] and found["scored_seeds"] == [0, 2]
    assert [each["cell"] for each in found["missing"]] == ["random, ipc 1, seed 1", "random, ipc 1, seed 2"]
    assert all(each["commands"] for each in found["missing"])
