"""The study behind docs/robustness.md: distilled sets of equal budget, scored on every shift that fredbench has.

    python benchmarks/robustness.py --parts study --out results/robustness-study.json
    python benchmarks/robustness.py --parts study --seeds 2      # measure some of it, put nothing together

Each system of `SYSTEMS` distils CIFAR-10 at IPC 1 by the preset `quick`, a set a seed. Its students are scored on clean
test pictures, CIFAR-10-C and C-bar, along the perturbations of CIFAR-10-P, under attack, by their calibration, and by
how well they tell SVHN's pictures from their own. The unit of every comparison is the set: systems are paired by seed,
and p values corrected by Holm over all that a column compares; over columns nothing is corrected. Each set's numbers
are kept in --parts with the commit and the settings that made them, so that one command goes on where another was
stopped, and several of other seeds or systems can share the work: the last one, with --out, puts it together.
Data and store are where `FREDBENCH_DATA` and `FREDBENCH_STORE` say, or --data and --store; no path and no name of a
machine is in the file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from scipy.special import stdtr

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import fredbench  # noqa: E402
from benchmarks.places import add_places  # noqa: E402
from fredbench.corruptions import SEQUENCES  # noqa: E402
from fredbench.datasets import Dataset, data_root, load_dataset  # noqa: E402
from fredbench.evaluation.attacked import WORST, Attacks, signs_of_masking  # noqa: E402
from fredbench.evaluation.comparison import holm  # noqa: E402
from fredbench.evaluation.domains import domains_of  # noqa: E402
from fredbench.evaluation.entrants import Entrant  # noqa: E402
from fredbench.evaluation.rows import CLEAN, Row  # noqa: E402
from fredbench.evaluation.scoring import Evaluation  # noqa: E402
from fredbench.evaluation.stability import Sequences  # noqa: E402
from fredbench.evaluation.statistics import Sample, summarise  # noqa: E402
from fredbench.evaluation.threats import attack_named  # noqa: E402
from fredbench.foundation.device import resolve_device, use_threads  # noqa: E402
from fredbench.foundation.environment import environment  # noqa: E402
from fredbench.foundation.files import write_json  # noqa: E402
from fredbench.recipes.reproducing import distill_command  # noqa: E402
from fredbench.suites.corruption import suite_named  # noqa: E402

# Names as the page has them. What is stored is compared under one objective, DM; TM and IDC are as published.
SYSTEMS: Mapping[str, Mapping[str, Any]] = {
    "FreD × DM": {"objective": "dm", "parameterization": "fred"},
    "DDiF × DM": {"objective": "dm", "parameterization": "ddif"},
    "GSDD × DM": {"objective": "dm", "parameterization": "gsdd"},
    "pixels × DM": {"method": "dm"},
    "FreD × TM": {"method": "fred"},
    "pixels × TM": {"method": "tm"},
    "IDC": {"method": "idc"},
    "random": {"method": "random"},
}
BASE = "FreD × DM"
# A quarter of the usual radii, at which students of distilled sets have nothing left to compare.
EPSILON, EPSILON_L2 = 2 / 255, 0.125
OTHERS = ("svhn", "digits")
ATTACKS = ("fgsm", "pgd20", "pgd50", "apgd-ce", "apgd-dlr")
# Of each table: column, what it is, whether more is better.
TABLES: Mapping[str, Mapping[str, tuple[str, bool]]] = {
    "shifts": {
        "clean": ("accuracy, clean test pictures, %", True),
        "c": ("accuracy on CIFAR-10-C, mean over 15 corruptions and 5 severities, %", True),
        "cbar": ("accuracy on C-bar, mean over 10 corruptions and 5 severities, %", True),
        "kept_c": ("of the clean accuracy, what CIFAR-10-C leaves, %", True),
        "kept_cbar": ("of the clean accuracy, what C-bar leaves, %", True),
        "flips": ("flip probability along the ten perturbations of CIFAR-10-P, %", False),
        "distance": ("top-5 distance along the ten perturbations of CIFAR-10-P, 0 to 15", False),
    },
    "attacks": {
        "fgsm": ("accuracy under FGSM at 2/255, %", True),
        "pgd20": ("accuracy under PGD-20 at 2/255, %", True),
        "pgd50": ("accuracy under PGD-50 at 2/255, %", True),
        "apgd_ce": ("accuracy under APGD by the cross-entropy at 2/255, %", True),
        "apgd_dlr": ("accuracy under APGD by the ratio of logits at 2/255, %", True),
        "robust": ("accuracy under the worst of these five, a picture at a time, %", True),
        "success": ("of what is right without them, the share that the worst of the five breaks, %", False),
        "l2": ("accuracy under PGD-50 in L2 at .125, %", True),
        "rr": ("BEARD's robustness ratio of the five: near 0 where all take alike, however much, %", True),
    },
    "calibration": {
        "ece": ("expected calibration error, clean, %", False),
        "adaptive_ece": ("the same with bins of equally many pictures, %", False),
        "brier": ("Brier score, clean, 0 to 2", False),
        "aurc": ("area under the risk-coverage curve, clean, %", False),
        "ece_c": ("expected calibration error on CIFAR-10-C, %", False),
    },
    "others": {
        f"{rate}_{score}_{other}": (f"{title} of {other} against the own test pictures, {whose}, %", rate == "auroc")
        for other in OTHERS
        for rate, title in (("auroc", "AUROC"), ("fpr95", "false positives at 95 % kept"))
        for score, whose in (("msp", "largest probability"), ("energy", "energy"), ("knn", "nearest neighbour"))
    },
}
COLUMNS: Mapping[str, tuple[str, bool]] = {name: told for table in TABLES.values() for name, told in table.items()}


def main() -> None:
    options = parse()
    data = load_dataset("cifar10", root=options.data, offline=True)
    others = [load_dataset(name, root=options.data, offline=True) for name in OTHERS]
    measured = [kept(name, seed, data, others, options) for seed in options.seeds for name in options.systems]
    if options.out is None:
        return
    found = {
        "format": "fredbench-benchmark",
        "format_version": 1,
        "benchmark": "robustness of distilled sets at one budget",
        "setting": f"CIFAR-10, IPC 1, preset quick, a set a system of seeds {options.seeds}, {scale(options)}",
        "environment": {k: v for k, v in environment("cpu", options.threads).items() if k != "platform"},
        "columns": {name: {"what": what, "more_is_better": more} for name, (what, more) in COLUMNS.items()},
        "base": BASE,
        "pooled": {name: pooled(measured, name) for name in options.systems},
        "singly": {name: singly(measured, name) for name in options.systems},
        "against_base": against(measured, options.systems),
        "runs": measured,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, found)
    print("\n\n".join(tables(found)))


def scale(options: argparse.Namespace) -> str:
    """How many pictures each column is of, in words."""
    return (
        f"{options.clean} clean test pictures, {options.limit} of each corruption and severity and of each "
        f"perturbation, {options.attacked} attacked, {options.threads} thread(s)"
    )


def kept(name: str, seed: int, data: Dataset, others: Sequence[Dataset], options: argparse.Namespace) -> dict[str, Any]:
    """One set's numbers, out of the file that holds them where this commit measured them before in the same way."""
    words = "-".join(name.lower().replace("×", "").split())
    file = options.parts / f"{words}-s{seed}.json"
    asked = {
        "system": dict(SYSTEMS[name]),
        "scale": scale(options),
        "epsilon": [EPSILON, EPSILON_L2],
        "columns": list(COLUMNS),
        "commit": environment("cpu", options.threads)["commit"],
    }
    if file.is_file():
        found = json.loads(file.read_text())
        if found["asked"] == asked:
            return dict(found["measured"])
    measured = measure(name, seed, data, others, options)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {"asked": asked, "measured": measured})
    return measured


