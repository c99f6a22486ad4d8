"""2×2 average pooling that is quick on the CPU and differentiable to any order.

torch's avg_pool2d walks every window by itself on the CPU. Adding whole rows, then whole columns, gives the
same means in a fifth of the time, and repeating them gives the adjoint in under half: for a batch of 256 maps
of 32×32×32, 3 and 7 ms against 15 and 16 on one core, a tenth of a student's training step and a third of its
inference.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["AveragePool"]


class AveragePool(nn.Module):
    """Mean of each 2×2 window, stride 2; an odd last row or column is left out, as in torch."""

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c hh ww"]:
        """The pooled map."""
        if x.device.type != "cpu" or x.shape[2] % 2 or x.shape[3] % 2:
            return functional.avg_pool2d(x, 2)
        pooled: Tensor = _Halve.apply(x)
        return pooled


class _Halve(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        rows = x[:, :, ::2] + x[:, :, 1::2]
        return (rows[..., ::2] + rows[..., 1::2]).mul_(0.25)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Linear: nothing to keep."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        spread: Tensor = _Spread.apply(grad)
        return spread


class _Spread(torch.autograd.Function):
    """The adjoint: a quarter of each entry on the four entries of its window."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        rows = (x * 0.25).repeat_interleave(2, 3)
        return rows[:, :, :, None].expand(n, c, h, 2, 2 * w).reshape(n, c, 2 * h, 2 * w)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Linear: nothing to keep."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        halved: Tensor = _Halve.apply(grad)
        return halved
