"""From stored predictions to the numbers of a row: accuracies, corruption errors, calibration.

Everything here is a function of predictions and labels, so any of it can be computed anew without students.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from fredbench.evaluation.domains import TestDomains
from fredbench.evaluation.measures import Values, average_over, corruption_scores, student_means
from fredbench.evaluation.rows import CLEAN, CLEAN_CROP, Calibration, Reliability
from fredbench.evaluation.statistics import Sample, summarise
from fredbench.evaluation.students import Predictions

__all__ = ["Outcomes", "row_scores"]


@dataclass(frozen=True)
class Outcomes:
    """What a row's students predicted on one domain, and what was right."""

    predictions: Sequence[Predictions]
    labels: Int64[np.ndarray, " n"]

    def accuracies(self) -> list[list[float]]:
        """Percent correct: a list a student, a value a severity."""
        return [found.accuracy(self.labels) for found in self.predictions]


def row_scores(
    domains: TestDomains, names: Sequence[str], outcomes: Callable[[str], Outcomes], *, calibration: bool
) -> dict[str, Any]:
    """Fields of a row that follow from the predictions of its students on the domains `names`.

    `outcomes(name)` reads those of one domain; clean is left to the caller, who has it by network.
    """
    corruptions = [name for name in names if name in domains.suite.corruptions]
    accuracies = {name: outcomes(name).accuracies() for name in names}
    by_corruption = {name: accuracies[name] for name in corruptions}
    shifted = [accuracies[name] for name in names if name in domains.shifts]
    averaged = list(by_corruption.values()) or shifted
    found: dict[str, Any] = {
        "domains": {
            name: summarise([student[0] for student in accuracies[name]])
            for name in names
            if name not in corruptions and name != CLEAN
        },
        "average": average_over(averaged) if averaged else None,
    }
    if by_corruption:
        found["no_baseline"] = domains.no_baseline
    reference = accuracies.get(CLEAN_CROP, accuracies[CLEAN])
    found |= corruption_scores(by_corruption, [clean[0] for clean in reference], domains.baseline, domains.severities)
    if calibration:
        found["calibration"] = _calibration({name: outcomes(name) for name in names}, corruptions or domains.shifts)
    return found


def _calibration(outcomes: Mapping[str, Outcomes], averaged: Sequence[str]) -> dict[str, Calibration]:
    def each(measure: Callable[[Predictions, Int64[np.ndarray, " n"]], list[float]]) -> dict[str, Values]:
        return {name: [measure(found, own.labels) for found in own.predictions] for name, own in outcomes.items()}

    measured = [
        each(measure)
        for measure in (
            lambda found, labels: found.mean_nll(),
            Predictions.calibration_error,
            Predictions.adaptive_calibration_error,
            Predictions.area_under_risk,
        )
    ]
    briers = {name: [found.mean_brier() for found in own.predictions] for name, own in outcomes.items()}
    kept = {name: [found for found in values if found is not None] for name, values in briers.items()}
    groups = {name: [name] for name in outcomes} | ({"average": list(averaged)} if averaged else {})

    def over(values: Mapping[str, Values], names: Sequence[str]) -> Sample:
        return summarise(student_means([values[name] for name in names]))

    def found(key: str, names: Sequence[str]) -> Calibration:
        nll, ece, adaptive, aurc = (over(values, names) for values in measured)
        brier = over(kept, names) if all(len(kept[name]) == len(briers[name]) for name in names) else None
        shown = _reliability([outcomes[name] for name in names]) if key in (CLEAN, "average") else None
        return Calibration(nll, ece, adaptive, aurc, brier, shown)

    return {key: found(key, names) for key, names in groups.items()}


def _reliability(outcomes: Sequence[Outcomes]) -> Reliability:
    """The bins of all students, domains and severities, every prediction counting once."""
    found = [each.binned(own.labels) for own in outcomes for each in own.predictions]
    pictures, confidence, right = (
        np.sum([part.sum(dim=0).numpy() for part in parts], axis=0) for parts in zip(*found, strict=True)
    )

    def means(sums: Float64[np.ndarray, " bins"]) -> tuple[float | None, ...]:
        return tuple(100 * float(s / n) if n else None for s, n in zip(sums, pictures, strict=True))

    return Reliability(tuple(int(n) for n in pictures), means(confidence), means(right))
