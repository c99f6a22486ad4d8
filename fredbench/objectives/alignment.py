"""CAFE: features of every block aligned class by class, and real pictures told apart by synthetic centres.

Wang et al., "CAFE: Learning to Condense Dataset by Aligning Features" (CVPR 2022), equations 2 to 6 and the dynamic
bi-level loop; weights and constants of the public distill.py, of which two things are not reproduced: the accuracy
that steers the loop is measured alone (there every reading carries a tenth of the one before), and the number of
classes and the size of pictures are not written in. The mean cross-entropy on real pictures, which that script adds
to the loss, has no gradient with respect to the synthetic ones, and is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from fredbench.foundation.device import sent
from fredbench.foundation.errors import UsageError
from fredbench.foundation.rng import Stream
from fredbench.networks import mixes_pictures
from fredbench.objectives.base import Context, Objective, Synthetic, Update, class_counts
from fredbench.objectives.distribution import class_means, distribution_loss
from fredbench.objectives.gradient import matching_gradient, pull_back
from fredbench.training import augmentation
from fredbench.training.batches import TensorPictures
from fredbench.training.loop import TrainingRecipe, predict, train

__all__ = [
    "CAFEConfig",
    "FeatureAlignment",
    "Window",
    "alignment",
    "discrimination",
    "discrimination_logits",
    "map_weights",
]

# Real pictures a forward pass: on a CPU larger batches spill the cache.
_CHUNK = {"cpu": 64, "cuda": 1024}


@dataclass(frozen=True)
class CAFEConfig:
    """CAFE's weights and loop.

    weights: of the last feature maps in the network's order, the pooled one last; earlier maps take the first.
    flat: of the flattened features; discrimination: of the real pictures' loss under synthetic centres.
    window: accuracies looked at; settled: a spread below which the iteration ends (λ1); moved: a spread above which
    the network has learned enough (λ2). batch_probe: real pictures a class to measure by. most_rounds, most_epochs:
    caps, without which an accuracy that never moves would run for ever. milestones: iterations from which the
    pictures' rate is halved, each time anew.
    """

    batch_real: int = 256
    batch_probe: int = 128
    weights: tuple[float, ...] = (0.1, 0.1, 1.0, 1.0)
    flat: float = 1.0
    discrimination: float = 0.01
    window: int = 10
    settled: float = 0.04
    moved: float = 0.03
    most_rounds: int = 100
    most_epochs: int = 200
    lr_net: float = 0.01
    batch_train: int = 256
    milestones: tuple[int, ...] = (1200, 1600, 1800)
    augmentation: str = "none"

    def __post_init__(self) -> None:
        counts = (self.batch_real, self.batch_probe, self.most_rounds, self.most_epochs, self.batch_train)
        if min(counts) < 1 or self.window < 2 or not self.weights:
            raise UsageError(
                f"CAFE with batches, caps and probes of {counts}, a window of {self.window} and weights "
                f"{self.weights} cannot be run",
                hint="counts are at least 1, the window at least 2, and there is one weight at least",
            )
        augmentation.parse_strategy(self.augmentation)

    def network_recipe(self) -> TrainingRecipe:
        """One pass of the network over the synthetic set."""
        return TrainingRecipe(
            epochs=1,
            lr=self.lr_net,
            momentum=0.0,
            weight_decay=0.0,
            batch_size=self.batch_train,
            schedule="constant",
            augmentation=self.augmentation,
        )


def alignment(
    real: Float[Tensor, "c ..."], synthetic: Float[Tensor, "n ..."], labels: Int64[Tensor, " n"]
) -> Float[Tensor, ""]:
    """sum_c || real_c - mean of class c's synthetic features ||^2 over all entries; `real` holds class means."""
    means = class_means(synthetic.flatten(1), labels, len(real))
    return distribution_loss(real.flatten(1), means)


def discrimination_logits(
    real: Float[Tensor, "m d"], synthetic: Float[Tensor, "n d"], labels: Int64[Tensor, " n"], classes: int
) -> Float[Tensor, "m c"]:
    """Inner products of real features with the class means of synthetic ones."""
    return real @ class_means(synthetic, labels, classes).T


def discrimination(logits: Float[Tensor, "m c"], truth: Int64[Tensor, " m"]) -> Float[Tensor, ""]:
    """Summed cross-entropy of real pictures under synthetic centres."""
    return nn.functional.cross_entropy(logits, truth, reduction="sum")


def map_weights(weights: Sequence[float], count: int) -> tuple[float, ...]:
    """A weight for each of `count` maps: `weights` belong to the last ones, the first of them to all before."""
    return (*[weights[0]] * (count - len(weights)), *weights[-count:])


class Window:
    """The last `size` readings of an accuracy, and how far apart they lie."""

    def __init__(self, size: int) -> None:
        self._size, self._readings = size, list[float]()

    def add(self, reading: float) -> None:
        """Take a reading in; the oldest goes."""
        self._readings = [*self._readings, reading][-self._size :]

    @property
    def spread(self) -> float | None:
        """Largest minus smallest, None until the window is full."""
        full = len(self._readings) == self._size
        return max(self._readings) - min(self._readings) if full else None


