"""3×3 convolutions of stride 1 by Winograd's F(4×4, 3×3): a quarter of the products of the direct sum.

Forward, gradient by the maps (a convolution of the turned weights) and gradient by the weights (the adjoint of the
forward pass) are each 36 products of matrices, made by oneDNN, between transforms of ours. The outcome differs from the
direct sum's by rounding: of maps and weights of usual size about 1e-6 of their spread, five times the direct sum's own.
"""

from __future__ import annotations

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from fredbench.networks.fused import tiles as loops

__all__ = ["Weights", "by_weights", "convolve", "fits"]

_POINTS = 36
_NEEDED = ("_convolution_pointwise", "_linear_pointwise", "_reorder_convolution_weight")
# Padding, stride, dilation and groups of the products' convolution.
_POINTWISE = ([0, 0], [1, 1], [1, 1], _POINTS)
# Tiles at once: what a product reads and writes stays in the caches (128 tiles of 128 channels are 2.4 MB).
_ROWS = 128
# Channels that make products worth their transforms: of 32 the direct sum is the quicker (a pass of 160 pictures
# forward and back, one thread: 29 ms against 32; of 64 both take 60).
_LEAST = 64

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
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in _NEEDED)


def fits(channels: int, filters: int, size: tuple[int, int]) -> bool:
    """Whether maps of `size` and so many channels in and out are convolved this way here."""
    return min(channels, filters) >= _LEAST and not size[0] % 4 and not size[1] % 4 and _library()


class Weights:
    """A convolution's weights (o, c, 3, 3) under Winograd's transform, as oneDNN wants them; read by any thread.

    G w Gᵀ of each filter and channel are the weights of a 1×1 convolution in 36 groups, which is 36 products of
    matrices at once.
    """

    def __init__(self, weight: Float[Tensor, "o c 3 3"]) -> None:
        self.filters, self.channels = weight.shape[:2]
        taps = weight.permute(2, 3, 0, 1).reshape(9, self.filters * self.channels)
        grouped = (_G2 @ taps).view(_POINTS * self.filters, self.channels, 1, 1)
        rows = [1, _POINTS * self.channels, _ROWS, 1]
        self._packed = torch.ops.mkldnn._reorder_convolution_weight(grouped, *_POINTWISE, rows)

    @staticmethod
    def turned(weight: Float[Tensor, "o c 3 3"]) -> Weights:
        """Those whose convolution takes the gradient of an outcome to that of the maps."""
        return Weights(weight.flip(2, 3).transpose(0, 1))

    def times(self, tiles: Float[Tensor, "r 36 c"]) -> Float[Tensor, "r 36 o"]:
        """The 36 products."""
        rows = len(tiles)
        maps = tiles.view(1, rows, 1, _POINTS * self.channels).permute(0, 3, 1, 2)
        made = torch.ops.mkldnn._convolution_pointwise(maps, self._packed, None, *_POINTWISE, "none", [], "")
        grouped: Tensor = made.permute(0, 2, 3, 1).reshape(rows, _POINTS, self.filters)
        return grouped


def convolve(maps: Float[Tensor, "n h w c"], weights: Weights, bias: Float[Tensor, " o"]) -> Float[Tensor, "n h w o"]:
    """Convolution with a border of one zero."""
    n, height, width, channels = maps.shape
    out = maps.new_empty(n, height, width, weights.filters)
    some = max(1, min(n, _ROWS // _rows(maps[:1])))
    tiles = maps.new_empty(_rows(maps[:some]), _POINTS, channels)
    for part, place in zip(maps.split(some), out.split(some), strict=True):
        cut = tiles[: _rows(part)]
        loops.tiles_from_maps(part.numpy(), cut.numpy())
        loops.maps_from_tiles(weights.times(cut).numpy(), bias.numpy(), place.numpy())
    return out


def by_weights(maps: Float[Tensor, "n h w c"], above: Float[Tensor, "n h w o"]) -> Float[Tensor, "o c 3 3"]:
    """Gradient of the convolution by its weights, from that of its outcome."""
    rows, channels, filters = _rows(maps), maps.shape[3], above.shape[3]
    cut, tiles = maps.new_empty(rows, _POINTS * channels), maps.new_empty(_POINTS, rows, filters)
    loops.tiles_from_maps(maps.numpy(), cut.view(rows, _POINTS, channels).numpy())
    loops.gradient_tiles(above.numpy(), tiles.numpy())
    # Turned over as a whole: oneDNN would do it for each product, number by number.
    over = cut.t().contiguous().view(_POINTS, channels, rows)
    product = torch.ops.mkldnn._linear_pointwise
    total = torch.stack([product(a, b, None, "none", [], "") for a, b in zip(over, tiles.transpose(1, 2), strict=True)])
    taps = _G2.T @ total.flatten(1)
    return taps.view(3, 3, channels, filters).permute(3, 2, 0, 1)


def _rows(maps: Tensor) -> int:
    return len(maps) * maps.shape[1] * maps.shape[2] // 16
