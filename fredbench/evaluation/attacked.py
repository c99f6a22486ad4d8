"""What attacks leave of a row's accuracy: by attack and radius, the worst of all, and the signs that one was misled.

Each student is attacked on the same evenly spaced test pictures, on which its clean accuracy is taken as well. A
picture that is misclassified as it is counts as broken; the success rate is of those that are not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from fredbench.evaluation.statistics import Sample
from fredbench.evaluation.threats import ATTACKS, LEVELS, Attack, Norm
from fredbench.foundation.errors import UsageError

__all__ = [
    "WORST", "AttackScore", "Attacked", "Attacks", "looked_for_masking", "robustness_ratio", "signs_of_masking",
    "told_norm", "told_radius",
]  # fmt: skip

WORST = "worst of these"


@dataclass(frozen=True)
class Attacks:
    """What is asked: attacks, the radii of all of them (by default each one's own), and on how many test pictures."""

    attacks: tuple[Attack, ...]
    epsilons: tuple[float, ...] = ()
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--attack-limit must be at least 1, not {self.limit}", hint="leave it out for all")
        if any(epsilon > 1 for epsilon in self.epsilons) and any(attack.norm == "linf" for attack in self.attacks):
            raise UsageError("a change of a value is at most 1", hint="give --epsilon as 8/255")
        if self.epsilons and len({attack.norm for attack in self.attacks}) > 1:
            raise UsageError(
                "one --epsilon is no radius in two norms",
                hint="ask for attacks in l2 by themselves, or leave --epsilon out for each norm's own",
            )

    def pairs(self) -> list[tuple[Attack, float]]:
        """Every attack at every radius, in rising order."""
        return [(attack, radius) for attack in self.attacks for radius in self._radii(attack)]

    def _radii(self, attack: Attack) -> list[float]:
        return sorted(set(self.epsilons or attack.epsilons))


@dataclass(frozen=True)
class AttackScore:
    """One attack at one radius. robust: accuracy under it. success: share broken of what is right without it.

    epsilon: of the range of a picture's values. Both samples in percent, over students; success leaves out those that
    are never right, and is None where all are.
    """

    attack: str
    norm: Norm
    epsilon: float
    robust: Sample
    success: Sample | None

    def to_mapping(self) -> dict[str, Any]:
        """As the JSON tables hold it."""
        success = None if self.success is None else self.success.to_mapping()
        return {
            "attack": self.attack, "norm": self.norm, "epsilon": round(self.epsilon, 8),
            "accuracy": self.robust.to_mapping(), "success": success,
        }  # fmt: skip


@dataclass(frozen=True)
class Attacked:
    """Attacks on one row's students. pictures: how many were attacked. clean: accuracy on them as they are.

    scores: in the order asked, then the worst of all white-box attacks of a norm where there are several.
    """

    pictures: int
    clean: Sample
    scores: tuple[AttackScore, ...]

    @property
    def attacks(self) -> list[tuple[str, Norm]]:
        """Names and norms, in order."""
        return list(dict.fromkeys((score.attack, score.norm) for score in self.scores))

    def of(self, attack: str, norm: Norm) -> dict[float, AttackScore]:
        """Scores of one attack by radius."""
        return {score.epsilon: score for score in self.scores if (score.attack, score.norm) == (attack, norm)}

    def ratios(self) -> Iterator[tuple[Norm, float, float | None]]:
        """Norm, radius and `robustness_ratio` wherever there are two attacks or more on the student itself."""
        groups: dict[tuple[Norm, float], list[float]] = {}
        for score in self.scores:
            if score.attack != WORST and not ATTACKS[score.attack].transfer:
                groups.setdefault((score.norm, score.epsilon), []).append(score.robust.mean)
        for (norm, epsilon), found in groups.items():
            if len(found) > 1:
                yield norm, epsilon, robustness_ratio(self.clean.mean, found)

    def to_mapping(self) -> dict[str, Any]:
        """As the JSON tables hold it."""
        return {
            "pictures": self.pictures,
            "clean": self.clean.to_mapping(),
            "scores": [score.to_mapping() for score in self.scores],
            "robustness_ratio": [
                {"norm": norm, "epsilon": round(epsilon, 8), "value": None if ratio is None else round(ratio, 4)}
                for norm, epsilon, ratio in self.ratios()
            ],
            "signs_of_masking": signs_of_masking(self),
        }


def robustness_ratio(clean: float, accuracies: Sequence[float]) -> float | None:
    """BEARD's RR in percent: 100 (1 - (clean - mean) / (clean - min)) over the accuracies under several attacks.

    By its public code (white_box/auto_metrics.py). It is relative to the set's own worst attack: near 0 where all
    attacks take alike, however much that is, and high where they differ. Never read it without the accuracies. None
    where no attack takes anything.
    """
    lost = clean - min(accuracies)
    return 100 * (1 - (clean - math.fsum(accuracies) / len(accuracies)) / lost) if lost else None


def told_norm(norm: Norm) -> str:
    """`L∞` or `L2`."""
    return {"linf": "L∞", "l2": "L2"}[norm]


def told_radius(norm: Norm, epsilon: float) -> str:
    """`8/255` or `0.5`."""
    levels = epsilon * LEVELS
    return f"{round(levels)}/255" if norm == "linf" and abs(levels - round(levels)) < 1e-6 else f"{epsilon:.4g}"


# Weaker before stronger: more steps or starts, several steps before one, the network itself before another.
_PAIRS = (
    ("fgsm", "pgd20", "one step breaks more than twenty"),
    ("fgsm", "pgd50", "one step breaks more than fifty"),
    ("fgsm", "apgd-ce", "one step breaks more than an adaptive attack"),
    ("pgd20", "pgd50", "more steps break less"),
    ("pgd20-l2", "pgd50-l2", "more steps break less"),
    ("pgd20", "pgd20-r5", "more starts break less"),
    ("transfer", "pgd20", "pictures made on another student break more than its own"),
    ("transfer", "pgd50", "pictures made on another student break more than its own"),
    # Not weaker, but of a loss that cannot saturate.
    ("apgd-dlr", "apgd-ce", "the cross-entropy is flat"),
)


def looked_for_masking(found: Attacked) -> bool:
    """Whether there are two attacks or radii among the scores that can be held against each other."""
    radii = any(len(found.of(name, norm)) > 1 for name, norm in found.attacks if name != WORST)
    return radii or any(
        _by_radius(found, weaker).keys() & _by_radius(found, stronger).keys() for weaker, stronger, _ in _PAIRS
    )


def signs_of_masking(found: Attacked) -> list[str]:
    """What speaks for gradients that lead nowhere, so that the accuracies say too much; empty where nothing does.

    By Athalye et al., ICML 2018, section 3.1: a weaker attack that breaks more than a stronger one, a larger radius
    that breaks less, a cross-entropy that breaks less than the ratio of logits, which cannot saturate. A difference
    counts beyond twice the standard error of a difference of two shares of the pictures of all students, taken as
    independent; the pictures are the same, so that this is on the cautious side.
    """
    said = [
        f"{weaker} below {stronger} at {told_radius(score.norm, epsilon)}: {why}"
        for weaker, stronger, why in _PAIRS
        for epsilon, score in _by_radius(found, weaker).items()
        if (other := _by_radius(found, stronger).get(epsilon)) and _above(found, other, score)
    ]
    for name, norm in found.attacks:
        rising = list(found.of(name, norm).values())
        said += [
            f"{name} at {told_radius(norm, after.epsilon)} above {told_radius(norm, before.epsilon)}: "
            "a larger radius breaks less"
            for before, after in pairwise(rising)
            if _above(found, after, before)
        ]
    return said


def _by_radius(found: Attacked, name: str) -> dict[float, AttackScore]:
    return {score.epsilon: score for score in found.scores if score.attack == name}


def _above(found: Attacked, one: AttackScore, other: AttackScore) -> bool:
    shares, count = (one.robust.mean / 100, other.robust.mean / 100), found.pictures * one.robust.n
    error = math.sqrt(sum(share * (1 - share) for share in shares) / count)
    return shares[0] - shares[1] > max(2 * error, 1e-9)
