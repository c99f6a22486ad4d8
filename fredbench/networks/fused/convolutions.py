"""3×3 convolutions of stride 1 over maps whose channels lie side by side, and their two gradients, by one thread.

By Winograd's products where they fit, else by torch; a picture's few channels are summed up in a loop of ours where the
gradient by the weights is asked for, which torch is slow at in this order of axes. Of bfloat16 all are torch's, which
are quicker than Winograd's where the processor has such products, and sums of sums would lose too much in it.
"""

from __future__ import annotations

from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from fredbench.foundation.compiling import Array
from fredbench.networks.fused import loops, winograd

__all__ = ["FEW", "Convolution", "first", "last", "numbers"]

FEW = 4
"""Input channels up to which they count as few."""


def last(maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w c"]:
    """The same with the channels side by side in memory."""
    return maps.permute(0, 2, 3, 1).contiguous()


def first(maps: Float[Tensor, "n h w c"]) -> Float[Tensor, "n c h w"]:
    """The same numbers in torch's order of axes; nothing moves."""
    return maps.permute(0, 3, 1, 2)


def numbers(maps: Tensor) -> Array:
    """What loops of ours take: float32, or the upper halves of such numbers, which is what bfloat16 is, as uint16."""
    return maps.view(torch.uint16).numpy() if maps.dtype == torch.bfloat16 else maps.numpy()


class Convolution:
    """A convolution's weights, in the forms that its three uses want; read by any thread.

    padding: zeros around the maps. size: height and width of the maps. products: what is multiplied; of bfloat16,
    sums are float32 and rounded once. Maps are taken in either, and given as they were taken.
    """

    def __init__(
        self,
        weight: Float[Tensor, "o c 3 3"],
        padding: int,
        size: tuple[int, int],
        products: torch.dtype = torch.float32,
    ) -> None:
        self.weight, self.padding, self.products = weight.detach(), padding, products
        self.filters, self.channels = weight.shape[:2]
        self._is_full = products == torch.float32
        self.is_tiled = self._is_full and padding == 1 and winograd.fits(self.channels, self.filters, size)

    @cached_property
    def _plain(self) -> Tensor:
        return self.weight.to(self.products).contiguous(memory_format=torch.channels_last)

    @cached_property
    def _tiles(self) -> winograd.Weights:
        return winograd.Weights(self.weight)

    @cached_property
    def _tiles_back(self) -> winograd.Weights:
        return winograd.Weights.turned(self.weight)

    def prepare(self, *, back: bool) -> Convolution:
        """Make the forms now, so that no two threads do; `back`: for the gradient by the maps as well."""
        _ = self._tiles if self.is_tiled else self._plain
        _ = self._tiles_back if self.is_tiled and back else None
        return self

    def convolve(self, maps: Float[Tensor, "n h w c"], bias: Float[Tensor, " o"]) -> Float[Tensor, "n hh ww o"]:
        """The convolved maps; with a border of one zero of the same size."""
        if self.is_tiled:
            return winograd.convolve(maps, self._tiles, bias)
        given = first(maps).to(self.products)
        return last(functional.conv2d(given, self._plain, bias.to(self.products), padding=self.padding)).to(maps.dtype)

    def by_maps(self, below: Float[Tensor, "n hh ww o"], like: Float[Tensor, "n h w c"]) -> Float[Tensor, "n h w c"]:
        """Gradient by the maps, which are of the shape of `like`, from that of the outcome."""
        if self.is_tiled:
            return winograd.convolve(below, self._tiles_back, below.new_zeros(self.channels))
        return last(self._directly(below, like, 0)).to(below.dtype)

    def by_weight(self, maps: Float[Tensor, "n h w c"], below: Float[Tensor, "n hh ww o"]) -> Float[Tensor, "o c 3 3"]:
        """Gradient by the weight, from that of the outcome; float32."""
        if self.is_tiled:
            return winograd.by_weights(maps, below)
        if self.channels > FEW or not self._is_full:
            return self._directly(below, maps, 1).float()
        border = 4 * (self.padding,)
        taps = below.new_empty(len(maps), 9 * self.channels, self.filters)
        loops.picture_taps(functional.pad(maps, (0, 0, *border)).numpy(), below.numpy(), taps.numpy())
        return taps.sum(0).view(3, 3, self.channels, self.filters).permute(3, 2, 0, 1)

    def by_bias(self, below: Float[Tensor, "n hh ww o"]) -> Float[Tensor, " o"]:
        """Gradient by the bias, from that of the outcome; float32."""
        if self._is_full:
            return below.sum((0, 1, 2))
        # A product of matrices: torch's sum of bfloat16 as float32 takes ten times as long.
        return (below.new_ones(1, below[..., 0].numel()) @ below.view(-1, self.filters))[0].float()

    def _directly(self, below: Tensor, maps: Tensor, which: int) -> Tensor:
        """torch's gradient by the maps (0) or the weight (1)."""
        pair = (first(values).to(self.products) for values in (below, maps))
        given, padding = (*pair, self._plain, [self.filters]), [self.padding] * 2
        mask = [which == number for number in range(3)]
        made: Tensor = torch.ops.aten.convolution_backward(*given, [1, 1], padding, [1, 1], False, [0, 0], 1, mask)[
            which
        ]
        return made
