"""A whitened run from the command line: killed and taken up again, looked at, refused."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from commands import TINY, Child, invoke, refused, run_in_child, waiting, whole_files

OFTEN = {"FREDBENCH_CHECKPOINT_SECONDS": "0"}
DISTILL = ("distill", "digits", "--ipc", 1, "--method", "dm", "--preset", "quick", *TINY, "--iterations", 20)
WHITENED = (*DISTILL, "--set", "data.whitening=mtt")


@pytest.fixture(scope="module")
def untroubled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = invoke(*WHITENED, "--store", tmp_path_factory.mktemp("runs"))
    assert made.code == 0, made.err
    return made.folder


def test_killed_and_run_again_it_has_the_same_bytes(untroubled: Path, tmp_path: Path) -> None:
    store = tmp_path / "runs"
    folder = store / untroubled.name
    child = Child(tmp_path / "log", *WHITENED, "--store", store, env=OFTEN)
    for _ in waiting(120):
        if (folder / "checkpoint.safetensors").is_file():
            break
        assert child.alive, child.errors()
    child.kill()
    assert child.outcome().code == -signal.SIGKILL and not (folder / "synset.safetensors").exists()
    whole_files(store)
    again = run_in_child(tmp_path / "log", *WHITENED, "--store", store)
    assert again.code == 0, again.err
    for name in ("synset.safetensors", "spec.toml", "progress.jsonl"):
        assert (folder / name).read_bytes() == (untroubled / name).read_bytes()
    (fit,), (other,) = (sorted((place.parent / "whitening").iterdir()) for place in (folder, untroubled))
    assert fit.name == other.name and fit.read_bytes() == other.read_bytes()


def test_it_is_shown_with_the_whitening_undone(untroubled: Path, tmp_path: Path) -> None:
    drawn = invoke("show", untroubled, "--pictures", tmp_path / "sheet.png")
    assert drawn.code == 0, drawn.err
    assert "ZCA-whitened (recipe mtt" in drawn.out and "whitening is undone" in drawn.err
    assert (tmp_path / "sheet.png").read_bytes()[:4] == b"\x89PNG"
    alone = tmp_path / "synset.safetensors"
    alone.write_bytes((untroubled / "synset.safetensors").read_bytes())
    elsewhere = ("--store", tmp_path / "none")
    error, hint = invoke("show", alone, "--pictures", tmp_path / "b.png", *elsewhere).problem()
    assert "ZCA-whitened" in error and "--data" in hint and not (tmp_path / "b.png").exists()
    assert invoke("export", alone, "--to", "npz", "--out", tmp_path / "x.npz", *elsewhere).code == 0
    assert invoke("verify", untroubled).code == 0


def test_refusals_are_two_lines(tmp_path: Path) -> None:
    refused(tmp_path, *DISTILL, "--set", "data.whitening=zca", say="data.whitening = 'zca'", hint="'mtt' or 'frepo'")
    refused(tmp_path, *DISTILL, "--set", "data.colour=1", say="unknown setting 'colour'", hint="whitening, statistics")


def test_the_literal_protocol_is_refused(untroubled: Path) -> None:
    asked = ("corrupt-eval", "--suite", "digitsc", untroubled, "--protocol", "fred-literal", "--limit", 5)
    error, hint = invoke(*asked, "--store", untroubled.parent, "--threads", 1).problem()
    assert "ZCA-whitened" in error and "--protocol own" in hint


def test_the_recipe_says_whence_the_whitening_is() -> None:
    data = os.environ.get("FREDBENCH_DATA")
    if not data or not (Path(data) / "cifar10").is_dir():
        pytest.skip("CIFAR-10 is not here: set FREDBENCH_DATA")
    asked = ("recipe", "cifar10", "--ipc", 1, "--method", "tm", "--preset", "paper", "--format", "json")
    told = invoke(*asked, "--data", data, "--offline")
    assert told.code == 0, told.err
    (line,) = [row for row in json.loads(told.out) if row["setting"] == "whitening"]
    assert (line["section"], line["value"], line["origin"]) == ("data", "mtt", "script") and "ZCA" in line["why"]


def test_a_report_says_that_its_pictures_are_not_what_students_see(untroubled: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    scoring = ("--limit", 2, "--severity", 1, "--students", 1, "--threads", 1)
    made = invoke("report", untroubled, "--out", page, "--store", untroubled.parent, *scoring)
    assert made.code == 0, made.err
    text = page.read_text()
    # The set, its start and its control, each with pictures.
    assert text.count("distilled ZCA-whitened, the whitening is undone") == 3
    assert "--set data.whitening=mtt" in text
