"""Fused execution of ConvNets on the CPU: blocks of convolution, instance norm, ReLU and average pooling.

Most of what a pass costs beside the convolutions' products is memory that is written and read again between layers,
and the products can be a quarter as many (`winograd`). Where a first derivative is enough, or none - a student's
training and scoring, the real pictures of distribution and gradient matching, experts, attacks - all blocks are one
operation (`stack`, within `once()` or without gradients); elsewhere each is two that can be differentiated twice
(`twice`). The outcome differs from the layers' own by rounding. Further derivatives are refused, not approximated.

Under "fused-bf16" convolutions and their gradients multiply numbers rounded to bfloat16, the pictures' own too, sum in
float32 and round what they give; weights, norms' statistics, sums over a batch's parts and the head are float32.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fredbench.networks.names import REDUCED, Arithmetic
from fredbench.networks.pooling import AveragePool

__all__ = ["arithmetic_of", "at_once", "features", "has_blocks", "held", "once", "runs", "runs_anywhere"]

# 2.6 ms of the weights' transforms a pass, against .9 ms a picture forward and back (width 128, one thread).
_AT_ONCE = 128

# What blocks and heads are made of, exactly: a subclass may do otherwise.
_LEAVES = frozenset({nn.Conv2d, nn.GroupNorm, nn.ReLU, AveragePool, nn.Linear})
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

_PRODUCTS: dict[Arithmetic, torch.dtype] = {"fused": torch.float32, "fused-bf16": torch.bfloat16}
"""What convolutions multiply, by the arithmetics that have blocks."""

_once: ContextVar[bool] = ContextVar("differentiated once", default=False)


@contextlib.contextmanager
def once() -> Iterator[None]:
    """Within, what networks give is differentiated once at most; without gradients that needs no saying.

    A second derivative is then refused (`stack.refuse_a_further_derivative`).
    """
    token = _once.set(True)
    try:
        yield
    finally:
        _once.reset(token)


def runs(network: nn.Module) -> bool:
    """Whether `network` is run by blocks at the size of its signature, and by nothing beside them and its head.

    What a plug-in's own `embed` does between them may draw, or keep what it sees: it is not for several threads.
    """
    return getattr(network, "is_stack_and_head", False) and _running_blocks(network) is not None


def runs_anywhere(network: nn.Module) -> bool:
    """Whether it runs by blocks in any thread as in this one: nobody listens, no mode of this thread has a say."""
    return runs(network) and not any(_is_heard(layer) for layer in network.modules()) and not _is_transformed()


def has_blocks(network: nn.Module) -> bool:
    """Whether it could be, were its weights float32 on the CPU; an outline on the meta device is enough to tell."""
    return _own_blocks(network) is not None


def arithmetic_of(network: nn.Module, asked: Arithmetic) -> Arithmetic:
    """What `network` is run by where `asked` was: a reduced precision is of blocks, and of no network without them."""
    return "fused" if asked in REDUCED and not has_blocks(network) else asked


def _running_blocks(network: nn.Module) -> list[tuple[nn.Conv2d, nn.GroupNorm]] | None:
    blocks = _own_blocks(network) if getattr(network, "arithmetic", None) in _PRODUCTS else None
    return blocks if blocks and all(_suits(each) for each in network.parameters()) else None


def _own_blocks(network: nn.Module) -> list[tuple[nn.Conv2d, nn.GroupNorm]] | None:
    stack, signature = getattr(network, "features", None), getattr(network, "signature", None)
    if not isinstance(stack, nn.Sequential) or signature is None:
        return None
    blocks, leaves = _blocks(stack), (layer for layer in network.modules() if not any(layer.children()))
    fit = all(type(leaf) in _LEAVES for leaf in leaves)
    return blocks if blocks and fit and _halves(blocks, *signature.size) else None


def at_once(network: nn.Module, pictures: int) -> int:
    """Pictures of a pass where layers want `pictures`: blocks part a batch themselves, and want more of it at once."""
    return max(_AT_ONCE, pictures) if runs(network) else pictures


def held(network: nn.Module) -> int:
    """Bytes of the largest convolved map of a picture, of which a graph keeps a few times as much; 0 without blocks."""
    blocks, signature = _running_blocks(network), getattr(network, "signature", None)
    if blocks is None or signature is None:
        return 0
    sizes = _convolved(blocks, *signature.size)
    return max(4 * convolution.out_channels * h * w for (convolution, _), (h, w) in zip(blocks, sizes, strict=True))


def features(
    stack: nn.Sequential, images: Float[Tensor, "n c h w"], arithmetic: Arithmetic | None
) -> Float[Tensor, "n o hh ww"]:
    """`stack(images)`; by blocks where `arithmetic` has them and all of it is such, in float32 on the CPU."""
    products = None if arithmetic is None else _PRODUCTS.get(arithmetic)
    blocks = _blocks(stack) if products is not None and _is_fit(stack, images) else None
    if products is None or not blocks or not _halves(blocks, images.shape[2], images.shape[3]):
        whole: Tensor = stack(images)
        return whole
    from fredbench.networks.fused import stack as one_operation  # the compiler takes a second to import
    from fredbench.networks.fused import twice

    shapes = [one_operation.Shape(_padding(convolution), norm.eps, products) for convolution, norm in blocks]
    enough = _once.get() or not torch.is_grad_enabled()
    run = one_operation.run if enough else twice.run
    own = [each for convolution, norm in blocks for each in (*_both(convolution), *_both(norm))]
    return run(shapes, own, images)


def _is_fit(stack: nn.Sequential, images: Tensor) -> bool:
    """Whether the blocks' operation may stand for the layers here and now."""
    if not len(images):
        return False
    # Under torch.func's transforms, in another precision, and where someone listens to a layer: as written.
    if _is_transformed() or any(_is_heard(layer) for layer in (stack, *stack)):
        return False
    return all(_suits(values) for values in (images, *stack.parameters()))


