"""Real pictures as the published loops hold them, all normalised at once; and synthetic ones, as they store them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Real:
    """All training pictures as one float tensor, with the positions of each class."""

    def __init__(self, images: Tensor, labels: Tensor, classes: int) -> None:
        self.images, self.labels, self.classes = images, labels, classes
        self.positions = [(labels == label).nonzero().flatten() for label in range(classes)]

    def of_class(self, label: int, count: int, generator: torch.Generator) -> Tensor:
        """`count` pictures of a class, drawn without replacement."""
        order = torch.randperm(len(self.positions[label]), generator=generator)
        return self.images[self.positions[label][order[:count]]]


class Pixels(nn.Module):
    """Whole pictures (N, c, h, w), class after class."""

    def __init__(self, pictures: Tensor, classes: int) -> None:
        super().__init__()
        self.learned, self.classes = nn.Parameter(pictures.clone()), classes

    def __len__(self) -> int:
        return len(self.learned)

    def forward(self, label: int | None = None) -> Tensor:
        """The pictures of a class, or all."""
        return self.learned if label is None else self.learned[_members(self, label)]


class Frequencies(nn.Module):
    """FreD: whole spectra, a mask over them, and the inverse cosine transform as a dense matrix from either side."""

    def __init__(self, spectra: Tensor, mask: Tensor, classes: int) -> None:
        super().__init__()
        self.learned, self.classes = nn.Parameter(spectra.clone()), classes
        self.register_buffer("mask", mask)
        side = spectra.shape[-1]
        n = torch.arange(side, dtype=spectra.dtype)
        inverse = torch.cos(math.pi * (2 * n[:, None] + 1) * n / (2 * side)) / side
        inverse[:, 0] /= 2
        self.transform = nn.Linear(side, side, bias=False).requires_grad_(False)
        self.transform.weight.data = inverse

    @classmethod
    def of(cls, coefficients: Tensor, positions: Tensor, side: int) -> Frequencies:
        """From kept coefficients (C, n, c, k) at `positions` (C, k) of each class."""
        classes, count, channels, _ = coefficients.shape
        where = positions[:, None, None, :].expand_as(coefficients)
        spectra = coefficients.new_zeros(classes, count, channels, side * side).scatter(3, where, coefficients)
        mask = torch.zeros(classes, side * side).scatter(1, positions, 1.0).to(coefficients.dtype)
        mask = mask.view(classes, 1, side, side).repeat_interleave(count, 0)
        return cls(spectra.view(classes * count, channels, side, side), mask, classes)

    def __len__(self) -> int:
        return len(self.learned)

    def forward(self, label: int | None = None) -> Tensor:
        """The pictures of a class, or all."""
        chosen = slice(None) if label is None else _members(self, label)
        masked = self.mask[chosen] * self.learned[chosen]
        return self.transform(self.transform(masked).transpose(-1, -2)).transpose(-1, -2)


def _members(storage: Pixels | Frequencies, label: int) -> slice:
    count = len(storage) // storage.classes
    return slice(label * count, (label + 1) * count)
