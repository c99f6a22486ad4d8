"""Linear filters that several corruptions share: Gaussian blur, field smoothing, motion blur, zoom."""

from __future__ import annotations

import functools
import math
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, Int64, Num

from fredbench.corruptions.compiling import Array, compiled

__all__ = [
    "MotionTaps", "gaussian_blur", "gaussian_weights", "motion_sum", "motion_taps", "reflected_gaussian",
    "smooth_fields", "zoom_taps",
]  # fmt: skip


@functools.lru_cache(maxsize=64)
def gaussian_weights(sigma: float, truncate: float = 4.0) -> Float64[np.ndarray, " k"]:
    """Weights exp(-i²/2σ²), i = -r … r, of sum 1, with r = floor(truncate·σ + ½) (corruptions.md §1).

    For σ ≤ 0.12 (at truncate 4) that is the single weight 1: an exact identity.
    """
    radius = int(truncate * sigma + 0.5)
    if radius == 0:
        return np.ones(1)
    weights = np.exp(-0.5 / (sigma * sigma) * np.arange(-radius, radius + 1) ** 2)
    return np.asarray(weights / weights.sum())


@compiled
def _gaussian_blur(images: Array, weights: Array, scale: float, out: Array) -> None:
    # Down the columns, then along the rows, pairs of equal weights first and the centre before them: the order of
    # additions of the reference filter, so that flat areas truncate to the same grey level.
    n, h, w, c = images.shape
    radius = weights.size // 2
    line = np.empty((w + 2 * radius) * c)
    inner = line[radius * c : (radius + w) * c]
    for i in range(n):
        for y in range(h):
            here = images[i, y].reshape(w * c)
            for x in range(w * c):
                inner[x] = here[x] * scale * weights[radius]
            for r in range(-radius, 0):
                above = images[i, max(y + r, 0)].reshape(w * c)
                below = images[i, min(y - r, h - 1)].reshape(w * c)
                weight = weights[radius + r]
                for x in range(w * c):
                    inner[x] += (above[x] * scale + below[x] * scale) * weight
            for r in range(radius):
                for d in range(c):
                    line[r * c + d] = inner[d]
                    line[(radius + w + r) * c + d] = inner[(w - 1) * c + d]
            target = out[i, y].reshape(w * c)
            for x in range(w * c):
                target[x] = inner[x] * weights[radius]
            for r in range(-radius, 0):
                left = line[(radius + r) * c : (radius + r + w) * c]
                right = line[(radius - r) * c : (radius - r + w) * c]
                weight = weights[radius + r]
                for x in range(w * c):
                    target[x] += (left[x] + right[x]) * weight


def gaussian_blur(
    images: Num[np.ndarray, "n h w c"], sigma: float, *, divisor: float = 1.0
) -> Float64[np.ndarray, "n h w c"]:
    """Gaussian blur of each channel of images/divisor, edges replicated, in float64."""
    out = np.empty(images.shape)
    if divisor == 1.0:
        _gaussian_blur(np.ascontiguousarray(images), gaussian_weights(float(sigma)), 1.0, out)
    else:
        _gaussian_blur(images / divisor, gaussian_weights(float(sigma)), 1.0, out)
    return out


@functools.lru_cache(maxsize=16)
def reflected_gaussian(
    size: int, sigma: float, truncate: float
) -> tuple[Float32[np.ndarray, "k k"], Int64[np.ndarray, "k 2"]]:
    """The smoothing of a line of `size` values as a matrix, and the first and past-the-last column of each row.

    The border repeats the line mirrored with the edge value twice; taps beyond it are folded into the matrix, so
    that a kernel wider than the line (ImageNet-C's first elastic severity: σ = 171 pixels) costs no more than `size`.
    """
    weights = gaussian_weights(sigma, truncate) if sigma > 0 else np.ones(1)
    radius = len(weights) // 2
    matrix = np.zeros((size, size))
    rows = np.arange(size)
    for offset, weight in zip(range(-radius, radius + 1), weights, strict=True):
        folded = np.mod(rows + offset, 2 * size)
        matrix[rows, np.minimum(folded, 2 * size - 1 - folded)] += weight
    bands = np.stack([np.maximum(rows - radius, 0), np.minimum(rows + radius + 1, size)], axis=1)
    return matrix.astype(np.float32), bands


@compiled
def _smooth_turned(field: Array, matrix: Array, bands: Array, row: Array, out: Array) -> None:
    for i in range(matrix.shape[0]):
        row[:] = np.float32(0)
        for k in range(bands[i, 0], bands[i, 1]):
            weight = matrix[i, k]
            source = field[k]
            for j in range(row.size):
                row[j] += weight * source[j]
        for j in range(row.size):
            out[j, i] = row[j]


@compiled
def _smooth_fields(
    fields: Array, down: Array, down_bands: Array, along: Array, along_bands: Array, out: Array
) -> None:
    n, h, w = fields.shape
    turned = np.empty((w, h), np.float32)
    wide, high = np.empty(w, np.float32), np.empty(h, np.float32)
    for i in range(n):
        _smooth_turned(fields[i], down, down_bands, wide, turned)
        _smooth_turned(turned, along, along_bands, high, out[i])


