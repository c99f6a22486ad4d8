"""The transform against scipy, and the equivalence of rates on coefficients and on pixels."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fredbench.parameterizations.transforms import dct2, dct_matrix, idct2, inverse_dct_matrix, pixel_rate

SIZES = [(1, 1), (1, 7), (2, 2), (3, 8), (8, 8), (16, 24), (28, 28), (32, 32), (33, 17), (64, 64), (128, 128)]
DOUBLE = torch.float64


def draw(size: tuple[int, int], batch: tuple[int, ...] = (2, 3), seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(*batch, *size)))


@pytest.mark.parametrize("size", SIZES)
def test_scipy_computes_the_same(size: tuple[int, int]) -> None:
    images = draw(size)
    wanted = scipy.fft.dctn(images.numpy(), type=2, norm=None, axes=(-2, -1))
    scale = np.abs(wanted).max()
    assert np.abs(dct2(images).numpy() - wanted).max() <= 1e-13 * scale
    back = scipy.fft.idctn(images.numpy(), type=2, norm=None, axes=(-2, -1))
    assert np.abs(idct2(images).numpy() - back).max() <= 1e-13 * np.abs(back).max()
    # In single precision, at the tolerance of its sums.
    assert np.abs(dct2(images.float()).numpy() - wanted).max() <= 2e-6 * scale


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 48), st.integers(1, 48), st.integers(0, 99))
def test_there_and_back_is_exact(height: int, width: int, seed: int) -> None:
    images = draw((height, width), seed=seed)
    assert float((idct2(dct2(images)) - images).abs().max()) <= 1e-12
    assert float((dct2(idct2(images)) - images).abs().max()) <= 1e-11


@pytest.mark.parametrize("size", [1, 2, 5, 32, 128])
def test_the_matrices_are_inverse_to_each_other_and_built_in_double(size: int) -> None:
    like = torch.zeros(1, dtype=DOUBLE)
    product = inverse_dct_matrix(size, like) @ dct_matrix(size, like)
    assert float((product - torch.eye(size, dtype=DOUBLE)).abs().max()) < 1e-12
    single = dct_matrix(size, torch.zeros(1))
    assert torch.equal(single, dct_matrix(size, like).float())


def test_it_is_linear_and_separable() -> None:
    a, b = draw((8, 12)), draw((8, 12), seed=1)
    assert torch.allclose(dct2(2 * a - 3 * b), 2 * dct2(a) - 3 * dct2(b), atol=1e-11)
    assert torch.allclose(dct2(a.mT), dct2(a).mT, atol=1e-11)


def test_a_flat_picture_has_one_coefficient() -> None:
    spectrum = dct2(torch.full((1, 5, 4), 0.7, dtype=DOUBLE))
    assert float(spectrum[0, 0, 0]) == pytest.approx(4 * 5 * 4 * 0.7)
    spectrum[0, 0, 0] = 0
    assert float(spectrum.abs().max()) < 1e-13


@pytest.mark.parametrize(
    ("rate", "side", "inside", "axis", "corner"),
    [
        # methods.md 13.3: rate of the script, N, eta / (2N)^2, one zero index, both.
        (1e8, 32, "24414", "12207", "6104"),
        (1e9, 128, "15259", "7629", "3815"),
        (1e6, 32, "244", "122", "61"),
        (1e6, 128, "15.3", "7.6", "3.8"),
        (1e3, 32, "0.244", "0.122", "0.061"),
        (1e5, 128, "1.53", "0.76", "0.38"),
    ],
)
def test_the_published_rates_in_pixels(rate: float, side: int, inside: str, axis: str, corner: str) -> None:
    rates = pixel_rate(rate, (side, side))
    for u, v, wanted in ((1, 1, inside), (side - 1, 3, inside), (0, 2, axis), (5, 0, axis), (0, 0, corner)):
        # To the digits that are printed.
        assert f"{float(rates[u, v]):.{len(wanted.partition('.')[2])}f}" == wanted


def orthonormal(images: Tensor) -> Tensor:
    return torch.from_numpy(scipy.fft.dctn(images.numpy(), type=2, norm="ortho", axes=(-2, -1)))


class InverseOrthonormal(torch.autograd.Function):
    """Written with scipy, so that nothing of ours is in it; its adjoint is the forward transform."""

    @staticmethod
    def forward(ctx: object, coefficients: Tensor) -> Tensor:
        return torch.from_numpy(scipy.fft.idctn(coefficients.detach().numpy(), type=2, norm="ortho", axes=(-2, -1)))

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return orthonormal(grad)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("size", [(8, 8), (6, 10)])
def test_sgd_on_our_coefficients_is_sgd_on_orthonormal_ones_at_the_scaled_rates(
    size: tuple[int, int], momentum: float
) -> None:
    """Five steps of a curved loss of the pictures, by both ways, end in the same pictures (methods.md 13.3)."""
    start, target = draw(size), draw(size, seed=1)
    mask = torch.from_numpy(np.random.default_rng(2).random(size) < 0.5).to(DOUBLE)
    rate = 40.0

    def loss(images: Tensor) -> Tensor:
        return ((images - target).square().sum() + (images * target).sin().sum()) / 10

    ours = dct2(start).requires_grad_()
    optimiser = torch.optim.SGD([ours], lr=rate, momentum=momentum)
    theirs, velocity = orthonormal(start).requires_grad_(), torch.zeros_like(start)
    for _ in range(5):
        optimiser.zero_grad()
        loss(idct2(ours * mask)).backward()
        optimiser.step()
        (gradient,) = torch.autograd.grad(loss(InverseOrthonormal.apply(theirs * mask)), theirs)
        velocity = momentum * velocity + gradient
        theirs = (theirs - pixel_rate(rate, size) * velocity).detach().requires_grad_()
    found, wanted = idct2(ours * mask).detach(), InverseOrthonormal.apply(theirs * mask).detach()
    assert float((found - idct2(dct2(start) * mask)).abs().max()) > 0.1
    assert float((found - wanted).abs().max()) < 1e-10
