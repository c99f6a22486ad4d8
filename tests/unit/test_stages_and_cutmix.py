"""Augmentation in stages, CutMix, and the recipes that train with them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fredbench.foundation.errors import UnknownNameError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.training import augmentation
from fredbench.training.batches import TensorPictures
from fredbench.training.cutmix import Mix, mixed_loss, paste, sample_mix
from fredbench.training.loop import TrainingRecipe, cross_entropy, network_optimiser, train, train_epoch
from fredbench.training.stages import apply_stages, parse_stages, sample_stages

SIZE = (8, 8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 6) -> torch.Tensor:
    return torch.rand(count, 3, *SIZE, generator=generator(1))


def test_a_text_of_stages_is_read() -> None:
    assert parse_stages("none") == ()
    assert parse_stages("color_crop") == (("color", "crop"),)
    assert parse_stages("flip+color+crop_scale_rotate") == (("flip",), ("color",), ("crop", "scale", "rotate"))


@pytest.mark.parametrize("text", ["color+color", "crop_color+crop", "color+none"])
def test_an_operation_twice_or_an_empty_stage_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="twice"):
        parse_stages(text)


@pytest.mark.parametrize("text", ["", "color+", "colour+crop"])
def test_an_unknown_operation_is_refused(text: str) -> None:
    with pytest.raises(UnknownNameError):
        parse_stages(text)


def test_one_stage_draws_what_the_strategy_alone_draws() -> None:
    images = pictures()
    staged = apply_stages(sample_stages((("color", "crop"),), 6, SIZE, generator(), siamese=False), images)
    plain = augmentation.apply(augmentation.sample(("color", "crop"), 6, SIZE, generator(), siamese=False), images)
    assert torch.equal(staged, plain)


def test_every_stage_takes_part() -> None:
    draws = sample_stages(parse_stages("color+crop+cutout"), 6, SIZE, generator(), siamese=True)
    assert [draw.operation for draw in draws] == ["color", "crop", "cutout"]
    images = pictures()
    expected = images
    for draw in draws:
        expected = augmentation.apply(draw, expected)
    assert torch.equal(apply_stages(draws, images), expected) and not torch.equal(expected, images)
    assert apply_stages((), images) is images


def test_a_mix_pastes_the_partners_box_and_nothing_else() -> None:
    images = pictures(3)
    mix = Mix(torch.tensor([1, 2, 0]), (2, 5), (0, 4), 1 - 12 / 64)
    mixed = paste(mix, images)
    assert torch.equal(mixed[0, :, 2:5, :4], images[1, :, 2:5, :4])
    outside = torch.ones(SIZE, dtype=torch.bool)
    outside[2:5, :4] = False
    assert torch.equal(mixed[..., outside], images[..., outside])


def test_labels_mix_by_area() -> None:
    logits, labels = torch.randn(3, 4, generator=generator()), torch.tensor([0, 1, 2])
    mix = Mix(torch.tensor([1, 2, 0]), (0, 2), (0, 2), 0.75)
    wanted = 0.75 * cross_entropy(logits, labels) + 0.25 * cross_entropy(logits, labels[mix.partner])
    assert torch.allclose(mixed_loss(mix, cross_entropy, logits, labels), wanted)


def test_drawn_mixes_keep_to_the_rule() -> None:
    source = generator(3)
    mixes = [sample_mix(0.5, 5, (10, 12), source) for _ in range(400)]
    drawn = [mix for mix in mixes if mix is not None]
    assert 160 < len(drawn) < 240
    for mix in drawn:
        (top, bottom), (left, right) = mix.rows, mix.columns
        assert 0 <= top <= bottom <= 10 and 0 <= left <= right <= 12
        assert mix.kept == pytest.approx(1 - (bottom - top) * (right - left) / 120)
        assert sorted(mix.partner.tolist()) == list(range(5))
    assert min(mix.kept for mix in drawn) < 0.4 and max(mix.kept for mix in drawn) > 0.95
    assert sample_mix(0.0, 5, SIZE, generator()) is None
    assert all(sample_mix(1.0, 5, SIZE, generator(seed)) is not None for seed in range(20))


def test_what_follows_a_mix_does_not_hang_on_its_outcome() -> None:
    first, second = generator(), generator()
    sample_mix(0.0, 5, SIZE, first), sample_mix(1.0, 5, SIZE, second)
    assert torch.equal(torch.rand(3, generator=first), torch.rand(3, generator=second))


class Flat(nn.Module):
    """One linear layer on flattened pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * SIZE[0] * SIZE[1], 2)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.linspace(-0.1, 0.1, parameter.numel()).view_as(parameter))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(1))


def trained(recipe: TrainingRecipe, seed: int = 0) -> torch.Tensor:
    network = Flat()
    train(network, TensorPictures(pictures(), torch.tensor([0, 1] * 3)), recipe, Stream(seed))
    return network.layer.weight.detach()


@pytest.mark.parametrize("setting", [{"cutmix": 1.0}, {"augmentation": "color+crop+cutout"}])
def test_a_recipe_trains_with_what_it_says(setting: dict[str, object]) -> None:
    plain = {"epochs": 2, "batch_size": 4, "augmentation": "none"}
    without, with_it, again, other = (
        trained(TrainingRecipe(**{**plain, **extra}), seed)
        for extra, seed in (({}, 0), (setting, 0), (setting, 0), (setting, 1))
    )
    assert torch.equal(with_it, again)
    assert not torch.equal(with_it, without) and not torch.equal(with_it, other)


def test_stepped_rates_drop_twice_and_keep_the_momentum() -> None:
    recipe = TrainingRecipe(epochs=12, lr=0.1, schedule="steps", drop_factor=0.2, augmentation="none")
    assert sum(epochs for _, epochs in recipe.phases()) == 12
    rates, optimisers = [], set()

    def note(epoch: int, optimiser: torch.optim.Optimizer) -> None:
        rates.append(optimiser.param_groups[0]["lr"])
        optimisers.add(optimiser)

    train(Flat(), TensorPictures(pictures(), torch.tensor([0, 1] * 3)), recipe, Stream(0), on_epoch=note)
    # Two thirds and five sixths of 12.
    assert rates == pytest.approx([0.1] * 8 + [0.02] * 2 + [0.004] * 2)
    assert len(optimisers) == 1


def test_passes_by_hand_are_the_loop() -> None:
    recipe = TrainingRecipe(epochs=3, schedule="constant", batch_size=4, augmentation="color+crop", cutmix=0.5)
    data, network, rng = TensorPictures(pictures(), torch.tensor([0, 1] * 3)), Flat(), Stream(0)
    optimiser = network_optimiser(network, recipe)
    for epoch in range(3):
        train_epoch(network, data, recipe, optimiser, rng.child("epoch", epoch))
    assert torch.equal(network.layer.weight.detach(), trained(recipe))


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_a_probability_that_is_none_is_refused(probability: float) -> None:
    with pytest.raises(UsageError, match="probability"):
        TrainingRecipe(cutmix=probability)
