"""Students, as the evaluation loop of DC, DSA, DM, MTT and FreD trains and scores them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.yardsticks import dsa


def epoch(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    *,
    strategy: tuple[str, ...] = dsa.OPERATIONS,
    batch: int = 256,
) -> tuple[float, float]:
    """One pass in random order, one operation a batch drawn for each picture; mean loss and accuracy on the way."""
    network.train()
    lost, right = 0.0, 0
    for index in torch.randperm(len(images), generator=generator).split(batch):
        shown, truth = images[index], labels[index]
        if strategy:
            shown = dsa.show(dsa.draw(strategy, len(index), images.shape[-1], generator), shown)
        outputs = network(shown)
        loss = F.cross_entropy(outputs, truth)
        lost += loss.item() * len(index)
        right += int((outputs.argmax(1) == truth).sum())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return lost / len(images), right / len(images)


def score(
    network: nn.Module, pictures: np.ndarray, mean: Sequence[float], std: Sequence[float], *, batch: int = 256
) -> Tensor:
    """Predicted classes of uint8 pictures (n, h, w, c), normalised batch by batch."""
    network.eval()
    centre, spread = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, std))
    found = []
    with torch.no_grad():
        for start in range(0, len(pictures), batch):
            part = torch.from_numpy(pictures[start : start + batch]).permute(0, 3, 1, 2).float() / 255
            found.append(network((part - centre) / spread).argmax(1))
    return torch.cat(found)
