"""A grid's runs as a table and as a document: each with its accuracies, budget, seconds and what it was made by."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fredbench.evaluation.significance import Claim, between, claims, footnotes
from fredbench.execution.costs import Cost, Costs
from fredbench.execution.inline import GridRun, Outcome, Planned, Scored
from fredbench.foundation.coding import BudgetBy
from fredbench.foundation.environment import without_places
from fredbench.recipes.reproducing import distill_command
from fredbench.report.budgets import budget_cells, budget_heads, budget_notes
from fredbench.report.simple import simple_table
from fredbench.report.table import frame
from fredbench.runs.estimation import duration

__all__ = ["plan_table", "results_document", "results_table"]

_ABSENT = "–"


def plan_table(grid_run: GridRun, cells: Sequence[Planned], form: str, costs: Costs | None = None) -> str:
    """A line a cell: how far it is distilled and scored, and what it will be called.

    costs: adds what each takes on this machine, and all of them below; programs (JSON, CSV) get seconds and bytes.
    """
    head = ["cell", "ipc", "seed", "preset", "iterations", "distilled", "students", "scores", "run"]
    each = [] if costs is None else costs.by_cell()
    plain = form in {"json", "csv"}
    if costs is not None:
        head[-1:] = ["left", *(["seconds", "disk_bytes"] if plain else []), head[-1]]
    lines: list[Sequence[Any]] = []
    for number, planned in enumerate(cells):
        cell, spec, standing = planned.cell, planned.spec, grid_run.standing(planned)
        lines.append(
            (
                cell.system,
                cell.ipc,
                cell.seed,
                cell.preset,
                _ABSENT if spec is None else spec.iterations,
                planned.state,
                _ABSENT if standing is None else f"{standing.trained}/{standing.students}",
                _ABSENT if standing is None else f"{standing.scored}/{standing.scores}",
                *([] if costs is None else [_time(each[number]), *(_exact(each[number]) if plain else [])]),
                str(planned.problem) if planned.folder is None else planned.folder.path.name,
            )
        )
    body = simple_table(head, lines, form)
    if costs is None or form in {"json", "csv", "latex"}:
        return body
    return "\n".join([body, "", *_sums(grid_run, each, costs)])


def _exact(cost: Cost | None) -> list[float | int | None]:
    """Seconds and bytes of disk that are left of a cell; None where nobody knows."""
    return [None, None] if cost is None else [round(cost.seconds, 3), round(cost.disk)]


def _time(cost: Cost | None) -> str:
    """What is left of a cell, `~` where a step was scaled from another budget."""
    if cost is None:
        return "unknown"
    return "nothing" if not cost.seconds else f"{'~' if cost.scaled else ''}{duration(cost.seconds)}"


def _sums(grid_run: GridRun, each: Sequence[Cost | None], costs: Costs) -> list[str]:
    known = [cost for cost in each if cost is not None]
    unknown = len(each) - len(known)
    said = [
        f"All of it: {duration(sum(cost.seconds for cost in known))} of one process with {grid_run.threads} thread(s) "
        f"of {grid_run.device}, {sum(cost.disk for cost in known) / 1e9:.1f} GB of disk, "
        f"{costs.memory / 1e9:.1f} GB of memory at the peak of what was measured.",
        "Measured here a moment ago: a step of each kind of cell, an epoch of each kind of student, predictions; what "
        "cells share is counted with the first. Making the corrupted pictures is left out.",
    ]
    if any(cost.scaled for cost in known):
        said.append("~ scaled by pictures from another budget of the same system: measuring all would take too long.")
    if unknown:
        said.append(f"{unknown} of {len(each)} cells have no estimate, and are not in the sum.")
    return said


def results_table(
    grid_run: GridRun,
    outcomes: Sequence[Outcome],
    form: str,
    environment: Mapping[str, Any],
    *,
    budget_by: BudgetBy | None = None,
) -> str:
    """The table in a format; JSON is `results_document`. `environment`: as `foundation.environment` gives it.

    budget_by: as of `table.corruption_table`.
    """
    if form == "json":
        return json.dumps(results_document(grid_run, outcomes, environment), indent=1, allow_nan=False)
    if form == "csv":
        return _csv(outcomes)
    head = (
        "set", "ipc", "clean", "average", "clean over random", "clean over start", *budget_heads(budget_by), "decoded",
        "n", "distilled s", "scored s", "preset", "published clean",
    )  # fmt: skip
    leads = _leads(outcomes)
    body = simple_table(head, list(_lines(outcomes, leads, budget_by)), form)
    scored = [found.row for _, found in _each_once(outcomes) if found is not None]
    said = [*_notes(grid_run, outcomes), *footnotes(leads.values()), *budget_notes(scored, budget_by)]
    return body if form == "latex" else "\n".join([body, "", *said])


def _each_once(outcomes: Sequence[Outcome]) -> Iterator[tuple[Outcome, Scored | None]]:
    """Every cell's row, start and control in order, each run once; None for a cell without a row."""
    shown: set[tuple[str, str]] = set()
    for outcome in outcomes:
        if outcome.scored is None:
            yield outcome, None
        for scored in filter(None, (outcome.scored, outcome.start, outcome.control)):
            if (scored.row.run, scored.row.protocol) not in shown:
                shown.add((scored.row.run, scored.row.protocol))
                yield outcome, scored


