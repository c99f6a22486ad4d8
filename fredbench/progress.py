"""Progress on stderr: a bar on a terminal, a plain line every few seconds otherwise; silent when short."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")

__all__ = ["Progress", "say", "track"]

_QUIET_SECONDS = 2.0
_LINE_EVERY_SECONDS = 10.0
_BAR_EVERY_SECONDS = 0.2


def say(message: str) -> None:
    """One line of log on stderr; data belongs to stdout."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Progress:
    """Counts `total` units of work named `label`; nothing appears in the first two seconds.

    Use as a context manager and call `advance()`; `start` says how much an earlier run had done already.
    """

    def __init__(self, label: str, total: int, *, start: int = 0, unit: str = "") -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done, self._first = start, start
        self.note = ""
        self._began = time.monotonic()
        self._shown = 0.0
        self._terminal = sys.stderr.isatty()
        self._visible = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._visible:
            self._show(final=True)

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """`count` more units are done; `note` (such as the loss) is shown beside the count."""
        self.done += count
        if note is not None:
            self.note = note
        now = time.monotonic()
        every = _BAR_EVERY_SECONDS if self._terminal else _LINE_EVERY_SECONDS
        if now - self._began >= _QUIET_SECONDS and (not self._visible or now - self._shown >= every):
            self._show()

    def _show(self, *, final: bool = False) -> None:
        now = time.monotonic()
        self._visible, self._shown = True, now
        fresh = self.done - self._first
        left = (now - self._began) / fresh * (self.total - self.done) if fresh > 0 else float("nan")
        times = _clock(now - self._began) + ("" if final or left != left else f", {_clock(left)} left")
        text = f"{self.label}: {self.done}/{self.total}{' ' + self.unit if self.unit else ''} [{times}]"
        if self.note:
            text += f" {self.note}"
        if self._terminal:
            sys.stderr.write("\r\x1b[2K" + text + ("\n" if final else ""))
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()


def track(items: Iterable[T], label: str, *, total: int | None = None) -> Iterator[T]:
    """Iterate over `items`, reporting progress under `label`."""
    known = list(items) if total is None else items
    with Progress(label, len(known) if isinstance(known, list) else int(total or 0)) as progress:
        for item in known:
            yield item
            progress.advance()
