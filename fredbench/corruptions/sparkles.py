"""C-bar's stars of uneven rays, on the 0..255 scale.

Rules: `imagenet_c_bar/corrupt.py` of facebookresearch/augmentation-corruption (Mintun, Kirillov & Xie, NeurIPS 2021),
Sparkles and InverseSparkles.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Float64, Int64, UInt8

from fredbench.corruptions.exact import arctangents, powers
from fredbench.foundation.compiling import Array, compiled

__all__ = ["FEWEST_RAYS", "MOST_RAYS", "STARS", "inverse_sparkles", "sparkles"]

STARS = 5
FEWEST_RAYS, MOST_RAYS = 50, 199
_UNEVEN = 0.25  # deviation of a ray's length, relative to the star's radius


def _offsets(
    centres: Float64[np.ndarray, "n 2"], side: int
) -> tuple[Float64[np.ndarray, "n s s"], Float64[np.ndarray, "n s s"]]:
    """Rows and columns of every pixel from the centre of each picture."""
    down, across = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    return down - centres[:, :1, None], across - centres[:, 1:, None]


@compiled
def _stars(angles: Array, squares: Array, lengths: Array, rays: Array, shares: Array, glow: Array) -> None:
    # shares: 1 - (distance from the middle between two rays)²; glow: (ray's length / distance)².
    n, pixels = angles.shape
    for i in range(n):
        count = rays[i]
        for x in range(pixels):
            turn = (angles[i, x] + math.pi) / (2.0 * math.pi) * count
            ray = int(turn)
            rest = turn - ray
            here, there = lengths[i, ray % count], lengths[i, (ray + 1) % count]
            length = here + rest * (there - here)
            glow[i, x] = length * length / (squares[i, x] + 1e-4)
            shares[i, x] = 1.0 - (rest - 0.5) * (rest - 0.5)


def _shining(
    centres: Float64[np.ndarray, "n 2"], lengths: Float64[np.ndarray, "n r"], rays: Int64[np.ndarray, " n"],
    exponent: float, side: int,
) -> Float64[np.ndarray, "n p"]:  # fmt: skip
    """How much of a star each pixel is, up to 1."""
    n, (rows, columns) = len(centres), _offsets(centres, side)
    angles = arctangents(columns, rows).reshape(n, -1)
    squares = (rows * rows + columns * columns).reshape(n, -1)
    shares, glow = np.empty_like(angles), np.empty_like(angles)
    _stars(angles, squares, lengths, rays, shares, glow)
    return np.asarray(np.minimum(shares * (glow if exponent == 1.0 else powers(glow, exponent)), 1.0))


@compiled
def _towards_white(values: Array, shares: Array) -> None:
    # float32 between the stars, as the published code keeps them, float64 within.
    for i in range(shares.size):
        for d in range(3):
            value = np.float64(np.float32(values[i, d]))
            values[i, d] = value + shares[i] * (255.0 - value)


@compiled
def _from_white(pictures: Array, shares: Array, out: Array) -> None:
    for i in range(shares.size):
        for d in range(3):
            value = 255.0 + shares[i] * (pictures[i, d] - 255.0)
            out[i, d] = np.uint8(min(max(value, 0.0), 255.0))


def sparkles(
    pictures: UInt8[np.ndarray, "n s s 3"], severity: float, centres: Float64[np.ndarray, "n 5 2"],
    rays: Int64[np.ndarray, "n 5"], normals: Float[np.ndarray, "n 5 r"],
) -> UInt8[np.ndarray, "n s s 3"]:  # fmt: skip
    """Five white stars of radius .01·severity·side, one over the other.

    `centres` in pixels (row, column); `rays` 50 … 199; `normals` make the rays uneven, each at least a pixel long.
    """
    n, side = pictures.shape[:2]
    radius = severity * 0.1 / 10.0 * side
    values = pictures.reshape(-1, 3).astype(np.float64)
    for star in range(STARS):
        lengths = np.maximum(1.0, radius + _UNEVEN * radius * normals[:, star].astype(np.float64))
        _towards_white(values, _shining(centres[:, star], lengths, rays[:, star], 1.0, side).reshape(-1))
    return np.minimum(values, 255.0).astype(np.uint8).reshape(n, side, side, 3)


def inverse_sparkles(
    pictures: UInt8[np.ndarray, "n s s 3"], severity: float, centres: Float64[np.ndarray, "n 2"],
    rays: Int64[np.ndarray, " n"], normals: Float[np.ndarray, "n r"],
) -> UInt8[np.ndarray, "n s s 3"]:  # fmt: skip
    """The picture seen through one star of a quarter of the side, white around it; sharper with the severity."""
    side = pictures.shape[1]
    radius = 0.25 * side
    lengths = radius + _UNEVEN * radius * normals.astype(np.float64)
    shares = _shining(centres, lengths, rays, severity * 6.5 / 50.0, side)
    out = np.empty(pictures.shape, np.uint8)
    pixels = np.ascontiguousarray(pictures).reshape(-1, 3)
    _from_white(pixels, shares.reshape(-1), out.reshape(-1, 3))
    return out