def measure(
    name: str, seed: int, data: Dataset, others: Sequence[Dataset], options: argparse.Namespace
) -> dict[str, Any]:
    """One set: distilled, scored on everything, and told."""
    where = {"store": options.store, "device": "cpu", "threads": options.threads}
    folder = fredbench.distill(data, ipc=1, preset="quick", seed=seed, **SYSTEMS[name], **where)
    entrant = Entrant.of(folder)
    linf = Attacks(tuple(map(attack_named, ATTACKS)), (EPSILON,), options.attacked)
    l2 = Attacks((attack_named("pgd50-l2"),), (EPSILON_L2,), options.attacked)
    rows = {}
    for suite in ("cifar10c", "cifar10cbar"):
        domains = domains_of(
            suite_named(suite), data, data_root(options.data), limit=options.clean, corrupted_limit=options.limit
        )
        first = suite == "cifar10c"
        evaluation = Evaluation(
            dataset=data,
            device=resolve_device("cpu"),
            threads=use_threads(options.threads),
            domains=domains,
            calibration=True,
            # One set of attacks has one norm; the second goes with the second suite.
            attacks=linf if first else l2,
            others=tuple(others) if first else (),
            sequences=Sequences(tuple(SEQUENCES), options.limit) if first else None,
        )
        (rows[suite],) = evaluation.rows([entrant], domains.names())
    values = columns(rows["cifar10c"], rows["cifar10cbar"])
    made_in = json.loads(folder.environment_file.read_text())
    print(f"{folder.path.name}: " + ", ".join(f"{key} {value:.2f}" for key, value in values.items()), flush=True)
    return {
        "system": name,
        "seed": seed,
        "run": folder.path.name,
        "made_by": distill_command(folder.spec(), data),
        "made_in": {key: made_in[key] for key in ("commit", "threads")},
        "seconds": json.loads(folder.result_file.read_text())["seconds"],
        "scalars": {"paper": rows["cifar10c"].params, "strict": rows["cifar10c"].params_strict},
        "storage": None if rows["cifar10c"].storage is None else rows["cifar10c"].storage.to_mapping(),
        "decoded": rows["cifar10c"].decoded,
        "students": rows["cifar10c"].students,
        "values": {key: round(value, 4) for key, value in values.items()},
        "corruptions": {
            suite: {name: round(score.sample.mean, 4) for name, score in row.corruptions.items()}
            for suite, row in rows.items()
        },
        "flips": {each.name: round(each.flips.mean, 4) for each in rows["cifar10c"].stability},
        "others": [
            {"dataset": each.dataset, "inside": each.inside, "outside": each.outside, "partial": dict(each.partial)}
            for each in rows["cifar10c"].outliers
        ],
        "signs_of_masking": [
            sign for row in rows.values() if row.attacked is not None for sign in signs_of_masking(row.attacked)
        ],
    }


