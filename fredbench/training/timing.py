"""How long training and predicting take on this machine, from moments of each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from fredbench.foundation.rng import Stream
from fredbench.networks import Network
from fredbench.training.batches import Pictures, RealPictures
from fredbench.training.loop import PREDICTED_AT_ONCE, TrainingRecipe, predict, train

__all__ = ["Few", "epoch_seconds", "prediction_seconds"]

_TIMED = 3
TRIAL = Stream(0).child("trial")


class Few:
    """The first `count` of some pictures."""

    def __init__(self, pictures: Pictures, count: int) -> None:
        self._pictures, self._count = pictures, min(count, len(pictures))

    @property
    def device(self) -> torch.device:
        """Where they lie."""
        return self._pictures.device

    def __len__(self) -> int:
        return self._count

    def batch(self, index: Tensor, rng: Stream) -> tuple[Tensor, Tensor]:
        """As of all."""
        return self._pictures.batch(index, rng)


def epoch_seconds(
    blank: Callable[[Stream], Network], pictures: Pictures, recipe: TrainingRecipe, count: int | None = None
) -> float:
    """Seconds of an epoch over `count` pictures (by default all), measured on three batches after one to warm up.

    `pictures` may be fewer than `count`: batches are what is timed, of the recipe's size where that many are there.
    """
    wanted = len(pictures) if count is None else count
    size = min(recipe.batch_size, len(pictures), wanted)
    network = blank(TRIAL).to(pictures.device)
    seconds = 0.0
    for batches in (1, _TIMED):
        few = Few(pictures, batches * size)
        began = time.perf_counter()
        train(network, few, replace(recipe, epochs=1), TRIAL)
        float(next(network.parameters()).detach().sum())  # waits for the device
        seconds = (time.perf_counter() - began) / math.ceil(len(few) / size)
    return seconds * wanted / size


def prediction_seconds(blank: Callable[[Stream], Network], pictures: RealPictures) -> float:
    """Seconds of predicting one picture, measured on two batches after one to warm up."""
    network = blank(TRIAL).to(pictures.device)
    count = min(PREDICTED_AT_ONCE, len(pictures))
    images = pictures.images(torch.arange(count))
    predict(network, images)
    began = time.perf_counter()
    for _ in range(2):
        float(predict(network, images).sum())
    return (time.perf_counter() - began) / (2 * count)
