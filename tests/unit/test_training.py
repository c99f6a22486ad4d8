"""The one training loop: batches, augmentation, schedules and the independence of its draws."""

from __future__ import annotations

import copy
import dataclasses
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spine import set_of
from torch import Tensor, nn

from fredbench import networks
from fredbench.foundation.errors import FredbenchError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.networks import Signature, fused
from fredbench.networks.convnet import ConvNet, ConvNetConfig
from fredbench.networks.names import Arithmetic
from fredbench.training import loop
from fredbench.training.batches import TensorPictures, standardised
from fredbench.training.loop import PREDICTED_AT_ONCE, TrainingRecipe, cross_entropy, predict, train
from fredbench.training.preprocessing import normalise

PLAIN = TrainingRecipe(epochs=2, batch_size=5, augmentation="none")


class Noted(TensorPictures):
    """Pictures that note which were asked for."""

    def __init__(self, count: int = 12, soft: bool = False) -> None:
        generator = torch.Generator().manual_seed(0)
        labels = torch.arange(count) % 3
        hard = torch.nn.functional.one_hot(labels, 3).float() * 0.8 + 0.2 / 3
        super().__init__(torch.randn(count, 3, 8, 8, generator=generator), hard if soft else labels)
        self.asked: list[list[int]] = []
        self.streams: list[Stream] = []

    def batch(self, index: Tensor, rng: Stream) -> tuple[Tensor, Tensor]:
        self.asked.append(index.tolist())
        self.streams.append(rng)
        return super().batch(index, rng)


def network(seed: int = 0) -> nn.Module:
    return networks.build("convnet-d1-w4-in", classes=3, size=8, rng=Stream(seed))


def weights(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def trained(recipe: TrainingRecipe = PLAIN, seed: int = 0, pictures: Noted | None = None) -> Tensor:
    net = network()
    train(net, pictures or Noted(), recipe, Stream(seed))
    return weights(net)


def test_an_epoch_sees_every_picture_once_in_a_new_order() -> None:
    pictures = Noted()
    trained(PLAIN, pictures=pictures)
    per_epoch = [pictures.asked[start : start + 3] for start in range(0, 9, 3)]
    assert [[len(batch) for batch in epoch] for epoch in per_epoch] == [[5, 5, 2]] * 3
    orders = [list(itertools.chain(*epoch)) for epoch in per_epoch]
    assert all(sorted(order) == list(range(12)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert len(set(pictures.streams)) == 9


def test_the_same_stream_trains_the_same_network_whatever_the_global_state() -> None:
    torch.manual_seed(1)
    first = trained(dataclasses.replace(PLAIN, augmentation="color_crop_cutout_flip_scale_rotate"))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = trained(dataclasses.replace(PLAIN, augmentation="color_crop_cutout_flip_scale_rotate"))
    assert torch.equal(first, second) and torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first, trained(PLAIN)) and not torch.equal(trained(PLAIN), trained(PLAIN, seed=1))


def test_a_later_epoch_does_not_depend_on_how_much_earlier_ones_drew() -> None:
    """Epoch 1 of a run without augmentation visits the pictures in the order of one with it."""
    plain, drawn = Noted(), Noted()
    trained(PLAIN, pictures=plain)
    trained(dataclasses.replace(PLAIN, augmentation="crop_flip"), pictures=drawn)
    assert plain.asked == drawn.asked


def test_a_step_is_sgd_with_momentum_and_weight_decay() -> None:
    recipe = TrainingRecipe(epochs=3, batch_size=99, schedule="constant", augmentation="none", lr=0.05)
    net, reference, pictures = network(), network(), Noted()
    train(net, pictures, recipe, Stream(0))
    velocity = {name: torch.zeros_like(p) for name, p in reference.named_parameters()}
    for _ in range(3):
        loss = torch.nn.functional.cross_entropy(reference(pictures.images), pictures.labels)
        gradients = torch.autograd.grad(loss, list(reference.parameters()))
        with torch.no_grad():
            for (name, p), g in zip(reference.named_parameters(), gradients, strict=True):
                velocity[name] = 0.9 * velocity[name] + g + 5e-4 * p
                p -= 0.05 * velocity[name]
    assert torch.allclose(weights(net), weights(reference), atol=1e-6)
    assert not torch.allclose(weights(net), weights(network()), atol=1e-3)


def test_soft_labels_train_and_hard_ones_are_their_corner() -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 2, 1, 1, 0])
    one_hot = torch.nn.functional.one_hot(labels, 3).float()
    assert torch.allclose(cross_entropy(logits, labels), cross_entropy(logits, one_hot), atol=1e-6)
    assert not torch.equal(trained(PLAIN, pictures=Noted(soft=True)), trained(PLAIN))


def test_training_leaves_the_pictures_alone() -> None:
    pictures = Noted()
    before = pictures.images.clone()
    trained(dataclasses.replace(PLAIN, augmentation="color_scale"), pictures=pictures)
    assert torch.equal(pictures.images, before)


