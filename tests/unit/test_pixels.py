"""Plain pixels: what is stored is what is seen."""

from __future__ import annotations

import math

import pytest
import torch
from spine import cifar_like, real, set_of

from fredbench.foundation.errors import ArtefactError, BudgetError, DataError
from fredbench.foundation.rng import Stream
from fredbench.objectives.coresets import random_subset
from fredbench.parameterizations.budget import Budget
from fredbench.parameterizations.pixels import Pixels, PixelsConfig


def test_real_initialisation_draws_whole_pictures_of_each_class() -> None:
    pictures, pixels = real(cifar_like()), Pixels(PixelsConfig())
    state = pixels.init(pictures, Budget.for_ipc(3, 10, pictures.shape), Stream(0))
    everything = pictures.images(torch.arange(len(pictures)))
    chosen = []
    for picture, label in zip(state.learned["pixels"].detach(), state.labels, strict=True):
        (found,) = (everything == picture).flatten(1).all(dim=1).nonzero()[:, 0].tolist()
        assert int(pictures.labels[found]) == int(label)
        chosen.append(found)
    assert len(set(chosen)) == 30 and state.labels.tolist() == [c for c in range(10) for _ in range(3)]


def test_noise_initialisation_is_standard_normal() -> None:
    pictures, pixels = real(cifar_like()), Pixels(PixelsConfig(init="noise"))
    values = pixels.init(pictures, Budget.for_ipc(10, 10, pictures.shape), Stream(0)).learned["pixels"].detach()
    count = values.numel()
    assert abs(float(values.mean())) < 4 / math.sqrt(count) and abs(float(values.std()) - 1) < 4 / math.sqrt(count)


def test_decoding_is_the_identity() -> None:
    pictures, pixels = real(set_of(2, (8, 8))), Pixels(PixelsConfig())
    state = pixels.init(pictures, Budget.for_ipc(2, 2, pictures.shape), Stream(0))
    whole, labels = pixels.decode(state)
    assert whole is state.learned["pixels"] and labels.tolist() == [0, 0, 1, 1]
    part, part_labels = pixels.decode(state, torch.tensor([3, 0]))
    assert torch.equal(part, whole[[3, 0]]) and part_labels.tolist() == [1, 0]


def test_a_budget_that_holds_no_whole_picture_says_what_would_do() -> None:
    with pytest.raises(BudgetError) as caught:
        Pixels(PixelsConfig()).instances(Budget(30_719, 10, (3, 32, 32)))
    assert "--params 30720" in caught.value.hint
    assert Pixels(PixelsConfig()).instances(Budget(30_720 * 2 - 1, 10, (3, 32, 32))) == 1


def test_more_pictures_than_there_are_is_refused() -> None:
    pictures = real(set_of(2, (8, 8), per_class=5))
    with pytest.raises(DataError, match="class 0 has 5 training pictures, 6 were asked for"):
        Pixels(PixelsConfig()).init(pictures, Budget.for_ipc(6, 2, pictures.shape), Stream(0))


@pytest.mark.parametrize("shape", [(9, 3, 8, 8), (0, 3, 8, 8), (10, 3, 8, 9), (10, 192)])
def test_tensors_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ArtefactError, match="no pictures"):
        Pixels(PixelsConfig()).from_tensors({"pixels": torch.zeros(shape)}, classes=2, shape=(3, 8, 8))


def test_random_subsets_differ_by_draw_and_seed_and_repeat() -> None:
    pictures = real(cifar_like())
    budget = Budget.for_ipc(2, 10, pictures.shape)
    draws = [
        random_subset(pictures, budget, Stream(seed), draw=draw).learned["pixels"].detach()
        for seed, draw in ((0, 0), (0, 0), (0, 1), (1, 0))
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2]) and not torch.equal(draws[0], draws[3])


def test_every_picture_can_be_drawn_and_none_is_favoured() -> None:
    """1,000 draws of 5 of 20: each picture about 250 times, four standard errors around it."""
    pictures = real(set_of(2, (4, 4), per_class=20))
    counts = torch.zeros(40)
    for number in range(1000):
        counts[pictures.draw(1, 5, Stream(0).child(number))] += 1
    drawn = counts[pictures.by_class[1]]
    assert float(counts.sum()) == 5000 == float(drawn.sum())
    assert float((drawn - 250).abs().max()) < 4 * math.sqrt(1000 * 0.25 * 0.75)
