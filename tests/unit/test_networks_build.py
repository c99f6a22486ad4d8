"""Students: counts of every published row, names, sizes, embeddings, feature maps, the timm bridge."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from fredbench.foundation.errors import CompatibilityError, UnknownNameError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.networks import NETWORKS, ConvNet, ConvNetConfig, build, canonical_name, outline

# Name, channels, size, classes, parameters: every row of the architecture tables of the official code.
COUNTS = [
    ("convnet-d3-w128-in", 3, 32, 10, 320_010),
    ("convnet-d3-w128-in", 3, 32, 100, 504_420),
    ("convnet-d3-w128-in", 1, 28, 10, 317_706),
    ("convnet-d3-w128-in", 3, 64, 200, 1_938_120),
    ("convnet-d4-w128-in", 3, 64, 200, 857_160),
    ("convnet-d3-w128-in", 3, 128, 10, 627_210),
    ("convnet-d4-w128-in", 3, 128, 10, 529_290),
    ("convnet-d5-w128-in", 3, 128, 10, 615_690),
    ("convnet-d5-w256-in", 3, 128, 10, 2_411_018),
    ("convnet-d6-w128-in", 3, 256, 10, 763_530),
    ("convnet-d3-w128-none", 3, 32, 10, 319_242),
    ("convnet-d3-w128-bn", 3, 32, 10, 320_010),
    ("convnet-d3-w128-gn", 3, 32, 10, 320_010),
    ("convnet-d3-w128-ln", 3, 32, 10, 663_306),
    ("mlp", 3, 32, 10, 411_146),
    ("mlp", 3, 32, 100, 422_756),
    ("lenet", 3, 32, 10, 62_006),
    ("lenet", 3, 32, 100, 69_656),
    ("alexnet", 3, 32, 10, 1_872_202),
    ("alexnet", 3, 32, 100, 2_148_772),
    ("alexnet-bn", 3, 32, 10, 1_874_122),
    ("alexnet-bn", 3, 32, 100, 2_150_692),
    ("vgg11", 3, 32, 10, 9_231_114),
    ("vgg11", 3, 32, 100, 9_277_284),
    ("vgg11-bn", 3, 32, 10, 9_231_114),
    ("vgg11-bn", 3, 32, 100, 9_277_284),
    ("resnet18", 3, 32, 10, 11_173_962),
    ("resnet18", 3, 32, 100, 11_220_132),
    ("resnet18-bn", 3, 32, 10, 11_173_962),
    ("resnet18-bn", 3, 32, 100, 11_220_132),
    ("resnet18-ap", 3, 32, 10, 11_250_762),
    ("resnet18-ap", 3, 32, 100, 11_988_132),
    ("resnet18-ap-bn", 3, 32, 10, 11_250_762),
    ("resnet18-ap-bn", 3, 32, 100, 11_988_132),
    ("alexnet", 3, 128, 10, 2_333_002),
    ("vgg11", 3, 128, 10, 9_476_874),
    ("resnet18", 3, 128, 10, 11_173_962),
    ("resnet18-none", 3, 128, 10, 11_164_362),
    ("resnet18-imagenet", 3, 128, 10, 11_181_642),
    # 9 * in * out + out a convolution, 8192 features; a gain and a bias a channel of the two norms.
    ("frepo-d3-w128-none", 3, 32, 10, 3_584 + 295_168 + 1_180_160 + 81_930),
    ("frepo-d3-w128-bn", 3, 32, 10, 3_584 + 295_168 + 1_180_160 + 81_930 + 2 * (128 + 256)),
    ("kip-d3-w1024", 3, 32, 10, 28_672 + 3 * 9_438_208 + 163_850),
]
PATTERNS = {"convnet-dDEPTH-wWIDTH-NORM", "frepo-dDEPTH-wWIDTH-NORM", "kip-dDEPTH-wWIDTH", "timm:NAME"}
FIXED = [name for name in NETWORKS if name not in PATTERNS and name != "resnet18-imagenet"]
FIXED += ["frepo-d3-w8-bn", "frepo-w4-none", "kip-d2-w8"]


@pytest.mark.parametrize(("name", "channels", "size", "classes", "count"), COUNTS)
def test_parameter_counts_of_the_published_tables(
    name: str, channels: int, size: int, classes: int, count: int
) -> None:
    network = outline(name, channels=channels, classes=classes, size=size)
    assert sum(parameter.numel() for parameter in network.parameters()) == count
    images = torch.empty(2, channels, size, size, device="meta")
    assert network(images).shape == (2, classes)


@pytest.mark.parametrize(("name", "size"), [(name, 32) for name in FIXED] + [("alexnet", 128), ("vgg11", 128)])
def test_embedding_is_what_the_head_is_fed(name: str, size: int) -> None:
    network = build(name, classes=7, size=size, rng=Stream(0)).eval()
    images = torch.randn(2, 3, size, size, generator=Stream(1).torch())
    fed: list[Tensor] = []
    network.head.register_forward_hook(lambda _module, inputs, _output: fed.append(inputs[0].detach()))
    with torch.no_grad():
        logits, embedding = network(images), network.embed(images)
    assert isinstance(network.head, nn.Linear)
    assert len(fed) == 1
    assert torch.equal(fed[0], embedding)
    assert torch.equal(logits, functional.linear(embedding, network.head.weight, network.head.bias))


def test_feature_maps_follow_the_definition_of_the_blocks() -> None:
    network = build("convnet-d3-w8-in", classes=4, size=16, rng=Stream(0)).double()
    images = torch.randn(3, 3, 16, 16, dtype=torch.float64, generator=Stream(1).torch())
    state = network.state_dict()
    current, expected = images, []
    for index in (0, 4, 8):
        weight, bias = state[f"features.{index}.weight"], state[f"features.{index}.bias"]
        current = functional.conv2d(current, weight, bias, padding=1)
        deviation, mean = torch.var_mean(current, (2, 3), correction=0, keepdim=True)
        gain, shift = (state[f"features.{index + 1}.{part}"].view(1, -1, 1, 1) for part in ("weight", "bias"))
        current = ((current - mean) / (deviation + 1e-5).sqrt() * gain + shift).clamp(min=0)
        expected.append(current)
        n, c, h, w = current.shape
        current = current.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))
    maps = network.feature_maps(images)
    assert [tuple(m.shape[1:]) for m in maps] == [(8, 16, 16), (8, 8, 8), (8, 4, 4), (8, 2, 2)]
    for got, want in zip(maps, [*expected, current], strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-12)
    torch.testing.assert_close(network.embed(images), current.flatten(1), rtol=0, atol=1e-12)


def test_networks_without_feature_maps_say_who_has_them() -> None:
    with pytest.raises(CompatibilityError, match="convnet"):
        outline("mlp", classes=10, size=32).feature_maps(torch.empty(1, 3, 32, 32, device="meta"))


def test_rectangular_pictures() -> None:
    for name in ("convnet", "alexnet", "resnet18", "mlp"):
        network = build(name, classes=3, size=(32, 48), rng=Stream(0))
        assert network(torch.zeros(2, 3, 32, 48)).shape == (2, 3)


@given(
    st.builds(
        ConvNetConfig,
        depth=st.integers(1, 7),
        width=st.integers(1, 64).map(lambda quarter: 4 * quarter),
        norm=st.sampled_from(["in", "bn", "ln", "gn", "none"]),
        activation=st.sampled_from(["relu", "sigmoid", "leakyrelu", "swish"]),
        pooling=st.sampled_from(["avg", "max", "nopool"]),
    )
)
def test_canonical_names_are_read_back(config: ConvNetConfig) -> None:
    assert ConvNetConfig.parse(config.name, (32, 32)) == config


def test_left_out_parts_take_the_literatures_values() -> None:
    assert [canonical_name("convnet", classes=10, size=s) for s in (28, 32, 64, 128, 256)] == [
        f"convnet-d{depth}-w128-in" for depth in (3, 3, 4, 5, 6)
    ]
    assert canonical_name("convnet-bn-w64", classes=10, size=64) == "convnet-d4-w64-bn"
    assert canonical_name("convnet-d3-w16-in-swish-max", classes=10, size=32) == "convnet-d3-w16-in-swish-max"
    assert canonical_name("resnet18-ap-bn", classes=10, size=32) == "resnet18-ap-bn"
    built = build("convnet", classes=10, size=64, rng=Stream(0))
    assert isinstance(built, ConvNet)
    assert built.config == ConvNetConfig(depth=4)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("convnet-d3-w128-xn", 32, "cannot read 'xn'"),
        ("convnet-d3-d4", 32, "depth twice"),
        ("convnet-d0", 32, "depth 0"),
        ("convnet-w6-gn", 32, "do not divide width 6"),
        ("convnet-d5", 16, "halves the picture 5 times.*at most 4"),
        ("convnet-d1", 1, "at least 2 px"),
        ("frepo-d4", 8, "halves the picture 4 times.*at most 3"),
        ("frepo-w0", 32, "cannot read network 'frepo-w0'"),
        ("kip-d4-w8", 8, "halves the picture 4 times.*at most 3"),
        ("kip-w0", 32, "cannot read network 'kip-w0'"),
        ("vgg11", 64, "cannot take 3×64×64.*128×128"),
        ("lenet", 28, "cannot take 3×28×28.*32×32"),
        ("resnet18-ap", 128, "cannot take 3×128×128.*32×32"),
        ("resnet18", 8, "16×16 and larger"),
        ("resnet18-imagenet", 32, "64×64 and larger"),
        ("alexnet", 4, "8×8 and larger"),
        ("convnet", 0, "0×0 pictures"),
    ],
)
def test_what_cannot_be_built_is_refused_and_says_what_can(name: str, size: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(name, classes=10, size=size, rng=Stream(0))


@pytest.mark.parametrize("name", ["resnet19", "convnetd3", "convnet-dDEPTH-wWIDTH-NORM", "timm:NAME"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(UsageError, match=r"unknown network|timm knows no model"):
        build(name, classes=10, size=32, rng=Stream(0))
    with pytest.raises(UnknownNameError, match="did you mean 'resnet18'"):
        build("resnet81", classes=10, size=32, rng=Stream(0))


def test_every_network_of_the_contract_is_listed_with_a_summary() -> None:
    promised = {"convnet", "mlp", "lenet", "alexnet", "vgg11", "resnet18", "resnet18-ap"}
    promised |= {"alexnet-bn", "vgg11-bn", "resnet18-bn", "resnet18-ap-bn"} | PATTERNS
    assert promised <= set(NETWORKS)
    assert all(NETWORKS.summary(name) for name in NETWORKS)


@pytest.mark.parametrize("name", ["timm:resnet18", "timm:vit_tiny_patch16_224"])
def test_timm_models_are_students_like_others(name: str) -> None:
    network = build(name, channels=1, classes=5, size=32, rng=Stream(0)).eval()
    images = torch.randn(2, 1, 32, 32, generator=Stream(1).torch())
    with torch.no_grad():
        torch.testing.assert_close(network(images), network.model(images))  # type: ignore[operator]
        assert network.embed(images).shape == (2, network.head.in_features)
    assert canonical_name(name, classes=5, size=32) == name


def test_timm_errors_name_the_way_out() -> None:
    with pytest.raises(UsageError, match="did you mean timm:resnet18"):
        build("timm:resnet1", classes=5, size=32, rng=Stream(0))
    with pytest.raises(UsageError, match="cannot take 3×32×32"):
        build("timm:inception_v4", classes=5, size=32, rng=Stream(0))
