"""ZCA whitening, in the three recipes of the literature: they are not interchangeable.

All are x -> (x - mu) U diag(1 / sqrt(s)) U^T, with U diag(s) U^T a regularised covariance of flattened pictures:

- `mtt` (MTT, HaBa; kornia's ZCAWhitening): pixels in [0, 1], the data's mean taken off, covariance over n - 1, eps
  added to every eigenvalue as it is (absolute).
- `kip` (Nguyen et al., NeurIPS 2021): pictures standardised by channel, then each picture's own mean taken off and its
  norm made 1 (a constant picture: zeros); second moments over n without centring; eps times the mean eigenvalue added
  (relative).
- `frepo` (Zhou et al., NeurIPS 2022): pictures standardised by channel, the data's mean taken off, covariance over n,
  eps relative. (Its blocks of 64 x 64 for larger pictures are not here.)

A set distilled on whitened pictures must be tested on pictures whitened by the same fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from fredbench.foundation.errors import UsageError

__all__ = ["BLOCK", "EPS", "Blocks", "Recipe", "Whitening", "fit_blocks", "fit_whitening"]

Recipe = Literal["mtt", "kip", "frepo"]
EPS = 0.1
"""The published regulariser of all three: absolute in `mtt`, relative in the others."""
BLOCK = 1000
"""Pictures whitened by one matrix product: the last bits of a product depend on how many rows it has."""
Blocks = Callable[[], Iterable[Float[Tensor, "n d"]]]
"""Flattened pictures in float64, some at a time; called once for each time that they are gone through."""


@dataclass(frozen=True)
class Whitening:
    """A fitted transform: `mean` (1, D) and `transform` (D, D); `per_picture`: KIP's own normalisation."""

    mean: Float[Tensor, "1 d"]
    transform: Float[Tensor, "d d"]
    per_picture: bool = False

    @cached_property
    def factor(self) -> Float[Tensor, "d d"]:
        """The lower Cholesky factor of `transform` (symmetric, positive): undoing by it costs a sixth of an inverse."""
        factor: Tensor = torch.linalg.cholesky(self.transform)
        return factor

    def like(self, images: Tensor) -> Whitening:
        """The fit with the precision, and on the device, of `images`."""
        return Whitening(self.mean.to(images), self.transform.to(images), self.per_picture)

    def white(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Pictures (flattened C, H, W, row-major) whitened."""
        flat = images.flatten(1)
        flat = _unit(flat) if self.per_picture else flat
        return ((flat - self.mean.to(flat)) @ self.transform.to(flat)).view(images.shape)

    def coloured(self, white: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The inverse of `white`; of KIP's, the pictures as they were after their own normalisation."""
        plain = torch.cholesky_solve(white.flatten(1).T, self.factor.to(white)).T
        return (plain + self.mean.to(white)).reshape(white.shape)


def fit_whitening(images: Float[Tensor, "n c h w"], recipe: Recipe, *, eps: float = EPS) -> Whitening:
    """Fit a recipe to pictures in its own input space (see the module); computed in float64 whatever the input.

    Raises `UsageError` for fewer than two pictures, an eps that is not positive, or pictures that leave no variance.
    """
    shape = (len(images), images[0].numel() if len(images) else 0)
    return fit_blocks(lambda: (block.double().flatten(1) for block in images.split(BLOCK)), shape, recipe, eps=eps)


def fit_blocks(blocks: Blocks, shape: tuple[int, int], recipe: Recipe, *, eps: float = EPS) -> Whitening:
    """The same of pictures that come in blocks, of `shape` (n, D) in all: they need not be in memory at once."""
    count, size = shape
    if count < 2 or not eps > 0:
        raise UsageError(
            f"whitening cannot be fitted to {count} picture(s) with eps {eps}",
            hint="give two pictures or more, and a positive eps",
        )
    centred = recipe != "kip"
    mean = torch.zeros(1, size, dtype=torch.float64)
    if centred:
        for block in blocks():
            mean += block.sum(dim=0, keepdim=True) / count

    def deviations() -> Iterable[Float[Tensor, "n d"]]:
        return (block - mean if centred else _unit(block) for block in blocks())

    divisor = count - 1 if recipe == "mtt" else count
    variance = sum(float(rows.square().sum()) for rows in deviations()) / divisor
    floor = eps if recipe == "mtt" else eps * variance / size
    if not floor > 0:
        raise UsageError("whitening cannot be fitted to pictures without contrast", hint="give pictures that differ")
    make = _of_few if count < size else _of_many
    return Whitening(mean, make(deviations, size, divisor, floor), per_picture=not centred)


def _of_many(deviations: Blocks, size: int, divisor: int, floor: float) -> Float[Tensor, "d d"]:
    covariance = torch.zeros(size, size, dtype=torch.float64)
    for rows in deviations():
        covariance.addmm_(rows.T, rows, alpha=1 / divisor)
    values, vectors = torch.linalg.eigh(covariance)
    # Rounding leaves the eigenvalues of missing directions a little below zero.
    transform: Tensor = (vectors / (values.clamp(min=0) + floor).sqrt()) @ vectors.T
    return transform


def _of_few(deviations: Blocks, size: int, divisor: int, floor: float) -> Float[Tensor, "d d"]:
    """The same of fewer pictures than scalars, by the eigenvectors of their inner products, a smaller matrix.

    In a direction of eigenvalue s the transform is 1 / sqrt(s + floor), in all others 1 / sqrt(floor). Their difference
    is s times a number that stays finite as s falls to 0, so nothing is divided by a small s.
    """
    rows = torch.cat(list(deviations()))
    values, vectors = torch.linalg.eigh(rows @ rows.T / divisor)
    low = floor**0.5
    roots = (values.clamp(min=0) + floor).sqrt()
    lowered = (vectors / (-low * roots * (low + roots) * divisor)) @ vectors.T
    transform: Tensor = rows.T @ (lowered @ rows)
    transform.diagonal().add_(1 / low)
    return transform


def _unit(flat: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    centred = flat - flat.mean(dim=1, keepdim=True)
    norm, whole = (rows.norm(dim=1, keepdim=True) for rows in (centred, flat))
    # Of a constant picture rounding is all that is left: it has no direction, and becomes zeros.
    flatness = norm <= 8 * torch.finfo(flat.dtype).eps * whole
    unit: Tensor = centred / norm.masked_fill(flatness, torch.inf)
    return unit
