"""The digital corruptions: pure functions of (pictures, parameters, draws)."""

from __future__ import annotations

import functools
import math
from typing import Any, Literal

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, Int64, UInt8

from fredbench.corruptions.colour import change_saturation
from fredbench.corruptions.compiling import Array, compiled, inlined
from fredbench.corruptions.filters import smooth_fields
from fredbench.corruptions.severities import ELASTIC_UNIT, Family, Row
from fredbench.errors import UsageError

__all__ = ["contrast", "elastic_transform", "jpeg_compression", "pixelate", "saturate"]


@compiled
def _contrast(pictures: Array, factor: float, out: Array) -> None:
    n, h, w, c = pictures.shape
    means = np.empty(w * c)
    for i in range(n):
        sums = np.zeros(w * c, np.int64)
        for y in range(h):
            here = pictures[i, y].reshape(w * c)
            for x in range(w * c):
                sums[x] += here[x]
        for d in range(c):
            mean = sums[d::c].sum() / 255.0 / (h * w)
            means[d::c] = mean
        for y in range(h):
            here, target = pictures[i, y].reshape(w * c), out[i, y].reshape(w * c)
            for x in range(w * c):
                value = (here[x] / 255.0 - means[x]) * factor + means[x]
                target[x] = np.uint8(min(max(value, 0.0), 1.0) * 255.0)


def contrast(pictures: UInt8[np.ndarray, "n h w c"], factor: float) -> UInt8[np.ndarray, "n h w c"]:
    """y = (x - mean)·factor + mean, with the mean of each picture and channel (corruptions.md §3.12)."""
    out = np.empty(pictures.shape, np.uint8)
    _contrast(np.ascontiguousarray(pictures), float(factor), out)
    return out


def saturate(pictures: UInt8[np.ndarray, "n h w 3"], factor: float, offset: float) -> UInt8[np.ndarray, "n h w 3"]:
    """S of HSV ← factor·S + offset (corruptions.md §3.11)."""
    return change_saturation(pictures, factor, offset)


