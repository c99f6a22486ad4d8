"""C-bar: the rules written out with other libraries, order-independence, sizes, and what keeps it apart from the 15."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from commands import ROOT, invoke
from scipy import ndimage

from fredbench.corruptions import (
    ALL,
    CBAR,
    CBAR_ALL,
    CBAR_IMAGENET,
    EXTRAS,
    KNOWN,
    NAMES,
    STOCHASTIC,
    caustics,
    corrupt,
    occlusions,
    perlin,
    preview,
    sparkles,
    spectral,
    splines,
    warps,
    waves,
    write_set,
)
from fredbench.corruptions.checking import corrupted_arrays
from fredbench.corruptions.exact import arctangents, powers
from fredbench.corruptions.severities import parameters
from fredbench.evaluation.published import published_row
from fredbench.foundation.errors import UnknownNameError, UsageError
from fredbench.suites.corruption import corruptions_of, suite_named


def pictures_of(count: int, side: int) -> np.ndarray:
    """Gradients, waves and grain."""
    y, x = np.mgrid[0:side, 0:side]
    grain = np.random.default_rng(side).normal(0, 8, (count, side, side, 3))
    waves = [np.sin(x * (1 + i % 5) / 6 + i) * np.cos(y * (1 + i % 3) / 5) for i in range(count)]
    plain = np.stack([np.stack([wave, -wave, wave[::-1]], axis=-1) for wave in waves])
    return np.clip(128 + 90 * plain + grain, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return pictures_of(40, 32)


def test_the_15_and_the_4_are_what_they_were():
    assert len(NAMES) == 15 and len(EXTRAS) == 4 and ALL == NAMES + EXTRAS and KNOWN == ALL + CBAR_ALL
    assert len(CBAR) == len(CBAR_IMAGENET) == 10 and len(CBAR_ALL) == 15 and not set(CBAR_ALL) & set(ALL)
    assert {name for name in CBAR_ALL if name not in STOCHASTIC} == {"circular_motion_blur"}


def test_the_usual_suite_is_the_common_corruptions():
    small, subsets = ("cifar10", "cifar100", "svhn"), ("nette", "woof", "fruit", "yellow", "meow", "squawk")
    for dataset in (*small, *(f"image{subset}" for subset in subsets)):
        common, suite = suite_named(f"{dataset}c"), suite_named(f"{dataset}cbar")
        assert corruptions_of(dataset) == common
        assert suite.corruptions == (CBAR if dataset in small else CBAR_IMAGENET) and suite.severities == (
            1,
            2,
            3,
            4,
            5,
        )
        assert (suite.dataset, suite.profile, suite.framing) == (common.dataset, common.profile, common.framing)
        # No published row, no published pictures and no reference network: nothing of C stands beside it.
        assert suite.published == "" and suite.official == () and suite.baseline is None
        asked = {"method": "fred", "objective": "tm", "parameterization": "fred", "ipc": 1}
        row = published_row(suite, dataset=dataset, **asked)
        assert row is None or (row["average"] is None and row["corruptions"] == {})


@pytest.mark.parametrize("name", CBAR)
def test_outcome_depends_on_number_and_picture_only(name, pictures):
    numbers = np.arange(100, 140)
    whole = corrupt(pictures, name, 3, seed=7, indices=numbers)
    order = np.random.default_rng(0).permutation(len(pictures))
    assert np.array_equal(corrupt(pictures[order], name, 3, seed=7, indices=numbers[order]), whole[order])
    assert np.array_equal(corrupt(pictures[5:6], name, 3, seed=7, indices=[105]), whole[5:6])
    assert np.array_equal(corrupt(pictures[17:33], name, 3, seed=7, indices=numbers[17:33]), whole[17:33])
    turned = np.ascontiguousarray(pictures.swapaxes(1, 2)).swapaxes(1, 2)
    assert np.array_equal(corrupt(turned, name, 3, seed=7, indices=numbers), whole)


@pytest.mark.parametrize("name", CBAR)
def test_seed_number_and_severity_all_matter_where_there_are_draws(name, pictures):
    same = np.repeat(pictures[:1], 8, axis=0)
    made = corrupt(same, name, 3)
    assert not np.array_equal(corrupt(same, name, 4), made)
    if name in STOCHASTIC:
        assert len({one.tobytes() for one in made}) > 1
        assert not np.array_equal(corrupt(same, name, 3, seed=1), made)
    else:
        assert np.array_equal(corrupt(same, name, 3, seed=1), made)


@pytest.mark.parametrize("name", CBAR)
@pytest.mark.parametrize("side", [8, 13, 28, 64])
def test_squares_of_any_side_from_8_on(name, side):
    batch = pictures_of(4, side)
    for severity in (1, 5):
        made = corrupt(batch, name, severity)
        # Below 20 pixels the first severity has no whole line to draw; at 8 a cell has no pixel within its circle.
        assert made.shape == batch.shape
        assert not np.array_equal(made, batch) or side < {"lines": 20, "pinch_and_twirl": 9}.get(name, 0)
        assert np.array_equal(made[2:], corrupt(batch[2:], name, severity, indices=[2, 3]))


@pytest.mark.parametrize("name", CBAR)
def test_severity_is_monotone_in_mean_error(name, pictures):
    errors = [
        np.abs(corrupt(pictures_of(300, 32), name, s).astype(int) - pictures_of(300, 32)).mean() for s in range(1, 6)
    ]
    assert all(low < high for low, high in pairwise(errors)), errors


@pytest.mark.parametrize("name", CBAR)
def test_grey_pictures_keep_their_one_channel(name, pictures):
    grey = pictures[:4, :, :, :1]
    wide = corrupt(np.repeat(grey, 3, axis=-1), name, 3)
    made = corrupt(grey, name, 3)
    assert made.shape == grey.shape
    if name == "brownish_noise":
        # A field a channel: their luma would be a weaker noise.
        assert np.array_equal(made, wide[..., :1])
    else:
        assert np.abs(wide.astype(float) @ [0.299, 0.587, 0.114] - made[..., 0]).max() < 1


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"shape": (2, 32, 40, 3)}, UsageError, "square"),
        ({"profile": "imagenet"}, UsageError, "the profile cifar"),
        ({"profile": "imagenet", "shape": (2, 224, 224, 3)}, UsageError, "the profile cifar"),
        ({"name": "plasma_noise"}, UsageError, "imagenet at 224×224"),
        ({"name": "plasma_noise", "profile": "imagenet", "shape": (2, 128, 128, 3)}, UsageError, "imagenet at 224×224"),
        ({"name": "ripples"}, UnknownNameError, "ripples"),
        ({"severity": 6}, UsageError, "severity 6"),
    ],
)
def test_what_c_bar_is_not_defined_for_is_refused(options, error, words, tmp_path):
    asked = {"shape": (2, 32, 32, 3), "profile": "cifar", "name": "ripple", "severity": 1, **options}
    batch = np.zeros(asked["shape"], np.uint8)
    with pytest.raises(error, match=words) as caught:
        corrupt(batch, asked["name"], asked["severity"], profile=asked["profile"])
    assert caught.value.hint
    with pytest.raises(error, match=words):
        write_set(
            batch, np.zeros(2, int), tmp_path / "set", corruptions=["fog", asked["name"]],
            severities=[asked["severity"]], profile=asked["profile"],
        )  # fmt: skip
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("name", CBAR_IMAGENET)
def test_imagenets_ten_at_224_pixels_depend_on_number_and_picture_only(name):
    batch = pictures_of(3, 224)
    for severity in (1, 5):
        whole = corrupt(batch, name, severity, profile="imagenet", seed=1)
        assert np.abs(whole.astype(int) - batch).mean() > 0.3
        alone = corrupt(batch[2:], name, severity, profile="imagenet", seed=1, indices=[2])
        assert np.array_equal(alone, whole[2:])
        assert not np.array_equal(alone, corrupt(batch[2:], name, severity, profile="imagenet", seed=2, indices=[2]))


def test_the_package_engine_is_refused_what_it_does_not_know(tmp_path):
    with pytest.raises(UsageError, match="sparkles"):
        write_set(
            pictures_of(2, 224),
            np.zeros(2, int),
            tmp_path / "set",
            corruptions=["sparkles"],
            engine="imagecorruptions",
            profile="imagenet",
        )


# The rules once more, with the libraries that the published code uses.


def near(made: np.ndarray, wanted: np.ndarray, share: float) -> None:
    """Equal but for a level in `share` of the values, which another order of operations may truncate otherwise."""
    off = np.abs(made.astype(int) - wanted)
    assert off.max() <= 1 and (off > 0).mean() <= share, (off.max(), (off > 0).mean())


def test_arctangents_and_powers_are_numpys():
    generator = np.random.default_rng(0)
    rises, runs = generator.normal(size=(2, 5000)) * 10.0 ** generator.integers(-3, 3, (2, 5000))
    assert np.abs(arctangents(rises, runs) - np.arctan2(rises, runs)).max() < 1e-15
    special = np.array([0.0, 1.0, -1.0])
    assert np.array_equal(arctangents(special[:, None] + 0 * special, special + 0 * special[:, None]),
                          np.arctan2(special[:, None] + 0 * special, special + 0 * special[:, None]))  # fmt: skip
    bases = np.exp(generator.uniform(-20, 20, 5000))
    for exponent in (0.13, 0.65, 1.0, -0.32, 7.5):
        assert np.allclose(powers(bases, exponent), bases**exponent, rtol=1e-13, atol=0)
    assert powers(np.zeros(1), 0.13)[0] == 0


@pytest.mark.parametrize("side", [32, 13])
@pytest.mark.parametrize("colour", ["blue", "brown"])
def test_fields_are_the_inverse_transform_of_their_spectrum(side, colour):
    phases = np.random.default_rng(1).uniform(0, 360, (2, spectral.phase_count(side)))
    for field, own in zip(spectral.spectral_fields(phases, side, colour), phases, strict=True):
        turned = np.full(side * side, 0.0)
        turned[: len(own)], turned[len(turned) - len(own) :] = own, own[::-1]
        distance = np.hypot(*(np.mgrid[0:side, 0:side] - side / 2))
        amplitude = distance if colour == "blue" else 1 / (distance**2 + 1)
        spectrum = amplitude * np.exp(1j * np.radians(turned.reshape(side, side).T))
        wanted = np.real(np.fft.ifft2(np.roll(spectrum, (side // 2, side // 2), (0, 1))))
        assert np.allclose(field, wanted / wanted.std(), atol=1e-12)


def test_the_noises_cut_out_and_add(pictures):
    phases = np.random.default_rng(2).uniform(0, 360, (4, 3, 512))
    fields = spectral.spectral_fields(phases[:, 0], 32, "blue")
    wanted = np.where((fields > 0.3 * 4.2 - 2.5)[..., None], pictures[:4], 0)
    assert np.array_equal(spectral.blue_noise_sample(pictures[:4], 4.2, phases[:, 0]), wanted)
    assert 0.08 < (wanted == 0).all(axis=-1).mean() < 0.14  # 10.8 % as published
    fields = spectral.spectral_fields(phases.reshape(12, 512), 32, "brown").reshape(4, 3, 32, 32)
    wanted = np.clip(pictures[:4] + 6.4 * 5.5 * fields.transpose(0, 2, 3, 1), 0, 255).astype(np.uint8)
    assert np.array_equal(spectral.brownish_noise(pictures[:4], 5.5, phases), wanted)


def test_the_chessboard_is_the_published_mask(pictures):
    generator = np.random.default_rng(3)
    degrees, tiles = generator.uniform(0, 360, 4), generator.uniform(3.2, 8, 4)
    table = generator.uniform(size=(4, occlusions.MOST_TILES**2))
    made = occlusions.checkerboard_cutout(pictures[:4], 4.0, degrees, tiles, table)
    for i in range(4):
        count, c, s = int(128 // tiles[i]), math.cos(math.radians(degrees[i])), math.sin(math.radians(degrees[i]))
        grid = table[i, : count * count].reshape(count, count) < 0.4
        wanted = pictures[i].copy()
        for y in range(32):
            for x in range(32):
                p, q = (c * y + s * x) / tiles[i], (c * x - s * y) / tiles[i]
                if int(p % 2) == int(q % 2) and grid[int(p), int(q)]:
                    wanted[y, x] = 128
        assert np.array_equal(made[i], wanted) and (wanted == 128).all(axis=-1).mean() > 0.05


def star(centre: np.ndarray, lengths: np.ndarray, exponent: float, side: int) -> np.ndarray:
    down, across = np.mgrid[0:side, 0:side] - centre[:, None, None]
    turn = (np.arctan2(across, down) + np.pi) / (2 * np.pi) * len(lengths)
    ray, rest = turn.astype(int), turn - turn.astype(int)
    length = lengths[ray % len(lengths)] * (1 - rest) + lengths[(ray + 1) % len(lengths)] * rest
    glow = (length**2 / (down**2 + across**2 + 1e-4)) ** exponent
    return np.clip((1 - (rest - 0.5) ** 2) * glow, 0, 1)[..., None]


def test_stars_are_the_published_ones(pictures):
    generator = np.random.default_rng(4)
    centres, rays = generator.uniform(0, 32, (3, 5, 2)), generator.integers(50, 200, (3, 5))
    normals = generator.normal(size=(3, 5, 199))
    made = sparkles.sparkles(pictures[:3], 5.6, centres, rays, normals)
    inside_out = sparkles.inverse_sparkles(pictures[:3], 2.5, centres[:, 0], rays[:, 0], normals[:, 0])
    for i in range(3):
        values, radius = pictures[i].astype(float), 0.056 * 32
        for k in range(5):
            lengths = np.maximum(1, radius * (1 + 0.25 * normals[i, k, : rays[i, k]]))
            values += star(centres[i, k], lengths, 1.0, 32) * (255 - values)
        near(made[i], values.astype(np.uint8), 0.002)
        lengths = 8 * (1 + 0.25 * normals[i, 0, : rays[i, 0]])
        seen = star(centres[i, 0], lengths, 0.13 * 2.5, 32)
        near(inside_out[i], (255 + seen * (pictures[i] - 255.0)).astype(np.uint8), 0.002)


def test_lines_are_scikit_images(pictures):
    line_aa = pytest.importorskip("skimage.draw").line_aa
    generator = np.random.default_rng(5)
    places = generator.uniform(size=(20, 8, 3))
    ends = occlusions.line_ends(generator.uniform(0, 360, 20), generator.uniform(0.1, 1, 20), places, 32)
    ends[0, 0] = (5, 5, 5, 5)
    made = occlusions.lines(pictures[:20], ends)
    for i in range(20):
        wanted = pictures[i].copy()
        for line in ends[i]:
            rows, columns, weights = line_aa(*line)
            inside = (rows >= 0) & (columns >= 0) & (rows < 32) & (columns < 32)
            rows, columns, weights = rows[inside], columns[inside], weights[inside, None]
            wanted[rows, columns] = (1 - weights) * wanted[rows, columns] + weights * 128
        assert np.array_equal(made[i], wanted)
    assert [occlusions.line_count(parameters("cifar", "lines", s)[0], 32) for s in range(1, 6)] == [1, 3, 4, 6, 8]


def bilinear(picture: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    padded = np.pad(picture.astype(float), ((1, 1), (1, 1), (0, 0)))
    sampled = [ndimage.map_coordinates(padded[..., d], [rows + 1, columns + 1], order=1) for d in range(3)]
    return np.stack(sampled, axis=-1)


def test_ripples_are_bilinear_samples(pictures):
    generator = np.random.default_rng(6)
    waves, phases = generator.uniform(3.2, 9.6, (4, 2)), generator.uniform(0, 360, (4, 2))
    made = warps.ripple(pictures[:4], 8.0, waves, phases)
    places = np.arange(32)
    for i in range(4):
        moved = [places + 0.64 * np.sin(2 * np.pi * places / waves[i, k] + np.radians(phases[i, k])) for k in (0, 1)]
        near(made[i], bilinear(pictures[i], *np.meshgrid(*moved, indexing="ij")).astype(np.uint8), 0.01)


def test_cells_are_pinched_and_twirled_within_their_circles(pictures):
    ways = np.random.default_rng(7).integers(0, 2, (4, 3, 3)).astype(np.uint8)
    made = warps.pinch_and_twirl(pictures[:4], 8.5, ways)
    rows, columns = (grid.astype(float) for grid in np.mgrid[0:32, 0:32])
    for i in range(4):
        for across in range(3):
            for down in range(3):
                dy, dx = np.mgrid[-5:5, -5:5].astype(float)
                share = np.minimum(np.hypot(dy, dx) / 5, 1)
                pinch = np.where(share > 0, np.sin(np.pi / 2 * np.maximum(share, 1e-9)) ** -0.44, 1)
                angle = (-1.0) ** ways[i, across, down] * 8.5 * np.pi / 20 * (1 - share) ** 2
                part = slice(10 * down, 10 * down + 10), slice(10 * across, 10 * across + 10)
                rows[part] = 10 * down + 5 + pinch * (dy * np.cos(angle) - dx * np.sin(angle))
                columns[part] = 10 * across + 5 + pinch * (dy * np.sin(angle) + dx * np.cos(angle))
        near(made[i], bilinear(pictures[i], rows, columns).astype(np.uint8), 0.01)
    assert np.array_equal(made[:, 30:], pictures[:4, 30:]) and not np.array_equal(made, pictures[:4])
    assert warps.cells(224) == 5


@pytest.mark.parametrize("side", [32, 15])
def test_turns_are_scipys_interpolating_splines(side):
    batch = pictures_of(2, side)
    made = splines.circular_motion_blur(batch, 5.2)
    steps = np.linspace(-1, 1, 21)
    weights = np.exp(-2 * steps**2)
    for clean, ours in zip(batch, made, strict=True):
        turned = [ndimage.rotate(clean / 255, step * 7.8, reshape=False) for step in steps]
        wanted = sum(w * picture for w, picture in zip(weights, turned, strict=True)) / weights.sum()
        near(ours, np.clip(wanted * 255, 0, 255).astype(np.uint8), 0.002)
    assert (splines.circular_motion_blur(np.full((1, side, side, 3), 255, np.uint8), 6.0)[0, 0, 0] < 200).all()


@pytest.mark.parametrize("side", [32, 15])
def test_channels_are_scipys_smoothing_zooms(side):
    batch, orders = pictures_of(6, side), np.array(splines.ORDERS)
    made = splines.transverse_chromatic_abberation(batch, 9.0, orders)
    scales = np.array([1, 1 + 0.225, 1 + 0.45])
    for clean, ours, order in zip(batch, made, orders, strict=True):
        for d in range(3):
            zoomed = ndimage.zoom(clean[..., d], scales[order[d]], prefilter=False)
            edge = (len(zoomed) - side) // 2
            # Ties, at whole pixels one value in 36, are broken by the order of a sum.
            near(ours[..., d], zoomed[edge : edge + side, edge : edge + side], 0.03)


def test_plane_waves_are_numpys(pictures):
    generator = np.random.default_rng(8)
    frequencies, phases = generator.uniform(-180, 180, (4, 2)), generator.uniform(0, 360, 4)
    made = waves.single_frequency_greyscale(pictures[:4], 2.0, frequencies, phases)
    y, x = np.mgrid[0:32, 0:32]
    for i in range(4):
        wave = np.sin(np.radians(x * frequencies[i, 0] + y * frequencies[i, 1] + phases[i]))[..., None]
        near(made[i], np.clip(pictures[i] + 39.2 * wave, 0, 255).astype(np.uint8), 0.001)


def test_rings_are_pushed_saw_teeth(pictures):
    generator = np.random.default_rng(9)
    centres, folds = generator.uniform(0, 32, (4, 2)), generator.uniform(0, 10, 4)
    amplitudes, widths = generator.uniform(0.3, 3.2, (2, 4))
    made = waves.cocentric_sine_waves(pictures[:4], 5.0, centres, folds, amplitudes, widths)
    y, x = np.mgrid[0:32, 0:32].astype(float)
    for i in range(4):
        dx, dy = x - centres[i, 0], y - centres[i, 1]
        pushed = np.hypot(dx, dy) + amplitudes[i] * np.sin(folds[i] * np.arctan2(dx, dy))
        tooth = (pushed % widths[i] / widths[i] - 0.5)[..., None]
        near(made[i], np.clip(pictures[i] + 64 * tooth, 0, 255).astype(np.uint8), 0.001)


def test_plasma_is_stirred_as_often_as_drawn(pictures):
    times, rounds = np.array([0.5, 9.0, 18.0]), np.array([4, 5, 6])
    sharpness, scales = np.array([0.5, 0.7, 1.0]), np.array([2.5, 4.0, 6.0])
    made = waves.plasma_noise(pictures[:3], 8.5, times, rounds, sharpness, scales)
    for i in range(3):
        y, x = np.mgrid[0:32, 0:32] / scales[i]
        for k in range(rounds[i]):
            shift, damping = times[i] / 1.15**k, (2.25 - sharpness[i]) ** k
            a, b = np.cos(y * 1.93**k + shift) / damping, np.sin(x * 1.93**k + shift) / damping
            x, y = x + a - 0.3 * b, y + b + 0.3 * a
        wave = np.sin(np.stack([x - times[i], (x + y + np.sin(times[i])) / 2, y + times[i]], -1))
        wanted = (1 - 54.4 / 255) * pictures[i] + 54.4 * wave
        near(made[i], np.clip(wanted, 0, 255).astype(np.uint8), 0.002)


def test_turbulence_is_perlins(pictures):
    generator = np.random.default_rng(10)
    lattice, places = generator.integers(-256, 256, (1, 256, 2)), generator.integers(0, 256, (1, 256))
    made = perlin.perlin_noise(pictures[:1], 5.8, lattice, places)[0]
    order = list(range(256))
    for i in range(255, -1, -1):
        j = places[0, i]
        order[i], order[j] = order[j], order[i]
    gradients = lattice[0] / np.hypot(*lattice[0].T)[:, None]

    def noise(y: float, x: float) -> float:
        row, column, value = math.floor(y), math.floor(x), 0.0
        for dy in (0, 1):
            for dx in (0, 1):
                gradient = gradients[order[(order[(row + dy) % 256] + column + dx) % 256]]
                corner = gradient @ [y - row - dy, x - column - dx]
                u, v = abs(1 - dy - (y - row)), abs(1 - dx - (x - column))
                value += corner * u * u * (3 - 2 * u) * v * v * (3 - 2 * v)
        return 1.5 * value

    cell = 32 * 32 / 224
    for y, x in ((0, 0), (3, 17), (31, 31), (16, 5), (20, 28)):
        turbulence = sum(abs(noise(f * y / cell, f * x / cell)) / f for f in (1, 2, 4, 8, 16))
        wanted = 0.71 * pictures[0, y, x] + 255 * 0.29 * min(0.5 * turbulence + 0.5, 1)
        assert np.abs(made[y, x] - np.floor(wanted)).max() <= 1
    assert (made >= 0.71 * pictures[0].astype(float) + 255 * 0.145 - 1).all()  # it only brightens


def test_refraction_bends_by_snells_law(pictures):
    heights = caustics.caustics(32, 1.3, 30.0)
    p, q = np.meshgrid(*[np.arange(32) / 30.0 % 1 * 6.28318530718 - 250] * 2, indexing="ij")
    i, j, total = p, q, 1.0
    for k in range(5):
        t = 1.3 * (1 - 3.5 / (k + 1))
        i, j = p + np.cos(t - i) + np.sin(t + j), q + np.sin(t - j) + np.cos(t + i)
        total = total + 1 / np.hypot(p / (np.sin(i + t) / 0.005), q / (np.cos(j + t) / 0.005))
    bright = np.clip(np.abs(1.17 - (total / 5) ** 1.4) ** 8, 0, 1)
    assert np.allclose(heights, ndimage.gaussian_filter(bright, 1.0), atol=1e-9) and heights.max() > 0.2
    made = caustics.caustic_refraction(pictures[:1], 6.6, np.array([1.3]), np.array([30.0]))[0]
    around = np.pad(heights, 1)
    gy, gx = around[2:, 1:-1] - around[:-2, 1:-1], around[1:-1, 2:] - around[1:-1, :-2]
    steep = np.hypot(gy, gx)
    angle = np.arctan(steep)
    moved = 0.05 * 6.6 * 32 * np.sin(angle - np.arcsin(np.sin(angle) / 4)) / np.where(steep > 0, steep, 1)
    moved[np.cos(angle) >= 0.999] = 0
    rows, columns = np.mgrid[0:32, 0:32]
    seen = bilinear(pictures[0], rows + np.round(moved * gy, 3), columns + np.round(moved * gx, 3)) / 255
    lit = np.clip(seen + 1.32 * (gy - gx)[..., None], 0, 1)
    near(made, (lit * 255).astype(np.uint8), 0.01)
    assert (np.cos(angle) < 0.999).mean() > 0.1


# Whole sets on disk.

KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_corruptions_cbar import pictures_of
import numpy as np
from fredbench.corruptions import CBAR, write_set, writer
writer._PIXELS_A_WORKER, writer._JOB_BYTES = 0, 300_000
write_set(pictures_of(400, 32), np.arange(400) % 10, Path({out!r}), workers=2, seed=3, severities=[2, 5],
          corruptions=CBAR)
"""


