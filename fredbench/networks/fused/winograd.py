"""3×3 convolutions of stride 1 by Winograd's F(4×4, 3×3): a quarter of the products of the direct sum.

Forward, gradient by the maps (a convolution of the turned weights) and gradient by the weights (the adjoint of the
forward pass) are each 36 products of matrices, made by oneDNN, between transforms of ours. The outcome differs from the
direct sum's by rounding: of maps and weights of usual size about 1e-6 of their spread, five times the direct sum's own.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fredbench.foundation.parallel import over_pictures
from fredbench.networks.fused import tiles as loops

__all__ = ["by_maps", "by_weights", "convolve", "fits"]

_POINTS = 36
# Rows of a product at once: what it reads and writes stays near the caches (640 × 36 × 128 numbers are 12 MB).
# Measured at 32, 64 and 128 channels: with four times as many a product of 32 channels takes twice as long.
_ROWS = 640
_LEAST = 16

# G of F(4×4, 3×3), rows by the points 0, 1, -1, 2, -2, ∞ (Lavin and Gray, section 4.3).
_G = torch.tensor(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    dtype=torch.float64,
)
_G2 = torch.kron(_G, _G).float()


@cache
def _library() -> bool:
    """Whether this torch has oneDNN's products, which are what makes it quick."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def fits(channels: int, filters: int, size: tuple[int, int]) -> bool:
    """Whether maps of `size` and so many channels in and out are convolved this way here."""
    return min(channels, filters) >= _LEAST and not size[0] % 4 and not size[1] % 4 and _library()


def convolve(
    maps: Float[Tensor, "n h w c"], weight: Float[Tensor, "o c 3 3"], bias: Float[Tensor, " o"]
) -> Float[Tensor, "n h w o"]:
    """Convolution with a border of one zero."""
    return _convolve(maps, _transformed(weight), bias)


def by_maps(above: Float[Tensor, "n h w o"], weight: Float[Tensor, "o c 3 3"]) -> Float[Tensor, "n h w c"]:
    """Gradient with respect to the maps of `convolve`, from that of its outcome."""
    turned = weight.flip(2, 3).transpose(0, 1)
    return _convolve(above, _transformed(turned), above.new_zeros(weight.shape[1]))


def by_weights(maps: Float[Tensor, "n h w c"], above: Float[Tensor, "n h w o"]) -> Float[Tensor, "o c 3 3"]:
    """Gradient with respect to the weights of `convolve`, from that of its outcome."""
    channels, filters = maps.shape[3], above.shape[3]
    total = maps.new_zeros(_POINTS, channels, filters)
    for part, gradient in zip(*(_parts(values) for values in (maps, above)), strict=True):
        rows = _rows(part)
        cut, tiles = part.new_empty(rows, _POINTS * channels), part.new_empty(_POINTS, rows, filters)
        over_pictures(loops.tiles_from_maps, len(part), part.numpy(), cut.view(rows, _POINTS, channels).numpy())
        over_pictures(loops.gradient_tiles, len(part), gradient.numpy(), tiles.numpy())
        # Turned over as a whole: oneDNN would do it for each product, number by number.
        turned = cut.t().contiguous().view(_POINTS, channels, rows)
        for point in range(_POINTS):
            total[point] += torch.ops.mkldnn._linear_pointwise(turned[point], tiles[point].t(), None, "none", [], "")
    taps = _G2.T @ total.flatten(1)
    return taps.view(3, 3, channels, filters).permute(3, 2, 0, 1)


def _convolve(maps: Tensor, transformed: Tensor, bias: Tensor) -> Tensor:
    n, height, width, channels = maps.shape
    filters = transformed.shape[0] // _POINTS
    out = maps.new_empty(n, height, width, filters)
    for part, place in zip(_parts(maps), _parts(out), strict=True):
        rows = _rows(part)
        tiles = part.new_empty(rows, _POINTS, channels)
        over_pictures(loops.tiles_from_maps, len(part), part.numpy(), tiles.numpy())
        # 36 products at once are a 1×1 convolution in 36 groups; asked of oneDNN by name, since with one thread torch
        # would take its own loops.
        as_maps = tiles.view(1, rows, 1, _POINTS * channels).permute(0, 3, 1, 2)
        product = torch.mkldnn_convolution(as_maps, transformed, None, [0, 0], [1, 1], [1, 1], _POINTS)
        made = product.permute(0, 2, 3, 1).reshape(rows, _POINTS, filters)
        over_pictures(loops.maps_from_tiles, len(part), made.numpy(), bias.numpy(), place.numpy())
    return out


def _transformed(weight: Tensor) -> Tensor:
    """G w Gᵀ of each filter and channel as weights (36 o, c, 1, 1) of a convolution in 36 groups."""
    filters, channels = weight.shape[:2]
    taps = weight.permute(2, 3, 0, 1).reshape(9, filters * channels)
    return (_G2 @ taps).view(_POINTS * filters, channels, 1, 1)


def _parts(maps: Tensor) -> tuple[Tensor, ...]:
    """`maps` in parts of whole pictures of about `_ROWS` tiles."""
    return maps.split(max(1, _ROWS * 16 // (maps.shape[1] * maps.shape[2])))


def _rows(maps: Tensor) -> int:
    return len(maps) * maps.shape[1] * maps.shape[2] // 16
