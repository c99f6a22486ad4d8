"""FreD's mask against a brute-force reading of its definition, packing, initialisation and decoding."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spine import cifar_like, real, set_of
from torch import Tensor

from fredbench.foundation.errors import ArtefactError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.parameterizations.base import State
from fredbench.parameterizations.budget import Budget
from fredbench.parameterizations.frequency import (
    FreD,
    FreDConfig,
    explained_variance,
    pack_mask,
    top_positions,
    unpack_mask,
)


def by_brute_force(coefficients: np.ndarray) -> np.ndarray:
    """e_d^T Sigma e_d / tr Sigma with the whole covariance of channel means, as the paper defines it."""
    rows = coefficients.mean(axis=1).reshape(len(coefficients), -1)
    covariance = np.cov(rows, rowvar=False, ddof=1)
    units = np.eye(len(covariance))
    shares = [units[d] @ covariance @ units[d] / np.trace(covariance) for d in range(len(covariance))]
    return np.array(shares).reshape(coefficients.shape[2:])


def draw(count: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    scale = np.exp(np.random.default_rng(99).normal(size=size))
    return np.random.default_rng(seed).normal(size=(count, 3, *size)) * scale


@pytest.mark.parametrize(("count", "size"), [(2, (4, 4)), (7, (5, 6)), (16, (8, 8))])
def test_variance_is_the_diagonal_of_the_covariance(count: int, size: tuple[int, int]) -> None:
    coefficients, wanted = draw(count, size), None
    wanted = by_brute_force(coefficients)
    found = explained_variance(torch.from_numpy(coefficients)).numpy()
    assert np.abs(found - wanted).max() < 1e-14 and found.sum() == pytest.approx(1)
    for k in (1, 3, size[0] * size[1]):
        positions = top_positions(torch.from_numpy(found), k).tolist()
        assert positions == np.argsort(-wanted.ravel(), kind="stable")[:k].tolist()


def test_channels_are_averaged_before_the_variance() -> None:
    """A frequency whose channels cancel carries nothing, however much each of them varies (methods.md 13.4)."""
    coefficients = draw(6, (4, 4)) * 0.01
    swing = np.random.default_rng(3).normal(size=6) * 100
    coefficients[:, :, 2, 3] = np.stack([swing, -swing, np.zeros(6)], axis=1)
    ratio = explained_variance(torch.from_numpy(coefficients))
    assert float(ratio[2, 3]) < 1e-20


@pytest.mark.parametrize("count", [0, 1])
def test_one_picture_has_no_variance(count: int) -> None:
    with pytest.raises(UsageError, match="at least two"):
        explained_variance(torch.zeros(count, 3, 4, 4))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 3), min_size=12, max_size=12), st.integers(1, 12))
def test_ties_keep_the_reading_order(levels: list[int], k: int) -> None:
    ratio = torch.tensor(levels, dtype=torch.float64).reshape(3, 4)
    ranked = sorted(range(12), key=lambda position: (-levels[position], position))
    assert top_positions(ratio, k).tolist() == ranked[:k]


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 6), st.integers(1, 90), st.data())
def test_masks_pack_into_one_bit_a_position(classes: int, size: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, size))
    chosen = [sorted(data.draw(st.permutations(range(size)))[:k]) for _ in range(classes)]
    packed = pack_mask(torch.tensor(chosen), size)
    assert packed.shape == (classes, -(-size // 8)) and packed.dtype == torch.uint8
    mask = unpack_mask(packed, size)
    assert mask.shape == (classes, size) and [row.nonzero()[:, 0].tolist() for row in mask] == chosen
    # Most significant bit first, zeros behind: readable by anyone.
    text = "".join(f"{byte:08b}" for byte in packed[0].tolist())
    assert text == "".join("01"[p in chosen[0]] for p in range(size)).ljust(8 * packed.shape[1], "0")


def initialised(k: int = 64, ipc: int = 1) -> tuple[FreD, State]:
    pictures = real(cifar_like())
    fred = FreD(FreDConfig(k))
    return fred, fred.init(pictures, Budget.for_ipc(ipc, 10, pictures.shape), Stream(5))


def test_a_state_begins_as_the_pictures_seen_through_their_own_mask() -> None:
    """n' pictures drawn, transformed, and cut to the k positions of most variance among those very pictures."""
    pictures, (fred, state) = real(cifar_like()), initialised()
    decoded, labels = fred.decode(state)
    assert decoded.shape == (160, 3, 32, 32) and labels.tolist() == np.repeat(np.arange(10), 16).tolist()
    for label in (0, 7):
        chosen = pictures.draw(label, 16, Stream(5).child("class", label))
        assert set(pictures.labels[chosen].tolist()) == {label} and len(set(chosen.tolist())) == 16
        images = pictures.images(chosen).double().numpy()
        spectrum = scipy.fft.dctn(images, type=2, axes=(-2, -1))
        order = np.argsort(-by_brute_force(spectrum.reshape(16, 3, 32, 32)).ravel(), kind="stable")
        assert state.fixed["positions"][label].tolist() == sorted(order[:64].tolist())
        mask = np.zeros(1024)
        mask[order[:64]] = 1
        wanted = scipy.fft.idctn(spectrum * mask.reshape(32, 32), type=2, axes=(-2, -1))
        assert np.abs(decoded[labels == label].detach().numpy() - wanted).max() < 1e-4


