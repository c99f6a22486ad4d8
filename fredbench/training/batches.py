"""Pictures as networks eat them: normalised float tensors, from uint8 arrays or from a distilled set.

A whole dataset of 32 x 32 pictures stays on the device as one uint8 tensor; batches are gathered and normalised
there. At this size that, not a loader with workers, is the fast data path.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from fredbench.foundation.device import sent
from fredbench.foundation.errors import DataError
from fredbench.foundation.rng import Stream
from fredbench.training.preprocessing import Preprocessing
from fredbench.training.whitening import Whitening

__all__ = ["AlternativePictures", "Pictures", "RealPictures", "Standardisation", "TensorPictures", "standardised"]

Standardisation: TypeAlias = Literal["none", "batch"]
"""What is done to a batch before a network sees it: nothing, or `standardised`."""


@runtime_checkable
class Pictures(Protocol):
    """What the training loop asks of its data."""

    @property
    def device(self) -> torch.device:
        """Where batches live."""
        ...

    def __len__(self) -> int: ...

    def batch(self, index: Tensor, rng: Stream) -> tuple[Tensor, Tensor]:
        """Images (n, ch, H, W) and labels, int64 (n,) or float (n, classes), at `index`.

        `rng` serves sets whose decoding is random (HaBa draws a hallucinator for each sample).
        """
        ...


def standardised(images: Float[Tensor, "n c h w"], how: Standardisation = "batch") -> Float[Tensor, "n c h w"]:
    """A batch less its own mean and divided by its own deviation, two numbers over all its pictures and channels.

    The deviation is that of a sample (n - 1). What a picture becomes depends on those beside it. A batch of one level
    becomes zeros. HaBa's networks see every batch so, before augmentation (its public code, utils.py:409).
    """
    if how == "none":
        return images
    shifted = images - images.mean()
    return shifted / images.std().clamp_min(torch.finfo(images.dtype).tiny)


class TensorPictures:
    """A fixed set of normalised pictures with hard or soft labels."""

    def __init__(self, images: Float[Tensor, "n c h w"], labels: Tensor) -> None:
        self.images, self.labels = images, labels

    @property
    def device(self) -> torch.device:
        """Where the pictures live."""
        return self.images.device

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index: Tensor, rng: Stream) -> tuple[Tensor, Tensor]:
        """The pictures and labels at `index`; nothing is drawn."""
        return self.images[index], self.labels[index]


class AlternativePictures:
    """Things of which there are several pictures each: every batch shows one, drawn uniformly for each thing."""

    def __init__(self, pictures: TensorPictures, rows: Int64[Tensor, "m k"]) -> None:
        """`rows`: positions among `pictures`, those of one thing in one row."""
        self._pictures, self._rows = pictures, rows.to(pictures.device)

    @property
    def device(self) -> torch.device:
        """Where the pictures live."""
        return self._pictures.device

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, index: Tensor, rng: Stream) -> tuple[Tensor, Tensor]:
        """One picture, and its label, of each thing at `index`."""
        chosen = torch.randint(self._rows.shape[1], (len(index),), generator=rng.torch())
        return self._pictures.batch(self._rows[index, sent(chosen, self.device)], rng)


# Of whitened pictures in float32; more are whitened anew, batch by batch. 50,000 of 32 x 32 RGB are .6 GB.
_KEPT_BYTES = 2 << 30


class RealPictures:
    """A real split on the device, as uint8, with its preprocessing; samples whole classes as well as batches.

    whitening: the fit by which the normalised pictures are whitened. They are whitened once, in blocks of fixed
    places, and kept where they take at most 2 GiB: then no bit of a picture depends on the batch that it is in.
    """

    def __init__(
        self,
        images: UInt8[np.ndarray, "n h w c"],
        labels: Int64[np.ndarray, " n"],
        *,
        mean: Sequence[float],
        std: Sequence[float],
        classes: int,
        device: torch.device,
        whitening: Whitening | None = None,
    ) -> None:
        self.pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(device)
        self.labels = torch.from_numpy(labels).to(device)
        self.mean, self.std, self.classes = tuple(mean), tuple(std), classes
        self.preprocessing = Preprocessing(self.mean, self.std, whitening)
        self.by_class = [torch.from_numpy(np.flatnonzero(labels == c)) for c in range(classes)]

    @property
    def device(self) -> torch.device:
        """Where the pictures live."""
        return self.pixels.device

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one picture."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, index: Tensor, rng: Stream) -> tuple[Tensor, Tensor]:
        """Normalised pictures and labels at `index`; nothing is drawn."""
        return self.images(index), self.labels_at(index)

    def images(self, index: Tensor) -> Float[Tensor, "n c h w"]:
        """Pictures at `index`, normalised and, where there is a whitening, whitened."""
        place = sent(index, self.device)
        if self.preprocessing.whitening is None or self.by_the_batch:
            return self.preprocessing(self.pixels[place])
        return self._whitened[place]

    @property
    def by_the_batch(self) -> bool:
        """Whether pictures are whitened when asked for, too many to keep: their last bits are those of their batch."""
        return self.preprocessing.whitening is not None and 4 * self.pixels.numel() > _KEPT_BYTES

    def whiten(self) -> None:
        """Make what is kept of whitened pictures now, by the calling thread's threads, before several ask for some."""
        if self.preprocessing.whitening is not None and not self.by_the_batch:
            _ = self._whitened

    def labels_at(self, index: Tensor) -> Int64[Tensor, " n"]:
        """Labels at `index`."""
        return self.labels[sent(index, self.device)]

    @cached_property
    def _whitened(self) -> Float[Tensor, "n c h w"]:
        return self.preprocessing(self.pixels)

    def draw(self, label: int, count: int, rng: Stream) -> Int64[Tensor, " count"]:
        """Positions of `count` pictures of class `label`, drawn without replacement.

        Raises `DataError` when the class has fewer.
        """
        members = self.by_class[label]
        if count > len(members):
            raise DataError(
                f"class {label} has {len(members)} training pictures, {count} were asked for",
                hint="lower the budget or the instances a class, or bring more of the dataset",
            )
        return members[torch.randperm(len(members), generator=rng.torch())[:count]]

    def draw_classes(self, counts: int | Sequence[int], rng: Stream) -> Int64[Tensor, " n"]:
        """Positions in class order, drawn without replacement, those of class c from child c of `rng`.

        `counts`: pictures a class, one number for all or one for each; a class that has fewer gives all it has.
        """
        drawn = [self.draw(label, count, rng.child(label)) for label, count in enumerate(self.shares(counts))]
        return torch.cat(drawn)

    def shares(self, counts: int | Sequence[int]) -> list[int]:
        """How many pictures of each class `draw_classes(counts, ...)` gives."""
        wanted = [counts] * self.classes if isinstance(counts, int) else counts
        return [min(count, len(members)) for count, members in zip(wanted, self.by_class, strict=True)]