def smooth_fields(
    fields: Float[np.ndarray, "n h w"], sigma: tuple[float, float], *, truncate: float = 3.0
) -> Float32[np.ndarray, "n h w"]:
    """Gaussian smoothing of scalar fields, mirrored borders, with a σ (pixels) each for rows and columns."""
    _, h, w = fields.shape
    down, down_bands = reflected_gaussian(h, float(sigma[0]), truncate)
    along, along_bands = reflected_gaussian(w, float(sigma[1]), truncate)
    out = np.empty(fields.shape, np.float32)
    _smooth_fields(fields.astype(np.float32), down, down_bands, along, along_bands, out)
    return out


MotionTaps = tuple[Float64[np.ndarray, " t"], Int32[np.ndarray, "n t"], Int32[np.ndarray, "n t"]]
"""Weights, and for each picture the row and column offset of each tap."""


def motion_taps(
    angles: Float64[np.ndarray, " n"], radius: float, sigma: float, style: Literal["magick", "package"]
) -> MotionTaps:
    """Taps of ImageMagick's one-sided motion blur: w = 2⌈radius⌉ + 1 weights exp(-i²/2σ²) (corruptions.md §3.6).

    The `package` style (imagecorruptions) carries a factor 1/(√(2π) σ) through the normalisation; it changes only
    last bits, which truncation shows on flat areas.
    """
    steps = np.arange(2 * math.ceil(radius) + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    if style == "package":
        weights = weights / (math.sqrt(2 * math.pi) * sigma)
    weights = weights / weights.sum()
    turn = np.deg2rad(angles)[:, None]
    rows = np.ceil(steps * np.sin(turn) - 0.5).astype(np.int32)
    columns = np.ceil(steps * np.cos(turn) - 0.5).astype(np.int32)
    return weights, rows, columns


@compiled
def _motion_sum(images: Array, weights: Array, rows: Array, columns: Array, stops: bool, out: Array) -> None:
    n, h, w, c = images.shape
    pad = 0
    for t in range(weights.size):
        for i in range(n):
            pad = max(pad, abs(rows[i, t]), abs(columns[i, t]))
    width = (w + 2 * pad) * c
    lines = np.empty((h, width))
    for i in range(n):
        for y in range(h):
            line = lines[y]
            for x in range(w * c):
                line[pad * c + x] = images[i, y, x // c, x % c]
            for x in range(pad):
                for d in range(c):
                    line[x * c + d] = images[i, y, 0, d]
                    line[(pad + w + x) * c + d] = images[i, y, w - 1, d]
        for y in range(h):
            target = out[i, y].reshape(w * c)
            target[:] = 0.0
            for t in range(weights.size):
                if stops and (abs(rows[i, t]) >= h or abs(columns[i, t]) >= w):
                    break
                start = (pad + columns[i, t]) * c
                source = lines[min(max(y + rows[i, t], 0), h - 1), start : start + w * c]
                weight = weights[t]
                for x in range(w * c):
                    target[x] += weight * source[x]


def motion_sum(
    images: Num[np.ndarray, "n h w c"], taps: MotionTaps, *, stops: bool
) -> Float64[np.ndarray, "n h w c"]:
    """Σ weight·image(y + row, x + column), edges replicated, in float64.

    With `stops` the sum ends at the first offset that leaves the picture, and is not renormalised: what
    imagecorruptions does, which darkens small pictures.
    """
    weights, rows, columns = taps
    out = np.empty(images.shape)
    _motion_sum(np.ascontiguousarray(images), weights, rows, columns, stops, out)
    return out


@functools.lru_cache(maxsize=512)
def zoom_taps(
    size: int, factor: float, align: Literal["centre", "top", "whole"]
) -> tuple[Int64[np.ndarray, " m"], Float64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
    """One axis of the crop-and-enlarge of corruptions.md §3.7: index of the left neighbour and both weights.

    The centre crop of ⌈size/factor⌉ pixels is enlarged linearly with aligned end points to round(⌈size/factor⌉·factor);
    `centre` trims that to `size` around the middle, `top` at its start, `whole` leaves it. A sample that rounding
    pushes beyond the crop's last pixel is zero, as in the reference's spline zoom.
    """
    crop = math.ceil(size / factor)
    begin = (size - crop) // 2
    full = round(crop * factor)
    ratio = (crop - 1) / (full - 1) if full > 1 else 1.0
    position = np.arange(full) * ratio
    left = np.minimum(np.floor(position).astype(np.int64), max(crop - 2, 0))
    right_weight = position - left
    inside = position <= crop - 1
    weights = np.where(inside, 1 - right_weight, 0.0), np.where(inside, right_weight, 0.0)
    if align == "whole":
        window = slice(None)
    else:
        start = (full - size) // 2 if align == "centre" else 0
        window = slice(start, start + size)
    return left[window] + begin, weights[0][window], weights[1][window]
