"""Whether a student tells that a picture is none of its dataset's: scores of both, and how well these part them.

Every score is higher for pictures that look familiar. Both sides are test pictures, prepared alike; what is kept beside
a student are the scores, so that the rates can be computed anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from sklearn.metrics import roc_auc_score
from torch import Tensor

from fredbench.evaluation.rows import SCORES, Outliers, OutlierScore
from fredbench.evaluation.statistics import summarise
from fredbench.networks.base import Network
from fredbench.training.batches import Standardisation, standardised

__all__ = ["detection_rates", "familiarity", "outlier_scores"]

_AT_ONCE = 128


@torch.no_grad()
def familiarity(
    student: Network,
    pictures: Float[Tensor, "n c h w"],
    bank: Float[Tensor, "m c h w"],
    standardise: Standardisation = "none",
) -> Float[Tensor, "3 n"]:
    """Scores of `pictures`, a row each in the order of `SCORES`; `bank`: what the student was trained on."""
    student.eval()
    logits, features = _seen(student, pictures, standardise)
    known = torch.nn.functional.normalize(_seen(student, bank, standardise)[1], dim=1)
    nearest = torch.cat([(part @ known.T).amax(dim=1) for part in features.split(_AT_ONCE)])
    return torch.stack([logits.softmax(dim=1).amax(dim=1), logits.logsumexp(dim=1), nearest]).float().cpu()


def _seen(student: Network, pictures: Tensor, standardise: Standardisation) -> tuple[Tensor, Tensor]:
    """Logits, and features of length one, a batch at a time, in order."""
    features = torch.cat([student.embed(standardised(part, standardise)) for part in pictures.split(_AT_ONCE)])
    logits: Tensor = student.head(features)
    return logits, torch.nn.functional.normalize(features, dim=1)


def detection_rates(inside: Float[np.ndarray, " n"], outside: Float[np.ndarray, " m"]) -> tuple[float, float]:
    """Area under the ROC curve, and the rate of other pictures let through with 95 % of one's own, both in percent.

    At the highest threshold that keeps 95 % of `inside`. The area counts equal scores by half.
    """
    own = np.concatenate([np.ones(len(inside)), np.zeros(len(outside))])
    area = float(roc_auc_score(own, np.concatenate([inside, outside])))
    threshold = np.sort(inside)[len(inside) // 20]
    return 100 * area, 100 * float(np.mean(outside >= threshold))


def outlier_scores(
    dataset: str,
    kept: Sequence[tuple[Float[Tensor, "3 n"], Float[Tensor, "3 m"]]],
    partial: Mapping[str, str] | None = None,
) -> Outliers:
    """From what each student made of its own test pictures and of those of `dataset`, of which `partial` is missing."""
    scores = []
    for row, name in enumerate(SCORES):
        rates = [detection_rates(inside[row].numpy(), outside[row].numpy()) for inside, outside in kept]
        scores.append(OutlierScore(name, summarise([a for a, _ in rates]), summarise([f for _, f in rates])))
    inside, outside = kept[0]
    return Outliers(dataset, inside.shape[1], outside.shape[1], tuple(scores), partial or {})
