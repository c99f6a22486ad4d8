"""From stored predictions to the numbers of a row: accuracies, corruption errors, calibration.

Everything here is a function of predictions and labels, so any of it can be computed anew without students.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64

from fredbench.evaluation.domains import TestDomains
from fredbench.evaluation.rows import CLEAN, CLEAN_CROP, Calibration, CorruptionScore
from fredbench.evaluation.statistics import Sample, corruption_errors, mean_over, relative_corruption_errors, summarise
from fredbench.evaluation.students import Predictions
from fredbench.suites.parts import Baseline

__all__ = ["Outcomes", "row_scores"]

Values = Sequence[Sequence[float]]
"""A list a student, a value a severity."""


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
        "average": summarise(_means(averaged)) if averaged else None,
        "corruptions": {name: _score(values) for name, values in by_corruption.items()},
    }
    if by_corruption:
        found["no_baseline"] = domains.no_baseline
    if domains.baseline is not None and by_corruption:
        reference = accuracies.get(CLEAN_CROP, accuracies[CLEAN])
        found |= _against(domains.baseline, domains.severities, by_corruption, [clean[0] for clean in reference])
    if calibration:
        found["calibration"] = _calibration({name: outcomes(name) for name in names}, corruptions or domains.shifts)
    return found


def _score(values: Values) -> CorruptionScore:
    by_severity = tuple(sum(column) / len(column) for column in zip(*values, strict=True))
    return CorruptionScore(summarise(_means([values])), by_severity, by_student=tuple(map(tuple, values)))


def _means(domains: Sequence[Values]) -> list[float]:
    """For each student the mean over all domains and severities."""
    students = range(len(domains[0]))
    every = [[value for values in domains for value in values[student]] for student in students]
    return [sum(values) / len(values) for values in every]


def _against(
    baseline: Baseline, severities: Sequence[int], by_corruption: Mapping[str, Values], clean: Sequence[float]
) -> dict[str, Any]:
    """mCE and relative mCE over students, the CE of each corruption, and what they are relative to."""
    theirs = {
        name: [baseline.errors[name][severity - 1] for severity in severities]
        for name in by_corruption
        if name in baseline.errors
    }
    plain, relative = [], []
    for student, accuracy in enumerate(clean):
        ours = {name: [100 - value for value in values[student]] for name, values in by_corruption.items()}
        plain.append(corruption_errors(ours, theirs))
        relative.append(relative_corruption_errors(ours, 100 - accuracy, theirs, baseline.clean))
    return {
        "corruptions": {
            name: dataclasses.replace(
                _score(values), ce=_mean([ce[name] for ce in plain]), relative_ce=_mean([ce[name] for ce in relative])
            )
            for name, values in by_corruption.items()
        },
        "mce": _sample([mean_over(errors) for errors in plain]),
        "relative_mce": _sample([mean_over(errors) for errors in relative]),
        "baseline": baseline.identity(),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    sample = _sample(values)
    return None if sample is None else sample.mean


def _sample(values: Sequence[float | None]) -> Sample | None:
    known = [value for value in values if value is not None]
    return summarise(known) if known and len(known) == len(values) else None


def _calibration(outcomes: Mapping[str, Outcomes], averaged: Sequence[str]) -> dict[str, Calibration]:
    nll = {name: [found.mean_nll() for found in own.predictions] for name, own in outcomes.items()}
    ece = {name: [found.calibration_error(own.labels) for found in own.predictions] for name, own in outcomes.items()}
    groups = {name: [name] for name in outcomes} | ({"average": list(averaged)} if averaged else {})
    return {
        key: Calibration(
            summarise(_means([nll[name] for name in names])), summarise(_means([ece[name] for name in names]))
        )
        for key, names in groups.items()
    }
