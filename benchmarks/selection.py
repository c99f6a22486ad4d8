"""What choosing the best checkpoint on the test split adds to a number: the gap to the last iterate, on real runs.

    python benchmarks/selection.py --out results/selection-gap.json

Distills the runs below with checkpoints, scores all of these by the students of each, and keeps for every run the
last iterate, the best on test and the best on validation, with the commands and versions. The runs are small, for
minutes of one core each; a script that was stopped goes on. Data and store are where `FREDBENCH_DATA` and
`FREDBENCH_STORE` say, or --data and --store. No path and no name of a machine is in the file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import fredbench  # noqa: E402
from benchmarks.places import add_places  # noqa: E402
from fredbench.datasets import Dataset, load_dataset  # noqa: E402
from fredbench.evaluation.rows import Row  # noqa: E402
from fredbench.evaluation.selection import Selected  # noqa: E402
from fredbench.evaluation.statistics import summarise  # noqa: E402
from fredbench.foundation.environment import environment  # noqa: E402
from fredbench.foundation.files import write_json  # noqa: E402
from fredbench.recipes.reproducing import distill_command  # noqa: E402
from fredbench.runs.store import RunFolder  # noqa: E402

# Each at IPC 1 and preset quick; limit: evenly spaced test pictures.
RUNS: tuple[Mapping[str, Any], ...] = (
    {"dataset": "digits", "method": "dm", "seed": 0, "checkpoints": 10, "iterations": 100},
    {"dataset": "digits", "method": "tm", "seed": 0, "checkpoints": 10},
    {"dataset": "cifar10", "method": "dm", "seed": 0, "checkpoints": 6, "iterations": 60, "limit": 1000},
    {"dataset": "digits", "method": "dm", "seed": 1, "checkpoints": 10, "iterations": 100},
)


def main() -> None:
    options = parse()
    data = {name: load_dataset(name, root=options.data, offline=True) for name in {run["dataset"] for run in RUNS}}
    measured = [measure(run, data[run["dataset"]], options) for run in RUNS]
    gaps = [entry["best-on-test"]["above_last"] for entry in measured]
    found = {
        "format": "fredbench-benchmark",
        "format_version": 1,
        "benchmark": "best-on-test against the last iterate",
        "setting": "IPC 1, preset quick, one thread; accuracies in percent over students, gaps in points",
        "environment": {k: v for k, v in environment("cpu", options.threads).items() if k != "platform"},
        "gap": {**summarise(gaps).to_mapping(), "least": min(gaps), "most": max(gaps)},
        "runs": measured,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, found)
    print("\n".join(table(found)))


def table(document: Mapping[str, Any]) -> list[str]:
    """The Markdown table of docs/footguns.md: a line a run, and the mean gap with its n."""
    lines = [
        "| run | last | best-on-test | of | above the last | best-on-validation, above the last | students |",
        "|---|---|---|---|---|---|---|",
    ]
    for entry in document["runs"]:
        last, test, validation = (entry[key] for key in ("last", "best-on-test", "best-on-validation"))
        cells = (
            named(entry),
            f"{last['mean']:.1f}",
            f"{test['clean']['mean']:.1f}",
            str(test["checkpoints"]),
            f"{test['above_last']:+.1f}",
            f"{validation['above_last']:+.1f}",
            str(last["n"]),
        )
        lines.append(f"| {' | '.join(cells)} |")
    gap = document["gap"]
    return [*lines, f"| mean of n = {gap['n']} runs | | | | {gap['mean']:+.1f} | | |"]


def named(entry: Mapping[str, Any]) -> str:
    """A run by dataset, method, iterations and seed, such as `digits, tm, 150 iterations, seed 0`."""
    spec = entry["spec"]
    pictures = "" if entry["limit"] is None else f", {entry['limit']} test pictures"
    return f"{spec['dataset']}, {spec['method']}, {spec['iterations']} iterations, seed {spec['seed']}{pictures}"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    add_places(parser)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def measure(run: Mapping[str, Any], data: Dataset, options: argparse.Namespace) -> dict[str, Any]:
    """One run: distilled, scored twice by the same students, and told."""
    folder = fredbench.distill(
        data,
        ipc=1,
        method=run["method"],
        preset="quick",
        seed=run["seed"],
        iterations=run.get("iterations"),
        store=options.store,
        device="cpu",
        threads=options.threads,
        checkpoints=run["checkpoints"],
    )
    rows = [scored(folder, data, run, by, options) for by in ("best-on-test", "best-on-validation")]
    on_test, on_validation = (selected(row) for row in rows)
    print(f"{folder.path.name}: last {rows[0].clean}, best-on-test {on_test}, best-on-validation {on_validation}")
    return {
        "run": folder.path.name,
        "made_by": f"{distill_command(folder.spec(), data)} --checkpoints {run['checkpoints']}",
        "spec": folder.spec().to_mapping()["run"],
        "limit": rows[0].limit,
        "last": rows[0].clean.to_mapping(),
        "best-on-test": on_test.to_mapping(),
        "best-on-validation": on_validation.to_mapping(),
    }


def scored(folder: RunFolder, data: Dataset, run: Mapping[str, Any], by: Any, options: argparse.Namespace) -> Row:
    """The run's row with its selection; its start and its control are scored too, and not kept here."""
    rows = fredbench.evaluate(
        [folder], limit=run.get("limit"), selection=by, store=options.store, device="cpu", threads=options.threads,
        dataset=data,
    )  # fmt: skip
    return rows[0]


def selected(row: Row) -> Selected:
    """The only network's selection."""
    (found,) = row.selected.values()
    return found


if __name__ == "__main__":
    main()
