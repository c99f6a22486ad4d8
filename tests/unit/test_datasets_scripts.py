"""The scripts of data_scripts/, and a disk that refuses, each in a process of its own."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from fredbench.datasets import load_dataset

ROOT = Path(__file__).resolve().parent.parent.parent


def run(*arguments: object, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    def less_room() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *(str(a) for a in arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=less_room,
        timeout=120,
        check=False,
    )


def test_a_script_checks_and_packs(real_data: Path, tmp_path: Path) -> None:
    done = run("data_scripts/svhn.py", "--data", real_data, "--offline", "--pack", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "first 1083 of 73257" in done.stdout and f"packed: {tmp_path / 'svhn'}" in done.stdout
    original = load_dataset("svhn", root=real_data, offline=True)
    again = load_dataset("svhn", root=tmp_path, offline=True)
    assert again.fingerprint == original.fingerprint and again.test_fingerprint == original.test_fingerprint


@pytest.mark.parametrize("script", ["cifar", "svhn", "mnist", "imagenet_subsets"])
def test_a_script_says_what_is_missing(script: str, tmp_path: Path) -> None:
    done = run(f"data_scripts/{script}.py", "--data", tmp_path, "--offline")
    assert done.returncode == 2 and "looked for" in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_half_packed(tmp_path: Path) -> None:
    done = run(
        "-m", "fredbench", "data", "pack", "digits", "--out", tmp_path / "digits", limit=20_000
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "no space left to write" in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