class FeatureAlignment(Objective):
    """Every iteration draws a network; picture steps and network training alternate, as far as accuracy says."""

    name: ClassVar[str] = "cafe"
    Config: ClassVar[type[CAFEConfig]] = CAFEConfig
    config: CAFEConfig

    def prepare(self, context: Context) -> None:
        """Builds the one network that is re-initialised every iteration; refuses one without feature maps."""
        self._context = context
        self._strategy = augmentation.parse_strategy(self.config.augmentation)
        self._recipe = self.config.network_recipe()
        self._network = context.network(context.rng.child("network"))
        with torch.no_grad():
            self._network.feature_maps(self._pictures(torch.tensor([0])))

    @classmethod
    def shortened(cls, config: Any, pictures: int) -> tuple[Any, float]:
        """Two rounds of half the real pictures, which are most of the work at small budgets.

        An iteration takes `window` rounds at least, and how many more is not known beforehand.
        """
        few, half = min(config.most_rounds, 2), max(config.batch_real // 2, 1)
        less = replace(config, most_rounds=few, batch_real=half, batch_probe=max(config.batch_probe // 2, 1))
        return less, min(config.window, config.most_rounds) / few * config.batch_real / half

    def iterate(self, iteration: int, synthetic: Synthetic) -> Iterator[Update]:
        """Picture steps until the accuracy on real pictures has settled; between two the network is trained."""
        config = self.config
        rng = self._context.rng.child("iteration", iteration)
        rate = 0.5 ** sum(iteration >= milestone for milestone in config.milestones)
        self._context.reinitialise(self._network, rng.child("network"))
        accuracies = Window(config.window)
        for turn in range(config.most_rounds):
            stream = rng.child("round", turn)
            pictures, labels = synthetic.decode(rng=stream.child("decode"))
            loss, gradient = self._matching(pictures, labels, stream)
            yield Update(pull_back(pictures, gradient), {"loss": loss, "rounds": turn + 1.0}, rate=rate)
            accuracies.add(self._accuracy(stream.child("probe")))
            spread = accuracies.spread
            if (spread is not None and spread < config.settled) or turn + 1 == config.most_rounds:
                return
            self._train_network(synthetic, stream)

    def _matching(self, pictures: Tensor, labels: Tensor, rng: Stream) -> tuple[Tensor, Tensor]:
        """The loss and its gradient with respect to all pictures."""
        config, classes = self.config, self._context.real.classes
        self._network.train()
        means, features, truth = self._real_features(rng)
        weights = map_weights(config.weights, len(means))

        def loss_of(images: Tensor) -> Tensor:
            maps = self._network.feature_maps(self._augment(images, class_counts(len(images), classes), rng))
            flat = maps[-1].flatten(1)
            terms = [w * alignment(m, own, labels) for w, m, own in zip(weights, means, maps, strict=True)]
            terms.append(config.flat * alignment(means[-1].flatten(1), flat, labels))
            logits = discrimination_logits(features, flat, labels, classes)
            terms.append(config.discrimination * discrimination(logits, truth))
            return torch.stack(terms).sum()

        return matching_gradient(loss_of, pictures)

    @torch.no_grad()
    def _real_features(self, rng: Stream) -> tuple[list[Tensor], Tensor, Tensor]:
        """Class means of every map, the flattened features of all real pictures, and their labels."""
        real = self._context.real
        index = real.draw_classes(self.config.batch_real, rng.child("real"))
        truth, shares = real.labels_at(index), real.shares(self.config.batch_real)
        pictures = self._augment(self._pictures(index), shares, rng)
        chunk = len(pictures) if mixes_pictures(self._network) else _CHUNK.get(real.device.type, 256)
        counts = sent(torch.tensor(shares), real.device)
        sums: list[Tensor] = []
        flat = []
        for part, labels in zip(pictures.split(chunk), truth.split(chunk), strict=True):
            maps = self._network.feature_maps(part)
            sums = sums or [m.new_zeros(real.classes, *m.shape[1:]) for m in maps]
            members = nn.functional.one_hot(labels, real.classes).T.to(pictures.dtype)
            for total, own in zip(sums, maps, strict=True):
                # Summed as they come: the first maps of all real pictures at once would take gigabytes.
                total += (members @ own.flatten(1)).view_as(total)
            flat.append(maps[-1].flatten(1))
        means = [total / counts.view(-1, *[1] * (total.ndim - 1)) for total in sums]
        return means, torch.cat(flat), truth

    def _augment(self, pictures: Tensor, counts: Sequence[int], rng: Stream) -> Tensor:
        return augmentation.apply_by_class(self._strategy, pictures, counts, rng.child("augment"))

    def _pictures(self, index: Tensor) -> Tensor:
        """Real pictures at `index` in the network's precision."""
        return self._context.real.images(index).to(next(self._network.parameters()).dtype)

    def _accuracy(self, rng: Stream) -> float:
        """Share of freshly drawn real training pictures that the network classifies rightly."""
        real = self._context.real
        index = real.draw_classes(self.config.batch_probe, rng)
        logits = predict(self._network, self._pictures(index))
        return float((logits.argmax(1) == real.labels_at(index)).double().mean())

    def _train_network(self, synthetic: Synthetic, rng: Stream) -> None:
        """Passes over the synthetic set until the accuracy on real pictures has moved."""
        with torch.no_grad():
            pictures, labels = synthetic.decode(rng=rng.child("decode after"))
        learned, accuracies = TensorPictures(pictures.detach(), labels), Window(self.config.window)
        for epoch in range(self.config.most_epochs):
            stream = rng.child("pass", epoch)
            train(self._network, learned, self._recipe, stream.child("training"))
            accuracies.add(self._accuracy(stream.child("probe")))
            spread = accuracies.spread
            if spread is not None and spread > self.config.moved:
                return
