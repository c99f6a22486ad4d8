"""How steady the students of each row are along perturbation sequences: a table below that of accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from fredbench.evaluation.across import expanded
from fredbench.evaluation.rows import Row, Stability
from fredbench.report.simple import rendered

__all__ = ["sequence_columns", "sequence_table"]

_NOTE = (
    "FP: flip probability, frames of a sequence whose predicted class is not that of the frame they are compared with, "
    "in %; T5D: top-5 distance between both frames' rankings, 0 (the same five in order) to 15. Means ± std over n "
    "students, of sequences of clean test pictures as the dataset has them; not divided by AlexNet's, which are not in "
    "the published code. Who always says the same never flips: read FP beside accuracy (in %, over all frames)."
)


def sequence_table(rows: Sequence[Row], form: str) -> str:
    """The table as text, aligned, Markdown or LaTeX; empty where no sequences were looked at."""
    lines = [line for row in expanded(rows) for line in _lines(row)]
    if not lines:
        return ""
    head = ("set", "perturbation", "FP", "T5D", "accuracy", "frames", "sequences", "n")
    body = rendered(head, lines, form, ["left", "left", *["right"] * (len(head) - 2)])
    said = dict.fromkeys(found.note for row in expanded(rows) for found in row.stability if found.note)
    return body if form == "latex" else "\n".join([body, "", _NOTE, *(f"{note}." for note in said)])


def _lines(row: Row) -> list[list[Any]]:
    found = row.stability
    lines = [[row.label, f.name, str(f.flips), f.distance.text(2), str(f.accuracy), *_counts(f)] for f in found]
    if len(found) > 1:
        flips, distance, accuracy = (
            fmean(sample.mean for sample in samples)
            for samples in zip(*((f.flips, f.distance, f.accuracy) for f in found), strict=True)
        )
        means = f"{flips:.1f}", f"{distance:.2f}", f"{accuracy:.1f}"
        lines.append([row.label, f"mean of {len(found)}", *means, "", "", found[0].flips.n])
    return lines


def _counts(found: Stability) -> tuple[int, int, int]:
    return found.frames, found.sequences, found.flips.n


def sequence_columns(row: Row) -> dict[str, Any]:
    """A row's flips, distances and accuracies as plain numbers, for tables of a line a row."""
    return {
        f"sequence {found.name} {name}_mean": sample.mean
        for found in row.stability
        for name, sample in (
            ("flip_probability", found.flips), ("top5_distance", found.distance), ("accuracy", found.accuracy),
        )
    }  # fmt: skip
