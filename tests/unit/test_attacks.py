"""Attacks in picture space: closed forms on linear models, what each ball and step must keep to, and other bounds."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fredbench.evaluation.attacks import adversarial
from fredbench.evaluation.threats import ATTACKS, Attack, attack_named, parse_epsilon
from fredbench.foundation.errors import UnknownNameError, UsageError
from fredbench.foundation.rng import Stream

SHAPE = (3, 4, 4)
LINEAR = [name for name, attack in ATTACKS.items() if attack.loss == "ce" and not attack.transfer]


class Linear:
    """Two classes whose logits are ± w x + b, in float64; `far` shifts the border so far that nothing crosses it."""

    def __init__(self, far: float) -> None:
        draw = Stream(0).child("linear").torch()
        self.weight = torch.randn(math.prod(SHAPE), generator=draw, dtype=torch.float64)
        self.far = far

    def __call__(self, x: Tensor) -> Tensor:
        margin = (x / 255 - 0.5).flatten(1).double() @ self.weight + self.far
        return torch.stack([margin / 2, -margin / 2], dim=1)

    def margin(self, x: Tensor) -> Tensor:
        logits = self(x)
        return logits[:, 0] - logits[:, 1]


def grey(count: int, low: float = 100, high: float = 155) -> Tensor:
    """Pictures so far from black and white that no ball reaches these."""
    draw = Stream(1).child("grey").torch()
    return torch.rand(count, *SHAPE, generator=draw, dtype=torch.float64) * (high - low) + low


@pytest.mark.parametrize("name", LINEAR)
def test_on_a_linear_model_the_worst_point_of_the_ball_is_found(name: str) -> None:
    """Its margin falls by radius times the dual norm of the weights, and by no more."""
    attack, model, pictures = ATTACKS[name], Linear(far=20.0), grey(6)
    epsilon = attack.epsilons[-1]
    found = adversarial(model, pictures, torch.zeros(6, dtype=torch.int64), attack, epsilon)
    dual = model.weight.abs().sum() if attack.norm == "linf" else model.weight.norm()
    fallen = model.margin(pictures) - model.margin(found)
    torch.testing.assert_close(fallen, torch.full_like(fallen, float(epsilon * dual)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("epsilon", [0.0, 2 / 255, 0.1])
def test_what_is_found_is_a_picture_of_the_ball(name: str, epsilon: float) -> None:
    network, pictures, labels = student(), grey(10, 0, 255).float(), torch.arange(10) % 3
    found = adversarial(network, pictures, labels, ATTACKS[name], epsilon)
    change = (found - pictures).flatten(1).double() / 255
    reach = change.abs().amax(1) if ATTACKS[name].norm == "linf" else change.norm(dim=1)
    assert found.min() >= 0 and found.max() <= 255 and bool((reach <= epsilon * (1 + 1e-5) + 1e-7).all())
    if epsilon == 0:
        assert torch.equal(found, pictures)


def student() -> nn.Module:
    """Smooth, so that a step of rounding moves nothing, and curved, so that one step does not do."""
    draw = Stream(3).torch()
    network = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(SHAPE), 32), nn.Tanh(), nn.Linear(32, 3))
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=draw) * (0.6 if tensor.ndim == 2 else 0.0))

    class Shown(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return network((x / 255 - 0.5) / 0.25)

    return Shown().eval()


def right(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x).argmax(1) == labels


@pytest.fixture(scope="module")
def prey() -> tuple[nn.Module, Tensor, Tensor]:
    """A network and three hundred pictures that it classifies, by its own account, rightly."""
    network, pictures = student(), grey(300, 0, 255).float()
    with torch.no_grad():
        return network, pictures, network(pictures).argmax(1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_more_steps_never_help_the_defender(prey: tuple[nn.Module, Tensor, Tensor], norm: str) -> None:
    model, pictures, labels = prey
    epsilon, left = (3 / 255, 0.05)[norm == "l2"], []
    for steps in (1, 5, 20, 50):
        attack = Attack("pgd", "", norm=norm, steps=steps)
        left.append(right(model, adversarial(model, pictures, labels, attack, epsilon), labels))
    for fewer, more in itertools.pairwise(left):
        assert bool((more <= fewer).all())
    assert 0 < left[-1].sum() < left[0].sum() < 300


def test_a_larger_ball_and_further_restarts_break_no_less(prey: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, pictures, labels = prey
    counts = [
        int(right(model, adversarial(model, pictures, labels, ATTACKS["pgd20"], k / 255), labels).sum())
        for k in (0, 1, 2, 4, 8, 64)
    ]
    assert counts[0] == 300 and counts == sorted(counts, reverse=True) and counts[-1] == 0
    once, again = (
        right(model, adversarial(model, pictures, labels, ATTACKS[name], 3 / 255), labels)
        for name in ("pgd20", "pgd20-r5")
    )
    assert bool((again <= once).all())


def test_iterated_and_adaptive_attacks_break_no_less_than_a_single_step(
    prey: tuple[nn.Module, Tensor, Tensor],
) -> None:
    model, pictures, labels = prey
    counts = {
        name: int(right(model, adversarial(model, pictures, labels, ATTACKS[name], 3 / 255), labels).sum())
        for name in ("fgsm", "pgd50", "apgd-ce", "apgd-dlr")
    }
    assert max(counts["pgd50"], counts["apgd-ce"], counts["apgd-dlr"]) <= counts["fgsm"] < 300
    assert counts["apgd-ce"] <= counts["pgd50"] + 3


def test_a_ratio_of_logits_sees_through_a_saturated_loss(prey: tuple[nn.Module, Tensor, Tensor]) -> None:
    """Logits a thousand times as large: cross-entropy has no gradient left in float32, the ratio has the same."""
    model, pictures, labels = prey
    masked = lambda x: model(x) * 1e4  # noqa: E731
    by_loss = {
        name: int(right(masked, adversarial(masked, pictures, labels, ATTACKS[name], 3 / 255), labels).sum())
        for name in ("apgd-ce", "apgd-dlr")
    }
    plain = int(right(model, adversarial(model, pictures, labels, ATTACKS["apgd-dlr"], 3 / 255), labels).sum())
    assert abs(by_loss["apgd-dlr"] - plain) <= 3 and by_loss["apgd-ce"] > by_loss["apgd-dlr"] + 30


def test_a_picture_begins_where_its_number_says(prey: tuple[nn.Module, Tensor, Tensor]) -> None:
    """In another order, and among fewer, each is attacked from the same point."""
    model, pictures, labels = prey
    whole = adversarial(model, pictures, labels, ATTACKS["pgd20"], 3 / 255)
    order = torch.randperm(300, generator=Stream(5).torch())[:150]
    part = adversarial(model, pictures[order], labels[order], ATTACKS["pgd20"], 3 / 255, numbers=order.tolist())
    apart = (part - whole[order]).abs().amax(dim=(1, 2, 3)) > 0.01
    assert int(apart.sum()) <= 3  # a gradient of zero but for rounding may point either way
    others = adversarial(model, pictures[order], labels[order], ATTACKS["pgd20"], 3 / 255)
    assert int(((others - whole[order]).abs().amax(dim=(1, 2, 3)) > 0.01).sum()) > 60


def test_a_batch_that_is_seen_as_a_whole_stays_whole(prey: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, pictures, _ = prey
    sizes = []

    def joint(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return model(x - x.mean() + 127.5)

    truth = torch.cat([joint(part).argmax(1) for part in pictures.split(128)]).detach()
    sizes.clear()
    found = adversarial(joint, pictures, truth, ATTACKS["pgd20"], 3 / 255, together=True)
    assert set(sizes) == {128, 44} and not torch.equal(found, pictures)


def test_pictures_for_another_student_go_all_the_way(prey: tuple[nn.Module, Tensor, Tensor]) -> None:
    """The first that breaks its own student lies nearer than the last of twenty steps."""
    model, pictures, labels = prey

    def loss(name: str) -> float:
        found = adversarial(model, pictures, labels, ATTACKS[name], 3 / 255)
        with torch.no_grad():
            return float(cross_entropy(model(found), labels))

    assert loss("transfer") > loss("pgd20") + 0.01


def test_names_and_radii() -> None:
    assert attack_named("pgd20").steps == 20
    with pytest.raises(UnknownNameError, match="pgd"):
        attack_named("pgd21")
    assert parse_epsilon("8/255") == 8 / 255 and parse_epsilon(".5") == 0.5
    assert parse_epsilon("2") == 2.0
    for wrong in ("inf", "8/0", "-1/255", "x", "nan", "1/2/3"):
        with pytest.raises(UsageError, match="no radius"):
            parse_epsilon(wrong)
    with pytest.raises(UsageError, match="three classes"):
        adversarial(Linear(far=9.0), grey(2), torch.zeros(2, dtype=torch.int64), ATTACKS["apgd-dlr"], 0.01)
