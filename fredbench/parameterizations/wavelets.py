"""Orthonormal wavelet transforms of pictures, periodic at the borders: Haar and Daubechies' db2.

Every level splits the coarse part into four quarters, coarse at the top left and details beside, below and across
(Mallat, "A Theory for Multiresolution Signal Decomposition", 1989), as long as both sides are even and no shorter than
the filter. As many coefficients come out as pixels went in.
"""

from __future__ import annotations

import functools
import math
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from fredbench.foundation.device import sent

__all__ = ["Wavelet", "dwt2", "inverse_dwt2", "level_matrix", "levels"]

Wavelet: TypeAlias = Literal["haar", "db2"]

_ROOT3 = math.sqrt(3)
# Low-pass filters: Haar, and the four-tap filter with two vanishing moments (Daubechies 1988, table 1).
_FILTERS: dict[str, tuple[float, ...]] = {
    "haar": (1 / math.sqrt(2), 1 / math.sqrt(2)),
    "db2": tuple(x / (4 * math.sqrt(2)) for x in (1 + _ROOT3, 3 + _ROOT3, 3 - _ROOT3, 1 - _ROOT3)),
}


@functools.cache
def _level(size: int, wavelet: str) -> Float[Tensor, "n n"]:
    low = _FILTERS[wavelet]
    high = [(-1) ** tap * value for tap, value in enumerate(reversed(low))]
    matrix = torch.zeros(size, size, dtype=torch.float64)
    for row in range(size // 2):
        for tap in range(len(low)):
            column = (2 * row + tap) % size
            matrix[row, column] += low[tap]
            matrix[size // 2 + row, column] += high[tap]
    return matrix


def level_matrix(size: int, wavelet: Wavelet, like: Tensor) -> Float[Tensor, "n n"]:
    """One level of the transform of `size` (even) numbers: coarse rows, then detail rows; orthogonal."""
    return sent(_level(size, wavelet), like)


def levels(size: tuple[int, int], wavelet: Wavelet) -> list[tuple[int, int]]:
    """Sides of the coarse part before each level."""
    found = []
    height, width = size
    while height % 2 == width % 2 == 0 and min(height, width) >= len(_FILTERS[wavelet]):
        found.append((height, width))
        height, width = height // 2, width // 2
    return found


def dwt2(images: Float[Tensor, "*batch h w"], *, wavelet: Wavelet) -> Float[Tensor, "*batch h w"]:
    """All levels over the last two axes."""
    result = images
    for height, width in levels((images.shape[-2], images.shape[-1]), wavelet):
        rows, columns = level_matrix(height, wavelet, images), level_matrix(width, wavelet, images)
        result = _with_corner(result, rows @ result[..., :height, :width] @ columns.T)
    return result


def inverse_dwt2(coefficients: Float[Tensor, "*batch h w"], *, wavelet: Wavelet) -> Float[Tensor, "*batch h w"]:
    """The exact inverse of `dwt2`, which is its adjoint."""
    result = coefficients
    for height, width in reversed(levels((coefficients.shape[-2], coefficients.shape[-1]), wavelet)):
        rows, columns = level_matrix(height, wavelet, coefficients), level_matrix(width, wavelet, coefficients)
        result = _with_corner(result, rows.T @ result[..., :height, :width] @ columns)
    return result


def _with_corner(whole: Tensor, corner: Tensor) -> Tensor:
    """`whole` with its top left replaced, as a new tensor."""
    height, width = corner.shape[-2:]
    if (height, width) == tuple(whole.shape[-2:]):
        return corner
    top = torch.cat([corner, whole[..., :height, width:]], dim=-1)
    return torch.cat([top, whole[..., height:, :]], dim=-2)
