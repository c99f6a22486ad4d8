"""From stored predictions to numbers; and whole evaluations on suites other than plain corruptions."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from spine import cifar_like, spec_of
from test_framing import packed, tree
from test_official import SHIFT, write_archive, write_shifted

from fredbench.datasets import Dataset
from fredbench.evaluation.results.reading import row_of
from fredbench.evaluation.rows import CLEAN, CLEAN_CROP, Row
from fredbench.evaluation.students import (
    Predictions,
    predictions_on,
    store_predictions,
    store_tensors,
    stored_predictions,
)
from fredbench.execution.api import evaluate
from fredbench.report.page_table import accuracy_lines, heads
from fredbench.report.table import corruption_table, notes
from fredbench.runs import distillation
from fredbench.runs.store import RunFolder, Store
from fredbench.suites.corruption import CorruptionSuite
from fredbench.suites.parts import Baseline


def predictions(severities: int, count: int, seed: int = 0) -> tuple[Predictions, np.ndarray]:
    draws = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(severities, count, 10, generator=draws)
    labels = torch.randint(10, (count,), generator=draws)
    probability = logits.softmax(-1)
    best = probability.max(-1)
    truth = probability.gather(-1, labels.expand(severities, -1)[..., None])[..., 0]
    return Predictions(best.indices.to(torch.int16), best.values, -truth.log()), labels.numpy()


def test_calibration_is_guos(tmp_path: Path) -> None:
    """Bin by bin, as the paper's equations say it, in plain Python."""
    found, labels = predictions(2, 500)
    for row in range(2):
        confidence, right = found.confidence[row].tolist(), (found.predicted[row].numpy() == labels).tolist()
        error = 0.0
        for m in range(1, 16):
            inside = [i for i, p in enumerate(confidence) if (m - 1) / 15 < p <= m / 15]
            if inside:
                accuracy = sum(right[i] for i in inside) / len(inside)
                error += len(inside) / 500 * abs(accuracy - sum(confidence[i] for i in inside) / len(inside))
        assert found.calibration_error(labels)[row] == pytest.approx(100 * error, abs=1e-6)
        assert found.mean_nll()[row] == pytest.approx(found.nll[row].numpy().astype(float).mean())


def test_a_network_as_sure_as_it_is_right_is_calibrated() -> None:
    confidence = torch.full((1, 100), 0.7)
    labels = np.zeros(100, dtype=np.int64)
    predicted = torch.zeros(1, 100, dtype=torch.int16)
    predicted[0, :30] = 1
    assert Predictions(predicted, confidence, confidence).calibration_error(labels) == [pytest.approx(0, abs=1e-4)]
    sure = Predictions(predicted, torch.ones(1, 100), confidence)
    assert sure.calibration_error(labels) == [pytest.approx(30)]


def test_the_brier_score_is_briers(tmp_path: Path) -> None:
    """By its definition from logits; 0, 2 and 1 - 1/classes where it must be; read back as it was stored."""
    draws = torch.Generator().manual_seed(2)
    logits, labels = 3 * torch.randn(50, 10, generator=draws), torch.randint(10, (50,), generator=draws).numpy()

    def outputs(*given: torch.Tensor) -> list[torch.Tensor]:
        return [each[:, :, None, None] for each in given]  # as pictures that a network without layers flattens

    network = torch.nn.Flatten()
    found = predictions_on(network, outputs(logits, torch.zeros(50, 10)), labels)
    probability, expected = torch.softmax(logits.double(), 1).tolist(), 0.0
    for p, truth in zip(probability, labels, strict=True):
        expected += sum((p[c] - (c == truth)) ** 2 for c in range(10)) / 50
    assert found.mean_brier() == pytest.approx([expected, 0.9], rel=1e-6)
    certain = 1e4 * torch.nn.functional.one_hot(torch.from_numpy(labels), 10).float()
    ends = predictions_on(network, outputs(certain, certain.roll(1, dims=1)), labels)
    assert ends.mean_brier() == [0.0, 2.0]
    store_predictions(tmp_path / "now", found)
    assert stored_predictions(tmp_path / "now").mean_brier() == found.mean_brier()
    store_tensors(tmp_path / "before", {k: v for k, v in found.to_tensors().items() if k != "brier"})
    older = stored_predictions(tmp_path / "before")
    assert older.mean_brier() is None and older.accuracy(labels) == found.accuracy(labels)


