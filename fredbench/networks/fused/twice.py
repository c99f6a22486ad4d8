"""The same blocks for who differentiates twice: gradient matching's synthetic pictures, trajectory matching's steps.

Convolution, gradient by the maps and gradient by the weights are each linear in both of what they are given, and the
gradients of one are the two others: they can be differentiated any number of times. Norm, ReLU and mean are one
operation whose gradient is an operation with a gradient of its own, in closed form; a third derivative is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from fredbench.foundation.parallel import side_by_side
from fredbench.networks.fused import loops
from fredbench.networks.fused.convolutions import Convolution, first, last
from fredbench.networks.fused.stack import OF_BLOCK, Shape, parts_of, refuse_a_further_derivative

__all__ = ["run"]


def run(
    shapes: Sequence[Shape], parameters: Sequence[Tensor], images: Float[Tensor, "n c h w"]
) -> Float[Tensor, "n o hh ww"]:
    """As `stack.run`, to be differentiated twice."""
    maps = last(images)
    for number, shape in enumerate(shapes):
        weight, bias, gain, shift = parameters[OF_BLOCK * number : OF_BLOCK * (number + 1)]
        z = _Convolve.apply(maps, weight, bias, shape)
        maps = _Norm.apply(z, gain, shift, shape.epsilon)
    return first(maps)


def _by_parts(work: Callable[..., Any], *values: Float[Tensor, "n ..."]) -> list[Any]:
    """`work` of parts of `values`, which have a row a picture, side by side; sized by the largest of them."""
    count = len(values[0])
    size = parts_of(count, max(4 * value[:1].numel() for value in values))
    return side_by_side(lambda part: work(*part), list(zip(*(value.split(size) for value in values), strict=True)))


class _Convolve(torch.autograd.Function):
    """maps (n, h, w, c) * weight (o, c, 3, 3) + bias, (n, hh, ww, o); no bias where that is None."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor | None, block: Shape) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.block, ctx.with_bias = block, bias is not None
        convolution = _convolution(weight, block, maps).prepare(back=False)
        added = maps.new_zeros(len(weight)) if bias is None else bias.detach()
        return torch.cat(_by_parts(lambda part: convolution.convolve(part, added), maps.detach()))

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight = ctx.saved_tensors
        needs_maps, needs_weight, *_ = ctx.needs_input_grad
        above = above.contiguous()
        return (
            _ByMaps.apply(above, weight, ctx.block, maps.shape) if needs_maps else None,
            _ByWeight.apply(maps, above, ctx.block) if needs_weight else None,
            above.sum((0, 1, 2)) if ctx.with_bias and ctx.needs_input_grad[2] else None,
            None,
        )


