"""ZCA whitening against kornia's, as MTT and HaBa use it (golden zca); the other recipes by their definitions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from vectors import Vectors, close, holds, read, tensor, unnoticed, write

from fredbench.foundation.errors import UsageError
from fredbench.training.whitening import fit_whitening

KEYS = {"x", "y", "eps", "mean", "transform", "inverse", "x_white", "y_white", "y_roundtrip", "kornia_version"}
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}


def check(vectors: Vectors, dtype: torch.dtype) -> None:
    assert set(vectors) == KEYS, f"missing {KEYS - set(vectors)}, unknown {set(vectors) - KEYS}"
    x, y = (tensor(vectors[name], dtype) for name in ("x", "y"))
    fitted = fit_whitening(x, "mtt", eps=float(vectors["eps"]))
    found = {
        "mean": fitted.mean,
        "transform": fitted.transform,
        "inverse": torch.cholesky_inverse(fitted.factor),
        "x_white": fitted.white(x),
        "y_white": fitted.white(y),
        "y_roundtrip": fitted.coloured(fitted.white(y)),
    }
    for name, value in found.items():
        close(value, vectors[name], TOLERANCE[dtype], name)
    assert fitted.white(x).dtype == dtype


@pytest.fixture(scope="module")
def vectors(golden: Path) -> Vectors:
    return read(golden / "methods" / "zca.npz")


@pytest.mark.parametrize("dtype", sorted(TOLERANCE, key=str), ids=str)
def test_against_the_library(vectors: Vectors, dtype: torch.dtype) -> None:
    check(vectors, dtype)


def test_every_altered_copy_fails(vectors: Vectors, tmp_path: Path) -> None:
    copy = tmp_path / "zca.npz"
    write(copy, vectors)
    check(read(copy), torch.float64)
    numbers = {key: array for key, array in vectors.items() if array.dtype.kind != "U"}
    found_alike = unnoticed(numbers, lambda _, one: check({**vectors, **one}, torch.float64), {"x", "y", "eps"})
    assert found_alike == set()
    for key in vectors:
        assert not holds(check, {name: array for name, array in vectors.items() if name != key}, torch.float64)


def pictures(count: int = 40) -> torch.Tensor:
    mixed = torch.randn(count, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return (mixed @ torch.randn(12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) + 3).view(
        count, 3, 2, 2
    )


def test_frepo_adds_a_tenth_of_the_mean_eigenvalue() -> None:
    """White covariance s / (s + eps mean(s)): checked by the eigenvalues of what comes out."""
    x = pictures()
    white = fit_whitening(x, "frepo").white(x).flatten(1)
    values = torch.linalg.eigvalsh(torch.cov(x.flatten(1).T, correction=0))
    wanted = values / (values + 0.1 * values.mean())
    assert torch.allclose(white.mean(0), torch.zeros(12, dtype=torch.float64), atol=1e-10)
    assert torch.allclose(torch.linalg.eigvalsh(torch.cov(white.T, correction=0)), wanted, atol=1e-10)
    # Relative: the scale of the pictures does not matter.
    assert torch.allclose(fit_whitening(5 * x, "frepo").white(5 * x).flatten(1), white)


def test_kip_sees_neither_the_brightness_nor_the_contrast_of_a_picture() -> None:
    x = pictures()
    fitted = fit_whitening(x, "kip")
    changed = x * torch.linspace(0.5, 2, len(x), dtype=x.dtype)[:, None, None, None] + 0.3
    assert torch.allclose(fitted.white(changed), fitted.white(x))
    own = x.flatten(1) - x.flatten(1).mean(1, keepdim=True)
    own = own / own.norm(dim=1, keepdim=True)
    assert torch.allclose(fitted.coloured(fitted.white(x)).flatten(1), own)
    moments = own.T @ own / len(own)
    wanted = torch.linalg.inv(moments + 0.1 * moments.diagonal().mean() * torch.eye(12, dtype=x.dtype))
    assert torch.allclose(fitted.transform @ fitted.transform, wanted)


@pytest.mark.parametrize("grey", [0.0, 0.1, -3.7])
def test_a_constant_picture_is_zeros_to_kip(grey: float) -> None:
    x = pictures()
    fitted = fit_whitening(x, "kip")
    for dtype in (torch.float64, torch.float32):
        white = fitted.white(torch.full((2, 3, 2, 2), grey, dtype=dtype))
        assert torch.equal(white, torch.zeros_like(white))
    beside = fit_whitening(torch.cat([x, torch.full_like(x[:3], grey)]), "kip")
    assert bool(beside.transform.isfinite().all())
    with pytest.raises(UsageError, match="without contrast"):
        fit_whitening(torch.full_like(x, grey), "kip")


@pytest.mark.parametrize(("count", "eps"), [(1, 0.1), (4, 0.0), (4, -1.0)])
def test_what_cannot_be_fitted_is_refused(count: int, eps: float) -> None:
    with pytest.raises(UsageError):
        fit_whitening(pictures(count), "mtt", eps=eps)
