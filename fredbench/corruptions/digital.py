"""The digital corruptions: pure functions of (pictures, parameters, draws)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8

from fredbench.corruptions.colour import change_saturation
from fredbench.corruptions.filters import smooth_fields
from fredbench.corruptions.resampling import resized
from fredbench.corruptions.severities import ELASTIC_UNIT, Family, Row
from fredbench.foundation.compiling import Array, compiled, inlined
from fredbench.foundation.errors import UsageError

__all__ = ["contrast", "elastic_transform", "jpeg_compression", "pixelate", "saturate"]


@compiled
def _contrast(pictures: Array, factor: float, out: Array) -> None:
    n, h, w, _ = pictures.shape
    unit = np.arange(256) / 255.0
    table = np.empty((3, 256), np.uint8)
    for i in range(n):
        pixels, made = pictures[i].reshape(h * w, 3), out[i].reshape(h * w, 3)
        # One running sum a channel, pixel after pixel, as NumPy's mean over both axes takes it.
        r, g, b = 0.0, 0.0, 0.0
        for x in range(h * w):
            r += unit[pixels[x, 0]]
            g += unit[pixels[x, 1]]
            b += unit[pixels[x, 2]]
        for d, total in enumerate((r, g, b)):
            mean = total / (h * w)
            for level in range(256):
                value = (unit[level] - mean) * factor + mean
                table[d, level] = np.uint8(min(max(value, 0.0), 1.0) * 255.0)
        for x in range(h * w):
            for d in range(3):
                made[x, d] = table[d, pixels[x, d]]


def contrast(pictures: UInt8[np.ndarray, "n h w 3"], factor: float) -> UInt8[np.ndarray, "n h w 3"]:
    """y = (x - mean)·factor + mean, with the mean of each picture and channel (corruptions.md §3.12).

    Bit for bit what the published script gives with NumPy's mean: CIFAR-10-C's own array comes out.
    """
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
        target[:] = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))[..., ::-1]
    return out


def pixelate(pictures: UInt8[np.ndarray, "n h w 3"], factor: float, family: Family) -> UInt8[np.ndarray, "n h w 3"]:
    """Shrink by whole-pixel boxes to int(side·factor), enlarge again (corruptions.md §3.14).

    Enlarged by boxes too, in imagecorruptions by nearest neighbours (§4).
    """
    _, h, w, _ = pictures.shape
    small = resized(pictures, int(h * factor), int(w * factor), "box")
    return resized(small, h, w, "nearest" if family == "imagecorruptions" else "box")


def _inverse_affine(height: int, width: int, moves: Float32[np.ndarray, "n 3 2"]) -> Float64[np.ndarray, "n 2 3"]:
    """Maps from output to input pixels (x, y) of the affine step, whose anchors move by `moves` pixels.

    Written out, because a linear-algebra library's last bits depend on the processor.
    """
    centre = np.array([height // 2, width // 2], np.float32)
    q = np.float32(min(height, width) // 3)
    anchors = np.stack([centre + q, centre + np.array([q, -q], np.float32), centre - q])
    moved = (anchors + moves).astype(np.float64)
    anchors = anchors.astype(np.float64)
    a, b = moved[:, 1] - moved[:, 0], moved[:, 2] - moved[:, 0]
    to_a, to_b = (anchors[1] - anchors[0])[None], (anchors[2] - anchors[0])[None]
    area = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])[:, None]
    by_x = (to_a * b[:, 1:] - to_b * a[:, 1:]) / area
    by_y = (to_b * a[:, :1] - to_a * b[:, :1]) / area
    rest = anchors[0] - (by_x * moved[:, 0, :1] + by_y * moved[:, 0, 1:])
    return np.ascontiguousarray(np.stack([by_x, by_y, rest], axis=2))


@inlined
def _mirror_inside(i: Any, size: int) -> Any:
    # ... 2 1 | 0 1 2 ...: the edge value stands once.
    if 0 <= i < size:
        return i
    period = 2 * size - 2
    i = abs(i) % period
    return i if i < size else period - i


@inlined
def _mirror_edge(i: Any, size: int) -> Any:
    # ... 1 0 | 0 1 2 ...: the edge value stands twice.
    if 0 <= i < size:
        return i
    i = i % (2 * size)
    return i if i < size else 2 * size - 1 - i


@inlined
def _split(across: Array, down: Array, left: Array, top: Array, u: Array, v: Array) -> None:
    # Whole and fractional parts of a row of coordinates.
    for x in range(across.size):
        whole_x, whole_y = np.floor(across[x]), np.floor(down[x])
        left[x], top[x] = np.int32(whole_x), np.int32(whole_y)
        u[x], v[x] = np.float32(across[x] - whole_x), np.float32(down[x] - whole_y)


@inlined
def _interpolate(
    source: Array, h: int, w: int, twice: bool, left: Array, top: Array, u: Array, v: Array, row: Array
) -> None:
    # Bilinear samples of a flat (h·w·3) picture; beyond its border it is mirrored, with the edge `twice` or once.
    for x in range(left.size):
        x0, y0 = np.int64(left[x]), np.int64(top[x])
        x1, y1 = x0 + 1, y0 + 1
        if not (0 <= x0 < w - 1 and 0 <= y0 < h - 1):
            if twice:
                x0, x1, y0, y1 = _mirror_edge(x0, w), _mirror_edge(x1, w), _mirror_edge(y0, h), _mirror_edge(y1, h)
            else:
                x0, x1 = _mirror_inside(x0, w), _mirror_inside(x1, w)
                y0, y1 = _mirror_inside(y0, h), _mirror_inside(y1, h)
        # Unsigned places spare a check for negative ones at every access.
        a, b = np.uint64(3 * (y0 * w + x0)), np.uint64(3 * (y0 * w + x1))
        c, e = np.uint64(3 * (y1 * w + x0)), np.uint64(3 * (y1 * w + x1))
        for d in range(np.uint64(3)):
            upper = source[a + d] + u[x] * (source[b + d] - source[a + d])
            lower = source[c + d] + u[x] * (source[e + d] - source[c + d])
            row[np.uint64(3 * x) + d] = upper + v[x] * (lower - upper)


@compiled
def _elastic(
    pictures: Array, affine: bool, inverse: Array, fields: Array, reach_x: Any, reach_y: Any, out: Array
) -> None:
    n, h, w, c = pictures.shape
    source, warped = np.empty(h * w * c, np.float32), np.empty((h, w * c), np.float32)
    across, down = np.empty(w), np.empty(w)
    left, top = np.empty(w, np.int32), np.empty(w, np.int32)
    u, v, row = np.empty(w, np.float32), np.empty(w, np.float32), np.empty(w * c, np.float32)
    for i in range(n):
        levels = pictures[i].reshape(h * w * c)
        for x in range(levels.size):
            source[x] = np.float32(levels[x]) / np.float32(255)
        if affine:
            m = inverse[i]
            for y in range(h):
                for x in range(w):
                    across[x] = m[0, 0] * x + m[0, 1] * y + m[0, 2]
                    down[x] = m[1, 0] * x + m[1, 1] * y + m[1, 2]
                _split(across, down, left, top, u, v)
                _interpolate(source, h, w, False, left, top, u, v, warped[y])
            source[:] = warped.reshape(h * w * c)
        for y in range(h):
            dx, dy, made = fields[i, 0, y], fields[i, 1, y], out[i, y].reshape(w * c)
            for x in range(w):
                across[x], down[x] = x + np.float64(dx[x] * reach_x), y + np.float64(dy[x] * reach_y)
            _split(across, down, left, top, u, v)
            _interpolate(source, h, w, True, left, top, u, v, row)
            for x in range(w * c):
                made[x] = np.uint8(min(max(row[x] * np.float32(255), np.float32(0)), np.float32(255)))


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
    reach = np.float32(reach_x), np.float32(reach_y)
    _elastic(np.ascontiguousarray(pictures), affine, inverse, shifts, *reach, out)
    return out