def start(out: Path) -> subprocess.Popen:
    code = KILLED.format(tests=str(Path(__file__).parent), out=str(out))
    path = [str(ROOT / "tests"), str(ROOT), *sys.path]
    environment = {"PYTHONPATH": ":".join(path), "OMP_NUM_THREADS": "1", "PATH": ""}
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, stderr=subprocess.PIPE)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.npy")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four hundred pictures under all ten, made by one worker in one go."""
    out = tmp_path_factory.mktemp("whole")
    write_set(pictures_of(400, 32), np.arange(400) % 10, out, workers=1, seed=3, severities=[2, 5], corruptions=CBAR)
    return out


def test_shuffled_pictures_and_two_workers_have_the_bytes_of_one(tmp_path, whole, monkeypatch):
    monkeypatch.setattr("fredbench.corruptions.writer._PIXELS_A_WORKER", 0)
    numbers = np.random.default_rng(0).permutation(400)
    write_set(
        pictures_of(400, 32)[numbers], numbers % 10, tmp_path, workers=2, seed=3, severities=[2, 5],
        corruptions=CBAR, indices=numbers,
    )  # fmt: skip
    for name in CBAR:
        wanted, made = np.load(whole / f"{name}.npy"), np.load(tmp_path / f"{name}.npy")
        assert np.array_equal(made, np.concatenate([wanted[numbers], wanted[400 + numbers]])), name


