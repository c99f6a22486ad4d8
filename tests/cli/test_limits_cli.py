"""A cell that passes the time or the memory of its suite fails with those words, and the rest of the grid is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from commands import Child, Outcome

from fredbench.foundation.limits import held_bytes


def outcome_of(folder: Path, suite: Path, resources: dict[str, float], too_much: dict[str, Any]) -> Outcome:
    """A grid of a cell that does `too_much`, and behind it one that does little."""
    place = {
        "name": "digits", "ipcs": [1], "preset": "quick", "limit": 10, "students": 1, "network": "convnet-d2-w4-in",
        "set": {"student": {"epochs": 1}}, "scored_on": str(suite),
    }  # fmt: skip
    grid = {
        "kind": "grid", "name": "limits", "title": "limits", "methods": ["dm", "random"], "resources": resources,
        "datasets": [place], "changes": [{"method": "dm", "why": "to pass the limit", **too_much}],
    }  # fmt: skip
    (folder / "limits.toml").write_text(tomli_w.dumps(grid))
    child = Child(
        folder / "scratch", "suite", "run", folder / "limits.toml", "--store", folder / "runs", "--threads", 1,
        "--format", "json", "--offline", "--yes", env={"FREDBENCH_CHECKPOINT_SECONDS": "0"},
    )  # fmt: skip
    return child.outcome(240)


def check(outcome: Outcome, folder: Path, words: str) -> None:
    assert outcome.code == 2 and "1 of 2 cells failed: dm, ipc 1" in outcome.err, outcome.err
    document = json.loads(outcome.out)
    (failed,) = document["failed"]
    assert failed["cell"] == "dm, ipc 1" and words in failed["error"] and "[resources]" in failed["hint"]
    assert [row["method"] for row in document["rows"] if not row.get("start")] == ["random"], "the rest is not made"
    assert not list((folder / "runs").rglob("*.lock"))


def test_a_cell_that_takes_too_long(tmp_path: Path, small_suite: Path) -> None:
    outcome = outcome_of(tmp_path, small_suite, {"seconds": 12}, {"iterations": 10**6})
    check(outcome, tmp_path, "took more than the 12 s that are allowed")


@pytest.mark.skipif(not held_bytes(), reason="the system does not tell what a process holds")
def test_a_cell_that_holds_too_much(tmp_path: Path, small_suite: Path) -> None:
    """128 pictures of 32 x 32 in 2048 channels are a gigabyte, a layer holds two, and the program itself one."""
    wide = {"iterations": 200, "network": "convnet-d1-w2048-in", "set": {"objective": {"batch_real": 128}}}
    outcome = outcome_of(tmp_path, small_suite, {"memory": 2}, wide)
    check(outcome, tmp_path, "held more than the 2 GB that are allowed")
