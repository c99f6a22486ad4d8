"""Which values the pictures of a set have: grey levels, [0, 1], one of the usual normalisations of it, or whitened.

No file of the public codes says so. Each candidate space is undone and what comes out is compared with the dataset's
real pixels: the mean and the deviation of each channel, the power of the lowest frequencies, the share of values that
are no grey, and whether all values are whole grey levels, which is decisive where pictures were 8-bit once. Distilled
pictures differ from real ones, so the comparison is wide; between normalisations that are close to each other custom
decides (`prior`), and says so. Whitening takes the lowest frequencies away, which optimisation does not: only where
they are nearly gone are the whitened spaces candidates too, since undoing one takes a fit to the dataset.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from fredbench.datasets import Dataset
from fredbench.datasets.catalogue import known_family
from fredbench.datasets.core import channel_statistics
from fredbench.foundation.errors import UnknownNameError, UsageError
from fredbench.runs.preprocessing import RECIPES

__all__ = [
    "EXACT",
    "WHITENED",
    "Evidence",
    "Real",
    "Space",
    "Weighed",
    "found_space",
    "neighbours",
    "real_pictures",
    "spaces_of",
    "weigh",
    "weighed",
    "whole_levels",
]

WHITENED = {f"zca-{recipe}": recipe for recipe in RECIPES}
"""Whitened spaces by name."""

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# What the likeliest space needs: of whitened ones, and to rule them out, more than between normalisations that are
# close to each other, since a wrong one there is no small error.
_SURE, _SURE_OF_WHITENED = 0.6, 0.95
# How far channel statistics of distilled sets lie from those of real pictures, in units of [0, 1]: a deviation of the
# mean, and centre and deviation of the logarithm of the ratio of deviations (optimised pixels have more contrast).
_MEAN_SPREAD, _LOG_RATIO, _LOG_SPREAD = 0.12, 0.2, 0.6
# The same of the power of the lowest frequencies. Measured on CIFAR-10, undone by its mean and deviation: sets by DM
# and FreD .9 to 1.9 of the real power where they start from real pictures, .1 from noise; whitened pictures, real ones
# and DM's, .004 to .01. `_GONE`: the whitened spaces are tried below it.
_LOG_LOW_SPREAD, _GONE = 1.2, 1 / 7
EXACT = 25.0
"""How much (log-likelihood) it says where values come back to what no other space would leave: whole grey levels."""
_MARGIN = 0.02
# Of the likeliest space's share, below which what a file says of its values is doubtful.
_DOUBTFUL = 0.01
_FEW = 1000
Whitened = Callable[["Real"], "list[Weighed]"]


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
    """What speaks for a space: its share of the posterior, and the observations in words.

    outside: share of the pixels that are no grey. low: power of the lowest frequencies over that of real pictures.
    exact: what values come back to that no other space would leave, in words; empty where there is nothing such.
    """

    space: Space
    share: float
    outside: float
    exact: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: float

    @property
    def whole(self) -> bool:
        """Whether all values come back to whole grey levels, or to what is as decisive."""
        return bool(self.exact)

    def told(self) -> str:
        """One line."""
        exact = f", {self.exact}" if self.exact else ""
        means, deviations = (" ".join(f"{value:.2f}" for value in values) for values in (self.mean, self.std))
        return (
            f"{self.space.name} ({self.space.what}): {100 * self.share:.1f} %; pixels would have mean {means}, "
            f"deviation {deviations}, {100 * self.outside:.0f} % outside 0..1, {self.low:.2g} of the real power in the "
            f"lowest frequencies{exact}"
        )


Weighed = tuple[float, Evidence]
"""(log-posterior up to a constant, evidence without its share)."""


@dataclass(frozen=True, eq=False)
class Real:
    """What the dataset's pixels of [0, 1] are like: mean and deviation by channel, power of the lowest frequencies."""

    mean: Float[np.ndarray, " c"]
    std: Float[np.ndarray, " c"]
    low: float


