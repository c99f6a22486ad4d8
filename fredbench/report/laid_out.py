"""A grid's table in the shape of a printed one: systems in rows against budgets, corruptions or datasets.

Each system has a line of ours, one of what is published and one of the difference; a line is left out where nothing is
in it. The forms for programs (JSON, CSV) have a record a cell whatever the shape, see `stored_table`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fredbench.evaluation.statistics import Sample, over_sets
from fredbench.execution.inline import GridRun
from fredbench.report.pooled import ABSENT, Pooled, shown
from fredbench.report.simple import rendered
from fredbench.report.table import SHORT

__all__ = ["AVERAGE", "laid_out", "place_in"]

AVERAGE = "Avg"


@dataclass(frozen=True)
class _Value:
    """One number of a printed table: ours, the published mean with its deviation, and how many pictures are decoded."""

    ours: Sample | None
    theirs: Mapping[str, Any] | None
    increment: float | None = None
    printed_increment: float | None = None

    @property
    def difference(self) -> str:
        """Ours above the published, marked `=` where that lies in our 95 % interval."""
        if self.ours is None or self.theirs is None:
            return ABSENT
        interval, mean = self.ours.interval, self.theirs["mean"]
        inside = interval is not None and interval[0] <= mean <= interval[1]
        return f"{self.ours.mean - mean:+.1f}{' =' if inside else ''}"

    @property
    def published(self) -> str:
        """As printed."""
        if self.theirs is None:
            return ABSENT
        return f"{self.theirs['mean']:g}" + (f" ± {self.theirs['std']:g}" if self.theirs.get("std") else "")

    @property
    def increments(self) -> str:
        """Ours, and the printed one where that is another."""
        known = [f"x{value:g}" for value in (self.increment, self.printed_increment) if value is not None]
        if len(known) == 2 and known[0] != known[1]:
            return f"{known[0]} (published {known[1]})"
        return known[0] if known else ABSENT


def laid_out(found: Sequence[tuple[GridRun, Sequence[Pooled]]], form: str) -> str:
    """The table of one grid, of all its datasets that are here."""
    cells: dict[str, dict[str, _Value]] = {}
    columns: dict[str, None] = {}
    for grid_run, lines in found:
        for line in lines:
            for row, column, value in place_in(grid_run, line):
                cells.setdefault(row, {})[column] = value
                columns[column] = None
    body = [line for row, values in cells.items() for line in _lines(row, [values.get(name) for name in columns])]
    return rendered(("", *columns), body, form)


def place_in(grid_run: GridRun, line: Pooled) -> Iterator[tuple[str, str, _Value]]:
    """Row, column and number of each entry that the pooled cells `line` are in the grid's layout."""
    cell, protocol = line.cells[0].planned.cell, line.cells[0].protocol
    place, printed = grid_run.place, line.published
    system = cell.system + ("" if protocol == "own" else f" [{protocol}]")
    several = f"{system}, IPC {cell.ipc}" if len(place.ipcs) > 1 else system
    average = printed.get("average")
    whole = _Value(line.average, None if average is None else {"mean": average})
    match grid_run.grid.layout:
        case "corruptions":
            samples = [stored.row.corruptions for stored in line.cells if stored.row is not None]
            for name in grid_run.evaluation.domains.suite.corruptions:
                ours = over_sets([each[name].sample for each in samples]) if all(name in s for s in samples) else None
                theirs = printed.get("corruptions", {}).get(name)
                yield (
                    several, SHORT.get(name, name),
                    _Value(ours if samples else None, None if theirs is None else {"mean": theirs}),
                )  # fmt: skip
            yield several, AVERAGE, whole
        case "datasets":
            yield several, grid_run.dataset.title, whole
        case _:
            yield system, f"{grid_run.dataset.title}, IPC {cell.ipc}", _clean(line)


def _clean(line: Pooled) -> _Value:
    return _Value(line.clean, line.published_clean, line.increment, line.published_increment)


def _lines(row: str, values: Sequence[_Value | None]) -> Iterator[Sequence[str]]:
    known = [value or _Value(None, None) for value in values]
    yield (row, *(shown(value.ours) for value in known))
    for title, texts in (
        ("published", [value.published for value in known]),
        ("difference", [value.difference for value in known]),
        ("decoded", [value.increments for value in known]),
    ):
        if any(text != ABSENT for text in texts) and not (title == "decoded" and set(texts) <= {"x1", ABSENT}):
            yield (f"  {title}", *texts)
