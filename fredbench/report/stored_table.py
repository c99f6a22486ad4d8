"""A grid as the store has it, beside what is published: a line for each system, budget and protocol, seeds pooled."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

from fredbench.evaluation.rows import Row
from fredbench.evaluation.statistics import Sample
from fredbench.execution.inline import GridRun
from fredbench.foundation.coding import BudgetBy
from fredbench.foundation.errors import UsageError
from fredbench.report.budgets import budget_cells, budget_heads, budget_notes
from fredbench.report.laid_out import laid_out
from fredbench.report.pooled import ABSENT, Pooled, pooled, shown
from fredbench.report.simple import comma_separated, rendered

__all__ = ["stored_table"]


def stored_table(grid_runs: Sequence[GridRun], form: str, *, budget_by: BudgetBy | None = None) -> str:
    """The tables of what is stored of one grid, a dataset after the other, in a format; nothing is computed for it.

    budget_by: a budget column, of this kind, in tables of a line a cell (JSON and CSV always hold all kinds). A grid in
    the shape of a printed table has no such column: `UsageError`.
    """
    if budget_by is not None and grid_runs[0].grid.layout != "lines" and form not in ("csv", "json"):
        raise UsageError(
            f"the table of {grid_runs[0].grid.name} has the shape of a printed one, without a column of budgets",
            hint="leave out --budget-by, or take --format csv or json, which hold all of them",
        )
    found = [(each, pooled(each.stored(), len(each.dataset.classes), kept_of=each)) for each in grid_runs]
    every = [line for _, lines in found for line in lines]
    if form == "json":
        titles = ", ".join(grid_run.dataset.title for grid_run, _ in found)
        said = {"suite": grid_runs[0].grid.name, "dataset": titles}
        return json.dumps({**said, "rows": [line.to_mapping() for line in every]}, indent=1, allow_nan=False)
    if form == "csv":
        return comma_separated([_record(line) for line in every])
    if grid_runs[0].grid.layout == "lines":
        return "\n\n".join(_table(grid_run, lines, form, budget_by) for grid_run, lines in found)
    body = laid_out(found, form)
    notes = [note for grid_run, lines in found for note in _short_notes(grid_run, lines)]
    return body if form == "latex" else "\n".join([body, "", *dict.fromkeys([*notes, *_LAID_OUT])])


def _table(grid_run: GridRun, lines: Sequence[Pooled], form: str, budget_by: BudgetBy | None) -> str:
    head = (
        "set", "ipc", "protocol", "sets × students", "clean", "95 %", "published", "difference", "published is",
        "average", "95 %", "published", *(budget_heads(budget_by) if budget_by else []), "preset",
    )  # fmt: skip
    body = rendered(head, [_line(line, budget_by) for line in lines], form)
    said = [*_notes(grid_run, lines), *budget_notes(_rows(lines), budget_by)]
    return body if form == "latex" else "\n".join([body, "", *said])


def _line(line: Pooled, budget_by: BudgetBy | None) -> Sequence[Any]:
    cell, theirs, average = line.cells[0].planned.cell, line.published_clean, line.published.get("average")
    return (
        cell.system,
        cell.ipc,
        line.cells[0].protocol,
        line.counted,
        shown(line.clean),
        _interval(line.clean),
        ABSENT if theirs is None else f"{theirs['mean']:g}" + (f" ± {theirs['std']:g}" if theirs["std"] else ""),
        ABSENT if line.difference is None else f"{line.difference:+.1f}",
        line.verdict or ABSENT,
        shown(line.average),
        _interval(line.average),
        ABSENT if average is None else f"{average:g}",
        *(_budget(line, budget_by) if budget_by else []),
        cell.preset,
    )


def _budget(line: Pooled, budget_by: BudgetBy) -> list[str]:
    return [ABSENT] if line.first is None else budget_cells(line.first, budget_by)


def _rows(lines: Sequence[Pooled]) -> list[Row]:
    return [cell.row for line in lines for cell in line.cells if cell.row is not None]


def _interval(sample: Sample | None) -> str:
    if sample is None or sample.interval is None:
        return ABSENT
    return f"{sample.interval[0]:.1f} to {sample.interval[1]:.1f}"


def _record(line: Pooled) -> dict[str, Any]:
    """A line of plain numbers; what is missing is empty, its commands stand in the last column."""
    plain, theirs = line.to_mapping(), line.published_clean or {}
    record = {key: plain[key] for key in ("dataset", "system", "ipc", "preset", "protocol")}
    record |= {
        "sets": len(line.sets if line.kept is None else line.kept.runs),
        "sets_asked": len(line.cells),
        "unit": plain["unit"],
    }
    record |= {name: plain[name] for name in ("params", "params_strict")}
    record["bytes"] = (plain["storage"] or {}).get("bytes")
    record["students"] = " ".join(map(str, (line.kept.values if line.kept else plain)["students"]))
    record["kept"] = line.kept is not None
    for name, sample in (("clean", line.clean), ("average", line.average)):
        low, high = (sample.interval if sample is not None else None) or (None, None)
        mean, std = (None, None) if sample is None else (sample.mean, sample.std)
        record |= {f"{name}_mean": mean, f"{name}_std": std, f"{name}_low": low, f"{name}_high": high}
    record |= {"published_mean": theirs.get("mean"), "published_std": theirs.get("std")}
    record |= {"difference": line.difference, "published_is": line.verdict}
    record["published_average"] = line.published.get("average")
    record["missing"] = "; ".join(" && ".join(each["commands"]) for each in plain["missing"])
    return record


_LAID_OUT = (
    "Accuracy in %, mean ± std. The difference is ours less the published; = where the published mean lies in our 95 % "
    "interval (Student's t; over sets where there are several seeds, else over students). decoded: pictures for each "
    "that the budget would buy whole. --format json has every cell with its interval and what makes it.",
)


def _told(grid_run: GridRun) -> str:
    place, domains = grid_run.place, grid_run.evaluation.domains
    severities = ", ".join(map(str, domains.severities))
    fewer = "" if domains.fewer_corrupted is None else f", corruptions on {domains.fewer_corrupted} of them"
    scale = f", scale {place.scale}" if place.scale else ""
    return (
        f"Suite {grid_run.grid.name} on {grid_run.dataset.title}{scale}, scored on {place.scored_on} (severities "
        f"{severities}, {len(domains.indices)} test pictures{fewer}, {domains.source}), {grid_run.threads} thread(s) "
        f"of {grid_run.device}; from what is stored or kept, nothing was trained."
    )


def _short_notes(grid_run: GridRun, lines: Sequence[Pooled]) -> list[str]:
    """What stands below a table in a printed one's shape: what is missing by number, with the command that makes it."""
    place, cells = grid_run.place, [cell for line in lines for cell in line.cells]
    missing = sum(not cell.whole for cell in cells)
    said = [_told(grid_run)]
    if place.preset != "paper":
        said.append(f"Preset {place.preset} on {grid_run.dataset.title}: not the published experiment.")
    if any("severity" in line.published.get("inferred", ()) for line in lines):
        said.append("Published averages over corruptions do not say their severity.")
    said += _kept(lines)
    said += [f"Partial dataset ({split}: {what})." for split, what in grid_run.dataset.partial.items()]
    said += [f"Refused: {label}: {problem}" for label, problem in _refused(lines).items()]
    if missing:
        words = ["fredbench", "suite", "run", grid_run.grid.name, "--dataset", place.name]
        words += ["--scale", place.scale] if place.scale else []
        said.append(f"Missing on {grid_run.dataset.title}: {missing} of {len(cells)} cells; {shlex.join(words)}")
    return said + ([grid_run.grid.note] if grid_run.grid.note else [])


