"""Mean, spread, intervals and corruption errors; what counts as a difference stands in `significance`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scipy.special import stdtrit

__all__ = [
    "Sample", "corruption_errors", "mean_over", "over_sets", "relative_corruption_errors", "summarise",
]  # fmt: skip

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Sample:
    """Accuracies in percent over n students: mean and sample standard deviation (None for one student).

    values: those that it was made of, in the students' order; empty where only the summary is known.
    """

    mean: float
    std: float | None
    n: int
    values: tuple[float, ...] = field(default=(), compare=False, repr=False)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % confidence interval of the mean, Student's t with n - 1 degrees of freedom; None for one student."""
        if self.std is None:
            return None
        half = float(stdtrit(self.n - 1, (1 + CONFIDENCE) / 2)) * self.std / math.sqrt(self.n)
        return self.mean - half, self.mean + half

    def to_mapping(self) -> dict[str, float | int | list[float] | None]:
        """As the JSON tables hold it, rounded to 1e-4 percent; `values` to 1e-8, so that all else follows from them."""
        return {
            "mean": round(self.mean, 4),
            "std": None if self.std is None else round(self.std, 4),
            "n": self.n,
            "ci95": None if self.interval is None else [round(bound, 4) for bound in self.interval],
            **({"values": [round(value, 8) for value in self.values]} if self.values else {}),
        }

    def text(self, decimals: int) -> str:
        """Mean and, where there is one, deviation, with so many decimals."""
        spread = "" if self.std is None else f" ± {self.std:.{decimals}f}"
        return f"{self.mean:.{decimals}f}{spread}"

    def __str__(self) -> str:
        return self.text(1)


def summarise(values: Sequence[float]) -> Sample:
    """Mean and sample standard deviation (n - 1) of at least one value."""
    if not values:
        raise ValueError("a sample needs at least one value")
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Sample(mean, None, 1, tuple(map(float, values)))
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))
    return Sample(mean, deviation, len(values), tuple(map(float, values)))


def over_sets(samples: Sequence[Sample]) -> Sample:
    """One sample of the same system distilled several times: the unit is the set, n is the number of sets.

    Students of one set share its pictures, so they are no independent trials of the system: each set counts once, by
    the mean of its students, and an interval is of Student's t over these means. A single set stays a sample over its
    students, whose spread says nothing of another distillation.
    """
    return samples[0] if len(samples) == 1 else summarise([sample.mean for sample in samples])


def corruption_errors(
    errors: Mapping[str, Sequence[float]], baseline: Mapping[str, Sequence[float]]
) -> dict[str, float | None]:
    """CE of each corruption in percent: the sum of its errors over the severities over the baseline's.

    Both hold the same severities, errors in percent. None where the baseline lacks the corruption or makes no error.
    Source: Hendrycks and Dietterich, ICLR 2019, section 4.1.
    """
    return {
        name: _ratio(sum(found), sum(baseline[name])) if name in baseline else None for name, found in errors.items()
    }


def relative_corruption_errors(
    errors: Mapping[str, Sequence[float]], clean: float, baseline: Mapping[str, Sequence[float]], baseline_clean: float
) -> dict[str, float | None]:
    """Relative CE of each corruption in percent: what the errors rise above the clean one, over the baseline's rise.

    None where the baseline lacks the corruption or does not suffer from it. Source: as `corruption_errors`.
    """
    return {
        name: _ratio(sum(e - clean for e in found), sum(e - baseline_clean for e in baseline[name]))
        if name in baseline
        else None
        for name, found in errors.items()
    }


def mean_over(values: Mapping[str, float | None]) -> float | None:
    """The mean over corruptions (mCE, relative mCE); None where there is none or one of them is undefined."""
    known = [value for value in values.values() if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def _ratio(ours: float, theirs: float) -> float | None:
    return 100 * ours / theirs if theirs > 0 else None
