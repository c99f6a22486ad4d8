"""An iteration of DM: class means of a freshly drawn network's embedding, real against synthetic."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.yardsticks import dsa
from benchmarks.yardsticks.networks import Draws, Embedded, drawn
from benchmarks.yardsticks.pictures import Frequencies, Pixels, Real


def iteration(
    storage: Frequencies | Pixels,
    optimiser: torch.optim.Optimizer,
    real: Real,
    build: Callable[[], Embedded],
    draws: Draws,
    *,
    batch: int = 256,
) -> Tensor:
    """One step on the sum over classes, each under an augmentation that its real and synthetic pictures share."""
    network = drawn(build, draws("network")).train().requires_grad_(False)
    loss = torch.zeros(())
    for label in range(real.classes):
        images = real.of_class(label, batch, draws("real", label))
        shared = dsa.draw(dsa.OPERATIONS, 1, images.shape[-1], draws("augment", label))
        wanted = network.embed(dsa.show(shared, images)).detach()
        found = network.embed(dsa.show(shared, storage(label)))
        loss = loss + (wanted.mean(dim=0) - found.mean(dim=0)).square().sum()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.detach()
