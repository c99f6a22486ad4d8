"""Cells of the paper's tables that were made again at the published scale, as far as a store has them.

    python benchmarks/reproduced.py --out results/reproduced.json --store runs --threads 1

Nothing is computed: what is scored of the grid `reproduced` is read, with its interval, the published value and the
seconds of its run, and kept; a line that the file has already and the store lacks stays, where it is still of the same
runs, each with the environment it was measured in. Data and store are where `FREDBENCH_DATA` and `FREDBENCH_STORE`
say, or --data and --store. No path and no name of a machine is in the file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.places import add_places  # noqa: E402
from fredbench.evaluation.statistics import Sample  # noqa: E402
from fredbench.execution.inline import GridRun  # noqa: E402
from fredbench.execution.request import GridRequest  # noqa: E402
from fredbench.foundation.environment import environment  # noqa: E402
from fredbench.foundation.files import write_json  # noqa: E402
from fredbench.report.pooled import Pooled, pooled, scored_as  # noqa: E402
from fredbench.suites.grids import grid_named  # noqa: E402


def main() -> None:
    options = parse()
    here = {k: v for k, v in environment("cpu", options.threads).items() if k != "platform"}
    rows = [row for place in grid_named("reproduced").places for row in scored(place.name, options, here)]
    found = {
        "format": "fredbench-benchmark",
        "format_version": 1,
        "benchmark": "cells of the paper's tables at the published scale",
        "setting": f"suite reproduced, preset paper, all clean test pictures there are, {options.threads} thread(s)",
        "environment": here,
        "cells": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, found)
    print("\n".join(table(found)))


def scored(dataset: str, options: argparse.Namespace, here: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The lines of one dataset that have a clean accuracy: of the store, or as they are kept."""
    data = None if options.data is None else str(options.data)
    grid_run = GridRequest(
        "reproduced", str(options.store), dataset, device="cpu", threads=options.threads, data=data, offline=True
    ).open()
    lines = pooled(grid_run.stored(), len(grid_run.dataset.classes), kept_of=grid_run)
    return [kept(line, grid_run, here) for line in lines if line.clean is not None]


def kept(line: Pooled, grid_run: GridRun, here: Mapping[str, Any]) -> dict[str, Any]:
    """A line as it is kept: without what is missing of it, with the seconds of its runs."""
    if line.kept is not None:
        return dict(line.kept.values)
    plain = {key: value for key, value in line.to_mapping().items() if key not in {"missing", "kept"}}
    folders = [cell.planned.folder for cell in line.sets]
    seconds = [folder.result()["seconds"] for folder in folders if folder is not None]
    asked, partial = scored_as(grid_run, line.cells[0]), dict(grid_run.dataset.partial)
    return {**plain, "partial": partial, "seconds": seconds, "asked": asked, "environment": here}


def table(document: Mapping[str, Any]) -> list[str]:
    """The Markdown table of docs/reproduced.md: a line a cell."""
    lines = [
        "| dataset | set | IPC | protocol | n | clean | 95 % | published | which is | average of 15 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in document["cells"]:
        clean, theirs = row["clean"], (row["published"] or {}).get("clean") or {}
        deviation = f" ± {theirs['std']:g}" if theirs.get("std") else ""
        low, high = clean["ci95"] or (None, None)
        cells = (
            row["dataset"] + ("*" if row["partial"] else ""), row["system"], str(row["ipc"]), row["protocol"],
            f"{clean['n']} {row['unit']}s", shown(clean), "–" if low is None else f"{low:.1f} to {high:.1f}",
            f"{theirs['mean']:g}{deviation}" if theirs else "–", row["published_is"] or "–", shown(row["average"]),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def shown(sample: Mapping[str, Any] | None) -> str:
    return "–" if sample is None else str(Sample(sample["mean"], sample["std"], sample["n"]))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    add_places(parser)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
