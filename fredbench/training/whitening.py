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

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from fredbench.foundation.errors import UsageError

__all__ = ["Whitening", "fit_whitening"]

Recipe = Literal["mtt", "kip", "frepo"]


@dataclass(frozen=True)
class Whitening:
    """A fitted transform: `mean` (1, D), `transform` and `inverse` (D, D); `per_picture`: KIP's own normalisation."""

    mean: Float[Tensor, "1 d"]
    transform: Float[Tensor, "d d"]
    inverse: Float[Tensor, "d d"]
    per_picture: bool = False

    def white(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Pictures (flattened C, H, W, row-major) whitened."""
        flat = images.flatten(1)
        flat = _unit(flat) if self.per_picture else flat
        return ((flat - self.mean.to(flat)) @ self.transform.to(flat)).view(images.shape)

    def coloured(self, white: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The inverse of `white`; of KIP's, the pictures as they were after their own normalisation."""
        return (white.flatten(1) @ self.inverse.to(white) + self.mean.to(white)).view(white.shape)


def fit_whitening(images: Float[Tensor, "n c h w"], recipe: Recipe, *, eps: float = 0.1) -> Whitening:
    """Fit a recipe to pictures in its own input space (see the module); computed in float64 whatever the input.

    Raises `UsageError` for fewer than two pictures, an eps that is not positive, or pictures that leave no variance.
    """
    if len(images) < 2 or not eps > 0:
        raise UsageError(
            f"whitening cannot be fitted to {len(images)} picture(s) with eps {eps}",
            hint="give two pictures or more, and a positive eps",
        )
    flat = images.double().flatten(1)
    count, centred = len(flat), recipe != "kip"
    flat = flat if centred else _unit(flat)
    mean = flat.mean(dim=0, keepdim=True) if centred else flat.new_zeros(1, flat.shape[1])
    deviations = flat - mean
    covariance = deviations.T @ deviations / (count - 1 if recipe == "mtt" else count)
    floor = eps if recipe == "mtt" else eps * float(covariance.diagonal().mean())
    if not floor > 0:
        raise UsageError("whitening cannot be fitted to pictures without contrast", hint="give pictures that differ")
    values, vectors = torch.linalg.eigh(covariance)
    # Rounding leaves the eigenvalues of missing directions a little below zero.
    roots = (values.clamp(min=0) + floor).sqrt()
    return Whitening(mean, (vectors / roots) @ vectors.T, (vectors * roots) @ vectors.T, per_picture=not centred)


def _unit(flat: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    centred = flat - flat.mean(dim=1, keepdim=True)
    norm, whole = (rows.norm(dim=1, keepdim=True) for rows in (centred, flat))
    # Of a constant picture rounding is all that is left: it has no direction, and becomes zeros.
    flatness = norm <= 8 * torch.finfo(flat.dtype).eps * whole
    unit: Tensor = centred / norm.masked_fill(flatness, torch.inf)
    return unit
