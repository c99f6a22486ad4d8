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


def against_table(row: Row, found: Sequence[Against], form: str) -> str:
    """The comparison in a format; Holm's correction is over all of it."""
    keys = [(number, domain) for number, each in enumerate(found) for domain in _DOMAINS if domain in each.comparisons]
    table = dict(zip(keys, claims([found[number].comparisons[domain] for number, domain in keys]), strict=True))
    if form == "json":
        lines = [
            mapping_of(each) | {domain + "_compared": _mapping(table.get((number, domain))) for domain in _DOMAINS}
            for number, each in enumerate(found)
        ]
        return json.dumps({"row": row.to_mapping(), "against": lines}, indent=1, allow_nan=False)
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
    ours = f"Ours: {row.label}, clean {row.clean}" + ("" if row.average is None else f", average {row.average}")
    notes = [f"{ours}, n = {row.students}, {row.network}, {row.preset}.", *footnotes(table.values())]
    return text if form == "latex" else "\n".join([text, "", *notes])


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
