"""C-bar's distortions: every pixel is taken from another place, between four pixels, black beyond the border.

Rules: `imagenet_c_bar/corrupt.py` of facebookresearch/augmentation-corruption (Mintun, Kirillov & Xie, NeurIPS 2021),
PinchAndTwirl and Ripple. Grey levels are truncated, where a last bit shows: weights and sums are in the order of the
published interpolation.
"""

from __future__ import annotations

import functools

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from fredbench.corruptions.exact import powers, sines_and_cosines
from fredbench.foundation.compiling import Array, compiled, inlined

__all__ = ["bilinear", "cells", "pinch_and_twirl", "ripple"]


@inlined
def _level(picture: Array, row: int, column: int, d: int) -> float:
    inside = 0 <= row < picture.shape[0] and 0 <= column < picture.shape[1]
    return float(picture[row, column, d]) if inside else 0.0


@inlined
def _sample(picture: Array, row: float, column: float, target: Array) -> None:
    top, left = int(np.floor(row)), int(np.floor(column))
    low, right = top + 1, left + 1
    near, far = 1.0 - column + left, 1.0 - right + column
    upper, lower = 1.0 - row + top, 1.0 - low + row
    for d in range(3):
        above = _level(picture, top, left, d) * near + _level(picture, top, right, d) * far
        below = _level(picture, low, left, d) * near + _level(picture, low, right, d) * far
        target[d] = above * upper + below * lower


@inlined
def _store(values: Array, single: bool, target: Array) -> None:
    # `single`: through float32, as the published code keeps some of its pictures.
    for d in range(3):
        value = np.float64(np.float32(values[d])) if single else values[d]
        target[d] = np.uint8(min(max(value, 0.0), 255.0))


@compiled
def _bilinear(picture: Array, rows: Array, columns: Array, out: Array) -> None:
    for y in range(rows.shape[0]):
        for x in range(rows.shape[1]):
            _sample(picture, rows[y, x], columns[y, x], out[y, x])


def bilinear(
    picture: Float32[np.ndarray, "h w 3"], rows: Float64[np.ndarray, "a b"], columns: Float64[np.ndarray, "a b"]
) -> Float64[np.ndarray, "a b 3"]:
    """The picture's values at those places, 0 beyond its border."""
    out = np.empty((*rows.shape, 3))
    _bilinear(np.ascontiguousarray(picture), rows, columns, out)
    return out


def cells(side: int) -> int:
    """Cells a side that are twirled: 5 at 224 pixels, else 3."""
    return 5 if side == 224 else 3


@functools.lru_cache(maxsize=32)
def _twirl(side: int, severity: float) -> Float64[np.ndarray, "2 g g 2"]:
    """Sources (row, column, from the cell's corner) of a cell's pixels, twirled one way and the other.

    Towards the middle by sin(π d/2r)^-(.04 severity + .1) and round it by ± 9·severity degrees · (1 - d/r)², within
    the circle of radius r.
    """
    size = side // cells(side)
    radius, amount = size / 2, severity * 0.4 / 10.0 + 0.1
    table = np.empty((2, size, size, 2))
    table[:, ..., 0], table[:, ..., 1] = np.arange(size)[:, None], np.arange(size)
    rows, columns = table[0, ..., 0] - radius, table[0, ..., 1] - radius
    distances = np.sqrt(rows * rows + columns * columns)
    moved = (distances <= radius) & (np.round(distances, 3) != 0)
    share, dy, dx = distances[moved] / radius, rows[moved], columns[moved]
    pinch = powers(sines_and_cosines(90.0 * share)[0], -amount)
    for way, sign in enumerate((1.0, -1.0)):
        sines, cosines = sines_and_cosines(sign * 9.0 * severity * (1.0 - share) ** 2)
        table[way, moved, 0] = radius + (dy * pinch * cosines - dx * pinch * sines)
        table[way, moved, 1] = radius + (dy * pinch * sines + dx * pinch * cosines)
    return table


@compiled
def _pinch_and_twirl(pictures: Array, table: Array, ways: Array, out: Array) -> None:
    size, values = table.shape[1], np.empty(3)
    for i in range(pictures.shape[0]):
        picture, made = pictures[i], out[i]
        made[:] = picture
        for across in range(ways.shape[1]):
            for down in range(ways.shape[2]):
                way, top, left = table[ways[i, across, down]], down * size, across * size
                for y in range(size):
                    for x in range(size):
                        row, column = top + way[y, x, 0], left + way[y, x, 1]
                        _sample(picture, row, column, values)
                        _store(values, True, made[top + y, left + x])


def pinch_and_twirl(
    pictures: UInt8[np.ndarray, "n s s 3"], severity: float, ways: UInt8[np.ndarray, "n k k"]
) -> UInt8[np.ndarray, "n s s 3"]:
    """Every cell of a grid drawn to its middle and twirled, to one side (0 in `ways`) or the other (1).

    `ways` holds `cells(side)` columns of cells of as many cells each; what the cells leave of a side stays.
    """
    out = np.empty(pictures.shape, np.uint8)
    _pinch_and_twirl(np.ascontiguousarray(pictures), _twirl(pictures.shape[1], float(severity)), ways, out)
    return out


@compiled
def _ripple(pictures: Array, rows: Array, columns: Array, out: Array) -> None:
    n, side = pictures.shape[:2]
    values = np.empty(3)
    for i in range(n):
        for y in range(side):
            for x in range(side):
                _sample(pictures[i], rows[i, y], columns[i, x], values)
                _store(values, False, out[i, y, x])


def ripple(
    pictures: UInt8[np.ndarray, "n s s 3"], severity: float, waves: Float64[np.ndarray, "n 2"],
    phases: Float64[np.ndarray, "n 2"],
) -> UInt8[np.ndarray, "n s s 3"]:  # fmt: skip
    """Rows and columns moved by sines of .0025·severity·side pixels.

    `waves`: their lengths in pixels for rows and columns. `phases`: in degrees.
    """
    side = pictures.shape[1]
    places = np.arange(side, dtype=np.float64)
    angles = 360.0 * places / waves[..., None] + phases[..., None]
    sources = places + severity * 0.025 / 10.0 * side * sines_and_cosines(angles)[0]
    out = np.empty(pictures.shape, np.uint8)
    _ripple(np.ascontiguousarray(pictures), sources[:, 0], sources[:, 1], out)
    return out
