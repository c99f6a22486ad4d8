"""Every check of `fredbench.testing` can fail: a part that breaks one promise is told so, and how to mend it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fredbench.datasets import Dataset
from fredbench.foundation.errors import CheckFailedError
from fredbench.foundation.rng import Stream
from fredbench.objectives import OBJECTIVES, Synthetic, Update
from fredbench.objectives.distribution import DistributionMatching
from fredbench.parameterizations import PARAMETERIZATIONS, State, StoredRole
from fredbench.parameterizations.budget import Budget, Ledger
from fredbench.parameterizations.pixels import Pixels
from fredbench.testing import check_objective, check_parameterization, small_digits
from fredbench.training.batches import RealPictures
from fredbench.training.optimisation import ParameterGroup


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return small_digits()


class _Named(Pixels):
    name = "mine"


class Nameless(Pixels):
    pass


@dataclasses.dataclass
class _Changeable:
    lr: float = 1.0


class Changeable(_Named):
    Config = _Changeable  # type: ignore[assignment]


class Offerless(_Named):
    offers = ["class batches"]  # type: ignore[assignment]  # noqa: RUF012


class GloballyDrawn(_Named):
    def init(self, real: RealPictures, budget: Budget, rng: Stream) -> State:
        state = super().init(real, budget, rng)
        state.learned["pixels"].data += torch.rand(())
        return state


class Unsteady(_Named):
    """Draws from nothing that is given, without touching a generator: a counter."""

    count = 0

    def init(self, real: RealPictures, budget: Budget, rng: Stream) -> State:
        Unsteady.count += 1
        state = super().init(real, budget, rng)
        state.learned["pixels"].data += Unsteady.count
        return state


class NotFinite(_Named):
    def init(self, real: RealPictures, budget: Budget, rng: Stream) -> State:
        state = super().init(real, budget, rng)
        state.learned["pixels"].data[0] = torch.nan
        return state


class _Decoding(_Named):
    def decode(self, state: State, index: Tensor | None = None, rng: Stream | None = None) -> tuple[Tensor, Tensor]:
        return self.changed(*super().decode(state, index, rng), index)

    def changed(self, images: Tensor, labels: Tensor, index: Tensor | None) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


class Doubled(_Decoding):
    def changed(self, images: Tensor, labels: Tensor, index: Tensor | None) -> tuple[Tensor, Tensor]:
        return images.double(), labels


class Disordered(_Decoding):
    def changed(self, images: Tensor, labels: Tensor, index: Tensor | None) -> tuple[Tensor, Tensor]:
        return images, labels.flip(0)


class Cropped(_Decoding):
    def changed(self, images: Tensor, labels: Tensor, index: Tensor | None) -> tuple[Tensor, Tensor]:
        return images[..., :-1], labels


class OtherwiseInPart(_Decoding):
    def changed(self, images: Tensor, labels: Tensor, index: Tensor | None) -> tuple[Tensor, Tensor]:
        return (images if index is None else images + 1), labels


class WithoutGradient(_Decoding):
    def changed(self, images: Tensor, labels: Tensor, index: Tensor | None) -> tuple[Tensor, Tensor]:
        return images.detach(), labels


class Unused(_Named):
    def init(self, real: RealPictures, budget: Budget, rng: Stream) -> State:
        state = super().init(real, budget, rng)
        state.learned["idle"] = torch.zeros(1, requires_grad=True)
        return state

    def parameters(self, state: State) -> list[ParameterGroup]:
        return [*super().parameters(state), ParameterGroup("idle", (state.learned["idle"],), 1.0, 0.0)]


class NotOptimised(_Named):
    def parameters(self, state: State) -> list[ParameterGroup]:
        return []


class TwiceNamed(_Named):
    def init(self, real: RealPictures, budget: Budget, rng: Stream) -> State:
        state = super().init(real, budget, rng)
        state.learned["gain"] = torch.ones(1, requires_grad=True)
        return state

    def decode(self, state: State, index: Tensor | None = None, rng: Stream | None = None) -> tuple[Tensor, Tensor]:
        images, labels = super().decode(state, index, rng)
        return images * state.learned["gain"], labels

    def parameters(self, state: State) -> list[ParameterGroup]:
        return [*super().parameters(state), ParameterGroup("pixels", (state.learned["gain"],), 1.0, 0.0)]


class _Storing(_Named):
    def to_tensors(self, state: State) -> dict[str, tuple[Tensor, StoredRole]]:
        return self.stored(state)

    def stored(self, state: State) -> dict[str, Any]:
        raise NotImplementedError


class WithGraph(_Storing):
    def stored(self, state: State) -> dict[str, Any]:
        return {"pixels": (state.learned["pixels"], "scalars")}


class Rounded(_Storing):
    def stored(self, state: State) -> dict[str, Any]:
        return {"pixels": (state.learned["pixels"].detach().round(), "scalars")}


class Roleless(_Storing):
    def stored(self, state: State) -> dict[str, Any]:
        return {"pixels": (state.learned["pixels"].detach(), "pixels")}


class Hidden(_Storing):
    """Counts as nothing what are its scalars."""

    def stored(self, state: State) -> dict[str, Any]:
        return {"pixels": (state.learned["pixels"].detach(), "free")}


class Ballast(_Storing):
    """Stores what it never reads."""

    def stored(self, state: State) -> dict[str, Any]:
        return {"pixels": (state.learned["pixels"].detach(), "scalars"), "more": (torch.zeros(3), "free")}

    def from_tensors(self, tensors: Mapping[str, Tensor], *, classes: int, shape: tuple[int, int, int]) -> State:
        return super().from_tensors(tensors, classes=classes, shape=shape)


class Spendthrift(_Named):
    def instances(self, budget: Budget) -> int:
        return max(1, budget.whole_pictures)


class Thrifty(_Named):
    """Leaves room for a picture that the budget would pay."""

    def instances(self, budget: Budget) -> int:
        return max(1, super().instances(budget) - 1)


class Boundless(_Named):
    """Takes a budget of next to nothing for one of a picture a class."""

    def instances(self, budget: Budget) -> int:
        return 1 if budget.scalars < 10 else super().instances(budget)


class FreeRider(_Named):
    """Hides a picture's worth of numbers that it learns among what counts nothing."""

    def init(self, real: RealPictures, budget: Budget, rng: Stream) -> State:
        state = super().init(real, budget, rng)
        state.learned["more"] = torch.zeros_like(state.learned["pixels"][:1]).requires_grad_()
        return state

    def decode(self, state: State, index: Tensor | None = None, rng: Stream | None = None) -> tuple[Tensor, Tensor]:
        images, labels = super().decode(state, index, rng)
        return images + state.learned["more"], labels

    def parameters(self, state: State) -> list[ParameterGroup]:
        return [*super().parameters(state), ParameterGroup("more", (state.learned["more"],), 1.0, 0.0)]

    def to_tensors(self, state: State) -> dict[str, tuple[Tensor, StoredRole]]:
        return {**super().to_tensors(state), "more": (state.learned["more"].detach(), "free")}

    def from_tensors(self, tensors: Mapping[str, Tensor], *, classes: int, shape: tuple[int, int, int]) -> State:
        more = tensors["more"].requires_grad_()
        state = super().from_tensors({"pixels": tensors["pixels"]}, classes=classes, shape=shape)
        state.learned["more"] = more
        return state


