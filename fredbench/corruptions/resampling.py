"""Pillow's BOX and NEAREST resizing of whole batches, exactly: pixelation shows every last bit of it."""

from __future__ import annotations

import functools
import math
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64, UInt8

from fredbench.foundation.compiling import Array, compiled, inlined

__all__ = ["resized"]

_COEFFICIENT_BITS = 22
BoxTable = tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]
"""For each output place: first source pixel, how many of them, and their common fixed-point weight."""


@functools.lru_cache(maxsize=64)
def _box_table(source: int, target: int) -> BoxTable:
    """Pillow's BOX filter along one axis: whole pixels of equal weight.

    A pixel counts when its centre lies within half a (target) pixel of the output's centre, open at the left.
    """
    scale = source / target
    stretch = max(scale, 1.0)
    table = np.empty((3, target), np.int64)
    for place in range(target):
        centre = (place + 0.5) * scale
        candidates = np.arange(max(int(centre - stretch / 2 + 0.5), 0), min(int(centre + stretch / 2 + 0.5), source))
        # Times the reciprocal, as Pillow does: ties depend on the last bit.
        distance = (candidates - centre + 0.5) * (1.0 / stretch)
        inside = candidates[(distance > -0.5) & (distance <= 0.5)]
        table[:, place] = inside[0], len(inside), math.floor((1 << _COEFFICIENT_BITS) / len(inside) + 0.5)
    return table[0], table[1], table[2]


@functools.lru_cache(maxsize=64)
def _nearest_table(source: int, target: int) -> BoxTable:
    """The same for nearest-neighbour enlargement."""
    scale = source / target
    # A running sum, as in Pillow: its rounding decides where a centre falls on the edge of a pixel.
    places = np.floor(np.cumsum(np.r_[0.5 * scale, np.full(target - 1, scale)])).astype(np.int64)
    ones = np.ones(target, np.int64)
    return np.minimum(places, source - 1), ones, ones << _COEFFICIENT_BITS


@inlined
def _row_boxes(line: Array, firsts: Array, counts: Array, weights: Array, target: Array) -> None:
    # One row of RGB pixels, (w, 3) to (m, 3), rounded to 8 bits.
    half = 1 << 21
    for x in range(firsts.size):
        first, weight = firsts[x], weights[x]
        if counts[x] == 1:
            for d in range(3):
                target[x, d] = line[first, d]
        else:
            r, g, b = 0, 0, 0
            for k in range(first, first + counts[x]):
                r += line[k, 0]
                g += line[k, 1]
                b += line[k, 2]
            target[x, 0] = np.uint8((half + weight * r) >> 22)
            target[x, 1] = np.uint8((half + weight * g) >> 22)
            target[x, 2] = np.uint8((half + weight * b) >> 22)


@inlined
def _column_boxes(plane: Array, first: int, count: int, weight: int, sums: Array, target: Array) -> None:
    # Rows first … first + count - 1 of a plane to one row, rounded to 8 bits.
    if count == 1:
        target[:] = plane[first]
        return
    sums[:] = np.uint32(0)
    for k in range(first, first + count):
        line = plane[k]
        for x in range(sums.size):
            sums[x] += line[x]
    half, factor = np.uint32(1 << 21), np.uint32(weight)
    for x in range(sums.size):
        target[x] = np.uint8((half + factor * sums[x]) >> np.uint32(22))


@compiled
def _resample(pictures: Array, table_x: Any, table_y: Any, middle: Array, out: Array) -> None:
    # Along the rows first, 8 bits between the passes: Pillow's order (its newer versions swap the passes for
    # pictures more than twice as tall as wide, which moves values by one level; one order is enough here).
    n, h, _, c = pictures.shape
    width = middle.shape[1] * c
    sums = np.empty(width, np.uint32)
    plane = middle.reshape(h, width)
    for i in range(n):
        for y in range(h):
            _row_boxes(pictures[i, y], table_x[0], table_x[1], table_x[2], middle[y])
        for y in range(table_y[0].size):
            target = out[i, y].reshape(width)
            _column_boxes(plane, table_y[0][y], table_y[1][y], table_y[2][y], sums, target)


def resized(
    pictures: UInt8[np.ndarray, "n h w 3"], height: int, width: int, kind: Literal["box", "nearest"]
) -> UInt8[np.ndarray, "n {height} {width} 3"]:
    """The pictures at another size, each axis by whole-pixel boxes or nearest neighbours, rounded after each."""
    n, h, w, c = pictures.shape
    table = _box_table if kind == "box" else _nearest_table
    out = np.empty((n, height, width, c), np.uint8)
    middle = np.empty((h, width, c), np.uint8)
    _resample(np.ascontiguousarray(pictures), table(w, width), table(h, height), middle, out)
    return out
