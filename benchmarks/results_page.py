"""docs/results.md from the kept results, so that no accuracy on that page is typed by hand.

    python -m benchmarks.results_page           # rewrites the generated blocks of the page
    python -m benchmarks.results_page --check   # writes nothing; exit code 1 where a block differs from results/

A block stands between `<!-- results: NAME.json -->` and `<!-- end -->`, NAME being a file in results/. What
`fredbench suite run ... --out` wrote becomes a line a cell (`benchmarks/tables.py`); what `benchmarks/record.py` wrote
becomes a line a run with its starts and controls. Prose between the blocks is left alone.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import tables  # noqa: E402

RESULTS = ROOT / "results"
PAGE = ROOT / "docs" / "results.md"
BLOCK = re.compile(r"<!-- results: (?P<name>\S+\.json) -->\n(?P<body>.*?)<!-- end -->\n", re.DOTALL)
HEAD = ("set", "students", "clean", "over random", "over start", "#Params", "strict", "pictures", "n")


def lines_of(document: Mapping[str, Any]) -> list[str]:
    """The Markdown table of a kept file."""
    return tables.table(document) if document["format"] == "fredbench-grid" else _record(document)


def _record(document: Mapping[str, Any]) -> list[str]:
    rows = document["rows"]
    pairs = _pairs(rows, document["runs"])
    found = tables.leads(pairs)
    cells = [HEAD, ("---",) * len(HEAD), *_record_cells(rows, document["runs"], found)]
    return [
        *("| " + " | ".join(line) + " |" for line in cells),
        "",
        *tables.footnotes(found.values(), star=tables.STAR),
    ]


def _pairs(rows: list[dict[str, Any]], runs: Mapping[str, Any]) -> dict[tuple[str, str], tuple[Any, Any]]:
    """Rows with their start and control, which are found by what they share with a row, not by where they stand."""
    pairs = {}
    trained = {row["run"]: runs[row["run"]]["spec"]["student"] for row in rows}
    for row in rows:
        others = [other for other in rows if trained[other["run"]] == trained[row["run"]]]
        control = next((other for other in others if other["control"]), None)
        start = next((other for other in others if other["start"] and _system(other) == _system(row)), None)
        if control is not None and not row["control"]:
            pairs[row["run"], "control"] = row, control
        if start is not None and not row["control"] and not row["start"]:
            pairs[row["run"], "start"] = row, start
    return pairs


def _record_cells(
    rows: list[dict[str, Any]], runs: Mapping[str, Any], found: tables.Leads
) -> Iterator[tuple[str, ...]]:
    """A line a row."""
    for row in rows:
        clean = tables.sample(row["clean"])
        yield (
            _label(row),
            _students(row, runs[row["run"]]["spec"]["student"]),
            str(clean),
            tables.lead(found.get((row["run"], "control"))),
            tables.lead(found.get((row["run"], "start"))),
            f"{row['params']:,}",
            f"{row['params_strict']:,}",
            f"{row['decoded']:,}",
            str(clean.n),
        )


def _system(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["method"], row["objective"], row["parameterization"]


def _students(row: Mapping[str, Any], trained: Mapping[str, Any]) -> str:
    rates = row["recipe"].rpartition(", ")[2].rpartition(": ")[2]
    return f"{row['network']}, {rates}" + (", squared loss" if trained.get("loss") == "mse" else "")


def _label(row: Mapping[str, Any]) -> str:
    if row["control"]:
        return "random control"
    named = row["method"] if row["objective"] in {row["method"], "none"} else f"{row['method']} × {row['objective']}"
    return f"start of {named}" if row["start"] else f"{named}, {row['iterations']:,} iterations"


def rewritten(page: str) -> str:
    """`page` with every block made anew from its file."""

    def block(found: re.Match[str]) -> str:
        name = found["name"]
        body = "\n".join(lines_of(json.loads((RESULTS / name).read_text())))
        return f"<!-- results: {name} -->\n\n{body}\n\n<!-- end -->\n"

    return BLOCK.sub(block, page)


def main() -> int:
    """Rewrite the page, or say that it would change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where the page would change")
    options = parser.parse_args()
    before = PAGE.read_text()
    after = rewritten(before)
    if options.check:
        return int(after != before)
    PAGE.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
