"""The two-dimensional DCT of FreD, the pictures of its convention, and the transforms that may stand in its place.

DCT-II, unnormalised (scipy's `norm=None`): X_k = 2 sum_n x_n cos(pi k (2n + 1) / 2N), applied to rows, then to
columns; the inverse is exact. The convention is not cosmetic: with O the orthonormal DCT, X = s_u s_v O with
s_0 = sqrt(4N) and s_k = sqrt(2N), so an SGD rate eta on X is a rate eta / (s_u s_v)^2 on pixels
(`pixel_rate`), and the published rates of 1e3 .. 1e9 are sensible numbers.

DFT and DWT give as many real numbers as a picture has, H W a channel, all of them independent, so that k kept ones are
k stored scalars whatever the transform. They are orthonormal up to the factor 2 sqrt(HW), which is the DCT's own away
from its axes: a rate means the same on all three.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fredbench.foundation.device import sent
from fredbench.foundation.errors import UnknownNameError
from fredbench.parameterizations.fourier import inverse_real_dft2, real_dft2
from fredbench.parameterizations.wavelets import Wavelet, dwt2, inverse_dwt2

__all__ = [
    "Transform",
    "TransformName",
    "dct2",
    "dct_matrix",
    "idct2",
    "inverse_dct_matrix",
    "pixel_rate",
    "transform_named",
]

TransformName: TypeAlias = Literal["dct", "dft", "dwt"]


@functools.cache
def _forward(size: int) -> np.ndarray:
    n = np.arange(size)
    return 2 * np.cos(np.pi * np.outer(n, 2 * n + 1) / (2 * size))


@functools.cache
def _inverse(size: int) -> np.ndarray:
    n = np.arange(size)
    matrix = np.cos(np.pi * np.outer(2 * n + 1, n) / (2 * size)) / size
    matrix[:, 0] /= 2
    return matrix


def dct_matrix(size: int, like: Tensor) -> Float[Tensor, "n n"]:
    """The forward map as a matrix C, X = C x; built in float64 and cast, since float32 cosines lose 4e-5 at 128."""
    return sent(torch.from_numpy(_forward(size)), like)


def inverse_dct_matrix(size: int, like: Tensor) -> Float[Tensor, "n n"]:
    """The inverse map as a matrix, x_n = (X_0 / 2 + sum_{k>0} X_k cos(pi k (2n + 1) / 2N)) / N."""
    return sent(torch.from_numpy(_inverse(size)), like)


def dct2(images: Float[Tensor, "*batch h w"]) -> Float[Tensor, "*batch h w"]:
    """Separable unnormalised DCT-II over the last two axes."""
    height, width = images.shape[-2:]
    return dct_matrix(height, images) @ images @ dct_matrix(width, images).T


def idct2(coefficients: Float[Tensor, "*batch h w"]) -> Float[Tensor, "*batch h w"]:
    """The exact inverse of `dct2`."""
    height, width = coefficients.shape[-2:]
    return inverse_dct_matrix(height, coefficients) @ coefficients @ inverse_dct_matrix(width, coefficients).T


def pixel_rate(rate: float, size: tuple[int, int]) -> Float[Tensor, "h w"]:
    """eta / (s_u s_v)^2: the SGD rate on orthonormal coefficients that equals `rate` on the unnormalised ones.

    For eta = 1e8 at 32 x 32 (FreD with TM): 24,414 inside, half of it on the axes, a quarter at DC.
    """
    scales = [torch.full((n,), math.sqrt(2 * n), dtype=torch.float64) for n in size]
    for scale, n in zip(scales, size, strict=True):
        scale[0] = math.sqrt(4 * n)
    return rate / torch.outer(scales[0], scales[1]) ** 2


@dataclass(frozen=True)
class Transform:
    """An invertible real map of pictures (.., h, w) to as many coefficients (.., h, w), and its exact inverse."""

    forward: Callable[[Tensor], Tensor]
    inverse: Callable[[Tensor], Tensor]


def transform_named(name: TransformName, wavelet: Wavelet = "haar") -> Transform:
    """`dct`: unnormalised, as published; `dft` and `dwt` (of `wavelet`): orthonormal times 2 sqrt(HW)."""
    match name:
        case "dct":
            return Transform(dct2, idct2)
        case "dft":
            return _scaled(real_dft2, inverse_real_dft2)
        case "dwt":
            return _scaled(functools.partial(dwt2, wavelet=wavelet), functools.partial(inverse_dwt2, wavelet=wavelet))
    raise UnknownNameError("transform", name, ("dct", "dft", "dwt"))


def _scaled(forward: Callable[[Tensor], Tensor], inverse: Callable[[Tensor], Tensor]) -> Transform:
    def scale(x: Tensor) -> float:
        return 2 * math.sqrt(x.shape[-2] * x.shape[-1])

    return Transform(lambda x: forward(x) * scale(x), lambda y: inverse(y / scale(y)))
