"""Adversarial attacks on students, in picture space: through normalisation and whitening, within 0 to 255.

An attack looks, within a ball around each test picture, for one that the network takes for another class. The ball and
the box are those of pictures, whatever the network's input space is: 8/255 is eight grey levels. What is found is kept
from the first iterate that is misclassified, so that more steps never help the defender; the number that is reported
is of one last pass over the pictures found, by the very code that scores clean ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import cross_entropy

from fredbench.evaluation.threats import LEVELS, Attack, Norm
from fredbench.foundation.errors import UsageError
from fredbench.foundation.rng import Stream

__all__ = ["adversarial"]

Model: TypeAlias = Callable[[Tensor], Tensor]
"""Pictures (n, c, h, w), float, 0 to 255, to logits (n, k); what a picture gives does not depend on those beside it."""

_AT_ONCE = 128
# Croce and Hein, ICML 2020: momentum, share of steps that must rise, and where the step may be halved (section 3).
_MOMENTUM, _RISING = 0.75, 0.75
_FIRST_CHECK, _SHORTER, _SHORTEST = 0.22, 0.03, 0.06


def adversarial(
    model: Model,
    pictures: Float[Tensor, "n c h w"],
    labels: Int64[Tensor, " n"],
    attack: Attack,
    epsilon: float,
    *,
    numbers: Sequence[int] | None = None,
    together: bool = False,
) -> Float[Tensor, "n c h w"]:
    """Pictures within `epsilon` of `pictures` that `model` misclassifies where one was found, else the last looked at.

    pictures: 0 to 255; so is what is returned. epsilon: of the range, largest change of a value (`linf`) or root of the
    summed squares of a picture's (`l2`). numbers: of the pictures, by which each draws where it begins, so that it does
    not depend on the others. together: the model sees a batch as a whole (128 at a time, in order), so no picture may
    be left out of it once it is broken. Those that are misclassified as they are stay as they are.
    """
    numbers = range(len(pictures)) if numbers is None else numbers
    parts = []
    for first in range(0, len(pictures), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        ball = _Ball(pictures[part], attack.norm, epsilon * LEVELS)
        parts.append(_batch(model, ball, labels[part], attack, numbers[part], together))
    return torch.cat(parts) if parts else pictures.clone()


@dataclass(frozen=True)
class _Ball:
    """Pictures that may be looked at: within `radius` of `centre`, in grey levels, and from 0 to 255."""

    centre: Tensor
    norm: Norm
    radius: float

    def of(self, chosen: Tensor) -> _Ball:
        return _Ball(self.centre[chosen], self.norm, self.radius)

    def projected(self, x: Tensor) -> Tensor:
        """The nearest points of the ball, then of the box."""
        if self.norm == "linf":
            x = torch.maximum(torch.minimum(x, self.centre + self.radius), self.centre - self.radius)
        else:
            change = x - self.centre
            x = self.centre + change * (self.radius / _length(change).clamp_min(1e-12)).clamp_max(1)
        return x.clamp(0, LEVELS)

    def towards(self, gradient: Tensor, share: float | Tensor) -> Tensor:
        """The step that raises the loss fastest: `share` of the radius in every value, or in all of them together."""
        direction = gradient.sign() if self.norm == "linf" else gradient / _length(gradient).clamp_min(1e-30)
        return direction * (share * self.radius)

    def drawn(self, numbers: Sequence[int], restart: int) -> Tensor:
        """A point of the ball for each picture, uniform in every value or, within a sphere, over its volume."""
        points = []
        for number in numbers:
            rng = Stream(0).child("attack", self.norm, restart, number).torch()
            shape = self.centre.shape[1:]
            if self.norm == "linf":
                points.append(2 * torch.rand(shape, generator=rng) - 1)
            else:
                direction = torch.randn(shape, generator=rng)
                share = torch.rand((), generator=rng) ** (1 / direction.numel())
                points.append(direction * (share / direction.norm()))
        change = torch.stack(points).to(self.centre) * self.radius
        return self.projected(self.centre + change)


def _length(change: Tensor) -> Tensor:
    length: Tensor = change.flatten(1).norm(dim=1)
    return length[:, None, None, None]


def _batch(model: Model, ball: _Ball, labels: Tensor, attack: Attack, numbers: Sequence[int], together: bool) -> Tensor:
    found = ball.centre.clone()
    # What breaks one student need not break another: pictures for that one go all the way.
    broken = torch.zeros_like(labels, dtype=torch.bool) if attack.transfer else _wrong(model, ball.centre, labels)
    for restart in range(attack.restarts):
        left = torch.arange(len(labels), device=labels.device) if together else (~broken).nonzero()[:, 0]
        if bool(broken.all()):
            break
        own, names = ball.of(left), [numbers[place] for place in left.tolist()]
        # In a sphere the first way leads straight up from the picture itself; a drawn one is left only by degrees.
        drawn = attack.drawn and (attack.norm == "linf" or restart > 0)
        start = own.drawn(names, restart) if drawn else own.centre
        search = _Search(model, own, labels[left], attack, together)
        search.run(start, broken[left])
        fresh = ~broken[left]
        found[left[fresh]] = search.found[fresh]
        broken[left] |= search.broken
    return found


def _wrong(model: Model, x: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x).argmax(dim=1) != labels


class _Search:
    """One way from one start, from which pictures are dropped as they are broken."""

    def __init__(self, model: Model, ball: _Ball, labels: Tensor, attack: Attack, together: bool) -> None:
        self.model, self.ball, self.labels, self.attack, self.together = model, ball, labels, attack, together
        self.found, self.broken = ball.centre.clone(), torch.zeros_like(labels, dtype=torch.bool)
        self.places = torch.arange(len(labels), device=labels.device)

    def run(self, start: Tensor, broken: Tensor) -> None:
        """Take all steps; `broken` pictures need nothing more to be found."""
        self.broken |= broken
        (self._adaptive if self.attack.adaptive else self._plain)(start)

    def _plain(self, x: Tensor) -> None:
        """Steps of one length along the sign of the gradient, or along the gradient."""
        for _ in range(self.attack.steps):
            _, gradient, wrong = self._climb(x)
            kept = self._note(x, wrong)
            x, gradient = x[kept], gradient[kept]
            if not len(x):
                return
            ball = self.ball.of(self.places)
            x = ball.projected(x + ball.towards(gradient, self.attack.step))
        self._note(x, _wrong(self.model, x, self.labels[self.places]))

    def _adaptive(self, x: Tensor) -> None:
        """APGD: a step with momentum, halved, from the best point, where the loss has not risen often enough."""
        loss, gradient, wrong = self._climb(x)
        kept = self._note(x, wrong)
        state = _State.at(x, loss, gradient).of(kept)
        checks = _checks(self.attack.steps)
        for number in range(self.attack.steps):
            if not len(state.x):
                return
            ball = self.ball.of(self.places)
            after = ball.projected(state.x + ball.towards(state.gradient, state.length[:, None, None, None]))
            share = _MOMENTUM if number else 1.0
            after = ball.projected(state.x + share * (after - state.x) + (1 - share) * (state.x - state.before))
            loss, gradient, wrong = self._climb(after)
            kept = self._note(after, wrong)
            state = state.moved(after, loss, gradient).of(kept)
            if number + 1 in checks:
                state = state.checked(checks[number + 1])

    def _climb(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loss a picture and its gradient by the pictures, and which are misclassified."""
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            logits = self.model(x)
            loss = _LOSSES[self.attack.loss](logits, self.labels[self.places])
            (gradient,) = torch.autograd.grad(loss.sum(), x)
        return loss.detach(), gradient, logits.detach().argmax(dim=1) != self.labels[self.places]

    def _note(self, x: Tensor, wrong: Tensor) -> Tensor:
        """Keep `x` where it is the first that is misclassified, or none was; places in `x` of what to go on with."""
        fresh = ~self.broken[self.places]
        self.found[self.places[fresh]] = x[fresh].detach()
        if self.attack.transfer:
            return torch.arange(len(x), device=x.device)
        self.broken[self.places] |= wrong
        if self.together:
            return torch.arange(len(x) if not bool(self.broken.all()) else 0, device=x.device)
        kept = (~self.broken[self.places]).nonzero()[:, 0]
        self.places = self.places[kept]
        return kept


