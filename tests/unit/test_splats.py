"""GSDD's Gaussians: what they show, what is rounded, clamped and dropped, what they cost, what a file of them says."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from spine import distillation_of, real, set_of
from torch import Tensor

from fredbench.foundation.errors import ArtefactError, BudgetError, CompatibilityError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.parameterizations import splats
from fredbench.parameterizations.base import State
from fredbench.parameterizations.budget import Budget
from fredbench.parameterizations.splats import Barrier, GaussianSplats, GaussianSplatsConfig, render
from fredbench.training.batches import RealPictures

CLASSES, SHAPE = 3, (3, 10, 8)
NAMES = ("centres", "spreads", "colours", "opacities")


def real_pictures(shape: tuple[int, int, int] = SHAPE) -> RealPictures:
    return real(set_of(CLASSES, shape[1:], channels=shape[0]))


def made(ipc: int = 2, shape: tuple[int, int, int] = SHAPE, **settings: Any) -> tuple[GaussianSplats, State]:
    parts = GaussianSplats(GaussianSplatsConfig(**{"gaussians": 8, "fit_steps": 3, **settings}))
    budget = Budget.for_ipc(ipc, CLASSES, shape)
    state = parts.init(real_pictures(shape), budget, Stream(0))
    assert parts.instances(budget) * CLASSES == len(state)
    return parts, state


def one(**changes: Any) -> dict[str, Tensor]:
    """A single Gaussian in the middle of a picture, as wide as `spreads` say, float64."""
    plain = {"centres": [0.0, 0.0], "spreads": [1.5, 0.0, 1.5], "colours": [1.0, 0.5, -0.25], "opacities": 1.0}
    return {name: torch.tensor(value, dtype=torch.float64)[None, None] for name, value in (plain | changes).items()}


def test_a_round_gaussian_is_the_closed_form() -> None:
    """Deviation 2 in an 8 x 8 picture: sum over four samples a pixel of exp(-r² / (2 (4 + 1/12))), cut at 1/255."""
    pictures = render(one(), (8, 8))[0]
    for row in range(8):
        for column in range(8):
            total = 0.0
            for y in (row + 0.25, row + 0.75):
                for x in (column + 0.25, column + 0.75):
                    alpha = math.exp(-((x - 4) ** 2 + (y - 4) ** 2) / (2 * (4 + 1 / 12)))
                    total += alpha / 4 if alpha >= 1 / 255 else 0
            assert pictures[:, row, column].tolist() == pytest.approx([total, total / 2, -total / 4], abs=1e-12)


def test_any_gaussian_is_its_quadratic_form() -> None:
    """Off the middle, slanted, in a picture that is no square: by the matrix itself."""
    centre, (l1, l2, l3), (height, width) = (0.3, -0.4), (0.7, -1.1, 1.3), (10, 6)
    pictures = render(one(centres=centre, spreads=(l1, l2, l3)), (height, width), cut=0.0)[0]
    root = torch.tensor([[l1 + 0.5, 0.0], [l2, l3 + 0.5]], dtype=torch.float64)
    inverse = (root @ root.T + torch.eye(2, dtype=torch.float64) / 12).inverse()
    middle = torch.tensor([(centre[0] + 1) * width / 2, (centre[1] + 1) * height / 2], dtype=torch.float64)
    for row, column in ((0, 0), (3, 4), (2, 3), (9, 5)):
        samples = [torch.tensor([column + a, row + b], dtype=torch.float64) for a in (0.25, 0.75) for b in (0.25, 0.75)]
        alphas = [float(torch.exp(-(p - middle) @ inverse @ (p - middle) / 2)) for p in samples]
        assert float(pictures[0, row, column]) == pytest.approx(sum(alphas) / 4, rel=1e-9)


def test_gaussians_add_up_in_any_order() -> None:
    _, state = made(gaussians=8)
    given = {name: tensor.detach().double() for name, tensor in state.learned.items()}
    order = torch.tensor([3, 7, 0, 1, 6, 2, 5, 4])
    whole = render(given, SHAPE[1:])
    assert torch.allclose(whole, render({name: tensor[:, order] for name, tensor in given.items()}, SHAPE[1:]))
    parts = [render({name: tensor[:, rows] for name, tensor in given.items()}, SHAPE[1:]) for rows in order.split(3)]
    assert torch.allclose(whole, sum(parts, torch.zeros(())))


def test_a_faint_gaussian_is_dead() -> None:
    given = {name: tensor.requires_grad_() for name, tensor in one(opacities=1 / 512).items()}
    pictures = render(given, (8, 8))
    assert not bool(pictures.any())
    assert not any(bool(gradient.any()) for gradient in torch.autograd.grad(pictures.sum(), list(given.values())))
    assert bool(render(one(opacities=1 / 512), (8, 8), cut=0.0).any())


def test_what_saturates_is_clamped_and_its_gradient_passes() -> None:
    """a = 1 near the middle, where d pixel / d o is still exp(-e) c; the colour's gradient is the clamped a."""
    given = {name: tensor.requires_grad_() for name, tensor in one(opacities=3.0, colours=[1.0]).items()}
    pictures = render(given, (8, 8))
    assert pictures[0, 0, 3, 3].item() == pytest.approx(1.0) and pictures.max().item() == pytest.approx(1.0)
    pixel = torch.autograd.grad(pictures[0, 0, 3, 3], [given["opacities"], given["colours"]])
    spread = 2 * (4 + 1 / 12)
    wanted = sum(math.exp(-(x**2 + y**2) / spread) for x in (0.25, 0.75) for y in (0.25, 0.75)) / 4
    assert float(pixel[0]) == pytest.approx(wanted, rel=1e-9), "straight through: not 0, as the clamp's own"
    assert float(pixel[1]) == pytest.approx(1.0)


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_the_derivative(name: str) -> None:
    """Central differences in float64, of what is neither rounded nor dropped nor saturated."""
    parts, state = made(precision="float32", cut=0.0)
    learned = {each: tensor.detach().double() for each, tensor in state.learned.items()}
    learned["opacities"] *= 0.5
    state = dataclasses.replace(state, learned=learned)
    draws = torch.Generator().manual_seed(1)
    weights = torch.randn(len(state), *SHAPE, dtype=torch.float64, generator=draws)
    direction = torch.randn(learned[name].shape, dtype=torch.float64, generator=draws)

    def value() -> Tensor:
        return (parts.decode(state)[0] * weights).sum()

    tensor = learned[name].requires_grad_()
    (gradient,) = torch.autograd.grad(value(), [tensor])
    ends = []
    for sign in (1e-6, -1e-6):
        with torch.no_grad():
            tensor.add_(sign * direction)
            ends.append(float(value()))
            tensor.sub_(sign * direction)
    assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(float((gradient * direction).sum()), rel=1e-6)


