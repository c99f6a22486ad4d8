"""CutMix: a box of every picture is replaced by the same box of another one, and the labels mix by area.

Source: Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features" (ICCV
2019), with β = 1 as in IDC: the share λ that is kept is uniform in [0, 1), the box has sides √(1 - λ) of the
picture's, its centre is uniform, and what the border cuts off is given back to λ.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from fredbench.foundation.device import sent

__all__ = ["Mix", "mixed_loss", "paste", "sample_mix"]


@dataclass(frozen=True)
class Mix:
    """One box for a batch: rows and columns [from, to), each picture's `partner`, and the share `kept` of its own."""

    partner: Int64[Tensor, " n"]
    rows: tuple[int, int]
    columns: tuple[int, int]
    kept: float


def _span(length: int, side: float, centre: int) -> tuple[int, int]:
    """The interval of `int(length * side)` pixels around `centre`, clipped to [0, length)."""
    half = int(length * side) // 2
    return max(centre - half, 0), min(centre + half, length)


def sample_mix(probability: float, count: int, size: tuple[int, int], generator: torch.Generator) -> Mix | None:
    """With `probability` a mix for `count` pictures of `size` (H, W), drawn from a CPU `generator`; else None."""
    height, width = size
    # Drawn whatever comes of it, so that what is drawn after does not hang on the outcome.
    happens, share = (float(u) for u in torch.rand(2, dtype=torch.float64, generator=generator))
    centre_row = int(torch.randint(height, (), generator=generator))
    centre_column = int(torch.randint(width, (), generator=generator))
    partner = torch.randperm(count, generator=generator)
    if happens >= probability:
        return None
    side = math.sqrt(1.0 - share)
    rows, columns = _span(height, side, centre_row), _span(width, side, centre_column)
    area = (rows[1] - rows[0]) * (columns[1] - columns[0])
    return Mix(partner, rows, columns, 1.0 - area / (height * width))


def paste(mix: Mix, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """A copy of `images` with the partners' box in each."""
    mixed = images.clone()
    rows, columns = slice(*mix.rows), slice(*mix.columns)
    mixed[:, :, rows, columns] = images[sent(mix.partner, images.device)][:, :, rows, columns]
    return mixed


def mixed_loss(
    mix: Mix, loss: Callable[[Tensor, Tensor], Tensor], logits: Float[Tensor, "n k"], labels: Tensor
) -> Float[Tensor, ""]:
    """kept * loss(own labels) + (1 - kept) * loss(partners' labels)."""
    partners = labels[sent(mix.partner, labels.device)]
    return mix.kept * loss(logits, labels) + (1.0 - mix.kept) * loss(logits, partners)
