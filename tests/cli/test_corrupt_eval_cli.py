"""`fredbench corrupt-eval`: the table's rows, its forms, and what is made when it is missing."""

from __future__ import annotations

import csv
import dataclasses
import fcntl
import io
import json
import shutil
from pathlib import Path

import pytest
import torch
from commands import TINY, Outcome, invoke

from fredbench.corruptions import NAMES
from fredbench.datasets import load_dataset
from fredbench.evaluation.domains import TestDomains
from fredbench.evaluation.entrants import Entrant
from fredbench.evaluation.scoring import PROTOCOLS, Evaluation
from fredbench.evaluation.students import store_tensors
from fredbench.report.table import notes
from fredbench.runs.store import Store
from fredbench.suites.corruption import CorruptionSuite, suite_named
from fredbench.training.kept import read_tensors

DISTILL = ("distill", "digits", "--ipc", "1", "--objective", "dm", "--preset", "quick", *TINY)
SMALL = ("--limit", "20", "--severity", "1", "--severity", "3", "--threads", "1", "--offline")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    made = invoke(*DISTILL, "--iterations", "2", "--store", folder)
    assert made.code == 0, made.err
    return folder


def scored(store: Path, *more: object) -> Outcome:
    return invoke("corrupt-eval", "--suite", "digitsc", *SMALL, "--store", store, *more)


@pytest.fixture(scope="module")
def table(store: Path) -> dict[str, object]:
    outcome = scored(store, "--format", "json")
    assert outcome.code == 0, outcome.err
    return dict(json.loads(outcome.out))


def test_json_is_the_contracts(table: dict[str, object], store: Path) -> None:
    assert table["suite"] == "digitsc" and table["severities"] == [1, 3]
    rows = table["rows"]
    assert [(row["method"], row["iterations"], row["control"]) for row in rows] == [
        ("fred", 2, False), ("fred", 0, False), ("random", 0, True)]  # fmt: skip
    for row in rows:
        assert set(row) >= {
            "run", "dataset", "method", "objective", "parameterization", "iterations", "ipc", "params", "params_strict",
            "students", "network", "scale", "control", "clean", "average", "corruptions", "source", "limit", "partial",
            "published",
        }  # fmt: skip
        assert Path(row["run"]).parent == store and (Path(row["run"]) / "synset.safetensors").is_file()
        assert (row["dataset"], row["ipc"], row["params"], row["limit"]) == ("digits", 1, 30_720, 20)
        assert row["params_strict"] == (30_720 if row["control"] else 31_040)
        assert (row["students"], row["network"], row["scale"]) == (2, "convnet-d3-w8-in", "quick")
        assert list(row["corruptions"]) == list(NAMES) and row["source"] == "generated" and row["partial"] == {}
        assert row["published"] is None


def test_accuracies_are_percent_of_twenty_pictures_and_averages_are_means(table: dict[str, object]) -> None:
    for row in table["rows"]:
        assert row["clean"]["n"] == row["average"]["n"] == 2
        assert (row["clean"]["mean"] * 2 * 20 / 100) % 1 == pytest.approx(0, abs=1e-9)
        means = []
        for score in row["corruptions"].values():
            assert score["n"] == 2 and len(score["by_severity"]) == 2 and 0 <= score["mean"] <= 100
            assert score["mean"] == pytest.approx(sum(score["by_severity"]) / 2, abs=1e-3)
            means.append(score["mean"])
        assert row["average"]["mean"] == pytest.approx(sum(means) / 15, abs=1e-3)
    # Chance is 10 of 100: two students of one epoch are not all zeros, nor all the same.
    values = {score["mean"] for row in table["rows"] for score in row["corruptions"].values()}
    assert len(values) > 3


def test_start_and_control_lie_in_the_store_as_runs_of_their_own(table: dict[str, object], store: Path) -> None:
    runs = {path.parent.name for path in store.glob("*/result.json")}
    assert runs == {Path(row["run"]).name for row in table["rows"]} and len(runs) == 3


