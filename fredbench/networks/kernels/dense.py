"""Kernels of infinitely wide fully connected ReLU networks, and the Gaussian expectations that all kernels here share.

NTK parameterisation with W_std = sqrt 2 and b_std = .1, as in KIP (Nguyen et al., "Dataset Meta-Learning from Kernel
Ridge-Regression", ICLR 2021); the recursion is that of Jacot et al. (NeurIPS 2018) with the arc-cosine kernels of Cho
and Saul (NeurIPS 2009).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fredbench.foundation.device import sent
from fredbench.foundation.errors import UsageError

__all__ = ["BIAS_VARIANCE", "WEIGHT_VARIANCE", "Kernels", "dense_kernels", "relu_expectations"]

WEIGHT_VARIANCE, BIAS_VARIANCE = 2.0, 0.01


class Kernels(NamedTuple):
    """`nngp`, the covariance of the outputs at initialisation, and `ntk`, that of their gradients; both (n, m)."""

    nngp: Tensor
    ntk: Tensor


def relu_expectations(
    covariance: Float[Tensor, "*shape"], scale: Float[Tensor, "*shape"], identical: Bool[Tensor, "*#shape"]
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """E[relu(u) relu(v)] and E[relu'(u) relu'(v)] for Gaussian (u, v); `scale` is the root of their variances' product.

    With cos t = covariance / scale: scale (sin t + (pi - t) cos t) / 2 pi, and (pi - t) / 2 pi. Where u and v are
    `identical`, t is 0 with zero derivative, by a mask: arccos has no finite derivative there, and a clamp below 1
    would move the values.
    """
    cosine = covariance / scale
    same, opposite = identical | (cosine >= 1), cosine <= -1
    inside = torch.where(same | opposite, torch.zeros_like(cosine), cosine)
    rest = math.pi - torch.arccos(inside)
    first = ((1 - inside.square()).sqrt() + rest * inside) / (2 * math.pi)
    derivative = rest / (2 * math.pi)
    half, zero = torch.full_like(cosine, 0.5), torch.zeros_like(cosine)
    first = torch.where(same, half, torch.where(opposite, zero, first))
    return scale * first, torch.where(same, half, torch.where(opposite, zero, derivative))


def dense_kernels(a: Float[Tensor, n * shape], b: Float[Tensor, m * shape] | None = None, *, depth: int) -> Kernels:
    """Kernels of `depth` hidden ReLU layers and a linear read-out between pictures `a` and `b` (default: `a` itself).

    K = 2 <a, b> / d + .01, T = K; then for each hidden layer, with the expectations of `relu_expectations`,
    K' = 2 E[relu relu] + .01 and T' = K' + 2 E[relu' relu'] T.
    """
    if depth < 0:
        raise UsageError(f"a network of {depth} hidden layers has no kernel", hint="give a depth of 0 or more")
    left, right = a.flatten(1), a.flatten(1) if b is None else b.flatten(1)
    width = left.shape[1]
    first, second = (WEIGHT_VARIANCE * x.square().sum(1) / width + BIAS_VARIANCE for x in (left, right))
    nngp = WEIGHT_VARIANCE * left @ right.T / width + BIAS_VARIANCE
    ntk = nngp
    identical = torch.eye(len(left), dtype=torch.bool, device=a.device) if b is None else torch.tensor(False)
    for _ in range(depth):
        scale = (first[:, None] * second[None, :]).sqrt()
        expected, derivative = relu_expectations(nngp, scale, sent(identical, a.device))
        nngp = WEIGHT_VARIANCE * expected + BIAS_VARIANCE
        ntk = nngp + WEIGHT_VARIANCE * derivative * ntk
        # Of a variable with itself the expectation is half its variance.
        first, second = first + BIAS_VARIANCE, second + BIAS_VARIANCE
    return Kernels(nngp, ntk)
