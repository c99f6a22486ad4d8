"""Blocks that multiply bfloat16: rounded where they say so and nowhere else, and only where they were asked for."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import numba
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import fredbench
from fredbench import networks
from fredbench.datasets import load_dataset
from fredbench.evaluation.students import as_run
from fredbench.foundation.compiling import Array
from fredbench.foundation.errors import CompatibilityError
from fredbench.foundation.rng import Stream
from fredbench.networks import fused
from fredbench.networks.fused import loops, stack, twice
from fredbench.networks.fused.convolutions import Convolution, numbers
from fredbench.networks.names import ARITHMETICS, Arithmetic
from fredbench.recipes.resolution import Request, resolve
from fredbench.training.batches import TensorPictures
from fredbench.training.loop import TrainingRecipe, network_optimiser, predict, train_epoch

BF16 = torch.bfloat16
NAMES = [("convnet-d3-w64-in", 3, 32), ("convnet-d2-w20-in", 1, 28), ("convnet-d2-w16-in", 5, 16)]


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def network_of(name: str, channels: int, side: int, arithmetic: Arithmetic) -> networks.Network:
    built = networks.build(name, channels=channels, classes=4, size=(side, side), rng=Stream(0))
    built.arithmetic = arithmetic
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return built


def pictures_of(channels: int, side: int, count: int = 23) -> Tensor:
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(1))


def far(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact.double()).norm() / exact.double().norm().clamp(min=1e-3))


@pytest.mark.parametrize("taken", [torch.float32, BF16])
@pytest.mark.parametrize("channels", [3, 16])
def test_what_bfloat16_holds_is_convolved_exactly(channels: int, taken: torch.dtype) -> None:
    """Whole numbers whose sums stay below 256 are lost neither before a product nor after the sum."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randint(-1, 2, (4, 8, 8, channels), generator=generator).float()
    weight = torch.randint(-1, 2, (16, channels, 3, 3), generator=generator).float()
    bias = torch.randint(-3, 4, (16,), generator=generator).float()
    above = torch.randint(0, 2, (4, 8, 8, 16), generator=generator).float() * (
        torch.rand(4, 8, 8, 1, generator=generator) < 0.3
    )
    convolution = Convolution(weight, 1, (8, 8), BF16).prepare(back=True)
    given, below = maps.to(taken), above.to(taken)
    first, exact_weight = maps.permute(0, 3, 1, 2).requires_grad_(), weight.clone().requires_grad_()
    exact = functional.conv2d(first, exact_weight, bias, padding=1)
    by_maps, by_weight = torch.autograd.grad(exact, (first, exact_weight), above.permute(0, 3, 1, 2))
    found = convolution.convolve(given, bias), convolution.by_maps(below, given)
    for made, right in zip(found, (exact, by_maps), strict=True):
        assert made.dtype == taken and right.abs().max() < 256
        assert torch.equal(made.float(), right.permute(0, 2, 3, 1))
    assert by_weight.abs().max() < 256 and above.sum((0, 1, 2)).max() < 256
    for made, right in (
        (convolution.by_weight(given, below), by_weight),
        (convolution.by_bias(below), above.sum((0, 1, 2))),
    ):
        assert made.dtype == torch.float32 and torch.equal(made, right)


def test_numbers_are_rounded_as_torch_rounds_them() -> None:
    """To the nearest, of two as near to the even one, whatever their sign and size; and read as what was written."""
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(-(2**31), 2**31, (20_000,), generator=generator).to(torch.int32)
    values = torch.cat([bits, (bits & ~0xFFFF) | 0x8000]).view(torch.float32)
    values = torch.cat([values[values.isfinite()], torch.tensor([0.0, -0.0, torch.inf, -torch.inf])])

    def copied(source: Array, to: Array) -> None:
        for place in range(len(source)):
            to[place] = loops._stored(to, loops._read(source[place]))

    copy = numba.njit(inspect.unwrap(copied))
    halves, back = torch.empty(len(values), dtype=BF16), torch.empty(len(values))
    copy(values.numpy(), numbers(halves))
    copy(numbers(halves), back.numpy())
    assert torch.equal(halves.view(torch.int16), values.to(BF16).view(torch.int16))
    assert torch.equal(back, halves.float())


def test_maps_of_bfloat16_are_read_as_what_they_are() -> None:
    generator = torch.Generator().manual_seed(0)
    z, above = (torch.randn(size, generator=generator).to(BF16) for size in ((3, 8, 8, 16), (3, 4, 4, 16)))
    gain, shift = torch.randn(16, generator=generator), torch.randn(16, generator=generator)
    found = []
    for dtype in (torch.float32, BF16):
        out, below = torch.empty(3, 4, 4, 16), torch.empty(3, 8, 8, 16)
        rest = [torch.empty(3, 16) for _ in range(4)]
        mean, scale, by_gain, by_shift = (value.numpy() for value in rest)
        given = numbers(z.to(dtype)), gain.numpy(), shift.numpy()
        loops.block_forward(*given, 1e-5, out.numpy(), mean, scale)
        loops.block_backward(*given, mean, scale, numbers(above.to(dtype)), below.numpy(), by_gain, by_shift)
        found.append([out, below, *rest])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize(("name", "channels", "side"), NAMES)
