"""What attacks leave of students: of runs of every kind of input space, and the ratios and signs made of it."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from spine import cifar_like

import fredbench
from fredbench.datasets import Dataset, load_dataset
from fredbench.evaluation.attacked import (
    WORST,
    Attacked,
    Attacks,
    AttackScore,
    looked_for_masking,
    robustness_ratio,
    signs_of_masking,
)
from fredbench.evaluation.rows import Row
from fredbench.evaluation.statistics import Sample
from fredbench.evaluation.threats import ATTACKS
from fredbench.foundation.errors import UnknownNameError, UsageError
from fredbench.runs.store import RunFolder

TINY = ("student.epochs=30",)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


def made(store: Path, *more: str, method: str = "random", iterations: int = 0) -> RunFolder:
    return fredbench.distill(
        "digits", ipc=1, method=method, preset="quick", network="convnet-d2-w4-in", iterations=iterations,
        overrides=(*TINY, *more), store=store, threads=torch.get_num_threads(),
    )  # fmt: skip


def scored(run: RunFolder, **asked: object) -> Row:
    asked = {"students": 2, "limit": 40, "threads": torch.get_num_threads(), **asked}
    return fredbench.evaluate([run], store=run.path.parent, **asked)[0]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return made(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("space", ["plain", "whitened", "standardised"])
def test_a_radius_of_nothing_leaves_the_clean_accuracy_and_a_large_one_next_to_none(
    plain: RunFolder, tmp_path: Path, space: str
) -> None:
    """Through normalisation alone, through a whitening, and where a batch is standardised by itself."""
    more = {"whitened": ("data.whitening=mtt",), "standardised": ("student.standardise=batch",)}
    run = plain if space == "plain" else made(tmp_path, *more[space])
    row = scored(run, attacks=["pgd20", "pgd20-l2"][: 2 if space == "plain" else 1])
    none = scored(run, attacks=["pgd20"], epsilons=[0.0, 0.25])
    assert none.attacked is not None and row.attacked is not None
    zero, quarter = none.attacked.scores
    assert zero.robust.values == none.attacked.clean.values == none.clean.values, "to the last picture"
    assert zero.success is not None and zero.success.mean == 0
    assert none.clean.mean > 20 and quarter.robust.mean < 3
    for name, norm in row.attacked.attacks:
        left = [score.robust.mean for score in row.attacked.of(name, norm).values()]
        assert left[0] < none.clean.mean
        assert all(after <= before + 2 for before, after in itertools.pairwise(left))


def test_what_was_attacked_is_kept_and_its_worst_is_picture_by_picture(plain: RunFolder) -> None:
    row = scored(plain, attacks=["fgsm", "pgd20", "transfer"], epsilons=[2 / 255], attack_limit=30)
    found = row.attacked
    assert found is not None and found.pictures == 30 and row.limit == 40
    by_name = {score.attack: score.robust for score in found.scores}
    assert by_name[WORST].mean <= min(by_name["fgsm"].mean, by_name["pgd20"].mean)
    assert by_name["transfer"].mean >= by_name["pgd20"].mean
    before = {file: file.stat().st_mtime_ns for file in plain.students.iterdir()}
    assert scored(plain, attacks=["fgsm", "pgd20", "transfer"], epsilons=[2 / 255], attack_limit=30) == row
    assert {file: file.stat().st_mtime_ns for file in plain.students.iterdir()} == before


def test_the_control_is_attacked_like_the_set_it_stands_beside(tmp_path: Path) -> None:
    run = made(tmp_path, "objective.batch_real=8", method="dm", iterations=1)
    threads = torch.get_num_threads()
    rows = fredbench.evaluate([run], students=1, limit=20, attacks=["fgsm"], store=tmp_path, threads=threads)
    assert len(rows) == 3 and all(row.attacked is not None for row in rows)
    assert rows[0].to_mapping()["attacked"]["scores"][0]["attack"] == "fgsm"


def test_networks_are_attacked_apart_and_their_mean_is_not(plain: RunFolder) -> None:
    row = scored(plain, attacks=["fgsm"], epsilons=[1 / 255], networks=["convnet-d2-w4-in", "mlp"], students=1)
    assert [found.attacked is not None for found in row.by_network.values()] == [True, True]
    assert row.over_networks is not None and row.over_networks.attacked is None
    left = [found.attacked.scores[0].robust for found in row.by_network.values() if found.attacked]
    assert row.attacked is not None and left[0] == row.attacked.scores[0].robust


def test_what_cannot_be_meant_is_refused(plain: RunFolder) -> None:
    with pytest.raises(UnknownNameError, match="pgd"):
        scored(plain, attacks=["pgd"])
    with pytest.raises(UsageError, match="two norms"):
        scored(plain, attacks=["pgd20", "pgd20-l2"], epsilons=[0.1])
    with pytest.raises(UsageError, match="no attack"):
        scored(plain, epsilons=[0.1])
    with pytest.raises(UsageError, match="at least 1"):
        scored(plain, attacks=["pgd20"], attack_limit=0)
    with pytest.raises(UsageError, match="two students"):
        scored(plain, attacks=["transfer"], students=1)


def test_students_that_diverged_are_refused(tmp_path: Path) -> None:
    """Outputs that are no numbers would pass for a robust network, and end a curve's area in a traceback."""
    run = made(tmp_path, "student.lr=1e12")
    with pytest.raises(UsageError, match="diverged"):
        scored(run, attacks=["fgsm"])
    with pytest.raises(UsageError, match="diverged"):
        scored(run, others=[cifar_like()])