def test_zero_epochs_constant_train_nothing_and_no_drop_trains_one() -> None:
    assert torch.equal(trained(dataclasses.replace(PLAIN, epochs=0, schedule="constant")), weights(network()))
    # The literature's loop runs E + 1 epochs: one for E = 0.
    assert not torch.equal(trained(dataclasses.replace(PLAIN, epochs=0)), weights(network()))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 3000), st.floats(1e-6, 1), st.floats(0.01, 1))
def test_phases_cover_e_plus_one_epochs(epochs: int, lr: float, factor: float) -> None:
    recipe = TrainingRecipe(epochs=epochs, lr=lr, drop_factor=factor)
    phases = recipe.phases()
    assert sum(count for _, count in phases) == epochs + 1 and all(count > 0 for _, count in phases)
    assert [rate for rate, _ in phases] == [lr, lr * factor][: len(phases)]
    assert phases[0][1] == min(epochs // 2 + 2, epochs + 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": -1}, {"batch_size": 0}, {"lr": 0.0}, {"lr": -1.0}, {"lr": float("nan")}, {"lr": float("inf")},
        {"momentum": -0.1}, {"weight_decay": -1.0}, {"drop_factor": -1.0}, {"augmentation": "colour"},
        {"augmentation": ""}, {"momentum": float("nan")},
    ],
)  # fmt: skip
def test_recipes_that_cannot_be_run_are_refused_when_they_are_made(wrong: dict[str, object]) -> None:
    with pytest.raises(FredbenchError):
        TrainingRecipe(**wrong)


def test_an_operation_named_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="twice"):
        TrainingRecipe(augmentation="crop_crop")


@pytest.mark.parametrize("norm", ["in", "bn"])
def test_predictions_do_not_depend_on_the_batch_and_leave_the_network_alone(norm: str) -> None:
    net = networks.build(f"convnet-d1-w4-{norm}", classes=3, size=8, rng=Stream(0))
    train(net, Noted(), PLAIN, Stream(0))
    state = copy.deepcopy(net.state_dict())
    images = torch.randn(9, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    whole = predict(net, images)
    assert torch.allclose(predict(net, images, batch_size=2), whole, atol=1e-6) and not whole.requires_grad
    assert torch.allclose(net.eval()(images), whole, atol=1e-6)
    assert all(torch.equal(state[name], tensor) for name, tensor in net.state_dict().items())


LEVELS = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


@pytest.mark.parametrize("arithmetic", ["fused", "fused-bf16"])
@pytest.mark.parametrize("network", ["convnet-d2-w8-in", "convnet-d3-w64-in"])  # the second by Winograd
@pytest.mark.parametrize("count", [1, 33, 97, 128, 129, 300, 545])
@pytest.mark.parametrize("classes", [3, 100])
def test_predictions_by_blocks_are_those_of_one_batch_after_the_other(
    network: str, arithmetic: Arithmetic, count: int, classes: int
) -> None:
    """Bit by bit, prepared whole or by the batch, with as many threads; what heads are given is the same with any."""
    net, before = networks.build(network, classes=classes, size=16, rng=Stream(0)), torch.get_num_threads()
    net.arithmetic = arithmetic
    levels = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), np.uint8)
    features: list[Tensor] = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            whole = normalise(levels, *LEVELS)
            with torch.no_grad():
                wanted = torch.cat([net(part) for part in whole.split(PREDICTED_AT_ONCE)])
                features.append(torch.cat([net.embed(part) for part in whole.split(PREDICTED_AT_ONCE)]))
            found = predict(net, levels, prepare=lambda pictures: normalise(pictures, *LEVELS))
            assert torch.equal(found, wanted) and torch.equal(predict(net, whole), wanted) and not found.requires_grad
    finally:
        torch.set_num_threads(before)
    assert torch.equal(features[1], features[0]) and torch.equal(features[2], features[0])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_batches_are_shared_in_rounds_and_those_left_over_have_all_threads(threads: int) -> None:
    net, before = networks.build("convnet-d1-w4-in", classes=3, size=8, rng=Stream(0)), torch.get_num_threads()
    net.arithmetic = "fused"
    seen: list[int] = []

    def prepared(pictures: Tensor) -> Tensor:
        seen.append(torch.get_num_threads())
        assert not torch.is_grad_enabled()
        return pictures

    torch.set_num_threads(threads)
    try:
        predict(net, torch.randn(47, 3, 8, 8), batch_size=10, prepare=prepared)
    finally:
        torch.set_num_threads(before)
    assert sorted(seen) == [1] * (5 - 5 % threads) + [threads] * (5 % threads)


def test_batches_that_have_a_say_in_their_pictures_or_are_listened_to_come_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "in_rounds", lambda *_, **__: pytest.fail("side by side"))
    net = networks.build("convnet-d1-w4-in", classes=3, size=8, rng=Stream(0))
    images = torch.randn(300, 3, 8, 8)
    predict(net, images)
    net.arithmetic = "fused"
    predict(net, images, standardise="batch")
    with torch.autocast("cpu", torch.bfloat16):
        predict(net, images)
    torch.func.vmap(lambda one: predict(net, one[None]))(images[:3])
    heard: list[int] = []
    for listener in (net, net.features, net.features[1], net.classifier):  # type: ignore[index,union-attr]
        hook = listener.register_forward_hook(lambda *_: heard.append(1))  # type: ignore[union-attr]
        predict(net, images)
        hook.remove()
    assert len(heard) == 4 * 3


