"""C-bar's grey covers, tiles and lines, on the 0..255 scale.

Rules: `imagenet_c_bar/corrupt.py` of facebookresearch/augmentation-corruption (Mintun, Kirillov & Xie, NeurIPS 2021),
CheckerBoardCutOut and Lines; the smoothed line is Zingl's (scikit-image's `line_aa`).
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from fredbench.corruptions.exact import sines_and_cosines
from fredbench.foundation.compiling import Array, compiled, inlined

__all__ = ["MOST_TILES", "checkerboard_cutout", "line_count", "line_ends", "lines"]

MOST_TILES = 40
"""Tiles a row of the table at the smallest tile: four sides of the picture in tenths of it."""

_GREY = 128.0


@compiled
def _cut_out(
    pictures: Array, fraction: float, sines: Array, cosines: Array, tiles: Array, table: Array, out: Array
) -> None:
    n, side = pictures.shape[:2]
    for i in range(n):
        sine, cosine, tile = sines[i], cosines[i], tiles[i]
        count = int(4 * side // tile)
        for y in range(side):
            for x in range(side):
                p, q = (cosine * y + sine * x) / tile, (-sine * y + cosine * x) / tile
                # Towards zero: the tiles beside the first corner are double ones. Negative numbers count from the end.
                row, column = int(p), int(q)
                row, column = row + count if row < 0 else row, column + count if column < 0 else column
                # Of the tiles with an even sum of their numbers, downwards rounded.
                even = (int(np.floor(p)) + int(np.floor(q))) % 2 == 0
                covered = even and table[i, row * count + column] < fraction
                for d in range(3):
                    out[i, y, x, d] = np.uint8(_GREY) if covered else pictures[i, y, x, d]


def checkerboard_cutout(
    pictures: UInt8[np.ndarray, "n s s 3"], severity: float, degrees: Float64[np.ndarray, " n"],
    tiles: Float64[np.ndarray, " n"], table: Float64[np.ndarray, "n t"],
) -> UInt8[np.ndarray, "n s s 3"]:  # fmt: skip
    """Grey tiles of a turned chessboard's one colour, each there with probability severity/10.

    `tiles`: their side in pixels, one or more and a tenth of the picture's or more. `table`: draws from [0, 1), of
    which the first ⌊4·side/tile⌋² are the tiles' row by row.
    """
    sines, cosines = sines_and_cosines(degrees)
    out = np.empty(pictures.shape, np.uint8)
    _cut_out(np.ascontiguousarray(pictures), severity * 1.0 / 10.0, sines, cosines, tiles, table, out)
    return out


def line_count(severity: float, side: int) -> int:
    """How many lines a picture gets."""
    return int(severity * 1.0 / 10.0 * side)


def line_ends(
    degrees: Float64[np.ndarray, " n"], variation: Float64[np.ndarray, " n"], places: Float64[np.ndarray, "n k 3"],
    side: int,
) -> Int64[np.ndarray, "n k 4"]:  # fmt: skip
    """First and last pixel (row, column, row, column) of lines two sides long.

    `places`, from [0, 1), are each line's middle (row, column), in sides, and its deviation from the picture's angle.
    """
    turned = degrees[:, None] + 360.0 * variation[:, None] * (places[..., 2] - 0.5)
    sines, cosines = sines_and_cosines(turned)
    row, column, down, across = side * places[..., 0], side * places[..., 1], cosines * side, sines * side
    return np.stack([row - down, column - across, row + down, column + across], axis=-1).astype(np.int64)


@inlined
def _blend(before: Array, row: int, column: int, weight: float, out: Array) -> None:
    side = before.shape[0]
    if 0 <= row < side and 0 <= column < side:
        for d in range(3):
            out[row, column, d] = np.uint8((1.0 - weight) * before[row, column, d] + weight * _GREY)


@inlined
def _draw(before: Array, row: int, column: int, last_row: int, last_column: int, out: Array) -> None:
    # Bresenham's error term, which is also each pixel's distance from the line, along the rows and then the columns.
    dr, dc = abs(last_row - row), abs(last_column - column)
    step_row, step_column = 1 if row < last_row else -1, 1 if column < last_column else -1
    length = math.sqrt(float(dr * dr + dc * dc)) if dr + dc > 0 else 1.0
    error = dc - dr
    while True:
        _blend(before, row, column, 1.0 - abs(error - dc + dr) / length, out)
        error_before, column_before = error, column
        if 2 * error_before >= -dc:
            if column == last_column:
                break
            if error_before + dr < length:
                _blend(before, row + step_row, column, 1.0 - abs(error_before + dr) / length, out)
            error -= dr
            column += step_column
        if 2 * error_before <= dr:
            if row == last_row:
                break
            if dc - error_before < length:
                _blend(before, row, column_before + step_column, 1.0 - abs(dc - error_before) / length, out)
            error += dc
            row += step_row


@compiled
def _lines(ends: Array, out: Array) -> None:
    n, count = ends.shape[:2]
    before = np.empty(out.shape[1:], np.uint8)
    for i in range(n):
        for k in range(count):
            before[:] = out[i]
            _draw(before, ends[i, k, 0], ends[i, k, 1], ends[i, k, 2], ends[i, k, 3], out[i])


def lines(pictures: UInt8[np.ndarray, "n s s 3"], ends: Int64[np.ndarray, "n k 4"]) -> UInt8[np.ndarray, "n s s 3"]:
    """Smoothed grey lines one after the other, each truncated to grey levels; see `line_ends`."""
    out = np.array(pictures, order="C")
    _lines(ends, out)
    return out
