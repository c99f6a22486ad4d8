"""How steady the students of each row are along perturbation sequences: a table below that of accuracies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fredbench.evaluation.across import expanded
from fredbench.evaluation.rows import Row
from fredbench.report.simple import rendered

__all__ = ["sequence_columns", "sequence_table"]

_NOTE = (
    "flips: frames of the sequence whose predicted class is not that of the frame they are compared with, in %; top-5: "
    "distance of the rankings of both, 0 (the same five in order) to 15 (none left). Means ± std over n students, not "
    "divided by AlexNet's, which were not published. A student that always says the same flips never: read them "
    "beside accuracy (in %, over all frames)."
)


def sequence_table(rows: Sequence[Row], form: str) -> str:
    """The table as text, aligned, Markdown or LaTeX; empty where no sequences were looked at."""
    lines = [line for row in expanded(rows) for line in _lines(row)]
    if not lines:
        return ""
    head = ("set", "perturbation", "flips", "top-5", "accuracy", "frames", "sequences", "n")
    body = rendered(head, lines, form, ["left", "left", *["right"] * (len(head) - 2)])
    return body if form == "latex" else "\n".join([body, "", _NOTE])


def _lines(row: Row) -> list[list[Any]]:
    found = row.steadiness
    lines = [
        [row.label, f.name, f"{f.flips}", f"{f.top5}", f"{f.accuracy}", f.frames, f.sequences, f.flips.n] for f in found
    ]
    if len(found) > 1:
        means = (_mean(f.flips.mean for f in found), _mean(f.top5.mean for f in found))
        accuracy = _mean(f.accuracy.mean for f in found)
        lines.append(
            [row.label, f"mean of {len(found)}", *(f"{m:.1f}" for m in (*means, accuracy)), "", "", found[0].flips.n]
        )
    return lines


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known)


def sequence_columns(row: Row) -> dict[str, Any]:
    """A row's flips, distances and accuracies as plain numbers, for tables of a line a row."""
    return {
        f"sequence {found.name} {name}_mean": sample.mean
        for found in row.steadiness
        for name, sample in (("flips", found.flips), ("top5", found.top5), ("accuracy", found.accuracy))
    }
