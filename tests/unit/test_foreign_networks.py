"""Networks that are not ours: a plug-in's modules and timm's, wrapped as they are or refused in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from commands import invoke
from spine import real, set_of, spec_of
from torch import Tensor, nn
from torch.nn import functional

from fredbench import networks
from fredbench.evaluation.students import StudentPlan
from fredbench.foundation.errors import CompatibilityError, FredbenchError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.networks import NETWORKS, build, outline
from fredbench.objectives.flat import FlatNetwork
from fredbench.runs import distillation
from fredbench.runs.store import Store
from fredbench.training.batches import TensorPictures
from fredbench.training.loop import TrainingRecipe, train

RECIPE = TrainingRecipe(epochs=1, batch_size=8, augmentation="none")


class Plain(nn.Module):
    """What everybody has: no `classifier`, weights drawn by itself, a parameter that is no layer's, a table."""

    def __init__(self, channels: int, classes: int, *, drop: float = 0.0) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.scale = nn.Parameter(torch.randn(24))
        self.register_buffer("table", torch.tensor([float(torch.arange(4).sum())]), persistent=False)
        self.drop = drop
        self.last = nn.Linear(24, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(functional.dropout(self.body(x) * self.scale, self.drop, self.training))


class Changed(Plain):
    """The same with another output."""

    def __init__(self, channels: int, classes: int, change: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__(channels, classes)
        self.change = change

    def forward(self, x: Tensor) -> Any:
        return self.change(self, super().forward(x))


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], str]:
    def add(target: Any) -> str:
        monkeypatch.setitem(NETWORKS._targets, "mine", target)
        monkeypatch.setitem(NETWORKS._summaries, "mine", "mine")
        return "mine"

    return add


def plain(signature: Any) -> nn.Module:
    return Plain(signature.channels, signature.classes)


def weights(network: nn.Module) -> bytes:
    return safetensors.torch.save({name: t.contiguous() for name, t in network.state_dict().items()})


def trained(name: str, seed: int = 0, size: int = 8) -> bytes:
    network = build(name, classes=3, size=size, rng=Stream(seed))
    images = torch.randn(12, 3, size, size, generator=Stream(1).torch())
    train(network, TensorPictures(images, torch.arange(12) % 3), RECIPE, Stream(seed))
    return weights(network)


def test_a_module_is_a_student_as_it_stands(register: Callable[[Any], str]) -> None:
    name = register(plain)
    before = torch.get_rng_state()
    first, again, other = (build(name, classes=5, size=8, rng=Stream(seed)).eval() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert weights(first) == weights(again) != weights(other)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(Stream(0).integer())
        theirs = Plain(3, 5).eval()
    images = torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(first(images), theirs(images))
        assert torch.equal(first.head(first.embed(images)), first(images)) and first.embed(images).shape == (4, 24)
    assert first.name == "mine" and float(first.model.table) == 6
    assert trained(name) == trained(name) != trained(name, seed=1)


def test_lazy_layers_get_their_shapes(register: Callable[[Any], str]) -> None:
    name = register(lambda s: nn.Sequential(nn.Flatten(), nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(s.classes)))
    assert build(name, classes=3, size=8, rng=Stream(0)).embed(torch.zeros(2, 3, 8, 8)).shape == (2, 4)
    assert trained(name) == trained(name)


def test_a_run_of_distribution_matching_looks_through_it(register: Callable[[Any], str], tmp_path: Path) -> None:
    dataset = set_of(3, (8, 8), per_class=40)
    spec = spec_of(dataset, network=register(plain), iterations=1)
    assert spec.network == "mine"
    assert distillation.run(spec, dataset, Store(tmp_path).folder_for(spec))


def test_without_a_linear_layer_at_its_end_it_is_a_student_and_no_more(
    register: Callable[[Any], str], tmp_path: Path
) -> None:
    name = register(lambda s: Changed(s.channels, s.classes, lambda _, y: y.log_softmax(1)))
    assert trained(name) == trained(name)
    dataset = set_of(3, (8, 8), per_class=40)
    folder = Store(tmp_path).folder_for(spec := spec_of(dataset, network=name, iterations=1))
    with pytest.raises(CompatibilityError, match="no embedding"):
        distillation.run(spec, dataset, folder)
    assert not folder.path.exists()


WRONG: dict[str, tuple[Any, str]] = {
    "a tuple": (lambda s: Changed(s.channels, s.classes, lambda _, y: (y, y)), "a tuple, no tensor"),
    "a dict": (lambda s: Changed(s.channels, s.classes, lambda _, y: {"logits": y}), "a dict, no tensor"),
    "a tuple in training": (
        lambda s: Changed(s.channels, s.classes, lambda own, y: (y, y) if own.training else y),
        "in training mode it returns a tuple",
    ),
    "other classes": (lambda s: Plain(s.channels, 7), r"shape \(2, 3\).*returns float32 of shape \(2, 7\)"),
    "maps": (lambda s: nn.Conv2d(s.channels, s.classes, 1), r"shape \(2, 3, 8, 8\)"),
    "classes as numbers": (lambda s: Changed(s.channels, s.classes, lambda _, y: y.long()), "int64"),
    "a class with other arguments": (Plain, "cannot be made.*TypeError"),
    "a module": (Plain(3, 3), "is registered as a Plain"),
    "text": (lambda s: "resnet18", "is a str, no torch.nn.Module"),
    "a function": (lambda s: lambda x: x, "is a function, no torch.nn.Module"),
    "other channels": (lambda s: Plain(4, s.classes), "cannot take 3×8×8: RuntimeError"),
    "too small": (lambda s: nn.Sequential(nn.Conv2d(3, 4, 9), nn.Flatten(), nn.Linear(4, 3)), "cannot take 3×8×8"),
    "no text": (lambda s: Changed(s.channels, s.classes, _fail), "cannot take 3×8×8: AssertionError"),
    "no weights": (lambda s: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), "no weights"),
}


