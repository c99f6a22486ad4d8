"""Choices of real pictures: what herding and k-centre promise, and that both end in real pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fredbench import networks
from fredbench.foundation.errors import DataError, UnknownNameError
from fredbench.foundation.rng import Stream
from fredbench.networks import Network
from fredbench.objectives.coresets import CHOICES, FeatureConfig, choose, herding, k_centre
from fredbench.parameterizations.budget import Budget
from fredbench.training.batches import RealPictures

CLASSES, SIDE = 3, 8


def features(count: int = 40, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed))


def real_pictures(count: int = 18) -> RealPictures:
    images = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    labels = np.arange(count, dtype=np.int64) % CLASSES
    return RealPictures(images, labels, mean=(0.5,) * 3, std=(0.2,) * 3, classes=CLASSES, device=torch.device("cpu"))


def network_of(stream: Stream) -> Network:
    return networks.build("convnet-d1-w4-in", classes=CLASSES, size=SIDE, rng=stream)


@pytest.mark.parametrize("choice", [herding, k_centre])
def test_a_choice_repeats_nothing_and_grows_by_its_end(choice) -> None:
    rows = features()
    chosen = choice(rows, 40).tolist()
    assert sorted(chosen) == list(range(40))
    assert choice(rows, 7).tolist() == chosen[:7]
    # Equal rows are still different pictures.
    assert sorted(choice(torch.ones(5, 2), 5).tolist()) == list(range(5))


@pytest.mark.parametrize("choice", [herding, k_centre])
def test_the_first_is_the_nearest_to_the_mean(choice) -> None:
    rows = features()
    assert int(choice(rows, 1)) == int((rows - rows.mean(0)).norm(dim=1).argmin())


def test_herding_follows_the_mean_better_than_chance() -> None:
    rows = features(200)
    gap = float((rows[herding(rows, 20)].mean(0) - rows.mean(0)).norm())
    generator = torch.Generator().manual_seed(0)
    draws = [torch.randperm(200, generator=generator)[:20] for _ in range(50)]
    random = [float((rows[draw].mean(0) - rows.mean(0)).norm()) for draw in draws]
    assert gap < min(random)


def test_k_centre_takes_the_farthest_and_covers_within_twice_the_best() -> None:
    rows = features(9).double()
    chosen = k_centre(rows, 3)
    apart = torch.cdist(rows, rows)
    for k in (1, 2):
        assert int(apart[:, chosen[:k]].min(1).values.argmax()) == int(chosen[k])
    subsets = torch.combinations(torch.arange(9), 3)
    best = min(float(apart[:, subset].min(1).values.max()) for subset in subsets)
    assert float(apart[:, chosen].min(1).values.max()) <= 2 * best + 1e-12


@pytest.mark.parametrize("method", ["herding", "k-centre"])
def test_the_chosen_are_pictures_of_their_class(method: str) -> None:
    real, budget = real_pictures(), Budget.for_ipc(2, CLASSES, (3, SIDE, SIDE))
    config = FeatureConfig(epochs=2, augmentation="none")
    state, again = (choose(method, config, real, budget, network_of, Stream(0)) for _ in range(2))
    pixels = state.learned["pixels"].detach()
    assert torch.equal(pixels, again.learned["pixels"]) and state.labels.tolist() == [0, 0, 1, 1, 2, 2]
    everything = real.images(torch.arange(len(real)))
    for picture, label in zip(pixels, state.labels, strict=True):
        (place,) = (everything == picture).flatten(1).all(1).nonzero().flatten().tolist()
        assert int(real.labels[place]) == int(label)


def test_features_hang_on_the_training_of_the_network() -> None:
    real, budget = real_pictures(90), Budget.for_ipc(5, CLASSES, (3, SIDE, SIDE))
    found = [
        choose("herding", FeatureConfig(epochs=n, lr=0.1), real, budget, network_of, Stream(0)).learned["pixels"]
        for n in (0, 10)
    ]
    assert not torch.equal(*found)


def test_more_than_a_class_has_is_refused() -> None:
    with pytest.raises(DataError, match="6 training pictures, 7"):
        choose(
            "herding",
            FeatureConfig(),
            real_pictures(),
            Budget.for_ipc(7, CLASSES, (3, SIDE, SIDE)),
            network_of,
            Stream(0),
        )


def test_an_unknown_choice_names_those_that_are() -> None:
    budget = Budget.for_ipc(1, CLASSES, (3, SIDE, SIDE))
    with pytest.raises(UnknownNameError, match="herding"):
        choose("hearding", FeatureConfig(), real_pictures(), budget, network_of, Stream(0))
    assert set(CHOICES) == {"herding", "k-centre"}
