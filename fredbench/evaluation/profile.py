"""A row in one picture: clean, families of corruptions, C-bar, attacks and calibration, as far as they were measured.

Every axis is in percent, higher is better. Nothing is made up for an axis that was not measured: it is not there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from fredbench.corruptions import CBAR_ALL, EXTRAS
from fredbench.evaluation.attacked import WORST, Attacked, told_norm, told_radius
from fredbench.evaluation.rows import CLEAN, Row
from fredbench.evaluation.statistics import Sample, summarise

__all__ = ["CALIBRATED", "FAMILIES", "absent", "few_of_family", "place", "profile", "same_students"]

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
"""The four into which the 15 columns of the literature's tables fall, in their order."""

CALIBRATED = "100 − ECE"
_CBAR, _EXTRA, _ADVERSARIAL = "C-bar", "extra", "adversarial"
_GROUPS = {**FAMILIES, _EXTRA: EXTRAS, _CBAR: CBAR_ALL}
_HOW = {
    **dict.fromkeys(FAMILIES, "a corruption suite"),
    _CBAR: "a C-bar suite of the dataset as well",
    _ADVERSARIAL: "--attack",
    CALIBRATED: "calibration",
}


def profile(rows: Sequence[Row]) -> dict[str, Sample]:
    """The axes of one set in order, from its rows in several tables; where two have an axis, the first one's counts.

    clean; a mean over the corruptions of a family and their severities; `C-bar` likewise; under attack, what is left by
    the worst of all attacks at the largest radius of each norm; 100 less the expected calibration error on clean
    pictures.
    """
    found: dict[str, Sample] = {CLEAN: rows[0].clean}
    for name, members in _GROUPS.items():
        for row in rows:
            samples = [row.corruptions[one].sample for one in members if one in row.corruptions]
            if samples:
                found.setdefault(name, _mean(samples))
    for row in rows:
        if row.attacked is not None:
            found = {**_under_attack(row.attacked), **found}
        if CLEAN in row.calibration:
            found.setdefault(CALIBRATED, _rest(row.calibration[CLEAN].ece))
    return {name: found[name] for name in sorted(found, key=place)}


def absent(profiles: Sequence[Mapping[str, Sample]]) -> dict[str, str]:
    """The usual axes that none of `profiles` has, and what it takes to have each."""
    there = {name.split(",")[0] for each in profiles for name in each}
    return {name: how for name, how in _HOW.items() if name not in there}


def few_of_family(rows: Sequence[Row]) -> dict[str, tuple[str, ...]]:
    """Families of which the rows' suites have some corruptions only, with those."""
    scored = {name for row in rows for name in row.corruptions}
    some = {name: tuple(one for one in members if one in scored) for name, members in FAMILIES.items()}
    return {name: those for name, those in some.items() if those and len(those) < len(FAMILIES[name])}


def same_students(row: Row) -> tuple[object, ...]:
    """What two rows have in common that are of the same students on the same clean pictures, in two tables."""
    return (row.run, row.network, row.students, row.protocol, row.train_labels, row.augmentation, row.limit)


def _under_attack(attacked: Attacked) -> dict[str, Sample]:
    found = {}
    for norm in dict.fromkeys(score.norm for score in attacked.scores):
        largest = max(score.epsilon for score in attacked.scores if score.norm == norm)
        scores = [score for score in attacked.scores if (score.norm, score.epsilon) == (norm, largest)]
        # Picture by picture, where there is such a score; a transferred attack is in none, and may leave less.
        worst = min(scores, key=lambda score: (score.robust.mean, score.attack != WORST))
        found[f"{_ADVERSARIAL}, {told_norm(norm)} {told_radius(norm, largest)}"] = worst.robust
    return found


def place(name: str) -> tuple[int, str]:
    """Where an axis stands among others, to sort by."""
    order = [CLEAN, *_GROUPS, _ADVERSARIAL, CALIBRATED]
    return order.index(name.split(",")[0]), name


def _rest(sample: Sample) -> Sample:
    return Sample(100 - sample.mean, sample.std, sample.n, tuple(100 - value for value in sample.values))


def _mean(samples: Sequence[Sample]) -> Sample:
    """The mean of samples of the same students, student by student; where only means are known, without a spread."""
    if all(len(sample.values) == samples[0].n for sample in samples):
        columns = zip(*(sample.values for sample in samples), strict=True)
        return summarise([math.fsum(column) / len(column) for column in columns])
    return Sample(math.fsum(sample.mean for sample in samples) / len(samples), None, samples[0].n)
