"""How much of table 3's gap between FreD and the others comes from how its script scores: the same sets, scored thrice.

    python benchmarks/gap.py --out results/table3-gap.json

The corruption script behind table 3 trains the students of every set at a rate of .01 with DSA and normalises test
pictures by .5 and .5, whatever the set was distilled for. Here small sets of each system are scored (1) as they were
made to be, (2) by the script's training on pictures prepared as the set's own, and (3) by the script altogether. The
runs are at IPC 1 and preset `quick`, for minutes of one core each; one command goes on where another was stopped. Data
and store are where `FREDBENCH_DATA` and `FREDBENCH_STORE` say, or --data and --store. No path and no name of a machine
is in the file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import fredbench  # noqa: E402
from benchmarks.places import add_places  # noqa: E402
from fredbench.datasets import Dataset, data_root, load_dataset  # noqa: E402
from fredbench.evaluation.domains import domains_of  # noqa: E402
from fredbench.evaluation.entrants import Entrant  # noqa: E402
from fredbench.evaluation.rows import Row  # noqa: E402
from fredbench.evaluation.scoring import Evaluation  # noqa: E402
from fredbench.evaluation.statistics import Sample, over_sets, summarise  # noqa: E402
from fredbench.foundation.device import resolve_device, use_threads  # noqa: E402
from fredbench.foundation.environment import environment  # noqa: E402
from fredbench.foundation.files import write_json  # noqa: E402
from fredbench.recipes.reproducing import distill_command  # noqa: E402
from fredbench.suites.corruption import suite_named  # noqa: E402

# Names as the page has them; TM is also distilled of whitened pictures, as its published cell was.
SYSTEMS: Mapping[str, Mapping[str, Any]] = {
    "FreD": {"method": "fred"},
    "TM": {"method": "tm"},
    "TM, whitened": {"method": "tm", "overrides": ("data.whitening=mtt",)},
    "IDC": {"method": "idc"},
}
# FreD's row of table 3 stands above each of the others by so much.
PUBLISHED = {"FreD": (60.6, 57.0), "TM": (46.3, 30.4), "TM, whitened": (46.3, 30.4), "IDC": (50.0, 38.5)}


class OwnPictures(Evaluation):
    """The script's students, test pictures prepared as the set's own: what its training alone does."""

    def check(self, entrants: Sequence[Entrant]) -> None:
        """Nothing is refused: that is what is measured."""

    def _normalization(self, synset: Any) -> Mapping[str, Any]:
        return synset.normalization


class Literal(Evaluation):
    """The script's students and its .5, for whitened sets as well, which the command line refuses."""

    def check(self, entrants: Sequence[Entrant]) -> None:
        """Nothing is refused: that is what is measured."""


WAYS: Mapping[str, tuple[type[Evaluation], str]] = {
    "own": (Evaluation, "own"),
    "script's training": (OwnPictures, "fred-literal"),
    "script": (Literal, "fred-literal"),
}


def main() -> None:
    options = parse()
    data = load_dataset("cifar10", root=options.data, offline=True)
    measured = [measure(name, seed, data, options) for seed in range(options.seeds) for name in SYSTEMS]
    found = {
        "format": "fredbench-benchmark",
        "format_version": 1,
        "benchmark": "table 3's gap: the same sets scored in three ways",
        "setting": f"CIFAR-10, IPC 1, preset quick, {options.seeds} set(s) a system, 10,000 clean test pictures, "
        f"{options.limit} of the corrupted ones at severities 1 to 5, one thread; accuracies in percent",
        "environment": {k: v for k, v in environment("cpu", options.threads).items() if k != "platform"},
        "published": {name: {"clean": clean, "average": average} for name, (clean, average) in PUBLISHED.items()},
        "pooled": {name: {way: pooled(measured, name, way) for way in WAYS} for name in SYSTEMS},
        "behind_fred": {name: behind(measured, name) for name in SYSTEMS if name != "FreD"},
        "widened": {name: widened(measured, name) for name in SYSTEMS if name != "FreD"},
        "runs": measured,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, found)
    print("\n".join(table(found)))


def pooled(measured: Sequence[Mapping[str, Any]], name: str, way: str) -> dict[str, Any]:
    """Clean and average accuracy of a system under a way, the unit being the set."""
    each = [entry[way] for entry in measured if entry["system"] == name]
    samples = ("clean", "average")
    return {what: over_sets([_sample(one[what]) for one in each]).to_mapping() for what in samples}


