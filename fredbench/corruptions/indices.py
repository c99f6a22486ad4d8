"""Choosing pictures of a set by number."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from fredbench.foundation.errors import UsageError

__all__ = ["evenly_spaced"]


def evenly_spaced(total: int, count: int) -> Int64[np.ndarray, " k"]:
    """At most `count` numbers spread evenly over 0 … total - 1, both ends included, rising.

    >>> evenly_spaced(10, 4)
    array([0, 3, 6, 9])
    """
    if total < 1 or count < 1:
        raise UsageError(f"cannot choose {count} of {total} pictures", hint="use a --limit of at least 1")
    places = np.linspace(0, total - 1, min(count, total))
    return np.unique(np.rint(places).astype(np.int64))