def test_asked_again_nothing_is_trained_or_scored(table: dict[str, object], store: Path) -> None:
    cells = {path: path.stat().st_mtime_ns for path in store.rglob("cells/*")}
    # Two students and sixteen domains for each of three rows.
    assert len(cells) == 3 * (2 + 2 * 16)
    again = scored(store, "--format", "json")
    assert json.loads(again.out) == table and "scoring" not in again.err
    assert {path: path.stat().st_mtime_ns for path in store.rglob("cells/*")} == cells


def test_a_lost_cell_is_made_again_the_same(table: dict[str, object], store: Path) -> None:
    student = next(store.rglob("cells/student-*"))
    scores = sorted(store.rglob("cells/scores-*"))[::7]
    before = {path: path.read_bytes() for path in (student, *scores)}
    for path in before:
        path.unlink()
    assert json.loads(scored(store, "--format", "json").out) == table
    assert {path: path.read_bytes() for path in before} == before


def test_metrics_come_from_stored_predictions_alone(table: dict[str, object], store: Path, tmp_path: Path) -> None:
    """Every number of the table, and those asked for later, without a student's weights."""
    copy = Path(shutil.copytree(store, tmp_path / "store"))
    for weights in copy.rglob("cells/student-*"):
        weights.unlink()
    asked = scored(copy, "--format", "json", "--calibration", "--intervals")
    rows = json.loads(asked.out)["rows"]
    assert not list(copy.rglob("cells/student-*")) and "training" not in asked.err and "scoring" not in asked.err
    for row, before in zip(rows, table["rows"], strict=True):
        calibration = row.pop("calibration")
        assert {**row, "run": before["run"]} == before
        assert set(calibration) == {"clean", "average", *NAMES}
        for found in calibration.values():
            # Ten classes: a student that knows nothing has ln 10 = 2.3 nats; none of these is far better.
            assert 0 < found["nll"]["mean"] < 20 and 0 <= found["ece"]["mean"] <= 100 and found["nll"]["n"] == 2
            assert {"nll", "ece", "adaptive_ece", "aurc", "brier"} == found.keys() - {"reliability"}
            assert 0 <= found["aurc"]["mean"] <= 100 and 0 < found["brier"]["mean"] < 2
        assert {name for name, found in calibration.items() if "reliability" in found} == {"clean", "average"}
        pictures = row["students"] * row["limit"]
        assert sum(calibration["clean"]["reliability"]["pictures"]) == pictures
        assert sum(calibration["average"]["reliability"]["pictures"]) == 15 * 2 * pictures
        means = [calibration[name]["ece"]["mean"] for name in NAMES]
        assert calibration["average"]["ece"]["mean"] == pytest.approx(sum(means) / 15, abs=1e-3)


def test_predictions_of_earlier_versions_have_no_brier_score(
    table: dict[str, object], store: Path, tmp_path: Path
) -> None:
    """They are read and said to lack it; without them the kept students give the same score again."""
    copy = Path(shutil.copytree(store, tmp_path / "store"))
    asked = scored(copy, "--calibration")
    assert "No Brier score" not in asked.out
    run = copy / Path(table["rows"][0]["run"]).name / "cells"
    for file in run.glob("scores-*"):
        tensors = {name: tensor for name, tensor in read_tensors(file).items() if name != "brier"}
        assert len(tensors) == 3
        store_tensors(file, tensors)
    older = scored(copy, "--calibration")
    assert "No Brier score where" in older.out and "scoring" not in older.err
    absent = [text.count("–") for text in (asked.out, older.out)]
    assert absent[1] == absent[0] + 2  # clean and average, of the one row
    (row, *others) = json.loads(scored(copy, "--calibration", "--format", "json").out)["rows"]
    assert "brier" not in row["calibration"]["clean"] and all("brier" in o["calibration"]["clean"] for o in others)
    for file in run.glob("scores-*"):
        file.unlink()
    again = scored(copy, "--calibration")
    assert again.out == asked.out and "scoring" in again.err and "training" not in again.err


