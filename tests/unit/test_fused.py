"""Fused blocks: what torch's layers give, once differentiable, with the same bytes for any number of threads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import fredbench
from fredbench import networks
from fredbench.foundation import parallel
from fredbench.foundation.rng import Stream
from fredbench.networks import fused
from fredbench.networks.fused import stack, twice, winograd
from fredbench.networks.pooling import AveragePool
from fredbench.training.batches import TensorPictures
from fredbench.training.loop import TrainingRecipe, network_optimiser, predict, train_epoch

# Name, channels, side: with and without Winograd's tiles, pictures of one and three channels, wide padding, depth 1.
CASES = [
    ("convnet-d3-w64-in", 3, 32),
    ("convnet-d3-w8-in", 3, 32),
    ("convnet-d2-w20-in", 1, 28),
    ("convnet-d1-w16-in", 3, 12),
    ("convnet-d2-w16-in", 5, 16),
    ("convnet-d3-w64-in", 5, 32),
    ("convnet-d4-w16-in", 3, 64),
]


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def network_of(name: str, channels: int, side: int, seed: int = 0) -> networks.Network:
    built = networks.build(name, channels=channels, classes=4, size=(side, side), rng=Stream(seed))
    built.arithmetic = "fused"
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():  # gains and shifts that are not 1 and 0
        for parameter in built.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return built


def pictures_of(channels: int, side: int, count: int = 23) -> Tensor:
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(1))


def gradients(network: networks.Network, pictures: Tensor, *, of_pictures: bool = True) -> list[Tensor]:
    pictures = pictures.clone().requires_grad_(of_pictures)
    labels = torch.arange(len(pictures)) % 4
    with fused.once():
        loss = functional.cross_entropy(network(pictures), labels)
    wanted = [*network.parameters(), *([pictures] if of_pictures else [])]
    return [loss.detach(), *torch.autograd.grad(loss, wanted)]


def far(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm().clamp(min=1e-3))


@pytest.mark.parametrize(("name", "channels", "side"), CASES)
@pytest.mark.parametrize("of_pictures", [False, True])
def test_outputs_and_gradients_are_those_of_the_layers(name: str, channels: int, side: int, of_pictures: bool) -> None:
    pictures, worst = pictures_of(channels, side), []
    for seed in (2, 4, 0):
        network = network_of(name, channels, side, seed)
        made = gradients(network, pictures, of_pictures=of_pictures)
        exact = gradients(network_of(name, channels, side, seed).double(), pictures.double(), of_pictures=of_pictures)
        worst.append(max(far(found, right) for found, right in zip(made, exact, strict=True)))
    # A ReLU at rounding's distance from 0 falls either way, in the layers as well: then one map's gradient differs.
    assert min(worst) < 1e-3
    assert max(worst) < 3e-2
    with torch.no_grad():
        assert far(network(pictures), network.double()(pictures.double())) < 1e-5


@pytest.mark.parametrize(("channels", "filters", "size"), [(64, 64, (4, 4)), (64, 96, (8, 12)), (128, 128, (16, 16))])
def test_winograds_products_are_the_convolution_and_its_gradients(
    channels: int, filters: int, size: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(9, *size, channels, generator=generator).relu()
    weight = torch.randn(filters, channels, 3, 3, generator=generator) / (3 * channels**0.5)
    bias, above = torch.randn(filters, generator=generator), torch.randn(9, *size, filters, generator=generator)
    first = maps.permute(0, 3, 1, 2).double().requires_grad_()
    exact_weight = weight.double().requires_grad_()
    exact = functional.conv2d(first, exact_weight, bias.double(), padding=1)
    by_maps, by_weight = torch.autograd.grad(exact, (first, exact_weight), above.permute(0, 3, 1, 2).double())
    assert winograd.fits(channels, filters, size)
    found = winograd.convolve(maps, winograd.Weights(weight), bias)
    back = winograd.convolve(above, winograd.Weights.turned(weight), torch.zeros(channels))
    for made, right in (
        (found.permute(0, 3, 1, 2), exact.detach()),
        (back.permute(0, 3, 1, 2), by_maps),
        (winograd.by_weights(maps, above), by_weight),
    ):
        assert far(made, right) < 5e-6
        assert float((made.double() - right).abs().max()) < 2e-4 * float(right.std())


@pytest.mark.parametrize("name", ["convnet-d3-w64-in", "convnet-d3-w8-in"])
def test_no_byte_depends_on_the_number_of_threads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "_PART", 300_000)  # several parts, also of a few pictures
    network, pictures = network_of(name, 3, 32), pictures_of(3, 32)

    def made(threads: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        images = pictures.clone().requires_grad_()
        with fused.once():
            maps = fused.features(network.features, images, "fused")  # type: ignore[arg-type]
        wanted = [images, *network.features.parameters()]  # type: ignore[union-attr]
        return [maps.detach(), *torch.autograd.grad(maps.square().sum(), wanted)]

    for threads in (2, 3):
        for one, other in zip(made(1), made(threads), strict=True):
            assert torch.equal(one, other)


def test_nothing_is_kept_where_there_are_no_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    network, pictures = network_of("convnet-d3-w8-in", 3, 32), pictures_of(3, 32)
    asked: list[bool] = []
    forward = stack._forward
    monkeypatch.setattr(stack, "_forward", lambda *given: (asked.append(given[2]), forward(*given))[1])
    with torch.no_grad():
        without = network(pictures)
    with fused.once():
        held = network(pictures)
    assert set(asked[: len(asked) // 2]) == {False} and set(asked[len(asked) // 2 :]) == {True}
    assert torch.equal(without, held) and held.requires_grad


@pytest.mark.parametrize("of_pictures", [False, True])
def test_maps_made_anew_on_the_way_back_give_the_same_bytes(of_pictures: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "_PART", 300_000)
    network, pictures = network_of("convnet-d3-w8-in", 3, 32), pictures_of(3, 32)
    made: list[int] = []
    convolve = stack.Convolution.convolve

    def counted(self: stack.Convolution, maps: Tensor, bias: Tensor) -> Tensor:
        made.append(len(maps))
        return convolve(self, maps, bias)

    monkeypatch.setattr(stack.Convolution, "convolve", counted)
    kept = gradients(network, pictures, of_pictures=of_pictures)
    before, made[:] = list(made), []
    monkeypatch.setattr(stack, "_WORTH_KEEPING", 0)
    anew = gradients(network, pictures, of_pictures=of_pictures)
    assert sum(made) == sum(before) + len(pictures)
    for one, other in zip(kept, anew, strict=True):
        assert torch.equal(one, other)


def second(network: networks.Network, pictures: Tensor) -> list[Tensor]:
    """Gradients, by pictures and weights, of a weighted sum of the loss's gradients by weights and pictures."""
    pictures = pictures.clone().requires_grad_()
    loss = functional.cross_entropy(network(pictures), torch.arange(len(pictures)) % 4)
    wanted = [pictures, *(weight for name, weight in network.named_parameters() if weight.ndim > 1)]
    generator = torch.Generator().manual_seed(3)
    total = loss.new_zeros(())
    for gradient in torch.autograd.grad(loss, [pictures, *network.parameters()], create_graph=True):
        total = total + (gradient * torch.randn(gradient.shape, generator=generator).to(gradient)).sum()
    return [total.detach(), *torch.autograd.grad(total, wanted)]


