"""Grids made by several processes: the bytes of one process, whoever is killed, nothing lost and nothing twice."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import invoke
from shared_grid import TASKS, Group, check_equal, end_all, kill_a_worker, killed_and_run_again, of_rows


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    yield
    end_all()


@pytest.mark.slow
def test_killed_at_two_moments_with_two_workers(moments: Path, alone: Any, tmp_path: Path) -> None:
    killed_and_run_again(moments, alone, tmp_path, 2, 0, "--workers", 2)


@pytest.mark.slow
def test_killed_at_ten_moments_with_two_workers(moments: Path, alone: Any, tmp_path: Path) -> None:
    killed_and_run_again(moments, alone, tmp_path, 10, 1, "--workers", 2)


@pytest.mark.slow
def test_two_commands_share_the_work(moments: Path, alone: Any, tmp_path: Path) -> None:
    """One of them with a worker that is killed: its task is made again, by either."""
    store = tmp_path / "runs"
    first = Group(moments, store, tmp_path / "log", "--workers", 2)
    kill_a_worker(store, first, first.process.pid)
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
    kill_a_worker(store, run, run.process.pid)
    os.kill(run.process.pid, signal.SIGINT)
    assert run.process.wait(60) == 130
    run.kill()
    assert not list(store.rglob("*.lock"))
    status = invoke("suite", "status", moments, "--store", store, "--threads", 1, "--format", "json")
    states = {line["state"] for line in json.loads(status.out)}
    assert status.code == 0 and states <= {"done", "begun", "waits", "to do"}, "nothing runs any more"
    check_equal(store, alone, Group(moments, store, tmp_path / "log", "--workers", 1).rows())
