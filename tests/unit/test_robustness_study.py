"""The study's own arithmetic: pairs by seed, Holm's correction a column, what the table marks. Nothing is distilled."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from made_rows import made_row

from benchmarks import robustness
from fredbench.evaluation.attacked import WORST, Attacked, AttackScore
from fredbench.evaluation.rows import SCORES, Calibration, Outliers, OutlierScore, Stability
from fredbench.evaluation.statistics import Sample
from fredbench.evaluation.threats import Norm

SYSTEMS = [robustness.BASE, "random", "IDC"]


def measured(differences: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Sets whose every column lies by so much above the base's of the same seed, which moves from seed to seed."""
    return [
        {
            "system": name,
            "seed": seed,
            "values": dict.fromkeys(robustness.COLUMNS, 40.0 + 10 * seed + differences.get(name, [0.0] * 3)[seed]),
        }
        for seed in range(3)
        for name in SYSTEMS
    ]


def test_every_column_is_taken_where_it_says() -> None:
    """Each number of the two rows once; none is taken for another."""

    def one(value: float) -> Sample:
        return Sample(value, 1.0, 3)

    def left(names: Sequence[str], first: float, norm: Norm = "linf") -> Attacked:
        scores = [
            AttackScore(name, norm, 0.1, one(first + n), one(first + n + 0.5)) for n, name in enumerate([*names, WORST])
        ]
        return Attacked(10, one(50.0), tuple(scores[: len(names) + (len(names) > 1)]))

    calibration = {
        where: Calibration(*(one(first + n) for n in range(5))) for where, first in (("clean", 60.0), ("average", 70.0))
    }
    others = tuple(
        Outliers(other, 10, 10, tuple(OutlierScore(name, one(v + n), one(v + 5 + n)) for n, name in enumerate(SCORES)))
        for other, v in (("svhn", 80.0), ("digits", 90.0))
    )
    c = made_row(
        clean=one(50.0),
        average=one(25.0),
        attacked=left(robustness.ATTACKS, 10.0),
        calibration=calibration,
        outliers=others,
        stability=tuple(Stability(name, 30, 10, one(v), one(v + 1), one(99.0)) for name, v in (("a", 1.0), ("b", 3.0))),
    )
    cbar = made_row(clean=one(50.0), average=one(20.0), attacked=left(["pgd50-l2"], 30.0, "l2"))
    assert robustness.columns(c, cbar) == {
        "clean": 50.0, "c": 25.0, "cbar": 20.0, "kept_c": 50.0, "kept_cbar": 40.0, "flips": 2.0, "distance": 3.0,
        "fgsm": 10.0, "pgd20": 11.0, "pgd50": 12.0, "apgd_ce": 13.0, "apgd_dlr": 14.0, "robust": 15.0, "success": 15.5,
        "l2": 30.0, "rr": pytest.approx(100 * 2 / 40), "ece": 61.0, "adaptive_ece": 62.0, "aurc": 63.0, "brier": 64.0,
        "ece_c": 71.0, "auroc_msp_svhn": 80.0, "auroc_energy_svhn": 81.0, "auroc_knn_svhn": 82.0,
        "fpr95_msp_svhn": 85.0, "fpr95_energy_svhn": 86.0, "fpr95_knn_svhn": 87.0, "auroc_msp_digits": 90.0,
        "auroc_energy_digits": 91.0, "auroc_knn_digits": 92.0, "fpr95_msp_digits": 95.0, "fpr95_energy_digits": 96.0,
        "fpr95_knn_digits": 97.0,
    }  # fmt: skip
    assert robustness.columns(c, cbar).keys() == robustness.COLUMNS.keys()


def test_systems_are_paired_by_seed_and_corrected_over_a_column() -> None:
    found = robustness.against(measured({"random": [-20.0, -20.5, -19.5], "IDC": [1.0, -1.0, 0.5]}), SYSTEMS)
    assert set(found) == {"random", "IDC"}
    for column in robustness.COLUMNS:
        far, near = found["random"][column], found["IDC"][column]
        assert far["mean"] == pytest.approx(-20) and far["std"] == pytest.approx(0.5) and far["n"] == 3
        # t = -20 / (.5 / sqrt 3) with two degrees of freedom.
        assert far["p"] == pytest.approx(2.08e-4, rel=0.01) and far["holm"] == pytest.approx(2 * far["p"], rel=0.01)
        assert near["holm"] == near["p"] > 0.5


def test_single_shifts_are_pooled_over_sets() -> None:
    sets = [
        {"system": name, "seed": seed, "corruptions": {"cifar10c": {"fog": 40.0 + seed}}, "flips": {"tilt": 5.0 + seed}}
        for seed in range(3)
        for name in SYSTEMS
    ]
    found = robustness.singly(sets, "IDC")
    assert (found["cifar10c"]["fog"]["mean"], found["flips"]["tilt"]["mean"]) == (41.0, 6.0)
    assert found["cifar10c"]["fog"]["n"] == 3 and found["cifar10c"]["fog"]["ci95"]


def test_where_there_is_no_spread_there_is_no_claim() -> None:
    found = robustness.against(measured({"random": [3.0, 3.0, 3.0], "IDC": [1.0, -1.0, 0.5]}), SYSTEMS)
    assert found["random"]["clean"]["p"] is None and found["random"]["clean"]["holm"] is None
    assert found["IDC"]["clean"]["holm"] == found["IDC"]["clean"]["p"]


def test_the_table_marks_what_holds_after_correction_alone() -> None:
    sets = measured({"random": [-20.0, -20.5, -19.5], "IDC": [1.0, -1.0, 0.5]})
    document = {
        "pooled": {name: robustness.pooled(sets, name) for name in SYSTEMS},
        "against_base": robustness.against(sets, SYSTEMS),
    }
    base, random, idc = robustness.table(document, list(robustness.COLUMNS))[2:]
    assert random.count("*") == len(robustness.COLUMNS) and "*" not in base and "*" not in idc
    assert "50.0 ± 10.0" in base


def test_a_set_is_measured_once_in_a_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(robustness, "measure", lambda name, seed, *_: asked.append(seed) or {"seed": seed})

    def found(seed: int, clean: int) -> int:
        options = argparse.Namespace(parts=tmp_path, clean=clean, limit=1, attacked=1, threads=1)
        made: int = robustness.kept("FreD × DM", seed, None, None, options)["seed"]  # type: ignore[arg-type]
        return made

    assert [found(seed, clean) for seed, clean in ((0, 10), (0, 10), (1, 10), (0, 20))] == [0, 0, 1, 0]
    assert asked == [0, 1, 0]
    monkeypatch.setattr(robustness, "EPSILON", 1 / 255)
    assert found(1, 10) == 1 and asked == [0, 1, 0, 1]
    monkeypatch.setattr(robustness, "environment", lambda *_: {"commit": "another"})
    assert found(1, 10) == 1 and asked == [0, 1, 0, 1, 1]


def test_no_seed_counts_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["robustness.py", "--parts", "p", "--seeds", "0", "0", "1"])
    with pytest.raises(SystemExit):
        robustness.parse()