@dataclass(frozen=True)
class _State:
    """Where APGD is, a row a picture: the point and the one before it, the best one, and the length of the step.

    rises: steps since the last check at which the loss rose. last_best, last_length: as they were at that check.
    """

    x: Tensor
    before: Tensor
    best: Tensor
    loss: Tensor
    gradient: Tensor
    best_loss: Tensor
    best_gradient: Tensor
    length: Tensor
    rises: Tensor
    last_best: Tensor
    last_length: Tensor

    @staticmethod
    def at(x: Tensor, loss: Tensor, gradient: Tensor) -> _State:
        """At its start, with a step of twice the radius, which was another one before, so that it is not steady."""
        length = torch.full_like(loss, 2.0)
        return _State(x, x, x, loss, gradient, loss, gradient, length, torch.zeros_like(loss), loss, 2 * length)

    def of(self, kept: Tensor) -> _State:
        """Those of the pictures at `kept`."""
        return _State(*(value[kept] for value in vars(self).values()))

    def moved(self, x: Tensor, loss: Tensor, gradient: Tensor) -> _State:
        """After a step to `x`."""
        higher = loss > self.best_loss
        wide = higher[:, None, None, None]
        return _State(
            x, self.x, torch.where(wide, x, self.best), loss, gradient,
            torch.where(higher, loss, self.best_loss), torch.where(wide, gradient, self.best_gradient), self.length,
            self.rises + (loss > self.loss).to(loss.dtype), self.last_best, self.last_length,
        )  # fmt: skip

    def checked(self, steps: int) -> _State:
        """After a check over the last `steps`: back at the best point with half the step where that is called for."""
        seldom = self.rises < _RISING * steps
        steady = (self.last_length == self.length) & (self.last_best >= self.best_loss)
        halved = seldom | steady
        wide = halved[:, None, None, None]
        return _State(
            torch.where(wide, self.best, self.x), torch.where(wide, self.best, self.before), self.best,
            torch.where(halved, self.best_loss, self.loss),
            torch.where(wide, self.best_gradient, self.gradient), self.best_loss, self.best_gradient,
            torch.where(halved, self.length / 2, self.length),
            torch.zeros_like(self.rises), self.best_loss, self.length,
        )  # fmt: skip