def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path, whole):
    broken = tmp_path / "broken"
    process = start(broken)
    deadline = time.monotonic() + 120
    while not list(broken.glob("*.npy")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(broken.glob("*.npy")) and not (broken / "manifest.json").exists(), "not killed in its middle"
    again = start(broken)
    _, said = again.communicate()
    assert again.returncode == 0, said
    assert contents(broken) == contents(whole)


def test_a_set_is_listed_checked_and_drawn(tmp_path, whole, pictures):
    assert [path.stem for path in corrupted_arrays(whole)] == [*CBAR, "labels"]
    assert invoke("data", "verify", whole).code == 0
    preview(pictures[0], tmp_path / "sheet.png", corruptions=CBAR, severities=[1, 5])
    assert (tmp_path / "sheet.png").stat().st_size > 0


def test_the_command_takes_the_ten_at_once(tmp_path):
    out = tmp_path / "bar"
    asked = ("corrupt", "digits", "--offline", "--cbar", "--severity", 1, "--limit", 4, "--workers", 1, "--out", out)
    assert invoke(*asked).code == 0
    assert {path.stem for path in out.glob("*.npy")} == {*CBAR, "labels"}
    error, hint = invoke(*asked, "--corruption", "fog").problem()
    assert "--cbar" in error and "--corruption" in hint
