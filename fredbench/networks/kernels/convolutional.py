"""Kernels of infinitely wide convolutional ReLU networks, with and without pooling, exact, in blocks.

3x3 convolutions with zero padding, W_std = sqrt 2, b_std = .1, NTK parameterisation; flatten and a linear read-out
(Nguyen et al., "Dataset Distillation with Infinitely Wide Convolutional Networks", NeurIPS 2021, follow Arora et al.,
NeurIPS 2019). With pooling every pair of positions of every pair of pictures is carried, (H W)^2 numbers a pair;
without, a position only ever meets its own, and H W numbers are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fredbench.foundation.errors import UsageError
from fredbench.networks.kernels.dense import BIAS_VARIANCE, WEIGHT_VARIANCE, Kernels, relu_expectations

__all__ = ["Architecture", "convolutional_kernels"]

# Numbers of one kernel tensor in a block: a dozen such tensors are alive at a time.
_BLOCK = 2**22
Layer = Literal["convolution", "relu", "pool"]


@dataclass(frozen=True)
class Architecture:
    """`depth` times [convolution, ReLU, 2x2 average pool], flatten, dense; the pool may be left out.

    `prepended`: one more convolution and ReLU before (KIP's "ConvNet"; "ConvNet3" is without).
    """

    depth: int
    pooling: bool = True
    prepended: bool = False

    def layers(self) -> tuple[Layer, ...]:
        """The layers in order, without the read-out."""
        block: tuple[Layer, ...] = ("convolution", "relu", "pool") if self.pooling else ("convolution", "relu")
        first: tuple[Layer, ...] = ("convolution", "relu") if self.prepended else ()
        return first + block * self.depth

    def check(self, size: tuple[int, int]) -> None:
        """Raise `UsageError` for pictures that cannot be halved as often as the pools ask."""
        if self.depth < 1:
            raise UsageError(f"a convolutional kernel of depth {self.depth}", hint="give a depth of at least 1")
        if self.pooling and (size[0] % 2**self.depth or size[1] % 2**self.depth):
            raise UsageError(
                f"pictures of {size[0]}x{size[1]} cannot be halved {self.depth} times",
                hint="choose a kernel of lower depth, or one without pooling",
            )


def convolutional_kernels(
    a: Float[Tensor, "n c h w"], b: Float[Tensor, "m c h w"] | None = None, *, architecture: Architecture
) -> Kernels:
    """Kernels between pictures `a` and `b` (default: `a` itself), differentiable, in the precision of `a`.

    Blocks of pairs are computed one after another and, where gradients are asked for, once more in the backward pass,
    so that memory does not grow with the number of pairs.
    """
    architecture.check((a.shape[2], a.shape[3]))
    form = _Pooled if architecture.pooling else _Diagonal
    other = a if b is None else b
    first = _variances(a, architecture, form)
    second = first if b is None else _variances(other, architecture, form)
    rows = []
    step_a, step_b = form.block(a.shape[2] * a.shape[3], len(a), len(other))
    for i in range(0, len(a), step_a):
        here = slice(i, i + step_a)
        parts = []
        for j in range(0, len(other), step_b):
            there = slice(j, j + step_b)
            same = _same(a[here], other[there], i, j) if b is None else None
            run = _pair_block(architecture, form, same)
            inputs = (a[here], other[there], *(v[here] for v in first), *(v[there] for v in second))
            parts.append(_remembered(run, *inputs))
        rows.append(torch.cat(parts, dim=2))
    nngp, ntk = torch.cat(rows, dim=1)
    return Kernels(nngp, ntk)


def _same(a: Tensor, b: Tensor, i: int, j: int) -> Tensor:
    """Which pairs of a block are a picture with itself, (n, m)."""
    index_a, index_b = (torch.arange(k, k + len(x), device=a.device) for k, x in ((i, a), (j, b)))
    return index_a[:, None] == index_b[None, :]


def _remembered(run: Callable[..., Any], *inputs: Tensor) -> Any:
    """run(*inputs), computed again in the backward pass instead of kept."""
    if not (torch.is_grad_enabled() and any(x.requires_grad for x in inputs)):
        return run(*inputs)
    return checkpoint(run, *inputs, use_reentrant=False, preserve_rng_state=False)


def _variances(pictures: Tensor, architecture: Architecture, form: type[_Form]) -> list[Float[Tensor, "n hh ww"]]:
    """The variance at every position in front of every ReLU, by the same recursion of a picture with itself."""
    count = architecture.layers().count("relu")

    def run(part: Tensor) -> tuple[Tensor, ...]:
        covariance, found = form.own(part), []
        for layer in architecture.layers():
            match layer:
                case "convolution":
                    covariance = BIAS_VARIANCE + WEIGHT_VARIANCE / 9 * form.neighbours(covariance)
                case "relu":
                    variance = form.diagonal(covariance)
                    found.append(variance)
                    scale = form.outer(variance, variance).sqrt()
                    covariance, _ = relu_expectations(covariance, scale, form.positions(covariance))
                case "pool":
                    covariance = form.pool(covariance)
        return tuple(found)

    step, _ = form.block(pictures.shape[2] * pictures.shape[3], len(pictures), 1)
    parts = [_remembered(run, part) for part in pictures.split(step)]
    return [torch.cat([part[number] for part in parts]) for number in range(count)]


def _pair_block(architecture: Architecture, form: type[_Form], same: Tensor | None) -> Callable[..., Tensor]:
    def run(a: Tensor, b: Tensor, *variances: Tensor) -> Tensor:
        """(2, n, m): NNGP and NTK of the block."""
        half = len(variances) // 2
        pairs: Iterator[tuple[Tensor, Tensor]] = iter(zip(variances[:half], variances[half:], strict=True))
        covariance = form.cross(a, b)
        tangent = torch.zeros_like(covariance)
        for layer in architecture.layers():
            match layer:
                case "convolution":
                    covariance = BIAS_VARIANCE + WEIGHT_VARIANCE / 9 * form.neighbours(covariance)
                    tangent = covariance + WEIGHT_VARIANCE / 9 * form.neighbours(tangent)
                case "relu":
                    first, second = next(pairs)
                    scale = form.outer(first[:, None], second[None, :]).sqrt()
                    identical = form.positions(covariance)
                    identical = identical & form.lift(same) if same is not None else torch.zeros_like(identical)
                    covariance, derivative = relu_expectations(covariance, scale, identical)
                    tangent = derivative * tangent
                case "pool":
                    covariance, tangent = form.pool(covariance), form.pool(tangent)
        nngp = WEIGHT_VARIANCE * form.diagonal(covariance).mean((-2, -1)) + BIAS_VARIANCE
        ntk = nngp + WEIGHT_VARIANCE * form.diagonal(tangent).mean((-2, -1))
        return torch.stack([nngp, ntk])

    return run


class _Form:
    """How a covariance over positions is laid out; both forms answer the same questions."""

    @staticmethod
    def block(area: int, n: int, m: int) -> tuple[int, int]:
        """Pictures of either side in a block."""
        raise NotImplementedError

    @staticmethod
    def own(a: Tensor) -> Tensor:
        """Of each picture with itself, (n, positions)."""
        raise NotImplementedError

    @staticmethod
    def cross(a: Tensor, b: Tensor) -> Tensor:
        """Of all pairs, (n, m, positions): <a_p, b_q> / channels."""
        raise NotImplementedError

    @staticmethod
    def neighbours(k: Tensor) -> Tensor:
        """Sum over the nine offsets d of k(p + d, q + d), zeros outside."""
        raise NotImplementedError

    @staticmethod
    def pool(k: Tensor) -> Tensor:
        """Mean over the 2x2 windows of both positions."""
        raise NotImplementedError

    @staticmethod
    def diagonal(k: Tensor) -> Tensor:
        """k(p, p), (..., h, w)."""
        raise NotImplementedError

    @staticmethod
    def outer(first: Tensor, second: Tensor) -> Tensor:
        """Products first(p) second(q) in the layout of k; both (..., h, w)."""
        raise NotImplementedError

    @staticmethod
    def positions(k: Tensor) -> Tensor:
        """Where p = q, to be broadcast to k."""
        raise NotImplementedError

    @staticmethod
    def lift(pairs: Tensor) -> Tensor:
        """A mask of pairs, (n, m), to be broadcast to k."""
        raise NotImplementedError


class _Diagonal(_Form):
    """Only p = q: (..., h, w)."""

    @staticmethod
    def block(area: int, n: int, m: int) -> tuple[int, int]:
        return _split(area, n, m)

    @staticmethod
    def own(a: Tensor) -> Tensor:
        return a.square().mean(1)

    @staticmethod
    def cross(a: Tensor, b: Tensor) -> Tensor:
        return torch.einsum("nchw,mchw->nmhw", a, b) / a.shape[1]

    @staticmethod
    def neighbours(k: Tensor) -> Tensor:
        height, width = k.shape[-2:]
        padded = F.pad(k, (0, 0, 1, 1))
        rows = padded[..., :height, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
        padded = F.pad(rows, (1, 1))
        return padded[..., :width] + padded[..., 1:-1] + padded[..., 2:]

    @staticmethod
    def diagonal(k: Tensor) -> Tensor:
        return k

    @staticmethod
    def outer(first: Tensor, second: Tensor) -> Tensor:
        return first * second

    @staticmethod
    def positions(k: Tensor) -> Tensor:
        return torch.ones(k.shape[-2:], dtype=torch.bool, device=k.device)

    @staticmethod
    def lift(pairs: Tensor) -> Tensor:
        return pairs[:, :, None, None]


class _Pooled(_Form):
    """All p and q: (..., h, h', w, w'), so that the two rows and the two columns stand side by side."""

    @staticmethod
    def block(area: int, n: int, m: int) -> tuple[int, int]:
        return _split(area * area, n, m)

    @staticmethod
    def own(a: Tensor) -> Tensor:
        return torch.einsum("nchw,ncij->nhiwj", a, a) / a.shape[1]

    @staticmethod
    def cross(a: Tensor, b: Tensor) -> Tensor:
        return torch.einsum("nchw,mcij->nmhiwj", a, b) / a.shape[1]

    @staticmethod
    def neighbours(k: Tensor) -> Tensor:
        height, width = k.shape[-3], k.shape[-1]
        padded = F.pad(k, (0, 0, 0, 0, 1, 1, 1, 1))
        rows = sum((padded[..., d : d + height, d : d + height, :, :] for d in (1, 2)), padded[..., :-2, :-2, :, :])
        padded = F.pad(rows, (1, 1, 1, 1))
        return sum((padded[..., d : d + width, d : d + width] for d in (1, 2)), padded[..., :-2, :-2])

    @staticmethod
    def pool(k: Tensor) -> Tensor:
        k = k[..., ::2, :, :, :] + k[..., 1::2, :, :, :]
        k = k[..., ::2, :, :] + k[..., 1::2, :, :]
        k = k[..., ::2, :] + k[..., 1::2, :]
        return (k[..., ::2] + k[..., 1::2]) / 16

    @staticmethod
    def diagonal(k: Tensor) -> Tensor:
        return k.diagonal(dim1=-4, dim2=-3).diagonal(dim1=-3, dim2=-2).contiguous()

    @staticmethod
    def outer(first: Tensor, second: Tensor) -> Tensor:
        return first[..., :, None, :, None] * second[..., None, :, None, :]

    @staticmethod
    def positions(k: Tensor) -> Tensor:
        rows, columns = (torch.eye(n, dtype=torch.bool, device=k.device) for n in (k.shape[-3], k.shape[-1]))
        return rows[:, :, None, None] & columns[None, None]

    @staticmethod
    def lift(pairs: Tensor) -> Tensor:
        return pairs[:, :, None, None, None, None]


def _split(numbers: int, n: int, m: int) -> tuple[int, int]:
    """Block sides such that `numbers` a pair stay within `_BLOCK`, as square as the sides allow."""
    pairs = max(1, _BLOCK // numbers)
    step_a = max(1, min(n, int(pairs**0.5)))
    return step_a, max(1, min(m, pairs // step_a))