def real_pictures(dataset: Dataset) -> Real:
    """The statistics that every candidate is compared with."""
    images = dataset.train.images
    mean, std = channel_statistics(images)
    some = images[:: max(1, len(images) // _FEW)].transpose(0, 3, 1, 2) / 255
    return Real(mean, std, _low(some))


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


def weigh(
    images: Float[np.ndarray, "n c h w"], dataset: Dataset, real: Real | None = None, others: Sequence[Weighed] = ()
) -> list[Evidence]:
    """Every space with its evidence, the likeliest first; the shares sum to 1. others: of whitened spaces."""
    real = real or real_pictures(dataset)
    each = [*(_evidence(space, images, real) for space in spaces_of(dataset).values()), *others]
    top = max(score for score, _ in each)
    total = sum(math.exp(score - top) for score, _ in each)
    shares = [replace(evidence, share=math.exp(score - top) / total) for score, evidence in each]
    return sorted(shares, key=lambda evidence: -evidence.share)


def _evidence(space: Space, images: Float[np.ndarray, "n c h w"], real: Real) -> Weighed:
    shape = (1, -1, 1, 1)
    return weighed(
        space, images.astype(np.float64) * np.reshape(space.std, shape) + np.reshape(space.mean, shape), real
    )


def weighed(space: Space, pixels: Float[np.ndarray, "n c h w"], real: Real, exact: str | None = None) -> Weighed:
    """What speaks for `space`, in which a set's values come back to `pixels`; exact: see `Evidence`, None to look."""
    mean, std = pixels.mean(axis=(0, 2, 3)), np.maximum(pixels.std(axis=(0, 2, 3)), 1e-6)
    outside = float(((pixels < -_MARGIN) | (pixels > 1 + _MARGIN)).mean())
    low = _low(pixels) / max(real.low, 1e-9)
    if exact is None:
        # float32 values of a normalised picture come back to a level within some 1e-4 of it.
        exact = "all whole grey levels" if outside == 0 and whole_levels(pixels, 0.02) > 0.999 else ""
    score = math.log(space.prior) + EXACT * bool(exact) - 4 * outside
    score -= 0.5 * float((((mean - real.mean) / _MEAN_SPREAD) ** 2).sum())
    score -= 0.5 * float((((np.log(std / np.maximum(real.std, 1e-3)) - _LOG_RATIO) / _LOG_SPREAD) ** 2).sum())
    score -= 0.5 * (math.log(max(low, 1e-9)) / _LOG_LOW_SPREAD) ** 2
    return score, Evidence(space, 0.0, outside, exact, tuple(mean.tolist()), tuple(std.tolist()), low)


def _clear(evidence: Sequence[Evidence]) -> bool:
    """Whether the likeliest space is likely enough: also that the set is whitened, or that it is not."""
    white = sum(each.share for each in evidence if each.space.name in WHITENED)
    if evidence[0].space.name in WHITENED:
        return evidence[0].share >= _SURE_OF_WHITENED
    return white <= 1 - _SURE_OF_WHITENED and evidence[0].share >= _SURE


def whole_levels(pixels: Float[np.ndarray, "n c h w"], within: float) -> float:
    """Share of pixels of [0, 1] that are a whole grey level but for `within`; 0 where they hardly differ at all."""
    levels = pixels * 255
    return float((np.abs(levels - np.rint(levels)) < within).mean()) if float(np.ptp(levels)) > 8 else 0.0


def _low(pixels: Float[np.ndarray, "n c h w"]) -> float:
    """Mean power of the three lowest frequencies of a picture (DCT-II), the channels' means taken off."""
    from scipy.fft import dct

    rest = pixels - pixels.mean(axis=(0, 2, 3), keepdims=True)
    # Only two coefficients of each axis are wanted: the rows first, so that little is left for the columns.
    rows = dct(rest, axis=3, norm="ortho")[..., :2]
    both = dct(rows, axis=2, norm="ortho")[:, :, :2]
    return float(np.mean(both[:, :, [0, 0, 1], [0, 1, 0]] ** 2))


def found_space(
    images: Float[np.ndarray, "n c h w"],
    dataset: Dataset,
    *,
    asked: str | None,
    said: tuple[tuple[float, ...], tuple[float, ...]] | None,
    whitened: Whitened | None = None,
    suspect: bool = False,
    where: str = "",
) -> tuple[Space, list[Evidence], str]:
    """(space, evidence, who says so). asked: a name, or MEAN/STD given by the user; said: what the file itself says.

    whitened: gives the evidence for the whitened spaces, called where it is needed, or in any case (`suspect`). where:
    which pictures, in words for the error. Raises `UsageError` where no space is likely enough, and where what is asked
    contradicts the values.
    """
    known = spaces_of(dataset)
    real = real_pictures(dataset)
    evidence = weigh(images, dataset, real)
    if asked is not None:
        space = _given(asked, known, dataset.channels)
        seen = _evidence(space, images, real)[1]
        if space.name in {"unit", "levels"} and seen.outside > 0.25:
            raise UsageError(
                f"{100 * seen.outside:.0f} % of the values are no {space.what}",
                hint=f"these fit better: {evidence[0].told()}",
            )
        return space, evidence, "asked for"
    if said is not None:
        space = Space("file's own", *said, 1.0, "normalised as the file says")
        best, *rest = weigh(images, dataset, real, [_evidence(space, images, real)])
        share = next((each.share for each in rest if each.space is space), best.share)
        doubt = f", which is doubtful; this fits far better: {best.told()}" if share < _DOUBTFUL * best.share else ""
        return space, evidence, f"the file says so{doubt}"
    if whitened is not None and not evidence[0].whole and (suspect or evidence[0].low < _GONE):
        evidence = weigh(images, dataset, real, whitened(real))
    best = evidence[0]
    if not _clear(evidence) or (best.outside > 0.5 and best.space.name in {"unit", "levels"}):
        listed = "; ".join(each.told() for each in evidence[:4])
        raise UsageError(f"which values the pictures{where} have is not clear: {listed}", hint=f"say it: {_ASK}")
    why = f"{best.exact} in it" if best.whole else f"{100 * best.share:.0f} % by statistics and custom"
    return best.space, evidence, why


def neighbours(images: Float[np.ndarray, "n c h w"]) -> float:
    """Correlation of pixels with their right neighbours: about .9 in real pictures, about 0 in noise and after ZCA."""
    left, right = images[..., :-1].ravel(), images[..., 1:].ravel()
    spread = float(left.std() * right.std())
    return float(((left - left.mean()) * (right - right.mean())).mean() / spread) if spread else 0.0


_ASK = (
    "--space own, unit, levels, half, imagenet, zca-mtt, zca-frepo, zca-kip, or MEAN/STD such as "
    ".49,.48,.45/.20,.20,.20"
)


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
