"""A ConvNet's block - 3×3 convolution, instance norm, ReLU, 2×2 mean - as one operation with a gradient of its own."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from fredbench.foundation.parallel import over_pictures
from fredbench.networks.fused import loops, winograd

__all__ = ["block"]

# Input channels up to which the convolution's gradient by its weights is summed up in the block's own loop: pictures.
_FEW = 4


def block(
    maps: Float[Tensor, "n c h w"],
    weight: Float[Tensor, "o c 3 3"],
    bias: Float[Tensor, " o"],
    gain: Float[Tensor, " o"],
    shift: Float[Tensor, " o"],
    *,
    padding: int,
    epsilon: float,
) -> Float[Tensor, "n o hh ww"]:
    """The block's outcome, channels last in memory; can be differentiated once.

    gain, shift, epsilon: of the instance norm (GroupNorm with a group a channel). float32 on the CPU; the convolved
    map's height and width must be even. Nothing of it depends on the number of threads but oneDNN's products.
    """
    made: Tensor = _Block.apply(maps, weight, bias, gain, shift, padding, epsilon)
    return made


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, gain: Tensor, shift: Tensor, padding: int, epsilon: float
    ) -> Tensor:
        z = _convolved(maps, weight, bias, padding)
        n, height, width, filters = z.shape
        out = z.new_empty(n, height // 2, width // 2, filters)
        mean, scale = z.new_empty(n, filters), z.new_empty(n, filters)
        arrays = [value.detach().numpy() for value in (z, gain, shift)]
        over_pictures(loops.block_forward, n, *arrays, epsilon, *(value.numpy() for value in (out, mean, scale)))
        ctx.save_for_backward(maps, weight, gain, shift, z, mean, scale)
        ctx.padding = padding
        return out.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight, gain, shift, z, mean, scale = ctx.saved_tensors
        needs_maps, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        given = [value.detach().numpy() for value in (z, gain, shift, mean, scale, _last(above))]
        by_gain, by_shift = torch.empty_like(mean), torch.empty_like(mean)
        norm = by_gain.numpy(), by_shift.numpy()
        by_maps = by_weight = by_bias = None
        if not needs_maps and maps.shape[1] <= _FEW:
            pixels = _last(functional.pad(maps, (ctx.padding,) * 4))
            taps, sums = z.new_empty(len(z), 9 * maps.shape[1], z.shape[3]), torch.empty_like(mean)
            pictures = pixels.numpy()
            over_pictures(loops.first_block_backward, len(z), pictures, *given, *norm, taps.numpy(), sums.numpy())
            by_weight = taps.sum(0).view(3, 3, maps.shape[1], -1).permute(3, 2, 0, 1)
            by_bias = sums.sum(0)
        else:
            below = torch.empty_like(z)
            over_pictures(loops.block_backward, len(z), *given, below.numpy(), *norm)
            needs = needs_maps, needs_weight, needs_bias
            by_maps, by_weight, by_bias = _convolved_backward(below, maps, weight, ctx.padding, needs)
        return by_maps, by_weight, by_bias, by_gain.sum(0), by_shift.sum(0), None, None


def _last(maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w c"]:
    """The same with the channels side by side in memory."""
    return maps.detach().permute(0, 2, 3, 1).contiguous()


def _by_tiles(maps: Tensor, weight: Tensor, padding: int) -> bool:
    height, width = maps.shape[2:]
    return padding == 1 and winograd.fits(weight.shape[1], weight.shape[0], (height, width))


def _convolved(maps: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Float[Tensor, "n h w o"]:
    maps, weight, bias = maps.detach(), weight.detach(), bias.detach()
    if _by_tiles(maps, weight, padding):
        return winograd.convolve(_last(maps), weight, bias)
    last = torch.channels_last
    made = functional.conv2d(
        maps.contiguous(memory_format=last), weight.contiguous(memory_format=last), bias, padding=padding
    )
    return _last(made)


def _convolved_backward(
    below: Float[Tensor, "n h w o"], maps: Tensor, weight: Tensor, padding: int, needs: tuple[bool, bool, bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of the convolution by its maps, weights and bias, those that are needed."""
    if not any(needs):
        return None, None, None
    maps, weight = maps.detach(), weight.detach()
    if _by_tiles(maps, weight, padding):
        return (
            winograd.by_maps(below, weight).permute(0, 3, 1, 2) if needs[0] else None,
            winograd.by_weights(_last(maps), below) if needs[1] else None,
            below.sum((0, 1, 2)) if needs[2] else None,
        )
    last = torch.channels_last
    found: tuple[Tensor | None, Tensor | None, Tensor | None] = torch.ops.aten.convolution_backward(
        below.permute(0, 3, 1, 2),
        maps.contiguous(memory_format=last),
        weight.contiguous(memory_format=last),
        [len(weight)],
        [1, 1],
        [padding, padding],
        [1, 1],
        False,
        [0, 0],
        1,
        list(needs),
    )
    return found
