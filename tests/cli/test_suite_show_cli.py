"""`fredbench suite show` of a grid: its table from the store alone, and what makes the rest."""

from __future__ import annotations

import csv
import io
import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import files_below, invoke

GRID = """
kind = "grid"
name = "seeds"
title = "seeds"
methods = ["random", "dm"]

[[datasets]]
name = "digits"
scored_on = "{suite}"
ipcs = [1]
preset = "quick"
limit = 40
corrupted_limit = 20
students = 2
network = "convnet-d2-w4-in"
protocols = ["own", "fred-literal"]
[datasets.set]
student.epochs = 2

[[changes]]
method = "random"
why = "two sets of three students"
seeds = [0, 1]
students = 3

[[changes]]
method = "dm"
why = "to be quick"
iterations = 2
set.objective.batch_real = 8
"""


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory, small_suite: Path) -> Path:
    file = tmp_path_factory.mktemp("grids") / "seeds.toml"
    file.write_text(GRID.format(suite=small_suite))
    return file


def show(grid: Path, store: Path, *more: object, form: str = "json") -> str:
    done = invoke("suite", "show", grid, "--store", store, "--threads", 1, "--offline", "--format", form, *more)
    assert done.code == 0, done.err
    return done.out


def rows(grid: Path, store: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(show(grid, store))["rows"]
    return found


@pytest.fixture(scope="module")
def fast() -> Iterator[None]:
    """FreD's literal students train a thousand epochs; here two."""
    from fredbench.evaluation import scoring

    patch = pytest.MonkeyPatch()
    recipe = scoring.TrainingRecipe
    patch.setattr(scoring, "TrainingRecipe", lambda **settings: recipe(epochs=2, **settings))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def made(grid: Path, tmp_path_factory: pytest.TempPathFactory, fast: None) -> tuple[Path, dict[str, Any]]:
    """The store of the whole grid, and what `suite run` said of it."""
    store = tmp_path_factory.mktemp("store") / "runs"
    done = invoke("suite", "run", grid, "--store", store, "--threads", 1, "--offline", "--format", "json")
    assert done.code == 0, done.err
    return store, json.loads(done.out)


def test_an_empty_store_stays_empty_and_every_cell_is_named_with_its_commands(grid: Path, tmp_path: Path) -> None:
    lines = rows(grid, tmp_path / "runs")
    assert [(line["system"], line["protocol"], line["seeds"]) for line in lines] == [
        ("random", "own", [0, 1]), ("random", "fred-literal", [0, 1]), ("dm", "own", [0]), ("dm", "fred-literal", [0]),
    ]  # fmt: skip
    assert all(line["clean"] is line["average"] is line["unit"] is None for line in lines)
    assert not (tmp_path / "runs").exists()
    text = show(grid, tmp_path / "runs", form="table")
    assert text.count("Missing: ") == 3 and "0 of 2" in text and "–" in text


@pytest.fixture
def kept(
    grid: Path, made: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A folder of kept results that holds the lines of the made store, and is the one that fredbench reads."""
    from fredbench.evaluation import kept as module
    from fredbench.execution.request import GridRequest
    from fredbench.foundation.environment import environment
    from fredbench.report.pooled import pooled, scored_as

    file = tmp_path / "kept" / "seeds.json"
    file.parent.mkdir()
    here = environment("cpu", 1)
    grid_run = GridRequest(str(grid), str(made[0]), device="cpu", threads=1, offline=True).open()
    lines = pooled(grid_run.stored(), 10)
    cells = [{**line.to_mapping(), "asked": scored_as(grid_run, line.cells[0]), "environment": here} for line in lines]
    file.write_text(json.dumps({"cells": cells}))
    monkeypatch.setattr(module, "_folder", lambda: file.parent)
    module._all_of.cache_clear()
    yield file.parent
    module._all_of.cache_clear()


@pytest.mark.usefixtures("kept")
def test_what_an_empty_store_lacks_is_shown_as_the_project_kept_it(
    grid: Path, made: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    own, lines = rows(grid, made[0]), rows(grid, tmp_path / "runs")
    same = ("system", "protocol", "clean", "average", "unit", "params", "params_strict", "storage", "increment")
    assert [[line[key] for key in same] for line in lines] == [[line[key] for key in same] for line in own]
    assert all(line["kept"] is None and not line["missing"] for line in own), "a store's own come first"
    assert all(line["kept"]["environment"]["threads"] == 1 and line["missing"] for line in lines)
    assert all(line["runs"] == [] and line["scored_seeds"] == [] for line in lines)
    text = show(grid, tmp_path / "runs", form="table")
    assert "2 sets × 3, kept" in text and "kept: not of this store" in text
    assert ", kept" not in show(grid, made[0], form="table")
    record = next(csv.DictReader(io.StringIO(show(grid, tmp_path / "runs", form="csv"))))
    assert record["kept"] == "True" and record["students"] == "3 3" and record["sets"] == "2"
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("kept")
def test_other_threads_find_what_is_kept_and_other_experiments_do_not(grid: Path, tmp_path: Path) -> None:
    """The kept lines name their threads; a changed setting is another run, and its line stays empty."""
    asked = ("--store", tmp_path / "runs", "--offline", "--format", "json")
    lines = json.loads(invoke("suite", "show", grid, "--threads", 2, *asked).out)["rows"]
    assert [line["kept"]["environment"]["threads"] for line in lines] == [1] * 4
    changed = tmp_path / "changed.toml"
    changed.write_text(grid.read_text().replace("batch_real = 8", "batch_real = 7"))
    lines = json.loads(invoke("suite", "show", changed, "--threads", 1, *asked).out)["rows"]
    assert [line["kept"] is None for line in lines] == [False, False, True, True]
    assert [line["clean"] is None for line in lines] == [False, False, True, True]
    for old, new in (
        ("limit = 40", "limit = 30"),
        ("corrupted_limit = 20", "corrupted_limit = 10"),
        ("students = 2", "students = 4"),
    ):  # fmt: skip
        changed.write_text(grid.read_text().replace(old, new, 1))
        lines = json.loads(invoke("suite", "show", changed, "--threads", 1, *asked).out)["rows"]
        assert [line["kept"] is None for line in lines][2:] == [True, True], new


def test_the_table_is_what_the_run_made(grid: Path, made: tuple[Path, dict[str, Any]]) -> None:
    store, document = made
    before = {name: (store / name).stat().st_mtime_ns for name in files_below(store)}
    lines = rows(grid, store)
    assert {name: (store / name).stat().st_mtime_ns for name in files_below(store)} == before
    ran = {(row["run"], row["protocol"]): row for row in document["rows"]}
    for line in lines:
        own = [ran[run, line["protocol"]] for run in line["runs"]]
        assert not line["missing"] and line["students"] == [row["students"] for row in own]
        assert len(own) == len(line["seeds"]) == len(line["scored_seeds"])
        for what in ("clean", "average"):
            assert line[what]["mean"] == pytest.approx(sum(row[what]["mean"] for row in own) / len(own), abs=1e-3)
        assert line["clean"]["n"] == 2  # two sets, or two students of one
    assert [line["unit"] for line in lines] == ["set", "set", "student", "student"]
    assert [line["students"] for line in lines] == [[3, 3], [3, 3], [2], [2]]
    assert {row["protocol"] for row in document["rows"]} == {"own", "fred-literal"}


def test_corruptions_are_of_fewer_pictures_than_clean(made: tuple[Path, dict[str, Any]]) -> None:
    for row in made[1]["rows"]:
        assert (row["limit"], row["corrupted_limit"]) == (40, 20)
        assert whole(row["clean"]["mean"] * 40 * row["students"] / 100)
        for score in row["corruptions"].values():
            assert all(whole(value * 20 * row["students"] / 100) for value in score["by_severity"])


def whole(count: float) -> bool:
    """Whether this many right answers can be counted, accuracies being rounded to 1e-4 percent."""
    return abs(count - round(count)) < 0.01


def test_the_forms_hold_it(grid: Path, made: tuple[Path, dict[str, Any]]) -> None:
    store = made[0]
    records = list(csv.DictReader(io.StringIO(show(grid, store, form="csv"))))
    assert [record["sets"] for record in records] == ["2", "2", "1", "1"]
    assert records[0]["unit"] == "set" and records[0]["missing"] == ""
    assert {(r["params"], r["params_strict"], r["bytes"]) for r in records} == {("30720", "30720", str(4 * 30720))}
    assert {row["storage"]["bytes"] for row in rows(grid, store)} == {4 * 30720}
    for form in ("table", "markdown", "latex"):
        text = show(grid, store, form=form)
        assert "2 sets × 3" in text and "1 set × 2" in text and "fred-literal" in text
    text = show(grid, store, form="table")
    assert "the unit is the set" in text and "Missing" not in text and "corruptions on 20 of them" in text


def test_what_is_missing_is_made_by_the_commands_that_it_names(
    grid: Path, made: tuple[Path, dict[str, Any]], tmp_path: Path, fast: None
) -> None:
    store = tmp_path / "runs"
    first = rows(grid, store)
    for line in first:
        if line["protocol"] == "own":
            for cell in line["missing"]:
                for command in cell["commands"]:
                    _, *words = shlex.split(command)
                    done = invoke(*words, "--store", store, "--offline")
                    assert done.code == 0, done.err
    wanted = {(line["system"], line["protocol"]): line for line in rows(grid, made[0])}
    for line in rows(grid, store):
        if line["protocol"] == "own":
            assert line == wanted[line["system"], "own"]
        else:
            assert line["clean"] is None and line["missing"]
            assert all(len(cell["commands"]) == 1 for cell in line["missing"])  # the runs are there


def test_clean_alone_stands_where_corruptions_are_not_scored_yet(
    grid: Path, made: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    store = Path(shutil.copytree(made[0], tmp_path / "runs"))
    (run,) = rows(grid, store)[2]["runs"]
    whole = rows(grid, store)[2]
    # Take predictions away one by one until the corruptions are no longer whole.
    for file in sorted((store / run / "cells").glob("scores-*")):
        kept = file.read_bytes()
        file.unlink()
        line = rows(grid, store)[2]
        if line["clean"] is not None and line["average"] is None:
            assert line["clean"] == whole["clean"] and line["missing"]
            break
        file.write_bytes(kept)
    else:
        raise AssertionError("no prediction is a corruption's")
    assert "corruptions are not all scored yet" in show(grid, store, form="table")


def test_a_budget_column_is_refused_where_the_tables_shape_has_none(grid: Path, tmp_path: Path) -> None:
    shaped = tmp_path / "shaped.toml"
    shaped.write_text(grid.read_text().replace('title = "seeds"', 'title = "seeds"\nlayout = "budgets"'))
    asked = ("suite", "show", shaped, "--store", tmp_path, "--threads", 1, "--offline", "--budget-by", "strict")
    error, hint = invoke(*asked).problem()
    assert "column of budgets" in error and "--format csv" in hint
    assert all(row["params"] is None for row in json.loads(invoke(*asked, "--format", "json").out)["rows"])


def test_a_definition_and_what_belongs_to_a_grids_table_only(grid: Path, small_suite: Path) -> None:
    shown = json.loads(invoke("suite", "show", grid, "--definition", "--format", "json").out)
    assert shown["name"] == "seeds" and shown["places"][0]["corrupted_limit"] == 20
    assert shown["places"][0]["set"] == ["student.epochs=2"]
    error, hint = invoke("suite", "show", small_suite, "--ipc", 1).problem()
    assert "--ipc" in error and hint
    assert "--dataset" in invoke("suite", "show", grid, "--definition", "--dataset", "digits").problem()[0]


def test_a_number_of_pictures_asked_for_is_that_of_all_domains(grid: Path, made: tuple[Path, dict[str, Any]]) -> None:
    lines = json.loads(show(grid, made[0], "--limit", 20))["rows"]
    # Clean predictions on 20 pictures are not there, so nothing is.
    assert all(line["clean"] is None for line in lines)
    assert all("--corrupted-limit" not in c for line in lines for m in line["missing"] for c in m["commands"])
