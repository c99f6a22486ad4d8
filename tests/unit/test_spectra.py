"""Spectra against closed forms: a sinusoid's place, white noise's flatness, Parseval's sum."""

from __future__ import annotations

import numpy as np
import pytest

from fredbench.evaluation.spectra import (
    BANDS,
    Spectrum,
    band_shares,
    flat_shares,
    mean_power,
    radial_mean,
    radii,
    spectrum_of_pixels,
)


def wave(down: int, across: int, height: int = 32, width: int = 32, *, amplitude: float = 0.2) -> np.ndarray:
    """A sinusoid of whole cycles about .5, in one channel."""
    y, x = np.arange(height)[:, None], np.arange(width)[None, :]
    picture = 0.5 + amplitude * np.sin(2 * np.pi * (down * y / height + across * x / width) + 0.3)
    return picture[None, None]


@pytest.mark.parametrize(
    ("down", "across", "band"),
    [
        (0, 1, 0),
        (3, 4, 0),
        (0, 5, 0),
        (0, 6, 1),
        (6, 8, 1),
        (0, 10, 1),
        (0, 11, 2),
        (9, 12, 2),
        (0, 15, 2),
        (12, 13, 3),
    ],
)
def test_a_sinusoid_lies_in_its_ring_and_band(down: int, across: int, band: int) -> None:
    """Its energy is half the square of the amplitude, in two frequencies of one radius."""
    power = Spectrum.of(wave(down, across)).power
    assert power.sum() - power[0, 0] == pytest.approx(0.2**2 / 2)
    assert power[down, across] == pytest.approx(0.2**2 / 4) == power[-down, -across]
    shares = band_shares(power)
    assert shares is not None and shares[band] == pytest.approx(100) and sum(shares) == pytest.approx(100)
    rings, radius = radial_mean(power), np.hypot(down, across)
    if radius <= 16:
        ring = int(radius + 0.5)
        members = (np.floor(radii(32, 32) + 0.5) == ring).sum()
        assert rings[ring - 1] == pytest.approx(0.2**2 / 2 / members)
        assert np.delete(rings, ring - 1).max() < 1e-20


def test_the_sum_over_frequencies_is_the_mean_square() -> None:
    """Parseval, over several batches and uneven sides."""
    pictures = np.random.default_rng(0).normal(0.4, 0.7, (300, 3, 12, 20))
    assert Spectrum.of(pictures).power.sum() == pytest.approx((pictures**2).mean(), rel=1e-12)
    assert Spectrum.of(pictures).pictures == 300
    unequal = mean_power([pictures[:1], pictures[1:]])
    np.testing.assert_allclose(unequal, Spectrum.of(pictures).power)


def test_white_noise_is_flat_within_its_error() -> None:
    """|X|² of Gaussian noise is exponential: a ring's mean is off by 1 in the root of its independent values."""
    pictures, deviation = np.random.default_rng(1).normal(0.5, 0.1, (400, 3, 32, 32)), 0.1
    spectrum = Spectrum.of(pictures)
    expected = deviation**2 / (32 * 32)
    rings = radial_mean(spectrum.power)
    assert len(rings) == 16
    ring = np.floor(radii(32, 32) + 0.5)
    for number, found in enumerate(rings, start=1):
        # Of real pictures half of the frequencies are the conjugates of the others.
        independent = 400 * 3 * (ring == number).sum() / 2
        assert abs(found / expected - 1) < 4 / np.sqrt(independent)
    shares = band_shares(spectrum.power)
    assert shares is not None
    for found, flat in zip(shares, flat_shares(32, 32), strict=True):
        assert found == pytest.approx(flat, abs=0.3)


def test_bands_part_all_frequencies_but_zero() -> None:
    """Counted by hand: of 6 x 6 frequencies Nyquist is 3, so thirds end at 1, 2 and 3 cycles."""
    counted = dict.fromkeys(range(4), 0)
    for y in (0, 1, 2, -3, -2, -1):
        for x in (0, 1, 2, -3, -2, -1):
            square = y * y + x * x
            if square:
                counted[0 if square <= 1 else 1 if square <= 4 else 2 if square <= 9 else 3] += 1
    assert flat_shares(6, 6) == pytest.approx([100 * counted[band] / 35 for band in range(len(BANDS))])
    assert sum(flat_shares(32, 32)) == pytest.approx(100) == sum(flat_shares(9, 14))


def test_a_picture_that_is_not_square_is_measured_by_its_shorter_side() -> None:
    """Eight cycles over 32 columns are a quarter of a cycle a pixel, as four are over 16 rows."""
    assert radii(16, 32)[4, 0] == radii(16, 32)[0, 8] == 4.0
    assert len(radial_mean(Spectrum.of(wave(0, 8, 16, 32)).power)) == 8


def test_what_has_no_energy_has_no_shares() -> None:
    assert band_shares(Spectrum.of(np.full((2, 3, 8, 8), 0.3)).power) is None
    assert band_shares(Spectrum.of(np.zeros((2, 3, 8, 8))).power) is None
    with pytest.raises(ValueError, match="at least one picture"):
        mean_power([])


def test_pixels_are_of_0_to_1_and_evenly_chosen() -> None:
    images = np.random.default_rng(2).integers(0, 256, (600, 8, 8, 3), dtype=np.uint8)
    whole = spectrum_of_pixels(images)
    np.testing.assert_allclose(whole.power, Spectrum.of(images.transpose(0, 3, 1, 2) / 255.0).power)
    some = spectrum_of_pixels(images, most=3)
    assert (whole.pictures, some.pictures) == (600, 3)
    np.testing.assert_allclose(some.power, Spectrum.of(images[[0, 300, 599]].transpose(0, 3, 1, 2) / 255.0).power)
