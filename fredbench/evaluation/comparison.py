"""Two sets compared: paired over test pictures with students nested, by McNemar's test, or by Welch's from summaries.

The formulas, and what was measured of them, stand in docs/statistics.md. Nothing here knows of runs or files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import bdtr, stdtr, stdtrit

from fredbench.evaluation.statistics import CONFIDENCE, Sample

__all__ = ["LEAST", "Comparison", "Model", "holm", "mcnemar", "paired", "unpaired"]

LEAST = 3
"""Students (or sets) on either side below which no claim is made: two have one degree of freedom."""
_CAUTION = 0.5
"""Taken from Welch's degrees of freedom, which are too many at 3 to 5 students of unlike spread."""

Model = Literal["paired", "mcnemar", "welch", "none"]


@dataclass(frozen=True)
class Comparison:
    """The difference of two accuracies in points, and what can be said of it.

    model: `paired` (students × pictures), `mcnemar` (two students, the same pictures), `welch` (summaries over
    students), or `none` where there are too few for any claim. units: students (or sets) on either side. pictures: test
    pictures that both saw, 0 where unknown. error: standard error of the difference, df: its degrees of freedom.
    p: two-sided, before any correction. effect: Hedges' g over students; for McNemar the log odds of the discordant.
    """

    difference: float
    model: Model
    units: tuple[int, int]
    pictures: int = 0
    error: float | None = None
    df: float | None = None
    p: float | None = None
    effect: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the difference, not corrected for other comparisons; None without a standard error.

        None too where that is 0: two students that are right on the same pictures have an interval of no width by
        this formula, which says nothing of other pictures.
        """
        if not self.error or self.df is None:
            return None
        half = float(stdtrit(self.df, (1 + CONFIDENCE) / 2)) * self.error
        return self.difference - half, self.difference + half

    def to_mapping(self) -> dict[str, Any]:
        """As the JSON tables hold it."""
        rounded = {name: getattr(self, name) for name in ("difference", "error", "df", "effect")}
        return {
            "model": self.model,
            "units": list(self.units),
            "pictures": self.pictures,
            **{name: None if value is None else round(value, 4) for name, value in rounded.items()},
            "ci95": None if self.interval is None else [round(bound, 4) for bound in self.interval],
            "p": None if self.p is None else float(f"{self.p:.4g}"),
        }


def paired(ours: Float[np.ndarray, "a n"], theirs: Float[np.ndarray, "b n"]) -> Comparison:
    """Students × pictures: shares of right answers in [0, 1], the same n pictures on both sides in the same order.

    The variance of the difference has three parts: students of either side (their sample variance over their number)
    and pictures (the variance over pictures of the difference of the sides' means, over n). What students and pictures
    share is in both, so the sum is a little too large, never too small. With one student a side that is right or wrong
    on each picture it is McNemar's test; with fewer than `LEAST` students on a side there is no claim.
    """
    units, pictures = (len(ours), len(theirs)), ours.shape[1]
    if units == (1, 1) and _whether_right(ours) and _whether_right(theirs):
        return mcnemar(ours[0] > 0, theirs[0] > 0)
    gap = ours.mean(axis=0) - theirs.mean(axis=0)
    difference = 100 * float(gap.mean())
    if min(units) < LEAST or pictures < 2:
        return Comparison(difference, "none", units, pictures)
    students = [100 * side.mean(axis=1) for side in (ours, theirs)]
    variances = [float(side.var(ddof=1)) for side in students]
    over_pictures = 1e4 * float(gap.var(ddof=1)) / pictures
    return _judged(difference, "paired", units, variances, over_pictures, pictures)


def unpaired(ours: Sample, theirs: Sample) -> Comparison:
    """Welch's t test from means and deviations over students, the test pictures taken as given."""
    units, difference = (ours.n, theirs.n), ours.mean - theirs.mean
    if ours.std is None or theirs.std is None or min(units) < LEAST:
        return Comparison(difference, "none", units)
    return _judged(difference, "welch", units, [ours.std**2, theirs.std**2], 0.0, 0)


def mcnemar(ours: Bool[np.ndarray, " n"], theirs: Bool[np.ndarray, " n"]) -> Comparison:
    """McNemar's exact test of two students on the same pictures: what is right by one of them only.

    It speaks of these two trained networks, on pictures like these, and of no other student of their sets.
    """
    won, lost = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    n, discordant = len(ours), won + lost
    difference = 100 * (won - lost) / n
    p = min(1.0, 2 * float(bdtr(min(won, lost), discordant, 0.5))) if discordant else 1.0
    error = 100 * math.sqrt(max(discordant - (won - lost) ** 2 / n, 0.0)) / n
    # Half a picture on either side keeps the odds finite.
    odds = math.log((won + 0.5) / (lost + 0.5))
    return Comparison(difference, "mcnemar", (1, 1), n, error, float(max(n - 1, 1)), p, odds)


def holm(ps: Sequence[float]) -> list[float]:
    """p values after Holm's step-down correction, in the order given: the family-wise rate stays below the level.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979). Holds whatever the comparisons share.
    Raises `ValueError` for what is no p value: a NaN would take any rank, and the others would be corrected by it.
    """
    if not all(0 <= p <= 1 for p in ps):
        raise ValueError(
            f"p values are between 0 and 1, not {[p for p in ps if not 0 <= p <= 1]}: leave missing ones out"
        )
    adjusted, highest = [0.0] * len(ps), 0.0
    for rank, position in enumerate(sorted(range(len(ps)), key=lambda place: ps[place])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[position]))
        adjusted[position] = highest
    return adjusted


def _judged(
    difference: float, model: Model, units: tuple[int, int], variances: Sequence[float], over_pictures: float, n: int
) -> Comparison:
    """t with Satterthwaite's degrees of freedom of the parts; a difference without any variance is no claim."""
    parts = [variance / count for variance, count in zip(variances, units, strict=True)]
    total = sum(parts) + over_pictures
    if not total > 0:
        # All alike on all pictures: nothing was drawn, so there is nothing to judge by.
        return Comparison(difference, "none", units, n)
    shares = _squared_over(parts, units)
    students = max(sum(parts) ** 2 / shares - _CAUTION, min(units) - 1) if shares else math.inf
    spread = _squared_over([over_pictures], [n]) if over_pictures else 0.0
    df = total**2 / (sum(parts) ** 2 / students + spread)
    error = math.sqrt(total)
    p = 2 * float(stdtr(df, -abs(difference) / error))
    return Comparison(difference, model, units, n, error, df, p, _hedges(difference, variances, units))


def _squared_over(parts: Sequence[float], counts: Sequence[int]) -> float:
    return sum(part**2 / (count - 1) for part, count in zip(parts, counts, strict=True))


def _hedges(difference: float, variances: Sequence[float], units: tuple[int, int]) -> float | None:
    """The difference in deviations of students (the root of the mean variance), with Hedges' correction for few."""
    pooled, df = math.sqrt(sum(variances) / 2), sum(units) - 2
    return (1 - 3 / (4 * df - 1)) * difference / pooled if pooled > 0 else None


def _whether_right(side: Float[np.ndarray, "a n"]) -> bool:
    return bool(np.isin(side, (0.0, 1.0)).all())
