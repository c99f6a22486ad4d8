"""Kept results as the Markdown tables of docs/results.md, so that no number there is typed by hand.

    python benchmarks/tables.py results/twelve-digits-ipc1.json

Takes what `fredbench suite run ... --out` wrote: a line a cell with clean and corrupted accuracy, the lead over the
random control of the same budget and recipe and over its own start (starred where beyond the spread), budget, and
minutes of the run and of its students.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fredbench.evaluation.significance import starred  # noqa: E402
from fredbench.evaluation.statistics import Sample  # noqa: E402

HEAD = (
    "method", "clean", "average of 15", "over random", "over start", "#Params", "strict", "pictures", "n",
    "minutes: run + students", "published",
)  # fmt: skip


def table(document: Mapping[str, Any]) -> list[str]:
    """Lines of Markdown."""
    rows = {row["run"]: row for row in document["rows"]}
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    return [*lines, *("| " + " | ".join(cells) + " |" for cells in _cells(rows))]


def _cells(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    for row in rows.values():
        if "cell" not in row:
            continue
        clean, beside = sample(row["clean"]), row["beside"]
        published = (row["published"] or {}).get("clean")
        seconds = row["seconds"]
        yield (
            row["cell"].partition(",")[0],
            str(clean),
            str(sample(row["average"])),
            "–" if row["control"] else lead(clean, rows.get(beside["control"])),
            "–" if row["control"] else lead(clean, rows.get(beside["start"])),
            f"{row['params']:,}",
            f"{row['params_strict']:,}",
            f"{row['decoded']:,}",
            str(row["students"]),
            " + ".join("–" if part is None else f"{part / 60:.1f}" for part in seconds.values()),
            "–" if published is None else f"{published['mean']:g}",
        )


def sample(found: Mapping[str, Any]) -> Sample:
    return Sample(found["mean"], found["std"], found["n"])


def lead(clean: Sample, other: Mapping[str, Any] | None) -> str:
    if other is None:
        return "–"
    return starred(clean, sample(other["clean"])).replace("*", r"\*")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print("\n".join(table(json.loads(Path(name).read_text()))), end="\n\n")
