"""Kernels: the finite network's against the analytic one, the two convolutional forms, gradients, and regression."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from fredbench import networks
from fredbench.foundation.errors import UnknownNameError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.networks.kernels import (
    Architecture,
    convolutional_kernels,
    dense_kernels,
    empirical_ntk,
    half_squared_error,
    maximum_stable_rate,
    ntk_named,
    ridge_prediction,
    solved_labels,
)
from fredbench.networks.kernels import convolutional as module
from fredbench.networks.kernels.empirical import jacobians


def pictures(count: int, size: int, name: str, channels: int = 3) -> Tensor:
    return torch.randn(count, channels, size, size, generator=Stream(1).child(name).torch(), dtype=torch.float64)


class Wide(nn.Module):
    """One hidden layer in NTK parameterisation, W_std = sqrt 2, b_std = .1, of a finite width."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        draw = Stream(0).child("wide").torch()
        shapes = {"first": (width, inputs), "bias": (width,), "second": (1, width), "last": (1,)}
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.randn(shape, generator=draw, dtype=torch.float64)))

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(x.flatten(1) @ self.first.T * math.sqrt(2 / self.first.shape[1]) + 0.1 * self.bias)
        return hidden @ self.second.T * math.sqrt(2 / self.second.shape[1]) + 0.1 * self.last


def test_a_wide_networks_own_kernel_approaches_the_analytic_one() -> None:
    a, b = pictures(4, 3, "a"), pictures(3, 3, "b")
    wanted = torch.cat([dense_kernels(a, b, depth=1).ntk, dense_kernels(a, depth=1).ntk], dim=1)
    errors = []
    for width in (64, 16384):
        network = Wide(27, width)
        found = torch.cat([empirical_ntk(network, a, b), empirical_ntk(network, a)], dim=1)
        errors.append(float((found.detach() - wanted).norm() / wanted.norm()))
    assert errors[1] < 0.02 < errors[0], errors


@pytest.mark.parametrize("prepended", [False, True])
def test_without_pools_the_diagonal_is_enough(prepended: bool) -> None:
    a, b = pictures(2, 4, "a"), pictures(3, 4, "b")
    architecture = Architecture(2, pooling=False, prepended=prepended)
    for other in (b, None):
        short = convolutional_kernels(a, other, architecture=architecture)
        whole = whole_form(a, other, architecture)
        assert torch.allclose(short.ntk, whole[1], rtol=1e-13)
        assert torch.allclose(short.nngp, whole[0], rtol=1e-13)


def whole_form(a: Tensor, b: Tensor | None, architecture: Architecture) -> Tensor:
    """The same recursion on all pairs of positions."""
    form, other = module._Pooled, a if b is None else b
    variances = [module._variances(x, architecture, form) for x in (a, other)]
    same = torch.eye(len(a), dtype=torch.bool) if b is None else None
    return module._pair_block(architecture, form, same)(a, other, *variances[0], *variances[1])