@pytest.mark.parametrize("enough", [True, False])
def test_outputs_and_gradients_are_off_by_bfloat16s_rounding(name: str, channels: int, side: int, enough: bool) -> None:
    """Of the layers' in float64: a few times 2⁻⁹, and more than float32's rounding, so that products were reduced."""

    def made(network: networks.Network, pictures: Tensor) -> list[Tensor]:
        pictures = pictures.clone().requires_grad_()
        with fused.once() if enough else torch.enable_grad():
            maps = network.embed(pictures)
        weights = [weight for weight in network.features.parameters() if weight.ndim > 1]  # type: ignore[union-attr]
        direction = torch.randn(maps.shape, generator=torch.Generator().manual_seed(2)).to(maps)
        return [maps.detach(), *torch.autograd.grad((maps * direction).sum(), [pictures, *weights])]

    pictures = pictures_of(channels, side)
    exact = made(network_of(name, channels, side, "eager").double(), pictures.double())
    apart = {
        arithmetic: [
            far(a, b) for a, b in zip(made(network_of(name, channels, side, arithmetic), pictures), exact, strict=True)
        ]
        for arithmetic in ARITHMETICS[1:]
    }
    assert 1e-3 < apart["fused-bf16"][0] < 2e-2 and apart["fused"][0] < 1e-5
    # Where a ReLU opens or not by rounding a gradient differs by its whole.
    assert all(1e-3 < each < 0.2 for each in apart["fused-bf16"][1:])


@pytest.mark.parametrize(("name", "channels", "side"), NAMES)
def test_second_derivatives_follow_the_layers(name: str, channels: int, side: int) -> None:
    """The gradient of a gradient's length, as gradient and trajectory matching have it."""

    def made(network: networks.Network, pictures: Tensor) -> Tensor:
        pictures = pictures.clone().requires_grad_()
        loss = functional.cross_entropy(network(pictures), torch.arange(len(pictures)) % 4)
        first = torch.autograd.grad(loss, list(network.parameters()), create_graph=True)
        total = torch.stack([each.square().sum() for each in first]).sum()
        return torch.autograd.grad(total, pictures)[0]

    pictures = pictures_of(channels, side)
    exact = made(network_of(name, channels, side, "eager").double(), pictures.double())
    found = made(network_of(name, channels, side, "fused-bf16"), pictures)
    assert found.dtype == torch.float32
    assert float(functional.cosine_similarity(found.double().flatten(), exact.flatten(), 0)) > 0.98


@pytest.mark.parametrize("enough", [True, False])
def test_no_byte_depends_on_the_number_of_threads(enough: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "_PART", 200_000)
    network, pictures = network_of("convnet-d3-w64-in", 3, 32, "fused-bf16"), pictures_of(3, 32)

    def made(threads: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        images = pictures.clone().requires_grad_()
        with fused.once() if enough else torch.enable_grad():
            maps = fused.features(network.features, images, "fused-bf16")  # type: ignore[arg-type]
        wanted = [images, *network.features.parameters()]  # type: ignore[union-attr]
        return [maps.detach(), *torch.autograd.grad(maps.square().sum(), wanted)]

    for one, other in zip(made(1), made(3), strict=True):
        assert torch.equal(one, other)


def test_weights_and_their_gradients_stay_float32() -> None:
    network, pictures = network_of("convnet-d2-w16-in", 3, 16, "fused-bf16"), pictures_of(3, 16, 8)
    recipe = TrainingRecipe(augmentation="none", arithmetic="fused-bf16")
    before = [parameter.detach().clone() for parameter in network.parameters()]
    shown = TensorPictures(pictures, torch.arange(8) % 4)
    train_epoch(network, shown, recipe, network_optimiser(network, recipe), Stream(0))
    for was, parameter in zip(before, network.parameters(), strict=True):
        assert parameter.dtype == torch.float32 and not torch.equal(was, parameter)
    # A step smaller than the distance of bfloat16 from its neighbour is taken all the same.
    pairs = [(was, now.detach()) for was, now in zip(before, network.parameters(), strict=True)]
    assert any(((was.to(BF16) == now.to(BF16)) & (was != now)).any() for was, now in pairs)
    assert predict(network, pictures).dtype == torch.float32


def test_a_network_nobody_said_anything_of_trains_by_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.dtype] = []
    run = stack.run
    monkeypatch.setattr(stack, "run", lambda shapes, *rest: (asked.append(shapes[0].products), run(shapes, *rest))[1])
    built = networks.build("convnet-d2-w16-in", channels=3, classes=4, size=(16, 16), rng=Stream(0))
    recipe = TrainingRecipe(augmentation="none", arithmetic="fused-bf16")
    shown = TensorPictures(pictures_of(3, 16, 8), torch.arange(8) % 4)
    train_epoch(built, shown, recipe, network_optimiser(built, recipe), Stream(0))
    assert asked == [BF16]


