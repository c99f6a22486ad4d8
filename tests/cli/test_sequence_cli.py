"""`--sequence` of `evaluate` and `corrupt-eval`: the table below the table, and what is refused."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from commands import invoke

SMALL = ("--limit", 20, "--students", 2, "--threads", 1)


def test_a_table_stands_below_with_its_note(copied_run: Path, small_suite: Path) -> None:
    asked = ("--sequence", "tilt", "--sequence", "gaussian_noise", "--sequence-limit", 10, "--store", copied_run.parent)
    done = invoke("corrupt-eval", "--suite", small_suite, copied_run, *SMALL, *asked)
    assert done.code == 0, done.err
    lines = [line.split() for line in done.out.splitlines() if " tilt " in line or " gaussian_noise  " in line]
    assert len(lines) == 6, "the set, its start and its control along each"
    assert all(line[-3:] == ["31", "10", "2"] for line in lines)
    assert done.out.count("mean of 2") == 3 and "flips never" in done.out
    rows = json.loads(
        invoke("corrupt-eval", "--suite", small_suite, copied_run, *SMALL, *asked, "--format", "json").out
    )
    found = rows["rows"][0]["steadiness"]
    assert [one["name"] for one in found] == ["tilt", "gaussian_noise"] and found[0]["flips"]["n"] == 2
    record = next(csv.DictReader(io.StringIO(invoke("evaluate", copied_run, *SMALL, *asked, "--format", "csv").out)))
    assert float(record["sequence tilt flips_mean"]) == pytest.approx(found[0]["flips"]["mean"], abs=1e-4)
    again = invoke("evaluate", copied_run, *SMALL, *asked)
    assert "looking at sequences" not in again.err, "what is kept is not made again"


def test_all_are_ten_and_listed(copied_run: Path) -> None:
    asked = ("--sequence", "all", "--sequence-limit", 2, "--store", copied_run.parent)
    rows = json.loads(invoke("evaluate", copied_run, *SMALL, *asked, "--format", "json").out)["rows"]
    listed = json.loads(invoke("list", "sequences", "--format", "json").out)
    assert [one["name"] for one in rows[0]["steadiness"]] == [line["perturbation"] for line in listed]
    assert [one["frames"] for one in rows[0]["steadiness"]] == [line["frames"] for line in listed]
    assert len(listed) == 10


def test_refusals(copied_run: Path) -> None:
    for asked, said in (
        (("--sequence", "tlit"), "perturbation 'tlit'"),
        (("--sequence-limit", 5), "no perturbation"),
        (("--sequence", "tilt", "--sequence-limit", 0), "at least 1"),
    ):
        error, hint = invoke("evaluate", copied_run, *SMALL, *asked, "--store", copied_run.parent).problem()
        assert said in error and hint