class Overdrawn(_Named):
    def instances(self, budget: Budget) -> int:
        return 2 * super().instances(budget)


class NoisyWithStream(_Named):
    def decode(self, state: State, index: Tensor | None = None, rng: Stream | None = None) -> tuple[Tensor, Tensor]:
        images, labels = super().decode(state, index, rng)
        return images if rng is None else images + float(np.random.rand()), labels


class SeedsNumPy(_Named):
    def init(self, real: RealPictures, budget: Budget, rng: Stream) -> State:
        np.random.seed(0)
        return super().init(real, budget, rng)


class Undoing(_Named):
    def init(self, real: RealPictures, budget: Budget, rng: Stream) -> State:
        state = super().init(real, budget, rng)
        state.fixed["start"] = state.learned["pixels"].detach().clone()
        return state

    def project(self, state: State) -> None:
        state.learned["pixels"].copy_(state.fixed["start"])


class Shrinking(_Named):
    def project(self, state: State) -> None:
        state.learned["pixels"].mul_(0.5)


class ShownLess(_Named):
    def shown(self, budget: Budget) -> int:
        return 1


class HalfInRows(_Named):
    def alternatives(self, state: State) -> Tensor | None:
        return torch.arange(len(state))[::2, None]


class Mixing(ShownLess):
    def alternatives(self, state: State) -> Tensor | None:
        return torch.arange(len(state)).view(2, -1).T


class Miscounting(_Named):
    def ledger(self, state: State) -> Ledger:
        return dataclasses.replace(super().ledger(state), params=10)


