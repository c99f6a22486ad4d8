from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from commands import invoke

from fredbench.corruptions import NAMES
from fredbench.datasets import load_dataset
from fredbench.suites.corruption import suite_named
from fredbench.suites.reading import names_of


def test_the_suites_are_listed() -> None:
    records = json.loads(invoke("suite", "list", "--format", "json").out)
    assert [record["suite"] for record in records] == names_of("corruptions", "grid")
    cifar = next(record for record in records if record["suite"] == "cifar10c")
    assert cifar["dataset"] == "cifar10" and cifar["corruptions"] == 15 and cifar["severities"] == "1, 2, 3, 4, 5"
    assert len(invoke("suite", "list").out.splitlines()) == 2 + len(records)


def test_a_suite_shows_its_corruptions_in_the_literatures_order() -> None:
    shown = json.loads(invoke("suite", "show", "cifar10c", "--format", "json").out)
    assert tuple(shown["corruptions"]) == NAMES and shown["seed"] == 0
    records = dict(csv.reader(io.StringIO(invoke("suite", "show", "cifar10c", "--format", "csv").out)))
    assert records["corruptions"] == ", ".join(NAMES)


def test_a_file_is_a_suite_too(small_suite: Path) -> None:
    assert "two corruptions of the digits" in invoke("suite", "show", small_suite).out


def test_bad_suites_are_refused(tmp_path: Path) -> None:
    assert "cifar10c" in invoke("suite", "show", "cifar10d").problem()[1]
    assert "no suite file" in invoke("suite", "show", tmp_path / "none.toml").problem()[0]
    file = tmp_path / "bad.toml"
    for text, needle in (
        ("name = ", "not TOML"),
        ('name = "x"', "lacks"),
        ('name = "x"\ncolour = 1', "colour"),
    ):
        file.write_text(text)
        assert needle in invoke("suite", "show", file).problem()[0]
    invoke("suite").problem()


def test_a_baseline_is_measured_and_read_back(small_suite: Path, tmp_path: Path) -> None:
    asked = ("suite", "baseline", small_suite, "--epochs", 1, "--network", "convnet-d2-w4-in", "--students", 2,
             "--threads", 1, "--store", tmp_path, "--offline")  # fmt: skip
    made = invoke(*asked)
    assert made.code == 0, made.err
    cells = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert len(cells) == 2 + 2 * 3
    file = tmp_path / "with-baseline.toml"
    file.write_text(small_suite.read_text() + made.out)
    baseline = suite_named(str(file)).baseline
    assert baseline is not None and baseline.test == load_dataset("digits").test_fingerprint and baseline.students == 2
    assert (baseline.source, baseline.suite) == ("generated", "two")
    assert list(baseline.errors) == ["brightness", "contrast"] and baseline.network == "convnet-d2-w4-in"
    assert "1,297 training pictures" in baseline.training and "suite baseline two" in baseline.provenance
    # One epoch on 1,297 digits is better than guessing, and far from right.
    assert 5 < baseline.clean < 90
    # Errors are counted, not made up: means of two networks over 500 pictures are thousandths.
    for error in (baseline.clean, *baseline.errors["contrast"]):
        assert error * 10 == pytest.approx(round(error * 10), abs=1e-6)
    again = invoke(*asked)
    assert again.out == made.out and {path: path.stat().st_mtime_ns for path in cells} == cells
    assert "convnet-d2-w4-in" in invoke("suite", "show", file).out
    shown = json.loads(invoke("suite", "show", file, "--format", "json").out)
    assert shown["baseline"]["clean"] == baseline.clean


def test_a_suite_without_corruptions_has_nothing_to_measure(tmp_path: Path) -> None:
    file = tmp_path / "none.toml"
    file.write_text('name = "none"\ntitle = "none"\ndataset = "digits"\nprofile = "cifar"\ncorruptions = []\n')
    error, _ = invoke("suite", "baseline", file, "--store", tmp_path, "--offline").problem()
    assert "no whole corruptions" in error