def _fail(own: nn.Module, made: Tensor) -> None:
    raise AssertionError


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_classifier_is_refused_in_words_with_the_way_out(register: Callable[[Any], str], case: str) -> None:
    target, said = WRONG[case]
    name = register(target)
    with pytest.raises(CompatibilityError, match=said) as caught:
        outline(name, classes=3, size=8)
    assert "'mine'" in caught.value.message and "docs/plugins.md" in caught.value.hint


def test_the_command_refuses_it_before_anything_is_written(tmp_path: Path) -> None:
    file = tmp_path / "tuple_net.py"
    file.write_text(
        "from torch import nn\nfrom fredbench.networks import NETWORKS\n"
        "class Two(nn.Module):\n"
        "    def __init__(self, classes):\n        super().__init__()\n        self.f = nn.LazyLinear(classes)\n"
        "    def forward(self, x):\n        return self.f(x.flatten(1)), None\n"
        "NETWORKS.register('two-outputs-of-a-test', lambda s: Two(s.classes), summary='mine')\n"
    )
    asked = ("--ipc", 1, "--method", "dm", "--preset", "quick", "--network", "two-outputs-of-a-test")
    try:
        error, hint = invoke("--plugin", file, "distill", "digits", *asked, "--store", tmp_path / "runs").problem()
    finally:
        for known in (NETWORKS._targets, NETWORKS._summaries):
            known.pop("two-outputs-of-a-test", None)
    assert "a tuple, no tensor" in error and "docs/plugins.md" in hint and not (tmp_path / "runs").exists()


def dropping(signature: Any) -> nn.Module:
    return Plain(signature.channels, signature.classes, drop=0.5)


@pytest.mark.parametrize("name", ["mine", "timm:rexnet_100", "timm:test_efficientnet_gn"])
def test_layers_that_draw_draw_from_the_stream(register: Callable[[Any], str], name: str) -> None:
    register(dropping)
    torch.manual_seed(1)
    first = trained(name, size=32)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert trained(name, size=32) == first and torch.equal(torch.get_rng_state(), before)


def test_dropout_moves_what_is_trained(register: Callable[[Any], str]) -> None:
    with_dropout = trained(register(dropping))
    assert with_dropout != trained(register(plain))


def test_a_run_whose_network_draws_is_the_same_bytes_whatever_was_drawn_before(
    register: Callable[[Any], str], tmp_path: Path
) -> None:
    dataset, made = set_of(3, (8, 8), per_class=40), []
    spec = spec_of(dataset, network=register(dropping), iterations=2)
    for seed in (1, 2):
        torch.manual_seed(seed)
        folder = Store(tmp_path / str(seed)).folder_for(spec)
        distillation.run(spec, dataset, folder)
        made.append(folder.synset_file.read_bytes())
    assert made[0] == made[1]


def test_trajectory_matching_refuses_whatever_draws(register: Callable[[Any], str]) -> None:
    with pytest.raises(CompatibilityError, match="draws in training"):
        FlatNetwork(build(register(dropping), classes=3, size=8, rng=Stream(0)))
    assert len(FlatNetwork(build(register(plain), classes=3, size=8, rng=Stream(0)))) > 0


@pytest.mark.parametrize("name", ["convit_tiny", "resnet10t", "test_vit"])
def test_a_model_of_timm_is_timms_own(name: str) -> None:
    import timm

    network = build(f"timm:{name}", classes=10, size=32, rng=Stream(0))
    networks.initialise(network, Stream(3))  # again, after it was used at this size
    network.eval()(torch.zeros(1, 3, 32, 32))
    networks.initialise(network, Stream(0))
    sized = {"img_size": (32, 32)} if timm.get_pretrained_cfg(name).fixed_input_size else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(Stream(0).integer())
        theirs = timm.create_model(name, num_classes=10, **sized).eval()
    images = torch.randn(2, 3, 32, 32, generator=Stream(1).torch())
    with torch.no_grad():
        assert torch.equal(network.eval()(images), theirs(images))


