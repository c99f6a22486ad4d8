"""Checkpoints kept along a run: the run is the same with them, and they are the same however often it was killed."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest
from commands import TINY, Child, invoke, run_in_child, waiting, whole_files

import fredbench

DISTILL = ("distill", "digits", "--ipc", "1", "--objective", "dm", "--preset", "quick", *TINY)
OFTEN = {"FREDBENCH_CHECKPOINT_SECONDS": "0"}
ITERATIONS, COUNT = 40, 8
KEPT = [f"iteration-{iteration}.safetensors" for iteration in (5, 10, 15, 20, 25, 30, 35)]


def command(store: Path, *more: object, iterations: int = ITERATIONS, count: int = COUNT) -> tuple[object, ...]:
    return (*DISTILL, "--iterations", iterations, "--store", store, "--checkpoints", count, *more)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that kept checkpoints and was never interrupted."""
    made = invoke(*command(tmp_path_factory.mktemp("watched") / "runs"))
    assert made.code == 0, made.err
    return made.folder


def kept_in(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (folder / "checkpoints").iterdir()}


def test_the_run_is_the_same_with_and_without(watched: Path, tmp_path: Path) -> None:
    plain = invoke(*command(tmp_path, count=0))
    assert plain.code == 0 and plain.folder.name == watched.name
    for name in ("synset.safetensors", "spec.toml", "progress.jsonl"):
        assert (plain.folder / name).read_bytes() == (watched / name).read_bytes(), name
    assert not (plain.folder / "checkpoints").exists() and sorted(kept_in(watched)) == sorted(KEPT)


def test_a_checkpoint_is_the_set_of_a_run_that_ended_there_in_all_but_its_name(watched: Path, tmp_path: Path) -> None:
    ended = invoke(*command(tmp_path, iterations=15, count=0))
    shorter, kept = (fredbench.load(file) for file in (ended.folder, watched / "checkpoints" / KEPT[2]))
    assert kept.header["tensors_sha256"] == shorter.header["tensors_sha256"]
    assert kept.header["iterations"] == shorter.header["iterations"] == 15
    last = fredbench.load(watched)
    assert kept.header["spec_sha256"] == last.header["spec_sha256"] != shorter.header["spec_sha256"]
    assert kept.header["tensors_sha256"] != last.header["tensors_sha256"]
    assert invoke("verify", watched / "checkpoints" / KEPT[2]).code == 0


def test_killed_at_four_moments_and_run_again(watched: Path, tmp_path: Path) -> None:
    draw = random.Random(5)
    asked = command(tmp_path / "runs")
    folder = tmp_path / "runs" / watched.name
    for goal in KEPT[::2]:
        child = Child(tmp_path / "log", *asked, env=OFTEN)
        for _ in waiting():
            if (folder / "checkpoints" / goal).is_file():
                break
            assert child.alive, child.errors()
        time.sleep(draw.uniform(0, 0.03))
        child.kill()
        assert child.outcome().code == -signal.SIGKILL
        whole_files(folder)
    last = run_in_child(tmp_path / "log", *asked)
    assert last.code == 0, last.err
    assert kept_in(folder) == kept_in(watched)
    assert (folder / "synset.safetensors").read_bytes() == (watched / "synset.safetensors").read_bytes()


def test_a_finished_run_that_lacks_some_says_which_and_how_to_get_them(watched: Path, tmp_path: Path) -> None:
    store = watched.parent
    again = invoke(*command(store))
    assert again.code == 0 and "done already" in again.err
    fewer = invoke(*command(store, count=4))
    assert fewer.code == 0 and "done already" in fewer.err
    before = kept_in(watched)
    error, hint = invoke(*command(store, count=10)).problem()
    assert "finished" in error and "8 of the 10" in error and "4, 8, 12, 16, 24 …" in error and "--fresh" in hint
    assert kept_in(watched) == before
    plain = invoke(*command(tmp_path, iterations=6, count=0))
    assert invoke(*command(tmp_path, iterations=6, count=3)).code == 2
    made = invoke(*command(tmp_path, "--fresh", iterations=6, count=3))
    assert made.code == 0 and made.folder == plain.folder
    assert sorted(kept_in(made.folder)) == ["iteration-2.safetensors", "iteration-4.safetensors"]


def test_a_run_that_went_past_one_does_not_go_on_as_if_it_had_kept_it(tmp_path: Path) -> None:
    child = Child(tmp_path / "log", *command(tmp_path / "runs", count=0), env=OFTEN)
    for _ in waiting():
        if list((tmp_path / "runs").glob("*/checkpoint.safetensors")):
            break
        assert child.alive, child.errors()
    child.kill()
    child.outcome()
    error, hint = invoke(*command(tmp_path / "runs", count=ITERATIONS)).problem()
    assert "kept no checkpoint" in error and "at iteration" in error and "--fresh" in hint
    assert invoke(*command(tmp_path / "runs", count=0)).code == 0


def test_too_many_are_refused_before_the_disk(tmp_path: Path) -> None:
    for iterations, count, say in ((3, 4, "more than the run's 3"), (0, 1, "no iterations")):
        error, hint = invoke(*command(tmp_path / "runs", iterations=iterations, count=count)).problem()
        assert say in error and hint
    assert not (tmp_path / "runs").exists()


def test_the_library_keeps_them_too(watched: Path, tmp_path: Path) -> None:
    made = fredbench.distill(
        "digits", ipc=1, objective="dm", preset="quick", iterations=ITERATIONS, network="convnet-d3-w8-in", threads=1,
        overrides=("objective.batch_real=8", "student.epochs=1", "student.students=2"), store=tmp_path,
        checkpoints=COUNT,
    )  # fmt: skip
    assert kept_in(made.path) == kept_in(watched)
