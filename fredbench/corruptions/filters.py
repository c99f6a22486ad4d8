"""Linear filters that several corruptions share: Gaussian blur, field smoothing, motion blur, zoom."""

from __future__ import annotations

import functools
import math
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, Int64, Num, UInt8

from fredbench.corruptions.exact import exponentials, normalised, running_sum, sines_and_cosines
from fredbench.foundation.compiling import Array, compiled, inlined

__all__ = [
    "MotionTaps", "ZoomTaps", "blur_levels", "gaussian_blur", "gaussian_weights", "motion_sum", "motion_taps",
    "reflected_gaussian", "smooth_fields", "zoom_taps",
]  # fmt: skip


@functools.lru_cache(maxsize=64)
def gaussian_weights(sigma: float, truncate: float = 4.0) -> Float64[np.ndarray, " k"]:
    """Weights exp(-i²/2σ²), i = -r … r, of sum 1, with r = floor(truncate·σ + ½) (corruptions.md §1).

    For σ ≤ 0.12 (at truncate 4) that is the single weight 1: an exact identity.
    """
    radius = int(truncate * sigma + 0.5)
    if radius == 0:
        return np.ones(1)
    half = exponentials(-0.5 / (sigma * sigma) * step**2 for step in range(radius + 1))
    return normalised([*half[:0:-1], *half])


@inlined
def _blur_plane(source: Array, weights: Array, c: int, line: Array, target: Array) -> None:
    # source, target: (h, w·c) float64. Down the columns, then along the rows, the centre first and then pairs of
    # equal weights: the reference filter's order of additions, so that flat areas truncate to the same grey level.
    h, width = source.shape
    radius = weights.size // 2
    margin = radius * c
    inner = line[margin : margin + width]
    for y in range(h):
        here, row = source[y], target[y]
        for x in range(width):
            inner[x] = here[x] * weights[radius]
        for r in range(radius, 0, -1):
            above, below, weight = source[max(y - r, 0)], source[min(y + r, h - 1)], weights[radius + r]
            for x in range(width):
                inner[x] += (above[x] + below[x]) * weight
        for x in range(margin):
            line[x] = inner[x % c]
            line[margin + width + x] = inner[width - c + x % c]
        for x in range(width):
            row[x] = inner[x] * weights[radius]
        for r in range(radius, 0, -1):
            left = line[margin - r * c : margin - r * c + width]
            right, weight = line[margin + r * c : margin + r * c + width], weights[radius + r]
            for x in range(width):
                row[x] += (left[x] + right[x]) * weight


@compiled
def _gaussian_blur(images: Array, weights: Array, out: Array) -> None:
    n, h, w, c = images.shape
    line = np.empty((w + weights.size) * c)
    for i in range(n):
        _blur_plane(images[i].reshape(h, w * c), weights, c, line, out[i].reshape(h, w * c))


def gaussian_blur(images: Float64[np.ndarray, "n h w c"], sigma: float) -> Float64[np.ndarray, "n h w c"]:
    """Gaussian blur of each channel, edges replicated."""
    out = np.empty(images.shape)
    _gaussian_blur(np.ascontiguousarray(images), gaussian_weights(float(sigma)), out)
    return out


@compiled
def _blur_levels(pictures: Array, weights: Array, out: Array) -> None:
    n, h, w, c = pictures.shape
    line = np.empty((w + weights.size) * c)
    source, target = np.empty((h, w * c)), np.empty((h, w * c))
    for i in range(n):
        levels, made = pictures[i].reshape(h, w * c), out[i].reshape(h, w * c)
        for y in range(h):
            for x in range(w * c):
                source[y, x] = levels[y, x] / 255.0
        _blur_plane(source, weights, c, line, target)
        for y in range(h):
            for x in range(w * c):
                made[y, x] = np.uint8(min(max(target[y, x], 0.0), 1.0) * 255.0)


def blur_levels(pictures: UInt8[np.ndarray, "n h w c"], sigma: float) -> UInt8[np.ndarray, "n h w c"]:
    """`gaussian_blur` of pictures/255, back to grey levels by truncation."""
    out = np.empty(pictures.shape, np.uint8)
    _blur_levels(np.ascontiguousarray(pictures), gaussian_weights(float(sigma)), out)
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
def _smooth_fields(fields: Array, down: Array, down_bands: Array, along: Array, along_bands: Array, out: Array) -> None:
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


@functools.lru_cache(maxsize=64)
def _motion_weights(count: int, sigma: float, style: Literal["magick", "package"]) -> Float64[np.ndarray, " t"]:
    weights = exponentials(-0.5 / (sigma * sigma) * step**2 for step in range(count))
    if style == "package":
        weights = [weight / (math.sqrt(2 * math.pi) * sigma) for weight in weights]
    total = running_sum(reversed(weights))
    return np.array([weight / total for weight in weights])


