"""The trajectory loss and its gradients against the authors' (golden tm_loss.npz), through pixels and through FreD."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from vectors import Vectors, close, close_in_norm, holds, read, tensor, unnoticed, write

from fredbench import networks
from fredbench.foundation.rng import Stream
from fredbench.objectives.flat import Derivatives, FlatNetwork
from fredbench.objectives.unrolling import InnerStep, Matched, Segment, exact_gradient, tesla_gradient, unrolled_loss
from fredbench.parameterizations.base import Parameterization, State
from fredbench.parameterizations.frequency import FreD, FreDConfig, pack_mask
from fredbench.parameterizations.pixels import Pixels, PixelsConfig
from fredbench.training.augmentation import Draw

CLASSES = 3
LAYERS = ("features.0", "features.1", "features.4", "features.5", "features.8", "features.9", "classifier")
INPUTS = {
    *("syn", "syn_label", "mask", "freq", "syn_lr", "steps", "param_names", "num_params", "minibatch.indices"),
    *(f"{end}.{layer}.{part}" for end in ("start", "target") for layer in LAYERS for part in ("weight", "bias")),
}
KEYS = {
    *INPUTS,
    *(f"{case}.{name}" for case in ("full_batch", "minibatch") for name in ("loss", "grad_syn", "grad_lr")),
    *("freq.loss", "freq.grad_freq", "freq.grad_lr", "full_batch.theta_final"),
    *(f"{case}.inner_losses" for case in ("full_batch", "minibatch", "freq")),
}
# README.md: (losses and final weights, gradients).
TOLERANCE = {torch.float64: (1e-9, 1e-9), torch.float32: (1e-4, 2e-3)}
# Instance norm takes a convolution's bias away again, so that it never moves from the start. Where the target's lies
# there too, the loss has its minimum and a small change of the target does not show; a large one must.
FLAT = {f"target.features.{layer}.bias" for layer in (0, 4, 8)}
DTYPES = sorted(TOLERANCE, key=str)
MODES = ("autograd", "exact, whole batch", "exact, chunks of 5")


def flat_network(dtype: torch.dtype) -> FlatNetwork:
    return FlatNetwork(networks.build("convnet-d3-w16-in", classes=CLASSES, size=32, rng=Stream(0)).to(dtype))


def segment_of(vectors: Vectors, network: FlatNetwork, case: str, dtype: torch.dtype) -> Segment:
    ends = {
        end: network.flatten({name: tensor(vectors[f"{end}.{name}"], dtype) for name, _ in network.layout})
        for end in ("start", "target")
    }
    batches = torch.from_numpy(vectors["minibatch.indices"]) if case == "minibatch" else [None] * int(vectors["steps"])
    assert len(batches) == int(vectors["steps"])
    steps = [InnerStep(index, Draw("none", (), (32, 32))) for index in batches]
    return Segment(ends["start"], ends["target"], steps)


def pixels_of(vectors: Vectors, dtype: torch.dtype) -> tuple[Parameterization, State]:
    pictures = tensor(vectors["syn"], dtype)
    shape = tuple(pictures.shape[1:])
    state = Pixels(PixelsConfig()).from_tensors({"pixels": pictures.clone()}, classes=CLASSES, shape=shape)
    return Pixels(PixelsConfig()), state


def fred_of(vectors: Vectors, dtype: torch.dtype) -> tuple[Parameterization, State]:
    masks = vectors["mask"].reshape(CLASSES, -1)
    k = int(masks[0].sum())
    assert set(np.unique(masks)) == {0, 1} and masks.sum(axis=1).tolist() == [k] * CLASSES
    count, channels, height, width = vectors["freq"].shape
    positions = torch.from_numpy(masks.nonzero()[1].reshape(CLASSES, k))
    flat = tensor(vectors["freq"], dtype).reshape(CLASSES, count // CLASSES, channels, height * width)
    kept = flat.gather(3, positions[:, None, None, :].expand(-1, flat.shape[1], channels, -1)).contiguous()
    stored = {"coefficients": kept, "mask": pack_mask(positions, height * width)}
    fred = FreD(FreDConfig(k))
    return fred, fred.from_tensors(stored, classes=CLASSES, shape=(channels, height, width))


def spread(kept: Tensor, state: State, onto: np.ndarray) -> Tensor:
    """Zeros with the kept positions filled in: a gradient as the authors' whole coefficient tensor has it."""
    whole = torch.zeros(onto.shape, dtype=kept.dtype).flatten(2)
    where = state.fixed["positions"].repeat_interleave(kept.shape[1], 0)[:, None, :]
    whole.scatter_(2, where.expand(-1, whole.shape[1], -1), kept.flatten(0, 1))
    return whole.reshape(onto.shape)


