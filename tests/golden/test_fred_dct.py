"""FreD's transform, masks and decoding against the authors' (golden fred_dct.npz)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from vectors import Vectors, alterations, close, holds, read, tensor, write

from fredbench.parameterizations.base import State
from fredbench.parameterizations.frequency import (
    FreD,
    FreDConfig,
    explained_variance,
    pack_mask,
    top_positions,
    unpack_mask,
)
from fredbench.parameterizations.transforms import dct2, dct_matrix, idct2, inverse_dct_matrix

KEPT = (16, 32, 64, 256)
WITH_MATRICES = (32, 128)
KEYS = {
    *(
        f"dct{size}.{name}"
        for size in WITH_MATRICES
        for name in ("matrix_forward", "matrix_inverse", "x", "forward_x", "inverse_forward_x", "u", "inverse_u")
    ),
    *("dct28.x", "dct28.forward_x"),
    *("mask.images", "mask.labels", "mask.freq", "mask.variance_ratio", "mask.num_per_class"),
    *(f"mask.k{k}.{name}" for k in KEPT for name in ("topk_flat_index", "mask", "decoded")),
    *("mask.k64.cotangent", "mask.k64.grad_freq"),
}
# README.md: relative to the largest entry; the second for what was decoded.
TOLERANCE = {torch.float64: (1e-12, 1e-12), torch.float32: (2e-5, 1e-4)}
DTYPES = sorted(TOLERANCE, key=str)


def check_keys(vectors: Vectors) -> None:
    assert set(vectors) == KEYS, f"missing {KEYS - set(vectors)}, unknown {set(vectors) - KEYS}"


def check_transform(vectors: Vectors, dtype: torch.dtype) -> None:
    tolerance, _ = TOLERANCE[dtype]
    for size in WITH_MATRICES:
        x, u = (tensor(vectors[f"dct{size}.{name}"], dtype) for name in ("x", "u"))
        close(dct_matrix(size, x), vectors[f"dct{size}.matrix_forward"], tolerance, f"forward matrix {size}")
        close(inverse_dct_matrix(size, x), vectors[f"dct{size}.matrix_inverse"], tolerance, f"inverse {size}")
        close(dct2(x), vectors[f"dct{size}.forward_x"], tolerance, f"forward {size}")
        close(idct2(dct2(x)), vectors[f"dct{size}.inverse_forward_x"], tolerance, f"there and back {size}")
        close(idct2(u), vectors[f"dct{size}.inverse_u"], tolerance, f"inverse {size}")
    close(dct2(tensor(vectors["dct28.x"], dtype)), vectors["dct28.forward_x"], tolerance, "forward 28")


def check_ranking(vectors: Vectors, dtype: torch.dtype) -> None:
    tolerance, _ = TOLERANCE[dtype]
    count, labels = int(vectors["mask.num_per_class"]), vectors["mask.labels"]
    classes = len(labels) // count
    assert labels.tolist() == np.repeat(np.arange(classes), count).tolist()
    spectrum = dct2(tensor(vectors["mask.images"], dtype))
    close(spectrum, vectors["mask.freq"], tolerance, "coefficients")
    for label in range(classes):
        ratio = explained_variance(spectrum[labels == label])
        close(ratio, vectors["mask.variance_ratio"][label], tolerance, f"variance ratio of class {label}")
        for k in KEPT:
            wanted, found = vectors[f"mask.k{k}.topk_flat_index"][label], top_positions(ratio, k).numpy()
            assert set(found) == set(wanted), f"top {k} of class {label}"
            if dtype == torch.float64:
                assert found.tolist() == wanted.tolist(), f"order of the top {k} of class {label}"
            packed = pack_mask(torch.from_numpy(found)[None], ratio.numel())
            mask = unpack_mask(packed, ratio.numel())[0].reshape(ratio.shape)
            assert np.array_equal(mask.numpy(), vectors[f"mask.k{k}.mask"][label]), f"mask {k} of class {label}"


def state_of(vectors: Vectors, k: int, dtype: torch.dtype) -> State:
    """Our parameterization's state holding the vectors' coefficients under their masks."""
    classes = len(vectors[f"mask.k{k}.mask"])
    masks = vectors[f"mask.k{k}.mask"].reshape(classes, -1)
    assert masks.sum(axis=1).tolist() == [k] * classes, f"the masks of k = {k} keep other numbers"
    _, channels, height, width = vectors["mask.freq"].shape
    positions = torch.from_numpy(masks.nonzero()[1].reshape(classes, k))
    flat = tensor(vectors["mask.freq"], dtype).reshape(classes, -1, channels, height * width)
    kept = flat.gather(3, positions[:, None, None, :].expand(-1, flat.shape[1], channels, -1))
    stored = {"coefficients": kept.contiguous(), "mask": pack_mask(positions, height * width)}
    return FreD(FreDConfig(k)).from_tensors(stored, classes=classes, shape=(channels, height, width))


def check_decoding(vectors: Vectors, dtype: torch.dtype) -> None:
    _, tolerance = TOLERANCE[dtype]
    for k in KEPT:
        state, wanted = state_of(vectors, k, dtype), vectors[f"mask.k{k}.decoded"]
        parameterization = FreD(FreDConfig(k))
        index = torch.arange(0, len(state), len(state) // len(wanted))
        found, labels = parameterization.decode(state, index)
        close(found, wanted, tolerance, f"decoded at k = {k}")
        close(parameterization.decode(state)[0][index], wanted, tolerance, f"all decoded at k = {k}")
        assert labels.tolist() == vectors["mask.labels"][index.numpy()].tolist()


def check_gradient(vectors: Vectors, dtype: torch.dtype) -> None:
    tolerance, _ = TOLERANCE[dtype]
    state = state_of(vectors, 64, dtype)
    coefficients = state.learned["coefficients"].requires_grad_()
    decoded, _ = FreD(FreDConfig(64)).decode(state)
    (decoded * tensor(vectors["mask.k64.cotangent"], dtype)).sum().backward()
    gradient = torch.zeros(vectors["mask.freq"].shape, dtype=dtype).flatten(2)
    where = state.fixed["positions"].repeat_interleave(coefficients.shape[1], 0)[:, None, :]
    gradient.scatter_(2, where.expand(-1, gradient.shape[1], -1), coefficients.grad.flatten(0, 1))
    # Zero outside the mask: what is not stored cannot move.
    close(gradient.reshape(vectors["mask.freq"].shape), vectors["mask.k64.grad_freq"], tolerance, "gradient")


CHECKS = (check_transform, check_ranking, check_decoding, check_gradient)


def all_checks(vectors: Vectors) -> None:
    check_keys(vectors)
    for check in CHECKS:
        check(vectors, torch.float64)


def check_file(file: Path) -> None:
    all_checks(read(file))


@pytest.fixture(scope="module")
def vectors(golden: Path) -> Vectors:
    return read(golden / "methods" / "fred_dct.npz")


def test_the_file_holds_the_keys_that_its_readme_promises(vectors: Vectors) -> None:
    check_keys(vectors)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("check", CHECKS)
def test_against_the_authors_vectors(vectors: Vectors, check, dtype: torch.dtype) -> None:
    check(vectors, dtype)


def test_a_copy_of_the_file_passes_and_every_altered_one_fails(vectors: Vectors, tmp_path: Path) -> None:
    copy = tmp_path / "fred_dct.npz"
    write(copy, vectors)
    check_file(copy)
    unnoticed = [key for key, altered in alterations(vectors) if holds(all_checks, altered)]
    assert unnoticed == []
    write(copy, dict(alterations(vectors))["mask.k64.grad_freq"])
    with pytest.raises(AssertionError, match="gradient"):
        check_file(copy)


def test_a_missing_key_fails(vectors: Vectors, tmp_path: Path) -> None:
    for key in vectors:
        assert not holds(check_keys, {name: array for name, array in vectors.items() if name != key})
    file = tmp_path / "fred_dct.npz"
    write(file, {name: array for name, array in vectors.items() if name != "dct28.x"})
    with pytest.raises(AssertionError, match=r"dct28\.x"):
        check_file(file)
