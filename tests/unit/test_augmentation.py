"""Differentiable augmentation: definitions by brute force, sharing, replay, ranges, derivatives, errors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from fredbench.foundation.errors import UnknownNameError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.training.augmentation import (
    OPERATIONS,
    Constants,
    Draw,
    apply,
    apply_each,
    crop,
    cutout,
    parse_strategy,
    rotate,
    sample,
    scale,
    strategy_for,
)

SIZE = (6, 8)


def pictures(count: int, size: tuple[int, int] = SIZE, name: str = "pictures") -> Tensor:
    return torch.randn(count, 3, *size, dtype=torch.float64, generator=Stream(5).child(name).torch())


def draw_of(operation: str, count: int, *, siamese: bool, size: tuple[int, int] = SIZE, seed: int = 0) -> Draw:
    generator = Stream(seed).child(operation).torch()
    return sample((operation,), count, size, generator, siamese=siamese)


@pytest.mark.parametrize("siamese", [True, False])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_first_and_second_derivatives_by_finite_differences(operation: str, siamese: bool) -> None:
    images = pictures(2, (4, 5)).requires_grad_()
    draw = draw_of(operation, 2, siamese=siamese, size=(4, 5))
    assert gradcheck(lambda x: apply(draw, x), (images,))
    # Cubed, so that the second derivative is not that of a linear map alone.
    assert gradgradcheck(lambda x: apply(draw, x) ** 3, (images,))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_siamese_draw_treats_every_batch_and_picture_alike(operation: str) -> None:
    draw = draw_of(operation, 0, siamese=True)
    real, synthetic = pictures(7, name="real"), pictures(2, name="synthetic")
    together = apply(draw, torch.cat([real, synthetic]))
    assert torch.equal(together, torch.cat([apply(draw, real), apply(draw, synthetic)]))
    same = apply(draw, real[:1].expand(4, -1, -1, -1))
    assert torch.equal(same, same[:1].expand(4, -1, -1, -1))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_independent_draw_is_each_pictures_own(operation: str) -> None:
    count = 12
    draw = draw_of(operation, count, siamese=False)
    one = pictures(1).expand(count, -1, -1, -1)
    out = apply(draw, one)
    assert len({out[i].numpy().tobytes() for i in range(count)}) > 1
    for i in range(count):
        own = Draw(operation, tuple(value[i : i + 1] for value in draw.values), SIZE)
        torch.testing.assert_close(apply(own, one[i : i + 1])[0], out[i], rtol=0, atol=1e-14)


@pytest.mark.parametrize("siamese", [True, False])
def test_replay_gives_the_same_bits_and_leaves_the_input_alone(siamese: bool) -> None:
    images = pictures(5)
    before = images.clone()
    for operation in OPERATIONS:
        draw = draw_of(operation, 5, siamese=siamese)
        assert torch.equal(apply(draw, images), apply(draw, images))
        again = draw_of(operation, 5, siamese=siamese)
        assert all(torch.equal(a, b) for a, b in zip(draw.values, again.values, strict=True))
    assert torch.equal(images, before)


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    outcomes = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        draws = [sample(OPERATIONS, 4, SIZE, Stream(3).child(i).torch(), siamese=i % 2 == 0) for i in range(20)]
        outcomes.append(torch.stack([apply(draw, pictures(4)) for draw in draws]))
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(*outcomes)


def test_operations_are_drawn_uniformly_and_flip_can_be_left_out() -> None:
    generator = Stream(1).torch()
    strategy = strategy_for(flip=False)
    assert strategy == ("color", "crop", "cutout", "scale", "rotate")
    assert strategy_for(flip=True) == OPERATIONS
    number = 1000
    seen = [sample(strategy, 0, (32, 32), generator, siamese=True).operation for _ in range(number)]
    counts = {name: seen.count(name) for name in strategy}
    assert sum(counts.values()) == number
    # Five standard deviations of a binomial count.
    deviation = (number * 0.2 * 0.8) ** 0.5
    assert all(abs(count - number / 5) < 5 * deviation for count in counts.values())


@pytest.mark.parametrize(
    ("operation", "size", "ranges"),
    [
        ("crop", (32, 32), [(-4, 4), (-4, 4)]),
        ("crop", (128, 64), [(-16, 16), (-8, 8)]),
        ("cutout", (32, 32), [(0, 32), (0, 32)]),
        # Sides int(.5·5 + .5) = 3 (odd: no place after the last pixel) and 4.
        ("cutout", (5, 7), [(0, 4), (0, 7)]),
    ],
)
def test_integer_draws_reach_both_ends_and_no_further(
    operation: str, size: tuple[int, int], ranges: list[tuple[int, int]]
) -> None:
    draw = draw_of(operation, 4000, siamese=False, size=size)
    assert [(int(value.min()), int(value.max())) for value in draw.values] == ranges


@pytest.mark.parametrize("operation", ["color", "flip", "scale", "rotate"])
def test_uniform_draws_fill_the_unit_interval(operation: str) -> None:
    for value in draw_of(operation, 4000, siamese=False).values:
        assert 0 <= value.min() < 0.01 < 0.99 < value.max() < 1
        assert abs(value.mean() - 0.5) < 5 / (12 * 4000) ** 0.5


def test_siamese_draw_does_not_depend_on_the_count() -> None:
    one = sample(OPERATIONS, 1, SIZE, Stream(2).torch(), siamese=True)
    other = sample(OPERATIONS, 999, SIZE, Stream(2).torch(), siamese=True)
    assert one.operation == other.operation
    assert all(torch.equal(a, b) and len(a) == 1 for a, b in zip(one.values, other.values, strict=True))


@pytest.mark.parametrize("shift", [(0, 0), (-4, 3), (2, -1), (5, 7)])
def test_crop_by_its_definition(shift: tuple[int, int]) -> None:
    images = pictures(2)
    expected = torch.zeros_like(images)
    for i in range(SIZE[0]):
        for j in range(SIZE[1]):
            if 0 <= i + shift[0] < SIZE[0] and 0 <= j + shift[1] < SIZE[1]:
                expected[:, :, i, j] = images[:, :, i + shift[0], j + shift[1]]
    for number in (1, 2):
        rows, columns = (torch.full((number,), value) for value in shift)
        assert torch.equal(crop(images, rows, columns), expected)


@pytest.mark.parametrize("size", [(6, 8), (5, 7), (1, 3)])
def test_cutout_by_its_definition(size: tuple[int, int]) -> None:
    images = pictures(1, size)
    sides = [int(0.5 * length + 0.5) for length in size]
    for row in range(size[0] + 1 - sides[0] % 2):
        for column in range(size[1] + 1 - sides[1] % 2):
            expected = images.clone()
            rows = [min(max(k + row - sides[0] // 2, 0), size[0] - 1) for k in range(sides[0])]
            columns = [min(max(k + column - sides[1] // 2, 0), size[1] - 1) for k in range(sides[1])]
            for i in rows:
                for j in columns:
                    expected[:, :, i, j] = 0
            assert torch.equal(cutout(images, torch.tensor([row]), torch.tensor([column])), expected)


@pytest.mark.parametrize("align_corners", [False, True])
def test_affine_operations_are_grid_samples_of_their_matrix_on_any_shape(align_corners: bool) -> None:
    images, constants = pictures(3), Constants(align_corners=align_corners)
    u, v = (torch.tensor(values, dtype=torch.float64) for values in ([0.1, 0.5, 0.9], [0.7, 0.0, 0.3]))
    low = 1 / 1.2
    sx, sy = u * (1.2 - low) + low, v * (1.2 - low) + low
    angle = (u - 0.5) * 2 * 15 * torch.pi / 180
    matrices = {
        "scale": [[[a, 0, 0], [0, b, 0]] for a, b in zip(sx, sy, strict=True)],
        "rotate": [[[t.cos(), -t.sin(), 0], [t.sin(), t.cos(), 0]] for t in angle],
    }
    got = {"scale": scale(images, u, v, constants), "rotate": rotate(images, u, constants)}
    for name, matrix in matrices.items():
        theta = torch.tensor(
            [[[float(entry) for entry in row] for row in each] for each in matrix], dtype=torch.float64
        )
        grid = functional.affine_grid(theta, list(images.shape), align_corners=align_corners)
        expected = functional.grid_sample(images, grid, align_corners=align_corners)
        torch.testing.assert_close(got[name], expected, rtol=0, atol=1e-12)


def test_apply_each_gives_every_group_its_own_draw() -> None:
    images, counts = pictures(9), [2, 3, 4]
    draws = [sample(OPERATIONS, 0, SIZE, Stream(0).child("class", c).torch(), siamese=True) for c in range(3)]
    out = apply_each(draws, images, counts)
    for draw, got, group in zip(draws, out.split(counts), images.split(counts), strict=True):
        assert torch.equal(got, apply(draw, group))
    with pytest.raises(UsageError, match="3 draws"):
        apply_each(draws, images, [2, 3])
    with pytest.raises(UsageError, match="got 8"):
        apply_each(draws, images[:8], counts)


def test_float32_agrees_with_float64() -> None:
    images = pictures(4, (32, 32))
    for operation in OPERATIONS:
        draw = draw_of(operation, 4, siamese=False, size=(32, 32))
        single = apply(draw, images.float())
        assert single.dtype == torch.float32
        # Flips, crops and cutouts move numbers without computing with them.
        torch.testing.assert_close(single, apply(draw, images).float(), rtol=1e-5, atol=2e-5)


def test_affine_operations_map_over_stacked_batches() -> None:
    draw = draw_of("rotate", 0, siamese=True)
    stacked = pictures(6).view(2, 3, 3, *SIZE)
    mapped = torch.func.vmap(lambda batch: apply(draw, batch))(stacked)
    torch.testing.assert_close(mapped, torch.stack([apply(draw, batch) for batch in stacked]))


def test_strategies_are_read_from_strings() -> None:
    assert parse_strategy("color_crop_cutout_flip_scale_rotate") == OPERATIONS
    assert parse_strategy("color_crop_cutout") == ("color", "crop", "cutout")
    assert parse_strategy("none") == ()
    with pytest.raises(UnknownNameError, match=r"'colour'.*did you mean 'color'"):
        parse_strategy("colour_crop")
    with pytest.raises(UsageError, match="twice"):
        parse_strategy("crop_crop")
    with pytest.raises(UnknownNameError, match="augmentation ''"):
        parse_strategy("")


def test_no_augmentation_changes_nothing_and_draws_nothing() -> None:
    generator = Stream(0).torch()
    state = generator.get_state()
    images = pictures(3)
    assert torch.equal(apply(sample((), 3, SIZE, generator, siamese=False), images), images)
    assert torch.equal(generator.get_state(), state)


def test_draws_for_other_pictures_are_refused() -> None:
    per_image = draw_of("color", 4, siamese=False)
    with pytest.raises(UsageError, match="draw for 4 pictures applied to 3"):
        apply(per_image, pictures(3))
    with pytest.raises(UsageError, match="drawn for pictures of 6×8 applied to 32×32"):
        apply(draw_of("cutout", 1, siamese=True), pictures(1, (32, 32)))
    with pytest.raises(UnknownNameError, match="'hue'"):
        apply(replace(per_image, operation="hue"), pictures(4))
    with pytest.raises(UnknownNameError, match="'hue'"):
        sample(("hue",), 1, SIZE, Stream(0).torch(), siamese=True)
