"""FreD's other transforms: as many real numbers as pixels, orthonormal up to one factor, and exactly invertible."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fredbench.foundation.rng import Stream
from fredbench.parameterizations.budget import Budget
from fredbench.parameterizations.fourier import inverse_real_dft2, opposite, real_dft2
from fredbench.parameterizations.frequency import FreD, FreDConfig
from fredbench.parameterizations.transforms import dct2, transform_named
from fredbench.parameterizations.wavelets import dwt2, inverse_dwt2, level_matrix, levels
from fredbench.training.batches import RealPictures

OTHERS = [("dft", "haar"), ("dwt", "haar"), ("dwt", "db2")]
SIZES = [(8, 8), (32, 32), (6, 10), (5, 8), (7, 9), (28, 28)]


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=Stream(5).torch(), dtype=torch.float64)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "wavelet"), OTHERS)
def test_inverse_norm_and_shape(name: str, wavelet: str, size: tuple[int, int]) -> None:
    transform, x = transform_named(name, wavelet), draw(2, 3, *size)
    spectrum = transform.forward(x)
    assert spectrum.shape == x.shape and spectrum.dtype == x.dtype
    assert torch.allclose(transform.inverse(spectrum), x, atol=1e-12)
    assert torch.allclose(transform.forward(transform.inverse(x)), x, atol=1e-12)
    scale = 2 * math.sqrt(size[0] * size[1])
    assert float(spectrum.norm()) == pytest.approx(scale * float(x.norm()), rel=1e-12)


@pytest.mark.parametrize(("name", "wavelet"), OTHERS)
def test_every_coefficient_counts(name: str, wavelet: str) -> None:
    """The inverse has full rank on real numbers: no stored scalar repeats another."""
    basis = transform_named(name, wavelet).inverse(torch.eye(48, dtype=torch.float64).reshape(48, 6, 8)).flatten(1)
    gram = basis @ basis.T * 4 * 48
    assert torch.allclose(gram, torch.eye(48, dtype=torch.float64), atol=1e-12)


def test_rates_mean_the_same_on_all_transforms() -> None:
    """The common factor is the DCT's away from its axes, where all of FreD's published rates live."""
    unit = torch.zeros(32, 32, dtype=torch.float64)
    unit[3, 5] = 1
    norms = [float(transform_named(name).inverse(unit).norm()) for name in ("dct", "dft", "dwt")]
    assert norms == pytest.approx([1 / 64] * 3, rel=1e-12)
    x = draw(4, 4)
    assert torch.equal(transform_named("dct").forward(x), dct2(x))


@pytest.mark.parametrize("size", [(8, 8), (5, 8), (7, 9)])
def test_fourier_layout(size: tuple[int, int]) -> None:
    x = draw(*size)
    spectrum, found = torch.fft.fft2(x, norm="ortho"), real_dft2(x)
    seen = 0
    for u in range(size[0]):
        for v in range(size[1]):
            other = (-u % size[0], -v % size[1])
            if (u, v) == other:
                assert float(found[u, v]) == pytest.approx(float(spectrum[u, v].real), abs=1e-12)
                seen += 1
            elif (u, v) < other:
                assert float(found[u, v]) == pytest.approx(math.sqrt(2) * float(spectrum[u, v].real), abs=1e-12)
                assert float(found[other]) == pytest.approx(math.sqrt(2) * float(spectrum[u, v].imag), abs=1e-12)
                seen += 2
    assert seen == size[0] * size[1]
    assert torch.equal(opposite(opposite(x)), x)
    assert torch.allclose(inverse_real_dft2(found), x, atol=1e-13)


def test_haar_by_hand() -> None:
    found = dwt2(torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64), wavelet="haar")
    # Sum, differences along rows and columns, and the diagonal one, each over 2.
    assert torch.allclose(found.abs(), torch.tensor([[5.0, 1.0], [2.0, 0.0]], dtype=torch.float64), atol=1e-12)
    assert levels((32, 32), "haar") == [(s, s) for s in (32, 16, 8, 4, 2)]
    assert levels((32, 32), "db2") == [(s, s) for s in (32, 16, 8, 4)]
    assert levels((28, 28), "haar") == [(28, 28), (14, 14)]


def test_db2_has_two_vanishing_moments_and_haar_one() -> None:
    like = torch.zeros((), dtype=torch.float64)
    ramp = torch.arange(16, dtype=torch.float64)
    for wavelet, order in (("haar", 1), ("db2", 2)):
        matrix = level_matrix(16, wavelet, like)
        assert torch.allclose(matrix @ matrix.T, torch.eye(16, dtype=torch.float64), atol=1e-14)
        details = matrix[8:-1]  # the last one reaches around the border
        assert float((details @ torch.ones(16, dtype=torch.float64)).abs().max()) < 1e-12
        assert (float((details @ ramp).abs().max()) < 1e-12) == (order == 2)


def test_wavelets_are_differentiable() -> None:
    x = draw(8, 8).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: inverse_dwt2(y, wavelet="db2"), (x,))
    assert torch.autograd.gradcheck(inverse_real_dft2, (x,))


@pytest.mark.parametrize(("name", "wavelet"), [("dct", "haar"), *OTHERS])
def test_fred_stores_as_much_under_every_transform(name: str, wavelet: str) -> None:
    generator = Stream(0).numpy()
    real = RealPictures(
        generator.integers(0, 256, (40, 8, 8, 3)).astype("uint8"),
        (generator.permutation(40) % 2).astype("int64"),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        classes=2,
        device=torch.device("cpu"),
    )
    budget = Budget.for_ipc(1, 2, (3, 8, 8))
    fred = FreD(FreDConfig(k=16, transform=name, wavelet=wavelet))
    state = fred.init(real, budget, Stream(0))
    ledger = fred.ledger(state)
    assert (ledger.params, ledger.decoded, ledger.mask_bits) == (budget.scalars, 8, 2 * 64)
    stored = {key: tensor for key, (tensor, _) in fred.to_tensors(state).items()}
    again = fred.from_tensors(stored, classes=2, shape=(3, 8, 8))
    assert torch.equal(fred.decode(state)[0], fred.decode(again)[0])
    whole = FreD(FreDConfig(k=64, transform=name, wavelet=wavelet))
    chosen = whole.init(real, Budget.for_ipc(2, 2, (3, 8, 8)), Stream(0))
    decoded, labels = whole.decode(chosen)
    for picture, label in zip(decoded, labels, strict=True):
        originals = real.images(real.by_class[int(label)])
        assert float((originals - picture.detach()).abs().amax((1, 2, 3)).min()) < 1e-4
