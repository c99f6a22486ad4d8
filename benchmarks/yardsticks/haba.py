"""An iteration of HaBa: trajectory matching through hallucinators, and an extractor that holds against them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.yardsticks import dsa
from benchmarks.yardsticks.networks import Embedded


class Hallucinator(nn.Module):
    """A 3×3 convolution inwards, scale and shift of every value, a 3×3 transposed convolution outwards."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(channels, channels, 3)
        self.scale = nn.Parameter(torch.ones(channels, side - 2, side - 2))
        self.shift = nn.Parameter(torch.zeros(channels, side - 2, side - 2))
        self.decoder = nn.ConvTranspose2d(channels, channels, 3)

    def forward(self, bases: Tensor) -> Tensor:
        return self.decoder(self.encoder(bases) * self.scale + self.shift)


class Factors(nn.Module):
    """Bases (N, c, h, w), class after class, and the hallucinators that all of them share."""

    def __init__(self, bases: Tensor, labels: Tensor, hallucinators: int) -> None:
        super().__init__()
        self.bases, self.labels = nn.Parameter(bases.clone()), labels
        self.hallucinators = nn.ModuleList(Hallucinator(*bases.shape[1:3]) for _ in range(hallucinators))

    def shown(self, generator: torch.Generator) -> Tensor:
        """All bases by one hallucinator, drawn."""
        return self.hallucinators[int(torch.randint(len(self.hallucinators), (), generator=generator))](self.bases)

    def pair(self, generator: torch.Generator) -> Tensor:
        """All bases by one hallucinator and then by another, augmented picture by picture."""
        one, other = torch.randperm(len(self.hallucinators), generator=generator)[:2].tolist()
        both = torch.cat([self.hallucinators[one](self.bases), self.hallucinators[other](self.bases)])
        return dsa.show(dsa.draw(dsa.OPERATIONS, len(both), both.shape[-1], generator), both)


def likeness(extractor: Embedded, factors: Factors, generator: torch.Generator) -> Tensor:
    """mean (cos + 1) / 2 between two renderings of a base, which the set minimises."""
    first, second = extractor.embed(factors.pair(generator)).chunk(2)
    return (F.cosine_similarity(first, second) + 1).mean() / 2


def extractor_step(
    extractor: Embedded,
    optimiser: torch.optim.Optimizer,
    factors: Factors,
    generator: torch.Generator,
    *,
    apart: float = 0.1,
    grouped: float = 0.1,
    temperature: float = 0.07,
) -> Tensor:
    """The extractor learns classes, and that renderings of one base are one thing."""
    with torch.no_grad():
        pictures = factors.pair(generator)
    features = extractor.embed(pictures)
    first, second = features.chunk(2)
    labels = torch.cat([factors.labels, factors.labels])
    loss = F.cross_entropy(extractor.classifier(features), labels)
    loss = loss + apart * (1 - F.cosine_similarity(first, second)).mean() / 2
    loss = loss + grouped * supervised_contrast(features, labels, temperature)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.detach()


def supervised_contrast(features: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Khosla et al.'s loss: every row against all others, those of its class being the positive ones."""
    rows = F.normalize(features, dim=1)
    similar = rows @ rows.T / temperature
    others = ~torch.eye(len(rows), dtype=torch.bool)
    positive = (labels[:, None] == labels[None, :]) & others
    # The largest of a row is taken out of the exponentials, as usual; it cancels.
    similar = similar - similar.max(dim=1, keepdim=True).values.detach()
    log_share = similar - torch.log((torch.exp(similar) * others).sum(dim=1, keepdim=True))
    return -((log_share * positive).sum(dim=1) / positive.sum(dim=1)).mean()