@pytest.mark.parametrize(
    ("kind", "say"),
    [
        (Nameless, "calls itself 'pixels'"),
        (Changeable, "no frozen dataclass"),
        (Offerless, "no frozenset"),
        (GloballyDrawn, "global generator"),
        (Unsteady, "two equal starts"),
        (NotFinite, "not finite"),
        (Doubled, "float64"),
        (Disordered, "labels"),
        (Cropped, r"decodes \(20, 3, 16, 15\)"),
        (OtherwiseInPart, "a part otherwise"),
        (ShownLess, "without alternatives"),
        (HalfInRows, "not every picture once"),
        (Mixing, "mix labels"),
        (WithoutGradient, "no gradient"),
        (Unused, "does not reach idle"),
        (NotOptimised, "not what State.learned holds"),
        (TwiceNamed, "one name"),
        (WithGraph, "with a graph"),
        (Rounded, "decodes otherwise from a file"),
        (Roleless, "counts as 'pixels'"),
        (Hidden, "the file stores"),
        (Ballast, "without more"),
        (FreeRider, "counts as free with 768 numbers"),
        (Overdrawn, "starts above its budget"),
        (NoisyWithStream, "decodes otherwise twice"),
        (SeedsNumPy, "global generator of NumPy"),
        (Undoing, "undoes a step of pixels"),
        (Shrinking, "no projection"),
        (Spendthrift, "not the price of 1 instances"),
        (Thrifty, "stores 7,680 scalars of a budget of 15,360"),
        (Boundless, "room in a budget of one scalar"),
        (Miscounting, "claims .* stores"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_broken_parameterization_is_told_what_it_breaks(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch, kind: type[Pixels], say: str
) -> None:
    monkeypatch.setitem(PARAMETERIZATIONS._targets, "mine", kind)
    with pytest.raises(CheckFailedError, match=say) as caught:
        check_parameterization("mine", dataset=digits)
    assert caught.value.hint


class _Matching(DistributionMatching):
    name = "mine"


class Needless(_Matching):
    needs = {"class batches"}  # type: ignore[assignment]  # noqa: RUF012


class Formless(_Matching):
    label_forms = frozenset({"soft"})


class Undecided(_Matching):
    learns_labels = "perhaps"  # type: ignore[assignment]


class Contradictory(_Matching):
    learns_labels = "may"


class Accepting(_Matching):
    def from_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        pass


class Detached(_Matching):
    def iterate(self, iteration: int, synthetic: Synthetic) -> Iterator[Update]:
        for update in super().iterate(iteration, synthetic):
            nothing = sum(group.sum() * 0 for group in (synthetic.decode()[0],))
            yield Update(update.loss.detach() + nothing, update.report)


class Silent(_Matching):
    def iterate(self, iteration: int, synthetic: Synthetic) -> Iterator[Update]:
        for update in super().iterate(iteration, synthetic):
            yield Update(update.loss)


class Diverging(_Matching):
    def iterate(self, iteration: int, synthetic: Synthetic) -> Iterator[Update]:
        for update in super().iterate(iteration, synthetic):
            yield Update(update.loss * torch.inf, {"loss": torch.zeros(())})


class Unreported(_Matching):
    def iterate(self, iteration: int, synthetic: Synthetic) -> Iterator[Update]:
        for update in super().iterate(iteration, synthetic):
            yield Update(update.loss, {"loss": torch.tensor(torch.nan)})


class OneClassOnly(_Matching):
    def iterate(self, iteration: int, synthetic: Synthetic) -> Iterator[Update]:
        for update in super().iterate(iteration, synthetic):
            images, labels = synthetic.decode()
            yield Update(images[labels == 0].square().sum(), update.report)


class Liar(_Matching):
    """Matches hard labels only, and says that it can match others and learn them."""

    label_forms = frozenset({"hard", "centred"})
    learns_labels = "may"


class Lagging(_Matching):
    """Keeps what acts from the third iteration on, and no checkpoint of it."""

    seen = 0

    def iterate(self, iteration: int, synthetic: Synthetic) -> Iterator[Update]:
        self.seen += 1
        for update in super().iterate(iteration, synthetic):
            yield Update(update.loss * (2 if self.seen > 2 else 1), update.report)


class Forgetful(_Matching):
    """Keeps a number between iterations, and no checkpoint of it."""

    weight = 1.0

    def iterate(self, iteration: int, synthetic: Synthetic) -> Iterator[Update]:
        for update in super().iterate(iteration, synthetic):
            yield Update(update.loss * self.weight, update.report)
        self.weight += 1


class GlobalNoise(_Matching):
    def iterate(self, iteration: int, synthetic: Synthetic) -> Iterator[Update]:
        torch.rand(())
        yield from super().iterate(iteration, synthetic)


@pytest.mark.parametrize(
    ("kind", "say"),
    [
        (Needless, "needs is no frozenset"),
        (Formless, "label_forms"),
        (Undecided, "'perhaps'"),
        (Contradictory, "hard ones only"),
        (Accepting, "not its own"),
        (Detached, "moves nothing"),
        (Silent, "reports nothing"),
        (Diverging, "not finite"),
        (Unreported, "reports"),
        (OneClassOnly, r"leave classes \[1, 2, 3, 4, 5, 6, 7, 8, 9\]"),
        (Liar, "declares centred labels"),
        (Lagging, "after a checkpoint"),
        (Forgetful, "after a checkpoint"),
        (GlobalNoise, "global generator"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_broken_objective_is_told_what_it_breaks(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch, kind: type[DistributionMatching], say: str
) -> None:
    monkeypatch.setitem(OBJECTIVES._targets, "mine", kind)
    with pytest.raises(CheckFailedError, match=say) as caught:
        check_objective("mine", dataset=digits, overrides=("objective.batch_real=8",))
    assert caught.value.hint


def test_the_parts_that_were_broken_pass_when_whole(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARAMETERIZATIONS._targets, "mine", _Named)
    monkeypatch.setitem(OBJECTIVES._targets, "mine", _Matching)
    check_parameterization("mine", dataset=digits)
    check_objective("mine", "mine", dataset=digits, overrides=("objective.batch_real=8",))
