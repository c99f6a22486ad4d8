"""Layers that several students share: norms and activations by name, and what a pooling leaves of a map."""

from __future__ import annotations

from typing import Literal, TypeAlias

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from fredbench.foundation.errors import UnknownNameError
from fredbench.networks.pooling import AveragePool

__all__ = ["Activation", "Norm", "Pooling", "Swish", "activation_layer", "norm_layer", "pooling_layer"]

Norm: TypeAlias = Literal["in", "bn", "ln", "gn", "none"]
Activation: TypeAlias = Literal["relu", "sigmoid", "leakyrelu", "swish"]
Pooling: TypeAlias = Literal["avg", "max", "nopool"]

_GROUPS_OF_GN = 4


class Swish(nn.Module):
    """x·sigmoid(x)."""

    def forward(self, x: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """The activation, elementwise."""
        return functional.silu(x)


def norm_layer(norm: Norm, channels: int, size: tuple[int, int]) -> nn.Module | None:
    """The normalisation named `norm` for maps of `channels` × `size`; None for "none".

    "Instance norm" in this literature is GroupNorm with as many groups as channels: affine, ε = 1e-5, no
    running statistics (architecture tables of the official DC / MTT / FreD code). "gn" has 4 groups; "ln"
    normalises over channels, height and width with a gain and a bias for each of them.
    """
    match norm:
        case "in":
            return nn.GroupNorm(channels, channels)
        case "bn":
            return nn.BatchNorm2d(channels)
        case "ln":
            return nn.LayerNorm([channels, *size])
        case "gn":
            return nn.GroupNorm(_GROUPS_OF_GN, channels)
        case "none":
            return None
    raise UnknownNameError("norm", norm, ("in", "bn", "ln", "gn", "none"))


def activation_layer(activation: Activation) -> nn.Module:
    """The activation of that name; the leaky one has slope 0.01."""
    match activation:
        case "relu":
            # In place: on the CPU the page faults of a fresh map cost as much as the arithmetic.
            return nn.ReLU(inplace=True)
        case "sigmoid":
            return nn.Sigmoid()
        case "leakyrelu":
            return nn.LeakyReLU(0.01)
        case "swish":
            return Swish()
    raise UnknownNameError("activation", activation, ("relu", "sigmoid", "leakyrelu", "swish"))


def pooling_layer(pooling: Pooling) -> nn.Module | None:
    """The 2×2 pooling of stride 2 of that name; None for "nopool"."""
    match pooling:
        case "avg":
            return AveragePool()
        case "max":
            return nn.MaxPool2d(2)
        case "nopool":
            return None
    raise UnknownNameError("pooling", pooling, ("avg", "max", "nopool"))
