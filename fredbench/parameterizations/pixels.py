"""Plain pixels: every value of every picture is a scalar of its own (DC, DSA, DM, CAFE, TM; also chosen pictures)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fredbench.foundation.config import late
from fredbench.foundation.device import sent
from fredbench.foundation.errors import ArtefactError, BudgetError, CompatibilityError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.parameterizations.base import Parameterization, State, StoredRole, class_ordered_labels
from fredbench.parameterizations.budget import Budget, Ledger
from fredbench.training.batches import RealPictures
from fredbench.training.optimisation import OptimiserName, ParameterGroup

__all__ = ["Pixels", "PixelsConfig"]


@dataclass(frozen=True)
class PixelsConfig:
    """lr, momentum: the image optimiser. init: `real` pictures or N(0, 1) `noise` (DC's and CAFE's default).

    optimiser: `sgd`, `adam` or `lamb`; final: what is left of the rate at the end of a cosine, 1 for a constant rate.
    counts: pictures of each class, where a set that was made elsewhere has not equally many of all. scale: of
    such a set, that pixels times this are stored (1, or 255 for grey levels), in whatever type they came in, beside the
    mean and deviation by which they are normalised; 0 where the stored values are those that networks see.
    """

    lr: float = 1.0
    momentum: float = 0.5
    init: Literal["real", "noise"] = "real"
    optimiser: OptimiserName = late("sgd")
    final: float = late(1.0)
    counts: tuple[int, ...] = late(())
    scale: float = late(0.0)

    def __post_init__(self) -> None:
        if any(count < 0 for count in self.counts):
            raise UsageError(f"parameterization.counts holds {min(self.counts)}", hint="a class has 0 pictures or more")
        if not 0 <= self.scale < math.inf:
            raise UsageError(
                f"parameterization.scale is {self.scale}", hint="1 for pixels of 0..1, 255 for grey levels"
            )


class Pixels(Parameterization):
    """Pictures stored as they are, (C * n, ch, H, W), class after class."""

    name: ClassVar[str] = "pixels"
    Config: ClassVar[type[PixelsConfig]] = PixelsConfig
    config: PixelsConfig

    def instances(self, budget: Budget) -> int:
        """Whole pictures a class."""
        if self.config.counts or self.config.scale:
            raise CompatibilityError(
                "pictures of unequal numbers a class, or stored as pixels, come from elsewhere, not distilled here",
                hint="drop --set parameterization.counts and parameterization.scale",
            )
        if budget.whole_pictures < 1:
            raise BudgetError(
                f"{budget.scalars:,} scalars hold no whole picture for each of {budget.classes} classes",
                hint=f"give --params {budget.classes * budget.picture} or more, or --ipc 1",
            )
        return budget.whole_pictures

    def init(self, real: RealPictures, budget: Budget, rng: Stream) -> State:
        """`n` random real pictures a class, or noise."""
        count = self.instances(budget)
        if self.config.init == "noise":
            pictures = torch.randn((budget.classes * count, *budget.shape), generator=rng.torch()).to(real.device)
        else:
            chosen = [real.draw(c, count, rng.child("class", c)) for c in range(budget.classes)]
            pictures = real.images(torch.cat(chosen))
        labels = class_ordered_labels(budget.classes, count).to(real.device)
        return State({"pixels": pictures.requires_grad_()}, {}, labels, budget.shape)

    def decode(self, state: State, index: Tensor | None = None, rng: Stream | None = None) -> tuple[Tensor, Tensor]:
        """The stored pictures themselves; normalised where they are stored as pixels."""
        pixels = state.learned["pixels"]
        if index is None:
            return self._normalised(pixels, state), state.labels
        index = sent(index, pixels.device)
        return self._normalised(pixels[index], state), state.labels[index]

    def _normalised(self, pixels: Tensor, state: State) -> Tensor:
        if not self.config.scale:
            return pixels
        mean, std = state.fixed["statistics"].double()[..., None, None]
        normalised: Tensor = (pixels.double() / self.config.scale - mean) / std
        return normalised.float()

    def parameters(self, state: State) -> list[ParameterGroup]:
        """One group: the pixels."""
        config, pixels = self.config, (state.learned["pixels"],)
        return [ParameterGroup("pixels", pixels, config.lr, config.momentum, config.optimiser, config.final)]

    def ledger(self, state: State) -> Ledger:
        """N * D scalars, N pictures."""
        return Ledger(params=state.learned["pixels"].numel(), decoded=len(state))

    def to_tensors(self, state: State) -> dict[str, tuple[Tensor, StoredRole]]:
        """`pixels` (N, ch, H, W), float32 or as they came; with a scale `statistics` (2, ch): mean, deviation."""
        tensors: dict[str, tuple[Tensor, StoredRole]] = {"pixels": (state.learned["pixels"].detach(), "scalars")}
        if self.config.scale:
            tensors["statistics"] = (state.fixed["statistics"], "free")
        return tensors

    def from_tensors(self, tensors: Mapping[str, Tensor], *, classes: int, shape: tuple[int, int, int]) -> State:
        """Checks that the pictures have `shape` and divide evenly among `classes`, or as `counts` says."""
        pixels, counts = tensors["pixels"], self.config.counts
        uneven = (len(counts) != classes or sum(counts) != len(pixels)) if counts else len(pixels) % classes != 0
        if pixels.ndim != 4 or tuple(pixels.shape[1:]) != shape or uneven or not len(pixels):
            raise ArtefactError(
                f"pixels of shape {tuple(pixels.shape)} are no pictures of {shape} for {classes} classes "
                f"({math.prod(shape)} scalars each)",
                hint="the file was altered or cut; distill it again",
            )
        fixed = {"statistics": tensors["statistics"]} if self.config.scale else {}
        if any(tuple(table.shape) != (2, shape[0]) or not bool((table[1] > 0).all()) for table in fixed.values()):
            raise ArtefactError(
                f"statistics {tuple(tensors['statistics'].shape)} are no mean and deviation of {shape[0]} channels",
                hint="the file was altered or cut; import the set again",
            )
        labels = class_ordered_labels(classes, list(counts) or len(pixels) // classes)
        return State({"pixels": pixels}, fixed, labels, shape)
