"""Grids as arrays of Slurm jobs: what jobs leave, those of the next command make, to the bytes of one process.

There is no Slurm here: submitit's own local jobs, and programs by the names of Slurm's that start what they are given.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from commands import invoke, waiting
from shared_grid import PATIENCE, TASKS, Group, check_equal, end_all, made

pytestmark = pytest.mark.skipif(
    find_spec("submitit") is None, reason="submitit is not installed (pip install 'fredbench[slurm]')"
)

# A number a call; a process, and its number in a file, for each index of the array. What was queued is kept.
SBATCH = """#!/bin/bash
cd {folder}; number=$(( 100 + $(ls queued | wc -l) )); cp "$1" queued/$number
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\)%.*/\\1/p' "$1")
export SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0
for index in $(seq 0 ${{last:-0}}); do
  export SLURM_JOB_ID=$number
  [ -n "$last" ] && export SLURM_ARRAY_JOB_ID=$number SLURM_ARRAY_TASK_ID=$index
  setsid bash "$1" > {folder}/output 2>&1 < /dev/null &
  echo $! > jobs/$number${{last:+_$index}}
done
echo "Submitted batch job $number"
"""
SRUN = """#!/bin/bash
while [[ "$1" == --* ]]; do [[ "$1" == --unbuffered ]] || shift; shift; done
exec "$@" > {folder}/log.$SLURM_JOB_ID 2>&1
"""
SACCT = """#!/bin/bash
echo "JobID|State|NodeList"
cd {folder}/jobs
for job in *; do kill -0 $(cat $job) 2> /dev/null && echo "$job|RUNNING|here" || echo "$job|FAILED|here"; done
"""


class Slurm:
    """What was queued, and the processes that make it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("queued", "jobs", "bin"):
            (folder / name).mkdir(parents=True)
        for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT}.items():
            program = folder / "bin" / name
            program.write_text(text.format(folder=folder))
            program.chmod(0o755)

    def queued(self) -> list[str]:
        return [file.read_text() for file in sorted((self.folder / "queued").iterdir())]

    def running(self) -> list[int]:
        numbers = [int(file.read_text()) for file in (self.folder / "jobs").iterdir()]
        return [number for number in numbers if _lives(number)]

    def end(self) -> None:
        """All that runs, as at a time limit or a node's death."""
        for number in self.running():
            os.killpg(number, signal.SIGKILL)


def _lives(number: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{number}/status").read_text()
    except OSError:
        return False


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    found = Slurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", f"{found.folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    yield found
    end_all()
    found.end()


def test_jobs_outlive_the_command_and_a_second_one_makes_only_what_is_missing(
    moments: Path, alone: Any, begun: Path, slurm: Slurm, tmp_path: Path
) -> None:
    before = made(begun)
    asked = ("--executor", "slurm", "--partition", "cpu")
    first = Group(moments, begun, tmp_path / "log", *asked, "--workers", 2, "--slurm-set", "slurm_account=lab")
    for _ in waiting(PATIENCE):
        if "2 jobs queued" in first.said():
            break
        assert first.process.poll() is None, first.said()
    first.kill()
    for _ in waiting(PATIENCE):  # by the jobs, which nobody waits for any more
        if len(made(begun)) > len(before) + 1:
            break
        assert slurm.running(), [log.read_text() for log in slurm.folder.glob("log.*")]
        time.sleep(0.05)
    slurm.end()
    before = made(begun)
    second = Group(moments, begun, tmp_path / "log", *asked, "--workers", 1, "--slurm-time", 7)
    check_equal(begun, alone, second.rows())
    assert before.items() <= made(begun).items(), "made twice"
    assert f"{TASKS} tasks: " in second.said() and "failed" not in second.said()
    array, job = slurm.queued()
    for line in ("--array=0-1%2", "--account=lab", "--partition=cpu", "--cpus-per-task=1", "--time=240"):
        assert f"#SBATCH {line}\n" in array, array
    assert "#SBATCH --time=7\n" in job and "--array" not in job


def test_jobs_that_are_processes_of_this_machine_share_a_grid(
    moments: Path, alone: Any, begun: Path, tmp_path: Path
) -> None:
    asked = ("--executor", "slurm", "--partition", "local", "--workers", 2)
    run = Group(moments, begun, tmp_path / "log", *asked)
    try:
        check_equal(begun, alone, run.rows())
    finally:
        end_all()
    assert "2 jobs queued" in run.said()


def test_what_cannot_be_queued_is_refused_in_words(moments: Path, slurm: Slurm, tmp_path: Path) -> None:
    asked = ("suite", "run", moments, "--store", tmp_path / "runs", "--threads", 1, "--offline", "--executor", "slurm")
    unknown = invoke(*asked, "--partition", "cpu", "--slurm-set", "slurm_acount=lab")
    assert unknown.code == 2 and "no jobs can be queued" in unknown.err and "acount" in unknown.err
    (slurm.folder / "bin" / "sbatch").write_text("#!/bin/bash\necho 'sbatch: error: invalid partition' >&2; exit 1\n")
    refused = invoke(*asked, "--partition", "none")
    assert refused.code == 2 and "Traceback" not in refused.err and "invalid partition" in refused.err, refused.err
    assert not slurm.queued() and not list((tmp_path / "runs").rglob("*.lock"))