class Drawing(ConvNet):
    """A plug-in that drops features as it sees fit: what it draws depends on who comes first."""

    def embed(self, images: Tensor) -> Tensor:
        """Half of the features."""
        return torch.nn.functional.dropout(super().embed(images))


def test_networks_with_an_embedding_of_their_own_come_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "in_rounds", lambda *_, **__: pytest.fail("side by side"))
    net, images = Drawing(ConvNetConfig(1, 4), Signature(3, 3, (8, 8))), torch.randn(300, 3, 8, 8)
    net.arithmetic = "fused"
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        found.append(predict(net, images))
    assert not fused.runs(net) and fused.has_blocks(net) and torch.equal(*found)


def test_no_pictures_have_no_logits() -> None:
    assert predict(network(), torch.zeros(0, 3, 8, 8)).shape == (0, 3)


def test_normalisation_is_channel_by_channel_from_either_layout() -> None:
    dataset = set_of(2, (4, 6))
    images = dataset.train.images[:5]
    mean, std = (0.1, 0.5, 0.9), (0.2, 0.3, 0.4)
    wanted = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(
        std
    )[:, None, None]
    assert torch.allclose(normalise(images, mean, std), wanted, atol=1e-6)
    planes = torch.from_numpy(images).permute(0, 3, 1, 2)
    assert torch.equal(normalise(planes, mean, std), normalise(images, mean, std))


BATCHWISE = TrainingRecipe(epochs=1, batch_size=7, schedule="constant", augmentation="none", standardise="batch")


class Seen:
    """What a network was shown, batch by batch."""

    def __init__(self, network: nn.Module) -> None:
        self.batches: list[Tensor] = []
        network.register_forward_pre_hook(lambda _, given: self.batches.append(given[0].detach().clone()))


def by_hand(batch: Tensor) -> Tensor:
    """(x - m) / s of all numbers of a batch, s that of a sample, number by number in float64."""
    numbers = batch.double().flatten().tolist()
    mean = sum(numbers) / len(numbers)
    deviation = (sum((x - mean) ** 2 for x in numbers) / (len(numbers) - 1)) ** 0.5
    return torch.tensor([(x - mean) / deviation for x in numbers], dtype=torch.float64).view(batch.shape)


def test_every_batch_of_training_is_standardised_by_itself() -> None:
    pictures, net = Noted(), network().double()
    pictures.images = 3 * pictures.images.double() + 5
    seen = Seen(net)
    train(net, pictures, BATCHWISE, Stream(0))
    assert [len(batch) for batch in seen.batches] == [7, 5] == [len(index) for index in pictures.asked]
    for index, batch in zip(pictures.asked, seen.batches, strict=True):
        assert torch.allclose(batch, by_hand(pictures.images[index]), atol=1e-12)
    # The same weights as from pictures of another scale: it is divided out.
    other, plain = network().double(), Noted()
    plain.images = plain.images.double()
    train(other, plain, BATCHWISE, Stream(0))
    assert torch.allclose(weights(net), weights(other), atol=1e-10)


def test_augmentation_meets_standardised_pictures() -> None:
    """What cutout blanks is 0 to the network, which after standardising by the cut batch it would not be."""
    pictures, net = Noted(), network()
    pictures.images = pictures.images + 5
    seen = Seen(net)
    train(net, pictures, dataclasses.replace(BATCHWISE, augmentation="cutout"), Stream(0))
    for index, batch in zip(pictures.asked, seen.batches, strict=True):
        whole, cut = by_hand(pictures.images[index]).float(), batch == 0
        assert bool(cut.any()) and torch.allclose(batch[~cut], whole[~cut], atol=1e-5)


def test_predictions_standardise_a_fixed_number_of_pictures_at_a_time() -> None:
    images = 2 * torch.randn(PREDICTED_AT_ONCE + 30, 3, 8, 8, generator=torch.Generator().manual_seed(3)) + 1
    net = network()
    found = predict(net, images, standardise="batch")
    parts = [net(by_hand(part).float()) for part in (images[:PREDICTED_AT_ONCE], images[PREDICTED_AT_ONCE:])]
    assert PREDICTED_AT_ONCE == 128 and torch.allclose(found, torch.cat(parts), atol=1e-5)
    assert torch.equal(predict(net, images), predict(net, images, standardise="none"))
    # A picture's logits are not its own: another batch, other logits.
    assert not torch.allclose(predict(net, images[:5], standardise="batch"), found[:5], atol=1e-4)


def test_a_batch_of_one_level_becomes_zeros() -> None:
    assert torch.equal(standardised(torch.full((2, 3, 4, 4), 7.0)), torch.zeros(2, 3, 4, 4))
