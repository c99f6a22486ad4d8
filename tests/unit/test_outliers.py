"""Pictures of other datasets: how familiar they look, and the rates made of it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from spine import cifar_like, set_of

import fredbench
from fredbench import networks
from fredbench.datasets import Dataset
from fredbench.evaluation.outliers import detection_rates, familiarity
from fredbench.evaluation.rows import SCORES, Row
from fredbench.foundation.errors import CompatibilityError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.report.outliers import outlier_table
from fredbench.runs.store import RunFolder


def test_the_rates_are_those_of_the_definition() -> None:
    """The area counts pairs that stand the right way round; the rate is at the threshold that keeps 95 of a hundred."""
    draw = np.random.default_rng(0)
    for count in (20, 100, 101):
        own, other = draw.normal(1, 1, count), draw.normal(0, 1, 500)
        kept = [value for value in own if np.mean(own >= value) >= 0.95]
        assert detection_rates(own, other)[1] == pytest.approx(100 * float(np.mean(other >= max(kept))))
    inside, outside = draw.normal(1, 1, 100).round(1), draw.normal(0, 1, 60).round(1)
    area, rate = detection_rates(inside, outside)
    pairs = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(inside, outside)]
    assert area == pytest.approx(100 * float(np.mean(pairs)))
    thresholds = [value for value in inside if np.mean(inside >= value) >= 0.95]
    assert rate == pytest.approx(100 * float(np.mean(outside >= max(thresholds))))
    assert detection_rates(np.arange(10.0) + 20, np.arange(10.0)) == (100.0, 0.0)
    assert detection_rates(np.arange(10.0), np.arange(10.0) + 20) == (0.0, 100.0)
    assert detection_rates(np.ones(10), np.ones(10)) == (50.0, 100.0)


def test_each_score_is_what_it_says() -> None:
    student = networks.build("convnet-d2-w4-in", channels=3, classes=5, size=(8, 8), rng=Stream(0))
    pictures, bank = (torch.randn(count, 3, 8, 8, generator=Stream(1).torch()) for count in (150, 20))
    msp, energy, knn = familiarity(student, pictures, bank)
    with torch.no_grad():
        logits, features, known = student(pictures), student.embed(pictures), student.embed(bank)
    probabilities = torch.from_numpy(np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True))
    torch.testing.assert_close(msp, probabilities.amax(1))
    torch.testing.assert_close(energy, logits.exp().sum(1).log())
    nearest = [max(float(torch.cosine_similarity(one, other, dim=0)) for other in known) for one in features]
    torch.testing.assert_close(knn, torch.tensor(nearest), atol=1e-5, rtol=0)
    assert torch.allclose(familiarity(student, bank, bank)[2], torch.ones(20), atol=1e-5), "each is its own nearest"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return fredbench.distill(
        "digits", ipc=2, method="random", preset="quick", network="convnet-d2-w4-in", overrides=("student.epochs=40",),
        store=tmp_path_factory.mktemp("runs"), threads=torch.get_num_threads(),
    )  # fmt: skip


def compared(run: RunFolder, *others: Dataset) -> Row:
    return fredbench.evaluate(
        [run], others=others, students=2, limit=50, store=run.path.parent, threads=torch.get_num_threads()
    )[0]


def test_students_of_digits_know_digits_from_noise(run: RunFolder) -> None:
    noise = cifar_like()
    row = compared(run, noise)
    (found,) = row.outliers
    assert found.dataset == noise.name and found.inside == 50 and found.outside == min(50, len(noise.test.labels))
    assert [one.score for one in found.scores] == list(SCORES)
    assert found.scores[2].auroc.mean > 90 and found.scores[2].fpr95.mean < 50 and found.scores[0].auroc.n == 2
    before = {file: file.stat().st_mtime_ns for file in run.students.iterdir()}
    assert compared(run, noise) == row
    assert {file: file.stat().st_mtime_ns for file in run.students.iterdir()} == before
    assert compared(run).outliers == () and "outliers" not in compared(run).to_mapping()


def test_what_is_missing_of_the_other_dataset_stands_beside_its_rates(run: RunFolder) -> None:
    """In JSON and below the table, as it does of the row's own."""
    noise = cifar_like()
    part = replace(noise, source=replace(noise.source, partial={"train": "first 30 of 900", "test": "absent"}))
    row = compared(run, part)
    assert row.outliers[0].partial == part.partial and row.to_mapping()["outliers"][0]["partial"] == part.partial
    said = outlier_table([row], "markdown")
    assert said.endswith("cifar-like is a partial dataset (train: first 30 of 900; test: absent).")
    whole = compared(run, noise)
    assert "partial" not in whole.to_mapping()["outliers"][0] and "partial" not in outlier_table([whole], "markdown")


def test_what_cannot_be_compared_is_refused(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="itself"):
        fredbench.evaluate([run], others=["digits"], store=run.path.parent)
    with pytest.raises(CompatibilityError, match="small are 3 x 16 x 16"):
        compared(run, set_of(10, (16, 16), name="small"))
