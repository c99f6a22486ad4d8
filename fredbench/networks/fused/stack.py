"""Blocks of a ConvNet - 3×3 convolution, instance norm, ReLU, 2×2 mean - as one operation with a gradient of its own.

A batch goes through all blocks in parts that stay near the caches, each part by one thread, and what the parts give is
summed up in their order: no bit of the outcome depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from fredbench.foundation.compiling import Array
from fredbench.foundation.parallel import side_by_side
from fredbench.networks.fused import loops, winograd

__all__ = ["Shape", "run"]

# Bytes of the first map of one part, and pictures of a part at least where there are that many.
_PART = 20 << 20
_FEWEST = 5
# Input channels up to which a convolution's gradient by its weights is summed up in its block's own loop: pictures.
_FEW = 4
# Weight, bias, gain and shift.
_OF_BLOCK = 4


@dataclass(frozen=True)
class Shape:
    """What a block is beside its weights: zeros around its maps, and the norm's epsilon."""

    padding: int
    epsilon: float


def run(
    shapes: Sequence[Shape], parameters: Sequence[Tensor], images: Float[Tensor, "n c h w"]
) -> Float[Tensor, "n o hh ww"]:
    """The blocks' outcome, channels last in memory; it can be differentiated once.

    parameters: of each block its convolution's weight (o, c, 3, 3) and bias, its norm's gain and shift, (o,). float32
    on the CPU; the height and width of every convolved map must be even.
    """
    made: Tensor = _Stack.apply(tuple(shapes), images, *parameters)
    return made


@dataclass
class _Block:
    """A block with its weights as the parts need them: read only, shared by all threads."""

    shape: Shape
    weight: Tensor
    bias: Tensor
    gain: Tensor
    shift: Tensor
    tiles: winograd.Weights | None
    tiles_back: winograd.Weights | None

    def convolve(self, maps: Float[Tensor, "n h w c"]) -> Float[Tensor, "n hh ww o"]:
        """The convolved maps; with a border of 1 of the same size."""
        if self.tiles is not None:
            return winograd.convolve(maps, self.tiles, self.bias)
        return _last(functional.conv2d(_first(maps), self.weight, self.bias, padding=self.shape.padding))

    def by_maps(self, below: Float[Tensor, "n hh ww o"], maps: Float[Tensor, "n h w c"]) -> Float[Tensor, "n h w c"]:
        """Gradient of the convolution by its maps."""
        if self.tiles_back is not None:
            return winograd.convolve(below, self.tiles_back, below.new_zeros(maps.shape[3]))
        by_maps: Tensor = self._directly(below, maps, [True, False, False])[0]
        return _last(by_maps)

    def by_weight(self, maps: Float[Tensor, "n h w c"], below: Float[Tensor, "n hh ww o"]) -> Float[Tensor, "o c 3 3"]:
        """Gradient of the convolution by its weight."""
        if self.tiles is not None:
            return winograd.by_weights(maps, below)
        by_weight: Tensor = self._directly(below, maps, [False, True, False])[1]
        return by_weight

    def _directly(self, below: Tensor, maps: Tensor, mask: list[bool]) -> tuple[Any, Any, Any]:
        given, padding = (_first(below), _first(maps), self.weight, [len(self.weight)]), [self.shape.padding] * 2
        found: tuple[Any, Any, Any] = torch.ops.aten.convolution_backward(
            *given, [1, 1], padding, [1, 1], False, [0, 0], 1, mask
        )
        return found


