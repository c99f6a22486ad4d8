"""Iterations of the systems that regress real labels on a synthetic set: KIP, and FRePo with its pool of networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.yardsticks.networks import Draws, Embedded, drawn
from benchmarks.yardsticks.pictures import Real


def centred(labels: Tensor, classes: int) -> Tensor:
    """One-hot rows minus 1/C."""
    return F.one_hot(labels, classes).float() - 1 / classes


def predicted(cross: Tensor, own: Tensor, labels: Tensor, ridge: float = 1e-6) -> Tensor:
    """K_ts (K_ss + ridge tr(K_ss) / m I)^-1 Y_s."""
    regularised = own + ridge * torch.trace(own) / len(own) * torch.eye(len(own), dtype=own.dtype)
    return cross @ torch.linalg.solve(regularised, labels)


# KIP.


def dense_kernel(a: Tensor, b: Tensor, depth: int, *, same: bool = False) -> Tensor:
    """Tangent kernel of `depth` wide ReLU layers (variances 2, of biases .01) between rows; `same`: a is b."""
    covariance = 2 * a @ b.T / a.shape[1] + 0.01
    first, second = (2 * (rows * rows).sum(dim=1) / rows.shape[1] + 0.01 for rows in (a, b))
    tangent = covariance
    diagonal = torch.eye(len(a), dtype=torch.bool) if same else torch.zeros((), dtype=torch.bool)
    for _ in range(depth):
        scale = torch.sqrt(first[:, None] * second[None, :])
        # Of a picture with itself the angle is zero, and has no derivative; also where it is a real one as well.
        cosine = covariance / scale
        itself = diagonal | (cosine >= 1)
        angle = torch.where(itself, 0.0, torch.arccos(torch.where(itself, 0.0, cosine)))
        slope = (math.pi - angle) / math.pi
        covariance = scale * (torch.sin(angle) / math.pi + slope * torch.cos(angle)) + 0.01
        tangent = covariance + slope * tangent
        first, second = first + 0.01, second + 0.01
    return tangent


def kip_iteration(
    pictures: nn.Parameter, labels: Tensor, optimiser: torch.optim.Optimizer, real: Real, draws: Draws, targets: int
) -> Tensor:
    """One step on the regression of `targets` real pictures, equally many of each class, through whole kernels."""
    shares = [targets // real.classes + (label < targets % real.classes) for label in range(real.classes)]
    shares = [min(share, len(positions)) for share, positions in zip(shares, real.positions, strict=True)]
    images = torch.cat([real.of_class(label, share, draws("real", label)) for label, share in enumerate(shares)])
    wanted = centred(torch.arange(real.classes).repeat_interleave(torch.tensor(shares)), real.classes).double()
    rows, support = images.flatten(1).double(), pictures.flatten(1).double()
    own = dense_kernel(support, support, 1, same=True)
    found = predicted(dense_kernel(rows, support, 1), own, labels.double())
    loss = 0.5 * torch.mean((found - wanted) ** 2)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.detach()


# FRePo.


class Lamb(torch.optim.Optimizer):
    """LAMB without decay: Adam's step at the length of the tensor (betas .9 and .999, epsilon 1e-6)."""

    def __init__(self, tensors: list[Tensor], lr: float) -> None:
        super().__init__(tensors, {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for tensor in group["params"]:
                state = self.state[tensor]
                if not state:
                    state.update(count=0, mean=torch.zeros_like(tensor), square=torch.zeros_like(tensor))
                state["count"] += 1
                state["mean"].mul_(0.9).add_(tensor.grad, alpha=0.1)
                state["square"].mul_(0.999).addcmul_(tensor.grad, tensor.grad, value=0.001)
                mean = state["mean"] / (1 - 0.9 ** state["count"])
                move = mean / (torch.sqrt(state["square"] / (1 - 0.999 ** state["count"])) + 1e-6)
                lengths = torch.norm(tensor), torch.norm(move)
                ratio = lengths[0] / lengths[1] if min(lengths) > 0 else 1.0
                tensor.sub_(group["lr"] * ratio * move)


@dataclass
class Member:
    """A network of the pool, its Adam, its age."""

    network: Embedded
    optimiser: torch.optim.Optimizer
    age: int


def margin(labels: Tensor) -> Tensor:
    """What rows lose where their largest label is not 1/C above the second."""
    best = torch.topk(labels, 2, dim=1).values
    return -torch.clamp(best[:, 0] - best[:, 1], max=1 / labels.shape[1]).mean()


def frepo_iteration(
    pictures: nn.Parameter,
    labels: nn.Parameter,
    optimiser: torch.optim.Optimizer,
    real: Real,
    pool: list[Member],
    build: Callable[[], Embedded],
    draws: Draws,
    *,
    targets: int = 1024,
    oldest: int = 100,
    flip: bool = True,
) -> Tensor:
    """One step on pictures and labels with a network of the pool, then one step of that network, or a new one."""
    member = pool[int(torch.randint(len(pool), (), generator=draws("member")))]
    network = member.network.eval().requires_grad_(False)
    chosen = torch.randperm(len(real.images), generator=draws("real"))[:targets]
    with torch.no_grad():
        features = network.embed(real.images[chosen]).double()
    wanted = centred(real.labels[chosen], real.classes).double()
    shown = torch.cat([pictures, pictures.flip(3)]) if flip else pictures
    rows = torch.cat([labels, labels]) if flip else labels
    support = network.embed(shown).double()
    found = predicted(features @ support.T, support @ support.T, rows.double())
    regression = 0.5 * ((found - wanted) ** 2).sum(dim=1).mean()
    optimiser.zero_grad()
    (regression + margin(labels)).backward()
    optimiser.step()
    if member.age > oldest:
        member.network = drawn(build, draws("renewal"))
        rate = member.optimiser.defaults["lr"]
        member.optimiser, member.age = torch.optim.Adam(member.network.parameters(), lr=rate), 0
        return regression.detach()
    network.train().requires_grad_(True)
    lost = 0.5 * ((network(pictures.detach()) - labels.detach()) ** 2).sum(dim=1).mean()
    member.optimiser.zero_grad()
    lost.backward()
    member.optimiser.step()
    member.age += 1
    return regression.detach()
