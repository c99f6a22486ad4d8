"""DC's gradients, distances and losses against the authors' (golden dc_loss.npz)."""

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
from fredbench.objectives.gradient import gradient_distance, layer_distance, matching_gradient, weight_gradients
from fredbench.parameterizations.base import State
from fredbench.parameterizations.frequency import FreD, FreDConfig, pack_mask

CLASSES = 3
LAYERS = ("features.0", "features.1", "features.4", "features.5", "features.8", "features.9", "classifier")
NAMES = tuple(f"{layer}.{part}" for layer in LAYERS for part in ("weight", "bias"))
METRICS = ("ours", "mse", "cos")
INPUTS = {"syn", "syn_label", "real", "real_label", "param_names", "mask", "freq", *(f"w.{name}" for name in NAMES)}
# Instance norm takes a convolution's bias away again: its gradient is zero up to round-off (README.md), and a
# change of the bias cannot show.
CANCELLED = ("features.0.bias", "features.4.bias", "features.8.bias")
UNSEEN = {f"w.{name}" for name in CANCELLED}
# README.md: losses, gradients; absolute where the truth is zero.
TOLERANCE = {torch.float64: (1e-9, 1e-9, 1e-12), torch.float32: (1e-4, 1e-3, 1e-5)}
DTYPES = sorted(TOLERANCE, key=str)
Found = dict[str, Tensor]


def network_of(vectors: Vectors, dtype: torch.dtype) -> Network:
    network = networks.build("convnet-d3-w16-in", classes=CLASSES, size=32, rng=Stream(0)).to(dtype)
    assert tuple(name for name, _ in network.named_parameters()) == tuple(vectors["param_names"]) == NAMES
    network.load_state_dict({name: tensor(vectors[f"w.{name}"], dtype) for name in NAMES})
    return network


def gradients_of(vectors: Vectors, which: str, network: Network, dtype: torch.dtype) -> list[tuple[Tensor, ...]]:
    images, labels = tensor(vectors[which], dtype), tensor(vectors[f"{which}_label"], dtype)
    return [
        weight_gradients(network, images[labels == c], labels[labels == c], differentiable=which == "syn")
        for c in range(CLASSES)
    ]


