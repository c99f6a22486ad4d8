"""Score runs and keep the numbers as one file: what was measured, of what, with what, and how to make it again.

    python benchmarks/record.py --out results/NAME.json RUN...
    python benchmarks/record.py --out results/NAME.json --suite cifar10c --limit 1000 RUN...

The file holds the rows of `fredbench evaluate` (or, with a suite, of `fredbench corrupt-eval`) with controls and
starts, and for each run the command that makes it, its spec, its seconds, and the environment it was made in. No
path and no name of a machine is in it; a row names its run by the folder's name. Data and store are where
`FREDBENCH_DATA` and `FREDBENCH_STORE` say, or --data and --store.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import fredbench  # noqa: E402
from benchmarks.places import add_places  # noqa: E402
from fredbench.datasets import load_dataset  # noqa: E402
from fredbench.evaluation.results.writing import made  # noqa: E402
from fredbench.foundation.device import resolve_device, use_threads  # noqa: E402
from fredbench.foundation.environment import environment, without_places  # noqa: E402
from fredbench.foundation.files import write_json  # noqa: E402
from fredbench.runs.store import RunFolder, Store  # noqa: E402


def main() -> None:
    options = parse()
    folders = [Store(options.store).find(run) for run in options.runs]
    data = load_dataset(folders[0].spec().dataset, root=options.data, offline=True)
    rows = fredbench.evaluate(
        folders,
        suite=options.suite,
        networks=options.network or None,
        students=options.students,
        limit=options.limit,
        store=options.store,
        data=options.data,
        device=options.device,
        threads=options.threads,
        dataset=data,
    )
    device, threads = str(resolve_device(options.device)), use_threads(options.threads)
    found = {
        "format": "fredbench-result",
        "format_version": 1,
        "scored_by": scoring_command(options, [folder.path.name for folder in folders]),
        "scored_in": without_places(environment(device, threads)),
        "rows": [{**row.to_mapping(), "run": Path(row.run).name} for row in rows],
        "runs": {Path(row.run).name: about(RunFolder(Path(row.run)), data) for row in rows},
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, found)
    for row in rows:
        print(f"{row.label:32s} {row.clean}  n = {row.clean.n}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="finished runs of one dataset")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--suite", help="score its corruptions too")
    parser.add_argument("--network", action="append", help="test network (repeatable)")
    parser.add_argument("--students", type=int)
    parser.add_argument("--limit", type=int)
    add_places(parser)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


def scoring_command(options: argparse.Namespace, names: list[str]) -> str:
    """The same scores from the command line, without folders."""
    words = ["fredbench", *(["corrupt-eval", "--suite", options.suite] if options.suite else ["evaluate"])]
    for network in options.network or ():
        words += ["--network", network]
    for name in ("students", "limit", "threads"):
        if getattr(options, name) is not None:
            words += [f"--{name}", str(getattr(options, name))]
    return shlex.join([*words, "--format", "json", *names])


def about(folder: RunFolder, data: Any) -> dict[str, Any]:
    """Command, spec, cost and environment of a run."""
    return {**made(folder, data), "result": folder.result()}


if __name__ == "__main__":
    main()
