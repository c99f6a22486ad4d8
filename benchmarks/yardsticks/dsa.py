"""DSA, the usual way: one operation a batch, by index, mask and `grid_sample`; constants of the public DSA code."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")
Drawn = tuple[str, list[Tensor]]


def draw(strategy: tuple[str, ...], count: int, side: int, generator: torch.Generator) -> Drawn:
    """An operation of the strategy and its numbers for `count` pictures; a count of 1 is for any batch (Siamese)."""
    operation = strategy[int(torch.randint(len(strategy), (), generator=generator))]

    def uniform(values: int) -> list[Tensor]:
        return [torch.rand(count, dtype=torch.float64, generator=generator) for _ in range(values)]

    def whole(low: int, high: int) -> list[Tensor]:
        return [torch.randint(low, high + 1, (count,), generator=generator) for _ in range(2)]

    if operation == "crop":
        reach = int(side * 0.125 + 0.5)
        return operation, whole(-reach, reach)
    if operation == "cutout":
        return operation, whole(0, side - int(side * 0.5 + 0.5) % 2)
    return operation, uniform({"color": 3, "scale": 2}.get(operation, 1))


def show(drawn: Drawn, images: Tensor) -> Tensor:
    """The pictures under the operation, differentiable."""
    operation, values = drawn
    values = [value.expand(len(images)).to(images.device) for value in values]
    return _SHOWN[operation](images, *values)


def _column(values: Tensor, images: Tensor) -> Tensor:
    return values.to(images.dtype).view(-1, 1, 1, 1)


def _grid(images: Tensor, *lengths: int) -> tuple[Tensor, ...]:
    return torch.meshgrid(*(torch.arange(length, device=images.device) for length in lengths), indexing="ij")


def _color(images: Tensor, bright: Tensor, saturated: Tensor, contrasted: Tensor) -> Tensor:
    images = images + (_column(bright, images) - 0.5)
    mean = images.mean(dim=1, keepdim=True)
    images = (images - mean) * (_column(saturated, images) * 2) + mean
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * (_column(contrasted, images) + 0.5) + mean


def _crop(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    count, _, height, width = images.shape
    reach = int(height * 0.125 + 0.5)
    picture, row, column = _grid(images, count, height, width)
    row, column = row + down.view(-1, 1, 1) + reach, column + right.view(-1, 1, 1) + reach
    padded = F.pad(images, (reach, reach, reach, reach)).permute(0, 2, 3, 1).contiguous()
    return padded[picture, row, column].permute(0, 3, 1, 2)


def _cutout(images: Tensor, row: Tensor, column: Tensor) -> Tensor:
    count, _, height, width = images.shape
    side = int(height * 0.5 + 0.5)
    picture, i, j = _grid(images, count, side, side)
    i = i + row.view(-1, 1, 1) - side // 2
    j = j + column.view(-1, 1, 1) - side // 2
    inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
    mask = torch.ones(count, height, width, dtype=images.dtype, device=images.device)
    mask[picture[inside], i[inside], j[inside]] = 0
    return images * mask.unsqueeze(1)


def _flip(images: Tensor, u: Tensor) -> Tensor:
    return torch.where(u.view(-1, 1, 1, 1) < 0.5, images.flip(3), images)


def _sampled(images: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    zero = torch.zeros_like(a)
    rows = [torch.stack([a, b, zero], dim=1), torch.stack([c, d, zero], dim=1)]
    grid = F.affine_grid(torch.stack(rows, dim=1).to(images.dtype), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def _scale(images: Tensor, across: Tensor, down: Tensor) -> Tensor:
    least = 1 / 1.2
    across, down = (u * (1.2 - least) + least for u in (across, down))
    zero = torch.zeros_like(across)
    return _sampled(images, across, zero, zero, down)


def _rotate(images: Tensor, u: Tensor) -> Tensor:
    angle = (u - 0.5) * 2 * math.radians(15)
    return _sampled(images, angle.cos(), -angle.sin(), angle.sin(), angle.cos())


_SHOWN = {"color": _color, "crop": _crop, "cutout": _cutout, "flip": _flip, "scale": _scale, "rotate": _rotate}
