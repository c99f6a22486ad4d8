"""A grid of moments with every kind of task, and what a store must hold when it is done, whoever did it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import tomli_w
from commands import ROOT, environment, waiting

GRID = {
    "kind": "grid",
    "name": "moments",
    "title": "Moments",
    "methods": ["random", "fred"],
    "datasets": [
        {
            "name": "digits",
            "ipcs": [1],
            "preset": "quick",
            "limit": 10,
            "severities": [3],
            "students": 2,
            "iterations": 2,
            "network": "convnet-d2-w4-in",
            "set": {"student": {"epochs": 1}},
        }
    ],
    "changes": [
        {"method": "random", "why": "it has none", "iterations": 0},
        {
            "method": "fred",
            "why": "two experts of two epochs",
            "set": {"objective": {"experts": 2, "steps": 2, "expert_epochs": 1, "start_epochs": 1}},
        },
    ],
}
# Experts 2, runs 3 (random, which is the control; fred and its start), students 6, scores 3.
TASKS = 2 + 3 + 6 + 3
PATIENCE = 600.0
"""Seconds, for machines that do other things beside."""


def write_grid(folder: Path, suite: Path, **more: Any) -> Path:
    """The grid as a file, scored on the corruption suite `suite`."""
    (place,) = GRID["datasets"]  # type: ignore[misc]
    file = folder / "moments.toml"
    file.write_text(tomli_w.dumps({**GRID, **more, "datasets": [{**place, "scored_on": str(suite)}]}))  # type: ignore[dict-item]
    return file


def command(grid: Path, store: Path, *more: object) -> list[str]:
    asked = [
        "suite",
        "run",
        str(grid),
        "--store",
        str(store),
        "--threads",
        "1",
        "--format",
        "json",
        "--offline",
        "--yes",
    ]
    return [sys.executable, "-m", "fredbench", *asked, "--offline", "--yes", *map(str, more)]


STARTED: list[Group] = []


def end_all() -> None:
    """Leave nothing running, however a test ended."""
    while STARTED:
        group = STARTED.pop()
        try:
            os.killpg(group.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


class Group:
    """`suite run` as the leader of a process group, which can be killed as a whole."""

    def __init__(self, grid: Path, store: Path, log: Path, *more: object) -> None:
        self._log = log
        with open(log, "w") as file:
            self.process = subprocess.Popen(
                command(grid, store, *more), stdout=subprocess.PIPE, stderr=file, text=True, cwd=ROOT,
                env=environment({"FREDBENCH_CHECKPOINT_SECONDS": "0"}), start_new_session=True,
            )  # fmt: skip

        STARTED.append(self)

    def said(self) -> str:
        return self._log.read_text()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):  # it may have ended with all that it started
            os.killpg(self.process.pid, number)
        self.process.communicate(timeout=60)
        for _ in waiting():
            try:
                os.killpg(self.process.pid, 0)
            except ProcessLookupError:
                return

    def rows(self) -> list[dict[str, Any]]:
        """To its end: the rows that it printed."""
        out, _ = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, self.said()
        rows: list[dict[str, Any]] = json.loads(out)["rows"]
        return rows


def contents(store: Path) -> dict[str, Any]:
    """All that a store holds, by path, without times and surroundings."""
    found: dict[str, Any] = {}
    for file in sorted(store.rglob("*")):
        name = str(file.relative_to(store))
        if not file.is_file() or file.name in {"environment.json", "seconds.json"}:
            continue
        if file.name == "result.json":
            found[name] = {key: value for key, value in json.loads(file.read_text()).items() if key != "seconds"}
        else:
            found[name] = file.read_bytes()
    return found


def made(store: Path) -> dict[str, int]:
    """What is made and must never be made again, by path, with the number that the disk gave the file."""
    ends = [*store.glob("*/result.json"), *store.glob("*/cells/*.safetensors")]
    return {str(file.relative_to(store)): file.stat().st_ino for file in ends if not file.name.startswith(".")}


def of_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def check_equal(store: Path, alone: tuple[Path, list[dict[str, Any]]], rows: list[dict[str, Any]]) -> None:
    wanted, found = contents(alone[0]), contents(store)
    assert found.keys() == wanted.keys()  # no lock, no record, no half-written file among them
    assert [name for name in wanted if found[name] != wanted[name]] == []
    place = str(alone[0])
    assert str(of_rows(rows)).replace(str(store), place) == str(of_rows(alone[1]))


def killed_and_run_again(
    moments: Path, alone: tuple[Path, list[dict[str, Any]]], tmp_path: Path, count: int, seed: int, *more: object
) -> None:
    """Kill the command, with `more` options, at `count` moments, run it to its end, and compare.

    Its store is `runs` in `tmp_path`, with whatever is there already.
    """
    store, drawn = tmp_path / "runs", random.Random(seed)
    before = made(store)
    total = len(made(alone[0]))
    for moment in sorted(drawn.sample(range(total), count)):
        run = Group(moments, store, tmp_path / "log", *more)
        for _ in waiting(PATIENCE):
            # Two workers may have made several by the last look, and all of it before the last moments.
            if len(made(store)) >= min(max(moment, len(before) + 1), total):
                break
            assert run.process.poll() is None, run.said()
            time.sleep(0.05)
        time.sleep(drawn.random() * 0.2)
        run.kill()
        now = made(store)
        assert before.items() <= now.items(), "made twice"
        before = now
    run = Group(moments, store, tmp_path / "log", *more)
    check_equal(store, alone, run.rows())
    assert before.items() <= made(store).items(), "made twice"
    # What was killed last may have been at its very end: then the last command finds all of it.
    if "nothing to do: all of it is there" not in run.said():
        counts = re.search(r"(\d+) tasks: (\d+) made here(?:, (\d+) found made)?", run.said())
        assert counts is not None and int(counts[2]) + int(counts[3] or 0) == TASKS, run.said()


def stopped_worker(store: Path, run: Group, parent: int) -> int:
    """A child of `parent` in the middle of a task, stopped, so that it stays there: its process number."""
    for _ in waiting(PATIENCE):
        time.sleep(0.02)
        for lock in (store / "tasks").glob("*.lock"):
            with contextlib.suppress(OSError, ValueError):
                pid = json.loads(lock.read_text())["pid"]
                if f"PPid:\t{parent}\n" in Path(f"/proc/{pid}/status").read_text():
                    os.kill(pid, signal.SIGSTOP)
                    if json.loads(lock.read_text())["pid"] == pid:
                        return int(pid)
                    os.kill(pid, signal.SIGCONT)
        assert run.process.poll() is None, run.said()
    raise AssertionError


def kill_a_worker(store: Path, run: Group, parent: int) -> None:
    """A child of `parent` in the middle of a task of `run`; returns when that was noticed."""
    os.kill(stopped_worker(store, run, parent), signal.SIGKILL)
    made_again(run)


def made_again(run: Group) -> None:
    """Wait until `run` says that a task is made again whose process died."""
    for _ in waiting(PATIENCE):
        if "it is made again" in run.said():
            return
        time.sleep(0.05)
