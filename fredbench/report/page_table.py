"""The cross-domain table as cells for the page: what stands in each, and which are the best of their column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fredbench.evaluation.rows import Row
from fredbench.evaluation.significance import spread_between
from fredbench.evaluation.statistics import Sample
from fredbench.report.columns import Column, further_columns
from fredbench.report.table import SHORT

__all__ = [
    "TABLE_NOTE", "accuracy_lines", "best_columns", "cell", "heads", "leaders", "plain_heads", "plain_line",
    "sample_cell", "text_cell",
]  # fmt: skip

_ABSENT = "–"
TABLE_NOTE = (
    "Accuracy in %: mean, and below it the std over students. Shaded: the best of its column among sets of one "
    "dataset and IPC, with all that it does not beat by more than the spread, 2·sqrt(s₁²/n₁ + s₂²/n₂); a column in "
    "which no set falls behind has no shade. The shade guides the eye: it is not corrected for the number of sets and "
    "columns, so it is no claim, and need not agree with the stars, which are. Avg. is the mean over all corruptions "
    "and severities; drop is the share of the clean accuracy that is lost."
)


def leaders(samples: Sequence[Sample]) -> frozenset[int]:
    """Positions of the best mean and of all that it does not beat by more than the spread.

    Where the spread is unknown (one student) only equal means share the lead. Nobody leads where nobody falls
    behind, and no sample leads alone against none.
    """
    if not samples:
        return frozenset()
    best = max(samples, key=lambda sample: sample.mean)
    level = {
        position
        for position, sample in enumerate(samples)
        if best.mean - sample.mean <= (spread_between(best, sample) or 0.0)
    }
    return frozenset(level) if len(level) < len(samples) else frozenset()


def heads(names: Sequence[str], rows: Sequence[Row] = ()) -> list[dict[str, Any]]:
    """The column heads after the set's name, in the literature's order, with those that only some tables have."""
    titled = [(SHORT.get(name, name), name.replace("_", " "), False) for name in names]
    averaged = _averaged(names, rows)
    if averaged:
        titled.append(("Avg.", "mean over corruptions and severities", True))
    titled.append(("Clean", "clean test pictures", not averaged))
    if averaged:
        titled += [(head, meaning, False) for head, meaning, _ in further_columns(rows)]
    titled += [
        ("#Params", "stored scalars, the literature's convention", True),
        ("strict", "everything counted", False),
        ("n", "students", False),
        ("preset", "how much of the published effort was spent", False),
    ]
    return [{"text": text, "title": title, "rule": rule, "kind": "", "sorted": False} for text, title, rule in titled]


def accuracy_lines(rows: Sequence[Row], labels: Sequence[str], names: Sequence[str]) -> list[dict[str, Any]]:
    """A line a row, each followed by the published row where there is one."""
    best = best_columns(rows, names)
    further = further_columns(rows) if _averaged(names, rows) else []
    lines = []
    for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
        lines.append(
            {
                "label": label,
                "chips": ["partial data"] if row.partial else [],
                "href": "",
                "budgets": (),
                "kind": "companion" if row.control or row.start else "",
                "cells": _cells(row, names, best[number], further),
            }
        )
        if row.published is not None:
            lines.append(
                {
                    "label": f"{row.method}, published in {row.published['source']}",
                    "chips": [],
                    "href": "",
                    "budgets": (),
                    "kind": "published",
                    "cells": _published_cells(row.published, names, len(further)),
                }
            )
    return lines


def _averaged(names: Sequence[str], rows: Sequence[Row]) -> bool:
    """Whether the table has an average: over corruptions or, in a suite without any, over shifted test sets."""
    return bool(names) or any(row.average is not None for row in rows)


def _columns(row: Row, names: Sequence[str]) -> dict[str, Sample]:
    """Samples of the accuracy columns by column; a column that the row lacks is left out."""
    columns = {name: row.corruptions[name].sample for name in names if name in row.corruptions}
    if row.average is not None:
        columns["average"] = row.average
    return {**columns, "clean": row.clean}


def best_columns(rows: Sequence[Row], names: Sequence[str]) -> list[set[str]]:
    """For each row, the columns in which it is among the best of its dataset, IPC and protocol."""
    found: list[set[str]] = [set() for _ in rows]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, row in enumerate(rows):
        protocol = (row.protocol, row.train_labels, row.augmentation)
        groups.setdefault((row.dataset, row.ipc, protocol), []).append(number)
    for members in groups.values():
        for column in ("clean", "average", *names):
            having = [n for n in members if column in _columns(rows[n], names)]
            for position in leaders([_columns(rows[n], names)[column] for n in having]):
                found[having[position]].add(column)
    return found


def _cells(row: Row, names: Sequence[str], best: set[str], further: Sequence[Column]) -> list[dict[str, Any]]:
    columns = _columns(row, names)
    cells = []
    for name in names:
        title = ""
        if name in row.corruptions:
            by_severity = ", ".join(f"{value:.1f}" for value in row.corruptions[name].by_severity)
            title = f"{name.replace('_', ' ')}, by severity: {by_severity}"
        cells.append(sample_cell(columns.get(name), best=name in best, title=title))
    if further:
        cells.append({**sample_cell(columns.get("average"), best="average" in best), "rule": True})
    cells.append({**sample_cell(row.clean, best="clean" in best), "rule": not further})
    cells += [text_cell(text(row)) for _, _, text in further]
    cells.append(cell(f"{row.params:,}", rule=True))
    return [*cells, cell(f"{row.params_strict:,}"), cell(str(row.students)), cell(row.preset)]


def _published_cells(published: Mapping[str, Any], names: Sequence[str], further: int) -> list[dict[str, Any]]:
    values, clean, average = published["corruptions"], published["clean"], published["average"]
    inferred = "inferred: " + ", ".join(published["inferred"]) if published["inferred"] else ""
    cells = [cell(f"{values[name]:g}" if name in values else _ABSENT, title=inferred) for name in names]
    if further:
        cells.append(cell(_ABSENT if average is None else f"{average:g}", rule=True, title=inferred))
    small = f"± {clean['std']:g}" if clean and clean["std"] is not None else ""
    cells.append(cell(f"{clean['mean']:g}" if clean else _ABSENT, small=small, rule=not further))
    cells += [cell(_ABSENT) for _ in range(further)]
    return [*cells, cell(_ABSENT, rule=True), cell(_ABSENT), cell(_ABSENT), cell("paper")]


def sample_cell(sample: Sample | None, *, best: bool = False, title: str = "") -> dict[str, Any]:
    """The cell of an accuracy: mean, and below it the deviation."""
    if sample is None:
        return cell(_ABSENT)
    small = "" if sample.std is None else f"± {sample.std:.1f}"
    return cell(f"{sample.mean:.1f}", small=small, best=best, title=title, value=sample.mean)


def text_cell(text: str | None) -> dict[str, Any]:
    """The cell of a mean as text, its deviation below it where there is one."""
    shown, mark, spread = (text or _ABSENT).partition(" ± ")
    return cell(shown, small=f"± {spread}" if mark else "")


def plain_heads(titled: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Heads of columns that are not sorted by: what stands there, and what it means."""
    return [{"text": text, "title": title, "rule": False, "kind": "", "sorted": False} for text, title in titled]


def plain_line(label: str, cells: Sequence[dict[str, Any]], *, companion: bool = False) -> dict[str, Any]:
    """A line that is no link and in no filter; companion: of a start or a control."""
    kind = "companion" if companion else ""
    return {"label": label, "href": "", "chips": [], "kind": kind, "budgets": (), "cells": cells}


def cell(
    text: str,
    *,
    small: str = "",
    best: bool = False,
    rule: bool = False,
    title: str = "",
    value: int | float | None = None,
) -> dict[str, Any]:
    """A cell as the templates take it; `value`: by which a column is sorted."""
    return {"text": text, "small": small, "best": best, "rule": rule, "title": title, "value": value}
