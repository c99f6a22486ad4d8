"""A run against packed predictions: a line a row of theirs, starred over the whole table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fredbench.evaluation.rows import Row
from fredbench.evaluation.significance import Claim, claims, footnotes
from fredbench.execution.comparing import Against, mapping_of
from fredbench.report.simple import comma_separated, rendered

__all__ = ["against_table"]

_DOMAINS = ("clean", "average")
_ABSENT = "–"


def against_table(found: Sequence[Against], left_out: Sequence[str], form: str) -> str:
    """The comparison in a format; Holm's correction is over all of it. left_out: rows of another kind, with why."""
    ours = {each.ours.protocol: each.ours for each in found}
    keys = [(number, domain) for number, each in enumerate(found) for domain in _DOMAINS if domain in each.comparisons]
    table = dict(zip(keys, claims([found[number].comparisons[domain] for number, domain in keys]), strict=True))
    if form == "json":
        lines = [
            mapping_of(each) | {domain + "_compared": _mapping(table.get((number, domain))) for domain in _DOMAINS}
            for number, each in enumerate(found)
        ]
        rows = [row.to_mapping() for row in ours.values()]
        said = {"row": rows[0], "rows": rows, "left_out": list(left_out)}
        return json.dumps({**said, "against": lines}, indent=1, allow_nan=False)
    if form == "csv":
        return comma_separated(
            [
                mapping_of(each) | _flat(domain, table.get((number, domain)))
                for number, each in enumerate(found)
                for domain in _DOMAINS
            ]
        )
    head = ("against", "students", "clean", "ours less theirs", "average", "ours less theirs")
    body = [
        (
            each.row.name,
            each.row.students,
            f"{each.clean:.1f}",
            _told(table.get((number, "clean"))),
            _ABSENT if each.average is None else f"{each.average:.1f}",
            _told(table.get((number, "average"))),
        )
        for number, each in enumerate(found)
    ]
    text = rendered(head, body, form)
    notes = [_ours(row) for row in ours.values()] + footnotes(table.values())
    notes += [f"Left out, being of another kind: {'; '.join(left_out)}."] if left_out else []
    return text if form == "latex" else "\n".join([text, "", *notes])


def _ours(row: Row) -> str:
    average = "" if row.average is None else f", average {row.average}"
    return f"Ours: {row.label}, clean {row.clean}{average}, n = {row.students}, {row.network}, {row.preset}."


def _told(claim: Claim | None) -> str:
    return _ABSENT if claim is None else claim.told()


def _mapping(claim: Claim | None) -> dict[str, Any] | None:
    return None if claim is None else {**claim.comparison.to_mapping(), "p_holm": claim.p, "holds": claim.holds}


def _flat(domain: str, claim: Claim | None) -> dict[str, Any]:
    """A comparison as plain numbers, its interval as two."""
    found = _mapping(claim) or {}
    low, high = found.get("ci95") or (None, None)
    plain = {key: value for key, value in found.items() if key not in {"units", "ci95"}}
    return {"domain": domain, **plain, "ci95_low": low, "ci95_high": high}
