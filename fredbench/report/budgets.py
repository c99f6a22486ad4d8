"""The budget columns of a table: scalars by both conventions or, where one kind is asked for, that kind alone."""

from __future__ import annotations

from collections.abc import Sequence

from fredbench.evaluation.rows import Row
from fredbench.foundation.coding import CODER, BudgetBy

__all__ = ["budget_cells", "budget_heads", "budget_notes"]

_ABSENT = "–"
_HEADS: dict[BudgetBy, str] = {"params": "#Params", "strict": "strict", "bytes": "bytes"}


def budget_heads(by: BudgetBy | None) -> list[str]:
    """Heads of the columns; None for both counts of scalars."""
    return ["#Params", "strict"] if by is None else [_HEADS[by]]


def budget_cells(row: Row, by: BudgetBy | None) -> list[str]:
    """What stands below `budget_heads(by)` in a row."""
    scalars = {"params": f"{row.params:,}", "strict": f"{row.params_strict:,}"}
    if by is None:
        return list(scalars.values())
    if by == "bytes":
        return [_ABSENT if row.storage is None else f"{row.storage.stored:,}"]
    return [scalars[by]]


def budget_notes(rows: Sequence[Row], by: BudgetBy | None) -> list[str]:
    """What the budget column counts, where one was asked for; and always which sets are kept in half precision."""
    said = []
    if by == "bytes":
        said.append(
            "Bytes of all stored tensors, each number in its own type; labels in class order take none. JSON has the "
            f"bytes after {CODER}."
        )
    halves = dict.fromkeys((row.method, row.storage.half) for row in rows if row.storage and row.storage.half)
    return said + [f"{method} is kept in half precision: {tensors}." for method, tensors in halves]
