"""Students under attack: what is predicted of the pictures that were found, and the scores that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor, nn

from fredbench.evaluation.aggregation import Outcomes
from fredbench.evaluation.attacked import WORST, Attacked, Attacks, AttackScore
from fredbench.evaluation.attacks import adversarial
from fredbench.evaluation.statistics import summarise
from fredbench.evaluation.students import Predictions, predictions_on
from fredbench.evaluation.threats import Attack, Norm
from fredbench.foundation.errors import UsageError
from fredbench.networks import fused
from fredbench.networks.base import mixes_pictures
from fredbench.training.batches import Standardisation, standardised
from fredbench.training.preprocessing import Preprocessing

__all__ = ["DIVERGED", "Prey", "attack_scores"]

DIVERGED = "train students at a lower rate: distill again with --set student.lr=..."


@dataclass(frozen=True)
class Prey:
    """Clean test pictures and how students see them. numbers: those of the pictures in the test split.

    pictures: (n, h, w, c), 0 to 255. preprocessing: from there to the networks' input space; gradients pass it.
    """

    pictures: UInt8[np.ndarray, "n h w c"]
    labels: Int64[np.ndarray, " n"]
    numbers: Sequence[int]
    preprocessing: Preprocessing
    standardise: Standardisation
    device: torch.device

    def predictions(
        self, student: nn.Module, attack: Attack | None = None, epsilon: float = 0.0, *, source: nn.Module | None = None
    ) -> Predictions:
        """What `student` makes of the pictures, attacked or as they are; by a last pass over all, as it scores others.

        source: the network that the pictures are made on, in place of `student`.
        """
        pictures: UInt8[np.ndarray, "n h w c"] | Tensor = self.pictures
        if attack is not None:
            pictures = self._found(student if source is None else source, attack, epsilon)
        found = predictions_on(student, [self.preprocessing(pictures, self.device)], self.labels, self.standardise)
        if not bool(found.confidence.isfinite().all()):
            raise UsageError("a student has diverged: its outputs are not finite", hint=DIVERGED)
        return found

    def _found(self, network: nn.Module, attack: Attack, epsilon: float) -> Tensor:
        network.eval().requires_grad_(False)
        plain = torch.from_numpy(self.pictures).permute(0, 3, 1, 2).contiguous()
        pictures = plain.to(self.device).to(torch.get_default_dtype())
        labels = torch.from_numpy(self.labels).to(self.device)
        seen = self.preprocessing.like(pictures[:0])

        def model(x: Tensor) -> Tensor:
            logits: Tensor = network(standardised(seen(x), self.standardise))
            return logits

        together = self.standardise != "none" or mixes_pictures(network)
        with fused.once():
            return adversarial(model, pictures, labels, attack, epsilon, numbers=self.numbers, together=together)


def attack_scores(asked: Attacks, clean: Outcomes, outcomes: Callable[[Attack, float], Outcomes]) -> Attacked:
    """Scores from stored predictions: `clean` of the pictures as they are, `outcomes` of those an attack made."""
    whole, scores = _Right(clean), []
    kept: dict[tuple[Norm, float], list[Bool[np.ndarray, "s n"]]] = {}
    for attack, epsilon in asked.pairs():
        right = _Right(outcomes(attack, epsilon)).rows
        scores.append(_score(attack.name, attack.norm, epsilon, right, whole))
        if not attack.transfer:
            kept.setdefault((attack.norm, epsilon), []).append(right)
    several = {key: found for key, found in kept.items() if len(found) > 1}
    scores += [_score(WORST, *key, np.logical_and.reduce(found), whole) for key, found in several.items()]
    return Attacked(len(clean.labels), summarise(_percent(whole.rows)), tuple(scores))


@dataclass(frozen=True)
class _Right:
    """Which pictures each student classifies rightly."""

    outcomes: Outcomes

    @cached_property
    def rows(self) -> Bool[np.ndarray, "s n"]:
        labels = self.outcomes.labels
        return np.stack([found.predicted[0].numpy() == labels for found in self.outcomes.predictions])


def _score(name: str, norm: Norm, epsilon: float, right: Bool[np.ndarray, "s n"], whole: _Right) -> AttackScore:
    before = whole.rows
    known = before.any(axis=1)
    broken = (before & ~right)[known].sum(axis=1) / before[known].sum(axis=1)
    success = summarise([100 * float(share) for share in broken]) if known.any() else None
    return AttackScore(name, norm, epsilon, summarise(_percent(right)), success)


def _percent(right: Bool[np.ndarray, "s n"]) -> list[float]:
    return [100 * float(row.mean()) for row in right]