def test_a_run_sees_what_its_file_will_hold() -> None:
    """Decoding rounds to bfloat16, what is moved stays float32, and the gradient passes the rounding."""
    parts, state = made()
    rounded = {name: tensor.detach().bfloat16().float() for name, tensor in state.learned.items()}
    assert not torch.equal(rounded["colours"], state.learned["colours"])
    again = dataclasses.replace(state, learned=rounded)
    pictures, _ = parts.decode(state)
    assert torch.equal(pictures, parts.decode(again)[0])
    exact = GaussianSplats(dataclasses.replace(parts.config, precision="float32"))
    assert not torch.equal(pictures, exact.decode(state)[0])
    found = torch.autograd.grad(pictures.sum(), list(state.learned.values()))
    for tensor in rounded.values():
        tensor.requires_grad_()
    unrounded = torch.autograd.grad(exact.decode(again)[0].sum(), list(rounded.values()))
    for mine, theirs in zip(found, unrounded, strict=True):
        assert torch.equal(mine, theirs.bfloat16().float()), "itself rounded, as the published cast does"


def test_groups_change_neither_pictures_nor_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, state = made()
    index = torch.tensor([5, 0, 7, 7, 2])
    wanted = [parts.decode(state, index)[0]]
    wanted += torch.autograd.grad(wanted[0].square().sum(), list(state.learned.values()))
    monkeypatch.setattr(splats, "_AT_ONCE", {"cpu": 1})
    found = [parts.decode(state, index)[0]]
    found += torch.autograd.grad(found[0].square().sum(), list(state.learned.values()))
    for one_, other in zip(wanted, found, strict=True):
        assert torch.allclose(one_, other, rtol=2e-2, atol=1e-4)
    assert torch.allclose(wanted[0], found[0], atol=1e-5)