def _sample(kept: Mapping[str, Any]) -> Sample:
    return Sample(kept["mean"], kept["std"], kept["n"])


def behind(measured: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """How far a system's average lies below FreD's of the same seed, by way, over seeds."""
    ours, fred = ({e["seed"]: e for e in measured if e["system"] == one} for one in (name, "FreD"))
    return {
        way: summarise([fred[seed][way]["average"]["mean"] - ours[seed][way]["average"]["mean"] for seed in ours])
        .to_mapping()
        for way in WAYS
    }  # fmt: skip


def widened(measured: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """By how much a system's distance to FreD is larger under each of the script's ways than under its own, by seed."""
    ours, fred = ({e["seed"]: e for e in measured if e["system"] == one} for one in (name, "FreD"))

    def distance(seed: int, way: str) -> float:
        found: float = fred[seed][way]["average"]["mean"] - ours[seed][way]["average"]["mean"]
        return found

    return {
        way: summarise([distance(seed, way) - distance(seed, "own") for seed in ours]).to_mapping()
        for way in WAYS if way != "own"
    }  # fmt: skip


def table(document: Mapping[str, Any]) -> list[str]:
    """The Markdown table: a line a system, clean / corrupted by each way, the published beside."""
    lines = [
        "| system | own: clean / corrupted | script's training | script | below FreD, corrupted: own "
        "| script's training | script | published: clean / corrupted | below FreD |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    published = document["published"]
    for name, ways in document["pooled"].items():
        cells = [f"{_shown(ways[way]['clean'])} / {_shown(ways[way]['average'])}" for way in WAYS]
        gaps = document["behind_fred"].get(name)
        cells += ["–"] * len(WAYS) if gaps is None else [_shown(gaps[way]) for way in WAYS]
        told = published[name]
        below = published["FreD"]["average"] - told["average"]
        cells += [f"{told['clean']:g} / {told['average']:g}", "–" if gaps is None else f"{below:.1f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [
        *lines, "",
        "| distance to FreD under the script, less that under its own | script's training | script |", "|---|---|---|",
        *(
            f"| {name} | {' | '.join(_interval(found[way]) for way in WAYS if way != 'own')} |"
            for name, found in document["widened"].items()
        ),
    ]  # fmt: skip


def _interval(kept: Mapping[str, Any]) -> str:
    low, high = kept["ci95"]
    return f"{kept['mean']:+.1f} ({low:+.1f} to {high:+.1f})"


def _shown(kept: Mapping[str, Any]) -> str:
    return str(_sample(kept))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    add_places(parser)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3, help="sets a system")
    parser.add_argument("--limit", type=int, default=500, help="test pictures of each corruption and severity")
    return parser.parse_args()


def measure(name: str, seed: int, data: Dataset, options: argparse.Namespace) -> dict[str, Any]:
    """One set: distilled, scored in every way, and told."""
    asked = {"overrides": (), **SYSTEMS[name]}
    where = {"store": options.store, "device": "cpu", "threads": options.threads}
    folder = fredbench.distill(data, ipc=1, preset="quick", seed=seed, **asked, **where)
    entrant = Entrant.of(folder)
    told: dict[str, Any] = {
        "system": name,
        "seed": seed,
        "run": folder.path.name,
        "made_by": distill_command(folder.spec(), data),
        "spec": folder.spec().to_mapping(),
    }
    for way, (kind, protocol) in WAYS.items():
        domains = domains_of(suite_named("cifar10c"), data, data_root(options.data), corrupted_limit=options.limit)
        evaluation = kind(
            dataset=data,
            device=resolve_device("cpu"),
            threads=use_threads(options.threads),
            domains=domains,
            protocol=protocol,
        )
        (row,) = evaluation.rows([entrant], domains.names())
        told[way] = scores(row)
        print(f"{folder.path.name}, {way}: clean {row.clean}, average {row.average}", flush=True)
    return told


def scores(row: Row) -> dict[str, Any]:
    """What is kept of a row: clean, average, and every corruption by severity."""
    assert row.average is not None
    return {
        "clean": row.clean.to_mapping(),
        "average": row.average.to_mapping(),
        "corruptions": {name: list(score.to_mapping()["by_severity"]) for name, score in row.corruptions.items()},
    }


if __name__ == "__main__":
    main()