# As BEARD's README prints them: clean accuracy, accuracies under attack, ratio.
PRINTED = [
    (44.95, (29.59, 30.61, 33.73, 36.58), 19.78),
    (61.73, (39.13, 40.10, 44.06, 44.93), 12.94),
    (69.95, (44.68, 45.59, 50.81, 44.71), 6.99),
    (44.95, (24.51, 20.78, 33.72, 11.49, 13.68, 17.64), 26.34),
]


@pytest.mark.parametrize(("clean", "accuracies", "ratio"), PRINTED)
def test_the_robustness_ratio_is_as_printed(clean: float, accuracies: tuple[float, ...], ratio: float) -> None:
    assert robustness_ratio(clean, accuracies) == pytest.approx(ratio, abs=0.006)


def test_the_ratio_where_nothing_is_taken() -> None:
    assert robustness_ratio(50.0, [50.0, 50.0]) is None
    assert robustness_ratio(80.0, [20.0, 20.0, 20.0]) == 0.0


def under(**accuracies: dict[float, float]) -> Attacked:
    """Scores of two students on a thousand pictures, by attack and radius."""
    scores = [
        AttackScore(name, ATTACKS[name].norm, radius, Sample(value, 0.0, 2), None)
        for name, found in accuracies.items()
        for radius, value in found.items()
    ]
    return Attacked(1000, Sample(60.0, 0.0, 2), tuple(scores))


def test_every_sign_of_masking_is_told_and_honest_scores_show_none() -> None:
    honest = under(
        fgsm={0.01: 40.0, 0.02: 25.0}, pgd20={0.01: 35.0, 0.02: 15.0}, pgd50={0.01: 35.0}, transfer={0.01: 50.0}
    )
    assert signs_of_masking(honest) == []
    for found, said in (
        (under(fgsm={0.01: 30.0}, pgd20={0.01: 40.0}), "one step breaks more than twenty"),
        (under(transfer={0.01: 30.0}, pgd20={0.01: 40.0}), "pictures made on another student"),
        (under(pgd20={0.01: 30.0, 0.02: 40.0}), "a larger radius breaks less"),
        (under(**{"apgd-dlr": {0.01: 10.0}, "apgd-ce": {0.01: 40.0}}), "the cross-entropy is flat"),
        (under(pgd20={0.01: 30.0}, pgd50={0.01: 40.0}), "more steps break less"),
        (under(**{"pgd20": {0.01: 30.0}, "pgd20-r5": {0.01: 40.0}}), "more starts break less"),
    ):
        (sign,) = signs_of_masking(found)
        assert said in sign
    assert looked_for_masking(honest) and not looked_for_masking(under(fgsm={0.01: 30.0}))
    assert not looked_for_masking(under(fgsm={0.01: 30.0}, transfer={0.01: 30.0}))
    # Within the noise of two thousand verdicts nothing is said.
    assert signs_of_masking(under(fgsm={0.01: 39.0}, pgd20={0.01: 40.0})) == []


def test_a_row_without_attacks_says_nothing_of_them(plain: RunFolder) -> None:
    row = scored(plain)
    assert row.attacked is None and "attacked" not in row.to_mapping()
    assert dataclasses.replace(row) == row and np.isfinite(row.clean.mean)
    assert Attacks((ATTACKS["fgsm"],)).pairs()[-1][1] == pytest.approx(8 / 255)