def test_the_bins_of_a_reliability_diagram(tmp_path: Path) -> None:
    """Every prediction stands once, in the bin of its confidence; means are over all students and severities."""
    write_shifted(tmp_path, "v6", 40)
    suite = CorruptionSuite("shifted", "shifted", "cifar-like", "cifar", (), shift=SHIFT)
    row = rows_of(cifar_like(), suite, tmp_path, calibration=True)[0]
    assert row.calibration["cifar10.1-v6"].reliability is None
    bins = row.calibration["average"].reliability
    assert bins is not None and sum(bins.pictures) == 2 * 40 and len(bins.pictures) == 15
    for m, (count, confidence, accuracy) in enumerate(zip(bins.pictures, bins.confidence, bins.accuracy, strict=True)):
        assert (count == 0) == (confidence is None) == (accuracy is None)
        assert confidence is None or 100 * m / 15 - 1e-4 <= confidence <= 100 * (m + 1) / 15 + 1e-4
    right = sum(n * a / 100 for n, a in zip(bins.pictures, bins.accuracy, strict=True) if a is not None)
    assert row.average is not None and 100 * right / 80 == pytest.approx(row.average.mean)
    read = row_of(json.loads(json.dumps(row.to_mapping()))).calibration["average"].reliability
    assert read is not None and read.pictures == bins.pictures
    assert read.accuracy == tuple(None if v is None else round(v, 4) for v in bins.accuracy)


def rows_of(dataset: Dataset, suite: CorruptionSuite, folder: Path, **given: object) -> list[Row]:
    spec = spec_of(dataset, method="random", iterations=None, overrides=("student.students=2",))
    run = RunFolder(Store(folder / "runs").folder_for(spec).path)
    distillation.run(spec, dataset, run)
    return evaluate([run], suite=suite, dataset=dataset, store=folder / "runs", data=folder, threads=1, **given)


def test_a_shifted_set_is_a_column_of_its_own(tmp_path: Path) -> None:
    write_shifted(tmp_path, "v6", 40)
    suite = CorruptionSuite("shifted", "shifted", "cifar-like", "cifar", (), shift=SHIFT)
    row = rows_of(cifar_like(), suite, tmp_path, calibration=True)[0]
    assert list(row.domains) == ["cifar10.1-v6"] and row.corruptions == {}
    assert row.average == row.domains["cifar10.1-v6"] and row.drop is not None and row.source == "official"
    assert row.partial == {"cifar10.1-v6": "40 of 2000"}
    assert set(row.calibration) == {CLEAN, "average", "cifar10.1-v6"}
    found = row.to_mapping()
    assert found["domains"]["cifar10.1-v6"]["n"] == 2 and found["corruptions"] == {} and found["mce"] is None
    for form in ("table", "markdown", "latex", "csv", "json"):
        assert "cifar10.1-v6" in corruption_table("shifted", (), [row], form)
    assert "severit" not in corruption_table("shifted", (), [row], "table")


