"""The digital corruptions: pure functions of (pictures, parameters, draws)."""

from __future__ import annotations

import functools
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, Int64, UInt8

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
BoxTable = tuple[Int64[np.ndarray, " m"], Int32[np.ndarray, "m taps"]]


@functools.lru_cache(maxsize=64)
def _box_table(source: int, target: int) -> BoxTable:
    """First pixel and fixed-point weights of each output pixel of Pillow's BOX filter: whole pixels, equal weights.

    A pixel counts when its centre lies within half a (target) pixel of the output's centre, open at the left.
    """
    scale = source / target
    support = 0.5 * max(scale, 1.0)
    firsts, rows = [], []
    for place in range(target):
        centre = (place + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        last = min(int(centre + support + 0.5), source)
        distance = (np.arange(first, last) - centre + 0.5) / max(scale, 1.0)
        inside = ((distance > -0.5) & (distance <= 0.5)).astype(np.float64)
        firsts.append(first)
        rows.append(np.floor(inside / inside.sum() * (1 << _COEFFICIENT_BITS) + 0.5))
    weights = np.zeros((target, max(len(row) for row in rows)), np.int32)
    for place, row in enumerate(rows):
        weights[place, : len(row)] = row
    return np.array(firsts, np.int64), weights


@functools.lru_cache(maxsize=64)
def _nearest_table(source: int, target: int) -> BoxTable:
    """The same for nearest-neighbour enlargement: one pixel of weight 1."""
    places = np.floor((np.arange(target) + 0.5) * (source / target)).astype(np.int64)
    return np.minimum(places, source - 1), np.full((target, 1), 1 << _COEFFICIENT_BITS, np.int32)


@compiled
def _resample(pictures: Array, table_x: Any, table_y: Any, middle: Array, out: Array) -> None:
    # Rows first, 8 bits between the passes, halves rounded up: Pillow's order.
    first_x, weights_x = table_x
    first_y, weights_y = table_y
    n, h, w, c = pictures.shape
    half = np.int32(1 << 21)
    sums = np.empty(middle.shape[1] * c, np.int32)
    for i in range(n):
        for y in range(h):
            for x in range(first_x.size):
                for d in range(c):
                    total = half
                    for k in range(weights_x.shape[1]):
                        total += weights_x[x, k] * np.int32(pictures[i, y, min(first_x[x] + k, w - 1), d])
                    middle[y, x, d] = np.uint8(total >> 22)
        for y in range(first_y.size):
            sums[:] = half
            for k in range(weights_y.shape[1]):
                line = middle[min(first_y[y] + k, h - 1)].reshape(sums.size)
                weight = weights_y[y, k]
                for x in range(sums.size):
                    sums[x] += weight * np.int32(line[x])
            target = out[i, y].reshape(sums.size)
            for x in range(sums.size):
                target[x] = np.uint8(sums[x] >> 22)


def _resized(
    pictures: UInt8[np.ndarray, "n h w c"], height: int, width: int, kind: Literal["box", "nearest"]
) -> UInt8[np.ndarray, "n {height} {width} c"]:
    n, h, w, c = pictures.shape
    table = _box_table if kind == "box" else _nearest_table
    out = np.empty((n, height, width, c), np.uint8)
    middle = np.empty((h, width, c), np.uint8)
    _resample(np.ascontiguousarray(pictures), table(w, width), table(h, height), middle, out)
    return out


def pixelate(
    pictures: UInt8[np.ndarray, "n h w c"], factor: float, family: Family
) -> UInt8[np.ndarray, "n h w c"]:
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


@inlined
def _mirror_inside(i: int, size: int) -> int:
    # ... 2 1 | 0 1 2 ...: the edge value stands once.
    period = 2 * size - 2
    i = abs(i) % period
    return i if i < size else period - i


@inlined
def _mirror_edge(i: int, size: int) -> int:
    # ... 1 0 | 0 1 2 ...: the edge value stands twice.
    i = i % (2 * size)
    return i if i < size else 2 * size - 1 - i


@compiled
def _warp(picture: Array, inverse: Array, out: Array) -> None:
    h, w, c = picture.shape
    for y in range(h):
        for x in range(w):
            across = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]
            down = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]
            left, top = np.int64(np.floor(across)), np.int64(np.floor(down))
            u, v = np.float32(across - left), np.float32(down - top)
            right, low = _mirror_inside(left + 1, w), _mirror_inside(top + 1, h)
            left, top = _mirror_inside(left, w), _mirror_inside(top, h)
            for d in range(c):
                upper = picture[top, left, d] + u * (picture[top, right, d] - picture[top, left, d])
                lower = picture[low, left, d] + u * (picture[low, right, d] - picture[low, left, d])
                out[y, x, d] = upper + v * (lower - upper)


