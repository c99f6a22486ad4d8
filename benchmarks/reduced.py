"""What bfloat16 products change of accuracy: runs and students by both arithmetics, paired by seed.

    python benchmarks/reduced.py --parts study --out results/reduced-precision.json
    python benchmarks/reduced.py --parts study --cases dm      # measure some of it, put nothing together

A pair has one seed, and so the same pictures, weights and draws, under `fused` and under `fused-bf16`; where it is the
students that differ, they see the same real pictures, and where it is the distillation, students of both sets are
float32. The difference is reduced less full, in points of clean accuracy; its 95 % interval is Student's t over pairs.
A case holds where that interval lies within a point of 0 on both sides. Exit status 1 where one does not hold.
Each pair's numbers are kept in --parts with the commit that made them, and are taken from there: remove what is to be
measured anew. Data and store are where `FREDBENCH_DATA` and `FREDBENCH_STORE` say, or --data and --store; no path and
no name of a machine is in the file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import fredbench  # noqa: E402
from benchmarks.places import add_places  # noqa: E402
from fredbench.datasets import Dataset, data_root, load_dataset  # noqa: E402
from fredbench.evaluation.domains import domains_of  # noqa: E402
from fredbench.evaluation.entrants import Entrant  # noqa: E402
from fredbench.evaluation.rows import CLEAN  # noqa: E402
from fredbench.evaluation.scoring import Evaluation  # noqa: E402
from fredbench.evaluation.statistics import summarise  # noqa: E402
from fredbench.foundation.device import multiplies_bfloat16, resolve_device, use_threads  # noqa: E402
from fredbench.foundation.environment import environment  # noqa: E402
from fredbench.foundation.files import write_json  # noqa: E402
from fredbench.suites.corruption import suite_named  # noqa: E402

FULL, REDUCED = "fused", "fused-bf16"
MARGIN = 1.0
"""Points of accuracy."""


@dataclass(frozen=True)
class Case:
    """section: whose arithmetic differs, `run` or `student`. students: of each set, whose mean is the pair's number."""

    what: str
    section: str
    request: Mapping[str, Any]
    students: int
    overrides: tuple[str, ...] = field(default=())


CASES: Mapping[str, Case] = {
    "students": Case(
        "students of width 128, 200 epochs on 10 real pictures a class",
        "student",
        {"method": "random", "ipc": 10, "network": "convnet-d3-w128-in"},
        2,
    ),
    "dm": Case("FreD × DM, IPC 2", "run", {"objective": "dm", "parameterization": "fred", "ipc": 2}, 3),
    "tm": Case("FreD × TM, IPC 1, experts too", "run", {"method": "fred", "ipc": 1}, 3),
}


def main() -> None:
    options = parse()
    # Of the code that runs, whatever becomes of the checkout meanwhile.
    options.commit = environment("cpu", options.threads)["commit"]
    threads, data = use_threads(options.threads), load_dataset("cifar10", root=options.data, offline=True)
    pairs = {name: [kept(name, seed, data, options) for seed in options.seeds] for name in options.cases}
    if options.out is None:
        return
    about = {key: value for key, value in environment("cpu", threads).items() if key != "platform"}
    found = {
        "format": "fredbench-benchmark",
        "format_version": 1,
        "benchmark": "accuracy by bfloat16 products beside float32",
        "setting": f"CIFAR-10, preset quick, pairs of seeds {options.seeds}, {scale(options)}",
        "environment": {**about, "multiplies_bfloat16": multiplies_bfloat16()},
        "margin": MARGIN,
        "cases": {name: told(name, pairs[name]) for name in options.cases},
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, found)
    print("\n".join(table(found)))
    sys.exit(not all(case["holds"] for case in found["cases"].values()))


def scale(options: argparse.Namespace) -> str:
    """What accuracies are of, in words."""
    return f"{options.limit or 'all'} clean test pictures, {options.threads} thread(s)"


def kept(name: str, seed: int, data: Dataset, options: argparse.Namespace) -> dict[str, Any]:
    """A pair's numbers, out of the file that holds them where they were measured before in the same way."""
    file = options.parts / f"{name}-s{seed}.json"
    asked = {"case": CASES[name].what, "request": dict(CASES[name].request), "scale": scale(options)}
    if file.is_file():
        found = json.loads(file.read_text())
        if found["asked"] == asked:
            return dict(found["measured"])
    measured = {**measure(CASES[name], seed, data, options), "commit": options.commit}
    print(f"{name}, seed {seed}: " + ", ".join(f"{key} {value}" for key, value in measured.items()), flush=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {"asked": asked, "measured": measured})
    return measured


def measure(case: Case, seed: int, data: Dataset, options: argparse.Namespace) -> dict[str, Any]:
    """Accuracy in percent under both."""
    where = {"store": options.store, "device": "cpu", "threads": options.threads}
    found: dict[str, Any] = {"seed": seed}
    for arithmetic in (FULL, REDUCED):
        by = {"run": FULL, "student": FULL, case.section: arithmetic}
        overrides = (*case.overrides, *(f"{section}.arithmetic={asked}" for section, asked in by.items()))
        folder = fredbench.distill(data, preset="quick", seed=seed, overrides=overrides, **case.request, **where)
        evaluation = Evaluation(
            dataset=data,
            device=resolve_device("cpu"),
            threads=use_threads(options.threads),
            domains=domains_of(suite_named("cifar10c"), data, data_root(options.data), limit=options.limit),
            students=case.students,
        )
        (row,) = evaluation.rows([Entrant.of(folder)], [CLEAN])
        found[arithmetic] = round(row.clean.mean, 4)
    return found


def told(name: str, pairs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A case: both accuracies, their difference with its interval, and whether that lies within the margin."""
    less = summarise([pair[REDUCED] - pair[FULL] for pair in pairs])
    return {
        "what": CASES[name].what,
        "students_a_set": CASES[name].students,
        FULL: summarise([pair[FULL] for pair in pairs]).to_mapping(),
        REDUCED: summarise([pair[REDUCED] for pair in pairs]).to_mapping(),
        "difference": less.to_mapping(),
        "holds": less.interval is not None and all(abs(bound) < MARGIN for bound in less.interval),
        "pairs": list(pairs),
    }


def table(document: Mapping[str, Any]) -> list[str]:
    """The Markdown table: a line a case."""
    lines = [
        f"| what differs | {FULL} | {REDUCED} | difference (95 %) | pairs | within {document['margin']:g} point |",
        "|---|---|---|---|---|---|",
    ]
    for case in document["cases"].values():
        full, reduced, less = case[FULL], case[REDUCED], case["difference"]
        low, high = less["ci95"] or (float("nan"), float("nan"))
        lines.append(
            f"| {case['what']} | {full['mean']:.2f} ± {full['std'] or 0:.2f} | {reduced['mean']:.2f} ± "
            f"{reduced['std'] or 0:.2f} | {less['mean']:+.2f} ({low:+.2f} to {high:+.2f}) | {less['n']} | "
            f"{'yes' if case['holds'] else 'no'} |"
        )
    return lines


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=list(CASES))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(6)))
    parser.add_argument("--limit", type=int, help="test pictures, by default all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parts", type=Path, required=True, help="folder of what is measured, a file a pair")
    parser.add_argument("--out", type=Path, help="put the study together in this file")
    add_places(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
