"""The library that reads and writes Parquet: pyarrow, which nothing else here needs, so that it is an extra."""

from __future__ import annotations

import importlib
from typing import Any

from fredbench.foundation.errors import UsageError

__all__ = ["parquet"]


def parquet() -> tuple[Any, Any]:
    """(pyarrow, pyarrow.parquet), loaded on first use; `UsageError` where they are not installed."""
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise UsageError(
            f"Parquet needs pyarrow, which cannot be imported here: {error}",
            hint="pip install 'fredbench[parquet]'",
        ) from error