@pytest.mark.parametrize(("name", "channels", "side"), CASES)
def test_second_derivatives_are_those_of_the_layers(name: str, channels: int, side: int, ran: list[str]) -> None:
    pictures, worst = pictures_of(channels, side), []
    for seed in (2, 3, 0):
        made = second(network_of(name, channels, side, seed), pictures)
        exact = second(network_of(name, channels, side, seed).double(), pictures.double())
        worst.append(max(far(found, right) for found, right in zip(made, exact, strict=True)))
    assert ran == ["twice"] * 3
    assert min(worst) < 1e-4  # of the others a ReLU may have fallen the other way
    assert max(worst) < 5e-2


def test_blocks_differentiate_right_by_finite_differences() -> None:
    """The closed form of the norm's second derivative, by itself, away from the ReLU's kink."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 4, 4, 16, generator=generator)
    gain, shift = 1 + torch.rand(16, generator=generator), torch.full((16,), 9.0)  # all open
    weights = [torch.randn(size, generator=generator) for size in ((2, 4, 4, 16), (16,), (16,))]
    above = torch.randn(2, 2, 2, 16, generator=generator)

    def weighted(values: Tensor, rows: Tensor, gains: Tensor) -> Tensor:
        values, gains = values.detach().requires_grad_(), gains.detach().requires_grad_()
        shifts = shift.to(values).requires_grad_()
        maps = values.permute(0, 3, 1, 2)
        out = functional.avg_pool2d(functional.relu(functional.group_norm(maps, 16, gains, shifts)), 2)
        found = torch.autograd.grad(out, (values, gains, shifts), rows.permute(0, 3, 1, 2))
        return torch.stack([(a * b.to(a)).sum() for a, b in zip(found, weights, strict=True)]).sum()

    inputs = [value.requires_grad_() for value in (z, above, gain)]
    out = twice._Norm.apply(z, gain, shift.requires_grad_(), 1e-5)
    first = torch.autograd.grad(out, (z, gain, shift), above, create_graph=True)
    total = torch.stack([(a * b).sum() for a, b in zip(first, weights, strict=True)]).sum()
    made = torch.autograd.grad(total, inputs)
    exact = [value.detach().double() for value in inputs]
    for place, gradient in enumerate(made):
        for position in (0, 7, gradient.numel() - 1):
            ends = []
            for step in (1e-4, -1e-4):
                moved = [value.clone() for value in exact]
                moved[place].view(-1)[position] += step
                ends.append(float(weighted(*moved)))
            assert abs((ends[0] - ends[1]) / 2e-4 - float(gradient.reshape(-1)[position])) < 1e-3


@pytest.mark.parametrize("enough", [True, False])
def test_a_kept_graph_gives_its_gradient_again(enough: bool) -> None:
    network, pictures = network_of("convnet-d2-w16-in", 3, 16), pictures_of(3, 16, 4)
    with fused.once() if enough else contextlib.nullcontext():
        loss = network(pictures).square().sum()
    first = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
    for one, other in zip(first, torch.autograd.grad(loss, list(network.parameters())), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("enough", [True, False])
def test_weights_that_were_changed_since_are_noticed(enough: bool) -> None:
    network, pictures = network_of("convnet-d2-w16-in", 3, 16), pictures_of(3, 16, 4)
    with fused.once() if enough else contextlib.nullcontext():
        loss = network(pictures).square().sum()
    with torch.no_grad():
        next(network.parameters()).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize(
    "changes",
    [
        {"stride": 2, "padding": 3},
        {"padding_mode": "reflect"},
        {"dilation": 2, "padding": 2},
        {"groups": 1, "bias": False},
    ],
)
def test_other_convolutions_are_no_blocks(changes: dict[str, Any]) -> None:
    given = {"padding": 1, **changes}
    layers = nn.Conv2d(3, 16, 3, **given), nn.GroupNorm(16, 16), nn.ReLU(), AveragePool()
    made = nn.Sequential(*layers)
    pictures = pictures_of(3, 16, 4)
    with torch.no_grad():
        assert torch.equal(fused.features(made, pictures, "fused"), made(pictures))


def test_one_derivative_more_than_there_is_is_refused() -> None:
    network, pictures = network_of("convnet-d1-w16-in", 3, 8), pictures_of(3, 8, 4).requires_grad_()

    def gradient_of(value: Tensor) -> Tensor:
        return torch.autograd.grad(value.square().sum(), pictures, create_graph=True)[0]

    with fused.once(), pytest.raises(RuntimeError, match="no further derivative"):
        gradient_of(gradient_of(network(pictures)))
    with pytest.raises(RuntimeError, match="no further derivative"):
        gradient_of(gradient_of(gradient_of(network(pictures))))


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by a name whenever blocks run: `stack`, to be differentiated once, or `twice`."""
    calls: list[str] = []
    for name, module in (("stack", stack), ("twice", twice)):
        monkeypatch.setattr(module, "run", _heard(name, module.run, calls))
    return calls