def _notes(grid_run: GridRun, lines: Sequence[Pooled]) -> list[str]:
    said = [
        _told(grid_run),
        "Accuracy in %, mean ± std, with the 95 % interval of Student's t. With several sets (seeds of the "
        "distillation) the unit is the set: mean, deviation and interval are over the means of the sets. With one set "
        "they are over its students, which say nothing of another distillation; students of random pictures draw "
        "their own, a set each.",
        "published is: inside our interval; `reaches ±` when outside, while the interval meets the published mean ± "
        "its printed deviation (of how many networks or sets is not printed); or outside.",
    ]
    if any("severity" in line.published.get("inferred", ()) for line in lines):
        said.append("Published averages over corruptions do not say their severity: no verdict stands beside them.")
    if any(cell.row is not None and not cell.whole for line in lines for cell in line.cells):
        said.append("Where an average is missing and clean is not, the corruptions are not all scored yet.")
    said += _kept(lines)
    said += [f"Partial dataset ({split}: {what})." for split, what in grid_run.dataset.partial.items()]
    said += [f"Refused: {label}: {problem}" for label, problem in _refused(lines).items()]
    said += [f"Missing: {label}: {' && '.join(commands)}" for label, commands in _missing(lines).items()]
    return said + ([grid_run.grid.note] if grid_run.grid.note else [])


def _kept(lines: Sequence[Pooled]) -> list[str]:
    """What `kept` means, where a line says it."""
    found = dict.fromkeys(line.kept.made_with for line in lines if line.kept is not None)
    if not found:
        return []
    made = "; ".join(found)
    return [f"kept: not of this store. The project measured the same runs and students, with {made}."]


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
