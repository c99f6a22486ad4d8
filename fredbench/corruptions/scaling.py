"""Enlarging and reducing textures as OpenCV's own code does it, in a fixed order of operations.

Called itself, `cv2.resize` gives other grey levels by version and processor: its wheels hand bicubic work to Intel's
library where they can, and their own vector code breaks ties by processor.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64, UInt8

from fredbench.foundation.compiling import Array, compiled

__all__ = ["enlarged_cubic", "scaled_linear"]

_ONE = 1 << 11
"""Weights are whole numbers of 2048ths."""

Taps = tuple[Int64[np.ndarray, "t m"], Int32[np.ndarray, "t m"]]
"""For each output place the source places of its taps, and their weights."""


def _positions(target: int, scale: float) -> tuple[Any, Any]:
    # Left neighbour and the distance to it, of pixels whose centres lie at half numbers.
    position = ((np.arange(target) + 0.5) * scale - 0.5).astype(np.float32)
    left = np.floor(position)
    return left.astype(np.int64), position - left


def _fixed(weights: list[Any]) -> Int32[np.ndarray, "t m"]:
    return np.rint(np.stack(weights) * np.float32(_ONE)).astype(np.int32)


def _linear_taps(source: int, target: int, scale: float) -> Taps:
    left, distance = _positions(target, scale)
    distance = np.where((left < 0) | (left >= source - 1), np.float32(0), distance)
    left = np.clip(left, 0, source - 1)
    return np.stack([left, np.minimum(left + 1, source - 1)]), _fixed([np.float32(1) - distance, distance])


def _cubic_taps(source: int, target: int, scale: float) -> Taps:
    # Keys' kernel with a = -3/4, in float32, the last weight as the rest of one.
    left, x = _positions(target, scale)
    a, one = np.float32(-0.75), np.float32(1)
    outer = ((a * (x + one) - 5 * a) * (x + one) + 8 * a) * (x + one) - 4 * a
    inner = [((a + 2) * d - (a + 3)) * d * d + one for d in (x, one - x)]
    weights = _fixed([outer, *inner, one - outer - inner[0] - inner[1]])
    return np.clip(np.stack([left - 1, left, left + 1, left + 2]), 0, source - 1), weights


@compiled
def _along_rows(picture: Array, places: Array, weights: Array, out: Array) -> None:
    for y in range(picture.shape[0]):
        for x in range(places.shape[1]):
            for d in range(3):
                total = np.int32(0)
                for t in range(places.shape[0]):
                    total += np.int32(picture[y, places[t, x], d]) * weights[t, x]
                out[y, x, d] = total


def _widened(picture: UInt8[np.ndarray, "h w 3"], taps: Taps) -> Int32[np.ndarray, "h m 3"]:
    places, weights = taps
    out = np.empty((picture.shape[0], places.shape[1], 3), np.int32)
    _along_rows(np.ascontiguousarray(picture), places, weights, out)
    return out


def scaled_linear(picture: UInt8[np.ndarray, "h w 3"], factor: float) -> UInt8[np.ndarray, "a b 3"]:
    """Bilinear without anti-aliasing, both sides times `factor` and rounded: `cv2.resize` with fx, fy."""
    height, width, _ = picture.shape
    rows = _widened(picture, _linear_taps(width, round(width * factor), 1 / factor)) >> 4
    (upper, lower), (near, far) = _linear_taps(height, round(height * factor), 1 / factor)
    near, far = near[:, None, None], far[:, None, None]
    values = ((near * rows[upper]) >> 16) + ((far * rows[lower]) >> 16)
    return np.asarray(((values + 2) >> 2).astype(np.uint8))


@compiled
def _down_columns(rows: Array, places: Array, weights: Array, out: Array) -> None:
    # In float32, the last tap first; halves to the even level.
    unit = np.float32(1) / np.float32(1 << 22)
    flat = rows.reshape(rows.shape[0], rows.shape[1] * 3)
    for y in range(places.shape[1]):
        first, second, third, fourth = flat[places[0, y]], flat[places[1, y]], flat[places[2, y]], flat[places[3, y]]
        a, b = np.float32(weights[0, y]) * unit, np.float32(weights[1, y]) * unit
        c, d = np.float32(weights[2, y]) * unit, np.float32(weights[3, y]) * unit
        target = out[y].reshape(rows.shape[1] * 3)
        for x in range(target.size):
            value = np.float32(third[x]) * c + np.float32(fourth[x]) * d
            value = np.float32(first[x]) * a + (np.float32(second[x]) * b + value)
            target[x] = np.uint8(min(max(np.rint(value), np.float32(0)), np.float32(255)))


def enlarged_cubic(picture: UInt8[np.ndarray, "h w 3"], factor: float) -> UInt8[np.ndarray, "a b 3"]:
    """Bicubic, both sides times `factor` and rounded up: `cv2.resize` with that size and without Intel's library."""
    height, width, _ = picture.shape
    high, wide = math.ceil(height * factor), math.ceil(width * factor)
    rows = _widened(picture, _cubic_taps(width, wide, 1 / (wide / width)))
    places, weights = _cubic_taps(height, high, 1 / (high / height))
    out = np.empty((high, wide, 3), np.uint8)
    _down_columns(rows, places, weights, out)
    return out
