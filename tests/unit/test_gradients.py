"""Gradients of the objective through the parameterizations, by finite differences in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

from fredbench import networks
from fredbench.foundation.rng import Stream
from fredbench.objectives.distribution import class_means, distribution_loss
from fredbench.parameterizations.base import Parameterization, State, class_ordered_labels
from fredbench.parameterizations.frequency import FreD, FreDConfig
from fredbench.parameterizations.hallucinator import Hallucination, HallucinationConfig, Hallucinator
from fredbench.parameterizations.pixels import Pixels, PixelsConfig
from fredbench.training import augmentation

CLASSES, COUNT, SHAPE, KEPT = 2, 2, (2, 6, 6), 5
DOUBLE = torch.float64


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def state_of(name: str) -> tuple[Parameterization, State, Tensor]:
    """A parameterization in double precision with its state and its one learned tensor."""
    if name == "pixels":
        learned = draw(CLASSES * COUNT, *SHAPE).requires_grad_()
        state = State({"pixels": learned}, {}, class_ordered_labels(CLASSES, COUNT), SHAPE)
        return Pixels(PixelsConfig()), state, learned
    learned = (20 * draw(CLASSES, COUNT, SHAPE[0], KEPT)).requires_grad_()
    positions = torch.tensor([[0, 1, 9, 16, 30], [2, 8, 27, 33, 35]])
    state = State({"coefficients": learned}, {"positions": positions}, class_ordered_labels(CLASSES, COUNT), SHAPE)
    return FreD(FreDConfig(KEPT)), state, learned


def loss_through(name: str, operation: str) -> tuple[Tensor, object]:
    parameterization, state, learned = state_of(name)
    # A smooth network: a ReLU's kink under a finite difference would not be an error of ours.
    network = networks.build("convnet-d1-w3-in-swish", channels=2, classes=CLASSES, size=6, rng=Stream(0)).to(DOUBLE)
    network.requires_grad_(False)
    target = draw(CLASSES, network.embed(torch.zeros(1, *SHAPE, dtype=DOUBLE)).shape[1], seed=1)
    strategy = augmentation.parse_strategy(operation)
    key = next(iter(state.learned))

    def loss(values: Tensor) -> Tensor:
        state.learned[key] = values
        pictures, labels = parameterization.decode(state)
        if strategy:
            chosen = augmentation.sample(strategy, len(pictures), SHAPE[1:], Stream(3).torch(), siamese=True)
            pictures = augmentation.apply(chosen, pictures)
        return distribution_loss(target, class_means(network.embed(pictures), labels, CLASSES))

    return learned, loss


@pytest.mark.parametrize("operation", ["none", "scale", "cutout"])
@pytest.mark.parametrize("name", ["pixels", "fred"])
def test_dm_through_a_parameterization(name: str, operation: str) -> None:
    learned, loss = loss_through(name, operation)
    assert torch.autograd.gradcheck(loss, (learned,), eps=1e-5, atol=1e-6, rtol=1e-5, nondet_tol=0)


def hallucination() -> tuple[tuple[Tensor, ...], object]:
    """What is learned, bases and two hallucinators, and DM's loss of these."""
    parts = Hallucination(HallucinationConfig(hallucinators=2))
    weights = [0.5 * draw(2, *meta.shape, seed=1) for meta in Hallucinator.shapes(SHAPE[0], SHAPE)]
    learned = tuple(t.requires_grad_() for t in (draw(CLASSES, COUNT, *SHAPE), *weights))
    network = networks.build("convnet-d1-w3-in-swish", channels=2, classes=CLASSES, size=6, rng=Stream(0)).to(DOUBLE)
    network.requires_grad_(False)
    target = draw(CLASSES, network.embed(torch.zeros(1, *SHAPE, dtype=DOUBLE)).shape[1], seed=1)
    strategy = augmentation.parse_strategy("scale")

    def loss(*values: Tensor) -> Tensor:
        stored = dict(zip(("bases", *Hallucinator._fields), values, strict=True))
        pictures, labels = parts.decode(parts.from_tensors(stored, classes=CLASSES, shape=SHAPE))
        chosen = augmentation.sample(strategy, len(pictures), SHAPE[1:], Stream(3).torch(), siamese=True)
        embedding = network.embed(augmentation.apply(chosen, pictures))
        return distribution_loss(target, class_means(embedding, labels, CLASSES))

    return learned, loss


def test_dm_through_hallucinators() -> None:
    learned, loss = hallucination()
    assert torch.autograd.gradcheck(loss, learned, eps=1e-5, atol=1e-6, rtol=1e-5, nondet_tol=0, fast_mode=True)
    assert torch.autograd.gradgradcheck(loss, learned, eps=1e-5, atol=1e-5, rtol=1e-4, fast_mode=True)


@pytest.mark.parametrize("name", ["pixels", "fred"])
def test_second_derivatives_of_the_decoding_exist(name: str) -> None:
    """Trajectory and gradient matching differentiate through training: twice."""
    learned, loss = loss_through(name, "none")
    assert torch.autograd.gradgradcheck(loss, (learned,), eps=1e-5, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("index", [None, [3, 0, 0]])
@pytest.mark.parametrize("name", ["pixels", "fred"])
def test_decoding_by_finite_differences(name: str, index: list[int] | None) -> None:
    parameterization, state, learned = state_of(name)
    key = next(iter(state.learned))
    chosen = None if index is None else torch.tensor(index)

    def decode(values: Tensor) -> Tensor:
        state.learned[key] = values
        return parameterization.decode(state, chosen)[0]

    assert torch.autograd.gradcheck(decode, (learned,), eps=1e-4, atol=1e-8)


def test_a_wrong_gradient_would_be_seen() -> None:
    learned, loss = loss_through("fred", "none")
    assert callable(loss)

    def halved(values: Tensor) -> Tensor:
        return loss(values.detach() + 0.5 * (values - values.detach()))

    with pytest.raises(GradcheckError):
        torch.autograd.gradcheck(halved, (learned,), eps=1e-5, atol=1e-6, rtol=1e-5)
