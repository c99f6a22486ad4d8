"""`evaluate --selection`: the best checkpoint beside the last iterate, never in its place."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import TINY, invoke

import fredbench
from fredbench.datasets import carve_validation, load_dataset
from fredbench.foundation.errors import UsageError

DISTILL = ("distill", "digits", "--ipc", 1, "--objective", "dm", "--iterations", 6, *TINY)
COMMON = ("--threads", 1, "--offline", "--limit", 60)
NETWORK = "convnet-d3-w8-in"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with three checkpoints."""
    store = tmp_path_factory.mktemp("store")
    made = invoke(*DISTILL, "--preset", "quick", "--store", store, "--name", "watched", "--checkpoints", 3)
    assert made.code == 0, made.err
    return made.folder


def rows(run: Path, *more: object) -> list[dict[str, Any]]:
    done = invoke("evaluate", run, "--store", run.parent, *COMMON, "--format", "json", *more)
    assert done.code == 0, done.err
    found: list[dict[str, Any]] = json.loads(done.out)["rows"]
    return found


@pytest.mark.parametrize("by", ["best-on-test", "best-on-validation"])
def test_the_choice_is_among_all_checkpoints_and_beside_the_last(watched: Path, by: str) -> None:
    plain, (own, *others) = rows(watched), rows(watched, "--selection", by)
    choice = own.pop("selected")[NETWORK]
    assert [own, *others] == plain and not any("selected" in row for row in others)
    assert choice["by"] == by and choice["checkpoints"] == 3 and choice["last"] == own["clean"]
    assert [each["iteration"] for each in choice["candidates"]] == [2, 4, 6]
    judged = "clean" if by == "best-on-test" else "validation"
    best = max(choice["candidates"], key=lambda each: each[judged]["mean"])
    assert choice["iteration"] == best["iteration"] and choice["clean"] == best["clean"]
    assert choice["candidates"][-1]["clean"] == own["clean"]
    if by == "best-on-validation":
        held_out = len(carve_validation(load_dataset("digits").train)[1])
        counts = [each["validation"]["mean"] * held_out * 2 / 100 for each in choice["candidates"]]
        assert counts == pytest.approx([round(count) for count in counts], abs=1e-2)
    else:
        assert not any("validation" in each for each in choice["candidates"])


def test_students_of_checkpoints_are_stored_and_never_made_twice(watched: Path) -> None:
    first = rows(watched, "--selection", "best-on-test")
    cells = {file: file.stat().st_mtime_ns for file in watched.parent.glob("*/cells/*")}
    assert len([file for file in cells if file.parent.parent == watched and file.name.startswith("student")]) == 3 * 2
    assert rows(watched, "--selection", "best-on-test") == first
    assert {file: file.stat().st_mtime_ns for file in watched.parent.glob("*/cells/*")} == cells


def test_each_network_chooses_for_itself(watched: Path) -> None:
    asked = ("--network", "mlp", "--network", NETWORK, "--students", 1, "--selection", "best-on-test")
    own = rows(watched, *asked)[0]
    assert list(own["selected"]) == ["mlp", NETWORK]
    assert all(found["last"] == own["networks"][name] for name, found in own["selected"].items())


def test_the_forms_name_it(watched: Path) -> None:
    def told(form: str) -> str:
        done = invoke("evaluate", watched, "--store", watched.parent, *COMMON, "--selection", "best-on-test",
                      "--format", form)  # fmt: skip
        assert done.code == 0, done.err
        return done.out

    for form in ("table", "markdown", "latex"):
        assert f"{NETWORK} last" in told(form) and f"{NETWORK} best-on-test" in told(form)
        assert "best of 3, iteration" in told(form)
    records = list(csv.DictReader(io.StringIO(told("csv"))))
    assert records[0][f"{NETWORK}_best-on-test_checkpoints"] == "3"
    assert records[1][f"{NETWORK}_best-on-test_mean"] == "" and records[1][f"{NETWORK}_mean"] != ""


def test_a_run_without_checkpoints_is_refused_with_the_command_that_makes_them(tiny_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "store" / "tiny")
    before = set(run.parent.rglob("*"))
    error, hint = invoke("evaluate", run, "--store", run.parent, *COMMON, "--selection", "best-on-test").problem()
    assert "tiny kept no checkpoints" in error and "--name tiny --checkpoints 2 --fresh" in hint
    assert set(run.parent.rglob("*")) == before
    words = hint.partition("fredbench ")[2].split()
    made = invoke(*words, "--store", run.parent, "--offline")
    assert made.code == 0, made.err
    assert (run / "synset.safetensors").read_bytes() == (tiny_run / "synset.safetensors").read_bytes()
    assert rows(run, "--selection", "best-on-test")[0]["selected"][NETWORK]["checkpoints"] == 2


def test_without_validation_pictures_nothing_is_chosen_by_them(tmp_path: Path) -> None:
    made = invoke(*DISTILL, "--preset", "paper", "--store", tmp_path, "--checkpoints", 3, "--yes")
    assert made.code == 0, made.err
    before = set(tmp_path.rglob("*"))
    asked = ("evaluate", made.folder, "--store", tmp_path, *COMMON, "--selection", "best-on-validation")
    error, hint = invoke(*asked).problem()
    assert "all training pictures" in error and "--preset fair" in hint
    assert set(tmp_path.rglob("*")) == before


def test_what_has_no_iterates_is_refused(watched: Path) -> None:
    rows(watched)
    control = next(run for run in watched.parent.glob("digits-random-*"))
    asked = ("evaluate", control, "--store", watched.parent, *COMMON, "--selection", "best-on-test")
    assert "none of these runs has any" in invoke(*asked).problem()[0]


def test_a_set_of_another_run_is_no_checkpoint(watched: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(watched, tmp_path / "store" / "watched"))
    other = invoke(*DISTILL, "--preset", "quick", "--seed", 1, "--store", tmp_path / "store")
    shutil.copy(other.folder / "synset.safetensors", run / "checkpoints" / "iteration-3.safetensors")
    asked = ("evaluate", run, "--store", run.parent, *COMMON, "--selection", "best-on-test")
    assert "another run" in invoke(*asked).problem()[0]


def test_the_library_says_the_same(watched: Path) -> None:
    found = fredbench.evaluate(
        [watched], selection="best-on-test", limit=60, store=watched.parent, threads=1, offline=True
    )
    wanted = rows(watched, "--selection", "best-on-test")[0]["selected"][NETWORK]
    assert found[0].selected[NETWORK].to_mapping() == wanted and not found[1].selected
    with pytest.raises(UsageError, match="no suite"):
        fredbench.evaluate([watched], selection="best-on-test", suite="digitsc", store=watched.parent, threads=1)
