"""How long training and predicting take on this machine, from moments of each."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from fredbench import networks
from fredbench.foundation.rng import Stream
from fredbench.networks import Network
from fredbench.networks.names import Arithmetic
from fredbench.training.batches import Pictures, RealPictures, TensorPictures
from fredbench.training.loop import PREDICTED_AT_ONCE, TrainingRecipe, network_optimiser, predict, train, train_epoch

__all__ = ["Few", "epoch_seconds", "pass_seconds", "prediction_seconds"]

_BATCHES, _PART, _LONG_SECONDS = 3, 16, 0.5
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
    """Seconds of an epoch over `count` pictures (by default all), measured on few of them (see `_timed`).

    `pictures` may be fewer than `count`: batches are what is timed, of the recipe's size where that many are there.
    A rate that a network is asked for first (`lr_unit = stable`) is no part of an epoch.
    """
    wanted = len(pictures) if count is None else count
    size = min(recipe.batch_size, len(pictures), wanted)
    network, once = blank(TRIAL).to(pictures.device), replace(recipe, epochs=1, lr_unit="absolute")

    def learn(few: int) -> None:
        train(network, Few(pictures, few), once, TRIAL)
        float(next(network.parameters()).detach().sum())  # waits for the device

    return _timed(learn, size, len(pictures)) * wanted


def pass_seconds(threads: int, arithmetic: Arithmetic = "fused") -> float:
    """Seconds of a training pass of a small ConvNet with that many threads, the best of a few: some .1 s in all.

    Random pictures of 32 px; the calling thread computes with as many threads afterwards as before.
    """
    before = torch.get_num_threads()
    network = networks.build("convnet-d3-w64-in", channels=3, classes=10, size=(32, 32), rng=TRIAL)
    images = torch.randn(_PASSED, 3, 32, 32, generator=TRIAL.torch())
    pictures = TensorPictures(images, torch.arange(_PASSED) % 10)
    recipe = TrainingRecipe(augmentation="none", arithmetic=arithmetic)
    optimiser, seconds = network_optimiser(network, recipe), []
    try:
        torch.set_num_threads(threads)
        for _ in range(_PASSES):
            began = time.perf_counter()
            train_epoch(network, pictures, recipe, optimiser, TRIAL)
            seconds.append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(before)
    # The first one compiles, or reads what was compiled.
    return min(seconds[1:])


# Pictures of a pass that two threads can share, and passes.
_PASSED, _PASSES = 64, 5


def prediction_seconds(blank: Callable[[Stream], Network], pictures: RealPictures) -> float:
    """Seconds of predicting one picture, measured on few (see `_timed`)."""
    network = blank(TRIAL).to(pictures.device)

    def look(few: int) -> None:
        # Made a batch at a time, as where domains are scored; the sum waits for the device.
        float(predict(network, torch.arange(few), prepare=pictures.images).sum())

    # A batch a thread, which are scored side by side.
    at_once = PREDICTED_AT_ONCE * (torch.get_num_threads() if pictures.device.type == "cpu" else 1)
    return _timed(look, min(at_once, len(pictures)), len(pictures))


def _timed(do: Callable[[int], None], size: int, most: int) -> float:
    """Seconds a picture that `do` takes on three batches of `size`, of `most` pictures that there are, once warm.

    A part of a batch and one whole batch warm up; the first of them that takes long is the measurement, so that
    wide networks, of which a batch takes minutes, are told in seconds too.
    """
    part = min(_PART, size)
    # What the very first call takes beyond the others is fractions of a second.
    for few, long in (
        (part, 4 * _LONG_SECONDS), (part, _LONG_SECONDS), (size, _LONG_SECONDS), (min(_BATCHES * size, most), 0.0),
    ):  # fmt: skip
        began = time.perf_counter()
        do(few)
        took = time.perf_counter() - began
        if took > long:
            break
    return took / few
