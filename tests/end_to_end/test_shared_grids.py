"""Grids made by several processes: the bytes of one process, whoever is killed, nothing lost and nothing twice."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import invoke, waiting
from shared_grid import TASKS, Group, check_equal, end_all, made, of_rows


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    yield
    end_all()


def killed_and_run_again(moments: Path, alone: Any, tmp_path: Path, count: int, seed: int) -> None:
    store, drawn, before = tmp_path / "runs", random.Random(seed), dict[str, int]()
    total = len(made(alone[0]))
    for moment in sorted(drawn.sample(range(total), count)):
        run = Group(moments, store, tmp_path / "log", "--workers", 2)
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
    run = Group(moments, store, tmp_path / "log", "--workers", 2)
    check_equal(store, alone, run.rows())
    assert before.items() <= made(store).items(), "made twice"
    counts = re.search(r"(\d+) tasks: (\d+) made here(?:, (\d+) found made)?", run.said())
    assert counts is not None and int(counts[2]) + int(counts[3] or 0) == TASKS


@pytest.mark.slow
def test_killed_at_two_moments_with_two_workers(moments: Path, alone: Any, tmp_path: Path) -> None:
    killed_and_run_again(moments, alone, tmp_path, 2, seed=0)


@pytest.mark.slow
def test_killed_at_ten_moments_with_two_workers(moments: Path, alone: Any, tmp_path: Path) -> None:
    killed_and_run_again(moments, alone, tmp_path, 10, seed=1)


def kill_a_worker(store: Path, run: Group) -> None:
    """One of `run`, in the middle of a task; returns when that was noticed."""
    for _ in waiting(240):
        time.sleep(0.02)
        for lock in (store / "tasks").glob("*.lock"):
            with contextlib.suppress(OSError, ValueError):
                pid = json.loads(lock.read_text())["pid"]
                if f"PPid:\t{run.process.pid}\n" in Path(f"/proc/{pid}/status").read_text():
                    os.kill(pid, signal.SIGKILL)
                    for _ in waiting(60):
                        if "it is made again" in run.said():
                            return
        assert run.process.poll() is None, run.said()


@pytest.mark.slow
def test_two_commands_share_the_work(moments: Path, alone: Any, tmp_path: Path) -> None:
    """One of them with a worker that is killed: its task is made again, by either."""
    store = tmp_path / "runs"
    first = Group(moments, store, tmp_path / "log", "--workers", 2)
    kill_a_worker(store, first)
    runs = [first, Group(moments, store, tmp_path / "log1")]
    rows = [run.rows() for run in runs]
    check_equal(store, alone, rows[0])
    assert of_rows(rows[0]) == of_rows(rows[1])
    made_here = [re.search(r"(\d+) made here", run.said()) for run in runs]
    # Of what the killed worker was at, the file may have been there already.
    total = sum(int(found[1]) for found in made_here if found)
    assert TASKS - 1 <= total <= TASKS, [run.said() for run in runs]


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_an_interrupt_ends_all(moments: Path, alone: Any, tmp_path: Path) -> None:
    store = tmp_path / "runs"
    run = Group(moments, store, tmp_path / "log", "--workers", 2)
    kill_a_worker(store, run)
    status = invoke("suite", "status", moments, "--store", store, "--threads", 1, "--format", "json")
    assert status.code == 0 and {line["state"] for line in json.loads(status.out)} <= {"done", "runs", "to do"}
    os.kill(run.process.pid, signal.SIGINT)
    assert run.process.wait(60) == 130
    run.kill()
    assert not list(store.rglob("*.lock"))
    check_equal(store, alone, Group(moments, store, tmp_path / "log", "--workers", 1).rows())
