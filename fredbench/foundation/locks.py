"""Locks between processes: files that the system lets go of when their holder dies, and that say who holds them.

A lock is a file held by `flock`, and removed when it is given back. Its text names host, process and since when, and
its holder touches it every few seconds. On one host the system knows whether the holder lives. Between hosts many
mounts keep `flock` to one of them, or have none: there a lock whose text is of another host counts as held while it is
touched, and as left behind after a minute without. Who takes over what was left behind writes into it, waits for a
moment and has it if the text that stands is its own; a holder that was only stalled finds another's text, and from then
on neither touches nor removes the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fredbench.foundation.errors import LockedError, UsageError
from fredbench.foundation.files import age_of, remove_abandoned, storage_errors
from fredbench.foundation.progress import say

__all__ = ["LOCK_VARIABLE", "Holder", "claimed", "held", "holder_of", "lock_seconds", "now", "remove_left", "tried"]

LOCK_VARIABLE = "FREDBENCH_LOCK_SECONDS"
# Two grids on one store meet at controls and starts, which take seconds to minutes.
_LOCK_SECONDS = 600.0
_POLL_SECONDS = 0.25
BEAT_SECONDS = 10.0
"""How often the files of held locks are touched."""
STALE_SECONDS = 60.0
"""Without a touch for that long a lock of another host is left behind: six beats missed."""
# Where flock is kept to one host, or there is none, two may both find nobody: whose text stands after this long has it.
_SETTLE_SECONDS = 0.1


def now() -> float:
    """Seconds since 1970: for saying since when something runs, never for a result."""
    return round(time.time(), 3)


@dataclass(frozen=True)
class Holder:
    """Who holds a lock; `since` in seconds since 1970, `token` tells two holdings of one process apart."""

    host: str
    pid: int
    since: float
    doing: str = ""
    token: str = ""

    def __str__(self) -> str:
        began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"{self.host}, process {self.pid}, since {began}"


_held: dict[str, tuple[Path, int]] = {}
_beating = threading.Lock()


def _beat() -> None:
    while True:
        time.sleep(BEAT_SECONDS)
        with _beating:
            for token, (file, handle) in _held.items():
                with contextlib.suppress(OSError):
                    if _ours(file, handle, token):
                        os.utime(handle)


def _keep_beating(file: Path, token: str, handle: int) -> None:
    with _beating:
        _held[token] = file, handle
        if not any(thread.name == "fredbench-locks" for thread in threading.enumerate()):
            threading.Thread(target=_beat, name="fredbench-locks", daemon=True).start()


def _let_go(file: Path, token: str, handle: int) -> None:
    with _beating:
        _held.pop(token, None)
        if _ours(file, handle, token):
            with contextlib.suppress(OSError):
                file.unlink()
        os.close(handle)


def _ours(file: Path, handle: int, token: str) -> bool:
    """Whether the lock is still that of `token`: another host may have taken it for left behind.

    The text is read by the file's name: what was opened before may be answered from what this host remembers of it.
    """
    if not _same(file, handle):
        return False
    try:
        again = os.open(file, os.O_RDONLY)
    except OSError:
        return False
    try:
        return (stands := _said(again)) is not None and stands.token == token
    finally:
        os.close(again)


def _same(file: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(file), os.fstat(handle))
    except OSError:
        return False


def _flock(handle: int, kind: int) -> bool | None:
    """Whether this process has it now; None where the file system knows no locks."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _said(handle: int) -> Holder | None:
    try:
        return Holder(**json.loads(os.pread(handle, 4096, 0)))
    except (OSError, ValueError, TypeError):
        return None  # empty: not written yet, or by another program


_SOMEBODY = Holder("unknown host", 0, 0.0)


def _lives(said: Holder, file: Path, handle: int, locked: bool) -> bool:
    """Whether the holder that a lock's text names may be at it, its `flock` (`locked`) being had or not to be had."""
    if said.host == socket.gethostname():
        return not locked and _runs(said.pid) and _touched(file, handle)
    return _touched(file, handle)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _touched(file: Path, handle: int) -> bool:
    """Whether the lock was touched of late."""
    return age_of(handle, file.parent) < STALE_SECONDS


def _opened(file: Path) -> tuple[int, bool]:
    """The lock's file, open, and whether it was made by that, which one process of all hosts can find."""
    while True:
        with contextlib.suppress(FileExistsError):
            return os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644), True
        with contextlib.suppress(FileNotFoundError):  # it was given back meanwhile
            return os.open(file, os.O_RDWR), False


