"""An iteration of trajectory matching (MTT): a flat vector of weights unrolled by autograd, all graphs kept."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.yardsticks import dsa


def flat(network: nn.Module) -> Tensor:
    """All weights in one vector."""
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


class Flat:
    """A network called with its weights as one vector."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._shapes = {name: parameter.shape for name, parameter in network.named_parameters()}

    def __call__(self, theta: Tensor, images: Tensor) -> Tensor:
        parts = theta.split([shape.numel() for shape in self._shapes.values()])
        weights = {name: part.view(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}
        return torch.func.functional_call(self._network, weights, (images,))


def loss(
    network: Flat,
    start: Tensor,
    target: Tensor,
    rate: Tensor,
    steps: int,
    shown: Callable[[torch.Generator], Tensor],
    labels: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """||theta_N - target||² / ||start - target||² after `steps` steps on what is shown, with draws of their own."""
    theta = start.clone().requires_grad_()
    for _ in range(steps):
        pictures = shown(generator)
        drawn = dsa.draw(dsa.OPERATIONS, len(pictures), pictures.shape[-1], generator)
        lost = F.cross_entropy(network(theta, dsa.show(drawn, pictures)), labels)
        (gradient,) = torch.autograd.grad(lost, theta, create_graph=True)
        theta = theta - rate * gradient
    away = F.mse_loss(theta, target, reduction="sum")
    return away / F.mse_loss(start, target, reduction="sum")


def step(found: Tensor, optimisers: list[torch.optim.Optimizer], rate: Tensor, least: float = 0.001) -> None:
    """Backward through all of it, one step of what is learned and of the step size, which is kept from below."""
    for optimiser in optimisers:
        optimiser.zero_grad()
    found.backward()
    for optimiser in optimisers:
        optimiser.step()
    with torch.no_grad():
        rate.clamp_(min=least)
