"""Where two accuracies count as different: the spread between them, and the star that a table gives for it."""

from __future__ import annotations

import math

from fredbench.evaluation.statistics import Sample

__all__ = ["ahead_by_more_than_spread", "spread_between", "starred"]


def spread_between(a: Sample, b: Sample) -> float | None:
    """2 sqrt(s_a^2 / n_a + s_b^2 / n_b), the least difference of means that counts; None without two students each."""
    if a.std is None or b.std is None:
        return None
    return 2 * math.sqrt(a.std**2 / a.n + b.std**2 / b.n)


def ahead_by_more_than_spread(a: Sample, b: Sample) -> bool:
    """Whether `a` is above `b` by more than the spread; False where the spread is unknown."""
    spread = spread_between(a, b)
    return spread is not None and a.mean - b.mean > spread


def starred(a: Sample, b: Sample) -> str:
    """The difference of means as a table prints it, with a star where one is ahead of the other beyond the spread."""
    star = "*" if ahead_by_more_than_spread(a, b) or ahead_by_more_than_spread(b, a) else ""
    return f"{a.mean - b.mean:+.1f}{star}"
