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

import torch

from fredbench.foundation.allocator import give_freed_memory_back
from fredbench.foundation.errors import ResourceError

__all__ = ["held_bytes", "limited"]

_LOOK_SECONDS = 0.2


def held_bytes() -> int:
    """Memory of this process that is resident now; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


@contextlib.contextmanager
def limited(seconds: float | None, memory: float | None) -> Iterator[None]:
    """End what is done inside by a `ResourceError` after `seconds`, or when this process holds `memory` GB.

    What is not Python is let finish first (an operation of torch, say). Signals arrive in the main thread only, and
    memory is told on Linux only; elsewhere a limit is refused by a `ResourceError` rather than forgotten.
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
    passed: list[str] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if passed:
            raise ResourceError(passed[0], hint="raise it in the suite's [resources]")

    # Raised on the way into or out of torch.no_grad(), it would leave gradients off for all work that comes after.
    gradients = torch.is_grad_enabled()
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
        torch.set_grad_enabled(gradients)


def _watch(ended: threading.Event, seconds: float | None, memory: float | None, passed: list[str]) -> None:
    began = time.monotonic()
    while not ended.wait(_LOOK_SECONDS):
        if seconds is not None and time.monotonic() - began > seconds:
            passed.append(f"it took more than the {seconds:g} s that are allowed")
        elif memory is not None and held_bytes() > memory * 1e9:
            passed.append(f"it held more than the {memory:g} GB that are allowed")
        if passed:
            os.kill(os.getpid(), signal.SIGALRM)
            return
