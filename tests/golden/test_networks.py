"""Students against the official networks, weight by weight and output by output (golden networks.npz)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fredbench.foundation.rng import Stream
from fredbench.networks import Network, build

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
RELATIVE = sorted(TOLERANCE, key=str)

# The official name (README.md) with ours and the input it is fed with.
MODELS: dict[str, tuple[str, str]] = {
    "ConvNetD3_w128": ("convnet-d3-w128-in", "x32"),
    "ConvNetD3_w16": ("convnet-d3-w16-in", "x32"),
    "ConvNetD3_w16_gray28": ("convnet-d3-w16-in", "x28gray"),
    "ConvNetD4_w16_64": ("convnet-d4-w16-in", "x64"),
    "ConvNetD5_w16_128": ("convnet-d5-w16-in", "x128"),
    "ConvNetD3_w16_batchnorm": ("convnet-d3-w16-bn", "x32"),
    "ConvNetD3_w16_layernorm": ("convnet-d3-w16-ln", "x32"),
    "ConvNetD3_w16_groupnorm": ("convnet-d3-w16-gn", "x32"),
    "ConvNetD3_w16_none": ("convnet-d3-w16-none", "x32"),
    "ConvNetD3_w16_batchnorm_train": ("convnet-d3-w16-bn", "x32"),
    "ConvNetD3_w16_sigmoid": ("convnet-d3-w16-in-sigmoid", "x32"),
    "ConvNetD3_w16_leakyrelu": ("convnet-d3-w16-in-leakyrelu", "x32"),
    "ConvNetD3_w16_swish": ("convnet-d3-w16-in-swish", "x32"),
    "ConvNetD3_w16_pool_maxpooling": ("convnet-d3-w16-in-max", "x32"),
    "ConvNetD3_w16_pool_none": ("convnet-d3-w16-in-nopool", "x32"),
    "AlexNet": ("alexnet", "x32"),
    "VGG11": ("vgg11", "x32"),
    "ResNet18": ("resnet18", "x32"),
    "ResNet18_AP": ("resnet18-ap", "x32"),
    "VGG11BN": ("vgg11-bn", "x32"),
    "ResNet18BN": ("resnet18-bn", "x32"),
    "ResNet18BN_AP": ("resnet18-ap-bn", "x32"),
    "AlexNetBN": ("alexnet-bn", "x32"),
    "MLP": ("mlp", "x32"),
    "LeNet": ("lenet", "x32"),
    "AlexNet_gray28": ("alexnet", "x28gray"),
    "VGG11_gray28": ("vgg11", "x28gray"),
    "ResNet18_AP_gray28": ("resnet18-ap", "x28gray"),
}
WITHOUT_EMBED = {"MLP", "LeNet"}

# The factory's names: `ConvNet` and one option, three channels at 32×32.
OPTIONS = {
    "": "convnet", "D1": "convnet-d1", "D2": "convnet-d2", "D3": "convnet-d3", "D4": "convnet-d4",
    "W32": "convnet-w32", "W64": "convnet-w64", "W128": "convnet-w128", "W256": "convnet-w256",
    "AS": "convnet-sigmoid", "AR": "convnet-relu", "AL": "convnet-leakyrelu",
    "NN": "convnet-none", "BN": "convnet-bn", "LN": "convnet-ln", "IN": "convnet-in", "GN": "convnet-gn",
    "NP": "convnet-nopool", "MP": "convnet-max", "AP": "convnet-avg",
}  # fmt: skip
FACTORY = {f"get_network:ConvNet{option}": (ours, 10) for option, ours in OPTIONS.items()}
FACTORY["get_network:ConvNet:100classes"] = ("convnet", 100)


@pytest.fixture(scope="module")
def vectors(golden: Path) -> dict[str, np.ndarray]:
    with np.load(golden / "methods" / "networks.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


@pytest.fixture(scope="module")
def meta(vectors: dict[str, np.ndarray]) -> dict[str, Any]:
    return dict(json.loads(str(vectors["meta_json"])))


def uniform_by_hash(count: int, entry: int, weight_seed: int) -> np.ndarray:
    """README.md's formula: u in [-1, 1) of the `entry`-th state-dict entry, in unsigned 32-bit arithmetic."""
    z = (np.arange(count, dtype=np.uint64) + 0x9E3779B9 * (entry + 1) + weight_seed).astype(np.uint32)
    z ^= z >> 16
    z *= np.uint32(0x7FEB352D)
    z ^= z >> 15
    z *= np.uint32(0x846CA68B)
    z ^= z >> 16
    return z.astype(np.float64) / 2.0**31 - 1.0


def golden_state(network: Network, weight_seed: int) -> dict[str, Tensor]:
    state = network.state_dict()
    for entry, (name, tensor) in enumerate(state.items()):
        if not tensor.is_floating_point():
            continue
        u = uniform_by_hash(tensor.numel(), entry, weight_seed).reshape(tuple(tensor.shape))
        if tensor.dim() >= 2:
            values = np.sqrt(6.0 / tensor[0].numel()) * u
        elif name.endswith(("weight", "running_var")):
            values = 1.0 + 0.1 * u
        else:
            values = 0.1 * u
        state[name] = torch.from_numpy(values).to(tensor.dtype)
    return state


def layout(network: Network) -> list[list[Any]]:
    return [[name, list(tensor.shape)] for name, tensor in network.state_dict().items()]


def parameter_count(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def relative_error(got: Tensor, expected: np.ndarray) -> float:
    want = torch.from_numpy(expected)
    assert got.shape == want.shape
    return float((got.double() - want).abs().max() / want.abs().max())


def test_no_model_is_left_out(vectors: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
    assert set(meta) == set(MODELS) | set(FACTORY)
    promised = {f"{model}.logits" for model in MODELS} | {f"{model}.embed" for model in set(MODELS) - WITHOUT_EMBED}
    assert {key for key in vectors if "." in key} == promised


@pytest.mark.parametrize("model", MODELS)
def test_model(vectors: dict[str, np.ndarray], meta: dict[str, Any], model: str) -> None:
    name, source = MODELS[model]
    images = torch.from_numpy(vectors[source])
    network = build(
        name,
        channels=images.shape[1],
        classes=vectors[f"{model}.logits"].shape[1],
        size=(images.shape[2], images.shape[3]),
        rng=Stream(0),
    )
    assert layout(network) == meta[model]["keys"]
    assert parameter_count(network) == meta[model]["params"]

    for dtype in RELATIVE:
        network.to(dtype)
        network.load_state_dict(golden_state(network, int(vectors["weight_seed"])))
        network.train(model.endswith("_train"))
        with torch.no_grad():
            logits, embedding = network(images.to(dtype)), network.embed(images.to(dtype))
        assert logits.dtype == embedding.dtype == dtype
        assert relative_error(logits, vectors[f"{model}.logits"]) <= TOLERANCE[dtype]
        if model not in WITHOUT_EMBED:
            assert relative_error(embedding, vectors[f"{model}.embed"]) <= TOLERANCE[dtype]


@pytest.mark.parametrize("entry", FACTORY)
def test_factory(meta: dict[str, Any], entry: str) -> None:
    name, classes = FACTORY[entry]
    network = build(name, classes=classes, size=32, rng=Stream(0))
    assert layout(network) == meta[entry]["keys"]
    assert parameter_count(network) == meta[entry]["params"]