# M, side, IPC, pictures a class and bytes of a class: those of its configuration, and possible splits elsewhere.
CELLS = [
    (42, 32, 1, 16, 12_096), (85, 32, 10, 80, 122_400), (133, 32, 50, 256, 612_864),
    (170, 128, 1, 64, 195_840), (91, 128, 1, 120, 196_560),
]  # fmt: skip


@pytest.mark.parametrize(("gaussians", "side", "ipc", "count", "size"), CELLS)
def test_a_budget_is_of_bytes(gaussians: int, side: int, ipc: int, count: int, size: int) -> None:
    parts, budget = GaussianSplats(GaussianSplatsConfig(gaussians=gaussians)), Budget.for_ipc(ipc, 10, (3, side, side))
    assert parts.instances(budget) == count and count * gaussians * 18 == size <= 4 * budget.per_class
    exact = GaussianSplats(GaussianSplatsConfig(gaussians=gaussians, precision="float32"))
    assert exact.instances(budget) == budget.per_class // (9 * gaussians)


def test_less_than_a_picture_a_class_is_refused() -> None:
    parts = GaussianSplats(GaussianSplatsConfig(gaussians=5))
    # 45 numbers of two bytes for each of three classes: 270 bytes, the half of 135 scalars rounded up.
    assert parts.instances(Budget(68, 3, SHAPE)) == 1
    with pytest.raises(BudgetError, match="268 bytes hold no picture of 90 bytes for each of 3 classes") as caught:
        parts.instances(Budget(67, 3, SHAPE))
    assert "68" in str(caught.value.hint)


def test_the_file_counts_bytes_and_strictly_every_scalar() -> None:
    small = set_of(2, (16, 16))
    run = distillation_of(small, parameterization="gsdd", ipc=1)
    synset = run.synset(small)
    # 3,072 bytes a class, 21 Gaussians of 18 bytes a picture: eight pictures.
    numbers = 2 * 8 * 21 * 9
    ledger = synset.ledger
    assert (ledger.decoded, ledger.params, ledger.params_strict, ledger.half_scalars) == (
        16,
        numbers // 2,
        numbers,
        numbers,
    )
    assert ledger.params <= synset.header["budget"] == 1536 < ledger.params_strict
    # Mean and deviation of three channels, and a height and a width, stand beside them.
    assert synset.storage.stored == 2 * numbers + 4 * 6 + 4 * 2 and "bfloat16" in synset.storage.half
    assert synset.header["ledger"]["half_scalars"] == numbers
    plain = distillation_of(small, parameterization="fred").synset(small)
    assert "half_scalars" not in plain.header["ledger"], "headers of other sets are what they were"
    exact = distillation_of(small, parameterization="gsdd", overrides=("parameterization.precision=float32",)).synset(
        small
    )
    assert exact.ledger.params == exact.ledger.params_strict == 2 * 4 * 21 * 9 == exact.storage.stored // 4 - 8


def test_more_bytes_a_number_than_are_said_count_whole() -> None:
    small = set_of(2, (16, 16))
    synset = distillation_of(small, parameterization="gsdd").synset(small)
    # Decoded before it is altered, as a storage would that does not look at types.
    assert len(synset.labels) == 16
    synset.tensors["colours"] = synset.tensors["colours"].float()
    colours, rest = 2 * 8 * 21 * 3, 2 * 8 * 21 * 6
    assert synset.ledger.params == colours + rest // 2
    with pytest.raises(ArtefactError):
        synset.verify()


