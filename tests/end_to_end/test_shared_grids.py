"""Grids made by several processes: the bytes of one process, whoever is killed, nothing lost and nothing twice."""

from __future__ import annotations

import random
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from commands import invoke, waiting
from shared_grid import TASKS, Group, contents, made, of_rows, write_grid

SUITE = """
name = "two"
title = "two corruptions of the digits"
dataset = "digits"
profile = "cifar"
corruptions = ["brightness", "contrast"]
severities = [1, 3]
"""


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grid")
    (folder / "two.toml").write_text(SUITE)
    return write_grid(folder, folder / "two.toml")


@pytest.fixture(scope="module")
def alone(grid: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """The store of one undisturbed process, and the rows that it printed."""
    store = tmp_path_factory.mktemp("alone") / "runs"
    run = Group(grid, store, store.parent / "log")
    rows = run.rows()
    assert f"{TASKS} tasks: {TASKS} made here" in run.said()
    return store, rows


def check_equal(store: Path, alone: tuple[Path, list[dict[str, Any]]], rows: list[dict[str, Any]]) -> None:
    wanted, found = contents(alone[0]), contents(store)
    assert found.keys() == wanted.keys()  # no lock, no record, no half-written file among them
    assert [name for name in wanted if found[name] != wanted[name]] == []
    place = str(alone[0])
    assert str(of_rows(rows)).replace(str(store), place) == str(of_rows(alone[1]))


def killed_and_run_again(grid: Path, alone: Any, tmp_path: Path, moments: int, seed: int) -> None:
    store, drawn, before = tmp_path / "runs", random.Random(seed), dict[str, int]()
    total = len(made(alone[0]))
    for moment in sorted(drawn.sample(range(total), moments)):
        run = Group(grid, store, tmp_path / "log", "--workers", 2)
        for _ in waiting(240):
            if len(made(store)) >= max(moment, len(before) + 1):
                break
            assert run.process.poll() is None, run.said()
            time.sleep(0.05)
        time.sleep(drawn.random() * 0.2)
        run.kill()
        now = made(store)
        assert before.items() <= now.items(), "made twice"
        before = now
    run = Group(grid, store, tmp_path / "log", "--workers", 2)
    check_equal(store, alone, run.rows())
    assert before.items() <= made(store).items(), "made twice"
    counts = re.search(r"(\d+) tasks: (\d+) made here(?:, (\d+) found made)?", run.said())
    assert counts is not None and int(counts[2]) + int(counts[3] or 0) == TASKS


def test_killed_at_two_moments_with_two_workers(grid: Path, alone: Any, tmp_path: Path) -> None:
    killed_and_run_again(grid, alone, tmp_path, 2, seed=0)


@pytest.mark.slow
def test_killed_at_ten_moments_with_two_workers(grid: Path, alone: Any, tmp_path: Path) -> None:
    killed_and_run_again(grid, alone, tmp_path, 10, seed=1)


def test_two_commands_share_the_work(grid: Path, alone: Any, tmp_path: Path) -> None:
    """One of them with a worker that is killed: its task is made again, by either."""
    store = tmp_path / "runs"
    runs = [Group(grid, store, tmp_path / f"log{number}") for number in range(2)]
    rows = [run.rows() for run in runs]
    check_equal(store, alone, rows[0])
    assert of_rows(rows[0]) == of_rows(rows[1])
    made_here = [re.search(r"(\d+) made here", run.said()) for run in runs]
    assert sum(int(found[1]) for found in made_here if found) == TASKS, [run.said() for run in runs]


def test_a_killed_worker_is_replaced_and_an_interrupt_ends_all(grid: Path, alone: Any, tmp_path: Path) -> None:
    import json
    import os

    store = tmp_path / "runs"
    run = Group(grid, store, tmp_path / "log", "--workers", 2)
    for _ in waiting(240):
        time.sleep(0.02)
        locks = list((store / "tasks").glob("*.lock"))
        holders = [json.loads(text)["pid"] for lock in locks if (text := _text(lock))]
        if holders:
            os.kill(holders[0], signal.SIGKILL)
            break
        assert run.process.poll() is None, run.said()
    for _ in waiting(60):
        if "it is made again" in run.said():
            break
    status = invoke("suite", "status", grid, "--store", store, "--threads", 1, "--format", "json")
    assert status.code == 0 and {line["state"] for line in json.loads(status.out)} <= {"done", "runs", "to do"}
    os.kill(run.process.pid, signal.SIGINT)
    assert run.process.wait(60) == 130
    run.kill()
    assert not list(store.rglob("*.lock"))
    check_equal(store, alone, Group(grid, store, tmp_path / "log", "--workers", 1).rows())


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