REDUCED = ("run.arithmetic=fused-bf16", "student.arithmetic=fused-bf16")


def test_nothing_is_reduced_unasked_and_what_is_has_a_name_of_its_own() -> None:
    dataset = load_dataset("digits")
    usual, asked = (
        resolve(Request(ipc=1, overrides=overrides), dataset, device="cpu", threads=1) for overrides in ((), REDUCED)
    )
    assert (usual.arithmetic, usual.student.arithmetic) == ("fused", "fused")
    assert (asked.arithmetic, asked.student.arithmetic) == ("fused-bf16", "fused-bf16")
    assert usual.digest() != asked.digest()


@pytest.mark.parametrize("section", ["run", "student"])
def test_networks_without_blocks_and_other_devices_are_refused(section: str) -> None:
    dataset, overrides = load_dataset("digits"), (f"{section}.arithmetic=fused-bf16",)
    with pytest.raises(CompatibilityError, match="has no fused blocks") as error:
        resolve(Request(ipc=1, network="convnet-d2-w16-bn", overrides=overrides), dataset, device="cpu", threads=1)
    assert error.value.hint == f"--set {section}.arithmetic=fused"
    with pytest.raises(CompatibilityError, match="for the CPU only") as error:
        resolve(Request(ipc=1, overrides=overrides), dataset, device="cuda:0", threads=1)
    assert error.value.hint == f"--set {section}.arithmetic=eager"


def test_other_networks_of_a_table_say_what_they_are_run_by() -> None:
    recipe = TrainingRecipe(arithmetic="fused-bf16")
    size = {"classes": 10, "shape": (3, 32, 32), "device": torch.device("cpu")}
    assert as_run(recipe, "convnet-d3-w16-in", **size) == recipe  # type: ignore[arg-type]
    assert as_run(recipe, "mlp", **size).arithmetic == "fused"  # type: ignore[arg-type]
    assert as_run(TrainingRecipe(), "mlp", **size) == TrainingRecipe()  # type: ignore[arg-type]
    elsewhere = {**size, "device": torch.device("cuda")}
    assert as_run(recipe, "convnet-d3-w16-in", **elsewhere).arithmetic == "fused"  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["dm", "dc", "dsa", "idc", "tm", "fred", "haba"])
def test_what_is_matched_through_whole_networks_is_taken(method: str) -> None:
    spec = resolve(Request(ipc=1, method=method, overrides=REDUCED), load_dataset("digits"), device="cpu", threads=1)
    assert spec.arithmetic == spec.student.arithmetic == "fused-bf16"


@pytest.mark.parametrize(
    ("request_", "overrides"),
    [
        ({"method": "kip"}, ()),
        ({"method": "cafe"}, ()),
        ({"method": "idc"}, ("objective.match=feat",)),
        ({"method": "tm"}, ("objective.compiled=true",)),
    ],
)
def test_what_is_matched_by_layers_is_refused(request_: dict[str, str], overrides: tuple[str, ...]) -> None:
    dataset = load_dataset("digits")
    with pytest.raises(CompatibilityError, match="matches nothing by fused blocks") as error:
        resolve(
            Request(ipc=1, overrides=(*overrides, REDUCED[0]), **request_),
            dataset,
            device="cpu",
            threads=1,  # type: ignore[arg-type]
        )
    assert error.value.hint == "--set run.arithmetic=fused"


METHODS = {
    "dm": ("objective.batch_real=8",),
    "dsa": ("objective.batch_real=8",),
    "fred": ("objective.experts=1", "objective.expert_epochs=1", "objective.start_epochs=1", "objective.steps=2"),
}


@pytest.mark.parametrize("method", METHODS)
def test_runs_and_students_of_it_are_made_whole(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[torch.dtype] = set()
    for module in (stack, twice):
        run = module.run
        monkeypatch.setattr(
            module, "run", lambda shapes, *rest, run=run: (seen.add(shapes[0].products), run(shapes, *rest))[1]
        )
    run = fredbench.distill(
        "digits", ipc=1, method=method, preset="quick", iterations=2, network="convnet-d2-w8-in", store=tmp_path,
        threads=torch.get_num_threads(), device="cpu", overrides=(*METHODS[method], *REDUCED, "student.epochs=2"),
    )  # fmt: skip
    scored = fredbench.evaluate([run], students=1, networks=["convnet-d2-w8-in", "mlp"], store=tmp_path)
    start = next(row for row in scored if row.start)
    assert scored[0].recipe.endswith(", distilled and students of convnet-d2-w8-in by bfloat16 products")
    assert start.recipe.endswith(", students of convnet-d2-w8-in by bfloat16 products")
    assert seen == {BF16}
    assert run.spec().arithmetic == run.spec().student.arithmetic == "fused-bf16"
    assert [row.network for row in scored[0].by_network.values()] == ["convnet-d2-w8-in", "mlp"]