def fred_of(vectors: Vectors, dtype: torch.dtype) -> tuple[FreD, State]:
    """FreD holding the vectors' coefficients under their mask."""
    assert set(np.unique(vectors["mask"])) == {0, 1}
    positions = torch.from_numpy(np.flatnonzero(vectors["mask"])).expand(CLASSES, -1)
    count, channels, height, width = vectors["freq"].shape
    flat = tensor(vectors["freq"], dtype).reshape(CLASSES, count // CLASSES, channels, height * width)
    kept = flat[..., positions[0]].contiguous()
    fred = FreD(FreDConfig(k=positions.shape[1]))
    stored = {"coefficients": kept, "mask": pack_mask(positions, height * width)}
    state = fred.from_tensors(stored, classes=CLASSES, shape=(channels, height, width))
    state.learned["coefficients"].requires_grad_()
    assert state.labels.tolist() == vectors["syn_label"].tolist()
    return fred, state


def losses_of(
    network: Network, targets: list[tuple[Tensor, ...]], pictures: Tensor, labels: Tensor, metric: str
) -> tuple[Tensor, Tensor]:
    """Loss of each class, and the gradient of their sum with respect to the pictures."""
    losses, gradient = [], torch.zeros_like(pictures)
    for label, target in enumerate(targets):

        def loss_of(batch: Tensor, label: int = label, target: tuple[Tensor, ...] = target) -> Tensor:
            own = weight_gradients(network, batch, torch.full((len(batch),), label), differentiable=True)
            return gradient_distance(own, target, metric)

        loss, gradient[labels == label] = matching_gradient(loss_of, pictures[labels == label])
        losses.append(loss)
    return torch.stack(losses), gradient


def layers_of(network: Network, targets: list[tuple[Tensor, ...]], pictures: Tensor, labels: Tensor) -> Tensor:
    rows = []
    for label, target in enumerate(targets):
        members = labels == label
        own = weight_gradients(network, pictures[members], labels[members], differentiable=False)
        rows.append(torch.stack([layer_distance(a, b) for a, b in zip(own, target, strict=True)]))
    return torch.stack(rows)


def computed(vectors: Vectors, dtype: torch.dtype) -> Found:
    """What our functions make of the inputs, under the names of the file."""
    network = network_of(vectors, dtype)
    real, synthetic = (gradients_of(vectors, which, network, dtype) for which in ("real", "syn"))
    found = {
        f"grad_{which}.class{label}.{name}": gradient.detach()
        for which, classes in (("real", real), ("syn", synthetic))
        for label, gradients in enumerate(classes)
        for name, gradient in zip(NAMES, gradients, strict=True)
    }
    fred, state = fred_of(vectors, dtype)
    decoded, _ = fred.decode(state)
    labels = tensor(vectors["syn_label"], dtype)
    for prefix, pictures in (("", tensor(vectors["syn"], dtype)), ("freq.", decoded.detach())):
        found[f"ours.{prefix}distance_per_class_layer"] = layers_of(network, real, pictures, labels)
        for metric in METRICS:
            losses, gradient = losses_of(network, real, pictures, labels, metric)
            found[f"{metric}.{prefix}loss_per_class"], found[f"{metric}.{prefix}loss"] = losses, losses.sum()
            if prefix:
                found[f"{metric}.freq.grad_freq"] = carried_to(state, decoded, gradient, vectors["freq"].shape)
            else:
                found[f"{metric}.grad_syn"] = gradient
    return found


def carried_to(state: State, decoded: Tensor, gradient: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The pictures' gradient through FreD, on the whole plane of coefficients."""
    (carried,) = torch.autograd.grad(decoded, state.learned["coefficients"], gradient, retain_graph=True)
    whole = torch.zeros(*shape[:2], shape[2] * shape[3], dtype=decoded.dtype)
    whole[..., state.fixed["positions"][0]] = carried.flatten(0, 1)
    return whole.reshape(shape)


def compare(found: Found, vectors: Vectors, dtype: torch.dtype) -> None:
    wanted = set(vectors)
    assert wanted == INPUTS | set(found), f"missing {(INPUTS | set(found)) - wanted}, unknown {wanted - set(found)}"
    losses, gradients, absolute = TOLERANCE[dtype]
    for key, value in found.items():
        if key.endswith(CANCELLED):
            off = float((value - tensor(vectors[key], dtype)).abs().max())
            assert off <= absolute, f"{key}: off by {off:.3g}"
        elif key.startswith("grad_"):
            close(value, vectors[key], gradients, key)
        elif "grad" in key and dtype == torch.float32:
            close_in_norm(value, vectors[key], 2e-3, key)  # README.md: a ReLU may flip at zero
        else:
            close(value, vectors[key], gradients if "grad" in key else losses, key)
        if key.endswith("per_class_layer"):  # tensors of one axis contribute nothing at all
            assert (value[torch.from_numpy(vectors[key] == 0)] == 0).all()


@pytest.fixture(scope="module")
def vectors(golden: Path) -> Vectors:
    return read(golden / "methods" / "dc_loss.npz")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_against_the_authors_vectors(vectors: Vectors, dtype: torch.dtype) -> None:
    compare(computed(vectors, dtype), vectors, dtype)


def test_a_copy_of_the_file_passes_and_every_altered_one_fails(vectors: Vectors, tmp_path: Path) -> None:
    copy = tmp_path / "dc_loss.npz"
    write(copy, vectors)
    dtype = torch.float64
    found = computed(read(copy), dtype)
    compare(found, read(copy), dtype)

    def passes(key: str, altered: Vectors) -> None:
        # What is computed depends on the inputs alone.
        compare(computed(altered, dtype) if key in INPUTS else found, altered, dtype)

    # Coefficients outside the mask do nothing.
    found_alike = unnoticed(vectors, passes, INPUTS, seen={"freq": vectors["mask"]})
    assert found_alike == UNSEEN, found_alike ^ UNSEEN


def test_a_missing_key_fails(vectors: Vectors) -> None:
    found = computed(vectors, torch.float64)
    for key in found:
        rest = {name: array for name, array in vectors.items() if name != key}
        assert not holds(compare, found, rest, torch.float64)
