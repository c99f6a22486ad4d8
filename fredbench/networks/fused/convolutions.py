"""3×3 convolutions of stride 1 over maps whose channels lie side by side, and their two gradients, by one thread.

By Winograd's products where they fit, else by torch; a picture's few channels are summed up in a loop of ours where the
gradient by the weights is asked for, which torch is slow at in this order of axes. Of bfloat16 all are torch's, which
are quicker than Winograd's where the processor has such products, and sums of sums would lose too much in it.
"""

from __future__ import annotations

from functools import cache, cached_property

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


def _multiplied() -> torch.dtype:
    """As what numbers rounded to bfloat16 are multiplied: without such products torch would round sums of sums too."""
    return torch.bfloat16 if torch.backends.mkldnn.enabled and _has_products() else torch.float32


@cache
def _has_products() -> bool:
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return supported is not None and bool(supported())


class Convolution:
    """A convolution's weights, in the forms that its three uses want; read by any thread.

    padding: zeros around the maps. size: height and width of the maps. products: what is multiplied, weight, bias and
    maps alike; of bfloat16, a product's sums are float32 and what it gives is rounded once, the gradient by the weight
    too. Maps are taken in either, and given as they were taken.
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
        return self._rounded(self.weight).contiguous(memory_format=torch.channels_last)

    def _rounded(self, values: Tensor) -> Tensor:
        """`values` as they are multiplied."""
        return values if self._is_full else values.to(self.products).to(_multiplied())

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
        given = self._rounded(first(maps)), self._plain, self._rounded(bias)
        return self._given(functional.conv2d(*given, padding=self.padding), maps.dtype)

    def by_maps(self, below: Float[Tensor, "n hh ww o"], like: Float[Tensor, "n h w c"]) -> Float[Tensor, "n h w c"]:
        """Gradient by the maps, which are of the shape of `like`, from that of the outcome."""
        if self.is_tiled:
            return winograd.convolve(below, self._tiles_back, below.new_zeros(self.channels))
        return self._given(self._directly(below, like, 0), below.dtype)

    def by_weight(self, maps: Float[Tensor, "n h w c"], below: Float[Tensor, "n hh ww o"]) -> Float[Tensor, "o c 3 3"]:
        """Gradient by the weight, from that of the outcome; float32."""
        if self.is_tiled:
            return winograd.by_weights(maps, below)
        if self.channels > FEW or not self._is_full:
            return self._directly(below, maps, 1).to(self.products).float()
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

    def _given(self, maps: Float[Tensor, "n o hh ww"], dtype: torch.dtype) -> Float[Tensor, "n hh ww o"]:
        """What a product gives, rounded as products are, in `dtype`."""
        return last(maps.to(self.products)).to(dtype)

    def _directly(self, below: Tensor, maps: Tensor, which: int) -> Tensor:
        """torch's gradient by the maps (0) or the weight (1)."""
        pair = (self._rounded(first(values)) for values in (below, maps))
        given, padding = (*pair, self._plain, [self.filters]), [self.padding] * 2
        mask = [which == number for number in range(3)]
        made: Tensor = torch.ops.aten.convolution_backward(*given, [1, 1], padding, [1, 1], False, [0, 0], 1, mask)[
            which
        ]
        return made
