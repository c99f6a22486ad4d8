"""IDC's decoding, initialisation and matching against the authors' (golden idc.npz)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from vectors import Vectors, close, close_in_norm, holds, read, tensor, unnoticed, write

from fredbench import networks
from fredbench.foundation.rng import Stream
from fredbench.networks import Network
from fredbench.objectives.alongside import Metric, block_maps, convolution_distance, feature_distance
from fredbench.objectives.gradient import matching_gradient, weight_gradients
from fredbench.parameterizations.base import State
from fredbench.parameterizations.multiformation import MultiFormation, MultiFormationConfig, mosaic

CLASSES, DECODED_CANVASES = 3, 2
# Their names for our layers, in their order.
LAYERS = {
    **{f"layers.conv.{i}": f"features.{4 * i}" for i in range(3)},
    **{f"layers.norm.{i}": f"features.{4 * i + 1}" for i in range(3)},
    "classifier": "classifier",
}
NAMES = {f"{theirs}.{part}": f"{ours}.{part}" for theirs, ours in LAYERS.items() for part in ("weight", "bias")}
METRICS: tuple[Metric, ...] = ("l1", "mse", "l1_mean", "cos")
DECODINGS = ((2, "single", True), (2, "multi", True), (2, "bound", True), (3, "single", False), (3, "bound", False))
INPUTS = {
    *("syn", "syn_label", "real", "real_label", "param_names", "norm.mean", "norm.std", "decode.bound"),
    *("mix_init.source", *(f"w.{name}" for name in NAMES)),
    *(f"decode.f{factor}.{mode}.cotangent" for factor, mode, gradient in DECODINGS if gradient),
}
# Instance norm takes a convolution's bias away again, so that a change of it cannot show.
UNSEEN = {f"w.layers.conv.{layer}.bias" for layer in range(3)}
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-3}
DTYPES = sorted(TOLERANCE, key=str)
Found = dict[str, Tensor]


def network_of(vectors: Vectors, dtype: torch.dtype) -> Network:
    network = networks.build("convnet-d3-w16-in", classes=CLASSES, size=32, rng=Stream(0)).to(dtype)
    assert vectors["param_names"].tolist() == list(NAMES)
    network.load_state_dict({ours: tensor(vectors[f"w.{theirs}"], dtype) for theirs, ours in NAMES.items()})
    return network.train()


def synthesiser(
    canvases: Tensor, mean: np.ndarray, std: np.ndarray, config: MultiFormationConfig
) -> tuple[MultiFormation, State]:
    """The parameterization holding `canvases` (classes, n, ch, H, W), which take part in the graph."""
    parts = MultiFormation(config)
    stored = {"canvases": canvases.detach(), "statistics": torch.from_numpy(np.stack([mean, std])).to(canvases.dtype)}
    state = parts.from_tensors(stored, classes=len(canvases), shape=tuple(canvases.shape[2:]))
    state.learned["canvases"].requires_grad_()
    return parts, state


def decodings(vectors: Vectors, dtype: torch.dtype) -> Found:
    found: Found = {}
    canvases = tensor(vectors["syn"], dtype)[:DECODED_CANVASES][None]
    for factor, mode, with_gradient in DECODINGS:
        name = f"decode.f{factor}.{mode}"
        config = MultiFormationConfig(factor=factor, mode=mode, bound=int(vectors["decode.bound"]))
        # Mean 0 and deviation 1: the canvases' own space, as the vectors have it.
        parts, state = synthesiser(canvases.clone(), np.zeros(3), np.ones(3), config)
        pictures, labels = parts.decode(state)
        found[f"{name}.out"], found[f"{name}.target"] = pictures.detach(), labels
        if with_gradient:
            cotangent = tensor(vectors[f"{name}.cotangent"], dtype)
            assert cotangent.shape == pictures.shape, name
            (gradient,) = torch.autograd.grad((pictures * cotangent).sum(), state.learned["canvases"])
            found[f"{name}.grad_syn"] = gradient[0]
    return found


def matching(vectors: Vectors, dtype: torch.dtype, metrics: tuple[Metric, ...]) -> Found:
    network, found = network_of(vectors, dtype), {}
    count = len(vectors["syn"]) // CLASSES
    canvases = tensor(vectors["syn"], dtype).reshape(CLASSES, count, 3, 32, 32)
    cases = [(f"grad.{metric}", metric, 2, "convolutions") for metric in metrics]
    cases += [(f"feat.{metric}", metric, 2, "feat") for metric in metrics]
    cases += [("grad.mse.bias_fc_nodecode", "mse", 1, "all")]
    for name, metric, factor, what in cases:
        config = MultiFormationConfig(factor=factor)
        parts, state = synthesiser(canvases, vectors["norm.mean"], vectors["norm.std"], config)
        pictures, labels = parts.decode(state)
        assert state.labels.reshape(CLASSES, -1)[:, :count].flatten().tolist() == vectors["syn_label"].tolist()
        losses, gradient = class_losses(vectors, network, pictures.detach(), labels, metric, what)
        found[f"match.{name}.loss_per_class"] = losses
        if what != "all":
            (carried,) = torch.autograd.grad(pictures, state.learned["canvases"], gradient)
            found[f"match.{name}.grad_syn"] = carried.flatten(0, 1)
    return found


def class_losses(
    vectors: Vectors, network: Network, pictures: Tensor, labels: Tensor, metric: Metric, what: str
) -> tuple[Tensor, Tensor]:
    mean, std = (tensor(vectors[f"norm.{name}"], pictures.dtype)[:, None, None] for name in ("mean", "std"))
    real, truth = (tensor(vectors["real"], pictures.dtype) - mean) / std, tensor(vectors["real_label"], pictures.dtype)
    losses, gradient = [], torch.zeros_like(pictures)
    for label in range(CLASSES):
        batch, labelled = real[truth == label], truth[truth == label]

        def loss_of(own: Tensor, label: int = label, batch: Tensor = batch, labelled: Tensor = labelled) -> Tensor:
            if what == "feat":
                with torch.no_grad():
                    target = block_maps(network, batch)
                return feature_distance(target, block_maps(network, own), metric)
            aim = weight_gradients(network, batch, labelled, differentiable=False)
            mine = weight_gradients(network, own, torch.full((len(own),), label), differentiable=True)
            return convolution_distance(mine, aim, metric, what)

        loss, gradient[labels == label] = matching_gradient(loss_of, pictures[labels == label])
        losses.append(loss)
    return torch.stack(losses), gradient


def computed(vectors: Vectors, dtype: torch.dtype, metrics: tuple[Metric, ...] = METRICS) -> Found:
    """What our functions make of the inputs, under the names of the file."""
    source = tensor(vectors["mix_init.source"], dtype)
    canvases = torch.cat([mosaic(images, 2) for images in source])
    return {**decodings(vectors, dtype), **matching(vectors, dtype, metrics), "mix_init.out": canvases}


def compare(found: Found, vectors: Vectors, dtype: torch.dtype) -> None:
    wanted = set(vectors)
    assert wanted == INPUTS | set(found), f"missing {(INPUTS | set(found)) - wanted}, unknown {wanted - set(found)}"
    for key, value in found.items():
        if "grad_syn" in key and key.startswith("match") and dtype == torch.float32:
            close_in_norm(value, vectors[key], 2e-3, key)  # README.md: a ReLU may flip at zero
        else:
            close(value, vectors[key], TOLERANCE[dtype], key)


@pytest.fixture(scope="module")
def vectors(golden: Path) -> Vectors:
    return read(golden / "methods" / "idc.npz")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_against_the_authors_vectors(vectors: Vectors, dtype: torch.dtype) -> None:
    compare(computed(vectors, dtype), vectors, dtype)


def test_a_copy_of_the_file_passes_and_every_altered_one_fails(vectors: Vectors, tmp_path: Path) -> None:
    copy = tmp_path / "idc.npz"
    write(copy, vectors)
    dtype = torch.float64
    found = computed(read(copy), dtype)
    compare(found, read(copy), dtype)

    def passes(key: str, altered: Vectors) -> None:
        # What is computed depends on the inputs alone, and an altered one shows in a single metric.
        again = computed(altered, dtype, ("mse",)) if key in INPUTS else {}
        compare({**found, **again}, altered, dtype)

    # Of a source every other row and column is read.
    read_of = np.zeros(vectors["mix_init.source"].shape[-2:])
    read_of[::2, ::2] = 1
    found_alike = unnoticed(vectors, passes, INPUTS, seen={"mix_init.source": read_of})
    # A bound of one less decodes the same canvases alike; one that lets no canvas be cut does not.
    assert found_alike - {"decode.bound"} == UNSEEN, found_alike ^ UNSEEN
    assert not holds(passes, "decode.bound", {**vectors, "decode.bound": np.int64(DECODED_CANVASES)})


def test_a_missing_key_fails(vectors: Vectors) -> None:
    found = computed(vectors, torch.float64)
    for key in found:
        rest = {name: array for name, array in vectors.items() if name != key}
        assert not holds(compare, found, rest, torch.float64)