def test_what_a_killed_evaluation_left_is_swept(table: dict[str, object], store: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(store, tmp_path / "store"))
    lost = next(copy.rglob("cells/scores-*"))
    whole = next(path for path in sorted(copy.rglob("cells/student-*")) if path.parent == lost.parent)
    leftovers = [file.parent / f".{file.name}.abc_123.part" for file in (lost, whole)]
    other = lost.parent / ".student-of-another-process.safetensors.abcd.part"
    for part in (*leftovers, other):
        part.write_bytes(lost.read_bytes()[:100])
    lost.unlink()
    with open(other) as writing:
        fcntl.flock(writing, fcntl.LOCK_EX)  # as a process holds what it writes
        assert scored(copy, "--format", "json").code == 0
    assert lost.is_file() and not any(part.exists() for part in leftovers) and other.exists()


def test_errors_are_relative_to_the_suites_own_baseline(table: dict[str, object]) -> None:
    baseline = suite_named("digitsc").baseline
    assert baseline is not None
    for row in table["rows"]:
        assert row["baseline"]["name"] == baseline.name and row["baseline"]["network"] == baseline.network
        for name, score in row["corruptions"].items():
            theirs = [baseline.errors[name][severity - 1] for severity in (1, 3)]
            expected = 100 * sum(100 - value for value in score["by_severity"]) / sum(theirs)
            assert score["ce"] == pytest.approx(expected, rel=1e-4)
        errors = [score["ce"] for score in row["corruptions"].values()]
        assert row["mce"]["mean"] == pytest.approx(sum(errors) / 15, rel=1e-4) and row["mce"]["n"] == 2


def test_a_suite_without_a_baseline_has_no_mce(store: Path, small_suite: Path) -> None:
    outcome = invoke(
        "corrupt-eval", "--suite", small_suite, *SMALL[:2], *SMALL[-3:], "--store", store, "--format", "json"
    )
    for row in json.loads(outcome.out)["rows"]:
        assert row["mce"] is None and row["relative_mce"] is None and row["baseline"] is None
        assert all(score["ce"] is None for score in row["corruptions"].values())
    text = invoke("corrupt-eval", "--suite", small_suite, *SMALL[:2], *SMALL[-3:], "--store", store)
    assert text.code == 0 and "mCE" not in text.out


def test_intervals_and_calibration_stand_in_the_table_on_request(store: Path) -> None:
    plain, asked = (scored(store, *more).out for more in ((), ("--intervals", "--calibration")))
    for words in ("NLL clean", "ECE clean", "Brier clean", "NLL avg.", "ECE avg.", "Brier avg."):
        assert words in asked and words not in plain
    lines = [next(line for line in text.splitlines() if line.startswith("fred (dm")) for text in (plain, asked)]
    assert "[" not in lines[0] and lines[1].count("[") == 2
    for words in ("mCE is relative to", "clean error", "errors on 20 pictures against the baseline's on all"):
        assert words in plain


def test_csv_parses_and_says_the_same(table: dict[str, object], store: Path) -> None:
    outcome = scored(store, "--format", "csv")
    lines = list(csv.DictReader(io.StringIO(outcome.out)))
    assert len(lines) == 3 and all(None not in line and None not in line.values() for line in lines)
    for line, row in zip(lines, table["rows"], strict=True):
        assert line["run"] == row["run"] and line["method"] == row["method"]
        assert float(line["clean_mean"]) == pytest.approx(row["clean"]["mean"], abs=1e-4)
        assert float(line["average_mean"]) == pytest.approx(row["average"]["mean"], abs=1e-4)
        assert int(line["params_strict"]) == row["params_strict"]


@pytest.mark.parametrize("form", ["table", "markdown", "latex"])
def test_tables_for_people_have_the_literatures_columns(store: Path, form: str) -> None:
    outcome = scored(store, "--format", form)
    assert outcome.code == 0
    heads = next(line for line in outcome.out.splitlines() if "Gauss" in line)
    order = ["Gauss", "Shot", "Impul", "Defoc", "Glass", "Motion", "Zoom", "Snow", "Frost", "Fog", "Brit", "Contr",
             "Elast", "Pixel", "JPEG", "Avg.", "Clean"]  # fmt: skip
    places = [heads.index(name) for name in order]
    assert places == sorted(places)
    for words in ("fred (dm", "start", "random control"):
        assert words in outcome.out
    for numbers in ("30,720", "31,040"):
        assert numbers in outcome.out or numbers.replace(",", "") in outcome.out
    assert "quick" in outcome.out


