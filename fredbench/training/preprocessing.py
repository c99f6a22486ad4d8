"""From grey levels to what networks are fed: normalised by channel and, where a run asks for it, whitened; and back."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from fredbench.foundation.device import sent
from fredbench.training.whitening import BLOCK, EPS, Recipe, Whitening, fit_blocks

__all__ = ["Preprocessing", "fit_pixels", "normalise"]


def normalise(
    images: UInt8[np.ndarray, "n h w c"] | UInt8[Tensor, "n c h w"] | Float[Tensor, "n c h w"],
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> Float[Tensor, "n c h w"]:
    """Grey levels 0..255 to (x / 255 - mean) / std, channel by channel, in torch's default precision or `dtype`."""
    dtype = dtype or torch.get_default_dtype()
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) if isinstance(images, np.ndarray) else images
    pixels = pixels.to(device or pixels.device)
    scale = sent(torch.tensor([1 / (255 * s) for s in std], dtype=dtype), pixels.device)
    shift = sent(torch.tensor([m / s for m, s in zip(mean, std, strict=True)], dtype=dtype), pixels.device)
    return (pixels.to(dtype) * scale[:, None, None] - shift[:, None, None]).contiguous()


@dataclass(frozen=True)
class Preprocessing:
    """Grey levels to what networks are fed: (x / 255 - mean) / std by channel, then whitened where there is a fit."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    whitening: Whitening | None = None

    def __call__(
        self,
        images: UInt8[np.ndarray, "n h w c"] | UInt8[Tensor, "n c h w"] | Float[Tensor, "n c h w"],
        device: torch.device | None = None,
    ) -> Float[Tensor, "n c h w"]:
        """Pictures of 0..255 in the networks' input space, on `device` (of arrays the CPU, of tensors their own).

        Of levels between whole ones as of whole ones, and gradients pass.
        """
        if self.whitening is None or not len(images):
            return normalise(images, self.mean, self.std, device)
        blocks = (images[first : first + BLOCK] for first in range(0, len(images), BLOCK))
        plain = (normalise(block, self.mean, self.std, device) for block in blocks)
        first = next(plain)
        white = torch.empty((len(images), *first.shape[1:]), dtype=first.dtype, device=first.device)
        # Moved and rounded once for all blocks.
        fit = self.whitening.like(white)
        for place, block in enumerate(itertools.chain([first], plain)):
            white[place * BLOCK : (place + 1) * BLOCK] = fit.white(block)
        return white

    def like(self, tensor: Tensor) -> Preprocessing:
        """The same with a fit that is moved and rounded to a tensor's device and type, once, not at every call."""
        return self if self.whitening is None else dataclasses.replace(self, whitening=self.whitening.like(tensor))

    def undone(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Pictures of the input space as values of [0, 1], neither rounded nor clipped, in float64 where whitened.

        KIP's normalisation of each picture is lost: they come back with the contrast that standardised pictures have
        on average, of no brightness.
        """
        if self.whitening is not None:
            images = self.whitening.coloured(images.double())
            if self.whitening.per_picture:
                images = images * images[0].numel() ** 0.5
        mean, std = (torch.tensor(v, dtype=images.dtype, device=images.device) for v in (self.mean, self.std))
        return images * std[:, None, None] + mean[:, None, None]


def fit_pixels(
    pixels: UInt8[np.ndarray, "n h w c"],
    mean: Sequence[float],
    std: Sequence[float],
    recipe: Recipe,
    *,
    eps: float = EPS,
) -> Whitening:
    """A whitening fitted to pictures of 0..255 that are normalised by `mean` and `std` first, in float64 throughout.

    A thousand at a time, on the CPU: beside the pictures it takes the memory of a few matrices (D, D). Raises as
    `fit_whitening` does.
    """

    def blocks() -> Iterable[Float[Tensor, "n d"]]:
        for first in range(0, len(pixels), BLOCK):
            block = np.ascontiguousarray(pixels[first : first + BLOCK])
            yield normalise(block, mean, std, torch.device("cpu"), torch.float64).flatten(1)

    return fit_blocks(blocks, (len(pixels), int(np.prod(pixels.shape[1:]))), recipe, eps=eps)
