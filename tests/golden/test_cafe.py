"""CAFE's alignment and discrimination against the authors' (golden cafe.npz)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from vectors import Vectors, close, close_in_norm, holds, read, tensor, unnoticed, write

from fredbench import networks
from fredbench.foundation.rng import Stream
from fredbench.networks import Network
from fredbench.objectives.alignment import (
    CAFEConfig,
    alignment,
    discrimination,
    discrimination_logits,
    map_weights,
)
from fredbench.objectives.distribution import class_means
from fredbench.training.loop import cross_entropy

CLASSES = 10
LAYERS = ("features.0", "features.1", "features.4", "features.5", "features.8", "features.9", "classifier")
NAMES = tuple(f"{layer}.{part}" for layer in LAYERS for part in ("weight", "bias"))
MAPS = ("block1_relu", "block2_relu", "block3_relu", "block3_pool")
INPUTS = {"syn", "syn_label", "real", "real_label", "weights_json", "param_names", *(f"w.{name}" for name in NAMES)}
# Instance norm takes a convolution's bias away again, so that a change of it cannot show.
UNSEEN = {f"w.features.{layer}.bias" for layer in (0, 4, 8)}
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
DTYPES = sorted(TOLERANCE, key=str)
Found = dict[str, Tensor]


def network_of(vectors: Vectors, dtype: torch.dtype) -> Network:
    network = networks.build("convnet-d3-w16-in", classes=CLASSES, size=32, rng=Stream(0)).to(dtype)
    assert tuple(name for name, _ in network.named_parameters()) == tuple(vectors["param_names"]) == NAMES
    network.load_state_dict({name: tensor(vectors[f"w.{name}"], dtype) for name in NAMES})
    return network.train()


def config_of(vectors: Vectors) -> CAFEConfig:
    """Theirs count from the last map, ours from the first; the flattened features have no weight of their own."""
    stated = json.loads(str(vectors["weights_json"]))
    assert set(stated) == {"first", "second", "third", "fourth", "inner"}
    weights = tuple(stated[name] for name in ("fourth", "third", "second", "first"))
    return CAFEConfig(weights=weights, discrimination=stated["inner"])


def computed(vectors: Vectors, dtype: torch.dtype) -> Found:
    """What our functions make of the inputs, under the names of the file, with its weights."""
    config, network = config_of(vectors), network_of(vectors, dtype)
    real, truth = tensor(vectors["real"], dtype), tensor(vectors["real_label"], dtype)
    pictures, labels = tensor(vectors["syn"], dtype).requires_grad_(), tensor(vectors["syn_label"], dtype)
    with torch.no_grad():
        real_maps = network.feature_maps(real)
    means = [class_means(m.flatten(1), truth, CLASSES).view(CLASSES, *m.shape[1:]) for m in real_maps]
    maps = network.feature_maps(pictures)
    flat = maps[-1].flatten(1)
    terms = {f"align.{n}": alignment(m, own, labels) for n, m, own in zip(MAPS, means, maps, strict=True)}
    terms["align.flat"] = alignment(means[-1].flatten(1), flat, labels)
    logits = discrimination_logits(real_maps[-1].flatten(1), flat, labels, CLASSES)
    summed = discrimination(logits, truth)
    weights = map_weights(config.weights, len(MAPS))
    middle = torch.stack([w * terms[f"align.{n}"] for w, n in zip(weights, MAPS, strict=True)]).sum()
    loss_real = cross_entropy(network(real), truth).detach()
    total = middle + loss_real + config.flat * terms["align.flat"] + config.discrimination * summed
    gradients = {"total": total, "middle": middle, "flat": terms["align.flat"], "discrimination": summed}
    found = {
        f"grad_syn.{name}": torch.autograd.grad(loss, pictures, retain_graph=True)[0]
        for name, loss in gradients.items()
    }
    found |= {f"shape.{name}": torch.tensor(m.shape) for name, m in zip(MAPS, real_maps, strict=True)}
    found |= {"loss_middle": middle, "loss_real": loss_real, "loss_total": total}
    found |= {"discrimination_logits": logits, "discrimination_sum": summed}
    return {key: value.detach() for key, value in {**found, **terms}.items()}


def compare(found: Found, vectors: Vectors, dtype: torch.dtype) -> None:
    wanted = set(vectors)
    assert wanted == INPUTS | set(found), f"missing {(INPUTS | set(found)) - wanted}, unknown {wanted - set(found)}"
    for key, value in found.items():
        if key.startswith("grad") and dtype == torch.float32:
            close_in_norm(value, vectors[key], 2e-3, key)  # README.md: a ReLU may flip at zero
        else:
            close(value, np.asarray(vectors[key]), TOLERANCE[dtype], key)


@pytest.fixture(scope="module")
def vectors(golden: Path) -> Vectors:
    return read(golden / "methods" / "cafe.npz")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_against_the_authors_vectors(vectors: Vectors, dtype: torch.dtype) -> None:
    compare(computed(vectors, dtype), vectors, dtype)


def test_a_copy_of_the_file_passes_and_every_altered_one_fails(vectors: Vectors, tmp_path: Path) -> None:
    copy = tmp_path / "cafe.npz"
    write(copy, vectors)
    dtype = torch.float64
    found = computed(read(copy), dtype)
    compare(found, read(copy), dtype)

    def passes(key: str, altered: Vectors) -> None:
        # What is computed depends on the inputs alone.
        compare(computed(altered, dtype) if key in INPUTS else found, altered, dtype)

    found_alike = unnoticed(vectors, passes, INPUTS)
    assert found_alike == UNSEEN, found_alike ^ UNSEEN


def test_our_weights_are_those_of_the_published_code() -> None:
    """README.md of the vectors: first, second, third, fourth = 1, 1, .1, .1 and inner = .01."""
    config = CAFEConfig()
    assert (config.weights, config.flat, config.discrimination) == ((0.1, 0.1, 1.0, 1.0), 1.0, 0.01)


def test_a_missing_key_fails(vectors: Vectors) -> None:
    found = computed(vectors, torch.float64)
    for key in found:
        rest = {name: array for name, array in vectors.items() if name != key}
        assert not holds(compare, found, rest, torch.float64)
