"""A grid as the store has it, beside what is published: a line for each system, budget and protocol, seeds pooled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fredbench.evaluation.statistics import Sample, over_sets
from fredbench.execution.inline import GridRun, Stored
from fredbench.parameterizations.budget import BudgetBy
from fredbench.report.budgets import budget_cells, budget_heads, budget_notes
from fredbench.report.simple import comma_separated, rendered

__all__ = ["Pooled", "pooled", "stored_table"]

_ABSENT = "–"
Verdict = Literal["inside", "reaches ±", "outside"]


@dataclass(frozen=True)
class Pooled:
    """The seeds of one system at one budget under one protocol, as far as they are scored."""

    cells: tuple[Stored, ...]

    @property
    def sets(self) -> list[Stored]:
        """Those with a row."""
        return [cell for cell in self.cells if cell.row is not None]

    @property
    def clean(self) -> Sample | None:
        """Clean accuracy, the unit being the set where there are several (see `over_sets`)."""
        found = [cell.row.clean for cell in self.cells if cell.row is not None]
        return over_sets(found) if found else None

    @property
    def average(self) -> Sample | None:
        """The same of the average over corruptions; None while a set that has a row lacks it."""
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
        """Sets and students of each, such as `3 of 5 sets × 4`."""
        found, students = self.sets, sorted({cell.row.students for cell in self.sets if cell.row is not None})
        if not found:
            return f"0 of {len(self.cells)}"
        whole = "" if len(found) == len(self.cells) else f" of {len(self.cells)}"
        return f"{len(found)}{whole} set{'' if len(self.cells) == 1 else 's'} × {', '.join(map(str, students))}"

    def to_mapping(self) -> dict[str, Any]:
        """As the JSON tables hold it."""
        cell, ours = self.cells[0].planned.cell, {"clean": self.clean, "average": self.average}
        return {
            "system": cell.system,
            "ipc": cell.ipc,
            "preset": cell.preset,
            "protocol": self.cells[0].protocol,
            "seeds": [each.planned.cell.seed for each in self.cells],
            "scored_seeds": [each.planned.cell.seed for each in self.sets],
            "students": [each.row.students for each in self.cells if each.row is not None],
            "unit": None if not self.sets else "set" if len(self.sets) > 1 else "student",
            **{name: None if sample is None else sample.to_mapping() for name, sample in ours.items()},
            "published": dict(self.published) or None,
            "difference": None if self.difference is None else round(self.difference, 4),
            "published_is": self.verdict,
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


def pooled(cells: Sequence[Stored]) -> list[Pooled]:
    """`cells` by system, budget and protocol, in the order in which a grid first names these."""
    groups: dict[tuple[str, int, str], list[Stored]] = {}
    for cell in cells:
        groups.setdefault((cell.planned.cell.system, cell.planned.cell.ipc, cell.protocol), []).append(cell)
    return [Pooled(tuple(group)) for group in groups.values()]


def stored_table(grid_run: GridRun, form: str, *, budget_by: BudgetBy | None = None) -> str:
    """The table of what is stored in a format; nothing is computed for it. budget_by: a budget column, of this kind."""
    lines = pooled(grid_run.stored())
    if form == "json":
        found = {"suite": grid_run.grid.name, "dataset": grid_run.dataset.title}
        return json.dumps({**found, "rows": [line.to_mapping() for line in lines]}, indent=1, allow_nan=False)
    if form == "csv":
        return comma_separated([_record(line) for line in lines])
    head = (
        "set", "ipc", "protocol", "sets × students", "clean", "95 %", "published", "difference", "published is",
        "average", "95 %", "published", *(budget_heads(budget_by) if budget_by else []), "preset",
    )  # fmt: skip
    body = rendered(head, [_line(line, budget_by) for line in lines], form)
    said = [*_notes(grid_run, lines), *budget_notes([], budget_by)]
    return body if form == "latex" else "\n".join([body, "", *said])


def _line(line: Pooled, budget_by: BudgetBy | None) -> Sequence[Any]:
    cell, theirs, average = line.cells[0].planned.cell, line.published_clean, line.published.get("average")
    return (
        cell.system,
        cell.ipc,
        line.cells[0].protocol,
        line.counted,
        _shown(line.clean),
        _interval(line.clean),
        _ABSENT if theirs is None else f"{theirs['mean']:g}" + (f" ± {theirs['std']:g}" if theirs["std"] else ""),
        _ABSENT if line.difference is None else f"{line.difference:+.1f}",
        line.verdict or _ABSENT,
        _shown(line.average),
        _interval(line.average),
        _ABSENT if average is None else f"{average:g}",
        *(_budget(line, budget_by) if budget_by else []),
        cell.preset,
    )


def _budget(line: Pooled, budget_by: BudgetBy) -> list[str]:
    """That of its first scored set; seeds of one system at one budget store equally much."""
    return next((budget_cells(cell.row, budget_by) for cell in line.cells if cell.row is not None), [_ABSENT])


def _shown(sample: Sample | None) -> str:
    return _ABSENT if sample is None else str(sample)


def _interval(sample: Sample | None) -> str:
    if sample is None or sample.interval is None:
        return _ABSENT
    return f"{sample.interval[0]:.1f} to {sample.interval[1]:.1f}"


def _record(line: Pooled) -> dict[str, Any]:
    """A line of plain numbers; what is missing is empty, its commands stand in the last column."""
    plain, theirs = line.to_mapping(), line.published_clean or {}
    record = {key: plain[key] for key in ("system", "ipc", "preset", "protocol")}
    record |= {"sets": len(line.sets), "sets_asked": len(line.cells), "unit": plain["unit"]}
    record["students"] = " ".join(map(str, plain["students"]))
    for name, sample in (("clean", line.clean), ("average", line.average)):
        low, high = (sample.interval if sample is not None else None) or (None, None)
        mean, std = (None, None) if sample is None else (sample.mean, sample.std)
        record |= {f"{name}_mean": mean, f"{name}_std": std, f"{name}_low": low, f"{name}_high": high}
    record |= {"published_mean": theirs.get("mean"), "published_std": theirs.get("std")}
    record |= {"difference": line.difference, "published_is": line.verdict}
    record["published_average"] = line.published.get("average")
    record["missing"] = "; ".join(" && ".join(each["commands"]) for each in plain["missing"])
    return record


def _notes(grid_run: GridRun, lines: Sequence[Pooled]) -> list[str]:
    place, domains = grid_run.place, grid_run.evaluation.domains
    severities = ", ".join(map(str, domains.severities))
    fewer = "" if place.corrupted_limit is None else f", corruptions on {place.corrupted_limit} of them"
    said = [
        f"Suite {grid_run.grid.name} on {grid_run.dataset.title}, scored on {place.scored_on} (severities "
        f"{severities}, {len(domains.indices)} test pictures{fewer}, {domains.source}), {grid_run.threads} thread(s) "
        f"of {grid_run.device}; from the store alone, nothing was trained.",
        "Accuracy in %, mean ± std, with the 95 % interval of Student's t. With several sets (seeds of the "
        "distillation) the unit is the set: mean, deviation and interval are over the means of the sets. With one set "
        "they are over its students, which say nothing of another distillation.",
        "published is: inside our interval; `reaches ±` when outside, while the interval meets the published mean ± "
        "its printed deviation (of how many networks or sets is not printed); or outside.",
    ]
    if any("severity" in line.published.get("inferred", ()) for line in lines):
        said.append("Published averages over corruptions do not say their severity: no verdict stands beside them.")
    if any(cell.row is not None and not cell.whole for line in lines for cell in line.cells):
        said.append("Where an average is missing and clean is not, the corruptions are not all scored yet.")
    said += [f"Partial dataset ({split}: {what})." for split, what in grid_run.dataset.partial.items()]
    said += [f"Refused: {label}: {problem}" for label, problem in _refused(lines).items()]
    said += [f"Missing: {label}: {' && '.join(commands)}" for label, commands in _missing(lines).items()]
    return said + ([grid_run.grid.note] if grid_run.grid.note else [])


def _refused(lines: Sequence[Pooled]) -> dict[str, str]:
    """Cells that cannot be run, with the reason."""
    cells = [cell.planned for line in lines for cell in line.cells]
    return {planned.cell.label: str(planned.problem) for planned in cells if planned.problem is not None}


def _missing(lines: Sequence[Pooled]) -> dict[str, list[str]]:
    """By cell, what makes all of it that is missing, under any protocol: each command once."""
    found: dict[str, list[str]] = {}
    for line in lines:
        for cell in line.cells:
            known = found.setdefault(cell.planned.cell.label, [])
            known += [command for command in cell.commands if command not in known]
    return {label: commands for label, commands in found.items() if commands}
