"""Blocks of a ConvNet - 3×3 convolution, instance norm, ReLU, 2×2 mean - as one operation with a gradient of its own.

A batch goes through all blocks in parts that stay near the caches, each part by one thread, and what the parts give is
summed up in their order: no bit of the outcome depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial, reduce
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from fredbench.foundation.parallel import one_by_one, side_by_side, within_part
from fredbench.networks.fused import loops
from fredbench.networks.fused.convolutions import FEW, Convolution, first, last, numbers

__all__ = ["OF_BLOCK", "Shape", "parts_of", "refuse_a_further_derivative", "run"]

# Bytes of the largest map of one part; parts of a smaller batch, and how many pictures make one worth its own calls.
_PART = 20 << 20
_PARTS, _WORTH_PARTING = 4, 12
# Pictures that are two parts even so: one part would be for one thread.
_WORTH_TWO = 8
# Pictures whose convolved maps' gradient is held at once where it goes no further.
_FEWEST = 5
# Bytes of pictures' convolved maps beyond which they are made anew on the way back, a part at a time: of ConvNets that
# is the most there is to keep, and of few channels quickly made.
_WORTH_KEEPING = 256 << 20
OF_BLOCK = 4
"""Parameters of a block: its convolution's weight and bias, its norm's gain and shift."""


@dataclass(frozen=True)
class Shape:
    """What a block is beside its weights: zeros around its maps, the norm's epsilon, what is multiplied."""

    padding: int
    epsilon: float
    products: torch.dtype = torch.float32


