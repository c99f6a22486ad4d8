"""One tree of errors; each message says what was wrong, where, and how to mend it.

The command line turns every `FredbenchError` into exit code 2 (`CheckFailedError`: 1) with the message as one line
and the hint on the next. Library users catch the class that fits.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = [
    "ArtefactError",
    "BudgetError",
    "CheckFailedError",
    "CompatibilityError",
    "DataError",
    "FredbenchError",
    "LockedError",
    "ResourceError",
    "StorageError",
    "UnknownNameError",
    "UsageError",
    "described",
    "restored",
]


class FredbenchError(Exception):
    """Base of all errors raised on purpose; `hint` tells how to mend it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by calling the class again: a subclass may take other arguments than the message that it makes of them,
        # and an error that does not come out of a worker whole breaks the pool that it came from.
        return _restored, (type(self), self.args, dict(self.__dict__))


def _restored(kind: type[FredbenchError], arguments: tuple[Any, ...], state: Mapping[str, Any]) -> FredbenchError:
    """An error as it was in the process that raised it: its class, message, hint, and what a subclass added."""
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(state)
    return error


def described(error: FredbenchError) -> dict[str, str]:
    """Class, message and hint of an error, as it travels between processes and stands in files."""
    return {"error": type(error).__name__, "message": error.message, "hint": error.hint}


def restored(values: Mapping[str, str]) -> FredbenchError:
    """The error that `described` told of; of a class that is not this module's, as a plain one."""
    kind = globals().get(values["error"])
    error_kind = kind if isinstance(kind, type) and issubclass(kind, FredbenchError) else FredbenchError
    # Not by calling the class: some make their message of other arguments.
    error = error_kind.__new__(error_kind)
    FredbenchError.__init__(error, values["message"], hint=values["hint"])
    return error


class UsageError(FredbenchError):
    """A request that cannot be meant: a bad option, a contradiction, an impossible value."""


class UnknownNameError(UsageError):
    """A name that is not registered; the message carries the nearest names and the whole list."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(repr(n) for n in near)}? " if near else ""
        super().__init__(f"unknown {kind} {name!r}", hint=f"{hint}known: {', '.join(names) or 'none'}")


class DataError(FredbenchError):
    """A dataset that is missing, truncated, altered or not of the expected form."""


class ArtefactError(FredbenchError):
    """A file of ours (synset, checkpoint, manifest) that cannot be read or contradicts itself."""


class BudgetError(FredbenchError):
    """A budget that cannot be met or would be exceeded."""


class CompatibilityError(FredbenchError):
    """Parts that cannot work together; says what is missing and who has it."""


class StorageError(FredbenchError):
    """The disk or the run store refused: full, locked, not writable."""


class LockedError(StorageError):
    """Another process holds what is asked for, for longer than is waited: later it may be had."""


class ResourceError(FredbenchError):
    """The machine is not enough: memory exhausted, a compiler missing, numbers out of range."""


class CheckFailedError(FredbenchError):
    """A check ran and did not hold (exit code 1)."""
