"""Bilinear sampling of pictures under linear maps about their centre, differentiable to any order."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from fredbench.foundation.device import sent

__all__ = ["affine_sample"]


def affine_sample(
    images: Float[Tensor, "n c h w"],
    matrix: Float[Tensor, "m 4"],
    align_corners: bool,
    offset: Float[Tensor, "m 2"] | None = None,
    *,
    border: bool = False,
) -> Float[Tensor, "n c h w"]:
    """Each pixel (x, y) read bilinearly from the picture at matrix·(x, y) + offset, zero outside, or as at the border.

    Coordinates run from -1 to 1 along each axis: between the outermost pixel centres with `align_corners`,
    between the outer edges without. `matrix` is row-major (a, b, c, d), `offset` (x, y), one a picture or (m = 1) one
    for all. They are constants: gradients are those with respect to `images`.
    """
    axes = []
    for length in (images.shape[3], images.shape[2]):
        edge = 1.0 if align_corners else 1.0 - 1.0 / length
        axes.append(torch.linspace(-edge, edge, length, dtype=images.dtype, device=images.device))
    x, y = axes[0][None, None, :], axes[1][None, :, None]
    a, b, c, d = sent(matrix, images).view(-1, 4, 1, 1).unbind(1)
    grid = torch.stack([a * x + b * y, c * x + d * y], 3)
    if offset is not None:
        grid = grid + sent(offset, images)[:, None, None, :]
    sampled: Tensor = _BilinearSample.apply(images, grid.expand(len(images), -1, -1, -1), align_corners, border)
    return sampled


class _BilinearSample(torch.autograd.Function):
    """grid_sample with respect to the pictures only, to any order: its backward is the adjoint below.

    torch differentiates grid_sample twice in its newest releases only, and always works out the grid's
    gradient.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(images: Tensor, grid: Tensor, align_corners: bool, border: bool) -> Tensor:
        padding = "border" if border else "zeros"
        return torch.nn.functional.grid_sample(images, grid, padding_mode=padding, align_corners=align_corners)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])
        ctx.align_corners, ctx.border = inputs[2:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (grid,) = ctx.saved_tensors
        return _BilinearAdjoint.apply(grad, grid, ctx.align_corners, ctx.border), None, None, None


class _BilinearAdjoint(torch.autograd.Function):
    """The transpose of `_BilinearSample`; its own backward is the sample again, since both are linear."""

    generate_vmap_rule = True

    @staticmethod
    def forward(grad: Tensor, grid: Tensor, align_corners: bool, border: bool) -> Tensor:
        # The op asks for the input only for its shape, which is that of the gradient: sizes are kept here.
        pair = torch.ops.aten.grid_sampler_2d_backward(grad, grad, grid, 0, int(border), align_corners, [True, False])
        adjoint: Tensor = pair[0]
        return adjoint

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])
        ctx.align_corners, ctx.border = inputs[2:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (grid,) = ctx.saved_tensors
        return _BilinearSample.apply(grad, grid, ctx.align_corners, ctx.border), None, None, None
