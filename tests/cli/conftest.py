"""One tiny real run, distilled once a session, for the commands that read what runs made."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from commands import TINY, invoke

TWO_CORRUPTIONS = """
name = "two"
title = "two corruptions of the digits"
dataset = "digits"
profile = "cifar"
corruptions = ["brightness", "contrast"]
severities = [1, 5]
"""


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two iterations in a store of its own. Read it, or let commands add to it; alter a copy."""
    store = tmp_path_factory.mktemp("store")
    made = invoke("distill", "digits", "--ipc", 1, "--objective", "dm", "--preset", "quick", "--iterations", 2, *TINY,
                  "--store", store, "--name", "tiny")  # fmt: skip
    assert made.code == 0, made.err
    return made.folder


@pytest.fixture
def copied_run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be altered."""
    return Path(shutil.copytree(tiny_run, tmp_path / "store" / "tiny"))


@pytest.fixture(scope="session")
def small_suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite file of two quick corruptions."""
    file = tmp_path_factory.mktemp("suites") / "two.toml"
    file.write_text(TWO_CORRUPTIONS)
    return file