def jpeg_compression(pictures: UInt8[np.ndarray, "n h w 3"], quality: int) -> UInt8[np.ndarray, "n h w 3"]:
    """JPEG at `quality`, 4:2:0 chroma, standard tables, and back (corruptions.md §3.15)."""
    out = np.empty(pictures.shape, np.uint8)
    settings = [
        cv2.IMWRITE_JPEG_QUALITY, int(quality),
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    ]  # fmt: skip
    for picture, target in zip(pictures, out, strict=True):
        done, packed = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), settings)
        if not done:
            raise UsageError(f"OpenCV cannot write JPEG of quality {quality}", hint="use a quality of 1 to 100")
        cv2.cvtColor(cv2.imdecode(packed, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB, dst=target)
    return out


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
        distance = (candidates - centre + 0.5) / stretch
        inside = candidates[(distance > -0.5) & (distance <= 0.5)]
        table[:, place] = inside[0], len(inside), math.floor((1 << _COEFFICIENT_BITS) / len(inside) + 0.5)
    return table[0], table[1], table[2]


@functools.lru_cache(maxsize=64)
def _nearest_table(source: int, target: int) -> BoxTable:
    """The same for nearest-neighbour enlargement."""
    places = np.floor((np.arange(target) + 0.5) * (source / target)).astype(np.int64)
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
    # Along the rows first, 8 bits between the passes: Pillow's order.
    n, h, w, c = pictures.shape
    width = middle.shape[1] * c
    sums = np.empty(width, np.uint32)
    plane = middle.reshape(h, width)
    for i in range(n):
        for y in range(h):
            _row_boxes(pictures[i, y], table_x[0], table_x[1], table_x[2], middle[y])
        for y in range(table_y[0].size):
            target = out[i, y].reshape(width)
            _column_boxes(plane, table_y[0][y], table_y[1][y], table_y[2][y], sums, target)


def _resized(
    pictures: UInt8[np.ndarray, "n h w 3"], height: int, width: int, kind: Literal["box", "nearest"]
) -> UInt8[np.ndarray, "n {height} {width} 3"]:
    n, h, w, c = pictures.shape
    table = _box_table if kind == "box" else _nearest_table
    out = np.empty((n, height, width, c), np.uint8)
    middle = np.empty((h, width, c), np.uint8)
    _resample(np.ascontiguousarray(pictures), table(w, width), table(h, height), middle, out)
    return out


def pixelate(
    pictures: UInt8[np.ndarray, "n h w 3"], factor: float, family: Family
) -> UInt8[np.ndarray, "n h w 3"]:
    """Shrink by whole-pixel boxes to int(side·factor), enlarge again (corruptions.md §3.14).

    Enlarged by boxes too, in imagecorruptions by nearest neighbours (§4).
    """
    _, h, w, _ = pictures.shape
    small = _resized(pictures, int(h * factor), int(w * factor), "box")
    return _resized(small, h, w, "nearest" if family == "imagecorruptions" else "box")


def _inverse_affine(
    height: int, width: int, moves: Float32[np.ndarray, "n 3 2"]
) -> Float64[np.ndarray, "n 2 3"]:
    """Maps from output to input pixels (x, y) of the affine step, whose anchors move by `moves` pixels."""
    centre = np.array([height // 2, width // 2], np.float32)
    q = np.float32(min(height, width) // 3)
    anchors = np.stack([centre + q, centre + np.array([q, -q], np.float32), centre - q])
    moved = (anchors + moves).astype(np.float64)
    lifted = np.concatenate([moved, np.ones((*moved.shape[:2], 1))], axis=2)
    solved = np.linalg.solve(lifted, np.broadcast_to(anchors.astype(np.float64), moved.shape))
    return np.ascontiguousarray(solved.transpose(0, 2, 1))


# A pixel is padded to four values: one vector register.
_LANES = 4


@inlined
def _mirror_inside(i: int, size: int) -> int:
    # ... 2 1 | 0 1 2 ...: the edge value stands once.
    if 0 <= i < size:
        return i
    period = 2 * size - 2
    i = abs(i) % period
    return i if i < size else period - i


@inlined
def _mirror_edge(i: int, size: int) -> int:
    # ... 1 0 | 0 1 2 ...: the edge value stands twice.
    if 0 <= i < size:
        return i
    i = i % (2 * size)
    return i if i < size else 2 * size - 1 - i


@compiled
def _warp(source: Array, inverse: Array, out: Array) -> None:
    h, w, _ = source.shape
    for y in range(h):
        for x in range(w):
            across = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]
            down = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]
            left, top = np.int64(np.floor(across)), np.int64(np.floor(down))
            u, v = np.float32(across - left), np.float32(down - top)
            upper, lower = source[_mirror_inside(top, h)], source[_mirror_inside(top + 1, h)]
            a, b = upper[_mirror_inside(left, w)], upper[_mirror_inside(left + 1, w)]
            c, e, target = lower[_mirror_inside(left, w)], lower[_mirror_inside(left + 1, w)], out[y, x]
            for d in range(_LANES):
                high = a[d] + u * (b[d] - a[d])
                target[d] = high + v * (c[d] + u * (e[d] - c[d]) - high)


@compiled
def _sample(source: Array, dx: Array, dy: Array, reach_x: float, reach_y: float, row: Array, out: Array) -> None:
    h, w, _ = source.shape
    for y in range(h):
        for x in range(w):
            across = x + np.float64(np.float32(dx[y, x] * reach_x))
            down = y + np.float64(np.float32(dy[y, x] * reach_y))
            left, top = np.int64(np.floor(across)), np.int64(np.floor(down))
            u, v = across - left, down - top
            upper, lower = source[_mirror_edge(top, h)], source[_mirror_edge(top + 1, h)]
            a, b = upper[_mirror_edge(left, w)], upper[_mirror_edge(left + 1, w)]
            c, e, target = lower[_mirror_edge(left, w)], lower[_mirror_edge(left + 1, w)], row[x]
            for d in range(_LANES):
                high = a[d] + u * (b[d] - a[d])
                target[d] = np.float32(high + v * (c[d] + u * (e[d] - c[d]) - high)) * np.float32(255)
        for x in range(w):
            for d in range(3):
                out[y, x, d] = np.uint8(min(max(row[x, d], np.float32(0)), np.float32(255)))


@compiled
def _elastic(
    pictures: Array, affine: bool, inverse: Array, fields: Array, reach_x: float, reach_y: float, out: Array
) -> None:
    n, h, w, _ = pictures.shape
    unit = np.arange(256).astype(np.float32) / np.float32(255)
    source, warped = np.zeros((h, w, _LANES), np.float32), np.zeros((h, w, _LANES), np.float32)
    row = np.empty((w, _LANES), np.float32)
    for i in range(n):
        for y in range(h):
            for x in range(w):
                for d in range(3):
                    source[y, x, d] = unit[pictures[i, y, x, d]]
        if affine:
            _warp(source, inverse[i], warped)
        _sample(warped if affine else source, fields[i, 0], fields[i, 1], reach_x, reach_y, row, out[i])


def elastic_transform(
    pictures: UInt8[np.ndarray, "n h w 3"], row: Row, moves: Float[np.ndarray, "n 3 2"],
    fields: Float[np.ndarray, "n 2 h w"], family: Family,
) -> UInt8[np.ndarray, "n h w 3"]:  # fmt: skip
    """An affine jolt, then a smooth random displacement (corruptions.md §3.13, §4).

    `moves` (three anchors, x and y) and `fields` (dx, dy) are draws from [-1, 1). For the published generators `row`
    is (alpha, sigma, affine) in units of the side (244 for ImageNet-C); imagecorruptions has no affine step and takes
    it as (alpha in pixels, sigma per side, field amplitude per height).
    """
    n, h, w, _ = pictures.shape
    alpha, sigma, third = row
    high, wide = (ELASTIC_UNIT, ELASTIC_UNIT) if family == "imagenet" else (float(h), float(w))
    affine = family != "imagecorruptions"
    if affine:
        reach_x, reach_y = alpha * wide, alpha * high
        inverse = _inverse_affine(h, w, (moves * (third * np.array([wide, high]))).astype(np.float32))
    else:
        reach_x = reach_y = alpha * third * h
        inverse = np.zeros((n, 2, 3))
    if alpha:
        smooth = smooth_fields(fields.reshape(2 * n, h, w), (sigma * high, sigma * wide))
        shifts = smooth.reshape(n, 2, h, w)
    else:
        shifts = np.zeros((n, 2, h, w), np.float32)
    out = np.empty(pictures.shape, np.uint8)
    _elastic(np.ascontiguousarray(pictures), affine, inverse, shifts, reach_x, reach_y, out)
    return out
