"""`fredbench suite plan` and `run`: a grid is made and scored cell by cell, and goes on where it was."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from commands import Child, Outcome, invoke, waiting

from fredbench.runs.spec import Spec

GRID = """
kind = "grid"
name = "few"
title = "few"
methods = ["random", "dm", "cafe", "no-such"]

[[datasets]]
name = "digits"
scored_on = "{suite}"
ipcs = [1]
preset = "quick"
limit = 30
students = 2
network = "convnet-d2-w4-in"
set = ["student.epochs=2"]

[[changes]]
method = "dm"
why = "to be quick"
iterations = 3
set = ["objective.batch_real=8"]

[[changes]]
method = "cafe"
why = "to diverge"
iterations = 2
set = ["objective.batch_real=4", "objective.batch_probe=4", "parameterization.lr=1e30"]
"""


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory, small_suite: Path) -> Path:
    """A grid of a control, a run, one that diverges and one that there is not."""
    file = tmp_path_factory.mktemp("grids") / "few.toml"
    file.write_text(GRID.format(suite=small_suite))
    return file


def run(grid: Path, store: Path, *more: object, form: str = "json") -> Outcome:
    return invoke("suite", "run", grid, "--store", store, "--threads", 1, "--format", form, *more)


@pytest.fixture(scope="module")
def made(grid: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    """What a first run said, and the folder with its store and results file."""
    folder = tmp_path_factory.mktemp("made")
    return run(grid, folder / "runs", "--out", folder / "few.json"), folder


def document(made: tuple[Outcome, Path]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(made[0].out)
    return found


def test_failed_cells_are_told_the_others_go_on_and_the_end_is_an_error(made: tuple[Outcome, Path]) -> None:
    outcome = made[0]
    assert outcome.code == 2 and "2 of 4 cells failed: cafe, ipc 1; no-such, ipc 1" in outcome.err
    lines = [line for line in outcome.err.splitlines() if line.startswith("[")]
    assert [line.partition(":")[0] for line in lines] == [
        "[1/4] random, ipc 1", "[2/4] dm, ipc 1", "[3/4] cafe, ipc 1", "[4/4] no-such, ipc 1",
    ]  # fmt: skip
    assert "distilled in" in lines[1] and "clean" in lines[1] and "diverged" in lines[2]
    failed = document(made)["failed"]
    assert [each["cell"] for each in failed] == ["cafe, ipc 1", "no-such, ipc 1"]
    assert "diverged" in failed[0]["error"] and "no-such" in failed[1]["error"] and all(f["hint"] for f in failed)


def test_the_document_has_rows_and_what_they_were_made_by(made: tuple[Outcome, Path]) -> None:
    found = document(made)
    assert (found["suite"], found["dataset"], found["severities"]) == ("few", "digits", [1, 5])
    control, own, start = found["rows"]
    assert control["control"] and own["method"] == "dm" and start["start"] and start["iterations"] == 0
    assert own["beside"] == {"start": start["run"], "control": control["run"]}
    for row in found["rows"]:
        assert row["limit"] == 30 and row["clean"]["n"] == 2 and set(row["corruptions"]) == {"brightness", "contrast"}
        assert row["params"] == 30_720 and row["seconds"]["distillation"] >= 0 and row["seconds"]["evaluation"] > 0
        spec = Spec.from_toml(tomli_w.dumps(row["spec"]), where="the document")
        assert spec.folder_name() == row["run"] and f"--network {spec.network}" in row["command"]
    assert {"versions", "cores", "threads", "commit"} <= found["environment"].keys()
    (made_in,) = found["made_in"]
    assert made_in["commit"] == found["environment"]["commit"] and "platform" not in made_in
    assert made_in["runs"] == [row["run"] for row in found["rows"]]
    assert found["asked"]["ipcs"] == [1] and found["asked"]["changes"][0]["why"] == "to be quick"
    assert json.loads((made[1] / "few.json").read_text()) == found


def test_the_document_names_no_place_and_no_machine(made: tuple[Outcome, Path]) -> None:
    import platform

    text = (made[1] / "few.json").read_text()
    assert str(made[1]) not in text and platform.node() not in text and platform.release() not in text


def test_asked_again_nothing_is_made_twice(grid: Path, made: tuple[Outcome, Path]) -> None:
    store = made[1] / "runs"
    before = {file: file.stat().st_mtime_ns for file in store.rglob("*.safetensors")}
    again = run(grid, store)
    assert json.loads(again.out) == document(made)  # the seconds too: they are those of the first time
    assert {file: file.stat().st_mtime_ns for file in store.rglob("*.safetensors")} == before
    assert "(2 done, 1 to do, 1 refused)" in again.err


def test_the_plan_says_what_is_there(grid: Path, made: tuple[Outcome, Path], tmp_path: Path) -> None:
    def plan(store: Path) -> list[dict[str, Any]]:
        found = invoke("suite", "plan", grid, "--store", store, "--threads", 1, "--format", "json")
        assert found.code == 0, found.err
        lines: list[dict[str, Any]] = json.loads(found.out)
        return lines

    assert [line["distilled"] for line in plan(tmp_path / "none")] == ["to do", "to do", "to do", "refused"]
    assert not (tmp_path / "none").exists()
    first, refused = plan(tmp_path / "none")[0], plan(tmp_path / "none")[3]
    assert first["seconds"] > 0 and first["disk_bytes"] > 0 and refused["seconds"] == refused["disk_bytes"] == 0
    lines = plan(made[1] / "runs")
    assert [line["distilled"] for line in lines] == ["done", "done", "to do", "refused"]
    assert lines[0]["left"] == "nothing" and lines[0]["seconds"] == 0
    assert [(line["students"], line["scores"]) for line in lines[:2]] == [("2/2", "6/6")] * 2
    assert "no-such" in lines[3]["run"] and lines[1]["run"] == document(made)["rows"][1]["run"]
    next((made[1] / "runs" / lines[1]["run"] / "cells").glob("scores-*")).unlink()
    assert plan(made[1] / "runs")[1]["scores"] == "5/6"
    assert run(grid, made[1] / "runs").code == 2 and plan(made[1] / "runs")[1]["scores"] == "6/6"


def test_the_status_is_read_from_the_store(grid: Path, made: tuple[Outcome, Path], tmp_path: Path) -> None:
    from fredbench.foundation.locks import tried

    def status(store: Path, form: str = "json") -> str:
        found = invoke("suite", "status", grid, "--store", store, "--threads", 1, "--format", form)
        assert found.code == 0, found.err
        return found.out

    nothing = json.loads(status(tmp_path / "none"))
    assert {line["state"] for line in nothing} == {"to do", "waits"} and not (tmp_path / "none").exists()
    lines = json.loads(status(made[1] / "runs"))
    assert {(line["kind"], line["state"]) for line in lines if "cafe" not in line["task"]} == {
        ("run", "done"), ("student", "done"), ("scores", "done"),
    }  # fmt: skip
    (failed,) = [line for line in lines if line["state"] == "failed"]
    assert "cafe" in failed["task"] and "diverged" in failed["error"] and failed["host"] and failed["pid"]
    with tried(made[1] / "runs" / "tasks" / f"{failed['name']}.lock", "making it"):
        text = status(made[1] / "runs", "table")
        assert "runs" in text and str(os.getpid()) in text and "1 runs" in text


def test_forms(grid: Path, made: tuple[Outcome, Path]) -> None:
    store = made[1] / "runs"
    rows = list(csv.DictReader(io.StringIO(run(grid, store, form="csv").out)))
    assert [row["method"] for row in rows] == ["random", "dm", "dm"] and float(rows[1]["distillation_seconds"]) > 0
    text = run(grid, store, form="markdown").out
    assert text.count("failed") == 2 and "Failed: cafe, ipc 1: the run diverged" in text
    assert "30 test pictures" in text and "beyond" not in run(grid, store, form="latex").out


def test_killed_and_asked_again_it_ends_in_the_same_rows(
    grid: Path, made: tuple[Outcome, Path], tmp_path: Path
) -> None:
    command = ("suite", "run", grid, "--store", tmp_path / "runs", "--threads", 1, "--format", "json")
    child = Child(tmp_path / "log", *command)
    for _ in waiting():
        if len(list((tmp_path / "runs").glob("*/cells/student-*"))) >= 3:
            break
        assert child.alive, child.errors()
    child.kill()
    assert child.outcome().code == -signal.SIGKILL
    again, wanted = json.loads(run(grid, tmp_path / "runs").out), document(made)
    # Of a task that was cut off nobody knows how long it took; a kill may also fall between two, and then all is known.
    unknown = [row.pop("seconds")["evaluation"] is None for row in again["rows"]]
    assert sum(unknown) <= 1
    assert again["rows"] == [{k: v for k, v in row.items() if k != "seconds"} for row in wanted["rows"]]


def test_more_or_fewer_test_pictures_are_scored_than_the_suite_says(grid: Path, made: tuple[Outcome, Path]) -> None:
    found = json.loads(run(grid, made[1] / "runs", "--limit", 20).out)
    assert [row["limit"] for row in found["rows"]] == [20] * 3 and found["asked"]["limit"] == 20
    assert [row["run"] for row in found["rows"]] == [row["run"] for row in document(made)["rows"]]
    assert all(row["clean"]["mean"] * 20 % 50 == pytest.approx(0, abs=1e-6) for row in found["rows"])


def test_what_a_grid_does_not_have_is_refused(grid: Path, tmp_path: Path) -> None:
    for more, say in (
        (("--dataset", "cifar10"), "cifar10"),
        (("--ipc", "2"), "no IPC 2"),
        (("--limit", "0"), "--limit"),
        (("--executor", "mpi"), "--executor"),
        (("--executor", "inline", "--workers", "2"), "no workers"),
        (("--partition", "short"), "--partition is of --executor slurm"),
    ):
        error, hint = run(grid, tmp_path / "runs", *more).problem()
        assert say in error and hint
    assert "corrupt-eval" in invoke("suite", "run", "digitsc").problem()[1]


def test_a_cell_of_many_hours_is_refused_unless_yes(
    grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fredbench.runs import estimation

    monkeypatch.setattr(estimation, "LONG_SECONDS", 0)
    monkeypatch.setattr(estimation, "_FEW_ITERATIONS", 1)
    file = tmp_path / "long.toml"
    asked = grid.read_text().replace('"random", "dm", "cafe", "no-such"', '"dm"')
    file.write_text(asked.partition('[[changes]]\nmethod = "cafe"')[0])
    refused = run(file, tmp_path / "runs")
    assert refused.code == 2 and "--preset quick" in json.loads(refused.out)["failed"][0]["hint"]
    assert run(file, tmp_path / "runs", "--yes").code == 0
