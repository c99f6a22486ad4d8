"""The DM loss, its gradients and FreD's optimiser steps against the authors' (golden dm_loss.npz)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from vectors import Vectors, alterations, close, close_in_norm, holds, read, tensor, unnoticed, write

from fredbench import networks
from fredbench.foundation.rng import Stream
from fredbench.networks import Network
from fredbench.objectives.distribution import class_means, distribution_loss
from fredbench.parameterizations.base import State
from fredbench.parameterizations.frequency import FreD, FreDConfig, pack_mask
from fredbench.training.optimisation import Optimisers

CLASSES = 3
LAYERS = ("features.0", "features.1", "features.4", "features.5", "features.8", "features.9", "classifier")
INPUTS = {
    *("syn", "syn_label", "real", "real_label", "mask", "freq", "step.lr", "step.momentum"),
    *(f"w.{layer}.{part}" for layer in LAYERS for part in ("weight", "bias")),
}
KEYS = {
    *INPUTS,
    *(f"mean_embed_{which}.class{label}" for which in ("real", "syn") for label in range(CLASSES)),
    *("image.loss", "image.loss_per_class", "image.grad_syn"),
    *("freq.loss", "freq.loss_per_class", "freq.grad_freq"),
    *("step.loss_before_step0", "step.loss_before_step1", "step.freq_after"),
}
# The classifier stands above the embedding, and instance norm takes a convolution's bias away again: DM sees
# neither, so that a change of them cannot show.
UNSEEN = {"w.classifier.weight", "w.classifier.bias", *(f"w.features.{layer}.bias" for layer in (0, 4, 8))}
TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-4}
DTYPES = sorted(TOLERANCE, key=str)


def gradient_close(found: Tensor, wanted: np.ndarray, dtype: torch.dtype, what: str) -> None:
    """In float32 a ReLU may flip at zero, for which README.md gives a bound in norm."""
    if dtype == torch.float32:
        close_in_norm(found, wanted, 2e-3, what)
    else:
        close(found, wanted, TOLERANCE[dtype], what)


def network_of(vectors: Vectors, dtype: torch.dtype) -> Network:
    network = networks.build("convnet-d3-w16-in", classes=CLASSES, size=32, rng=Stream(0)).to(dtype)
    weights = {name: tensor(vectors[f"w.{name}"], dtype) for name in network.state_dict()}
    network.load_state_dict(weights)
    return network.train().requires_grad_(False)


def check_keys(vectors: Vectors) -> None:
    assert set(vectors) == KEYS, f"missing {KEYS - set(vectors)}, unknown {set(vectors) - KEYS}"


def real_means(vectors: Vectors, network: Network, dtype: torch.dtype) -> Tensor:
    labels = torch.from_numpy(vectors["real_label"])
    return class_means(network.embed(tensor(vectors["real"], dtype)), labels, CLASSES)


def check_means(vectors: Vectors, dtype: torch.dtype) -> None:
    network = network_of(vectors, dtype)
    found = {"real": real_means(vectors, network, dtype)}
    labels = torch.from_numpy(vectors["syn_label"])
    found["syn"] = class_means(network.embed(tensor(vectors["syn"], dtype)), labels, CLASSES)
    for which, means in found.items():
        for label in range(CLASSES):
            what = f"mean_embed_{which}.class{label}"
            close(means[label], vectors[what], TOLERANCE[dtype], what)


def losses(real: Tensor, synthetic: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and the same of each class alone."""
    rows = [distribution_loss(real[c : c + 1], synthetic[c : c + 1]) for c in range(len(real))]
    return distribution_loss(real, synthetic), torch.stack(rows)


def check_pixels(vectors: Vectors, dtype: torch.dtype) -> None:
    network = network_of(vectors, dtype)
    pictures = tensor(vectors["syn"], dtype).requires_grad_()
    means = class_means(network.embed(pictures), torch.from_numpy(vectors["syn_label"]), CLASSES)
    loss, per_class = losses(real_means(vectors, network, dtype), means)
    loss.backward()
    close(loss, vectors["image.loss"], TOLERANCE[dtype], "loss")
    close(per_class, vectors["image.loss_per_class"], TOLERANCE[dtype], "loss per class")
    gradient_close(pictures.grad, vectors["image.grad_syn"], dtype, "gradient")