def motion_taps(
    angles: Float64[np.ndarray, " n"], radius: float, sigma: float, style: Literal["magick", "package"]
) -> MotionTaps:
    """Taps of ImageMagick's one-sided motion blur: w = 2⌈radius⌉ + 1 weights exp(-i²/2σ²) (corruptions.md §3.6).

    The `package` style (imagecorruptions) carries a factor 1/(√(2π) σ) through the normalisation; it changes only
    last bits, which truncation shows on flat areas. So does the order of the sum: from the smallest weight on, flat
    areas keep the levels that the package gave them on the machine of our reference pictures, where NumPy's exp had
    other last bits than the nearest ones.
    """
    steps = np.arange(2 * math.ceil(radius) + 1)
    sine, cosine = sines_and_cosines(angles)
    rows = np.ceil(steps * sine[:, None] - 0.5).astype(np.int32)
    columns = np.ceil(steps * cosine[:, None] - 0.5).astype(np.int32)
    return _motion_weights(len(steps), float(sigma), style), rows, columns


@inlined
def _shifted(lines: Array, y: int, pad: int, c: int, row: int, column: int, width: int) -> Array:
    start = (pad + column) * c
    return lines[min(max(y + row, 0), lines.shape[0] - 1), start : start + width]


@inlined
def _add_taps(
    lines: Array, y: int, pad: int, c: int, weights: Array, rows: Array, columns: Array, target: Array
) -> None:
    # Four taps a sweep, added one after another: the order of a plain sum with a quarter of its memory traffic.
    width = target.size
    target[:] = 0.0
    t = 0
    while t + 4 <= weights.size:
        a = _shifted(lines, y, pad, c, rows[t], columns[t], width)
        b = _shifted(lines, y, pad, c, rows[t + 1], columns[t + 1], width)
        d = _shifted(lines, y, pad, c, rows[t + 2], columns[t + 2], width)
        e = _shifted(lines, y, pad, c, rows[t + 3], columns[t + 3], width)
        wa, wb, wd, we = weights[t], weights[t + 1], weights[t + 2], weights[t + 3]
        for x in range(width):
            target[x] = (((target[x] + wa * a[x]) + wb * b[x]) + wd * d[x]) + we * e[x]
        t += 4
    while t < weights.size:
        a = _shifted(lines, y, pad, c, rows[t], columns[t], width)
        wa = weights[t]
        for x in range(width):
            target[x] += wa * a[x]
        t += 1


@compiled
def _motion_sum(images: Array, weights: Array, rows: Array, columns: Array, stops: bool, out: Array) -> None:
    n, h, w, c = images.shape
    pad = 0
    for t in range(weights.size):
        for i in range(n):
            pad = max(pad, abs(rows[i, t]), abs(columns[i, t]))
    lines = np.empty((h, (w + 2 * pad) * c))
    for i in range(n):
        for y in range(h):
            inner = lines[y, pad * c : (pad + w) * c]
            inner[:] = images[i, y].reshape(w * c)
            for x in range(pad):
                for d in range(c):
                    lines[y, x * c + d] = inner[d]
                    lines[y, (pad + w + x) * c + d] = inner[(w - 1) * c + d]
        count = 0
        while count < weights.size:
            if stops and (abs(rows[i, count]) >= h or abs(columns[i, count]) >= w):
                break
            count += 1
        for y in range(h):
            _add_taps(lines, y, pad, c, weights[:count], rows[i], columns[i], out[i, y].reshape(w * c))


def motion_sum(images: Num[np.ndarray, "n h w c"], taps: MotionTaps, *, stops: bool) -> Float64[np.ndarray, "n h w c"]:
    """Σ weight·image(y + row, x + column), edges replicated, in float64.

    With `stops` the sum ends at the first offset that leaves the picture, and is not renormalised: what
    imagecorruptions does, which darkens small pictures.
    """
    weights, rows, columns = taps
    out = np.empty(images.shape)
    _motion_sum(np.ascontiguousarray(images), weights, rows, columns, stops, out)
    return out


ZoomTaps = tuple[Int64[np.ndarray, " m"], Float64[np.ndarray, " m"], Float64[np.ndarray, " m"]]
"""For each output place of one axis: index of the left neighbour, its weight, the right neighbour's weight."""


@functools.lru_cache(maxsize=512)
def zoom_taps(size: int, factor: float, align: Literal["centre", "top", "whole"]) -> ZoomTaps:
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
    left_weight = 1 - (position - left)
    inside = position <= crop - 1
    # The right weight as the rest of one, which SciPy takes: its last bit may differ from the distance's.
    weights = np.where(inside, left_weight, 0.0), np.where(inside, 1 - left_weight, 0.0)
    if align == "whole":
        window = slice(None)
    else:
        start = (full - size) // 2 if align == "centre" else 0
        window = slice(start, start + size)
    return left[window] + begin, weights[0][window], weights[1][window]