def _is_transformed() -> bool:
    return torch._C._functorch.peek_interpreter_stack() is not None or torch.is_autocast_enabled("cpu")


def _is_heard(layer: nn.Module) -> bool:
    return any(getattr(layer, hooks) for hooks in _HOOKS)


def _halves(blocks: list[tuple[nn.Conv2d, nn.GroupNorm]], height: int, width: int) -> bool:
    """Whether every convolved map has an even height and width."""
    return all(h % 2 == w % 2 == 0 and min(h, w) >= 2 for h, w in _convolved(blocks, height, width))


def _convolved(blocks: list[tuple[nn.Conv2d, nn.GroupNorm]], height: int, width: int) -> Iterator[tuple[int, int]]:
    """Height and width of every block's convolved map, of pictures of this size."""
    for convolution, _ in blocks:
        border = 2 * _padding(convolution) - 2
        height, width = height + border, width + border
        yield height, width
        height, width = height // 2, width // 2


def _suits(values: Tensor) -> bool:
    plain = type(values) in {Tensor, nn.Parameter}
    return plain and values.device.type == "cpu" and values.dtype == torch.float32


def _padding(convolution: nn.Conv2d) -> int:
    return convolution.padding[0] if isinstance(convolution.padding, tuple) else 0


def _plain(convolution: nn.Conv2d) -> bool:
    """3×3 of stride 1 with a bias and a border of zeros, the same all around."""
    square = convolution.kernel_size == (3, 3) and convolution.stride == convolution.dilation == (1, 1)
    border = isinstance(convolution.padding, tuple) and len(set(convolution.padding)) == 1
    plain = convolution.groups == 1 and convolution.padding_mode == "zeros" and convolution.bias is not None
    return square and border and plain


def _both(layer: nn.Conv2d | nn.GroupNorm) -> tuple[Tensor, Tensor]:
    """Weight and bias, gain and shift."""
    assert layer.bias is not None
    return layer.weight, layer.bias


def _blocks(stack: nn.Sequential) -> list[tuple[nn.Conv2d, nn.GroupNorm]] | None:
    """Convolution and norm of each block, or None where a layer has no fused form."""
    layers = list(stack)
    found = []
    for first in range(0, len(layers), 4):
        match layers[first : first + 4]:
            case [nn.Conv2d() as convolution, nn.GroupNorm() as norm, nn.ReLU(), AveragePool()]:
                if not all(type(layer) in _LEAVES for layer in layers[first : first + 4]) or not _plain(convolution):
                    return None
                if norm.num_groups != norm.num_channels or not norm.affine:
                    return None
                found.append((convolution, norm))
            case _:
                return None
    return found