def parts_of(count: int, each: int) -> int:
    """How many of `count` pictures make a part, of which each takes `each` bytes in its largest map.

    The same for any number of threads, so that none has a say in the bits.
    """
    return max(1, min(_PART // each, count)) if within_part() else _apart_of(count, each)


def _apart_of(count: int, each: int) -> int:
    parts = max(2 if count >= _WORTH_TWO else 1, min(_PARTS, count // _WORTH_PARTING))
    return max(1, min(_PART // each, -(-count // parts)))


def run(
    shapes: Sequence[Shape], parameters: Sequence[Tensor], images: Float[Tensor, "n c h w"]
) -> Float[Tensor, "n o hh ww"]:
    """The blocks' outcome, channels last in memory; it can be differentiated once.

    parameters: of each block its convolution's weight (o, c, 3, 3) and bias, its norm's gain and shift, (o,). float32
    on the CPU; the height and width of every convolved map must be even.
    """
    if not torch.is_grad_enabled():
        # An operation is told that weights want a gradient also where none is kept.
        images, parameters = images.detach(), [each.detach() for each in parameters]
    made: Tensor = _Stack.apply(tuple(shapes), images, *parameters)
    return made


def refuse_a_further_derivative(what: str) -> None:
    """Raise `RuntimeError` in a backward pass whose own graph is asked for.

    torch's mark for that (once_differentiable) leaves the operation out of the graph: where another path leads on, the
    next derivative would lack a part and nobody would be told.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(f"no further derivative: {what}; give the network arithmetic = 'eager' to go on")


@dataclass
class _Block:
    """A block with its weights as the parts need them: read only, shared by all threads."""

    convolution: Convolution
    bias: Tensor
    gain: Tensor
    shift: Tensor
    epsilon: float


@dataclass
class _Kept:
    """What a part keeps of a block for the way back; z, the convolved maps, is None where they are made anew."""

    maps: Float[Tensor, "n h w c"]
    z: Float[Tensor, "n hh ww o"] | None
    mean: Float[Tensor, "n o"]
    scale: Float[Tensor, "n o"]

    def values(self) -> tuple[Tensor | None, ...]:
        """All of it, in order."""
        return self.maps, self.z, self.mean, self.scale

    def convolved(self, block: _Block) -> Float[Tensor, "n hh ww o"]:
        """z; made anew it is of the same pictures at once as before, and so of the same bits."""
        return block.convolution.convolve(self.maps, block.bias) if self.z is None else self.z


_OF_KEPT = len(fields(_Kept))


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, shapes: tuple[Shape, ...], images: Tensor, *parameters: Tensor) -> Tensor:
        _, by_images, *by_parameters = ctx.needs_input_grad
        keep = by_images or any(by_parameters)
        # Whether the gradient of a block's maps is asked for, by the pictures or by a block below.
        further = [by_images or any(by_parameters[: OF_BLOCK * number]) for number in range(len(shapes))]
        blocks = _blocks(shapes, images, parameters, further)
        maps = last(images.detach())
        anew = blocks[0].convolution.channels <= FEW and len(images) * _convolved(blocks[0], images) > _WORTH_KEEPING
        # Where nothing is kept a part has parts as a batch has: of 32 pictures of 128 they stay near the caches.
        parts = maps.split((parts_of if keep else _apart_of)(len(images), _convolved(blocks[0], images)))
        done = side_by_side(lambda part: _forward(blocks, part, keep, anew), parts)
        ctx.blocks, ctx.further = blocks, further
        kept = [value for _, of_part in done for of_block in of_part for value in of_block.values()]
        # What is kept this way is freed once it was used, though the loss lives on; and where parameters were changed
        # in place, autograd refuses the way back.
        ctx.save_for_backward(*parameters, *kept)
        return first(torch.cat([out for out, _ in done]))

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        refuse_a_further_derivative("within fused.once() networks are differentiated once")
        _, by_images, *needs = ctx.needs_input_grad
        parts_kept = _parts(ctx.saved_tensors[len(needs) :], len(ctx.blocks))
        gradients = list(last(above).split([len(kept[0].maps) for kept in parts_kept]))
        by_maps: list[Tensor] = []
        totals: list[Tensor | None] = [None] * len(needs)
        back = partial(_part_backward, ctx.blocks, ctx.further, needs)
        # One part goes back through all blocks, so that nothing is held of the others but their shares, in turn.
        for gradient, shares in one_by_one(back, list(zip(parts_kept, gradients, strict=True))):
            totals = [_plus(*each) for each in zip(totals, shares, strict=True)]
            by_maps += [] if gradient is None else [gradient]
        return None, first(torch.cat(by_maps)).to(above.dtype) if by_images else None, *totals


def _blocks(
    shapes: Sequence[Shape], images: Tensor, parameters: Sequence[Tensor], further: Sequence[bool]
) -> list[_Block]:
    """The blocks; `further[number]`: whether the gradient goes on below a block."""
    found = []
    height, width = images.shape[2:]
    for number, shape in enumerate(shapes):
        weight, bias, gain, shift = (
            value.detach() for value in parameters[OF_BLOCK * number : OF_BLOCK * (number + 1)]
        )
        convolution = Convolution(weight, shape.padding, (height, width), shape.products)
        convolution.prepare(back=further[number])
        found.append(_Block(convolution, bias, gain, shift, shape.epsilon))
        height, width = (height + 2 * shape.padding - 2) // 2, (width + 2 * shape.padding - 2) // 2
    return found


def _parts(values: Sequence[Any], blocks: int) -> list[list[_Kept]]:
    """What is kept of each part and block, from the values of all in their order."""
    each = [_Kept(*values[first : first + _OF_KEPT]) for first in range(0, len(values), _OF_KEPT)]
    return [each[first : first + blocks] for first in range(0, len(each), blocks)]


def _convolved(block: _Block, images: Tensor) -> int:
    """Bytes of the convolved maps that the first block has of a picture."""
    height, width = (length + 2 * block.convolution.padding - 2 for length in images.shape[2:])
    return block.convolution.products.itemsize * block.convolution.filters * height * width


def _forward(
    blocks: Sequence[_Block], maps: Float[Tensor, "n h w c"], keep: bool, anew: bool
) -> tuple[Float[Tensor, "n hh ww o"], list[_Kept]]:
    """The outcome of a part, and what is kept of each block; `anew`: not the convolved maps of the first."""
    kept = []
    maps = maps.to(blocks[0].convolution.products)
    for number, block in enumerate(blocks):
        z = block.convolution.convolve(maps, block.bias)
        n, height, width, filters = z.shape
        # What convolutions multiply is kept in their precision; what the head is given is float32.
        given = z.dtype if number + 1 < len(blocks) else torch.float32
        out = z.new_empty(n, height // 2, width // 2, filters, dtype=given)
        mean, scale = block.gain.new_empty(n, filters), block.gain.new_empty(n, filters)
        norm = block.gain.numpy(), block.shift.numpy(), block.epsilon
        loops.block_forward(numbers(z), *norm, numbers(out), mean.numpy(), scale.numpy())
        if keep:
            kept.append(_Kept(maps, None if anew and not number else z, mean, scale))
        maps = out
    return maps, kept


def _part_backward(
    blocks: Sequence[_Block], further: Sequence[bool], needs: Sequence[bool], part: tuple[Sequence[_Kept], Tensor]
) -> tuple[Tensor | None, list[Tensor | None]]:
    """A part's gradient by its pictures, if there is one, and its share of that by each parameter in `needs`.

    part: what was kept of it at each block, and the gradient by its outcome.
    """
    kept, above = part
    gradient: Tensor | None = above
    shares: list[Tensor | None] = [None] * len(needs)
    for number in reversed(range(len(blocks))):
        if gradient is None:
            break
        place = slice(OF_BLOCK * number, OF_BLOCK * (number + 1))
        gradient, found = _backward(blocks[number], further[number], needs[place][0], kept[number], gradient)
        shares[place] = [value if need else None for value, need in zip(found, needs[place], strict=True)]
    return gradient, shares


def _backward(
    block: _Block, further: bool, by_weight: bool, was: _Kept, above: Tensor
) -> tuple[Tensor | None, tuple[Tensor | None, ...]]:
    """A part's gradient by its maps, if it goes on `further`, and its share of that by the block's four parameters.

    was: what was kept of it. above: the gradient by its outcome.
    """
    whole = was.maps, was.convolved(block), was.mean, was.scale, above
    if further or was.maps.shape[3] > FEW:
        return _some_backward(block, further, by_weight, *whole)
    # The gradient of pictures' convolved maps is the largest there is, and goes nowhere: a few pictures at a time.
    pieces = zip(*(value.split(_FEWEST) for value in whole), strict=True)
    shares = [_some_backward(block, further, by_weight, *piece)[1] for piece in pieces]
    return None, tuple(_sum(values) for values in zip(*shares, strict=True))


def _some_backward(
    block: _Block, further: bool, by_weight: bool, maps: Tensor, z: Tensor, mean: Tensor, scale: Tensor, above: Tensor
) -> tuple[Tensor | None, tuple[Tensor | None, ...]]:
    below, by_gain, by_shift = torch.empty_like(z), torch.empty_like(mean), torch.empty_like(mean)
    norm = block.gain.numpy(), block.shift.numpy(), mean.numpy(), scale.numpy()
    made = numbers(below), by_gain.numpy(), by_shift.numpy()
    loops.block_backward(numbers(z), *norm, numbers(above), *made)
    weight = block.convolution.by_weight(maps, below) if by_weight else None
    shares = weight, block.convolution.by_bias(below), by_gain.sum(0), by_shift.sum(0)
    return block.convolution.by_maps(below, maps) if further else None, shares


def _sum(shares: Sequence[Tensor | None]) -> Tensor | None:
    return reduce(_plus, shares)


def _plus(total: Tensor | None, share: Tensor | None) -> Tensor | None:
    return share if total is None else total if share is None else total + share