@compiled
def _sample(picture: Array, dx: Array, dy: Array, out: Array) -> None:
    h, w, c = picture.shape
    for y in range(h):
        for x in range(w):
            across, down = x + np.float64(dx[y, x]), y + np.float64(dy[y, x])
            left, top = np.int64(np.floor(across)), np.int64(np.floor(down))
            u, v = across - left, down - top
            right, low = _mirror_edge(left + 1, w), _mirror_edge(top + 1, h)
            left, top = _mirror_edge(left, w), _mirror_edge(top, h)
            for d in range(c):
                upper = picture[top, left, d] + u * (picture[top, right, d] - picture[top, left, d])
                lower = picture[low, left, d] + u * (picture[low, right, d] - picture[low, left, d])
                value = np.float32(upper + v * (lower - upper)) * np.float32(255)
                out[y, x, d] = np.uint8(min(max(value, np.float32(0)), np.float32(255)))


@compiled
def _elastic(pictures: Array, affine: bool, inverse: Array, dx: Array, dy: Array, out: Array) -> None:
    n, h, w, c = pictures.shape
    unit = np.arange(256).astype(np.float32) / np.float32(255)
    source, warped = np.empty((h, w, c), np.float32), np.empty((h, w, c), np.float32)
    for i in range(n):
        for y in range(h):
            for x in range(w):
                for d in range(c):
                    source[y, x, d] = unit[pictures[i, y, x, d]]
        if affine:
            _warp(source, inverse[i], warped)
            _sample(warped, dx[i], dy[i], out[i])
        else:
            _sample(source, dx[i], dy[i], out[i])


def elastic_transform(
    pictures: UInt8[np.ndarray, "n h w c"], row: Row, moves: Float[np.ndarray, "n 3 2"],
    fields: Float[np.ndarray, "n 2 h w"], family: Family,
) -> UInt8[np.ndarray, "n h w c"]:  # fmt: skip
    """An affine jolt, then a smooth random displacement (corruptions.md §3.13, §4).

    `moves` (three anchors, x and y) and `fields` (dx, dy) are draws from [-1, 1). For the published generators `row`
    is (alpha, sigma, affine) in units of the side (244 for ImageNet-C); imagecorruptions has no affine step and takes
    it as (alpha in pixels, sigma per side, field amplitude per height).
    """
    n, h, w, _ = pictures.shape
    alpha, sigma, third = (float(value) for value in row)
    high, wide = (ELASTIC_UNIT, ELASTIC_UNIT) if family == "imagenet" else (float(h), float(w))
    if family == "imagecorruptions":
        amplitude = (alpha * third * h, alpha * third * h)
        inverse = np.zeros((n, 2, 3))
    else:
        amplitude = (alpha * wide, alpha * high)
        inverse = _inverse_affine(h, w, (moves * (third * np.array([wide, high]))).astype(np.float32))
    out = np.empty(pictures.shape, np.uint8)
    if alpha:
        smooth = smooth_fields(fields.reshape(2 * n, h, w), (sigma * high, sigma * wide)).reshape(fields.shape)
        shifts = (smooth * np.array(amplitude)[:, None, None]).astype(np.float32)
    else:
        shifts = np.zeros(fields.shape, np.float32)
    affine = family != "imagecorruptions"
    _elastic(np.ascontiguousarray(pictures), affine, inverse, shifts[:, 0], shifts[:, 1], out)
    return out
