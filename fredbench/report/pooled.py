"""The cells of a grid, seeds pooled: what one line of its table is made of, beside what is published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fredbench.evaluation.kept import Kept, kept_for
from fredbench.evaluation.published import published_increment
from fredbench.evaluation.rows import Row
from fredbench.evaluation.statistics import Sample, over_sets
from fredbench.execution.inline import GridRun, Stored

__all__ = ["ABSENT", "Pooled", "pooled", "scored_as", "shown"]

ABSENT = "–"
Verdict = Literal["inside", "reaches ±", "outside"]


@dataclass(frozen=True)
class Pooled:
    """The seeds of one system at one budget under one protocol, as far as they are scored; `classes` of the dataset.

    kept: what the project measured of them, which stands in while no set is scored, and is said to.
    """

    cells: tuple[Stored, ...]
    classes: int = 1
    kept: Kept | None = None

    @property
    def sets(self) -> list[Stored]:
        """Those with a row."""
        return [cell for cell in self.cells if cell.row is not None]

    @property
    def clean(self) -> Sample | None:
        """Clean accuracy, the unit being the set where there are several (see `over_sets`)."""
        if self.kept is not None:
            return self.kept.clean
        found = [cell.row.clean for cell in self.cells if cell.row is not None]
        return over_sets(found) if found else None

    @property
    def average(self) -> Sample | None:
        """The same of the average over corruptions; None while a set that has a row lacks it."""
        if self.kept is not None:
            return self.kept.average
        found = [cell.row.average for cell in self.cells if cell.row is not None]
        known = [sample for sample in found if sample is not None]
        return over_sets(known) if known and len(known) == len(found) else None

    @property
    def published(self) -> Mapping[str, Any]:
        """What the literature prints for it; empty where nothing."""
        return next((cell.published for cell in self.cells if cell.published is not None), {})

    @property
    def published_clean(self) -> Mapping[str, Any] | None:
        """Mean and, where printed, deviation of the clean accuracy."""
        found: Mapping[str, Any] | None = self.published.get("clean")
        return found

    @property
    def first(self) -> Row | None:
        """The row of its first scored set; seeds of one system at one budget store equally much."""
        return next((cell.row for cell in self.cells if cell.row is not None), None)

    @property
    def budgets(self) -> dict[str, Any]:
        """What its first scored set stores, by every count but that after the coder; all None while none is scored."""
        if self.kept is not None:
            return {name: self.kept.values[name] for name in ("params", "params_strict", "storage")}
        row = self.first
        if row is None:
            return {"params": None, "params_strict": None, "storage": None}
        storage = None if row.storage is None else row.storage.kept()
        return {"params": row.params, "params_strict": row.params_strict, "storage": storage}

    @property
    def increment(self) -> float | None:
        """Decoded pictures for each that the budget would buy whole; None while no set is scored."""
        if self.kept is not None:
            increment: float | None = self.kept.values["increment"]
            return increment
        row = self.first
        return None if row is None else row.decoded / (row.ipc * self.classes)

    @property
    def published_increment(self) -> float | None:
        """The same as table 1 prints it."""
        spec = self.cells[0].planned.spec
        if spec is None:
            return None
        return published_increment(spec.dataset, spec.method, spec.objective, spec.parameterization, spec.ipc)

    @property
    def difference(self) -> float | None:
        """Our clean accuracy above the published one, in points."""
        ours, theirs = self.clean, self.published_clean
        return None if ours is None or theirs is None else ours.mean - theirs["mean"]

    @property
    def verdict(self) -> Verdict | None:
        """Where the published clean accuracy lies: inside our 95 % interval, or outside.

        `reaches ±`: outside, and yet our interval meets the published mean ± its printed deviation. Over how many
        networks or sets that deviation was taken is not printed, so it is no interval of a mean. None without an
        interval of ours.
        """
        ours, theirs = self.clean, self.published_clean
        if ours is None or theirs is None or ours.interval is None:
            return None
        low, high = ours.interval
        if low <= theirs["mean"] <= high:
            return "inside"
        spread = theirs["std"] or 0.0
        met = low <= theirs["mean"] + spread and theirs["mean"] - spread <= high
        return "reaches ±" if met else "outside"

    @property
    def counted(self) -> str:
        """Sets and students of each, such as `3 of 5 sets × 4`; `10 draws` of random pictures, one a student."""
        if self.kept is not None:
            return self.kept.counted
        found, students = self.sets, sorted({cell.row.students for cell in self.sets if cell.row is not None})
        if not found:
            return f"0 of {len(self.cells)}"
        if self.unit == "draw" and len(self.cells) == 1:
            return f"{students[0]} draws"
        whole = "" if len(found) == len(self.cells) else f" of {len(self.cells)}"
        return f"{len(found)}{whole} set{'' if len(self.cells) == 1 else 's'} × {', '.join(map(str, students))}"

    @property
    def unit(self) -> Literal["set", "student", "draw"] | None:
        """What an interval is over; students of one random run see a draw of pictures each, which are sets as well."""
        if self.kept is not None:
            kept_unit: Literal["set", "student", "draw"] = self.kept.values["unit"]
            return kept_unit
        if not self.sets:
            return None
        if len(self.sets) > 1:
            return "set"
        row = self.sets[0].row
        return "draw" if row is not None and row.control else "student"

    def to_mapping(self) -> dict[str, Any]:
        """As the JSON tables hold it."""
        cell, ours = self.cells[0].planned.cell, {"clean": self.clean, "average": self.average}
        return {
            "dataset": cell.dataset,
            "system": cell.system,
            "ipc": cell.ipc,
            "preset": cell.preset,
            "protocol": self.cells[0].protocol,
            "seeds": [each.planned.cell.seed for each in self.cells],
            "scored_seeds": [each.planned.cell.seed for each in self.sets],
            "students": [each.row.students for each in self.cells if each.row is not None],
            "unit": self.unit,
            **self.budgets,
            **{name: None if sample is None else sample.to_mapping() for name, sample in ours.items()},
            "published": dict(self.published) or None,
            "increment": self.increment,
            "published_increment": self.published_increment,
            "difference": None if self.difference is None else round(self.difference, 4),
            "published_is": self.verdict,
            "kept": None if self.kept is None else self.kept.to_mapping(),
            "runs": [each.planned.folder.path.name for each in self.sets if each.planned.folder is not None],
            "missing": [
                {"cell": each.planned.cell.label, "commands": list(each.commands), **_refusal(each)}
                for each in self.cells
                if not each.whole
            ],
        }


def _refusal(cell: Stored) -> dict[str, str]:
    problem = cell.planned.problem
    return {} if problem is None else {"refused": str(problem)}


def pooled(cells: Sequence[Stored], classes: int = 1, *, kept_of: GridRun | None = None) -> list[Pooled]:
    """`cells` by system, budget and protocol, in the order in which a grid first names these.

    kept_of: the grid of which what the project has kept stands in where no set of a line is scored.
    """
    groups: dict[tuple[str, int, str], list[Stored]] = {}
    for cell in cells:
        groups.setdefault((cell.planned.cell.system, cell.planned.cell.ipc, cell.protocol), []).append(cell)
    return [Pooled(tuple(group), classes, _kept(group, kept_of)) for group in groups.values()]


def _kept(group: Sequence[Stored], grid_run: GridRun | None) -> Kept | None:
    if grid_run is None or any(cell.row is not None for cell in group):
        return None
    first, specs = group[0], [cell.planned.spec for cell in group]
    return kept_for(grid_run.grid.name, specs, first.protocol, scored_as(grid_run, first))


def scored_as(grid_run: GridRun, cell: Stored) -> dict[str, Any]:
    """What a cell's scores depend on beside its run and protocol, as kept lines have it."""
    spec, domains = cell.planned.spec, grid_run.evaluation.domains
    return {
        "students": grid_run.evaluation_of(cell.planned.cell, cell.protocol).students or (spec and spec.students),
        "scored_on": domains.suite.name,
        "profile": domains.suite.profile,
        "suite_seed": domains.suite.seed,
        "corruptions": list(domains.suite.corruptions),
        "severities": list(domains.severities),
        "limit": domains.limit,
        "corrupted_limit": domains.corrupted_limit,
        "source": domains.source,
        "test": grid_run.dataset.test_fingerprint,
    }


def shown(sample: Sample | None) -> str:
    """A sample as tables have it."""
    return ABSENT if sample is None else str(sample)
