"""A few steps of training on synthetic pictures, and how the trajectory loss at their end depends on the pictures.

theta_{i+1} = theta_i - alpha g_i, with g_i the gradient of the mean cross-entropy of batch i at theta_i (plain SGD, no
momentum), and L = ||theta_N - theta*||^2 / ||theta_0 - theta*||^2 (MTT, Cazenavette et al., CVPR 2022). Three ways to
its gradient:

- `unrolled_loss` keeps every step's graph (autograd): memory grows with N. The oracle of the other two.
- `exact_gradient` is the adjoint of that recursion. lambda_N = 2 (theta_N - theta*) / Z; backwards in i, with
  s_i = <lambda_{i+1}, g_i>: dL/dx -= alpha ds_i/dx, dL/dalpha -= s_i, lambda_i = lambda_{i+1} - alpha ds_i/dtheta_i.
  One step's graph at a time; only the N weight vectors are kept.
- `tesla_gradient` sets lambda_i = lambda_N for all i, which leaves the Hessians out (Cui et al., ICML 2023): cheaper,
  and not the gradient of L.

Augmentation is a draw, kept with the step and applied again on the way back: both passes see the same pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from fredbench.objectives.flat import Derivatives, FlatNetwork
from fredbench.training import augmentation
from fredbench.training.loop import cross_entropy

__all__ = [
    "GRADIENTS",
    "InnerStep",
    "Matched",
    "Segment",
    "exact_gradient",
    "tesla_gradient",
    "trajectory_loss",
    "unrolled_loss",
]

# FreD's TM folder, MTT and HaBa sample scale and rotate so; on square pictures it makes no difference.
_DSA = augmentation.Constants(align_corners=True)


@dataclass(frozen=True)
class InnerStep:
    """One step of the student: the pictures in its batch (None: all of them) and their augmentation."""

    index: Int64[Tensor, " m"] | None
    draw: augmentation.Draw

    def batch(self, pictures: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures and labels of the batch, before augmentation."""
        return (pictures, labels) if self.index is None else (pictures[self.index], labels[self.index])

    def augment(self, batch: Float[Tensor, "m c h w"]) -> Float[Tensor, "m c h w"]:
        """The batch under this step's draw."""
        return augmentation.apply(self.draw, batch, _DSA)

    def pull_back(
        self, batch: Float[Tensor, "m c h w"], gradient: Float[Tensor, "m c h w"]
    ) -> Float[Tensor, "m c h w"]:
        """The gradient with respect to the batch, from that with respect to the augmented batch."""
        with torch.enable_grad():
            leaf = batch.detach().requires_grad_()
            (found,) = torch.autograd.grad(self.augment(leaf), leaf, gradient)
        return found


@dataclass(frozen=True)
class Segment:
    """What is matched: weights to start from, weights to arrive at, and the steps between."""

    start: Float[Tensor, " p"]
    target: Float[Tensor, " p"]
    steps: Sequence[InnerStep]


@dataclass(frozen=True)
class Matched:
    """Loss (), its gradients with respect to pictures and step size, theta_N (P,), cross-entropy of each step (N,)."""

    loss: Tensor
    pictures: Tensor
    step_size: Tensor
    final: Tensor
    inner_losses: Tensor


def trajectory_loss(
    final: Float[Tensor, " p"], start: Float[Tensor, " p"], target: Float[Tensor, " p"]
) -> Float[Tensor, ""]:
    """||final - target||^2 / ||start - target||^2: 1 where nothing was gained, 0 where the expert was reached."""
    return (final - target).square().sum() / (start - target).square().sum()


def unrolled_loss(
    network: FlatNetwork,
    segment: Segment,
    pictures: Float[Tensor, "n c h w"],
    labels: Tensor,
    step_size: Float[Tensor, ""],
) -> tuple[Float[Tensor, ""], Float[Tensor, " p"], Float[Tensor, " steps"]]:
    """(loss, theta_N, cross-entropy of each step), differentiable to pictures and step size through all steps."""
    theta = segment.start.detach().requires_grad_()
    losses = []
    for step in segment.steps:
        batch, truth = step.batch(pictures, labels)
        loss = cross_entropy(network(theta, step.augment(batch)), truth)
        (gradient,) = torch.autograd.grad(loss, theta, create_graph=True)
        theta = theta - step_size * gradient
        losses.append(loss.detach())
    return trajectory_loss(theta, segment.start, segment.target), theta, torch.stack(losses)


def exact_gradient(
    derivatives: Derivatives,
    segment: Segment,
    pictures: Float[Tensor, "n c h w"],
    labels: Tensor,
    step_size: Float[Tensor, ""],
) -> Matched:
    """The gradient that autograd would give of `unrolled_loss`, with one step's graph in memory at a time."""
    return _matched(derivatives, segment, pictures.detach(), labels, step_size.detach(), hessians=True)


def tesla_gradient(
    derivatives: Derivatives,
    segment: Segment,
    pictures: Float[Tensor, "n c h w"],
    labels: Tensor,
    step_size: Float[Tensor, ""],
) -> Matched:
    """TESLA's approximation: each theta_i is taken for a constant of the pictures. The loss is exact."""
    return _matched(derivatives, segment, pictures.detach(), labels, step_size.detach(), hessians=False)


Gradient = Callable[[Derivatives, Segment, Tensor, Tensor, Tensor], Matched]
GRADIENTS: dict[str, Gradient] = {"exact": exact_gradient, "tesla": tesla_gradient}


@torch.no_grad()
def _matched(
    derivatives: Derivatives, segment: Segment, pictures: Tensor, labels: Tensor, step_size: Tensor, *, hessians: bool
) -> Matched:
    path, final, losses = _forward_pass(derivatives, segment, pictures, labels, step_size)
    offset = final - segment.target
    distance = (segment.start - segment.target).square().sum()
    adjoint = 2 * offset / distance
    by_pictures, by_step_size = torch.zeros_like(pictures), torch.zeros_like(step_size)
    for position in reversed(range(len(segment.steps))):
        step = segment.steps[position]
        batch, truth = step.batch(pictures, labels)
        # Nothing depends on lambda_0: the first step's Hessian is not needed, but to compile a program without it
        # for one step of N would cost more than it.
        wanted = hessians and (position > 0 or derivatives.compiled)
        along, by_augmented, by_weights = derivatives.product(
            path[position], step.augment(batch), truth, adjoint, wanted
        )
        # Augmented anew: kept through the product, its graph would come on top of the product's own.
        by_batch = step.pull_back(batch, by_augmented)
        if step.index is None:
            by_pictures.add_(by_batch * -step_size)
        else:
            by_pictures.index_add_(0, step.index, by_batch * -step_size)
        by_step_size -= along
        if by_weights is not None:
            adjoint -= step_size * by_weights
    return Matched(offset.square().sum() / distance, by_pictures, by_step_size, final, losses)


def _forward_pass(
    derivatives: Derivatives, segment: Segment, pictures: Tensor, labels: Tensor, step_size: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(theta_0 .. theta_{N-1} as rows, theta_N, losses)."""
    # Made at once and written in place: what is kept between steps lies nowhere among what every step frees.
    count = len(segment.steps)
    path, losses = segment.start.new_empty(count + 1, len(segment.start)), segment.start.new_empty(count)
    path[0] = segment.start
    for position, step in enumerate(segment.steps):
        theta = path[position]
        batch, truth = step.batch(pictures, labels)
        losses[position], gradient = derivatives.gradient(theta, step.augment(batch), truth)
        torch.sub(theta, step_size * gradient, out=path[position + 1])
    return path[:-1], path[-1], losses
