"""`--attack` of `evaluate` and `corrupt-eval`: the tables below the table, their notes, and what is refused."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from commands import invoke

SMALL = ("--limit", 20, "--students", 2, "--threads", 1)


def test_a_table_a_norm_stands_below_with_its_notes(copied_run: Path) -> None:
    asked = ("--attack", "fgsm", "--attack", "pgd20-l2", "--attack-limit", 10, "--store", copied_run.parent)
    done = invoke("evaluate", copied_run, *SMALL, *asked)
    assert done.code == 0, done.err
    assert "8/255" in done.out and "0.0625" in done.out and "before they are normalised" in done.out
    assert "Signs of masked gradients" in done.out
    lines = [line.split() for line in done.out.splitlines() if " fgsm " in line or " pgd20-l2 " in line]
    assert len(lines) == 6, "the set, its start and its control under each"
    assert all(line[-2:] == ["10", "2"] for line in lines)
    rows = json.loads(invoke("evaluate", copied_run, *SMALL, *asked, "--format", "json").out)["rows"]
    scores = rows[0]["attacked"]["scores"]
    assert [(one["attack"], one["norm"]) for one in scores] == [("fgsm", "linf")] * 4 + [("pgd20-l2", "l2")] * 4
    assert rows[0]["attacked"]["pictures"] == 10 and scores[0]["accuracy"]["n"] == 2
    record = next(csv.DictReader(io.StringIO(invoke("evaluate", copied_run, *SMALL, *asked, "--format", "csv").out)))
    assert float(record["fgsm linf 8/255_mean"]) == scores[3]["accuracy"]["mean"]
    assert "\\begin{tabular}" in invoke("evaluate", copied_run, *SMALL, *asked, "--format", "latex").out


def test_beside_corruptions(copied_run: Path, small_suite: Path) -> None:
    asked = ("--attack", "pgd20", "--epsilon", "2/255", "--store", copied_run.parent)
    done = invoke("corrupt-eval", "--suite", small_suite, copied_run, *SMALL, *asked, "--format", "json")
    assert done.code == 0, done.err
    row = json.loads(done.out)["rows"][0]
    assert row["corruptions"] and [one["epsilon"] for one in row["attacked"]["scores"]] == [round(2 / 255, 8)]


def test_refusals(copied_run: Path) -> None:
    for asked, said in (
        (("--attack", "pgd"), "attack 'pgd'"),
        (("--attack", "pgd20", "--epsilon", "8"), "at most 1"),
        (("--attack", "pgd20", "--epsilon", "-8"), "no radius"),
        (("--epsilon", "8/255"), "no attack"),
        (("--attack", "pgd20", "--attack-limit", 0), "at least 1"),
    ):
        error, hint = invoke("evaluate", copied_run, *SMALL, *asked, "--store", copied_run.parent).problem()
        assert said in error and hint


def test_attacks_are_listed() -> None:
    lines = json.loads(invoke("list", "attacks", "--format", "json").out)
    assert {"fgsm", "pgd20", "apgd-dlr"} <= {line["attack"] for line in lines} and lines[0]["radii"].endswith("8/255")