def columns(c: Row, cbar: Row) -> dict[str, float]:
    """The means over a set's students."""
    assert c.average is not None and cbar.average is not None and c.attacked is not None and cbar.attacked is not None
    by_attack = {score.attack: score for score in c.attacked.scores}
    worst, (l2,) = by_attack[WORST], cbar.attacked.scores
    calibration = {name: sample.mean for name, sample in c.calibration[CLEAN].samples.items()}
    ((_, _, ratio),) = c.attacked.ratios()
    assert worst.success is not None and ratio is not None
    return {
        "clean": c.clean.mean,
        "c": c.average.mean,
        "cbar": cbar.average.mean,
        "kept_c": 100 * c.average.mean / c.clean.mean,
        "kept_cbar": 100 * cbar.average.mean / cbar.clean.mean,
        "flips": fmean(each.flips.mean for each in c.stability),
        "distance": fmean(each.distance.mean for each in c.stability),
        **{name.replace("-", "_"): by_attack[name].robust.mean for name in ATTACKS},
        "robust": worst.robust.mean,
        "success": worst.success.mean,
        "l2": l2.robust.mean,
        "rr": ratio,
        **{name: calibration[name] for name in ("ece", "adaptive_ece", "brier", "aurc")},
        "ece_c": c.calibration["average"].ece.mean,
        **{
            f"{rate}_{score.score}_{each.dataset}": sample.mean
            for each in c.outliers
            for score in each.scores
            for rate, sample in (("auroc", score.auroc), ("fpr95", score.fpr95))
        },
    }


