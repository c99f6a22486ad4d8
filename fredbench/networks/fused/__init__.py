"""Fused execution of ConvNets on the CPU: blocks of convolution, instance norm, ReLU and average pooling.

Most of what a pass costs beside the convolutions' products is memory that is written and read again between layers,
and the products can be a quarter as many (`winograd`). Where a first derivative is enough, or none - a student's
training and scoring, the real pictures of distribution and gradient matching, experts, attacks - all blocks are one
operation (`stack`, within `once()` or without gradients); elsewhere each is two that can be differentiated twice
(`twice`). The outcome differs from the layers' own by rounding. Further derivatives are refused, not approximated.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fredbench.networks.names import Arithmetic
from fredbench.networks.pooling import AveragePool

__all__ = ["at_once", "features", "once"]

# 2.6 ms of the weights' transforms a pass, against .9 ms a picture forward and back (width 128, one thread).
_AT_ONCE = 128

_once: ContextVar[bool] = ContextVar("differentiated once", default=False)


@contextlib.contextmanager
def once() -> Iterator[None]:
    """Within, what networks give is differentiated once at most; without gradients that needs no saying.

    A second derivative is then refused by autograd.
    """
    token = _once.set(True)
    try:
        yield
    finally:
        _once.reset(token)


def at_once(network: nn.Module, pictures: int) -> int:
    """Pictures of a pass where layers want `pictures`: blocks part a batch themselves, and want more of it at once."""
    return _AT_ONCE if getattr(network, "arithmetic", "eager") == "fused" and pictures < _AT_ONCE else pictures


def features(
    stack: nn.Sequential, images: Float[Tensor, "n c h w"], arithmetic: Arithmetic
) -> Float[Tensor, "n o hh ww"]:
    """`stack(images)`; under "fused" by such blocks where all of it is made of them, in float32 on the CPU."""
    blocks = _blocks(stack) if arithmetic == "fused" and _is_fit(stack, images) else None
    if not blocks or not _halves(blocks, images.shape[2], images.shape[3]):
        whole: Tensor = stack(images)
        return whole
    from fredbench.networks.fused import stack as one_operation  # the compiler takes a second to import
    from fredbench.networks.fused import twice

    shapes = [one_operation.Shape(_padding(convolution), norm.eps) for convolution, norm in blocks]
    enough = _once.get() or not torch.is_grad_enabled()
    run = one_operation.run if enough else twice.run
    return run(shapes, list(stack.parameters()), images)


def _is_fit(stack: nn.Sequential, images: Tensor) -> bool:
    """Whether the blocks' operation may stand for the layers here and now."""
    if not len(images):
        return False
    # Under torch.func's transforms, under a mode that only traces, and where someone listens to a layer: as written.
    if torch._C._functorch.peek_interpreter_stack() is not None or torch.is_autocast_enabled("cpu"):
        return False
    if any(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks for layer in stack):
        return False
    return all(_suits(values) for values in (images, *stack.parameters()))


def _halves(blocks: list[tuple[nn.Conv2d, nn.GroupNorm]], height: int, width: int) -> bool:
    """Whether every convolved map has an even height and width."""
    for convolution, _ in blocks:
        border = 2 * _padding(convolution) - 2
        height, width = height + border, width + border
        if height % 2 or width % 2 or min(height, width) < 2:
            return False
        height, width = height // 2, width // 2
    return True


def _suits(values: Tensor) -> bool:
    plain = type(values) in {Tensor, nn.Parameter}
    return plain and values.device.type == "cpu" and values.dtype == torch.float32


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