def _heard(name: str, run: Callable[..., Tensor], calls: list[str]) -> Callable[..., Tensor]:
    def heard(*given: Any) -> Tensor:
        calls.append(name)
        return run(*given)

    return heard


def test_all_blocks_are_one_operation_where_one_derivative_is_enough(ran: list[str]) -> None:
    network, pictures = network_of("convnet-d2-w16-in", 3, 16), pictures_of(3, 16, 4)
    network(pictures)
    with torch.no_grad():
        network(pictures)
    with fused.once():
        network(pictures)
    assert ran == ["twice", "stack", "stack"]
    predict(network, pictures)
    pictures_with_labels = TensorPictures(pictures, torch.arange(4))
    recipe = TrainingRecipe(augmentation="none")
    train_epoch(network, pictures_with_labels, recipe, network_optimiser(network, recipe), Stream(0))
    assert ran[3:] == ["stack", "stack"]


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("convnet-d2-w16-bn", 16),
        ("convnet-d2-w16-in-swish", 16),
        ("convnet-d2-w16-in-max", 16),
        ("convnet-d2-w16-none", 16),
        ("convnet-d2-w16-in", 18),
    ],
)
def test_what_is_no_such_block_runs_as_it_is_written(ran: list[str], name: str, side: int) -> None:
    network = network_of(name, 3, side).eval()
    with torch.no_grad():
        assert torch.equal(network.embed(pictures_of(3, side)), network.features(pictures_of(3, side)).flatten(1))  # type: ignore[operator]
    assert not ran