def matched(vectors: Vectors, case: str, mode: str, dtype: torch.dtype) -> tuple[Matched, State, Tensor]:
    """What a mode finds, the state, and the gradient of what is learned, carried through the decoding."""
    network = flat_network(dtype)
    segment = segment_of(vectors, network, case, dtype)
    parameterization, state = (fred_of if case == "freq" else pixels_of)(vectors, dtype)
    (learned,) = state.learned.values()
    learned.requires_grad_()
    pictures, labels = parameterization.decode(state)
    assert labels.tolist() == vectors["syn_label"].tolist()
    alpha = torch.tensor(float(vectors["syn_lr"]), dtype=dtype).requires_grad_()
    if mode == "autograd":
        loss, final, inner = unrolled_loss(network, segment, pictures, labels, alpha)
        by_learned, by_alpha = torch.autograd.grad(loss, (learned, alpha))
        found = Matched(loss.detach(), by_learned, by_alpha, final.detach(), inner)
        return found, state, by_learned
    found = exact_gradient(Derivatives(network, 5 if "chunks" in mode else 12), segment, pictures, labels, alpha)
    # The surrogate that the objective yields: its gradient is the pictures', carried through the decoding.
    (by_learned,) = torch.autograd.grad((pictures * found.pictures).sum(), learned)
    return found, state, by_learned


def check_keys(vectors: Vectors) -> None:
    assert set(vectors) == KEYS, f"missing {KEYS - set(vectors)}, unknown {set(vectors) - KEYS}"


def check_layout(vectors: Vectors) -> None:
    network = flat_network(torch.float64)
    assert [name for name, _ in network.layout] == vectors["param_names"].tolist()
    assert len(network) == int(vectors["num_params"])


def check_case(vectors: Vectors, case: str, mode: str, dtype: torch.dtype) -> None:
    found, state, by_learned = matched(vectors, case, mode, dtype)
    value, slope = TOLERANCE[dtype]
    close(found.loss, vectors[f"{case}.loss"], value, "loss")
    close(found.inner_losses, vectors[f"{case}.inner_losses"], value, "inner losses")
    close(found.step_size, vectors[f"{case}.grad_lr"], slope, "gradient of the step size")
    wanted = vectors["freq.grad_freq" if case == "freq" else f"{case}.grad_syn"]
    gradient = spread(by_learned, state, wanted) if case == "freq" else by_learned
    if dtype == torch.float32:
        close_in_norm(gradient, wanted, slope, "gradient")
    else:
        close(gradient, wanted, slope, "gradient")
    if case == "full_batch":
        close(found.final, vectors["full_batch.theta_final"], value, "final weights")


CASES = ("full_batch", "minibatch", "freq")


def all_checks(vectors: Vectors) -> None:
    check_keys(vectors)
    check_layout(vectors)
    for case in CASES:
        check_case(vectors, case, MODES[1], torch.float64)


@pytest.fixture(scope="module")
def vectors(golden: Path) -> Vectors:
    return read(golden / "methods" / "tm_loss.npz")


def test_the_file_holds_the_keys_that_its_readme_promises(vectors: Vectors) -> None:
    check_keys(vectors)
    check_layout(vectors)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES)
def test_against_the_authors_vectors(vectors: Vectors, case: str, mode: str, dtype: torch.dtype) -> None:
    check_case(vectors, case, mode, dtype)


def test_tesla_has_the_loss_but_not_the_gradient(vectors: Vectors) -> None:
    network = flat_network(torch.float64)
    _, state = pixels_of(vectors, torch.float64)
    alpha = torch.tensor(float(vectors["syn_lr"]), dtype=torch.float64)
    segment = segment_of(vectors, network, "full_batch", torch.float64)
    found = tesla_gradient(Derivatives(network, 12), segment, state.learned["pixels"], state.labels, alpha)
    close(found.loss, vectors["full_batch.loss"], TOLERANCE[torch.float64][0], "loss")
    # By how much it differs depends on the vectors; a thousand times the tolerance shows that it is another gradient.
    _, slope = TOLERANCE[torch.float64]
    assert not holds(close, found.pictures, vectors["full_batch.grad_syn"], 1e3 * slope, "gradient")
    assert not holds(close, found.step_size, vectors["full_batch.grad_lr"], 1e3 * slope, "gradient of the step size")


def altered(vectors: Vectors, key: str) -> Vectors:
    """A name or a number replaced by another."""
    changed = vectors[key].copy()
    changed.flat[0] = "features.0.gain" if changed.dtype.kind == "U" else changed.flat[0] + 1
    return {**vectors, key: changed}


def test_a_copy_of_the_file_passes_and_every_altered_one_fails(vectors: Vectors, tmp_path: Path) -> None:
    copy = tmp_path / "tm_loss.npz"
    write(copy, vectors)
    all_checks(read(copy))
    numbers = {key: array for key, array in vectors.items() if array.dtype.kind != "U"}
    # Coefficients outside the mask do nothing.
    kept = np.repeat(vectors["mask"], len(vectors["freq"]) // CLASSES, axis=0)[:, None]
    found_alike = unnoticed(
        numbers, lambda _, one: all_checks({**vectors, **one}), INPUTS, seen={"freq": kept.astype(float)}
    )
    assert found_alike <= FLAT, found_alike - FLAT
    for key in FLAT:
        assert not holds(all_checks, altered(vectors, key))
    assert not holds(all_checks, altered(vectors, "param_names"))


def test_a_missing_key_fails(vectors: Vectors) -> None:
    for key in vectors:
        assert not holds(check_keys, {name: array for name, array in vectors.items() if name != key})