def test_more_students_keep_the_first_ones(table: dict[str, object], store: Path) -> None:
    before = {path: path.read_bytes() for path in store.rglob("cells/student-*")}
    (distilled,) = [row["run"] for row in table["rows"] if row["iterations"]]
    outcome = scored(store, "--students", "3", "--format", "json", Path(distilled).name)
    rows = json.loads(outcome.out)["rows"]
    assert [row["students"] for row in rows] == [3, 3, 3]
    after = {path: path.read_bytes() for path in store.rglob("cells/student-*")}
    assert len(after) == 9 and {path: after[path] for path in before} == before


def test_the_literal_protocol_has_rows_of_its_own(store: Path) -> None:
    """Its 1,000 epochs take too long here; its recipe is looked at instead."""
    assert PROTOCOLS == ("own", "fred-literal")
    entrant = next(Entrant.of(run) for run in Store(store).runs() if run.spec().iterations)
    recipe = Evaluation.recipe_of(_literal(), entrant.spec, entrant.synset)
    assert (recipe.epochs, recipe.lr) == (1000, 0.01) and "flip" in recipe.augmentation
    assert entrant.spec.student.epochs == 1


def _literal() -> Evaluation:
    digits, suite = load_dataset("digits"), suite_named("digitsc")
    domains = TestDomains(suite, digits, severities=(1,))
    return Evaluation(digits, torch.device("cpu"), 1, domains, protocol="fred-literal")


@pytest.mark.parametrize(
    ("dataset", "level"), [("cifar10", 0.5), ("svhn", None), ("cifar100", None), ("imagenette", None), ("digits", None)]
)
def test_the_literal_protocol_normalises_by_a_half_what_its_script_does(
    store: Path, dataset: str, level: float | None
) -> None:
    entrant = next(Entrant.of(run) for run in Store(store).runs() if run.spec().iterations)
    named = dataclasses.replace(_literal().dataset, name=dataset)
    evaluation = dataclasses.replace(_literal(), dataset=named)
    found, own = evaluation._normalization(entrant.synset), entrant.synset.normalization
    assert found == (own if level is None else {"kind": "mean-std", "mean": [level] * 3, "std": [level] * 3})
    assert dataclasses.replace(evaluation, protocol="own")._normalization(entrant.synset) == own != [0.5] * 3


def test_the_literal_protocol_says_where_its_script_knows_nothing(store: Path) -> None:
    entrant = next(Entrant.of(run) for run in Store(store).runs() if run.spec().iterations)
    domains = dataclasses.replace(_literal().domains, suite=CorruptionSuite.clean_only("digits"), limit=20)
    (row,) = Evaluation(domains.dataset, torch.device("cpu"), 1, domains).rows([entrant], domains.names())
    said = {
        (name, protocol): " ".join(notes([dataclasses.replace(row, dataset=name, protocol=protocol)], (1,)))
        for name in ("digits", "cifar10", "imagewoof?antialias=no", "svhn")
        for protocol in PROTOCOLS
    }
    assert {asked for asked, text in said.items() if "script tests CIFAR-10" in text} == {
        ("digits", "fred-literal"), ("svhn", "fred-literal"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("objective", "parameterization", "plain"),
    [("dc", "pixels", True), ("dc", "fred", False), ("dsa", "pixels", False), ("tm", "fred", False)],
)
def test_the_literal_protocol_shows_plain_pictures_to_dc_alone(
    store: Path, objective: str, parameterization: str, plain: bool
) -> None:
    entrant = next(Entrant.of(run) for run in Store(store).runs() if run.spec().iterations)
    spec = dataclasses.replace(entrant.spec, objective=objective, parameterization=parameterization)
    assert (_literal().recipe_of(spec, entrant.synset).augmentation == "none") is plain


def test_cifar101_says_how_to_get_its_arrays(tmp_path: Path) -> None:
    outcome = invoke("corrupt-eval", "--suite", "cifar101", "--store", tmp_path, "--data", tmp_path, "--offline")
    error, hint = outcome.problem()
    assert "cifar10.1_v6_data.npy" in error and "modestyachts/CIFAR-10.1" in hint
