"""DM, distribution matching: class means of random embeddings (Zhao and Bilen, WACV 2023)."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from fredbench.foundation.errors import UsageError
from fredbench.foundation.parallel import in_rounds
from fredbench.foundation.rng import Stream
from fredbench.networks import fused, mixes_pictures
from fredbench.objectives.base import Context, Objective, Synthetic, Update, class_counts
from fredbench.objectives.gradient import matching_gradient, pull_back
from fredbench.training import augmentation

__all__ = ["DMConfig", "DistributionMatching", "class_means", "distribution_loss"]

# Real pictures a forward pass: on a CPU larger batches spill the cache, on a GPU they fill it (measured).
_CHUNK = {"cpu": 64, "cuda": 4096}


@dataclass(frozen=True)
class DMConfig:
    """batch_real: real pictures a class and iteration; augmentation: Siamese DSA strategy, one draw a class."""

    batch_real: int = 256
    augmentation: str = "color_crop_cutout_flip_scale_rotate"

    def __post_init__(self) -> None:
        if self.batch_real < 1:
            raise UsageError(f"batch_real must be at least 1, not {self.batch_real}", hint="set objective.batch_real")
        augmentation.parse_strategy(self.augmentation)


def class_means(features: Float[Tensor, "n d"], labels: Int64[Tensor, " n"], classes: int) -> Float[Tensor, "c d"]:
    """Mean feature of each class present; `labels` in 0..classes - 1."""
    one_hot = torch.nn.functional.one_hot(labels, classes).to(features.dtype)
    return (one_hot / one_hot.sum(0)).T @ features


def distribution_loss(real: Float[Tensor, "c d"], synthetic: Float[Tensor, "c d"]) -> Float[Tensor, ""]:
    """sum_c || mean psi(real of c) - mean psi(synthetic of c) ||_2^2, the DM loss."""
    return (real - synthetic).square().sum()


class DistributionMatching(Objective):
    """Every iteration draws a new, never trained network psi and, for each class, one augmentation shared by both."""

    name: ClassVar[str] = "dm"
    Config: ClassVar[type[DMConfig]] = DMConfig
    config: DMConfig

    @classmethod
    def runs_blocks(cls, config: Any) -> bool:
        """Yes: embeddings of the whole network."""
        return True

    def prepare(self, context: Context) -> None:
        """Builds the one network that is re-initialised every iteration."""
        self._context = context
        self._strategy = augmentation.parse_strategy(self.config.augmentation)
        self._network = context.network(context.rng.child("network"))
        self._network.check_embedding()
        self._network.train()
        self._network.requires_grad_(False)

    def iterate(self, iteration: int, synthetic: Synthetic) -> Iterator[Update]:
        """One update on the sum over classes."""
        context = self._context
        rng = context.rng.child("iteration", iteration)
        context.reinitialise(self._network, rng.child("network"))
        target = self._real_means(rng)
        pictures, labels = synthetic.decode(rng=rng.child("decode"))
        counts = class_counts(len(pictures), context.real.classes)
        augmented = augmentation.apply_by_class(self._strategy, pictures, counts, rng.child("augment"))
        loss, gradient = self._matched(augmented.detach(), labels, counts, target)
        carried = pull_back(augmented, gradient)
        # Of the loss's value, with the gradient carried down.
        yield Update(loss + (carried - carried.detach()), {"loss": loss})

    def _matched(
        self, pictures: Float[Tensor, "n c h w"], labels: Int64[Tensor, " n"], counts: list[int], target: Tensor
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "n c h w"]]:
        """The loss and its gradient by the synthetic pictures.

        A class's term depends on its pictures alone, so that the maps of a few classes are held at once.
        """
        total, gradients, done = pictures.new_zeros(()), [], 0
        for classes in self._classes_at_once(counts):
            own, place = slice(done, done + classes), slice(sum(counts[:done]), sum(counts[: done + classes]))
            loss, gradient = self._of_classes(pictures[place], labels[place] - done, target[own])
            total, done = total + loss, done + classes
            gradients.append(gradient)
        return total, torch.cat(gradients)

    def _of_classes(self, pictures: Tensor, labels: Tensor, target: Float[Tensor, "c d"]) -> tuple[Tensor, Tensor]:
        """As `_matched`, of some classes, which `labels` count from 0."""

        def loss_of(shown: Tensor) -> Tensor:
            with fused.once():
                embedding = self._network.embed(shown)
            return distribution_loss(target, class_means(embedding, labels, len(target)))

        return matching_gradient(loss_of, pictures)

    def _classes_at_once(self, counts: list[int]) -> list[int]:
        """How many classes a pass is of: all of them, but of blocks no more than they need to be quick."""
        blocks = fused.runs(self._network)
        most = max(1, fused.at_once(self._network, 0) // max(counts)) if blocks else len(counts)
        passes = -(-len(counts) // most)
        return [len(part) for part in torch.arange(len(counts)).tensor_split(passes)]

    def _real_means(self, rng: Stream) -> Float[Tensor, "c d"]:
        real = self._context.real
        index = real.draw_classes(self.config.batch_real, rng.child("real"))
        labels, counts = real.labels_at(index), real.shares(self.config.batch_real)
        shown = partial(self._shown, index, rng.child("augment"))
        chunk = fused.at_once(self._network, _CHUNK.get(real.device.type, 256))

        @torch.no_grad()
        def embedded(piece: _Piece) -> Float[Tensor, "n d"]:
            return self._network.embed(shown(piece))

        with torch.no_grad():
            if mixes_pictures(self._network):
                features = [self._network.embed(torch.cat([shown(piece) for piece in _pieces(counts, chunk)]))]
            elif fused.runs_anywhere(self._network) and not real.by_the_batch:
                # A chunk is one thread's from its grey levels to its features, and waits for no other's.
                real.whiten()
                pieces = list(_pieces(counts, chunk, cut=True))
                features = list(in_rounds(embedded, pieces, held=4 * chunk * math.prod(real.shape)))
            else:
                parts = _in_chunks(map(shown, _pieces(counts, chunk)), chunk)
                features = [self._network.embed(part) for part in parts]
            return class_means(torch.cat(features), labels, real.classes)

    def _shown(self, index: Int64[Tensor, " m"], rng: Stream, piece: _Piece) -> Float[Tensor, "n c h w"]:
        """A piece of the real pictures at `index` as the network sees them."""
        pictures = self._context.real.images(index[piece.place])
        return augmentation.apply_by_class(self._strategy, pictures, piece.counts, rng, first=piece.first)


@dataclass(frozen=True)
class _Piece:
    """Real pictures that are made at once: of which classes, `counts[c]` of class `first` + c, and their places."""

    first: int
    counts: list[int]
    place: slice


def _pieces(counts: Sequence[int], at_once: int, *, cut: bool = False) -> Iterator[_Piece]:
    """Neighbouring classes of `at_once` pictures together at most, one class at least: as floats all would be large.

    cut: `at_once` pictures each, and what is left, where classes end or not.
    """
    ends = list(itertools.accumulate(counts, initial=0))
    if cut:
        for begin in range(0, ends[-1], at_once):
            place = slice(begin, min(begin + at_once, ends[-1]))
            first, last = bisect.bisect_right(ends, begin) - 1, bisect.bisect_left(ends, place.stop)
            own = [min(ends[label + 1], place.stop) - max(ends[label], begin) for label in range(first, last)]
            yield _Piece(first, own, place)
        return
    first = 0
    for label in range(1, len(counts) + 1):
        if label == len(counts) or ends[label + 1] - ends[first] > at_once:
            yield _Piece(first, list(counts[first:label]), slice(ends[first], ends[label]))
            first = label


def _in_chunks(parts: Iterator[Float[Tensor, "n c h w"]], size: int) -> Iterator[Float[Tensor, "m c h w"]]:
    """What `torch.cat(list(parts)).split(size)` gives, with no more held than a few parts and a chunk."""
    waiting: list[Tensor] = []
    for part in parts:
        waiting.append(part)
        if sum(map(len, waiting)) >= size:
            *whole, left = torch.cat(waiting).split(size)
            waiting = [left]
            yield from whole
    yield from torch.cat(waiting).split(size) if waiting else ()
