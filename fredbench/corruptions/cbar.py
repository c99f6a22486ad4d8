"""The draws of the C-bar corruptions, picture by picture, and the arithmetic that they go to.

Source of every distribution: `sample_parameters` in `imagenet_c_bar/corrupt.py` of
facebookresearch/augmentation-corruption (Mintun, Kirillov & Xie, NeurIPS 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from jaxtyping import Int64, UInt8, UInt64

from fredbench.corruptions import caustics, draws, occlusions, perlin, spectral, splines, warps, waves
from fredbench.corruptions import sparkles as stars
from fredbench.corruptions.batches import Batch

__all__ = ["MAKERS"]


def _side(b: Batch) -> int:
    return b.size[0]


def _blue_noise_sample(b: Batch) -> UInt8[np.ndarray, "n s s 3"]:
    phases = draws.reals(b.keys, 0.0, 360.0, spectral.phase_count(_side(b)))
    return spectral.blue_noise_sample(b.pictures, b.row[0], phases)


def _brownish_noise(b: Batch) -> UInt8[np.ndarray, "n s s 3"]:
    phases = draws.reals(b.keys, 0.0, 360.0, 3, spectral.phase_count(_side(b)))
    return spectral.brownish_noise(b.pictures, b.row[0], phases)


def _checkerboard_cutout(b: Batch) -> UInt8[np.ndarray, "n s s 3"]:
    degrees = draws.angles(draws.substream(b.keys, 1), 0.0, 360.0)
    tiles = np.maximum(draws.reals(draws.substream(b.keys, 2), 0.1, 0.25) * _side(b), 1.0)
    table = draws.reals(b.keys, 0.0, 1.0, occlusions.MOST_TILES**2)
    return occlusions.checkerboard_cutout(b.pictures, b.row[0], degrees, tiles, table)


def _rays(keys: UInt64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    return stars.FEWEST_RAYS + draws.choices(keys, np.full(len(keys), stars.MOST_RAYS - stars.FEWEST_RAYS + 1))


def _inverse_sparkles(b: Batch) -> UInt8[np.ndarray, "n s s 3"]:
    centres = draws.reals(draws.substream(b.keys, 1), 0.25, 0.75, 2) * _side(b)
    rays = _rays(draws.substream(b.keys, 2))
    return stars.inverse_sparkles(b.pictures, b.row[0], centres, rays, draws.normals(b.keys, stars.MOST_RAYS))


def _sparkles(b: Batch) -> UInt8[np.ndarray, "n s s 3"]:
    centres = draws.reals(draws.substream(b.keys, 1), 0.0, float(_side(b)), stars.STARS, 2)
    rays = np.stack([_rays(draws.substream(b.keys, 2 + star)) for star in range(stars.STARS)], axis=1)
    normals = draws.normals(b.keys, stars.STARS, stars.MOST_RAYS)
    return stars.sparkles(b.pictures, b.row[0], centres, rays, normals)


def _lines(b: Batch) -> UInt8[np.ndarray, "n s s 3"]:
    degrees = draws.angles(draws.substream(b.keys, 1), 0.0, 360.0)
    variation = draws.reals(draws.substream(b.keys, 2), 0.1, 1.0)
    places = draws.reals(b.keys, 0.0, 1.0, occlusions.line_count(b.row[0], _side(b)), 3)
    return occlusions.lines(b.pictures, occlusions.line_ends(degrees, variation, places, _side(b)))


def _pinch_and_twirl(b: Batch) -> UInt8[np.ndarray, "n s s 3"]:
    cells = warps.cells(_side(b))
    ways = (draws.reals(b.keys, 0.0, 1.0, cells, cells) >= 0.5).astype(np.uint8)
    return warps.pinch_and_twirl(b.pictures, b.row[0], ways)


def _ripple(b: Batch) -> UInt8[np.ndarray, "n s s 3"]:
    waves = draws.reals(draws.substream(b.keys, 1), 0.1, 0.3, 2) * _side(b)
    return warps.ripple(b.pictures, b.row[0], waves, draws.reals(b.keys, 0.0, 360.0, 2))


def _transverse_chromatic_abberation(b: Batch) -> UInt8[np.ndarray, "n s s 3"]:
    orders = np.array(splines.ORDERS)[draws.choices(b.keys, np.full(len(b.keys), len(splines.ORDERS)))]
    return splines.transverse_chromatic_abberation(b.pictures, b.row[0], orders)


def _caustic_refraction(b: Batch) -> UInt8[np.ndarray, "n s s 3"]:
    times = draws.reals(draws.substream(b.keys, 1), 0.5, 2.0)
    periods = draws.reals(draws.substream(b.keys, 2), 0.75, 1.25) * _side(b)
    return caustics.caustic_refraction(b.pictures, b.row[0], times, periods)


def _cocentric_sine_waves(b: Batch) -> UInt8[np.ndarray, "n s s 3"]:
    centres = draws.reals(draws.substream(b.keys, 1), 0.0, float(_side(b)), 2)
    folds = draws.reals(draws.substream(b.keys, 2), 0.0, 10.0)
    amplitudes, widths = draws.reals(b.keys, 0.0, _side(b) / 10.0, 2).T
    return waves.cocentric_sine_waves(b.pictures, b.row[0], centres, folds, amplitudes, widths)


def _perlin_noise(b: Batch) -> UInt8[np.ndarray, "n s s 3"]:
    lattice = np.floor(draws.reals(b.keys, -256.0, 256.0, perlin.GRADIENTS, 2)).astype(np.int64)
    places = np.floor(draws.reals(draws.substream(b.keys, 1), 0.0, 256.0, perlin.GRADIENTS)).astype(np.int64)
    return perlin.perlin_noise(b.pictures, b.row[0], lattice, places)


def _plasma_noise(b: Batch) -> UInt8[np.ndarray, "n s s 3"]:
    times = draws.reals(draws.substream(b.keys, 1), 0.0, 6.0 * np.pi)
    rounds = 4 + draws.choices(draws.substream(b.keys, 2), np.full(len(b.keys), 3))
    sharpness = draws.reals(draws.substream(b.keys, 3), 0.5, 1.0)
    scales = draws.reals(draws.substream(b.keys, 4), 0.075, 0.2) * _side(b)
    return waves.plasma_noise(b.pictures, b.row[0], times, rounds, sharpness, scales)


def _single_frequency_greyscale(b: Batch) -> UInt8[np.ndarray, "n s s 3"]:
    larger = draws.reals(draws.substream(b.keys, 1), -180.0, 180.0)
    smaller = np.abs(larger) * draws.reals(draws.substream(b.keys, 2), -1.0, 1.0)
    across = draws.choices(draws.substream(b.keys, 3), np.full(len(b.keys), 2)) == 0
    frequencies = np.where(across[:, None], np.stack([larger, smaller], 1), np.stack([smaller, larger], 1))
    phases = draws.reals(draws.substream(b.keys, 4), 0.0, 360.0)
    return waves.single_frequency_greyscale(b.pictures, b.row[0], frequencies, phases)


MAKERS: Final[Mapping[str, Callable[[Batch], Any]]] = {
    "blue_noise_sample": _blue_noise_sample,
    "brownish_noise": _brownish_noise,
    "checkerboard_cutout": _checkerboard_cutout,
    "inverse_sparkles": _inverse_sparkles,
    "sparkles": _sparkles,
    "circular_motion_blur": lambda b: splines.circular_motion_blur(b.pictures, b.row[0]),
    "lines": _lines,
    "pinch_and_twirl": _pinch_and_twirl,
    "ripple": _ripple,
    "transverse_chromatic_abberation": _transverse_chromatic_abberation,
    "caustic_refraction": _caustic_refraction,
    "cocentric_sine_waves": _cocentric_sine_waves,
    "perlin_noise": _perlin_noise,
    "plasma_noise": _plasma_noise,
    "single_frequency_greyscale": _single_frequency_greyscale,
}
"""What makes each corruption of a batch of square pictures."""
