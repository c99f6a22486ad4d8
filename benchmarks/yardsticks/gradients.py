"""An iteration of DC at IPC 1 and 2: one round, so the network stays as it was drawn; and its distance of gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.yardsticks.networks import Draws, Embedded, drawn
from benchmarks.yardsticks.pictures import Frequencies, Pixels, Real


def row_distance(first: Tensor, second: Tensor) -> Tensor:
    """One minus the cosine of each output's weights, summed; nothing of biases and norms."""
    if first.dim() < 2:
        return torch.zeros(())
    first, second = first.reshape(len(first), -1), second.reshape(len(second), -1)
    lengths = torch.norm(first, dim=1) * torch.norm(second, dim=1)
    return torch.sum(1 - torch.sum(first * second, dim=1) / (lengths + 1e-6))


def distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """The distance called `ours` in DC's code: layer by layer, output by output."""
    total = torch.zeros(())
    for one, other in zip(first, second, strict=True):
        total = total + row_distance(one, other)
    return total


def iteration(
    storage: Frequencies | Pixels,
    optimiser: torch.optim.Optimizer,
    real: Real,
    build: Callable[[], Embedded],
    draws: Draws,
    *,
    batch: int = 256,
) -> Tensor:
    """One step on the sum over classes of what real and synthetic pictures would do to the weights."""
    network = drawn(build, draws("network")).train()
    weights = list(network.parameters())
    loss = torch.zeros(())
    for label in range(real.classes):
        images = real.of_class(label, batch, draws("round", 0, "class", label, "real"))
        own = storage(label)
        truth = torch.full((len(images),), label)
        wanted = torch.autograd.grad(F.cross_entropy(network(images), truth), weights)
        wanted = [gradient.detach().clone() for gradient in wanted]
        lost = F.cross_entropy(network(own), torch.full((len(own),), label))
        found = torch.autograd.grad(lost, weights, create_graph=True)
        loss = loss + distance(wanted, found)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.detach()
