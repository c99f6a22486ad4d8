"""Compilation of the engine's loops, with a disk cache where there is a writable place for one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast

import numba
import numpy as np

F = TypeVar("F", bound=Callable[..., Any])
Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
"""What compiled loops take; their callers' signatures give shapes and types."""

__all__ = ["Array", "compiled", "inlined"]


def _raw(function: F) -> Any:
    # A run-time type checker may have wrapped the function; the compiler needs the loops themselves.
    return inspect.unwrap(function)


def compiled(function: F) -> F:
    """Compile `function` on first use, releasing the interpreter lock; cached on disk where that is possible.

    No fast-math: every loop gives the same bits whether it is vectorised or not, so that a picture's outcome cannot
    depend on its neighbours in the batch. Division by zero follows IEEE, as in NumPy.
    """
    raw = _raw(function)
    try:
        return cast(F, numba.njit(raw, cache=True, nogil=True, error_model="numpy"))
    except RuntimeError:
        # Neither the package's folder nor the user's cache folder is writable: compile in every process anew.
        return cast(F, numba.njit(raw, nogil=True, error_model="numpy"))


def inlined(function: F) -> F:
    """Compile a small helper to be called from `compiled` loops of the same file only.

    Of the same file, because the disk cache notices a change of the caller's file and of no other.
    """
    return cast(F, numba.njit(_raw(function), error_model="numpy"))
