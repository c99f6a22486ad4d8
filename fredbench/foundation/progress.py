"""Progress on stderr: a bar on a terminal, a plain line every few seconds otherwise; silent when short."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import NoReturn

from tqdm import tqdm

__all__ = ["Progress", "say"]

_QUIET_SECONDS = 2.0
_LINE_EVERY_SECONDS = 10.0


def say(message: str) -> None:
    """One line of log on stderr; data belongs to stdout."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


class Progress:
    """Counts `total` units of work named `label`; nothing appears in the first two seconds.

    Use as a context manager and call `advance()`; `start` says how much an earlier run had done already.
    """

    def __init__(self, label: str, total: int, *, start: int = 0, unit: str = "") -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done, self._first = start, start
        self.note = ""
        self._began = time.monotonic()
        self._shown: float | None = None
        self._bar: tqdm[NoReturn] | None = None
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=total, initial=start, desc=label, unit=unit or "it", delay=_QUIET_SECONDS, dynamic_ncols=True
            )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._shown is not None:
            self._line(time.monotonic(), final=True)

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """`count` more units are done; `note` (such as the loss) is shown beside the count."""
        self.done += count
        self.note = self.note if note is None else note
        if self._bar is not None:
            self._bar.set_postfix_str(self.note, refresh=False)
            self._bar.update(count)
            return
        now = time.monotonic()
        due = _QUIET_SECONDS if self._shown is None else _LINE_EVERY_SECONDS
        if now - (self._began if self._shown is None else self._shown) >= due:
            self._line(now)

    def _line(self, now: float, *, final: bool = False) -> None:
        self._shown = now
        spent, fresh = now - self._began, self.done - self._first
        left = "" if final or not fresh else f", {tqdm.format_interval(spent / fresh * (self.total - self.done))} left"
        unit = f" {self.unit}" if self.unit else ""
        note = f" {self.note}" if self.note else ""
        say(f"{self.label}: {self.done}/{self.total}{unit} [{tqdm.format_interval(spent)}{left}]{note}")
