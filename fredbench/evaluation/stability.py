"""How steady students are along a sequence that changes a little from picture to picture: flips and top-5 distance.

Both are of Hendrycks & Dietterich (ICLR 2019); what a picture is compared with is each perturbation's own
(`corruptions.sequences`). Their normalisers, AlexNet's, are not in the published code, so none is applied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Int16, Shaped, UInt8
from torch import Tensor

from fredbench.corruptions import SEQUENCES
from fredbench.corruptions.perturbing import frames_of
from fredbench.corruptions.sequences import SequenceKind
from fredbench.evaluation.attacking import DIVERGED
from fredbench.evaluation.rows import Stability
from fredbench.evaluation.statistics import summarise
from fredbench.foundation.errors import UsageError
from fredbench.networks.base import Network
from fredbench.training.batches import Standardisation
from fredbench.training.loop import PREDICTED_AT_ONCE, predict
from fredbench.training.preprocessing import Preprocessing

__all__ = ["TOP", "Sequences", "flip_probability", "ranked", "stability", "top_distance"]

TOP = 5
"""Classes of a ranking that count."""


@dataclass(frozen=True)
class Sequences:
    """What is asked: perturbations by name, on that many evenly spaced test pictures (None: as many as are scored
    clean), drawn from `seed`.
    """

    names: tuple[str, ...]
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--sequence-limit must be at least 1, not {self.limit}", hint="leave it out for --limit")


def ranked(
    student: Network,
    pictures: UInt8[np.ndarray, "n h w c"],
    name: str,
    *,
    numbers: Sequence[int],
    seed: int,
    preprocessing: Preprocessing,
    standardise: Standardisation,
    device: torch.device,
) -> Int16[Tensor, "n t k"]:
    """The k ≤ TOP classes that a student finds likeliest on each frame of `name`, the likeliest first.

    A batch is one frame of as many pictures as clean ones are scored at once: where a student standardises by the
    batch, frames of a sequence do not show each other.
    """
    found = []
    for start in range(0, len(pictures), PREDICTED_AT_ONCE):
        part = slice(start, start + PREDICTED_AT_ONCE)
        frames = frames_of(pictures[part], name, seed=seed, indices=numbers[part])
        best = [_likeliest(predict(student, preprocessing(each, device), standardise=standardise)) for each in frames]
        found.append(torch.stack(best, dim=1))
    return torch.cat(found)


def _likeliest(logits: Float[Tensor, "n k"]) -> Int16[Tensor, "n top"]:
    if not bool(logits.isfinite().all()):
        raise UsageError("a student has diverged: its outputs are not finite", hint=DIVERGED)
    return logits.argsort(dim=1, descending=True, stable=True)[:, :TOP].to("cpu", torch.int16)


def _compared(
    frames: Shaped[np.ndarray, "n t *k"], kind: SequenceKind
) -> tuple[Shaped[np.ndarray, "n s *k"], Shaped[np.ndarray, "n s *k"]]:
    """Each frame but the first, and the one that it is compared with."""
    later = frames[:, 1:]
    return later, frames[:, :-1] if kind.reference == "previous" else np.broadcast_to(frames[:, :1], later.shape)


def flip_probability(classes: Int[np.ndarray, "n t"], kind: SequenceKind) -> float:
    """Share, in percent, of frames whose predicted class is not that of the frame they are compared with."""
    later, reference = _compared(classes, kind)
    return 100.0 * float(np.mean(later != reference))


def top_distance(rankings: Int[np.ndarray, "n t k"], kind: SequenceKind) -> float:
    """Mean top-5 distance: over places i = 1..5 of the reference's ranking, |min(i, 6) - min(σ(i), 6)| summed.

    σ(i) is the place in the frame's ranking of the class at place i of the reference's; 0 where the five are the same
    in the same order, 15 where none is left. `rankings`: the k ≤ 5 likeliest classes.
    """
    later, reference = _compared(rankings, kind)
    same = reference[..., :, None] == later[..., None, :]
    places = np.where(same.any(-1), same.argmax(-1), TOP)
    return float(np.mean(np.abs(places - np.arange(rankings.shape[-1])).sum(-1)))


def stability(
    asked: Sequences,
    kept: Mapping[str, Sequence[Int16[Tensor, "n t k"]]],
    labels: Int[np.ndarray, " n"],
    note: str = "",
) -> tuple[Stability, ...]:
    """From what each student made of each perturbation: of every one, over students. note: see `own_sequences`."""
    found = []
    for name in asked.names:
        kind, rankings = SEQUENCES[name], [each.numpy() for each in kept[name]]
        found.append(
            Stability(
                name,
                kind.frames,
                len(labels),
                summarise([flip_probability(each[..., 0], kind) for each in rankings]),
                summarise([top_distance(each, kind) for each in rankings]),
                summarise([100.0 * float(np.mean(each[..., 0] == labels[:, None])) for each in rankings]),
                note,
            )
        )
    return tuple(found)