def pooled(measured: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Each column of a system, the unit being the set."""
    mine = [entry["values"] for entry in measured if entry["system"] == name]
    return {column: summarise([values[column] for values in mine]).to_mapping() for column in COLUMNS}


def singly(measured: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Accuracy on each corruption of a system and its flips along each perturbation, the unit being the set."""
    mine = [entry for entry in measured if entry["system"] == name]
    kinds = {suite: [entry["corruptions"][suite] for entry in mine] for suite in mine[0]["corruptions"]}
    kinds["flips"] = [entry["flips"] for entry in mine]
    return {
        kind: {each: summarise([found[each] for found in sets]).to_mapping() for each in sets[0]}
        for kind, sets in kinds.items()
    }


def against(measured: Sequence[Mapping[str, Any]], systems: Sequence[str]) -> dict[str, Any]:
    """Each system less the base, paired by seed; p by t over seeds, with Holm's correction over a column's systems."""
    by = {(entry["system"], entry["seed"]): entry["values"] for entry in measured}
    seeds = sorted({seed for _, seed in by})
    others = [name for name in systems if name != BASE]
    found: dict[str, dict[str, Any]] = {name: {} for name in others}
    for column in COLUMNS:
        samples = {
            name: summarise([by[name, seed][column] - by[BASE, seed][column] for seed in seeds]) for name in others
        }
        ps = [_p(sample) for sample in samples.values()]
        corrected = iter(holm([p for p in ps if p is not None]))
        for (name, sample), p in zip(samples.items(), ps, strict=True):
            told = (
                {"p": None, "holm": None}
                if p is None
                else {"p": float(f"{p:.3g}"), "holm": float(f"{next(corrected):.3g}")}
            )
            found[name][column] = {**sample.to_mapping(), **told}
    return found


def _p(sample: Sample) -> float | None:
    """Two-sided, of no difference on average; None where there is no spread to judge by."""
    if sample.std is None or not sample.std > 0:
        return None
    return 2 * float(stdtr(sample.n - 1, -abs(sample.mean) / (sample.std / sample.n**0.5)))


def table(document: Mapping[str, Any], of: Sequence[str]) -> list[str]:
    """The Markdown table of these columns: a line a system; a star where it differs from the base at 5 % after Holm's
    correction.
    """
    lines = [f"| system | {' | '.join(of)} |", "|---|" + "---|" * len(of)]
    for name, values in document["pooled"].items():
        cells = []
        for column in of:
            kept = values[column]
            digits = {"brier": 3, "distance": 2}.get(column, 1)
            spread = "" if kept["std"] is None else f" ± {kept['std']:.{digits}f}"
            compared = document["against_base"].get(name, {}).get(column, {})
            star = "*" if compared.get("holm") is not None and compared["holm"] < 0.05 else ""
            cells.append(f"{kept['mean']:.{digits}f}{spread}{star}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def tables(document: Mapping[str, Any]) -> list[str]:
    """All of them, each as one text."""
    return ["\n".join(table(document, list(of))) for of in TABLES.values()]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=Path, required=True, help="folder of each set's numbers")
    parser.add_argument("--out", type=Path, help="put all of it together there")
    add_places(parser)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="a set of each system for each")
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--clean", type=int, default=5000, help="clean test pictures, evenly spaced")
    parser.add_argument("--limit", type=int, default=500, help="test pictures of each shift")
    parser.add_argument("--attacked", type=int, default=500, help="test pictures under attack")
    options = parser.parse_args()
    if len(set(options.seeds)) < len(options.seeds):
        parser.error("a seed stands twice in --seeds")
    if BASE not in options.systems:
        parser.error(f"the others are compared with {BASE}: name it too")
    return options


if __name__ == "__main__":
    main()
