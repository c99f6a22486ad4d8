"""The arithmetic against other implementations of the same mathematics, where there is one."""

from __future__ import annotations

import io
import math

import cv2
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats

from fredbench.corruptions import blur, digital, draws, exact, filters, noise, scaling, weather
from fredbench.foundation.errors import UsageError


def noise_pictures(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng([count, height, width]).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@settings(max_examples=30, deadline=None)
@given(size=st.integers(32, 80), factor=st.floats(1.0, 4.5))
def test_zoom_is_scipys_linear_spline_zoom(size, factor):
    line = np.random.default_rng(size).normal(size=size)
    left, near, far = filters.zoom_taps(size, factor, "whole")
    crop = int(np.ceil(size / factor))
    begin = (size - crop) // 2
    expected = scipy.ndimage.zoom(line[begin : begin + crop], factor, order=1)
    made = near * line[left] + far * line[np.minimum(left + 1, size - 1)]
    assert made.shape == expected.shape
    assert np.allclose(made, expected, atol=1e-9)


@pytest.mark.parametrize("sigma", [0.05, 0.4, 1.0, 2.7, 6.0])
def test_gaussian_blur_is_scipys_bit_for_bit(sigma):
    # SciPy's filter under our weights: its own come out of NumPy's exp, whose last bits depend on the processor.
    images, weights = np.random.default_rng(0).random((2, 33, 47, 3)), filters.gaussian_weights(sigma)
    down = scipy.ndimage.correlate1d(images, weights, axis=1, mode="nearest")
    expected = scipy.ndimage.correlate1d(down, weights, axis=2, mode="nearest")
    assert np.array_equal(filters.gaussian_blur(images, sigma), expected)
    line = np.zeros(2 * len(weights) + 1)
    line[len(weights)] = 1.0
    theirs = scipy.ndimage.gaussian_filter1d(line, sigma, mode="nearest")
    reach = len(weights) // 2
    assert np.allclose(theirs[len(weights) - reach : len(weights) + reach + 1], weights, rtol=1e-15, atol=0)


def test_exponentials_are_the_nearest_and_sums_are_numpys():
    assert exact.exponentials([0.0, 1.0]) == [1.0, math.e] and exact.exponentials([-1000.0]) == [0.0]
    exponents = np.linspace(-40, 0, 501)
    assert np.allclose(exact.exponentials(exponents), np.exp(exponents), rtol=3e-16, atol=0)
    for count in (1, 7, 8, 31, 128, 129, 1025):
        values = np.random.default_rng(count).random(count)
        assert exact.ordered_sum(values.tolist()) == values.sum()


def test_sines_and_cosines_of_any_angle():
    degrees = np.random.default_rng(0).uniform(-400, 400, 5000)
    sine, cosine = exact.sines_and_cosines(degrees)
    assert np.allclose(sine, np.sin(np.deg2rad(degrees)), rtol=0, atol=2e-15)
    assert np.allclose(cosine, np.cos(np.deg2rad(degrees)), rtol=0, atol=2e-15)
    assert np.array_equal(exact.sines_and_cosines(np.array([0.0, 90, 180, -90])), [[0, 1, 0, -1], [1, 0, -1, 0]])


@pytest.mark.parametrize("height,width", [(32, 32), (33, 57), (224, 224)])
def test_contrast_is_numpys_mean_bit_for_bit(height, width):
    pictures = noise_pictures(9, height, width)
    for picture, made in zip(pictures, digital.contrast(pictures, 0.4), strict=True):
        unit = picture / 255.0
        mean = unit.mean(axis=(0, 1), keepdims=True)
        assert np.array_equal(made, (np.clip((unit - mean) * 0.4 + mean, 0, 1) * 255).astype(np.uint8))


@pytest.mark.parametrize("family,end,step", [("cifar", 1.26, 0.01), ("imagenet", 1.21, 0.02)])
@pytest.mark.parametrize("size", [32, 100, 224])
def test_zoom_blur_is_scipys_zoom_bit_for_bit(family, end, step, size):
    pictures = noise_pictures(3, size, size)
    pictures[:, : size // 2] = 200  # flat areas, where a last bit costs a level
    factors = np.arange(1, end, step)
    for picture, made in zip(pictures, blur.zoom_blur(pictures, end, step, family), strict=True):
        unit = (picture / 255.0).astype(np.float32)
        total = np.zeros_like(unit)
        for factor in factors:
            crop = int(np.ceil(size / factor))
            top = (size - crop) // 2
            zoomed = scipy.ndimage.zoom(unit[top : top + crop, top : top + crop], (factor, factor, 1), order=1)
            trim = (len(zoomed) - size) // 2
            total += zoomed[trim : trim + size, trim : trim + size]
        expected = (unit + total) / np.float32(len(factors) + 1)
        assert np.array_equal(made, (np.clip(expected, 0, 1) * np.float32(255)).astype(np.uint8))


@pytest.fixture
def without_intels_library():
    before = cv2.ipp.useIPP()
    cv2.ipp.setUseIPP(False)
    yield
    cv2.ipp.setUseIPP(before)


@pytest.mark.parametrize("height,width", [(120, 180), (63, 112), (99, 132)])
def test_textures_are_scaled_as_opencvs_own_code_does(height, width, without_intels_library):
    texture = noise_pictures(1, height, width)[0]
    for factor in (0.2, 0.6, 0.80625, 2.0):
        expected = cv2.resize(texture, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
        made = scaling.scaled_linear(texture, factor)
        assert made.shape == expected.shape
        assert (made == expected).mean() > (0.99 if factor > 0.6 else 0.9999) and np.abs(
            made.astype(int) - expected
        ).max() <= 1
    for factor in (1.1, 1.7):
        size = (int(np.ceil(width * factor)), int(np.ceil(height * factor)))
        expected = cv2.resize(texture, dsize=size, interpolation=cv2.INTER_CUBIC)
        made = scaling.enlarged_cubic(texture, factor)
        assert made.shape == expected.shape
        assert (made == expected).mean() > 0.9999 and np.abs(made.astype(int) - expected).max() <= 1


def test_the_disc_is_opencvs():
    for radius, alias in ((0.3, 0.4), (1.5, 0.1), (4.0, 0.5), (8.0, 0.5), (10.0, 0.5)):
        reach = 8 if radius <= 8 else int(radius)
        squares = np.arange(-reach, reach + 1) ** 2
        disc = (squares[:, None] + squares <= radius**2).astype(np.float32)
        side = 3 if radius <= 8 else 5
        expected = cv2.GaussianBlur(disc / disc.sum(), ksize=(side, side), sigmaX=alias)
        made = blur.disc_kernel(radius, alias)
        assert made.dtype == np.float32 and np.allclose(made, expected, rtol=1e-6, atol=0)


def test_the_affine_step_maps_moved_anchors_back():
    moves = np.random.default_rng(0).uniform(-4, 4, (5, 3, 2)).astype(np.float32)
    anchors = np.array([[26, 26], [26, 6], [6, 6]], float)
    for inverse, moved in zip(digital._inverse_affine(32, 32, moves), anchors + moves, strict=True):
        assert np.allclose(np.c_[moved, np.ones(3)] @ inverse.T, anchors, atol=1e-10)


@pytest.mark.parametrize("sigma", [0.3, 1.9, 6.4, 40.0, 170.8])
def test_field_smoothing_is_scipys_mirrored_filter(sigma):
    fields = np.random.default_rng(0).uniform(-1, 1, (3, 40, 53)).astype(np.float32)
    made = filters.smooth_fields(fields, (sigma, sigma / 2))
    for field, smooth in zip(fields.astype(float), made, strict=True):
        expected = scipy.ndimage.gaussian_filter(field, (sigma, sigma / 2), mode="reflect", truncate=3)
        assert np.allclose(smooth, expected, atol=2e-6)


@settings(max_examples=40, deadline=None)
@given(width=st.integers(60, 120), height=st.integers(32, 120), factor=st.sampled_from([0.95, 0.65, 0.4, 0.25]))
def test_pixelate_is_pillows(height, width, factor):
    # At most twice as tall as wide: beyond, Pillow's order of passes depends on its version.
    picture = noise_pictures(1, height, width)
    small = (int(width * factor), int(height * factor))
    for family, back in (("cifar", Image.BOX), ("imagecorruptions", Image.NEAREST)):
        expected = Image.fromarray(picture[0]).resize(small, Image.BOX).resize((width, height), back)
        assert np.array_equal(digital.pixelate(picture, factor, family)[0], np.asarray(expected))


@pytest.mark.parametrize("height,width", [(32, 32), (33, 47), (64, 40), (101, 99)])
@pytest.mark.parametrize("quality", [7, 40, 80])
def test_jpeg_is_pillows(height, width, quality):
    picture = noise_pictures(1, height, width)
    file = io.BytesIO()
    Image.fromarray(picture[0]).save(file, "JPEG", quality=quality)
    assert np.array_equal(digital.jpeg_compression(picture, quality)[0], np.asarray(Image.open(file)))


def test_glass_blur_is_the_published_loop():
    # A sequential copy, pixel by pixel, on a two-pass scatter of reach 3 without the blurs.
    pictures = noise_pictures(2, 40, 36)
    visits = 2 * blur.glass_visits(40, 36, 3)
    offsets = np.random.default_rng(0).integers(-3, 3, (2, visits, 2)).astype(np.int8)
    expected = pictures.copy()
    for picture, moves in zip(expected, offsets, strict=True):
        step = iter(moves)
        for _ in range(2):
            for h in range(40 - 3, 3, -1):
                for w in range(36 - 3, 3, -1):
                    dx, dy = next(step)
                    picture[h, w] = picture[h + dy, w + dx]
    plain = blur.glass_blur(pictures, 0.01, 3, offsets)
    # sigma .01 is the identity but for the truncation of 255·(v/255).
    levels = (np.arange(256) / 255 * 255).astype(np.uint8)
    assert np.array_equal(plain, levels[levels[expected]])


def test_published_imperfections_are_kept():
    # The discs of radius 8 and 10 touch the edge of their grid and brighten a little.
    assert blur.disc_kernel(8.0, 0.5).sum() == pytest.approx(1.012975, abs=2e-6)
    assert blur.disc_kernel(10.0, 0.5).sum() == pytest.approx(1.010786, abs=2e-6)
    assert blur.disc_kernel(6.0, 0.5).sum() == pytest.approx(1, abs=1e-6)


def test_brightness_keeps_hue_and_saturation():
    pictures = noise_pictures(1, 32, 32) // 2 + 10
    made = weather.brightness(pictures, 0.2).astype(float)
    top = pictures.max(axis=-1, keepdims=True).astype(float)
    assert np.abs(made - pictures * (top + 51) / top).max() < 1.001


def test_motion_offsets_lie_on_the_direction():
    weights, rows, columns = filters.motion_taps(np.array([0.0, 90.0, 45.0]), 6.0, 1.5, "magick")
    assert weights.sum() == pytest.approx(1) and len(weights) == 13 and (np.diff(weights) < 0).all()
    assert columns[0].tolist() == list(range(13)) and not rows[0].any()
    assert rows[1].tolist() == list(range(13)) and not columns[1].any()
    assert np.array_equal(rows[2], columns[2])


KEYS = draws.picture_keys(0, "gaussian_noise", 1, np.arange(300))


def test_normals_are_normal_and_independent():
    values = draws.normals(KEYS, 32, 32, 3)
    assert abs(values.mean()) < 4 / np.sqrt(values.size)
    assert values.std() == pytest.approx(1, abs=3e-3)
    assert stats.kstest(values.ravel()[::7], "norm").pvalue > 1e-3
    assert 4 < np.abs(values).max() < 4.4
    for axis in (1, 2, 3):
        a, b = np.delete(values, 0, axis=axis), np.delete(values, -1, axis=axis)
        assert abs((a * b).mean()) < 4 / np.sqrt(a.size)
    assert abs((values[1:] * values[:-1]).mean()) < 4 / np.sqrt(values.size)


def test_uniforms_angles_and_choices_are_uniform():
    values = draws.uniforms(KEYS, 999)
    assert values.min() >= -1 and values.max() < 1
    assert stats.kstest(values.ravel()[::3], "uniform", args=(-1, 2)).pvalue > 1e-3
    assert stats.kstest(draws.angles(KEYS, -45.0, 45.0), "uniform", args=(-45, 90)).pvalue > 1e-3
    counts = np.bincount(draws.choices(KEYS, np.full(300, 5)), minlength=5)
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("reach", [1, 2, 3, 4])
def test_offsets_are_uniform(reach):
    pairs = draws.offsets(KEYS, reach, 333)
    assert pairs.shape == (300, 333, 2)
    assert stats.chisquare(np.bincount(pairs.astype(int).ravel() + reach, minlength=2 * reach)).pvalue > 1e-3


@pytest.mark.parametrize("photons", [700.0, 500.0, 75.0, 12.0, 3.0])
@pytest.mark.parametrize("level", [1, 90, 255])
def test_photon_counts_are_poisson(photons, level):
    counts = draws.poisson_counts(KEYS, np.full((300, 8, 8, 3), level, np.uint8), photons).ravel()
    rate = photons * level / 255
    edges = np.unique(stats.poisson.ppf(np.linspace(0.02, 0.98, 15), rate))
    found = np.histogram(counts, [-1, *edges + 0.5, 1e9])[0]
    expected = np.diff([0, *stats.poisson.cdf(edges, rate), 1]) * counts.size
    keep = expected > 5
    assert stats.chisquare(found[keep], expected[keep] * found[keep].sum() / expected[keep].sum()).pvalue > 1e-3
    assert counts.mean() == pytest.approx(rate, abs=4 * np.sqrt(rate / counts.size))


def test_black_stays_black_under_photon_noise():
    assert not draws.poisson_counts(KEYS[:2], np.zeros((2, 32, 32, 3), np.uint8), 75.0).any()
    with pytest.raises(UsageError):
        draws.poisson_counts(KEYS[:2], np.zeros((2, 32, 32, 3), np.uint8), 701.0)


def test_impulses_hit_values_at_the_asked_rate():
    hit, salt = draws.impulses(KEYS, 0.05, 32, 32, 3)
    assert hit.mean() == pytest.approx(0.05, abs=4 * np.sqrt(0.05 / hit.size))
    assert salt[hit].mean() == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / hit.sum()))
    picture = noise_pictures(300, 32, 32)
    made = noise.impulse_noise(picture, hit, salt)
    assert np.array_equal(made, np.where(hit, np.where(salt, 255, 0), picture))


def test_prefixes_of_a_stream_do_not_depend_on_its_length():
    for make in (draws.normals, draws.uniforms):
        assert np.array_equal(make(KEYS, 1001)[:, :333], make(KEYS, 333))
    assert np.array_equal(draws.offsets(KEYS, 2, 101)[:, :50], draws.offsets(KEYS, 2, 50))


def test_keys_differ_for_all_that_matters():
    numbers = np.arange(50)
    keys = [
        draws.picture_keys(seed, name, severity, numbers)
        for seed in (0, 1) for name in ("fog", "snow") for severity in (1, 2)
    ]  # fmt: skip
    keys += [draws.substream(keys[0], 1), draws.substream(keys[0], 2)]
    assert len(np.unique(np.concatenate(keys))) == 50 * len(keys)
