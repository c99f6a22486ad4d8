"""What the tests share: where golden vectors and real data lie, and skipping, said aloud, where they do not."""

from __future__ import annotations

import os
from pathlib import Path

# One thread a test process, also in those that tests start: two workers on two cores must not fight over them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

ROOT = Path(__file__).resolve().parent.parent


def folder_from(variable: str, default: str) -> Path:
    """The folder named by an environment variable, or its default relative to the repository root."""
    return Path(os.environ.get(variable) or ROOT / default)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Give each worker tests that stand together: what a module shares is then made once, not once a worker."""
    if getattr(config.option, "numprocesses", None) and config.option.dist == "no":
        config.option.dist = "worksteal"


@pytest.fixture(scope="session")
def golden() -> Path:
    """The golden vectors' folder; tests skip where there is none."""
    folder = folder_from("FREDBENCH_GOLDEN", "../shared/golden")
    if not folder.is_dir():
        pytest.skip(f"no golden vectors at {folder} (set FREDBENCH_GOLDEN)")
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The real datasets' folder (packed sheets); tests skip where there is none."""
    folder = folder_from("FREDBENCH_DATA", "../shared/data")
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set FREDBENCH_DATA)")
    return folder
