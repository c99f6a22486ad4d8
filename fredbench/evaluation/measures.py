"""From accuracies of students to the numbers of a row: averages, corruption errors.

Functions of plain numbers, so that a row can be made again from what each student had, without data or networks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from fredbench.evaluation.rows import CorruptionScore
from fredbench.evaluation.statistics import Sample, corruption_errors, mean_over, relative_corruption_errors, summarise
from fredbench.suites.parts import Baseline

__all__ = ["Values", "average_over", "corruption_scores", "student_means"]

Values = Sequence[Sequence[float]]
"""A list a student, a value a severity."""


def corruption_scores(
    by_corruption: Mapping[str, Values], clean: Sequence[float], baseline: Baseline | None, severities: Sequence[int]
) -> dict[str, Any]:
    """Fields of a row that follow from the accuracies of its students on corruptions, and on the clean ones beside.

    by_corruption: percent, a list a student, a value for each of `severities`. clean: percent, a value a student.
    """
    if baseline is None or not by_corruption:
        return {"corruptions": {name: _score(values) for name, values in by_corruption.items()}}
    return _against(baseline, severities, by_corruption, clean)


def average_over(domains: Sequence[Values]) -> Sample:
    """The average of a row over its domains and their severities, a value a student."""
    return summarise(student_means(domains))


def _score(values: Values) -> CorruptionScore:
    by_severity = tuple(sum(column) / len(column) for column in zip(*values, strict=True))
    return CorruptionScore(summarise(student_means([values])), by_severity, by_student=tuple(map(tuple, values)))


def student_means(domains: Sequence[Values]) -> list[float]:
    """Of each student the mean over all domains and severities."""
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
