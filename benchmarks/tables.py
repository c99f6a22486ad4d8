"""Kept results as the Markdown tables of docs/results.md, so that no number there is typed by hand.

    python benchmarks/tables.py results/twelve-digits-ipc1.json

Takes what `fredbench suite run ... --out` wrote: a line a cell with clean and corrupted accuracy, the lead over the
random control of the same budget and recipe and over its own start (starred where it holds after Holm's correction
over the table), budget, and minutes of the run and of its students.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fredbench.evaluation.comparison import Comparison, unpaired  # noqa: E402
from fredbench.evaluation.significance import Claim, claims, footnotes  # noqa: E402
from fredbench.evaluation.statistics import Sample  # noqa: E402

HEAD = (
    "method", "clean", "average of 15", "over random", "over start", "#Params", "strict", "pictures", "n",
    "minutes: run + students", "published",
)  # fmt: skip

Leads = dict[tuple[str, str], Claim]
STAR = r"\*"


def table(document: Mapping[str, Any]) -> list[str]:
    """Lines of Markdown."""
    rows = {row["run"]: row for row in document["rows"]}
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    pairs = {
        (name, role): (row, rows[row["beside"][role]])
        for name, row in rows.items()
        for role in ("control", "start")
        if "cell" in row and not row["control"] and row["beside"][role] in rows
    }
    found = leads(pairs)
    lines += ["| " + " | ".join(cells) + " |" for cells in _cells(rows, found)]
    return [*lines, "", *footnotes(found.values(), star=STAR)]


def _cells(rows: Mapping[str, Mapping[str, Any]], found: Leads) -> Iterator[tuple[str, ...]]:
    for name, row in rows.items():
        if "cell" not in row:
            continue
        clean = sample(row["clean"])
        published = (row["published"] or {}).get("clean")
        seconds = row["seconds"]
        yield (
            row["cell"].partition(",")[0],
            str(clean),
            str(sample(row["average"])),
            lead(found.get((name, "control"))),
            lead(found.get((name, "start"))),
            f"{row['params']:,}",
            f"{row['params_strict']:,}",
            f"{row['decoded']:,}",
            str(row["students"]),
            " + ".join("–" if part is None else f"{part / 60:.1f}" for part in seconds.values()),
            "–" if published is None else f"{published['mean']:g}",
        )


def sample(found: Mapping[str, Any]) -> Sample:
    return Sample(found["mean"], found["std"], found["n"])


def leads(pairs: Mapping[tuple[str, str], tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Leads:
    """Clean accuracy of each pair's first row over its second, corrected over all of them."""
    return dict(zip(pairs, claims([_compared(*pair) for pair in pairs.values()]), strict=True))


def _compared(row: Mapping[str, Any], other: Mapping[str, Any]) -> Comparison:
    """By predictions where the file kept what they gave, else by means and deviations."""
    for kept in row.get("compared", ()):
        if (kept["to"], kept["network"], kept["on"]) == (other["run"], row["network"], "clean"):
            numbers = {key: kept[key] for key in ("difference", "model", "pictures", "error", "df", "p", "effect")}
            return Comparison(**numbers, units=tuple(kept["units"]))
    return unpaired(sample(row["clean"]), sample(other["clean"]))


def lead(claim: Claim | None) -> str:
    return "–" if claim is None else str(claim).replace("*", STAR)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print("\n".join(table(json.loads(Path(name).read_text()))), end="\n\n")