def _csv(outcomes: Sequence[Outcome]) -> str:
    """Plain numbers, a line a row; what failed is not among them."""
    found = [scored for _, scored in _each_once(outcomes) if scored is not None]
    seconds = {
        "distillation_seconds": [scored.distillation for scored in found],
        "evaluation_seconds": [scored.evaluation for scored in found],
    }
    return str(frame([scored.row for scored in found]).assign(**seconds).to_csv(index=False)).removesuffix("\n")


_Leads = Mapping[tuple[str, str, str], Claim]


def _leads(outcomes: Sequence[Outcome]) -> _Leads:
    """Clean accuracy over the control and the start, by run, protocol and role, corrected over all of the table."""
    found = {}
    for outcome in outcomes:
        own = outcome.scored
        for role, other in (("control", outcome.control), ("start", outcome.start)):
            if own is None or other is None or own is other or own.row.control:
                continue
            comparison = between(own.row, other.row)
            if comparison is not None:
                found[own.row.run, own.row.protocol, role] = comparison
    return dict(zip(found, claims(list(found.values())), strict=True))


def _lines(outcomes: Sequence[Outcome], leads: _Leads, budget_by: BudgetBy | None) -> Iterator[Sequence[Any]]:
    absent = 7 + len(budget_heads(budget_by))
    for outcome, scored in _each_once(outcomes):
        if scored is None:
            cell = outcome.cell
            yield cell.system, cell.ipc, "failed", *[_ABSENT] * absent, cell.preset, _ABSENT
        else:
            yield _line(scored, leads, budget_by)


def _line(scored: Scored, leads: _Leads, budget_by: BudgetBy | None) -> Sequence[Any]:
    row = scored.row
    published = (row.published or {}).get("clean")
    return (
        row.label,
        row.ipc,
        str(row.clean),
        _ABSENT if row.average is None else str(row.average),
        *(str(leads.get((row.run, row.protocol, role), _ABSENT)) for role in ("control", "start")),
        *budget_cells(row, budget_by),
        row.decoded,
        row.students,
        f"{scored.distillation:.1f}",
        _ABSENT if scored.evaluation is None else f"{scored.evaluation:.1f}",
        row.preset,
        _ABSENT if published is None else f"{published['mean']:g}",
    )


