"""Killed at any moment and run again, a distillation ends in the same bytes as one that was left in peace."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

import pytest
import safetensors.torch
from commands import TINY, Child, invoke, run_in_child, waiting, whole_files

DISTILL = ("distill", "digits", "--ipc", "1", "--objective", "dm", "--preset", "quick", *TINY)
OFTEN = {"FREDBENCH_CHECKPOINT_SECONDS": "0"}
ITERATIONS = 60
# Dies by its own hand, with the signal that leaves no time for anything, around the N-th rename of a file.
TRAP = """
import os, signal
count, replace = 0, os.replace
def die_around(source, target):
    global count
    count += 1
    if count == {number} and not {after}:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
    if count == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = die_around
"""


def iteration_of(checkpoint: Path) -> int:
    """How far the checkpoint is; a file under its final name can always be read."""
    return int(safetensors.torch.load(checkpoint.read_bytes())["iteration"]) if checkpoint.is_file() else 0


@pytest.fixture(scope="module")
def untroubled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same run, never interrupted."""
    store = tmp_path_factory.mktemp("untroubled")
    made = run_in_child(store / "log", *DISTILL, "--iterations", ITERATIONS, "--store", store / "runs")
    assert made.code == 0, made.err
    return made.folder


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of four iterations, never interrupted."""
    made = invoke(*DISTILL, "--iterations", 4, "--store", tmp_path_factory.mktemp("short"))
    assert made.code == 0, made.err
    return made.folder


def same(folder: Path, wanted: Path) -> None:
    """The artefact, the log and the spec are equal byte for byte; nothing of the interruptions is left."""
    for name in ("synset.safetensors", "progress.jsonl", "spec.toml"):
        assert (folder / name).read_bytes() == (wanted / name).read_bytes(), name
    assert sorted(file.name for file in folder.iterdir()) == sorted(file.name for file in wanted.iterdir())
    whole_files(folder)


def test_killed_at_five_moments_and_run_again(untroubled: Path, tmp_path: Path) -> None:
    draw, killed_at = random.Random(3), []
    command = (*DISTILL, "--iterations", ITERATIONS, "--store", tmp_path / "runs")
    folder = tmp_path / "runs" / untroubled.name
    checkpoint = folder / "checkpoint.safetensors"
    for goal in (1, 8, 17, 30, 45):
        child = Child(tmp_path / "log", *command, env=OFTEN)
        for _ in waiting():
            if iteration_of(checkpoint) >= goal:
                break
            assert child.alive, child.errors()
        time.sleep(draw.uniform(0, 0.05))
        child.kill()
        assert child.outcome().code == -signal.SIGKILL
        killed_at.append(iteration_of(checkpoint))
        whole_files(folder)
    assert killed_at == sorted(killed_at) and len(set(killed_at)) == 5 and killed_at[-1] < ITERATIONS
    last = run_in_child(tmp_path / "log", *command)
    assert last.code == 0, last.err
    assert last.folder == folder
    same(folder, untroubled)
    assert json.loads((folder / "result.json").read_text())["iterations"] == ITERATIONS


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_killed_around_any_write(tmp_path: Path, short: Path, number: int, after: bool) -> None:
    """Spec, environment, log, three checkpoints, state, artefact, result: killed at each rename, the rest is whole."""
    command = (*DISTILL, "--iterations", 4, "--store", tmp_path / "runs")
    trap = TRAP.format(number=number, after=after)
    killed = run_in_child(tmp_path / "log", *command, env=OFTEN, prelude=trap)
    assert killed.code == -signal.SIGKILL, f"{killed.code}: {killed.err}"
    (folder,) = (tmp_path / "runs").iterdir()
    whole_files(folder)
    again = invoke(*command)
    assert again.code == 0, again.err
    assert ("done already" in again.err) == (number == 9 and after)
    same_as_short(folder, short)


@pytest.mark.parametrize("stored", ["ddif", "gsdd"])
def test_what_is_fitted_before_the_first_iteration_is_taken_up_to_the_byte(tmp_path: Path, stored: str) -> None:
    """Killed after its second checkpoint: fields and Gaussians go on where they were, whatever they were fitted to."""
    parts = ("--parameterization", stored, "--set", "parameterization.fit_steps=5", "--iterations", 4)
    straight = invoke(*DISTILL, *parts, "--store", tmp_path / "straight")
    assert straight.code == 0, straight.err
    command = (*DISTILL, *parts, "--store", tmp_path / "runs")
    killed = run_in_child(tmp_path / "log", *command, env=OFTEN, prelude=TRAP.format(number=5, after=True))
    assert killed.code == -signal.SIGKILL, f"{killed.code}: {killed.err}"
    (checkpoint,) = (tmp_path / "runs").glob("*/checkpoint.safetensors")
    assert 0 < iteration_of(checkpoint) < 4
    again = invoke(*command)
    assert again.code == 0, again.err
    assert "a start that was fitted before" in again.err and "a start" not in straight.err
    same_as_short(again.folder, straight.folder)


def same_as_short(folder: Path, short: Path) -> None:
    same_bytes = [(f / "synset.safetensors").read_bytes() for f in (folder, short)]
    assert same_bytes[0] == same_bytes[1]
    leftovers = {file.name for file in folder.iterdir()} - {file.name for file in short.iterdir()}
    # A run killed after its result was written was done; only its last checkpoint may lie about, and the lock that it
    # held, of which others know that nobody holds it.
    assert leftovers <= {"checkpoint.safetensors", ".lock"}, leftovers


def test_the_ninth_write_is_the_last(tmp_path: Path) -> None:
    """So that the traps above cover them all."""
    trap = TRAP.format(number=10, after=False)
    command = (*DISTILL, "--iterations", 4, "--store", tmp_path / "runs")
    assert run_in_child(tmp_path / "log", *command, env=OFTEN, prelude=trap).code == 0


@pytest.mark.parametrize("objective", ["dm", "dc", "idc"])
def test_a_finished_run_is_the_beginning_of_a_longer_one(tmp_path: Path, objective: str) -> None:
    def made(store: Path, iterations: int, *more: str) -> tuple[Path, str]:
        # IDC's canvases are brought into [0, 1] when its network is renewed, which is not where the short run ends.
        parts = ("--objective", objective, *(("--parameterization", "idc") if objective == "idc" else ()))
        parts += ("--set", "parameterization.lr=0.5") if objective == "idc" else ()
        done = invoke(*DISTILL, *parts, "--iterations", iterations, "--store", store, *more)
        assert done.code == 0, done.err
        return done.folder, done.err

    straight, _ = made(tmp_path / "straight", 13)
    short, _ = made(tmp_path / "continued", 7)
    before = {file: file.read_bytes() for file in short.iterdir() if file.is_file()}
    longer, said = made(tmp_path / "continued", 13)
    assert f"going on from {short.name}" in said and "iteration 7" in said
    same(longer, straight)
    assert (longer / "state.safetensors").read_bytes()[:8] == (straight / "state.safetensors").read_bytes()[:8]
    assert {file: file.read_bytes() for file in short.iterdir() if file.is_file()} == before
    # Other settings are another run, and --fresh means what it says.
    other, said = made(tmp_path / "continued", 13, "--seed", "1")
    assert "going on" not in said and other != longer
    again, said = made(tmp_path / "continued", 13, "--fresh")
    assert "going on" not in said
    same(again, straight)


def test_a_run_whose_rate_follows_its_length_is_not_continued(tmp_path: Path) -> None:
    settings = ("--set", "parameterization.final=0.1", "--parameterization", "pixels")
    for iterations in (3, 6):
        done = invoke(*DISTILL, *settings, "--iterations", iterations, "--store", tmp_path)
        assert done.code == 0 and "going on" not in done.err, done.err


def test_interrupted_by_the_user_exits_130_and_goes_on(untroubled: Path, tmp_path: Path) -> None:
    command = (*DISTILL, "--iterations", ITERATIONS, "--store", tmp_path / "runs")
    folder = tmp_path / "runs" / untroubled.name
    child = Child(tmp_path / "log", *command, env=OFTEN)
    for _ in waiting():
        if iteration_of(folder / "checkpoint.safetensors") >= 5:
            break
        assert child.alive, child.errors()
    child.kill(signal.SIGINT)
    stopped = child.outcome()
    assert stopped.code == 130 and stopped.out == ""
    assert stopped.err.splitlines()[-1].startswith("interrupted; run the same command again")
    assert "Traceback" not in stopped.err
    assert not list(folder.glob(".*.part")) and not (folder / "synset.safetensors").exists()
    assert invoke(*command).code == 0
    same(folder, untroubled)


def test_a_damaged_checkpoint_is_refused_with_the_way_out(tmp_path: Path, short: Path) -> None:
    command = (*DISTILL, "--iterations", 4, "--store", tmp_path / "runs")
    trap = TRAP.format(number=5, after=True)
    run_in_child(tmp_path / "log", *command, env=OFTEN, prelude=trap)
    (checkpoint,) = (tmp_path / "runs").glob("*/checkpoint.safetensors")
    whole = checkpoint.read_bytes()
    foreign = safetensors.torch.load(whole)
    foreign["learned/coefficients"] = foreign["learned/coefficients"][:3]
    lacking = {name: tensor for name, tensor in safetensors.torch.load(whole).items() if "learned" not in name}
    damaged = [whole[:9], whole[: len(whole) // 2], b"", *map(safetensors.torch.save, (foreign, lacking))]
    for data in damaged:
        checkpoint.write_bytes(data)
        error, hint = invoke(*command).problem()
        assert str(checkpoint) in error and "--fresh" in hint
    started_over = invoke(*command, "--fresh")
    assert started_over.code == 0, started_over.err
    same_as_short(started_over.folder, short)


def test_two_processes_do_not_write_one_run(tmp_path: Path) -> None:
    command = (*DISTILL, "--iterations", 49, "--store", tmp_path / "runs")
    first = Child(tmp_path / "log", *command, env=OFTEN)
    for _ in waiting():
        if list((tmp_path / "runs").glob("*/checkpoint.safetensors")):
            break
        assert first.alive, first.errors()
    first.kill(signal.SIGSTOP)
    error, hint = invoke(*command, env={"FREDBENCH_LOCK_SECONDS": "0.5"}).problem()
    first.kill(signal.SIGCONT)
    assert "another process" in error and "--name" in hint
    assert first.outcome().code == 0


@pytest.mark.parametrize("text", ["soon", "-1", "nan"])
def test_a_checkpoint_interval_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    command = (*DISTILL, "--iterations", 1, "--store", tmp_path / "runs")
    error, _ = invoke(*command, env={"FREDBENCH_CHECKPOINT_SECONDS": text}).problem()
    assert "FREDBENCH_CHECKPOINT_SECONDS" in error and text in error
    assert not (tmp_path / "runs").exists()
