"""The discrete Fourier transform of real pictures as real numbers, one for one.

A real picture of H x W has a spectrum with X(-u, -v) = conj X(u, v): H W complex numbers that hold H W real ones.
They are laid out without a copy of any: of each pair of opposite frequencies, the first in reading order holds
sqrt 2 times the real part, the other sqrt 2 times the imaginary part; a frequency that is its own opposite (at most
four) holds its real value. With the factor 1 / sqrt(HW) of the transform this is an orthonormal real basis.
"""

from __future__ import annotations

import functools
import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fredbench.foundation.device import sent

__all__ = ["inverse_real_dft2", "opposite", "real_dft2"]


def opposite(values: Float[Tensor, "*batch h w"]) -> Float[Tensor, "*batch h w"]:
    """The value at (-u, -v) in the place of that at (u, v)."""
    return values.flip((-2, -1)).roll((1, 1), (-2, -1))


@functools.cache
def _roles(height: int, width: int) -> tuple[Bool[Tensor, "h w"], Bool[Tensor, "h w"]]:
    """Which frequencies are their own opposites, and which are the first of a pair."""
    order = torch.arange(height * width, dtype=torch.float64).reshape(height, width)
    return order == opposite(order), order < opposite(order)


def real_dft2(images: Float[Tensor, "*batch h w"]) -> Float[Tensor, "*batch h w"]:
    """The orthonormal DFT over the last two axes in the layout above."""
    alone, first = (sent(mask, images.device) for mask in _roles(*images.shape[-2:]))
    spectrum = torch.fft.fft2(images, norm="ortho")
    real, imaginary = spectrum.real, opposite(spectrum.imag)
    return torch.where(alone, real, torch.where(first, real, imaginary) * math.sqrt(2))


def inverse_real_dft2(coefficients: Float[Tensor, "*batch h w"]) -> Float[Tensor, "*batch h w"]:
    """The exact inverse of `real_dft2`, which is its adjoint."""
    alone, first = (sent(mask, coefficients.device) for mask in _roles(*coefficients.shape[-2:]))
    there = opposite(coefficients)
    root = math.sqrt(0.5)
    real = torch.where(alone, coefficients, torch.where(first, coefficients, there) * root)
    half = torch.where(first, there, -coefficients) * root
    imaginary = torch.where(alone, torch.zeros_like(half), half)
    pictures: Tensor = torch.fft.ifft2(torch.complex(real, imaginary), norm="ortho").real
    return pictures
