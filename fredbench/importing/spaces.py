"""Which values the pictures of a set have: grey levels, [0, 1], or one of the usual normalisations of it.

No file of the public codes says so. Each candidate space is undone and what comes out is compared with the dataset's
real pixels: the mean and the deviation of each channel, the share of values that are no grey, and whether all values
are whole grey levels, which is decisive where pictures were 8-bit once. Distilled pictures differ from real ones, so
the comparison is wide; between normalisations that are close to each other custom decides (`prior`), and says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from fredbench.datasets import Dataset
from fredbench.datasets.catalogue import known_family
from fredbench.datasets.core import channel_statistics
from fredbench.foundation.errors import UnknownNameError, UsageError
from fredbench.runs.preprocessing import RECIPES

__all__ = ["WHITENED", "Evidence", "Space", "found_space", "neighbours", "spaces_of", "weigh"]

WHITENED = {f"zca-{recipe}": recipe for recipe in RECIPES}
"""Whitened spaces by name: what was distilled in one is known by being said, not by its statistics."""

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_SURE = 0.6
# How far channel statistics of distilled sets lie from those of real pictures, in units of [0, 1]: a deviation of the
# mean, and centre and deviation of the logarithm of the ratio of deviations (optimised pixels have more contrast).
_MEAN_SPREAD, _LOG_RATIO, _LOG_SPREAD = 0.12, 0.2, 0.6
_WHOLE_LEVELS = 25.0
_MARGIN = 0.02


@dataclass(frozen=True)
class Space:
    """Values are (x - mean) / std of pixels x in [0, 1]. prior: how usual it is among published sets."""

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    prior: float
    what: str


@dataclass(frozen=True)
class Evidence:
    """What speaks for a space: its share of the posterior, and the observations in words."""

    space: Space
    share: float
    outside: float
    whole: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def told(self) -> str:
        """One line."""
        whole = ", all whole grey levels" if self.whole else ""
        means, deviations = (" ".join(f"{value:.2f}" for value in values) for values in (self.mean, self.std))
        return (
            f"{self.space.name} ({self.space.what}): {100 * self.share:.1f} %; pixels would have mean {means}, "
            f"deviation {deviations}, {100 * self.outside:.0f} % outside 0..1{whole}"
        )


def spaces_of(dataset: Dataset) -> dict[str, Space]:
    """The spaces that a set of `dataset` may be in, by name."""
    count = dataset.channels
    ones, zeros = (1.0,) * count, (0.0,) * count
    own = (tuple(dataset.mean), tuple(dataset.std))
    found = [
        Space("own", *own, 0.55, f"normalised by {dataset.title}'s mean and deviation"),
        Space("unit", zeros, ones, 0.2, "pixels of 0..1"),
        Space("levels", zeros, (1 / 255,) * count, 0.1, "grey levels of 0..255"),
        Space("half", (0.5,) * count, (0.5,) * count, 0.03, "normalised by .5 and .5"),
    ]
    if count == 3:
        found.append(Space("imagenet", *IMAGENET, 0.05, "normalised by ImageNet's mean and deviation"))
        cifar = known_family("cifar10")
        if cifar is not None:
            found.append(Space("cifar10", cifar.mean, cifar.std, 0.07, "normalised by CIFAR-10's mean and deviation"))
    return {space.name: space for space in found if space.name == "own" or (space.mean, space.std) != own}


def weigh(images: Float[np.ndarray, "n c h w"], dataset: Dataset) -> list[Evidence]:
    """Every space with its evidence, the likeliest first; the shares sum to 1."""
    real = channel_statistics(dataset.train.images)
    weighed = [_evidence(space, images, real) for space in spaces_of(dataset).values()]
    top = max(score for score, _ in weighed)
    total = sum(math.exp(score - top) for score, _ in weighed)
    shares = [(math.exp(score - top) / total, evidence) for score, evidence in weighed]
    ordered = sorted(shares, key=lambda pair: -pair[0])
    return [Evidence(e.space, share, e.outside, e.whole, e.mean, e.std) for share, e in ordered]


def _evidence(
    space: Space, images: Float[np.ndarray, "n c h w"], real: Sequence[Float[np.ndarray, " c"]]
) -> tuple[float, Evidence]:
    """(log-posterior up to a constant, evidence without its share)."""
    shape = (1, -1, 1, 1)
    pixels = images.astype(np.float64) * np.reshape(space.std, shape) + np.reshape(space.mean, shape)
    mean, std = pixels.mean(axis=(0, 2, 3)), np.maximum(pixels.std(axis=(0, 2, 3)), 1e-6)
    outside = float(((pixels < -_MARGIN) | (pixels > 1 + _MARGIN)).mean())
    levels = pixels * 255
    # float32 values of a normalised picture come back to a level within some 1e-4 of it.
    whole = outside == 0 and bool((np.abs(levels - np.rint(levels)) < 0.02).mean() > 0.999)
    whole = whole and float(np.ptp(levels)) > 8
    score = math.log(space.prior) + _WHOLE_LEVELS * whole
    score -= 0.5 * float((((mean - real[0]) / _MEAN_SPREAD) ** 2).sum())
    score -= 0.5 * float((((np.log(std / np.maximum(real[1], 1e-3)) - _LOG_RATIO) / _LOG_SPREAD) ** 2).sum())
    score -= 4 * outside
    return score, Evidence(space, 0.0, outside, whole, tuple(mean.tolist()), tuple(std.tolist()))


def found_space(
    images: Float[np.ndarray, "n c h w"],
    dataset: Dataset,
    *,
    asked: str | None,
    said: tuple[tuple[float, ...], tuple[float, ...]] | None,
) -> tuple[Space, list[Evidence], str]:
    """(space, evidence, who says so). asked: a name, or MEAN/STD given by the user; said: what the file itself says.

    Raises `UsageError` where no space is likely enough, and where what is asked contradicts the values.
    """
    known = spaces_of(dataset)
    evidence = weigh(images, dataset)
    if asked is not None:
        space = _given(asked, known, dataset.channels)
        seen = _evidence(space, images, channel_statistics(dataset.train.images))[1]
        if space.name in {"unit", "levels"} and seen.outside > 0.25:
            raise UsageError(
                f"{100 * seen.outside:.0f} % of the values are no {space.what}",
                hint=f"these fit better: {evidence[0].told()}",
            )
        return space, evidence, "asked for"
    if said is not None:
        return Space("file's own", *said, 1.0, "normalised as the file says"), evidence, "the file says so"
    best = evidence[0]
    if best.share < _SURE or (best.outside > 0.5 and best.space.name in {"unit", "levels"}):
        listed = "; ".join(each.told() for each in evidence[:4])
        raise UsageError(f"which values these pictures have is not clear: {listed}", hint=f"say it: {_ASK}")
    why = (
        "all values are whole grey levels in it" if best.whole else f"{100 * best.share:.0f} % by statistics and custom"
    )
    return best.space, evidence, why


def neighbours(images: Float[np.ndarray, "n c h w"]) -> float:
    """Correlation of pixels with their right neighbours: about .9 in real pictures, about 0 in noise and after ZCA."""
    left, right = images[..., :-1].ravel(), images[..., 1:].ravel()
    spread = float(left.std() * right.std())
    return float(((left - left.mean()) * (right - right.mean())).mean() / spread) if spread else 0.0


_ASK = "--space own, unit, levels, half, imagenet, zca-mtt, or MEAN/STD such as .49,.48,.45/.20,.20,.20"


def _given(asked: str, known: Mapping[str, Space], channels: int) -> Space:
    if asked in known:
        return known[asked]
    left, slash, right = asked.partition("/")
    if not slash:
        raise UnknownNameError("space", asked, [*known, *WHITENED])
    try:
        mean, std = (tuple(float(value) for value in part.split(",")) for part in (left, right))
    except ValueError as error:
        raise UsageError(f"--space {asked!r} is no MEAN/STD", hint=_ASK) from error
    if len(mean) != channels or len(std) != channels or not all(value > 0 for value in std):
        raise UsageError(f"--space {asked!r} is not for {channels} channel(s)", hint="a positive STD a channel")
    return Space(asked, mean, std, 1.0, "normalised as asked")