def test_pictures_begin_near_real_ones() -> None:
    errors = []
    for steps in (0, 150):
        parts, state = made(fit_steps=steps, fit_lr=0.05, gaussians=16)
        real, count = real_pictures(), len(state) // CLASSES
        chosen = torch.cat([real.draw(label, count, Stream(0).child("class", label)) for label in range(CLASSES)])
        errors.append((parts.decode(state)[0].detach() - real.images(chosen)).square().mean((1, 2, 3)))
        assert bool((state.learned["centres"].abs() <= 0.99901).all())
    assert bool((errors[1] < 0.3 * errors[0]).all())


def test_centres_stay_inside() -> None:
    parts, state = made()
    with torch.no_grad():
        state.learned["centres"].add_(3)
        parts.project(state)
    assert bool((state.learned["centres"] == torch.tensor(0.999)).all())


def test_the_barrier_is_by_hand_and_grows_at_the_border() -> None:
    centres = torch.tensor([[[0.5, -0.9]]], dtype=torch.float64, requires_grad=True)
    barrier = Barrier(0.1, centres)
    loss = barrier.loss(Stream(0))
    assert loss.item() == pytest.approx(-0.1 * (math.log(1 - 0.25) + math.log(1 - 0.81)) / 2)
    (gradient,) = torch.autograd.grad(loss, centres)
    assert gradient[0, 0].tolist() == pytest.approx([0.05 * 2 * 0.5 / 0.75, -0.05 * 2 * 0.9 / 0.19])
    assert barrier.to_tensors() == {} == barrier.step(Stream(0))
    with pytest.raises(ArtefactError, match="keeps nothing"):
        barrier.from_tensors({"something": torch.zeros(1)})
    parts, state = made(barrier=0.0)
    assert parts.auxiliary(state, Stream(0)) is None


def test_gaussians_decode_at_any_resolution() -> None:
    """A finer grid's samples, averaged, are the coarse ones' neighbours; the own size is the own pictures."""
    parts, state = made(cut=0.0)
    own, _ = parts.decode(state)
    assert torch.allclose(parts.resized(state, SHAPE[1:]), own, atol=1e-6)
    large = parts.resized(state, (40, 32))
    assert large.shape == (len(state), 3, 40, 32)
    difference = (torch.nn.functional.avg_pool2d(large, 4) - own).abs().mean()
    assert difference < 0.2 * (own[..., 1:] - own[..., :-1]).abs().mean()
    small = parts.resized(state, (5, 4))
    assert torch.allclose(small, torch.nn.functional.avg_pool2d(own, 2), atol=1e-5)


def broken_tensors(tensors: Mapping[str, Tensor], name: str) -> list[Tensor]:
    tensor = tensors[name]
    return [tensor[:1], tensor.flatten(), tensor[..., :-1], tensor.float()]


@pytest.mark.parametrize("name", NAMES)
def test_tensors_that_contradict_the_header_are_refused(name: str) -> None:
    parts, state = made()
    tensors = {key: tensor for key, (tensor, _) in parts.to_tensors(state).items()}
    for broken in broken_tensors(tensors, name):
        with pytest.raises(ArtefactError, match="shape"):
            parts.from_tensors({**tensors, name: broken}, classes=CLASSES, shape=SHAPE)


def test_a_file_of_another_size_is_refused() -> None:
    parts, state = made()
    tensors = {key: tensor for key, (tensor, _) in parts.to_tensors(state).items()}
    with pytest.raises(ArtefactError, match=r"learned at \[10, 8\] pixels"):
        parts.from_tensors(tensors, classes=CLASSES, shape=(3, 20, 16))
    with pytest.raises(ArtefactError, match="statistics"):
        parts.from_tensors({**tensors, "statistics": torch.zeros(2, 1)}, classes=CLASSES, shape=SHAPE)


@pytest.mark.parametrize(
    "settings", [{"gaussians": 0}, {"cut": -0.1}, {"cut": 1.0}, {"fit_steps": -1}, {"fit_lr": 0.0}, {"barrier": -1.0}]
)
def test_settings_that_show_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        GaussianSplatsConfig(**settings)
    assert "parameterization." in str(caught.value.hint)


def test_whitened_runs_are_refused() -> None:
    with pytest.raises(CompatibilityError, match="'gsdd' stores pictures of"):
        distillation_of(set_of(2, (16, 16)), parameterization="gsdd", overrides=("data.whitening=mtt",))