def _notes(grid_run: GridRun, outcomes: Sequence[Outcome]) -> list[str]:
    place, domains = grid_run.place, grid_run.evaluation.domains
    severities = ", ".join(map(str, domains.severities))
    fewer = "" if domains.fewer_corrupted is None else f", {domains.fewer_corrupted} of them corrupted"
    title = grid_run.dataset.title
    said = [
        f"Suite {grid_run.grid.name} on {title}, scored on {place.scored_on} (severities {severities}, "
        f"{len(domains.indices)} test pictures{fewer}, {domains.source}).",
        "Accuracy in %, mean ± std over n students.",
        f"Seconds on {grid_run.threads} thread(s) of {grid_run.device}: of the run, and of its students with their "
        f"scores ({_ABSENT} where not all of it was timed).",
    ]
    scored = [o.scored for o in outcomes if o.scored is not None]
    said += [f"Preset {recipe}." for recipe in dict.fromkeys(s.row.recipe for s in scored if not s.row.control)]
    # Rows know what their suite finds missing beyond what the dataset says of itself.
    partial = dict(grid_run.dataset.partial)
    for each in scored:
        partial |= each.row.partial
    said += [f"Partial dataset ({split}: {what})." for split, what in partial.items()]
    said += [f"Failed: {o.label}: {o.problem}" for o in outcomes if o.problem is not None]
    return said + ([grid_run.grid.note] if grid_run.grid.note else [])


def results_document(grid_run: GridRun, outcomes: Sequence[Outcome], environment: Mapping[str, Any]) -> dict[str, Any]:
    """Rows as `corrupt-eval --format json` has them, each with its spec, seconds and command; what failed; provenance.

    `environment` is that of the scores, `made_in` those of the runs, each with the runs that it made. No name of a
    host, and of folders only the last part of a run's.
    """
    domains = grid_run.evaluation.domains
    found = [scored for _, scored in _each_once(outcomes) if scored is not None]
    rows = {(scored.row.run, scored.row.protocol): _row(grid_run, scored) for scored in found}
    for outcome in outcomes:
        if outcome.scored is not None:
            rows[outcome.scored.row.run, outcome.protocol] |= {"cell": outcome.cell.label, "beside": _beside(outcome)}
    return {
        "format": "fredbench-grid",
        "format_version": 1,
        "suite": grid_run.grid.name,
        "title": grid_run.grid.title,
        "dataset": grid_run.dataset.title,
        "fingerprint": grid_run.dataset.fingerprint,
        "scored_on": grid_run.place.scored_on,
        "severities": list(domains.severities),
        "rows": list(rows.values()),
        "failed": [_failure(grid_run, outcome) for outcome in outcomes if outcome.problem is not None],
        "asked": {**asdict(grid_run.place), "changes": [asdict(change) for change in grid_run.grid.changes]},
        "environment": without_places(environment),
        "made_in": _environments(found),
    }


def _environments(found: Sequence[Scored]) -> list[dict[str, Any]]:
    """Every environment once, with the names of the runs that were made in it."""
    distinct: dict[str, dict[str, Any]] = {}
    for scored in found:
        made_in = without_places(scored.made_in)
        entry = distinct.setdefault(json.dumps(made_in, sort_keys=True), {**made_in, "runs": []})
        entry["runs"].append(Path(scored.row.run).name)
    return list(distinct.values())


def _beside(outcome: Outcome) -> dict[str, str | None]:
    """Names of the runs that a cell is to be compared with."""
    others = {"start": outcome.start, "control": outcome.control}
    return {role: None if other is None else Path(other.row.run).name for role, other in others.items()}


def _row(grid_run: GridRun, scored: Scored) -> dict[str, Any]:
    spec = scored.spec.to_mapping()
    spec["run"]["dataset"] = grid_run.dataset.title
    return {
        **scored.row.to_mapping(),
        "run": Path(scored.row.run).name,
        "dataset": grid_run.dataset.title,
        "seconds": {"distillation": scored.distillation, "evaluation": scored.evaluation},
        "command": distill_command(scored.spec, grid_run.dataset),
        "spec": spec,
    }


def _failure(grid_run: GridRun, outcome: Outcome) -> dict[str, str]:
    problem, place = outcome.problem, str(grid_run.store.root)
    if problem is None:
        raise ValueError(f"{outcome.label} did not fail")
    said = {"error": problem.message, "hint": problem.hint}
    return {"cell": outcome.label, **{key: text.replace(place, "STORE") for key, text in said.items()}}
