"""C-bar's refraction by the light patterns of moving water.

Rules: `imagenet_c_bar/corrupt.py` of facebookresearch/augmentation-corruption (Mintun, Kirillov & Xie, NeurIPS 2021),
CausticRefraction.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, UInt8

from fredbench.corruptions.exact import powers, sines_and_cosines
from fredbench.corruptions.filters import gaussian_blur
from fredbench.corruptions.warps import bilinear

__all__ = ["caustic_refraction", "caustics"]

_TURN = 6.28318530718
_DENSITY = 4.0  # refractive index
_RADIANS = 180.0 / np.pi


def caustics(side: int, time: float, period: float) -> Float64[np.ndarray, "s s"]:
    """Bright lines on dark, 0 … 1, `period` pixels to a repetition, smoothed by a pixel."""
    places = np.mod(np.arange(side) / period, 1.0) * _TURN - 250.0
    down, across = np.meshgrid(places, places, indexing="ij")
    row, column, total = down, across, np.ones((side, side))
    for step in range(5):
        t = time * (1.0 - 3.5 / (step + 1))
        (row_sine, row_cosine), (column_sine, column_cosine) = (
            sines_and_cosines(_RADIANS * place) for place in (row, column)
        )
        sine, cosine = (float(one[0]) for one in sines_and_cosines(_RADIANS * np.array([t])))
        # cos(t - i) + sin(t + j) and sin(t - j) + cos(t + i) of the last row i and column j.
        row, column = (
            down + (cosine * row_cosine + sine * row_sine) + (sine * column_cosine + cosine * column_sine),
            across + (sine * column_cosine - cosine * column_sine) + (cosine * row_cosine - sine * row_sine),
        )
        by_row = down / (sines_and_cosines(_RADIANS * (row + t))[0] / 0.005)
        by_column = across / (sines_and_cosines(_RADIANS * (column + t))[1] / 0.005)
        total = total + 1.0 / np.sqrt(by_row * by_row + by_column * by_column)
    dark = 1.17 - powers(total / 5.0, 1.4)
    fourth = dark * dark * dark * dark
    bright = np.minimum(fourth * fourth, 1.0)
    # Mirrored with the edge twice, where the filter itself repeats it: four pixels reach.
    padded = np.pad(bright, 4, mode="symmetric")[None, ..., None]
    return np.ascontiguousarray(gaussian_blur(padded, 1.0)[0, 4:-4, 4:-4, 0])


def _slopes(heights: Float64[np.ndarray, "s s"]) -> tuple[Float64[np.ndarray, "s s"], Float64[np.ndarray, "s s"]]:
    """Differences of both neighbours of each pixel along rows and columns; 0 stands beyond the border."""
    around = np.pad(heights, 1)
    return around[2:, 1:-1] - around[:-2, 1:-1], around[1:-1, 2:] - around[1:-1, :-2]


def _refracted(
    picture: UInt8[np.ndarray, "s s 3"], severity: float, heights: Float64[np.ndarray, "s s"]
) -> UInt8[np.ndarray, "s s 3"]:
    side = len(picture)
    down, across = _slopes(heights)
    steep = np.sqrt(down * down + across * across)
    upright = 1.0 / np.sqrt(1.0 + steep * steep)
    sine = steep * upright
    # sin(θ - θ') of the ray's angles in the air and below, which moves it towards the slope.
    bent = sine * np.sqrt(1.0 - sine * sine / _DENSITY**2) - upright * sine / _DENSITY
    moved = np.where(upright < 0.999, severity * 0.5 * side / 10.0 * bent / np.where(steep > 0, steep, 1.0), 0.0)
    rows, columns = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    unit = picture.astype(np.float32) / np.float32(255)
    seen = bilinear(unit, rows + np.round(moved * down, 3), columns + np.round(moved * across, 3))
    light = severity * 2.0 / 10.0
    lit = seen - (across * light)[..., None] + (down * light)[..., None]
    return (np.clip(lit, 0.0, 1.0) * 255.0).astype(np.uint8)


def caustic_refraction(
    pictures: UInt8[np.ndarray, "n s s 3"], severity: float, times: Float64[np.ndarray, " n"],
    periods: Float64[np.ndarray, " n"],
) -> UInt8[np.ndarray, "n s s 3"]:  # fmt: skip
    """Each picture seen through the surface whose `caustics` lie on it, and lit by them.

    `times`: .5 … 2. `periods`: pixels to a repetition, .75 to 1.25 sides.
    """
    side, drawn = pictures.shape[1], zip(pictures, times.tolist(), periods.tolist(), strict=True)
    made = [_refracted(picture, severity, caustics(side, time, period)) for picture, time, period in drawn]
    return np.stack(made)