def test_all_frequencies_give_the_pictures_back() -> None:
    pictures = real(set_of(2, (8, 12), channels=1))
    fred = FreD(FreDConfig(96))
    state = fred.init(pictures, Budget.for_ipc(4, 2, pictures.shape), Stream(1))
    wanted = torch.cat([pictures.images(pictures.draw(c, 4, Stream(1).child("class", c))) for c in range(2)])
    assert float((fred.decode(state)[0].detach() - wanted).abs().max()) < 1e-5


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 31), min_size=1, max_size=12))
def test_decoding_at_an_index_is_decoding_all(index: list[int]) -> None:
    pictures = real(set_of(4, (8, 8), channels=1))
    fred = FreD(FreDConfig(16))
    state = fred.init(pictures, Budget.for_ipc(2, 4, pictures.shape), Stream(1))
    chosen = torch.tensor(index)
    whole, labels = fred.decode(state)
    part, part_labels = fred.decode(state, chosen)
    assert torch.allclose(part, whole[chosen], atol=1e-6) and torch.equal(part_labels, labels[chosen])


def test_only_kept_coefficients_are_learned_and_counted() -> None:
    fred, state = initialised(k=256)
    (group,) = fred.parameters(state)
    assert group.tensors == (state.learned["coefficients"],)
    assert state.learned["coefficients"].shape == (10, 4, 3, 256) and state.learned["coefficients"].requires_grad
    assert not any(tensor.is_floating_point() for tensor in state.fixed.values())


def altered(tensors: dict[str, Tensor], name: str, tensor: Tensor) -> dict[str, Tensor]:
    return {**tensors, name: tensor}


def test_tensors_that_contradict_each_other_are_refused() -> None:
    fred, state = initialised()
    tensors = {name: tensor for name, (tensor, _) in fred.to_tensors(state).items()}
    coefficients, mask = tensors["coefficients"], tensors["mask"]
    flipped = mask.clone()
    flipped[3, 0] ^= 1
    for wrong in (
        altered(tensors, "mask", flipped),
        altered(tensors, "mask", mask[:9]),
        altered(tensors, "coefficients", coefficients[:9]),
        altered(tensors, "coefficients", coefficients[..., :63]),
        altered(tensors, "coefficients", coefficients[:, :, :1]),
        altered(tensors, "coefficients", coefficients.flatten(1)),
    ):
        with pytest.raises(ArtefactError, match="do not describe"):
            fred.from_tensors(wrong, classes=10, shape=(3, 32, 32))
