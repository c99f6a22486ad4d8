"""An iteration of IDC: a picture step a class on gradients of the convolutions, then training on real pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.yardsticks import dsa
from benchmarks.yardsticks.networks import Draws
from benchmarks.yardsticks.pictures import Real

SHARED = ("color", "crop", "cutout")  # One after the other, each drawn once for a class.
TRAINED = ("color", "crop")


class Canvases(nn.Module):
    """Canvases (C, n, c, h, w) in [0, 1], cut into factor × factor tiles, each enlarged bilinearly and normalised."""

    def __init__(self, canvases: Tensor, factor: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.learned, self.factor = nn.Parameter(canvases.clone()), factor
        self.mean, self.std = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, std))

    def forward(self, label: int) -> Tensor:
        """The pictures of a class."""
        side = self.learned.shape[-1]
        length = -(-side // self.factor)
        missing = length * self.factor - side
        whole = F.pad(self.learned[label], (0, missing, 0, missing), value=0.5)
        tiles = []
        for row in range(self.factor):
            for column in range(self.factor):
                rows = slice(row * length, (row + 1) * length)
                tile = whole[:, :, rows, column * length : (column + 1) * length]
                tiles.append(F.interpolate(tile, size=(side, side), mode="bilinear", align_corners=False))
        return (torch.cat(tiles) - self.mean) / self.std


def iteration(
    storage: Canvases,
    optimiser: torch.optim.Optimizer,
    network: nn.Module,
    trainer: torch.optim.Optimizer,
    real: Real,
    draws: Draws,
    *,
    batch: int,
    pictures: int,
    chunk: int,
    probability: float,
) -> Tensor:
    """Loss of the pass over the classes. `pictures` real ones are trained on, `chunk` at a time, CutMix by chance."""
    network.train()
    weights, total = list(network.parameters()), torch.zeros(())
    for label in range(real.classes):
        images, own = real.of_class(label, batch, draws("class", label, "real")), storage(label)
        both, generator = torch.cat([images, own]), draws("class", label, "augment")
        for operation in SHARED:
            both = dsa.show(dsa.draw((operation,), 1, both.shape[-1], generator), both)
        images, own = both[: len(images)], both[len(images) :]
        lost = F.cross_entropy(network(images), torch.full((len(images),), label))
        wanted = [gradient.detach() for gradient in torch.autograd.grad(lost, weights)]
        lost = F.cross_entropy(network(own), torch.full((len(own),), label))
        found = torch.autograd.grad(lost, weights, create_graph=True)
        pairs = zip(wanted, found, strict=True)
        loss = torch.stack([(one - other).square().sum() for one, other in pairs if one.dim() == 4]).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        total = total + loss.detach()
    order = torch.randperm(len(real.images), generator=draws("real pictures"))[:pictures]
    train(network, trainer, real.images[order], real.labels[order], draws("training"), chunk, probability)
    return total


def train(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    batch: int,
    probability: float,
) -> None:
    """One pass under colour and crop, drawn for each picture, with CutMix."""
    side = images.shape[-1]
    for index in torch.randperm(len(images), generator=generator).split(batch):
        shown, truth = images[index], labels[index]
        for operation in TRAINED:
            shown = dsa.show(dsa.draw((operation,), len(index), side, generator), shown)
        chance, share = torch.rand(2, dtype=torch.float64, generator=generator).tolist()
        centres = [int(torch.randint(side, (), generator=generator)) for _ in range(2)]
        partner = torch.randperm(len(index), generator=generator)
        if chance < probability:
            reach = int(side * (1 - share) ** 0.5) // 2
            (top, bottom), (left, right) = ((max(c - reach, 0), min(c + reach, side)) for c in centres)
            shown = shown.clone()
            shown[:, :, top:bottom, left:right] = shown[partner, :, top:bottom, left:right]
            kept = 1 - (bottom - top) * (right - left) / side**2
            outputs = network(shown)
            loss = kept * F.cross_entropy(outputs, truth) + (1 - kept) * F.cross_entropy(outputs, truth[partner])
        else:
            loss = F.cross_entropy(network(shown), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