@dataclass
class _Kept:
    """What a part keeps of a block for the way back."""

    maps: Float[Tensor, "n h w c"]
    z: Float[Tensor, "n hh ww o"]
    mean: Float[Tensor, "n o"]
    scale: Float[Tensor, "n o"]


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, shapes: tuple[Shape, ...], images: Tensor, *parameters: Tensor) -> Tensor:
        _, by_images, *by_parameters = ctx.needs_input_grad
        keep = by_images or any(by_parameters)
        # Whether the gradient of a block's maps is asked for, by the pictures or by a block below.
        further = [by_images or any(by_parameters[: _OF_BLOCK * number]) for number in range(len(shapes))]
        blocks = _blocks(shapes, images, parameters, further)
        maps = _last(images.detach())
        done = side_by_side(lambda part: _forward(blocks, part, keep), maps.split(_pictures(blocks[0], images)))
        ctx.blocks, ctx.further, ctx.kept = blocks, further, [kept for _, kept in done]
        return _first(torch.cat([out for out, _ in done]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        _, by_images, *needs = ctx.needs_input_grad
        gradients = list(_last(above).split([len(kept[0].maps) for kept in ctx.kept]))
        shares: list[Tensor | None] = []
        for number in reversed(range(len(ctx.blocks))):
            wanted = needs[_OF_BLOCK * number : _OF_BLOCK * (number + 1)]
            step = partial(_backward, ctx.blocks[number], ctx.further[number], wanted[0])
            done = side_by_side(
                step, [(kept.pop(), gradient) for kept, gradient in zip(ctx.kept, gradients, strict=True)]
            )
            found = [_sum(values) for values in zip(*(values for _, values in done), strict=True)]
            shares[:0] = [value if need else None for value, need in zip(found, wanted, strict=True)]
            if not ctx.further[number]:
                shares[:0] = [None] * (_OF_BLOCK * number)
                break
            gradients = [gradient for gradient, _ in done]
        return None, _first(torch.cat(gradients)) if by_images else None, *shares


def _blocks(
    shapes: Sequence[Shape], images: Tensor, parameters: Sequence[Tensor], further: Sequence[bool]
) -> list[_Block]:
    """The blocks; `further[number]`: whether the gradient goes on below a block."""
    found = []
    height, width = images.shape[2:]
    for number, shape in enumerate(shapes):
        weight, bias, gain, shift = (
            value.detach() for value in parameters[_OF_BLOCK * number : _OF_BLOCK * (number + 1)]
        )
        tiled = shape.padding == 1 and winograd.fits(weight.shape[1], weight.shape[0], (height, width))
        tiles = winograd.Weights(weight) if tiled else None
        back = winograd.Weights.turned(weight) if tiled and further[number] else None
        last = weight.contiguous(memory_format=torch.channels_last)
        found.append(_Block(shape, last, bias, gain, shift, tiles, back))
        height, width = (height + 2 * shape.padding - 2) // 2, (width + 2 * shape.padding - 2) // 2
    return found


def _pictures(first: _Block, images: Tensor) -> int:
    """Pictures of a part: by what their first map takes; fewer where that leaves a thread without any."""
    height, width = (length + 2 * first.shape.padding - 2 for length in images.shape[2:])
    most = max(1, _PART // (4 * len(first.weight) * height * width))
    return max(1, min(most, max(_FEWEST, len(images) // 4)))


def _forward(
    blocks: Sequence[_Block], maps: Float[Tensor, "n h w c"], keep: bool
) -> tuple[Float[Tensor, "n hh ww o"], list[_Kept]]:
    kept = []
    for block in blocks:
        z = block.convolve(maps)
        n, height, width, filters = z.shape
        out = z.new_empty(n, height // 2, width // 2, filters)
        mean, scale = z.new_empty(n, filters), z.new_empty(n, filters)
        norm = block.gain.numpy(), block.shift.numpy(), block.shape.epsilon
        loops.block_forward(z.numpy(), *norm, out.numpy(), mean.numpy(), scale.numpy())
        if keep:
            kept.append(_Kept(maps, z, mean, scale))
        maps = out
    return maps, kept


def _backward(
    block: _Block, further: bool, by_weight: bool, part: tuple[_Kept, Tensor]
) -> tuple[Tensor | None, tuple[Tensor | None, ...]]:
    """A part's gradient by its maps, if it goes on `further`, and its share of that by the block's four parameters.

    part: what was kept of it, and the gradient by its outcome.
    """
    was, above = part
    if by_weight and not further and was.maps.shape[3] <= _FEW:
        return None, _first_block(block, was, above)
    below, by_gain, by_shift = torch.empty_like(was.z), torch.empty_like(was.mean), torch.empty_like(was.mean)
    loops.block_backward(*_given(block, was, above), below.numpy(), by_gain.numpy(), by_shift.numpy())
    weight = block.by_weight(was.maps, below) if by_weight else None
    shares = weight, below.sum((0, 1, 2)), by_gain.sum(0), by_shift.sum(0)
    return block.by_maps(below, was.maps) if further else None, shares


def _first_block(block: _Block, was: _Kept, above: Tensor) -> tuple[Tensor, ...]:
    """A part's shares of a block that sees pictures: the gradient of its convolved maps is never stored."""
    padding, channels = block.shape.padding, was.maps.shape[3]
    pixels = functional.pad(was.maps, (0, 0, padding, padding, padding, padding))
    taps = was.z.new_empty(len(was.z), 9 * channels, was.z.shape[3])
    bias, by_gain, by_shift = (torch.empty_like(was.mean) for _ in range(3))
    sums = [value.numpy() for value in (by_gain, by_shift, taps, bias)]
    loops.first_block_backward(pixels.numpy(), *_given(block, was, above), *sums)
    weight = taps.sum(0).view(3, 3, channels, -1).permute(3, 2, 0, 1)
    return weight, bias.sum(0), by_gain.sum(0), by_shift.sum(0)


def _given(block: _Block, was: _Kept, above: Tensor) -> tuple[Array, Array, Array, Array, Array, Array]:
    norm = block.gain.numpy(), block.shift.numpy(), was.mean.numpy(), was.scale.numpy()
    return was.z.numpy(), *norm, above.numpy()


def _sum(shares: Sequence[Tensor | None]) -> Tensor | None:
    total: Tensor | None = None
    for share in shares:
        if share is not None:
            total = share if total is None else total + share
    return total


def _last(maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w c"]:
    """The same with the channels side by side in memory."""
    return maps.permute(0, 2, 3, 1).contiguous()


def _first(maps: Float[Tensor, "n h w c"]) -> Float[Tensor, "n c h w"]:
    """The same numbers in torch's order of axes; nothing moves."""
    return maps.permute(0, 3, 1, 2)
