"""Coresets: a choice of real pictures, stored, counted and scored like every other set.

Random is the control of every table. Herding and k-centre choose by the features of a network that is trained on the
real pictures first; which network and how long the published rows used is not known, so it is a setting here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from fredbench.foundation.errors import DataError, UnknownNameError
from fredbench.foundation.registry import Registry
from fredbench.foundation.rng import Stream
from fredbench.networks import Network
from fredbench.parameterizations.base import State, class_ordered_labels
from fredbench.parameterizations.budget import Budget
from fredbench.parameterizations.pixels import Pixels, PixelsConfig
from fredbench.training.batches import RealPictures
from fredbench.training.kept import Training
from fredbench.training.loop import TrainingRecipe, train

__all__ = [
    "CHOICES",
    "OBJECTIVE",
    "PARAMETERIZATION",
    "RANDOM",
    "FeatureConfig",
    "RandomConfig",
    "choose",
    "config_of",
    "herding",
    "k_centre",
    "random_subset",
]

Choice = Callable[[Float[Tensor, "m d"], int], Int64[Tensor, " n"]]


@dataclass(frozen=True)
class RandomConfig:
    """Nothing to set."""


@dataclass(frozen=True)
class FeatureConfig:
    """How the feature network is trained on the real pictures, at a constant rate."""

    epochs: int = 20
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 256
    augmentation: str = "color_crop_cutout_flip_scale_rotate"

    def __post_init__(self) -> None:
        self.recipe()

    def recipe(self) -> TrainingRecipe:
        """As the training loop takes it."""
        return TrainingRecipe(
            epochs=self.epochs,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
            schedule="constant",
            augmentation=self.augmentation,
        )


# A choice of real pictures stands where an objective's name would; what it chooses is stored as whole pictures.
OBJECTIVE, PARAMETERIZATION = "none", "pixels"
RANDOM = "random"


def random_subset(real: RealPictures, budget: Budget, rng: Stream, *, draw: int = 0) -> State:
    """The `draw`-th random subset: n pictures a class, uniformly, without replacement.

    The control of every table; its students train on draws 0, 1, .., so that their spread includes the draw.
    """
    return Pixels(PixelsConfig()).init(real, budget, rng.child("random", draw))


def herding(features: Float[Tensor, "m d"], count: int) -> Int64[Tensor, " n"]:
    """`count` rows whose running mean follows the mean of all, in the order they are chosen.

    Step k takes the row not yet chosen that minimises |(k + 1) μ - Σ_chosen φ - φ(x)|, which is Welling's rule
    (ICML 2009) for rows of equal length; the first of equal rows wins. In float64, whatever the features.
    """
    rows = features.double()
    mean, total = rows.mean(0), torch.zeros_like(rows[0])
    free = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    chosen = []
    for step in range(count):
        gap = ((step + 1) * mean - total - rows).norm(dim=1)
        best = int(gap.masked_fill(~free, torch.inf).argmin())
        free[best] = False
        total = total + rows[best]
        chosen.append(best)
    return torch.tensor(chosen, dtype=torch.int64)


def k_centre(features: Float[Tensor, "m d"], count: int) -> Int64[Tensor, " n"]:
    """`count` rows that cover the rest: the one nearest to the mean, then ever the one farthest from those chosen.

    The greedy 2-approximation of the k-centre problem (Gonzalez 1985), as in Sener and Savarese (ICLR 2018).
    """
    rows = features.double()
    chosen = [int((rows - rows.mean(0)).norm(dim=1).argmin())]
    reach = (rows - rows[chosen[0]]).norm(dim=1)
    while len(chosen) < count:
        reach[chosen] = -1.0  # a chosen row lies at 0, which rows equal to it do as well
        chosen.append(int(reach.argmax()))
        reach = torch.minimum(reach, (rows - rows[chosen[-1]]).norm(dim=1))
    return torch.tensor(chosen[:count], dtype=torch.int64)


CHOICES: Registry[Choice] = Registry("coreset")
"""Choices by features, by the method's name: functions of (features of a class (m, d), count n) to n row numbers."""
CHOICES.register("herding", herding, summary="the running mean follows the class mean")
CHOICES.register("k-centre", k_centre, summary="the farthest from those chosen, greedily")


def config_of(method: str) -> type[RandomConfig] | type[FeatureConfig]:
    """The settings of the choice that `method` makes; `UnknownNameError` where it is none."""
    if method == RANDOM:
        return RandomConfig
    if method not in CHOICES:
        raise UnknownNameError("coreset", method, (RANDOM, *CHOICES))
    return FeatureConfig


def choose(
    method: str,
    config: Any,
    real: RealPictures,
    budget: Budget,
    network: Callable[[Stream], Network],
    rng: Stream,
    training: Training = train,
) -> State:
    """The pictures that `method` chooses within `budget`, in class order; `config` is of `config_of(method)`.

    training: what trains the features' network, which is the same at every budget.

    Raises `DataError` where a class has fewer pictures than the budget buys.
    """
    if method == RANDOM:
        return random_subset(real, budget, rng)
    select = CHOICES.get(method)
    count = Pixels(PixelsConfig()).instances(budget)
    smallest = min(len(members) for members in real.by_class)
    if count > smallest:
        raise DataError(
            f"a class has {smallest} training pictures, {count} were asked for",
            hint="lower the budget, or bring more of the dataset",
        )
    stream = rng.child(method)
    extractor = network(stream.child("network"))
    recipe = replace(config.recipe(), arithmetic=extractor.arithmetic or "eager")
    training(extractor, real, recipe, stream.child("training"))
    chosen = [members[select(_features(extractor, real, members), count)] for members in real.by_class]
    pictures = real.images(torch.cat(chosen))
    labels = class_ordered_labels(budget.classes, count).to(real.device)
    return State({"pixels": pictures.requires_grad_()}, {}, labels, budget.shape)


@torch.no_grad()
def _features(network: Network, real: RealPictures, members: Tensor) -> Float[Tensor, "m d"]:
    """Embeddings of the pictures at `members` in evaluation mode, on the CPU, where the choice is made."""
    network.eval()
    return torch.cat([network.embed(real.images(part)).cpu() for part in members.split(128)])
