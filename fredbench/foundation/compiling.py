"""Compilation of the engine's loops, with a disk cache where there is a writable place for one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast

import numba
import numpy as np
from numba.core.compiler import CompilerBase, DefaultPassBuilder

F = TypeVar("F", bound=Callable[..., Any])
Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
"""What compiled loops take; their callers' signatures give shapes and types."""

__all__ = ["Array", "compiled", "compiled_apart", "inlined"]


def _raw(function: F) -> Any:
    # A run-time type checker may have wrapped the function; the compiler needs the loops themselves.
    return inspect.unwrap(function)


def compiled(function: F) -> F:
    """Compile `function` on first use, releasing the interpreter lock; cached on disk where that is possible.

    No fast-math: every loop gives the same bits whether it is vectorised or not, so that a picture's outcome cannot
    depend on its neighbours in the batch. Division by zero follows IEEE, as in NumPy.
    """
    return _compiled(function)


def compiled_apart(function: F) -> F:
    """The same for loops whose arrays share no memory with one another, which is for the caller to see to.

    Loops of several arrays are vectorised only where the compiler knows that; it cannot find out by itself for more
    than a few. A transform of 6×6 tiles is two and a half times as quick.
    """
    return _compiled(function, pipeline_class=_Apart)


def _compiled(function: F, **options: Any) -> F:
    raw, options = _raw(function), {"nogil": True, "error_model": "numpy", **options}
    try:
        return cast(F, numba.njit(raw, cache=True, **options))
    except RuntimeError:
        # Neither the package's folder nor the user's cache folder is writable: compile in every process anew.
        return cast(F, numba.njit(raw, **options))


class _Apart(CompilerBase):
    """numba's usual pipeline, with what its parallel loops are told of their arrays said of the arguments."""

    def define_pipelines(self) -> list[Any]:
        """The nopython pipeline."""
        self.state.flags.noalias = True
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]  # type: ignore[no-untyped-call]


def inlined(function: F) -> F:
    """Compile a small helper to be called from `compiled` loops of the same file only.

    Of the same file, because the disk cache notices a change of the caller's file and of no other.
    """
    return cast(F, numba.njit(_raw(function), error_model="numpy"))
