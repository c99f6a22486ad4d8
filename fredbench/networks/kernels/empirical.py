"""The tangent kernel of a finite network at its present weights, and the largest rate that its training stands.

Theta(a, b) = mean over outputs k of <d f_k(a) / d theta, d f_k(b) / d theta>, with f the network in evaluation mode.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call, jacrev, vmap

from fredbench.foundation.device import sent
from fredbench.foundation.errors import UsageError

__all__ = ["empirical_ntk", "jacobians", "maximum_stable_rate"]

# Numbers of all Jacobians of a block of pictures.
_BLOCK = 2**26
_POWER_STEPS = 30


def jacobians(network: nn.Module, pictures: Float[Tensor, "n c h w"]) -> Float[Tensor, "n outputs weights"]:
    """d f_k(x) / d theta of every picture and output, all weights in one row; differentiable in the pictures."""
    weights = {name: weight.detach() for name, weight in network.named_parameters()}
    buffers = dict(network.named_buffers())

    def outputs(values: dict[str, Tensor], picture: Tensor) -> Tensor:
        result: Tensor = functional_call(network, (values, buffers), (picture[None],))[0]
        return result

    found = vmap(jacrev(outputs), in_dims=(None, 0))(weights, pictures)
    return torch.cat([found[name].flatten(2) for name in weights], dim=2)


def empirical_ntk(
    network: nn.Module, a: Float[Tensor, "n c h w"], b: Float[Tensor, "m c h w"] | None = None
) -> Float[Tensor, "n m"]:
    """Theta between pictures `a` and `b` (default: `a` itself), differentiable in `b`, and in `a` where it is alone.

    `a` is taken block by block, and its Jacobians are made again in the backward pass; those of `b` are held whole.
    """
    network.eval()
    if b is None:
        rows = jacobians(network, a).flatten(1)
        return rows @ rows.T / _outputs(network, a)
    if a.requires_grad:
        raise UsageError("the first pictures of an empirical kernel are constants", hint="swap them, or detach them")
    support = jacobians(network, b)
    step = max(1, _BLOCK // support[0].numel())
    parts = [_Against.apply(support.flatten(1), network, part) for part in a.split(step)]
    return torch.cat(parts) / support.shape[1]


class _Against(torch.autograd.Function):
    """J(pictures) held^T: the Jacobians are not kept but made again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, held: Tensor, network: nn.Module, pictures: Tensor) -> Tensor:
        ctx.network = network
        ctx.save_for_backward(pictures)
        return jacobians(network, pictures).flatten(1) @ held.T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (pictures,) = ctx.saved_tensors
        return gradient.T @ jacobians(ctx.network, pictures).flatten(1), None, None


@torch.no_grad()
def _outputs(network: nn.Module, pictures: Tensor) -> int:
    return int(network(pictures[:1]).shape[1])


def maximum_stable_rate(
    network: nn.Module, pictures: Float[Tensor, "n c h w"], *, momentum: float, generator: torch.Generator
) -> float:
    """2 (1 + momentum) n / lambda: the rate up to which full-batch heavy ball converges on the linearised network.

    For the loss mean_n 1/2 || f - y ||^2, whose curvature in function space is the NTK over all n x outputs entries,
    of largest eigenvalue lambda, divided by n. lambda comes from power steps v -> J (J^T v), which need no Jacobian.
    """
    network.eval()
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    outputs = network(pictures)
    vector = sent(torch.randn(outputs.shape, generator=generator, dtype=outputs.dtype), outputs)
    probe = torch.zeros_like(outputs, requires_grad=True)
    pulled = torch.autograd.grad(outputs, weights, probe, create_graph=True)
    for _ in range(_POWER_STEPS):
        vector = vector / vector.norm()
        directions = torch.autograd.grad(outputs, weights, vector, retain_graph=True)
        (vector,) = torch.autograd.grad(pulled, probe, directions, retain_graph=True)
    # Read once: every reading waits for the device.
    largest = float(vector.norm())
    if not largest > 0:
        raise UsageError("the network does not depend on its weights: no stable rate", hint="give a rate of its own")
    return 2 * (1 + momentum) * len(pictures) / largest
