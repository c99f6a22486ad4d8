"""What the regression gate compared: a line a row of the reference with its nearest call, or a line a quantity."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fredbench.evaluation.references import Finding, Reference
from fredbench.report.simple import comma_separated, rendered

__all__ = ["check_table"]

_ABSENT = "–"
_HEAD = (
    "row",
    "quantity",
    "reference",
    "± std",
    "n",
    "found",
    "difference",
    "tolerance",
    "outside by",
    "rule",
    "result",
)


def check_table(reference: Reference, findings: Sequence[Finding], form: str, *, every: bool = False) -> str:
    """The comparison in a format. In text only what does not hold stands by quantity, unless `every`."""
    records = [_record(finding) for finding in findings]
    if form == "json":
        head = {"suite": reference.suite, "tier": reference.tier, "false_alarm": reference.false_alarm}
        return json.dumps({**head, "lines": records}, indent=1, allow_nan=False)
    if form == "csv":
        return comma_separated(records)
    shown = [finding for finding in findings if every or not finding.holds]
    parts = [rendered(_HEAD, [_line(finding) for finding in shown], form)] if shown else []
    if not every:
        parts.insert(0, rendered(("row", "compared", "held", "nearest to its tolerance"), _by_row(findings), form))
    return "\n\n".join(parts if form == "latex" else [*parts, "\n".join(_notes(reference, findings))])


def _by_row(findings: Sequence[Finding]) -> list[Sequence[Any]]:
    rows: dict[str, list[Finding]] = {}
    for finding in findings:
        rows.setdefault(finding.line.row, []).append(finding)
    return [(name, len(group), sum(f.holds for f in group), _nearest(group)) for name, group in rows.items()]


def _nearest(group: Sequence[Finding]) -> str:
    """The quantity that used most of its tolerance."""
    used = [(abs(f.difference) / f.tolerance, f) for f in group if f.difference is not None and f.tolerance]
    if not used:
        return _ABSENT
    share, finding = max(used, key=lambda pair: pair[0])
    return f"{finding.line.quantity} ({share:.0%})"


def _line(finding: Finding) -> Sequence[Any]:
    line = finding.line
    return (
        line.row,
        line.quantity,
        _shown(line.value),
        _shown(line.std),
        _ABSENT if line.n is None else line.n,
        _shown(finding.found),
        _shown(finding.difference),
        _shown(finding.tolerance),
        _shown(finding.outside),
        line.rule,
        "ok" if finding.holds else "MISSING" if finding.found is None else "OUTSIDE",
    )


def _shown(value: float | str | None) -> str:
    return _ABSENT if value is None else value if isinstance(value, str) else f"{value:.4g}"


def _record(finding: Finding) -> dict[str, Any]:
    line = finding.line
    numbers = {"found": finding.found, "difference": finding.difference, "tolerance": finding.tolerance}
    return {
        "row": line.row,
        "quantity": line.quantity,
        "rule": line.rule,
        "reference": line.value,
        "std": line.std,
        "n": line.n,
        "protocol": line.protocol,
        "source": line.source,
        **{name: _plain(value) for name, value in numbers.items()},
        "outside_by": _plain(finding.outside),
        "holds": finding.holds,
    }


def _plain(value: float | str | None) -> float | str | None:
    """JSON has no NaN: what is no number is written as text."""
    return round(value, 6) if isinstance(value, float) and abs(value) < float("inf") else _text(value)


def _text(value: float | str | None) -> str | None:
    return None if value is None else str(value)


def _notes(reference: Reference, findings: Sequence[Finding]) -> list[str]:
    held, by_rule = sum(finding.holds for finding in findings), [finding.line.rule for finding in findings]
    counts = ", ".join(f"{by_rule.count(rule)} {rule}" for rule in dict.fromkeys(by_rule))
    said = [f"{held} of {len(findings)} lines of {reference.suite} ({reference.tier}) hold: {counts}."]
    if shares := ", ".join(f"{share:.2g} a line of {rule}" for rule, share in reference.shares.items()):
        said.append(
            f"Tolerances by chance refuse a correct program with a probability of at most {reference.false_alarm:g} "
            f"over the whole check ({shares}; Student's t); tight and exact lines have no chance."
        )
    return said
