"""Fused execution of ConvNets on the CPU, for passes that are differentiated once at most.

A student's training and scoring, the real pictures of distribution and gradient matching, experts, attacks: all need a
first derivative or none, and most of what they cost beside the convolutions' products is memory that is written and
read again between layers. Within `once(...)` a ConvNet of instance norm, ReLU and average pooling runs block by block
(`stack`), with Winograd's convolutions where they fit (`winograd`). The outcome differs from the layers' own by
rounding. Second derivatives are refused by autograd there, not approximated.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fredbench.networks.pooling import AveragePool

__all__ = ["ARITHMETICS", "Arithmetic", "features", "once"]

Arithmetic: TypeAlias = Literal["eager", "fused"]
"""How a network is run: by torch's layers, or by fused blocks where it has them."""

ARITHMETICS = get_args(Arithmetic)

_fused: ContextVar[bool] = ContextVar("fused", default=False)


@contextlib.contextmanager
def once(arithmetic: Arithmetic) -> Iterator[None]:
    """Within, networks are differentiated once at most, and run by `arithmetic`."""
    token = _fused.set(arithmetic == "fused")
    try:
        yield
    finally:
        _fused.reset(token)


def features(stack: nn.Sequential, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n o hh ww"]:
    """`stack(images)`, by fused blocks within `once("fused")` where all of it is such blocks, float32 on the CPU."""
    blocks = _blocks(stack) if _fused.get() and _suits(images) else None
    if not blocks or not all(_suits(parameter) for parameter in stack.parameters()):
        whole: Tensor = stack(images)
        return whole
    height, width = images.shape[2:]
    for convolution, _ in blocks:
        padding = _padding(convolution)
        height, width = height + 2 * padding - 2, width + 2 * padding - 2
        if height % 2 or width % 2 or not len(images):
            whole = stack(images)
            return whole
        height, width = height // 2, width // 2
    from fredbench.networks.fused.stack import Shape, run  # the compiler takes a second to import

    shapes = [Shape(_padding(convolution), norm.eps) for convolution, norm in blocks]
    return run(shapes, list(stack.parameters()), images)


def _suits(values: Tensor) -> bool:
    return values.device.type == "cpu" and values.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


def _padding(convolution: nn.Conv2d) -> int:
    return convolution.padding[0] if isinstance(convolution.padding, tuple) else 0


def _blocks(stack: nn.Sequential) -> list[tuple[nn.Conv2d, nn.GroupNorm]] | None:
    """Convolution and norm of each block, or None where a layer has no fused form."""
    layers = list(stack)
    found = []
    for first in range(0, len(layers), 4):
        match layers[first : first + 4]:
            case [nn.Conv2d() as convolution, nn.GroupNorm() as norm, nn.ReLU(), AveragePool()]:
                if norm.num_groups != norm.num_channels or convolution.bias is None or not norm.affine:
                    return None
                found.append((convolution, norm))
            case _:
                return None
    return found
