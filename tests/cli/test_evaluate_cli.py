from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from commands import invoke

COMMON = ("--threads", 1, "--offline", "--limit", 60)


def _evaluate(run: Path, *more: object) -> str:
    done = invoke("evaluate", run, "--store", run.parent, *COMMON, *more)
    assert done.code == 0, done.err
    return done.out


def test_a_set_comes_with_its_start_and_its_control(tiny_run: Path) -> None:
    rows = json.loads(_evaluate(tiny_run, "--format", "json"))["rows"]
    assert [(row["method"], row["iterations"], row["control"]) for row in rows] == [
        ("fred", 2, False), ("fred", 0, False), ("random", 0, True),
    ]  # fmt: skip
    for row in rows:
        assert row["networks"] == {"convnet-d3-w8-in": row["clean"]} and "corruptions" not in row
        assert row["students"] == row["clean"]["n"] == 2 and row["limit"] == 60 and row["scale"] == "quick"
        assert 0 <= row["clean"]["mean"] <= 100
    assert (rows[0]["params"], rows[0]["params_strict"], rows[2]["params_strict"]) == (30720, 31040, 30720)


def test_networks_stand_side_by_side_each_once(tiny_run: Path) -> None:
    wanted = ("--network", "mlp", "--network", "convnet-d3-w8-in", "--network", "mlp", "--students", 1)
    rows = json.loads(_evaluate(tiny_run, *wanted, "--format", "json"))["rows"]
    assert list(rows[0]["networks"]) == ["mlp", "convnet-d3-w8-in"]
    assert all(sample["n"] == 1 and sample["std"] is None for sample in rows[0]["networks"].values())


def test_running_it_again_trains_nothing_and_says_the_same(tiny_run: Path) -> None:
    first = _evaluate(tiny_run, "--format", "json")
    cells = {file: file.stat().st_mtime_ns for file in tiny_run.parent.glob("*/cells/*")}
    assert cells and _evaluate(tiny_run, "--format", "json") == first
    assert {file: file.stat().st_mtime_ns for file in tiny_run.parent.glob("*/cells/*")} == cells


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "csv"])
def test_the_formats_hold_all_rows(tiny_run: Path, form: str) -> None:
    out = _evaluate(tiny_run, "--format", form)
    if form == "csv":
        records = list(csv.DictReader(io.StringIO(out)))
        assert [record["control"] for record in records] == ["False", "False", "True"]
    else:
        assert "start" in out and "random control" in out and "31,040" in out


def test_bad_input_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    store = ("--store", tiny_run.parent, "--threads", 1)
    before = {path.name for path in tiny_run.parent.iterdir()}
    assert "unknown network" in invoke("evaluate", tiny_run, "--network", "convnett", *store).problem()[0]
    assert "--students" in invoke("evaluate", tiny_run, "--students", 0, *store).problem()[0]
    assert "--limit" in invoke("evaluate", tiny_run, "--limit", 0, *store).problem()[0]
    assert "no run" in invoke("evaluate", "nothing", *store).problem()[0]
    invoke("evaluate", *store).problem()
    assert {path.name for path in tiny_run.parent.iterdir()} == before


def test_an_unfinished_run_is_refused(copied_run: Path) -> None:
    (copied_run / "result.json").unlink()
    error, hint = invoke("evaluate", copied_run, "--store", copied_run.parent).problem()
    assert "not finished" in error and "distill" in hint