def fred_of(vectors: Vectors, dtype: torch.dtype) -> tuple[FreD, State]:
    """FreD holding the vectors' coefficients, at their rate and momentum."""
    masks = vectors["mask"].reshape(CLASSES, -1)
    k = int(masks[0].sum())
    assert set(np.unique(masks)) == {0, 1} and masks.sum(axis=1).tolist() == [k] * CLASSES
    config = FreDConfig(k, lr=float(vectors["step.lr"]), momentum=float(vectors["step.momentum"]))
    count, channels, height, width = vectors["freq"].shape
    positions = torch.from_numpy(masks.nonzero()[1].reshape(CLASSES, k))
    flat = tensor(vectors["freq"], dtype).reshape(CLASSES, count // CLASSES, channels, height * width)
    kept = flat.gather(3, positions[:, None, None, :].expand(-1, flat.shape[1], channels, -1)).contiguous()
    stored = {"coefficients": kept, "mask": pack_mask(positions, height * width)}
    state = FreD(config).from_tensors(stored, classes=CLASSES, shape=(channels, height, width))
    state.learned["coefficients"].requires_grad_()
    assert state.labels.tolist() == vectors["syn_label"].tolist()
    return FreD(config), state


def spread(kept: Tensor, state: State, onto: np.ndarray) -> Tensor:
    """`onto` with the kept positions replaced: what the authors' whole coefficient tensor holds."""
    whole = tensor(onto, kept.dtype).flatten(2).clone()
    where = state.fixed["positions"].repeat_interleave(kept.shape[1], 0)[:, None, :]
    whole.scatter_(2, where.expand(-1, whole.shape[1], -1), kept.detach().flatten(0, 1))
    return whole.reshape(onto.shape)


def check_frequencies(vectors: Vectors, dtype: torch.dtype) -> None:
    network, (fred, state) = network_of(vectors, dtype), fred_of(vectors, dtype)
    pictures, labels = fred.decode(state)
    real = real_means(vectors, network, dtype)
    loss, per_class = losses(real, class_means(network.embed(pictures), labels, CLASSES))
    loss.backward()
    close(loss, vectors["freq.loss"], TOLERANCE[dtype], "loss")
    close(per_class, vectors["freq.loss_per_class"], TOLERANCE[dtype], "loss per class")
    gradient = spread(state.learned["coefficients"].grad, state, np.zeros_like(vectors["freq"]))
    gradient_close(gradient, vectors["freq.grad_freq"], dtype, "gradient")


def check_steps(vectors: Vectors, dtype: torch.dtype) -> None:
    network, (fred, state) = network_of(vectors, dtype), fred_of(vectors, dtype)
    real, optimisers = real_means(vectors, network, dtype), Optimisers(fred.parameters(state))
    for step in range(2):
        pictures, labels = fred.decode(state)
        loss = distribution_loss(real, class_means(network.embed(pictures), labels, CLASSES))
        close(loss, vectors[f"step.loss_before_step{step}"], TOLERANCE[dtype], f"loss before step {step}")
        optimisers.zero_grad()
        loss.backward()
        optimisers.step()
    after = spread(state.learned["coefficients"], state, vectors["freq"])
    gradient_close(after, vectors["step.freq_after"], dtype, "coefficients after two steps")


CHECKS = (check_means, check_pixels, check_frequencies, check_steps)


def all_checks(vectors: Vectors) -> None:
    check_keys(vectors)
    for check in CHECKS:
        check(vectors, torch.float64)


@pytest.fixture(scope="module")
def vectors(golden: Path) -> Vectors:
    return read(golden / "methods" / "dm_loss.npz")


def test_the_file_holds_the_keys_that_its_readme_promises(vectors: Vectors) -> None:
    check_keys(vectors)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("check", CHECKS)
def test_against_the_authors_vectors(vectors: Vectors, check, dtype: torch.dtype) -> None:
    check(vectors, dtype)


def test_a_copy_of_the_file_passes_and_every_altered_one_fails(vectors: Vectors, tmp_path: Path) -> None:
    copy = tmp_path / "dm_loss.npz"
    write(copy, vectors)
    all_checks(read(copy))
    found_alike = unnoticed(vectors, lambda _, altered: all_checks(altered), INPUTS)
    assert found_alike == UNSEEN, found_alike ^ UNSEEN
    write(copy, dict(alterations(vectors))["step.freq_after"])
    with pytest.raises(AssertionError, match="coefficients after two steps"):
        all_checks(read(copy))


def test_a_missing_key_fails(vectors: Vectors) -> None:
    for key in vectors:
        assert not holds(all_checks, {name: array for name, array in vectors.items() if name != key})