def _checks(steps: int) -> dict[int, int]:
    """Steps after which APGD checks, with the number of steps since the check before."""
    shares, gap = [0.0, _FIRST_CHECK], _FIRST_CHECK
    while shares[-1] < 1:
        gap = max(gap - _SHORTER, _SHORTEST)
        shares.append(shares[-1] + gap)
    places = [-(-round(share * steps * 1000) // 1000) for share in shares]
    return {after: after - before for before, after in pairwise(places) if 0 < after <= steps}


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(logits, labels, reduction="none")


def _logit_ratio(logits: Tensor, labels: Tensor) -> Tensor:
    """The difference of logits ratio, (max of the others - true) / (first - third), which no rescaling changes.

    Croce and Hein, equation 6. With fewer than three classes there is no third: `UsageError`.
    """
    if logits.shape[1] < 3:
        raise UsageError("the difference of logits ratio needs three classes", hint="take --attack apgd-ce")
    ordered = logits.sort(dim=1, descending=True).values
    true = logits.gather(1, labels[:, None])[:, 0]
    others = torch.where(ordered[:, 0] == true, ordered[:, 1], ordered[:, 0])
    return (others - true) / (ordered[:, 0] - ordered[:, 2] + 1e-12)


_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"ce": _cross_entropy, "dlr": _logit_ratio}