def test_imagenet_rows_say_their_framing(tmp_path: Path) -> None:
    """Tiny trees and packs through the whole evaluation: names, the crop column, the drop, what is published."""
    suite = CorruptionSuite(
        "woofs", "Woofs", "imagewoof", "imagenet", ("brightness", "contrast"), (1, 3), framing="imagenet-c"
    )
    (tmp_path / "originals").mkdir()
    row = rows_of(tree(tmp_path / "originals", 280, 300), suite, tmp_path / "originals")[0]
    assert row.suite == "woofs" and list(row.domains) == [CLEAN_CROP] and row.reference == row.domains[CLEAN_CROP]
    assert {(len(s.by_student), len(s.by_student[0])) for s in row.corruptions.values()} == {(2, 2)}
    for score in row.corruptions.values():
        assert [sum(each) / 2 for each in score.by_student] == pytest.approx(list(score.sample.values))
    assert row.average is not None
    assert row.drop == pytest.approx(100 * (1 - row.average.mean / row.reference.mean)) or row.reference.mean == 0
    assert row.partial["test"] == "10 of 500 validation pictures of ILSVRC-2012" and row.published is None
    assert "test: 10 of 500" in " ".join(notes([row], (1, 3)))
    assert row.to_mapping()["drop_from"] == CLEAN_CROP and "shorter side to 256" in row.framing
    text = corruption_table(row.suite, (1, 3), [row], "table")
    assert "Crop" in text and "in the corrupted ones' framing" in text and row.framing in text
    (tmp_path / "small").mkdir()
    row = rows_of(packed(tmp_path / "small", 40), suite, tmp_path / "small")[0]
    assert row.suite == "woofs-from40" and row.domains == {} and row.to_mapping()["drop_from"] == CLEAN
    assert row.published is None and row.to_mapping()["suite"] == "woofs-from40"
    for form in ("table", "markdown", "csv"):
        assert "woofs-from40" in corruption_table(row.suite, (1, 3), [row], form)


def test_folders_of_the_users_are_scored(tmp_path: Path) -> None:
    write_archive(tmp_path, severities=(1, 2, 3, 4, 5), each=1)
    suite = CorruptionSuite(
        "woofs", "Woofs", "imagewoof", "imagenet", ("fog",), framing="imagenet-c", official=("ImageNet-C",)
    )
    row = rows_of(packed(tmp_path, 40), suite, tmp_path)[0]
    assert row.source == "official" and row.suite == "woofs" and row.published is None
    assert row.framing.startswith("ImageNet-C's own pictures, 224 pixels; resized to 128x128")
    assert len(row.corruptions["fog"].by_severity) == 5 and "10 of 500" in row.partial["official"]


def test_a_baseline_holds_for_its_own_pictures_only(tmp_path: Path) -> None:
    dataset, errors = cifar_like(), {"brightness": (40.0, 50.0, 60.0, 70.0, 80.0)}
    for test, there in ((dataset.test_fingerprint, True), ("another set", False)):
        baseline = Baseline("b", "net", "trained", "measured", test, 30.0, errors=errors)
        suite = CorruptionSuite("mine", "mine", "cifar-like", "cifar", ("brightness",), (2, 5), baseline=baseline)
        row = rows_of(dataset, suite, tmp_path)[0]
        assert (row.mce is not None) == (row.baseline is not None) == there
        assert ("mCE is relative to b" in " ".join(notes([row], (2, 5)))) == there
        if row.mce is not None and row.relative_mce is not None:
            score = row.corruptions["brightness"]
            ours = sum(100 - value for value in score.by_severity)
            assert row.mce.mean == pytest.approx(100 * ours / 130) == pytest.approx(score.ce)
            rise = ours - 2 * (100 - row.clean.mean)
            assert row.relative_mce.mean == pytest.approx(100 * rise / 70) == pytest.approx(score.relative_ce)


def test_a_baseline_of_other_pictures_gives_no_mce_and_a_note(tmp_path: Path) -> None:
    dataset = cifar_like()
    measured = Baseline("b", "net", "trained", "measured", dataset.test_fingerprint, 30.0, source="generated",
                        suite="mine", errors={"brightness": (40.0, 50.0, 60.0, 70.0, 80.0)})  # fmt: skip
    suite = CorruptionSuite(
        "mine", "mine", "cifar-like", "cifar", ("brightness",), (1,), official=("arrays",), baseline=measured
    )

    def said(suite: CorruptionSuite, **given: object) -> tuple[Row, str]:
        row = rows_of(dataset, suite, tmp_path, **given)[0]
        return row, " ".join(notes([row], (1,)))

    row, text = said(suite)
    assert row.mce is not None and row.baseline is not None and "No mCE" not in text and "against the" not in text
    assert row.baseline["source"] == "generated" and "no_baseline" not in row.to_mapping()
    # All pictures against some is said, wherever the text is shown.
    row, text = said(suite, limit=7)
    assert row.mce is not None and "mCE holds errors on 7 pictures against the baseline's on all" in text
    row, text = said(dataclasses.replace(suite, name="other"))
    assert row.mce is None and row.baseline is None
    assert "measured on generated pictures of mine, and these are generated pictures of other" in text
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "brightness.npy", np.tile(dataset.test.images, (5, 1, 1, 1)))
    row, text = said(suite)
    assert row.source == "user" and row.mce is None and row.corruptions["brightness"].ce is None
    assert "measured on generated pictures of mine, and these are user pictures of mine" in text
    assert "Pictures: the user's arrays in arrays, not the published ones by checksum." in text
    assert row.to_mapping()["no_baseline"] in text and row.to_mapping()["baseline"] is None
    of_arrays = dataclasses.replace(suite, baseline=dataclasses.replace(measured, source="user"))
    assert said(of_arrays)[0].mce is not None


