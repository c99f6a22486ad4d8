"""How often a table of sets that do not differ shows a star, in simulated tables.

    python benchmarks/false_positives.py                # 2,000 tables; a line for each number of students, then all
    python benchmarks/false_positives.py --tables 200

A table is a random control and 2 to 12 distilled sets, each compared with the control: 3 to 5 students a set, 200 to
2,000 test pictures. Whether a student tells a picture is a draw from a logistic model with the spreads that were seen
on digits and CIFAR-10 at IPC 1: pictures differ most, sets differ in which pictures they make easy, students of one set
differ by 1 to 2 points and those of the control, which draw pictures of their own, by 4, in part by which classes they
favour. All sets have the same expected accuracy over pictures. Printed: tables with any star (what Holm's correction
promises to hold at 5 %), single comparisons with p < .05 before correction, and tables that had a star by the spread,
2 sqrt(s1^2 / n1 + s2^2 / n2), without correction.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fredbench.evaluation.comparison import paired  # noqa: E402
from fredbench.evaluation.significance import ahead_by_more_than_spread, claims  # noqa: E402
from fredbench.evaluation.statistics import summarise  # noqa: E402

CLASSES = 10
# In logits.
DIFFICULTY, OF_SET, OF_STUDENT, OF_CONTROL, OF_CLASS = 1.5, 0.8, 0.06, 0.25, 0.3


@dataclass
class Counts:
    """Tables, and how many of them showed what."""

    tables: int = 0
    comparisons: int = 0
    starred: int = 0
    starred_comparisons: int = 0
    uncorrected: int = 0
    by_spread: int = 0
    covered: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    def __str__(self) -> str:
        return (
            f"{self.tables:,} tables, {self.comparisons:,} comparisons: a star in "
            f"{self.starred / self.tables:.1%} of the tables; "
            f"p < .05 before correction in {self.uncorrected / self.comparisons:.1%} of the comparisons; "
            f"by the spread alone a star in {self.by_spread / self.tables:.1%} of the tables; "
            f"95 % intervals hold the difference in {self.covered / self.comparisons:.1%}"
        )


def students_of(draws: np.random.Generator, difficulty: np.ndarray, n: int, spread: float, lead: float) -> np.ndarray:
    """Students × pictures, whether right, of one set; and in the last row the expected share over its students."""
    pictures = len(difficulty)
    level = 0.2 + lead + difficulty + draws.normal(0, OF_SET, pictures)
    own = draws.normal(0, spread, (n, 1)) + draws.normal(0, OF_CLASS, (n, CLASSES))[:, np.arange(pictures) % CLASSES]
    return draws.random((n, pictures)) < 1 / (1 + np.exp(-(level + own)))


def expected_share(lead: float) -> float:
    """Expected accuracy of a set whose logits are `lead` above the control's, in percent (by quadrature)."""
    points, weights = np.polynomial.hermite_e.hermegauss(60)
    # Students' spread moves it by less than .1 point and is left out; what pictures and sets differ by is not.
    scale = np.sqrt(DIFFICULTY**2 + OF_SET**2 + OF_CLASS**2)
    return float(100 * (weights / (1 + np.exp(-(0.2 + lead + scale * points)))).sum() / weights.sum())


def one_table(draws: np.random.Generator, n: int, lead: float) -> Counts:
    """A table of sets that lead the control by `lead` logits."""
    pictures, sets = int(draws.choice([200, 500, 1000, 2000])), int(draws.integers(2, 13))
    difficulty = draws.normal(0, DIFFICULTY, pictures)
    control = students_of(draws, difficulty, n, OF_CONTROL, 0.0).astype(float)
    rows = [students_of(draws, difficulty, n, OF_STUDENT, lead).astype(float) for _ in range(sets)]
    found = claims([paired(row, control) for row in rows])
    base, samples = summarise(percent(control)), [summarise(percent(row)) for row in rows]
    apart = [ahead_by_more_than_spread(a, b) for own in samples for a, b in ((own, base), (base, own))]
    truth = expected_share(lead) - expected_share(0.0)
    intervals = [claim.comparison.interval or (0.0, 0.0) for claim in found]
    return Counts(
        tables=1,
        comparisons=sets,
        starred=any(claim.holds for claim in found),
        starred_comparisons=sum(claim.holds for claim in found),
        uncorrected=sum((claim.comparison.p or 0.0) < 0.05 for claim in found),
        by_spread=any(apart),
        covered=sum(low <= truth <= high for low, high in intervals),
    )


def percent(right: np.ndarray) -> list[float]:
    return [float(share) for share in 100 * right.mean(axis=1)]


def simulated(tables: int, seed: int = 0, students: tuple[int, ...] = (3, 4, 5), lead: float = 0.0) -> Counts:
    """`tables` tables with 3 to 5 students a set in turn; sets are `lead` logits above the control."""
    draws, total = np.random.default_rng(seed), Counts()
    for number in range(tables):
        total += one_table(draws, students[number % len(students)], lead)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began, total = time.monotonic(), Counts()
    share = -(-options.tables // 3)
    for n in (3, 4, 5):
        found = simulated(share, seed=options.seed + n, students=(n,))
        print(f"{n} students: {found}", flush=True)
        total += found
    print(f"all: {total}\n{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
