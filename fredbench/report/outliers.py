"""How well students of each row tell pictures of other datasets from their own: a table below that of accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fredbench.evaluation.across import expanded
from fredbench.evaluation.rows import SCORES, Row
from fredbench.report.simple import rendered

__all__ = ["outlier_columns", "outlier_table"]

_NOTE = (
    "AUROC and FPR95 in %, mean ± std over n students: how well a score parts one's own test pictures from the other's "
    "(AUROC 50 by chance, higher is better), and the share of the other's that pass where 95 % of one's own do."
)


def outlier_table(rows: Sequence[Row], form: str) -> str:
    """The table as text, aligned, Markdown or LaTeX; empty where nothing was compared."""
    found = [(row, other) for row in expanded(rows) for other in row.outliers]
    if not found:
        return ""
    head = ("set", "against", "score", "AUROC", "FPR95", "own", "other", "n")
    lines = [
        [row.label, other.dataset, one.score, str(one.auroc), str(one.fpr95), other.inside, other.outside, one.auroc.n]
        for row, other in found
        for one in other.scores
    ]
    body = rendered(head, lines, form)
    said = [_NOTE, *(f"{name}: {what}." for name, what in SCORES.items())]
    missing = {other.dataset: other.partial for _, other in found if other.partial}
    said += [
        f"{name} is a partial dataset ({'; '.join(f'{split}: {what}' for split, what in partial.items())})."
        for name, partial in missing.items()
    ]
    return body if form == "latex" else "\n".join([body, "", *said])


def outlier_columns(row: Row) -> dict[str, Any]:
    """A row's rates as plain numbers, for tables of a line a row."""
    return {
        f"{other.dataset} {one.score} {name}_mean": sample.mean
        for other in row.outliers
        for one in other.scores
        for name, sample in (("auroc", one.auroc), ("fpr95", one.fpr95))
    }