@pytest.mark.parametrize(
    ("name", "channels", "size", "said"),
    [
        ("volo_d1_224", 3, 32, "more than its classifier layer"),
        ("test_maxvit", 1, 28, "ZeroDivisionError"),
        ("halonet26t", 3, 32, r"cannot take 3×32×32: AssertionError$"),
        ("levit_128s", 3, 32, "one linear layer"),
    ],
)
def test_a_model_of_timm_that_is_no_student_is_refused_in_words(name: str, channels: int, size: int, said: str) -> None:
    with pytest.raises(FredbenchError) as caught:
        build(f"timm:{name}", classes=10, channels=channels, size=size, rng=Stream(0))
    caught.match(said.removesuffix("$"))
    assert not caught.value.message.rstrip().endswith(":") and "timm:resnet18" in caught.value.hint


def plan(network: str, folder: Path, **changed: Any) -> StudentPlan:
    dataset = set_of(3, (32, 32), per_class=4)
    values: dict[str, Any] = {
        "folder": folder, "source": "a set", "network": network, "recipe": RECIPE, "stream": Stream(0), "classes": 3,
        "shape": (3, 32, 32), "device": torch.device("cpu"), "threads": torch.get_num_threads(),
        "pictures": lambda: real(dataset), **changed,
    }  # fmt: skip
    return StudentPlan(**values)


def test_a_students_name_knows_timms_version_and_no_other_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("timm:resnet18", "convnet-d3-w8-in")
    eager = dataclasses.replace(RECIPE, arithmetic="eager")
    before = [plan(name, tmp_path, threads=1, recipe=eager).digest() for name in names]
    # As it was before students of timm knew its version.
    assert before[1] == "2ce551b96323e247f0b8"
    from fredbench.networks import catalogue

    monkeypatch.setattr(catalogue, "library_versions", lambda *a, **k: {"timm": "0.0.1"})
    after = [plan(name, tmp_path, threads=1, recipe=eager).digest() for name in names]
    assert after[0] != before[0] and after[1] == before[1]


class Pooled(nn.Module):
    """Batch norm over maps of one position."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(channels, 4, 3, bias=False), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4))
        self.sizes: list[int] = []
        self.last = nn.Linear(4, classes)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.sizes.append(len(x))
        return self.last(self.f(x).flatten(1))


def sizes(name: str, count: int, batch: int) -> list[int]:
    network: Any = build(name, classes=3, size=8, rng=Stream(0))
    inner = network.model if name == "mine" else network
    seen: list[int] = []
    inner.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])) if module.training else None)
    images = torch.randn(count, 3, 8, 8, generator=Stream(1).torch())
    recipe = TrainingRecipe(epochs=1, batch_size=batch, augmentation="none", schedule="constant")
    train(network, TensorPictures(images, torch.arange(count) % 3), recipe, Stream(0))
    return seen


def test_a_picture_left_over_joins_the_batch_before_it_only_where_batch_norm_needs_it(
    register: Callable[[Any], str],
) -> None:
    register(lambda s: Pooled(s.channels, s.classes))
    assert sizes("mine", 257, 256) == [257] and sizes("mine", 10, 3) == [3, 3, 4]
    assert sizes("mine", 9, 3) == [3, 3, 3] and sizes("mine", 11, 3) == [3, 3, 3, 2]
    # Norm over more positions than one, or another norm: batches as published.
    assert sizes("convnet-d1-w4-bn", 10, 3) == [3, 3, 3, 1] == sizes("convnet-d1-w4-in", 10, 3)
    for count, batch in ((4, 1), (1, 8)):
        with pytest.raises(UsageError, match=r"'mine'.*batch norm") as caught:
            sizes("mine", count, batch)
        assert "student.batch_size" in caught.value.hint


def test_asking_whether_batch_norm_needs_it_changes_nothing(register: Callable[[Any], str]) -> None:
    """The state after an epoch is that of the joined batches by hand."""
    network = build(register(lambda s: Pooled(s.channels, s.classes)), classes=3, size=8, rng=Stream(0))
    images = torch.randn(5, 3, 8, 8, generator=Stream(1).torch())
    recipe = TrainingRecipe(epochs=1, batch_size=4, augmentation="none", schedule="constant")
    by_hand = build("mine", classes=3, size=8, rng=Stream(0))
    train(network, TensorPictures(images, torch.arange(5) % 3), recipe, Stream(0))
    by_hand.train()(images)
    for name, buffer in by_hand.named_buffers():
        assert torch.allclose(network.get_buffer(name), buffer, atol=1e-6), name


def test_257_classes_of_one_picture_train_under_the_default_batch() -> None:
    network = build("timm:resnet10t", classes=257, size=32, rng=Stream(0))
    images = torch.randn(257, 3, 32, 32, generator=Stream(1).torch())
    recipe = TrainingRecipe(epochs=1, augmentation="none", schedule="constant")
    train(network, TensorPictures(images, torch.arange(257)), recipe, Stream(0))
    assert all(bool(p.isfinite().all()) for p in network.parameters())
