"""Mean, spread, and what counts as a difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Sample", "ahead_by_more_than_spread", "spread_between", "summarise"]


@dataclass(frozen=True)
class Sample:
    """Accuracies in percent over n students: mean and sample standard deviation (None for one student)."""

    mean: float
    std: float | None
    n: int

    def to_mapping(self) -> dict[str, float | int | None]:
        """As the JSON tables hold it, rounded to 1e-4 percent."""
        return {"mean": round(self.mean, 4), "std": None if self.std is None else round(self.std, 4), "n": self.n}

    def __str__(self) -> str:
        return f"{self.mean:.1f}" if self.std is None else f"{self.mean:.1f} ± {self.std:.1f}"


def summarise(values: Sequence[float]) -> Sample:
    """Mean and sample standard deviation (n - 1) of at least one value."""
    if not values:
        raise ValueError("a sample needs at least one value")
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Sample(mean, None, 1)
    return Sample(mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)), len(values))


def spread_between(a: Sample, b: Sample) -> float | None:
    """2 sqrt(s_a^2 / n_a + s_b^2 / n_b), the least difference of means that counts; None without two students each."""
    if a.std is None or b.std is None:
        return None
    return 2 * math.sqrt(a.std**2 / a.n + b.std**2 / b.n)


def ahead_by_more_than_spread(a: Sample, b: Sample) -> bool:
    """Whether `a` is above `b` by more than the spread; False where the spread is unknown."""
    spread = spread_between(a, b)
    return spread is not None and a.mean - b.mean > spread
