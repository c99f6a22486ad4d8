"""Locks say who holds them, fall with their holder, and go when they are given back, between hosts too."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import ROOT, environment

from fredbench.foundation import locks
from fredbench.foundation.locks import holder_of, remove_left, tried

HOLD = """
import sys, time
from pathlib import Path
from fredbench.foundation.locks import tried
with tried(Path(sys.argv[1]), "testing") as other:
    print(other is None, flush=True)
    time.sleep(60)
"""


def unknown(handle: int, operation: int) -> None:
    """In place of `flock`, on a file system that has none."""
    raise OSError(38, "Function not implemented")


def foreign(file: Path, *, age: float) -> None:
    """A lock as a process of another host leaves it, touched `age` seconds ago."""
    file.write_text(json.dumps({"host": "elsewhere", "pid": 1, "since": 1.0, "doing": "x", "token": "t"}))
    os.utime(file, (time.time() - age,) * 2)


def test_a_lock_names_its_holder_and_goes_with_it(tmp_path: Path) -> None:
    file = tmp_path / ".a.lock"
    command = [sys.executable, "-c", HOLD, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(), cwd=ROOT) as process:
        assert process.stdout is not None and process.stdout.readline() == "True\n"
        with tried(file, "testing") as other:
            assert other is not None and (other.host, other.pid) == (socket.gethostname(), process.pid)
        found = holder_of(file)
        assert found is not None and found.pid == process.pid and f"process {process.pid}, since" in str(found)
        remove_left(tmp_path)
        assert file.exists()
        process.kill()
    assert file.exists() and holder_of(file) is None  # left behind, and held by nobody
    remove_left(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_given_back_is_gone_and_can_be_had_again(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    for _ in range(3):
        with tried(file, "one") as none, tried(file, "two") as one:
            assert none is None and one is not None and one.doing == "one"
        assert not file.exists() and holder_of(file) is None


@pytest.mark.parametrize("locks_are_known", [True, False])
def test_a_lock_of_another_host_counts_while_it_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks_are_known: bool
) -> None:
    if not locks_are_known:
        monkeypatch.setattr(fcntl, "flock", unknown)
    file = tmp_path / ".lock"
    foreign(file, age=locks.STALE_SECONDS / 2)
    with tried(file, "here") as other:
        assert other is not None and other.host == "elsewhere"
    assert holder_of(file) is not None
    foreign(file, age=locks.STALE_SECONDS * 2)
    assert holder_of(file) is None
    with tried(file, "here") as other:
        assert other is None
        mine = holder_of(file)
        assert mine is not None and mine.pid == os.getpid()
        with tried(file, "again") as again:
            assert again is not None
    assert list(tmp_path.iterdir()) == []


def test_a_held_lock_is_touched(tmp_path: Path) -> None:
    code = (
        "import os, sys, time\nfrom pathlib import Path\nfrom fredbench.foundation import locks\n"
        "locks.BEAT_SECONDS = 0.01\nfile = Path(sys.argv[1])\n"
        "with locks.tried(file, 'here'):\n    os.utime(file, (0, 0))\n    end = time.monotonic() + 30\n"
        "    while file.stat().st_mtime == 0 and time.monotonic() < end:\n        time.sleep(0.01)\n"
        "    raise SystemExit(0 if file.stat().st_mtime else 1)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / ".lock")]
    assert subprocess.run(command, env=environment(), cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("locks_are_known", [True, False])
def test_a_holder_that_was_stalled_leaves_the_next_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks_are_known: bool
) -> None:
    """Of another host, as far as this one sees: it takes the lock over in the same file."""
    if not locks_are_known:
        monkeypatch.setattr(fcntl, "flock", unknown)
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.01)
    file = tmp_path / ".lock"
    with tried(file, "stalled") as nobody:
        assert nobody is None
        inode = file.stat().st_ino
        foreign(file, age=0)
        os.utime(file, (1, 1))
        time.sleep(0.1)
        assert file.stat().st_ino == inode and file.stat().st_mtime == 1, "the lock of another is touched"
        os.utime(file)
    assert file.exists() and (found := holder_of(file)) is not None and found.host == "elsewhere"


@pytest.mark.parametrize("left", ["foreign", "empty"])
def test_of_two_hosts_that_take_over_one_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str) -> None:
    """Each has the `flock` of its own host, and the text that stands at the end decides."""
    file = tmp_path / ".lock"
    if left == "foreign":
        foreign(file, age=locks.STALE_SECONDS * 2)
    else:
        file.touch()
    write, written = locks._write, list[str]()

    def overwritten(handle: int, mine: locks.Holder) -> None:
        write(handle, mine)
        written.append(mine.token)
        foreign(file, age=0)

    monkeypatch.setattr(locks, "_write", overwritten)
    with tried(file, "here") as other:
        assert other is not None and other.host == "elsewhere" and len(written) == 1
    assert file.exists()


def test_what_another_host_has_made_and_not_yet_written_into_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".lock"
    file.touch()
    monkeypatch.setattr(time, "sleep", lambda seconds: foreign(file, age=0))
    with tried(file, "here") as other:
        assert other is not None and other.host == "elsewhere"


def test_clocks_that_killed_processes_left_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fredbench.foundation import files

    file = tmp_path / "file"
    file.touch()
    os.utime(file, (time.time() - 50,) * 2)
    with monkeypatch.context() as killed, open(file) as opened:
        killed.setattr(Path, "unlink", lambda self, missing_ok=False: None)
        assert 45 < files.age_of(opened.fileno(), tmp_path) < 100
    assert len(list(tmp_path.iterdir())) == 2
    files.remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == [file]