def test_the_page_has_the_same_columns(tmp_path: Path) -> None:
    write_shifted(tmp_path, "v6", 40)
    suite = CorruptionSuite("shifted", "shifted", "cifar-like", "cifar", (), shift=SHIFT)
    row = rows_of(cifar_like(), suite, tmp_path)[0]
    titles = [head["text"] for head in heads([], [row])]
    assert titles[:4] == ["Avg.", "Clean", "cifar10.1-v6", "drop %"]
    (line,) = accuracy_lines([row], ["x"], [])
    assert len(line["cells"]) == len(titles)
    assert line["cells"][2]["text"] == f"{row.domains['cifar10.1-v6'].mean:.1f}" and line["cells"][2]["small"]


def test_bins_of_equally_many_pictures() -> None:
    """Seventeen pictures in four bins, by hand; and where every width is one bin, that one alone is not blind."""
    draw = np.random.default_rng(5)
    confidence, predicted, labels = draw.random(17), draw.integers(0, 3, 17), draw.integers(0, 3, 17)
    found = Predictions(
        torch.tensor(predicted)[None].short(), torch.tensor(confidence)[None].float(), torch.zeros(1, 17)
    )
    order = np.argsort(confidence)
    parts = [order[:5], order[5:9], order[9:13], order[13:]]
    error = sum(abs(np.sum((predicted == labels)[part]) - np.sum(confidence[part])) for part in parts) / 17
    assert found.adaptive_calibration_error(labels, bins=4) == [pytest.approx(100 * error, abs=1e-4)]
    # Right exactly where it is the surer of two confidences that share an equal-width bin.
    split = Predictions(torch.zeros(1, 10).short(), torch.tensor([[0.98] * 5 + [0.99] * 5]), torch.zeros(1, 10))
    labels = np.array([1] * 5 + [0] * 5)
    assert split.adaptive_calibration_error(labels, bins=2)[0] == pytest.approx(49.5, abs=1e-3)
    assert split.calibration_error(labels)[0] == pytest.approx(48.5, abs=1e-3)


def test_the_area_under_risk_and_coverage() -> None:
    """By its definition; 0 where all is right, all where nothing is; order by confidence alone, ties shared."""
    draw = np.random.default_rng(6)
    confidence, predicted, labels = draw.random(40), draw.integers(0, 3, 40), draw.integers(0, 3, 40)
    found = Predictions(
        torch.tensor(predicted)[None].short(), torch.tensor(confidence)[None].float(), torch.zeros(1, 40)
    )
    wrong = (predicted != labels)[np.argsort(-confidence)]
    risks = [wrong[:covered].mean() for covered in range(1, 41)]
    assert found.area_under_risk(labels) == [pytest.approx(100 * np.mean(risks))]
    assert found.area_under_risk(predicted) == [0.0]
    assert found.area_under_risk((predicted + 1) % 3) == [pytest.approx(100)]
    level = Predictions(torch.tensor(predicted)[None].short(), torch.full((1, 40), 0.5), torch.zeros(1, 40))
    assert level.area_under_risk(labels) == [pytest.approx(100 * wrong.mean())]
