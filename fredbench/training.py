"""THE network-training loop: students, experts, herding features and the inner loops of objectives.

The default recipe is the literature's evaluation protocol (DC, DSA, DM, MTT, FreD; reference: their public
`evaluate_synset`): SGD with momentum .9 and weight decay 5e-4, batches of 256, E + 1 epochs, the rate times .1 once
after epoch index E // 2 + 1, where the optimiser is made anew and so loses its momentum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fredbench import augmentation
from fredbench.config import late
from fredbench.errors import UsageError
from fredbench.kernels.empirical import maximum_stable_rate
from fredbench.kernels.regression import centred_one_hot, half_squared_error
from fredbench.optimisation import cosine
from fredbench.pictures import Pictures
from fredbench.rng import Stream

__all__ = ["LOSSES", "TrainingRecipe", "cross_entropy", "predict", "squared_error", "train"]

OnEpoch = Callable[[int, torch.optim.Optimizer], None]


@dataclass(frozen=True)
class TrainingRecipe:
    """How a network is trained; the defaults are §0.5 of the field's shared protocol.

    schedule: `drop` (E + 1 epochs, one drop by `drop_factor`, optimiser rebuilt), `constant` (E epochs) or `cosine`
    (E epochs: `warmup` of them linearly from 0, the rest half a cosine down to `final` of the rate, step by step).
    augmentation: a DSA strategy string drawn independently for each picture, or `none`; `strength` names its constants.
    lr_unit: `absolute`, or `stable`: `lr` times the largest rate that the network stands on its first 50 pictures.
    """

    epochs: int = 1000
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 256
    schedule: Literal["drop", "constant", "cosine"] = "drop"
    drop_factor: float = 0.1
    augmentation: str = "color_crop_cutout_flip_scale_rotate"
    loss: Literal["cross-entropy", "mse"] = late("cross-entropy")
    optimiser: Literal["sgd", "adam"] = late("sgd")
    warmup: int = late(0)
    final: float = late(0.0)
    strength: Literal["dsa", "frepo"] = late("dsa")
    lr_unit: Literal["absolute", "stable"] = late("absolute")

    def __post_init__(self) -> None:
        if not 0 <= self.final <= 1 or self.warmup < 0:
            raise UsageError(
                f"a recipe cannot warm up for {self.warmup} epochs and end at {self.final} of its rate",
                hint="warmup is 0 or more, final between 0 and 1",
            )
        rates = (self.lr, self.momentum, self.weight_decay, self.drop_factor)
        if self.epochs < 0 or self.batch_size < 1 or not self.lr > 0 or not all(0 <= r < math.inf for r in rates):
            raise UsageError(
                f"a recipe of {self.epochs} epochs, batches of {self.batch_size}, rate {self.lr}, momentum "
                f"{self.momentum}, weight decay {self.weight_decay}, drop by {self.drop_factor} cannot be run",
                hint="epochs and the last three must be 0 or more, the batch size at least 1, the rate positive",
            )
        augmentation.parse_strategy(self.augmentation)

    def phases(self) -> list[tuple[float, int]]:
        """(learning rate, epochs) in order; each phase has an optimiser of its own."""
        if self.schedule != "drop":
            return [(self.lr, self.epochs)]
        total = self.epochs + 1
        first = min(self.epochs // 2 + 2, total)
        return [(self.lr, first), (self.lr * self.drop_factor, total - first)] if first < total else [(self.lr, first)]

    def factor(self, epochs: float) -> float:
        """What the cosine schedule multiplies the rate by after `epochs` epochs, whole or not; 1 for the others."""
        if self.schedule != "cosine":
            return 1.0
        if epochs < self.warmup:
            return epochs / self.warmup
        return cosine((epochs - self.warmup) / (self.epochs - self.warmup), self.final)


def cross_entropy(logits: Float[Tensor, "n k"], labels: Tensor) -> Float[Tensor, ""]:
    """Mean cross-entropy against hard labels (int64, (n,)) or probabilities (float, (n, k))."""
    return F.cross_entropy(logits, labels)


def squared_error(outputs: Float[Tensor, "n k"], labels: Tensor) -> Float[Tensor, ""]:
    """mean_n 1/2 || outputs - labels ||^2 against soft labels as they are, or hard ones as one-hot minus 1/k."""
    rows = labels if labels.is_floating_point() else centred_one_hot(labels, outputs.shape[1])
    return half_squared_error(outputs, rows.to(outputs.dtype))


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"cross-entropy": cross_entropy, "mse": squared_error}
"""Losses of recipes by name: (outputs, labels) to a scalar."""


def _batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    order = torch.randperm(count, generator=generator)
    yield from order.split(size)


def train(
    network: nn.Module,
    pictures: Pictures,
    recipe: TrainingRecipe,
    rng: Stream,
    *,
    on_epoch: OnEpoch | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> None:
    """Train `network` in place on `pictures` after `recipe`.

    Every epoch draws from its own child stream of `rng` (order, augmentation, decoding), so that the result does
    not depend on what was drawn elsewhere. `on_epoch(epoch, optimiser)` is called before each epoch. `loss` takes
    the place of the recipe's own.
    """
    loss = loss or LOSSES[recipe.loss]
    unit = 1.0 if recipe.lr_unit == "absolute" else _stable_rate(network, pictures, recipe, rng.child("rate"))
    network.train()
    epoch = 0
    for rate, epochs in recipe.phases():
        optimiser = _optimiser(network, recipe, rate * unit)
        for _ in range(epochs):
            if on_epoch is not None:
                on_epoch(epoch, optimiser)
            _one_epoch(network, pictures, recipe, epoch, (optimiser, rate * unit), rng.child("epoch", epoch), loss)
            epoch += 1


def _optimiser(network: nn.Module, recipe: TrainingRecipe, rate: float) -> torch.optim.Optimizer:
    if recipe.optimiser == "adam":
        return torch.optim.Adam(network.parameters(), lr=rate, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(network.parameters(), lr=rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


def _stable_rate(network: nn.Module, pictures: Pictures, recipe: TrainingRecipe, rng: Stream) -> float:
    index = torch.arange(min(_PROBED, len(pictures)), device=pictures.device)
    images, _ = pictures.batch(index, rng.child("pictures"))
    momentum = 0.0 if recipe.optimiser == "adam" else recipe.momentum
    return maximum_stable_rate(network, images, momentum=momentum, generator=rng.torch())


# KIP estimates the largest stable rate on this many inputs.
_PROBED = 50


def _one_epoch(
    network: nn.Module,
    pictures: Pictures,
    recipe: TrainingRecipe,
    epoch: int,
    optimisation: tuple[torch.optim.Optimizer, float],
    rng: Stream,
    loss: Callable[[Tensor, Tensor], Tensor],
) -> None:
    strategy, constants = augmentation.parse_strategy(recipe.augmentation), augmentation.CONSTANTS[recipe.strength]
    optimiser, rate = optimisation
    batches = math.ceil(len(pictures) / recipe.batch_size)
    generator = rng.torch()
    for number, index in enumerate(_batches(len(pictures), recipe.batch_size, generator)):
        if recipe.schedule == "cosine":
            for group in optimiser.param_groups:
                group["lr"] = rate * recipe.factor(epoch + number / batches)
        images, labels = pictures.batch(index.to(pictures.device), rng.child("batch", number))
        if strategy:
            size, count = (images.shape[2], images.shape[3]), len(images)
            draw = augmentation.sample(strategy, count, size, generator, siamese=False, constants=constants)
            images = augmentation.apply(draw, images, constants)
        optimiser.zero_grad(set_to_none=True)
        loss(network(images), labels).backward()
        optimiser.step()


@torch.no_grad()
def predict(network: nn.Module, images: Float[Tensor, "n c h w"], *, batch_size: int = 128) -> Float[Tensor, "n k"]:
    """Logits in evaluation mode; small batches, because on a CPU they stay in the cache."""
    network.eval()
    return torch.cat([network(part) for part in images.split(batch_size)])
