"""Limits on one piece of work in this process: seconds, and memory that it holds."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from fredbench.foundation.allocator import give_freed_memory_back
from fredbench.foundation.errors import ResourceError

__all__ = ["held_bytes", "limited"]

# Between looks at clock and memory, and between reminders of a limit that could not be raised where work just was.
_LOOK_SECONDS, _AGAIN_SECONDS = 0.2, 0.01
# How long a `with` may take to be entered or left: some wait there, for a lock.
_PATIENCE_SECONDS = 5


def held_bytes() -> int:
    """Memory of this process that is resident now; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


@contextlib.contextmanager
def limited(seconds: float | None, memory: float | None) -> Iterator[None]:
    """End what is done inside by a `ResourceError` after `seconds`, or when this process holds `memory` GB.

    What is not Python is let finish first (an operation of torch, say). So is, for some seconds, the way into or out of
    a `with`: ended in there, `torch.no_grad()` would leave gradients off for all work that follows. Signals arrive in
    the main thread only, and memory is told on Linux only; elsewhere a limit is refused by a `ResourceError` rather
    than forgotten.
    """
    if seconds is None and memory is None:
        yield
        return
    if threading.current_thread() is not threading.main_thread() or (memory is not None and not held_bytes()):
        raise ResourceError(
            "limits hold in the main thread, and that of memory on Linux, only", hint="drop them from [resources]"
        )
    if memory is not None:
        # Kept for reuse from the work before, it would count as this one's.
        give_freed_memory_back()
    passed: list[tuple[float, str]] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if passed and (not _enters_or_leaves(frame) or time.monotonic() - passed[0][0] > _PATIENCE_SECONDS):
            raise ResourceError(passed.pop()[1], hint="raise it in the suite's [resources]")

    ended, before = threading.Event(), signal.signal(signal.SIGALRM, stop)
    watch = threading.Thread(target=_watch, args=(ended, seconds, memory, passed), daemon=True)
    watch.start()
    try:
        yield
    finally:
        ended.set()
        watch.join()
        passed.clear()
        signal.signal(signal.SIGALRM, before)


def _enters_or_leaves(frame: FrameType | None) -> bool:
    """Whether a `with` is being entered or left here or above."""
    while frame is not None:
        if frame.f_code.co_name in {"__enter__", "__exit__"}:
            return True
        frame = frame.f_back
    return False


def _watch(
    ended: threading.Event, seconds: float | None, memory: float | None, passed: list[tuple[float, str]]
) -> None:
    began = time.monotonic()
    while not ended.wait(_LOOK_SECONDS):
        if seconds is not None and time.monotonic() - began > seconds:
            passed.append((time.monotonic(), f"it took more than the {seconds:g} s that are allowed"))
        elif memory is not None and held_bytes() > memory * 1e9:
            passed.append((time.monotonic(), f"it held more than the {memory:g} GB that are allowed"))
        if passed:
            while passed and not ended.wait(_AGAIN_SECONDS):
                os.kill(os.getpid(), signal.SIGALRM)
            return