def test_layers_run_where_someone_listens_transforms_or_computes_in_another_precision(ran: list[str]) -> None:
    network, pictures = network_of("convnet-d2-w16-in", 3, 16), pictures_of(3, 16, 4)
    heard: list[int] = []
    hook = network.features[0].register_forward_hook(lambda *_: heard.append(1))  # type: ignore[index]
    with torch.no_grad():
        network(pictures)
        assert heard
        hook.remove()
        torch.func.vmap(lambda picture: network(picture[None])[0])(pictures)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            network(pictures)
        network.double()(pictures.double())
    assert not ran


def test_an_eager_recipe_trains_and_scores_by_layers(ran: list[str]) -> None:
    network, pictures = network_of("convnet-d2-w16-in", 3, 16), pictures_of(3, 16, 4)
    recipe = TrainingRecipe(augmentation="none", arithmetic="eager")
    train_epoch(
        network, TensorPictures(pictures, torch.arange(4)), recipe, network_optimiser(network, recipe), Stream(0)
    )
    predict(network, pictures)
    assert network.arithmetic == "eager"
    assert not ran


def test_parts_come_in_order_with_one_thread_each() -> None:
    torch.set_num_threads(3)
    found = parallel.side_by_side(lambda part: (part, torch.get_num_threads()), range(7))
    assert [part for part, _ in found] == list(range(7))
    assert {threads for _, threads in found} == {1}
    assert torch.get_num_threads() == 3
    assert parallel.side_by_side(lambda part: torch.get_num_threads(), [0]) == [1]


@pytest.mark.parametrize(("threads", "parts", "held", "alone"), [
    (1, 5, 0, 5), (2, 0, 0, 0), (2, 1, 0, 1), (2, 35, 0, 1), (3, 5, 0, 2), (3, 33, 0, 0),
    (9, 8, 0, 0),  # left over are more than a batch has parts: one after the other they would take longer
    (9, 12, 0, 3), (9, 14, 0, 0), (3, 5, 1 << 27, 1), (3, 5, 1 << 28, 5), (3, 5, 1 << 40, 5),
])  # fmt: skip
def test_rounds_share_what_all_threads_have_as_many_of(threads: int, parts: int, held: int, alone: int) -> None:
    torch.set_num_threads(threads)
    found = list(parallel.in_rounds(lambda part: (part, torch.get_num_threads()), range(parts), held=held))
    assert [part for part, _ in found] == list(range(parts))
    assert [within for _, within in found] == [1] * (parts - alone) + [threads] * alone


def test_nothing_is_worked_on_while_the_caller_has_what_a_round_made() -> None:
    torch.set_num_threads(2)
    begun: list[int] = []
    for number in parallel.in_rounds(lambda part: begun.append(part) or part, range(100)):
        first = number - number % 16
        assert len(begun) == min(100, first + 16) and sorted(begun) == list(range(len(begun)))


def test_an_error_in_a_part_is_raised() -> None:
    torch.set_num_threads(2)

    def fail(part: int) -> int:
        return 1 // part

    with pytest.raises(ZeroDivisionError):
        parallel.side_by_side(fail, [1, 0, 2])


TINY = {
    "dm": ("objective.batch_real=8",),
    "dsa": ("objective.batch_real=8",),
    "idc": ("objective.batch_real=8", "objective.train_pictures=20", "objective.pretrain_epochs=0"),
    "haba": ("objective.experts=1", "objective.steps=2", "objective.expert_epochs=1", "objective.start_epochs=1"),
}


@pytest.mark.parametrize("method", TINY)
@pytest.mark.parametrize("asked", ["eager", "fused"])
def test_an_eager_run_has_no_block_in_it(method: str, asked: str, ran: list[str], tmp_path: Path) -> None:
    overrides = (*TINY[method], f"run.arithmetic={asked}", f"student.arithmetic={asked}")
    run = fredbench.distill(
        "digits", ipc=1, method=method, preset="quick", iterations=1, network="convnet-d3-w8-in", overrides=overrides,
        store=tmp_path, threads=torch.get_num_threads(), device="cpu",
    )  # fmt: skip
    assert run.spec().arithmetic == asked
    assert bool(ran) == (asked == "fused")