class _ByMaps(torch.autograd.Function):
    """The convolution's gradient by its maps, of `shape`."""

    @staticmethod
    def forward(ctx: Any, above: Tensor, weight: Tensor, block: Shape, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(above, weight)
        ctx.block = block
        like = above.new_empty((), dtype=block.products).expand(shape)
        convolution = _convolution(weight, block, like).prepare(back=True)
        return torch.cat(_by_parts(convolution.by_maps, above.detach(), like))

    @staticmethod
    def backward(ctx: Any, on_maps: Tensor) -> tuple[Tensor | None, ...]:
        above, weight = ctx.saved_tensors
        on_maps = on_maps.contiguous()
        return (
            _Convolve.apply(on_maps, weight, None, ctx.block) if ctx.needs_input_grad[0] else None,
            _ByWeight.apply(on_maps, above, ctx.block) if ctx.needs_input_grad[1] else None,
            None,
            None,
        )


class _ByWeight(torch.autograd.Function):
    """The convolution's gradient by its weight."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, above: Tensor, block: Shape) -> Tensor:
        ctx.save_for_backward(maps, above)
        ctx.block = block
        weight = maps.new_empty(()).expand(above.shape[3], maps.shape[3], 3, 3)
        convolution = _convolution(weight, block, maps)
        total: Tensor = torch.stack(_by_parts(convolution.by_weight, maps.detach(), above.detach())).sum(0)
        return total

    @staticmethod
    def backward(ctx: Any, on_weight: Tensor) -> tuple[Tensor | None, ...]:
        maps, above = ctx.saved_tensors
        return (
            _ByMaps.apply(above, on_weight, ctx.block, maps.shape) if ctx.needs_input_grad[0] else None,
            _Convolve.apply(maps, on_weight, None, ctx.block) if ctx.needs_input_grad[1] else None,
            None,
        )


def _convolution(weight: Tensor, block: Shape, maps: Tensor) -> Convolution:
    height, width = maps.shape[1:3]
    return Convolution(weight, block.padding, (height, width), block.products)


class _Norm(torch.autograd.Function):
    """Instance norm, ReLU and 2×2 mean of z, (n, h, w, c)."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, gain: Tensor, shift: Tensor, epsilon: float) -> Tensor:
        norm = gain.detach().numpy(), shift.detach().numpy()

        def work(part: Tensor) -> tuple[Tensor, ...]:
            n, height, width, filters = part.shape
            sizes = (n, height // 2, width // 2, filters), (n, filters), (n, filters)
            made = tuple(part.new_empty(size) for size in sizes)
            out, mean, scale = (value.numpy() for value in made)
            loops.block_forward(part.numpy(), *norm, epsilon, out, mean, scale)
            return made

        whole = [torch.cat(parts) for parts in zip(*_by_parts(work, z.detach()), strict=True)]
        ctx.save_for_backward(z, gain, shift, *whole[1:])
        return whole[0]

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        z, gain, shift, mean, scale = ctx.saved_tensors
        return (*_NormBackward.apply(above.contiguous(), z, gain, shift, mean, scale), None)


class _NormBackward(torch.autograd.Function):
    """The gradients by z, gain and shift. mean and 1/σ follow from z, whose gradient counts what goes through them."""

    @staticmethod
    def forward(
        ctx: Any, above: Tensor, z: Tensor, gain: Tensor, shift: Tensor, mean: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        norm = gain.detach().numpy(), shift.detach().numpy()

        def work(*part: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            given, zs, means, scales = (value.numpy() for value in part)
            made = torch.empty_like(part[1]), torch.empty_like(part[2]), torch.empty_like(part[2])
            by_z, by_gain, by_shift = (value.numpy() for value in made)
            loops.block_backward(zs, *norm, means, scales, given, by_z, by_gain, by_shift)
            return made[0], made[1].sum(0), made[2].sum(0)

        ctx.save_for_backward(above, z, gain, shift, mean, scale)
        done = _by_parts(work, above.detach(), z.detach(), mean, scale)
        maps, gains, shifts = zip(*done, strict=True)
        return torch.cat(maps), torch.stack(gains).sum(0), torch.stack(shifts).sum(0)

    @staticmethod
    def backward(ctx: Any, on_z: Tensor, on_gain: Tensor, on_shift: Tensor) -> tuple[Tensor | None, ...]:
        refuse_a_further_derivative("fused blocks are differentiated twice")
        above, z, gain, shift, mean, scale = ctx.saved_tensors
        norm = gain.detach().numpy(), shift.detach().numpy()
        on = on_gain.contiguous().numpy(), on_shift.contiguous().numpy()

        def work(*part: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            given, zs, means, scales, weights = (value.numpy() for value in part)
            made = torch.empty_like(part[0]), torch.empty_like(part[1]), torch.empty_like(part[2])
            by_above, by_z, by_gain = (value.numpy() for value in made)
            loops.block_second(zs, *norm, means, scales, given, weights, *on, by_above, by_z, by_gain)
            return made[0], made[1], made[2].sum(0)

        done = _by_parts(work, above.detach(), z.detach(), mean, scale, on_z.contiguous())
        aboves, maps, gains = zip(*done, strict=True)
        return torch.cat(aboves), torch.cat(maps), torch.stack(gains).sum(0), None, None, None
