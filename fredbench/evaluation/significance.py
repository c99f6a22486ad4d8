"""Where two accuracies count as different: the spread between them, and the claims of one table after correction.

A star stands for p < .05 after Holm's correction over all comparisons of a table; the tests are in `comparison`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fredbench.evaluation.comparison import LEAST, Comparison, holm, unpaired
from fredbench.evaluation.rows import CLEAN, Row
from fredbench.evaluation.statistics import CONFIDENCE, Sample

__all__ = ["TESTS", "Claim", "ahead_by_more_than_spread", "between", "claims", "footnotes", "spread_between"]

LEVEL = 1 - CONFIDENCE


@dataclass(frozen=True)
class Claim:
    """A comparison of a table, with its p after correction over all of them; None where there are too few students."""

    comparison: Comparison
    p: float | None

    @property
    def holds(self) -> bool:
        """Whether the two are told apart at 5 %, over the whole table."""
        return self.p is not None and self.p < LEVEL

    @property
    def mark(self) -> str:
        """`*` where it holds of the sets, `†` where of the two students alone, else empty."""
        return "" if not self.holds else "†" if self.comparison.model == "mcnemar" else "*"

    def __str__(self) -> str:
        return f"{self.comparison.difference:+.1f}{self.mark}"

    def told(self) -> str:
        """The difference with its interval, p and size, for a sentence."""
        found, interval = self.comparison, self.comparison.interval
        if self.p is None:
            return f"{self} (n too small for a claim)"
        if interval is None:
            return f"{self} (p = {self.p:.2g}, and no interval: the pictures do not differ in it)"
        size = "" if found.effect is None or found.model == "mcnemar" else f", g = {found.effect:.1f}"
        p = "p < 0.0001" if self.p < 1e-4 else f"p = {self.p:.2g}"
        return f"{self} (95 % {interval[0]:.1f} to {interval[1]:.1f}, {p}{size})"


def between(row: Row, other: Row, domain: str = CLEAN) -> Comparison | None:
    """`row` against `other`: by predictions where the row has them, else by the summaries; None without the domain."""
    name = Path(other.run).name
    for compared in row.compared if row.network == other.network else ():
        if (compared.to, compared.network, compared.domain) == (name, row.network, domain):
            return compared.found
    ours, theirs = (row.clean, other.clean) if domain == CLEAN else (row.average, other.average)
    return None if ours is None or theirs is None else unpaired(ours, theirs)


def claims(comparisons: Sequence[Comparison]) -> list[Claim]:
    """The claims of one table, in order: Holm's correction over all comparisons that have a p."""
    known = [found.p for found in comparisons if found.p is not None]
    adjusted = iter(holm(known))
    return [Claim(found, None if found.p is None else next(adjusted)) for found in comparisons]


def footnotes(table: Iterable[Claim], *, star: str = "*") -> list[str]:
    """What a table must say below its stars: how many comparisons, by which test, of what, and where n is too small.

    star: as the table writes it.
    """
    table = list(table)
    tested = [claim for claim in table if claim.p is not None]
    said = []
    if tested:
        several = f"Holm's correction over the {len(tested)} comparisons of this table"
        models = {claim.comparison.model for claim in tested}
        tests = [text for model, text in TESTS.items() if model in models]
        mark = f"{star} p < .05 after {several if len(tested) > 1 else 'no correction, being one comparison'}"
        said.append(f"{mark}; {'; '.join(tests)}.")
        if models - {"mcnemar"}:
            said.append(
                "Claims are of these very sets (students are the units, those of one set share its pictures; a random "
                "control draws anew for each): for a claim of a system, distil it under several seeds."
            )
        if any(claim.mark == "†" for claim in tested):
            said.append("† of the two students that were trained, not of their sets.")
    if few := len(table) - len(tested):
        said.append(f"No claim for {few} of {len(table)} comparisons: n too small (fewer than {LEAST} students).")
    return said


TESTS = {
    "paired": "students × pictures, paired over the same test pictures (docs/statistics.md)",
    "mcnemar": "McNemar's exact test where there is one student a set",
    "welch": "Welch's t over students where predictions are not at hand, the test pictures taken as given",
}


def spread_between(a: Sample, b: Sample) -> float | None:
    """2 sqrt(s_a^2 / n_a + s_b^2 / n_b), the reach of the unpaired difference; None without two students each."""
    if a.std is None or b.std is None:
        return None
    return 2 * math.sqrt(a.std**2 / a.n + b.std**2 / b.n)


def ahead_by_more_than_spread(a: Sample, b: Sample) -> bool:
    """Whether `a` is above `b` by more than the spread; False where the spread is unknown."""
    spread = spread_between(a, b)
    return spread is not None and a.mean - b.mean > spread
