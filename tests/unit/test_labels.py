"""Labels as a property of the state: soft ones for every parameterization, stored, counted, moved and refused."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from fredbench.foundation.errors import ArtefactError, CompatibilityError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.parameterizations import PARAMETERIZATIONS, LabelConfig, Parameterization, labelled
from fredbench.parameterizations.budget import Budget
from fredbench.parameterizations.labels import project_to_simplex, soft_labels
from fredbench.training.batches import RealPictures
from fredbench.training.optimisation import Lamb, Optimisers, ParameterGroup, cosine

CLASSES, SHAPE = 3, (3, 8, 8)
BUDGET = Budget.for_ipc(2, CLASSES, SHAPE)
# Settings under which a picture of 8 x 8 can be stored, in moments; the other parameterizations have defaults for all.
SETTINGS = {"fred": {"k": 16}, "ddif": {"fit_steps": 3}, "gsdd": {"gaussians": 8, "fit_steps": 3}}


@pytest.fixture(scope="module")
def real() -> RealPictures:
    generator = Stream(0).numpy()
    return RealPictures(
        generator.integers(0, 256, (60, 8, 8, 3)).astype("uint8"),
        (generator.permutation(60) % CLASSES).astype("int64"),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        classes=CLASSES,
        device=torch.device("cpu"),
    )


def plain(name: str) -> Parameterization:
    kind = PARAMETERIZATIONS.get(name)
    return kind(kind.Config(**SETTINGS.get(name, {})))


@pytest.mark.parametrize("name", list(PARAMETERIZATIONS))
@pytest.mark.parametrize("form", ["probability", "centred"])
def test_learned_labels_of_every_parameterization(name: str, form: str, real: RealPictures) -> None:
    inner, config = plain(name), LabelConfig(form=form, learned=True, lr=0.5, optimiser="sgd")
    outer = labelled(inner, config)
    state, hard = outer.init(real, BUDGET, Stream(0)), inner.init(real, BUDGET, Stream(0))
    pictures, labels = outer.decode(state)
    assert torch.equal(pictures, inner.decode(hard)[0])
    wanted = torch.nn.functional.one_hot(hard.labels, CLASSES) - (1 / 3 if form == "centred" else 0)
    labels = labels.detach().clone()
    assert torch.allclose(labels, wanted.float())
    assert dataclasses.replace(outer.ledger(state), label_scalars=0) == inner.ledger(hard)
    assert outer.ledger(state).label_scalars == len(state) * CLASSES == labels.numel()
    optimisers = Optimisers(outer.parameters(state))
    index = torch.tensor([1, 0])
    (outer.decode(state, index)[1] * torch.tensor([4.0, 2.0, 1.0])).sum().backward()
    optimisers.step()
    with torch.no_grad():
        outer.project(state)
    moved = outer.decode(state)[1].detach()
    assert torch.equal(moved[2:], labels[2:]) and not torch.allclose(moved[:2], labels[:2])
    if form == "probability":
        assert float(moved.min()) >= 0 and torch.allclose(moved.sum(1), torch.ones(len(moved)))
    stored = outer.to_tensors(state)
    assert stored["labels"][1] == "labels"
    tensors = {key: tensor for key, (tensor, _) in stored.items()}
    again = outer.from_tensors(tensors, classes=CLASSES, shape=SHAPE)
    assert torch.equal(outer.decode(again)[1], moved) and len(again) == len(state)
    with pytest.raises(ArtefactError, match="labels"):
        outer.from_tensors({**tensors, "labels": tensors["labels"][1:]}, classes=CLASSES, shape=SHAPE)


@pytest.mark.parametrize("name", list(PARAMETERIZATIONS))
def test_fixed_soft_labels_are_neither_learned_nor_stored(name: str, real: RealPictures) -> None:
    inner, outer = plain(name), labelled(plain(name), LabelConfig(form="centred", divisor=2.0))
    state = outer.init(real, BUDGET, Stream(0))
    assert outer.ledger(state) == inner.ledger(inner.init(real, BUDGET, Stream(0)))
    assert [group.name for group in outer.parameters(state)] == [group.name for group in inner.parameters(state)]
    tensors = {key: tensor for key, (tensor, _) in outer.to_tensors(state).items()}
    assert "labels" not in tensors
    again = outer.from_tensors(tensors, classes=CLASSES, shape=SHAPE)
    assert torch.equal(again.labels, state.labels)
    assert sorted(set(state.labels.flatten().tolist())) == pytest.approx([-1 / 6, 1 / 3])


def test_hard_labels_change_nothing() -> None:
    inner = plain("pixels")
    assert labelled(inner, LabelConfig()) is inner
    with pytest.raises(UsageError, match="learned"):
        LabelConfig(learned=True)


def test_projection_gives_the_nearest_probabilities() -> None:
    rows = torch.randn(50, 4, generator=Stream(0).torch(), dtype=torch.float64)
    found = project_to_simplex(rows)
    assert float(found.min()) >= 0 and torch.allclose(found.sum(1), torch.ones(50, dtype=torch.float64))
    assert torch.allclose(project_to_simplex(found), found)
    others = torch.rand(200, 4, generator=Stream(1).torch(), dtype=torch.float64)
    others = others / others.sum(1, keepdim=True)
    nearest = torch.cdist(rows, others).min(1).values
    assert bool(((rows - found).norm(dim=1) <= nearest + 1e-12).all())


def test_divided_labels_of_many_classes() -> None:
    rows = soft_labels(torch.tensor([3]), 40, LabelConfig(form="centred", divisor=2.0))
    assert float(rows[0, 3]) == pytest.approx((1 - 1 / 40) / 2) and float(rows.sum()) == pytest.approx(0, abs=1e-6)


def test_lamb_by_hand() -> None:
    first, zero = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in ([3.0, 4.0], [0.0]))
    optimiser = Lamb([first, zero], lr=0.1)
    first.grad, zero.grad = torch.tensor([2.0, -1.0]).double(), torch.tensor([5.0]).double()
    optimiser.step()
    # The first bias-corrected step is the sign, of norm sqrt 2; a zero tensor moves by the rate itself.
    wanted = torch.tensor([3.0, 4.0]) - 0.1 * 5 / 2**0.5 * torch.tensor([1.0, -1.0])
    assert torch.allclose(first.detach(), wanted.double(), rtol=1e-5)
    assert float(zero.detach()) == pytest.approx(-0.1, rel=1e-5)
    first.grad = torch.tensor([0.0, 1.0]).double()
    before = first.detach().clone()
    optimiser.step()
    mean = torch.tensor([0.9 * 0.2, 0.9 * -0.1 + 0.1]) / (1 - 0.81)
    square = torch.tensor([0.999 * 0.004, 0.999 * 0.001 + 0.001]) / (1 - 0.999**2)
    update = (mean / (square.sqrt() + 1e-6)).double()
    assert torch.allclose(first.detach(), before - 0.1 * before.norm() / update.norm() * update, rtol=1e-5)


def test_rates_follow_half_a_cosine() -> None:
    assert [cosine(p, 0.1) for p in (0.0, 0.5, 1.0)] == pytest.approx([1, 0.55, 0.1])
    assert cosine(0.37, 1.0) == 1.0
    x = torch.ones(1, requires_grad=True)
    optimisers = Optimisers([ParameterGroup("x", (x,), 1.0, momentum=0.0, final=0.1)])
    x.sum().backward()
    optimisers.step(progress=0.5)
    assert float(x.detach()) == pytest.approx(1 - 0.55)


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "lamb"])
def test_a_restored_optimiser_goes_on_as_before(optimiser: str) -> None:
    def run(broken: bool) -> Tensor:
        x = torch.linspace(1, 2, 4, requires_grad=True)
        group = ParameterGroup("x", (x,), 0.01, optimiser=optimiser, final=0.5)
        optimisers = Optimisers([group])
        for step in range(6):
            if broken and step == 3:
                saved = {key: value.clone() for key, value in optimisers.to_tensors().items()}
                optimisers = Optimisers([group])
                optimisers.from_tensors(saved)
            optimisers.zero_grad()
            (x.sin() * (step + 1)).sum().backward()
            optimisers.step(progress=step / 6)
        return x.detach()

    assert torch.equal(run(False), run(True))


def test_what_cannot_be_matched_is_refused_before_the_first_step() -> None:
    from fredbench.datasets import load_dataset
    from fredbench.recipes.resolution import Request, resolve

    digits = load_dataset("digits", offline=True)

    def spec(**asked: object) -> object:
        return resolve(Request(ipc=1, preset="quick", **asked), digits, device="cpu", threads=1)

    for overrides, wanted in (
        (("labels.form=centred",), "cannot match centred labels"),
        (("labels.form=probability", "labels.learned=true"), "cannot match probability labels"),
        (("labels.learned=true",), "hard labels cannot be learned"),
        (("labels.colour=red",), "unknown setting 'colour'"),
    ):
        with pytest.raises(UsageError if "match" not in wanted else CompatibilityError, match=wanted):
            spec(method="dm", overrides=overrides)
    with pytest.raises(CompatibilityError, match="learns labels only"):
        spec(method="label-solve", overrides=("labels.learned=false",))
    with pytest.raises(CompatibilityError, match="no probabilities"):
        spec(method="kip", overrides=("student.loss=cross-entropy",))
    assert spec(method="dm").label_settings == {} and spec(method="dm").student.loss == "cross-entropy"
    hard = spec(method="kip", overrides=("labels.form=hard",))
    assert hard.label_settings == {} and hard.student.loss == "cross-entropy"
    assert spec(method="frepo").control().label_settings == {}