def _acquired(file: Path, doing: str) -> tuple[str, int] | Holder:
    """Token and open file of a lock that is ours now, or who has it."""
    while True:
        handle, new = _opened(file)
        locked = _flock(handle, fcntl.LOCK_EX)
        said = _said(handle)
        if said is None and locked is not False and not new:
            time.sleep(_SETTLE_SECONDS)  # who made it, on another host, may not have come to writing it
            said = _said(handle)
        if locked is False or (said is not None and _lives(said, file, handle, bool(locked))):
            os.close(handle)
            return said or _SOMEBODY
        token = secrets.token_hex(8)
        if _same(file, handle):  # else it was given back, and its file removed, between opening and locking
            _write(handle, Holder(socket.gethostname(), os.getpid(), now(), doing, token))
            # With flock, nobody of this host can have written since; nor of another into what was made just now.
            if not locked or (not new and (said is None or said.host != socket.gethostname())):
                time.sleep(_SETTLE_SECONDS)
            if _ours(file, handle, token):
                _keep_beating(file, token, handle)
                return token, handle
        os.close(handle)


def _write(handle: int, mine: Holder) -> None:
    text = json.dumps(vars(mine)).encode()
    os.pwrite(handle, text, 0)
    os.ftruncate(handle, len(text))
    os.fsync(handle)  # so that other hosts read it


def holder_of(file: Path) -> Holder | None:
    """Who holds the lock `file` now; None where nobody does, whether or not the file is there."""
    try:
        handle = os.open(file, os.O_RDWR)
    except OSError:
        return None
    try:
        free, said = _flock(handle, fcntl.LOCK_SH), _said(handle)
        if free is False:
            return said or _SOMEBODY
        return said if said is not None and _lives(said, file, handle, bool(free)) else None
    finally:
        os.close(handle)


def remove_left(folder: Path) -> None:
    """Remove the locks in `folder` that killed processes left there; those that are held stay."""
    for file in [*folder.glob(".lock"), *folder.glob(".*.lock"), *folder.glob("*.lock")]:
        with tried(file, "tidying"):
            pass  # what is taken and given back is gone


@contextlib.contextmanager
def tried(file: Path, doing: str) -> Iterator[Holder | None]:
    """Hold the lock `file`, whose folder is there, if nobody does: yields None, or who has it, without waiting."""
    with storage_errors(file):
        got = _acquired(file, doing)
    if isinstance(got, Holder):
        yield got
        return
    try:
        yield None
    finally:
        _let_go(file, *got)


@contextlib.contextmanager
def claimed(folder: Path, doing: str, hint: str) -> Iterator[None]:
    """Make `folder` and hold it for writing, cleared of what killed processes left half-written there.

    Waits for a process that holds it, `lock_seconds` at most, with a line on stderr; then raises `LockedError`,
    which says what the other is `doing`. What the other finished meanwhile must be looked for once it is held.
    """
    lock_seconds()  # a mistake in it is told before anything is made
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with held(folder / ".lock", f"another process is {doing} {folder}", hint):
        with storage_errors(folder):
            remove_abandoned(folder)
        yield


@contextlib.contextmanager
def held(file: Path, what: str, hint: str) -> Iterator[None]:
    """Hold the lock `file`, whose folder is there; waits as `claimed` does, saying `what` the other process does."""
    seconds = lock_seconds()
    end, told = time.monotonic() + seconds, False
    while True:
        with tried(file, what) as other:
            if other is None:
                yield
                return
        who = "" if other is _SOMEBODY else f" ({other})"
        if told and time.monotonic() >= end:
            raise LockedError(f"{what}{who}, {seconds:g} s after it was asked for", hint=hint)
        if not told:
            say(f"{what}{who}; waiting for it, {seconds:g} s at most ({LOCK_VARIABLE})")
            told = True
        time.sleep(min(_POLL_SECONDS, max(seconds / 10, 0.01)))


def lock_seconds() -> float:
    """Seconds to wait for what another process holds: FREDBENCH_LOCK_SECONDS, or 600."""
    text = os.environ.get(LOCK_VARIABLE) or str(_LOCK_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise UsageError(f"{LOCK_VARIABLE} = {text!r} is no time", hint="give seconds, 0 or more")
    return seconds