@pytest.mark.parametrize("name", ["fc2", "conv2", "conv1-pre", "conv2-nopool"])
def test_blocks_do_not_show(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = pictures(5, 4, "a").requires_grad_(), pictures(7, 4, "b")
    results = []
    for limit in (2**22, 500):
        monkeypatch.setattr(module, "_BLOCK", limit)
        kernel = ntk_named(name)
        value = torch.cat([kernel(b, a), kernel(a)])
        (gradient,) = torch.autograd.grad(value.square().sum(), a)
        results.append((value.detach(), gradient))
    for first, second in zip(*results, strict=True):
        assert torch.allclose(first, second, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["fc1", "fc3", "conv2", "conv1-pre", "conv2-nopool"])
def test_gradients_by_finite_differences(name: str) -> None:
    kernel = ntk_named(name)
    a, b = pictures(2, 4, "a", 1).requires_grad_(), pictures(2, 4, "b", 1)
    assert torch.autograd.gradcheck(lambda x: (kernel(b, x), kernel(x)), (a,), rtol=1e-5, atol=1e-7)


def test_a_real_picture_among_the_support_has_finite_gradients() -> None:
    """The usual start: pictures copied from the targets, where arccos has no derivative."""
    b = pictures(3, 4, "b")
    a = b[:2].clone().requires_grad_()
    for name in ("fc2", "conv2", "conv2-nopool"):
        value = ntk_named(name)(b, a)
        (gradient,) = torch.autograd.grad(value.sum(), a)
        assert bool(gradient.isfinite().all())
        assert torch.allclose(value[:2].diagonal(), ntk_named(name)(a).diagonal(), rtol=1e-9)


def test_empirical_kernel_is_that_of_the_jacobians_and_has_their_gradient() -> None:
    network = networks.build("convnet-d2-w4-in", classes=3, size=8, rng=Stream(0)).double().requires_grad_(False)
    a, b = pictures(3, 8, "a"), pictures(2, 8, "b").requires_grad_()
    rows = []
    weights = [weight.requires_grad_() for weight in network.parameters()]
    for picture in (*a, *b.detach()):
        outputs = network(picture[None])[0]
        gradients = [torch.autograd.grad(output, weights, retain_graph=True) for output in outputs]
        rows.append(torch.stack([torch.cat([part.flatten() for part in each]) for each in gradients]))
    by_hand = torch.stack(rows)
    wanted = torch.einsum("ikp,jkp->ij", by_hand[:3], by_hand[3:]) / 3
    assert torch.allclose(empirical_ntk(network, a, b), wanted, rtol=1e-11)
    assert torch.allclose(jacobians(network, a).norm(), by_hand[:3].norm(), rtol=1e-12)
    direction = pictures(2, 8, "direction")
    cotangent = torch.randn(3, 2, generator=Stream(3).torch(), dtype=torch.float64)

    def value(x: Tensor) -> Tensor:
        return (empirical_ntk(network, a, x) * cotangent).sum() + empirical_ntk(network, x).square().sum()

    (gradient,) = torch.autograd.grad(value(b), b)
    step = 1e-6
    with torch.no_grad():
        slope = (value(b + step * direction) - value(b - step * direction)) / (2 * step)
    assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-6)


def test_stable_rate_is_the_largest_eigenvalues() -> None:
    network = networks.build("mlp", classes=3, size=4, rng=Stream(0)).double()
    x = pictures(6, 4, "a")
    rows = jacobians(network, x).detach().flatten(0, 1)
    largest = float(torch.linalg.eigvalsh(rows @ rows.T)[-1])
    found = maximum_stable_rate(network, x, momentum=0.9, generator=Stream(0).torch())
    assert found == pytest.approx(2 * 1.9 * 6 / largest, rel=0.02)


def test_solved_labels_are_the_minimiser() -> None:
    support, target = pictures(4, 3, "a"), pictures(20, 3, "b")
    wanted = torch.randn(20, 3, generator=Stream(2).torch(), dtype=torch.float64)
    kernel = ntk_named("fc2")
    cross, own = kernel(target, support), kernel(support)
    labels = solved_labels(cross, own, wanted, 1e-3).requires_grad_()
    loss = half_squared_error(ridge_prediction(cross, own, labels, 1e-3), wanted)
    (gradient,) = torch.autograd.grad(loss, labels)
    assert float(gradient.abs().max()) < 1e-10
    moved = half_squared_error(ridge_prediction(cross, own, labels + 0.01, 1e-3), wanted)
    assert float(moved.detach()) > float(loss.detach())


@pytest.mark.parametrize("name", ["fc", "conv0", "conv3-pre-pre", "myrtle", "conv3-nopool-pre"])
def test_unknown_kernels_are_refused_with_the_list(name: str) -> None:
    with pytest.raises(UnknownNameError, match="kernel"):
        ntk_named(name)


def test_what_has_no_kernel_is_refused() -> None:
    with pytest.raises(UsageError, match="halved"):
        ntk_named("conv3")(pictures(1, 12, "a"))
    with pytest.raises(UsageError, match="hidden"):
        dense_kernels(pictures(1, 4, "a"), depth=-1)
