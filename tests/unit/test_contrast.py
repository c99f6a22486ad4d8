"""HaBa's contrastive terms: their definitions, who moves under them and who does not, and the extractor's state."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from spine import distillation_of, set_of
from torch import Tensor

from fredbench.foundation.errors import UsageError
from fredbench.foundation.rng import Stream
from fredbench.parameterizations.base import Auxiliary, State
from fredbench.parameterizations.budget import Budget
from fredbench.parameterizations.contrast import (
    Contrast,
    ContrastConfig,
    club_cosine,
    extractor_name,
    likelihood_cosine,
    supervised_contrastive,
)
from fredbench.parameterizations.hallucinator import Hallucination, HallucinationConfig
from fredbench.training.batches import RealPictures

CLASSES, SHAPE = 3, (3, 8, 8)


def rows(count: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 5)))


def test_cosines_run_from_one_to_nothing() -> None:
    some = rows(4)
    assert float(club_cosine(some, 3 * some)) == pytest.approx(1) and float(club_cosine(some, -some)) == pytest.approx(
        0
    )
    assert float(club_cosine(some, rows(4, 1)) + likelihood_cosine(some, rows(4, 1))) == pytest.approx(1)


@pytest.mark.parametrize("labels", [[0, 0, 1, 2], [0, 0, 0, 0], [0, 1, 2, 3]])
def test_the_supervised_loss_is_its_definition(labels: list[int]) -> None:
    first, second, temperature = rows(4), rows(4, 1), 0.3
    z = torch.cat([first, second])
    z = (z / z.norm(dim=1, keepdim=True)).tolist()
    y, total = labels * 2, 0.0
    for i in range(8):
        dots = [sum(a * b for a, b in zip(z[i], other, strict=True)) / temperature for other in z]
        denominator = math.log(sum(math.exp(dots[a]) for a in range(8) if a != i))
        positives = [p for p in range(8) if p != i and y[p] == y[i]]
        total -= sum(dots[p] - denominator for p in positives) / len(positives)
    found = supervised_contrastive(first, second, torch.tensor(labels), temperature)
    assert float(found) == pytest.approx(total / 8, rel=1e-12)


def test_gradients_by_finite_differences() -> None:
    first, second = rows(3).requires_grad_(), rows(3, 1).requires_grad_()
    labels = torch.tensor([0, 1, 1])
    assert torch.autograd.gradcheck(lambda a, b: supervised_contrastive(a, b, labels, 0.07), (first, second))
    assert torch.autograd.gradcheck(club_cosine, (first, second))
    assert torch.autograd.gradcheck(likelihood_cosine, (first, second))


@pytest.mark.parametrize(
    ("size", "depth", "numbers"), [((32, 32), 3, 2048), ((64, 64), 4, 2048), ((128, 128), 5, 2048), ((8, 8), 1, 2048)]
)
def test_the_extractor_ends_in_a_map_of_four_by_four(size: tuple[int, int], depth: int, numbers: int) -> None:
    from fredbench import networks

    name = extractor_name(size, 128)
    assert name == f"convnet-d{depth}-w128-in"
    network = networks.build(name, classes=2, size=size, rng=Stream(0))
    assert network.embed(torch.zeros(1, 3, *size)).shape == (1, numbers)


@pytest.mark.parametrize("size", [(28, 20), (4, 9), (3, 3)])
def test_an_extractor_can_be_built_for_pictures_of_any_shape(size: tuple[int, int]) -> None:
    from fredbench import networks

    network = networks.build(extractor_name(size, 4), classes=2, size=size, rng=Stream(0))
    assert network(torch.zeros(1, 3, *size)).shape == (1, 2)


def begun(dtype: torch.dtype = torch.float32, **settings: Any) -> tuple[State, Auxiliary]:
    generator = np.random.default_rng(0)
    real = RealPictures(
        generator.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8),
        np.arange(60, dtype=np.int64) % CLASSES,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        classes=CLASSES,
        device=torch.device("cpu"),
    )
    parts = Hallucination(HallucinationConfig(**{"extractor_width": 8, **settings}))
    state = parts.init(real, Budget.for_ipc(4, CLASSES, SHAPE), Stream(1))
    learned = {name: tensor.detach().to(dtype).requires_grad_() for name, tensor in state.learned.items()}
    state = dataclasses.replace(state, learned=learned)
    auxiliary = parts.auxiliary(state, Stream(2))
    assert auxiliary is not None
    return state, auxiliary


def test_the_set_is_moved_apart_and_the_extractor_is_a_constant_to_it() -> None:
    state, auxiliary = begun(torch.float64)
    before = {name: tensor.clone() for name, tensor in auxiliary.to_tensors().items()}
    loss = auxiliary.loss(Stream(3))
    assert 0 < float(loss.detach()) < 0.1
    loss.backward()
    learned = list(state.learned.values())
    assert all(tensor.grad is not None and bool(tensor.grad.isfinite().all()) for tensor in learned)
    # Only the two hallucinators of the pair are in it.
    moved = state.learned["scale"].grad.flatten(1).abs().sum(1) > 0
    assert int(moved.sum()) == 2
    for tensor in learned:
        direction, step, ends = torch.randn_like(tensor), 1e-6, []
        for sign in (1, -1):
            with torch.no_grad():
                tensor.add_(direction, alpha=sign * step)
                ends.append(float(auxiliary.loss(Stream(3))))
                tensor.sub_(direction, alpha=sign * step)
        slope = float((tensor.grad * direction).sum())
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(slope, rel=1e-4, abs=1e-9)
    assert all(torch.equal(before[name], tensor) for name, tensor in auxiliary.to_tensors().items())
    assert all(parameter.grad is None for parameter in auxiliary._network.parameters())


def test_the_extractor_learns_and_the_set_is_a_constant_to_it() -> None:
    state, auxiliary = begun(extractor_lr=0.02)
    before = {name: tensor.detach().clone() for name, tensor in state.learned.items()}
    reports = [auxiliary.step(Stream(number)) for number in range(120)]
    own = [float(report["extractor"]) for report in reports]
    assert np.mean(own[-10:]) < 0.7 * np.mean(own[:10]), "it learns the classes"
    likeness = [float(report["similarity"]) for report in reports]
    assert np.mean(likeness[-10:]) > np.mean(likeness[:10]), "renderings of a base become alike to it"
    assert all(torch.equal(before[name], tensor) for name, tensor in state.learned.items())
    assert all(tensor.grad is None for tensor in state.learned.values())


def test_a_batch_of_bases_is_drawn_with_their_labels() -> None:
    _, auxiliary = begun(contrast_batch=5)
    assert isinstance(auxiliary, Contrast)
    asked: list[Tensor] = []
    render = auxiliary._render
    auxiliary._render = lambda index: asked.append(index) or render(index)
    for number in range(20):
        _, labels = auxiliary._pair(Stream(number))
        index = asked.pop()
        places = [(auxiliary._rows == position).nonzero()[0].tolist() for position in index.tolist()]
        bases, kinds = zip(*places, strict=True)
        assert bases[:5] == bases[5:] and len(set(bases[:5])) == 5
        assert len(set(kinds[:5])) == len(set(kinds[5:])) == 1 and kinds[0] != kinds[5]
        assert labels.tolist() == [base // 4 for base in bases[:5]]


def test_the_extractors_step_has_a_batch_and_a_pair_of_its_own_where_it_is_to() -> None:
    def asked(fresh: bool) -> list[Tensor]:
        _, auxiliary = begun(contrast_batch=5, contrast_fresh=fresh)
        assert isinstance(auxiliary, Contrast)
        noted: list[Tensor] = []
        render = auxiliary._render
        auxiliary._render = lambda index: noted.append(index) or render(index)
        auxiliary.loss(Stream(3)), auxiliary.step(Stream(3))
        return noted

    same, own = asked(False), asked(True)
    assert torch.equal(same[0], same[1]) and torch.equal(same[0], own[0])
    assert not torch.equal(own[0], own[1])


def test_the_extractor_sees_renderings_as_they_were_augmented() -> None:
    """Under a cutout a picture has a blank square; each picture of the pair has its own, equal for equal streams."""
    _, plain = begun()
    _, cut = begun(contrast_augmentation="cutout")
    assert isinstance(plain, Contrast) and isinstance(cut, Contrast)
    whole, augmented = plain._pair(Stream(3))[0], cut._pair(Stream(3))[0]
    blank = augmented == 0
    assert torch.equal(augmented[~blank], whole[~blank]) and bool((blank.flatten(1).sum(1) > 0).all())
    count = len(blank) // 2
    assert not torch.equal(blank[:count], blank[count:])
    assert torch.equal(cut._pair(Stream(3))[0], augmented)
    assert not torch.equal(plain.loss(Stream(3)), cut.loss(Stream(3)))


def test_the_slope_through_the_augmentation_is_that_of_finite_differences() -> None:
    state, auxiliary = begun(torch.float64, contrast_augmentation="scale")
    bases = state.learned["bases"]
    (slopes,) = torch.autograd.grad(auxiliary.loss(Stream(3)), bases)
    direction, ends = torch.randn(bases.shape, dtype=bases.dtype, generator=torch.Generator().manual_seed(0)), []
    for sign in (1, -1):
        with torch.no_grad():
            bases.add_(direction, alpha=sign * 1e-6)
            ends.append(float(auxiliary.loss(Stream(3))))
            bases.sub_(direction, alpha=sign * 1e-6)
    assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(float((slopes * direction).sum()), rel=1e-4)


def test_the_extractor_goes_on_where_it_was() -> None:
    _, straight = begun()
    _, broken = begun()
    for number in range(4):
        straight.step(Stream(number)), broken.step(Stream(number))
    saved = {name: tensor.clone() for name, tensor in broken.to_tensors().items()}
    _, other = begun()
    other.from_tensors(saved)
    for number in range(4, 8):
        straight.step(Stream(number)), other.step(Stream(number))
    ends = straight.to_tensors(), other.to_tensors()
    assert ends[0].keys() == ends[1].keys() and any("momentum" in name for name in ends[0])
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())
    with pytest.raises(ValueError, match="unheard"):
        other.from_tensors({**saved, "unheard": torch.zeros(1)})
    with pytest.raises(RuntimeError):
        other.from_tensors({name: t for name, t in saved.items() if "classifier" not in name})


@pytest.mark.parametrize(
    "settings",
    [
        {"contrast": -1.0},
        {"temperature": 0.0},
        {"contrast_batch": -1},
        {"extractor_width": 0},
        {"extractor_lr": 0.0},
        {"contrast_augmentation": "blur"},
    ],
)
def test_terms_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ContrastConfig(**settings)


def test_the_loop_adds_the_term_to_the_objectives_own() -> None:
    """The first update's gradients are the objective's and the term's together; without the term, the former alone."""
    dataset = set_of(2, (8, 8))

    def gradients(contrast: float) -> tuple[dict[str, Tensor], Tensor | None]:
        settings = (f"parameterization.contrast={contrast}", "parameterization.extractor_width=8")
        run = distillation_of(dataset, parameterization="haba", overrides=settings, network="convnet-d1-w4-in")
        assert (run.auxiliary is None) == (contrast == 0)
        own = None
        if run.auxiliary is not None:
            term = run.auxiliary.loss(Stream(0).child("auxiliary", 0, 0))
            (own,) = torch.autograd.grad(term, run.state.learned["bases"])
        report = run.step()
        assert ("similarity" in report) == (contrast > 0) and "loss" in report
        return {name: tensor.grad for name, tensor in run.state.learned.items()}, own

    (plain, _), (joint, own) = gradients(0.0), gradients(50.0)
    assert own is not None and float(own.abs().sum()) > 0
    assert torch.allclose(joint["bases"], plain["bases"] + own, atol=1e-6)


def test_label_solve_leaves_the_pictures_as_they_are() -> None:
    run = distillation_of(set_of(2, (8, 8)), objective="label-solve", parameterization="haba")
    assert run.auxiliary is None
    before = {name: tensor.detach().clone() for name, tensor in run.state.learned.items()}
    run.step()
    moved = {name for name, tensor in run.state.learned.items() if not torch.equal(tensor, before[name])}
    assert moved == {"labels"}
