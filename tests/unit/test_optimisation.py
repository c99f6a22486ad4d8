"""Optimisers of what is learned: torch's own steps, and a state that survives as tensors."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from fredbench.foundation.errors import ArtefactError, UsageError
from fredbench.training.optimisation import Optimisers, ParameterGroup


def groups_of(kind: str = "sgd") -> list[ParameterGroup]:
    values = np.random.default_rng(0)
    first, second, third = (torch.from_numpy(values.normal(size=n)).requires_grad_() for n in (4, 3, 2))
    return [
        ParameterGroup("pixels", (first, second), lr=0.1, momentum=0.9, optimiser=kind),
        ParameterGroup("step.size", (third,), lr=0.01, momentum=0.0),
    ]


def loss(groups: list[ParameterGroup], step: int) -> Tensor:
    return sum(((t - step) ** 2).sum() * (1 + i) for i, g in enumerate(groups) for t in g.tensors)


def run(groups: list[ParameterGroup], optimisers: Optimisers, steps: range) -> None:
    for step in steps:
        optimisers.zero_grad()
        loss(groups, step).backward()
        optimisers.step()


def values(groups: list[ParameterGroup]) -> list[list[float]]:
    return [t.tolist() for g in groups for t in g.tensors]


def test_a_step_is_momentum_by_hand() -> None:
    groups = groups_of()
    wanted = [t.detach().numpy().copy() for g in groups for t in g.tensors]
    velocity = [np.zeros_like(w) for w in wanted]
    run(groups, Optimisers(groups), range(3))
    for step in range(3):
        for i, (rate, momentum, weight) in enumerate(((0.1, 0.9, 1), (0.1, 0.9, 1), (0.01, 0.0, 2))):
            velocity[i] = momentum * velocity[i] + 2 * weight * (wanted[i] - step)
            wanted[i] = wanted[i] - rate * velocity[i]
    for found, by_hand in zip(values(groups), wanted, strict=True):
        assert found == pytest.approx(by_hand.tolist(), rel=1e-12)


@pytest.mark.parametrize("kind", ["sgd", "adam", "row-adam"])
def test_a_state_saved_and_loaded_goes_on_bit_for_bit(kind: str) -> None:
    through, resumed = groups_of(kind), groups_of(kind)
    optimisers = Optimisers(through)
    run(through, optimisers, range(3))
    # Through a file, as checkpoints go.
    saved = safetensors.torch.load(safetensors.torch.save(optimisers.to_tensors()))
    assert saved
    with torch.no_grad():
        for mine, other in zip(resumed, through, strict=True):
            for tensor, value in zip(mine.tensors, other.tensors, strict=True):
                tensor.copy_(value)
    again = Optimisers(resumed)
    again.from_tensors(saved)
    run(through, optimisers, range(3, 6))
    run(resumed, again, range(3, 6))
    assert values(through) == values(resumed)
    a, b = optimisers.to_tensors(), again.to_tensors()
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_row_without_gradient_rests_as_a_tensor_of_its_own_would() -> None:
    """Against torch's Adam with a tensor a row, whose gradient is None where the row is left out."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, 2, 2, dtype=torch.float64, generator=generator)
    stacked, alone = start.clone().requires_grad_(), [row.clone().requires_grad_() for row in start]
    mine = Optimisers([ParameterGroup("fields", (stacked,), lr=0.1, optimiser="row-adam")])
    theirs = torch.optim.Adam(alone, lr=0.1)
    for chosen in ([0, 1], [1], [0, 1], [0]):
        gradient = torch.randn(start.shape, dtype=torch.float64, generator=generator)
        stacked.grad = torch.zeros_like(stacked)
        for row, tensor in enumerate(alone):
            tensor.grad = None
            if row in chosen:
                stacked.grad[row], tensor.grad = gradient[row], gradient[row].clone()
        mine.step()
        theirs.step()
        assert torch.allclose(stacked, torch.stack(alone), atol=1e-12)
    assert torch.equal(stacked[2], start[2]) and mine.to_tensors()["fields.0.steps"].flatten().tolist() == [3, 3, 0]
    plain = start.clone().requires_grad_()
    stale = torch.optim.Adam([plain], lr=0.1)
    for gradient in (torch.ones_like(start), torch.zeros_like(start)):
        plain.grad, before = gradient, plain.detach().clone()
        stale.step()
    assert not torch.equal(plain, before), "so that resting is not what every Adam does"


def test_momentum_matters_to_the_resumed() -> None:
    """So that the test above cannot pass with a state that is lost."""
    through, forgetful = groups_of(), groups_of()
    run(through, Optimisers(through), range(6))
    run(forgetful, Optimisers(forgetful), range(3))
    run(forgetful, Optimisers(forgetful), range(3, 6))
    assert values(through) != values(forgetful)


def test_nothing_is_kept_before_the_first_step() -> None:
    optimisers = Optimisers(groups_of())
    assert optimisers.to_tensors() == {}
    optimisers.from_tensors({})
    assert optimisers.to_tensors() == {}


def test_the_state_of_an_unknown_group_is_refused() -> None:
    with pytest.raises(ArtefactError, match="'others'"):
        Optimisers(groups_of()).from_tensors({"others.0.momentum_buffer": torch.zeros(4)})


def test_gradients_are_forgotten() -> None:
    groups = groups_of()
    optimisers = Optimisers(groups)
    loss(groups, 0).backward()
    optimisers.zero_grad()
    assert all(t.grad is None for g in groups for t in g.tensors)


@pytest.mark.parametrize(
    ("lr", "momentum"),
    [(0, 0.5), (-1, 0.5), (float("nan"), 0.5), (float("inf"), 0.5), (1, -0.1), (1, 1.0), (1, float("nan"))],
)
def test_rates_that_cannot_be_are_refused(lr: float, momentum: float) -> None:
    with pytest.raises(UsageError, match="the pixels cannot be optimised"):
        ParameterGroup("pixels", (torch.zeros(1),), float(lr), momentum)
