"""`--sequence` of `evaluate` and `corrupt-eval`: the table below the table, and what is refused."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from commands import invoke
from PIL import Image

from fredbench.corruptions import evenly_spaced, perturb
from fredbench.datasets import load_dataset

SMALL = ("--limit", 20, "--students", 2, "--threads", 1)


def test_a_table_stands_below_with_its_note(copied_run: Path, small_suite: Path) -> None:
    asked = ("--sequence", "tilt", "--sequence", "gaussian_noise", "--sequence-limit", 10, "--store", copied_run.parent)
    done = invoke("corrupt-eval", "--suite", small_suite, copied_run, *SMALL, *asked)
    assert done.code == 0, done.err
    lines = [line.split() for line in done.out.splitlines() if " tilt " in line or " gaussian_noise  " in line]
    assert len(lines) == 6, "the set, its start and its control along each"
    assert all(line[-3:] == ["31", "10", "2"] for line in lines)
    assert done.out.count("mean of 2") == 3 and "never flips" in done.out
    rows = json.loads(
        invoke("corrupt-eval", "--suite", small_suite, copied_run, *SMALL, *asked, "--format", "json").out
    )
    found = rows["rows"][0]["stability"]
    assert [one["name"] for one in found] == ["tilt", "gaussian_noise"] and found[0]["flip_probability"]["n"] == 2
    record = next(csv.DictReader(io.StringIO(invoke("evaluate", copied_run, *SMALL, *asked, "--format", "csv").out)))
    assert float(record["sequence tilt flip_probability_mean"]) == pytest.approx(
        found[0]["flip_probability"]["mean"], abs=1e-4
    )
    kept = {file: file.stat().st_mtime_ns for file in copied_run.parent.rglob("scores-*")}
    assert invoke("evaluate", copied_run, *SMALL, *asked).code == 0
    after = {file: file.stat().st_mtime_ns for file in copied_run.parent.rglob("scores-*")}
    assert kept and after == kept, "what is kept is not made again"


def test_all_are_ten_and_listed(copied_run: Path) -> None:
    asked = ("--sequence", "all", "--sequence-limit", 2, "--store", copied_run.parent)
    rows = json.loads(invoke("evaluate", copied_run, *SMALL, *asked, "--format", "json").out)["rows"]
    listed = json.loads(invoke("list", "sequences", "--format", "json").out)
    assert [one["name"] for one in rows[0]["stability"]] == [line["perturbation"] for line in listed]
    assert [one["frames"] for one in rows[0]["stability"]] == [line["frames"] for line in listed]
    assert len(listed) == 10


def test_refusals(copied_run: Path) -> None:
    for asked, said in (
        (("--sequence", "tlit"), "perturbation 'tlit'"),
        (("--sequence-limit", 5), "no perturbation"),
        (("--sequence", "tilt", "--sequence-limit", 0), "at least 1"),
    ):
        error, hint = invoke("evaluate", copied_run, *SMALL, *asked, "--store", copied_run.parent).problem()
        assert said in error and hint


def test_sequences_are_written_kept_and_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "p"
    asked = (
        "perturb",
        "digits",
        "--out",
        out,
        "--limit",
        20,
        "--sequence",
        "translate",
        "--sequence",
        "gaussian_noise",
    )
    done = invoke(*asked)
    assert done.code == 0, done.err
    assert done.out.strip() == str(out) and "20 of" in done.err
    digits = load_dataset("digits")
    chosen = evenly_spaced(len(digits.test), 20)
    np.testing.assert_array_equal(np.load(out / "labels.npy"), digits.test.labels[chosen])
    first = np.load(out / "gaussian_noise.npy")
    np.testing.assert_array_equal(first, perturb(digits.test.images[chosen], "gaussian_noise", indices=chosen))
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["files"]["translate.npy"]["frames"] == 16 and manifest["seed"] == 0
    before = (out / "gaussian_noise.npy").stat().st_mtime_ns
    (out / "translate.npy").write_bytes(b"cut")  # what a bad disk leaves
    assert invoke(*asked).code == 0
    assert np.load(out / "translate.npy").shape[:2] == (20, 16)
    assert (out / "gaussian_noise.npy").stat().st_mtime_ns == before
    error, _ = invoke(*asked, "--seed", 1).problem()
    assert "not of these pictures" in error
    error, _ = invoke("corrupt", "digits", "--out", out, "--limit", 20).problem()
    assert "something else" in error, "a set of corruptions does not go over sequences"
    for foreign in ('{"files": {}}', '{"format": "another", "files": {}}'):
        (out / "manifest.json").write_text(foreign)
        error, _ = invoke(*asked).problem()
        assert "not of these pictures" in error


def test_a_sheet_has_a_row_a_perturbation(tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    done = invoke("perturb", "digits", "--preview", sheet)
    assert done.code == 0, done.err
    with Image.open(sheet) as drawn:
        assert drawn.width > 8 * 96 and drawn.height > 10 * 96
    for wrong in (
        ("digits",), ("digits", "--preview", tmp_path / "a.txt"), ("digits", "--preview", sheet, "--picture", 5000),
        ("digits", "--out", tmp_path / "q", "--sequence", "tlit"),
    ):  # fmt: skip
        assert all(invoke("perturb", *wrong).problem())
