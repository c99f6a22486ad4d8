"""Grids that several processes make: one small one, and what a single process makes of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from shared_grid import TASKS, Group, write_grid

SUITE = """
name = "two"
title = "two corruptions of the digits"
dataset = "digits"
profile = "cifar"
corruptions = ["brightness", "contrast"]
severities = [1, 3]
"""


@pytest.fixture(scope="session")
def moments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grid")
    (folder / "two.toml").write_text(SUITE)
    return write_grid(folder, folder / "two.toml")


@pytest.fixture(scope="session")
def alone(moments: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """The store of one undisturbed process, and the rows that it printed."""
    store = tmp_path_factory.mktemp("alone") / "runs"
    run = Group(moments, store, store.parent / "log")
    rows = run.rows()
    assert f"{TASKS} tasks: {TASKS} made here" in run.said()
    return store, rows


@pytest.fixture
def begun(alone: Any, tmp_path: Path) -> Path:
    """A store with experts and control, as one process makes them; the other runs, all that needs them, are to do."""
    shutil.copytree(alone[0], tmp_path / "runs", ignore=shutil.ignore_patterns("*-fred-*"))
    return tmp_path / "runs"
