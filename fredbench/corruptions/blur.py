"""The blur corruptions: pure functions of (pictures, parameters, draws)."""

from __future__ import annotations

import functools

import cv2
import numpy as np
from jaxtyping import Float32, Float64, Int8, Int64, UInt8

from fredbench.corruptions.compiling import Array, compiled
from fredbench.corruptions.filters import gaussian_blur as blurred
from fredbench.corruptions.filters import motion_sum, motion_taps, zoom_taps
from fredbench.corruptions.severities import Family

__all__ = ["defocus_blur", "disc_kernel", "gaussian_blur", "glass_blur", "glass_visits", "motion_blur", "zoom_blur"]


def _truncated(values: Float64[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """From [0, 1] to grey levels, by truncation."""
    return np.asarray((np.clip(values, 0, 1) * 255).astype(np.uint8))


def gaussian_blur(pictures: UInt8[np.ndarray, "n h w c"], sigma: float) -> UInt8[np.ndarray, "n h w c"]:
    """y = G(σ) x, edges replicated."""
    return _truncated(blurred(pictures, sigma, divisor=255.0))


def disc_kernel(radius: float, alias_sigma: float) -> Float32[np.ndarray, "k k"]:
    """The disc of corruptions.md §3.4 in float32, antialiased; its sum is not 1 for radii 8 and 10, as published."""
    reach = 8 if radius <= 8 else int(radius)
    squares = np.arange(-reach, reach + 1) ** 2
    disc = (squares[:, None] + squares[None, :] <= radius**2).astype(np.float32)
    disc /= disc.sum()
    side = 3 if radius <= 8 else 5
    return np.asarray(cv2.GaussianBlur(disc, ksize=(side, side), sigmaX=alias_sigma))


@functools.lru_cache(maxsize=32)
def _disc_groups(
    radius: float, alias_sigma: float
) -> tuple[Int64[np.ndarray, "t 2"], Int64[np.ndarray, " g1"], Float64[np.ndarray, " g"]]:
    """Offsets of the kernel's nonzero taps sorted by weight, where each group of equal weights begins, the weights.

    Within a group the grey levels are summed as integers, exactly and fast; only the groups need floating point.
    """
    kernel = disc_kernel(radius, alias_sigma)
    reach = kernel.shape[0] // 2
    rows, columns = np.nonzero(kernel)
    values = kernel[rows, columns].astype(np.float64)
    order = np.argsort(values, kind="stable")
    weights, starts = np.unique(values[order], return_index=True)
    offsets = np.stack([rows[order] - reach, columns[order] - reach], axis=1)
    return offsets.astype(np.int64), np.append(starts, len(order)).astype(np.int64), weights


@compiled
def _defocus(pictures: Array, offsets: Array, starts: Array, weights: Array, out: Array) -> None:
    n, h, w, c = pictures.shape
    pad = np.abs(offsets).max()
    lines = np.empty((h + 2 * pad, (w + 2 * pad) * c), np.uint8)
    total = np.empty(w * c)
    group = np.empty(w * c, np.uint16)
    for i in range(n):
        for y in range(h + 2 * pad):
            row = abs(y - pad)
            row = row if row < h else 2 * h - 2 - row
            for x in range(w + 2 * pad):
                column = abs(x - pad)
                column = column if column < w else 2 * w - 2 - column
                for d in range(c):
                    lines[y, x * c + d] = pictures[i, row, column, d]
        for y in range(h):
            total[:] = 0.0
            for g in range(weights.size):
                group[:] = 0
                for t in range(starts[g], starts[g + 1]):
                    shift = (pad + offsets[t, 1]) * c
                    source = lines[y + pad + offsets[t, 0], shift : shift + w * c]
                    for x in range(w * c):
                        group[x] += source[x]
                weight = weights[g]
                for x in range(w * c):
                    total[x] += weight * group[x]
            target = out[i, y].reshape(w * c)
            for x in range(w * c):
                target[x] = np.uint8(min(total[x], 255.0))


def defocus_blur(
    pictures: UInt8[np.ndarray, "n h w c"], radius: float, alias_sigma: float
) -> UInt8[np.ndarray, "n h w c"]:
    """Correlation with the antialiased disc, border mirrored without the edge (corruptions.md §3.4)."""
    offsets, starts, weights = _disc_groups(float(radius), float(alias_sigma))
    out = np.empty(pictures.shape, np.uint8)
    _defocus(np.ascontiguousarray(pictures), offsets, starts, weights, out)
    return out


def glass_visits(height: int, width: int, reach: int) -> int:
    """How many pixels one pass of glass_blur visits."""
    return (height - 2 * reach) * (width - 2 * reach)


@compiled
def _shuffle(pictures: Array, reach: int, offsets: Array) -> None:
    n, h, w, _ = pictures.shape
    for i in range(n):
        visit = 0
        while visit < offsets.shape[1]:
            for y in range(h - reach, reach, -1):
                for x in range(w - reach, reach, -1):
                    column = x + offsets[i, visit, 0]
                    row = y + offsets[i, visit, 1]
                    for d in range(3):
                        pictures[i, y, x, d] = pictures[i, row, column, d]
                    visit += 1


def glass_blur(
    pictures: UInt8[np.ndarray, "n h w 3"], sigma: float, reach: int, offsets: Int8[np.ndarray, "n visits 2"]
) -> UInt8[np.ndarray, "n h w 3"]:
    """Blur, scatter pixels, blur (corruptions.md §3.5).

    `offsets` holds (dx, dy) from -reach … reach - 1 for every visit of every pass, rows and columns descending. The
    published swap acts on views and is in effect a copy from the offset pixel; later visits see earlier copies.
    """
    scattered = _truncated(blurred(pictures, sigma, divisor=255.0))
    _shuffle(scattered, reach, offsets)
    return _truncated(blurred(scattered, sigma, divisor=255.0))


def motion_blur(
    pictures: UInt8[np.ndarray, "n h w c"], radius: float, sigma: float, angles: Float64[np.ndarray, " n"],
    family: Family,
) -> UInt8[np.ndarray, "n h w c"]:  # fmt: skip
    """One-sided Gaussian along a direction (degrees), as ImageMagick does it (corruptions.md §3.6, §4).

    ImageMagick keeps 16 bits a value and so stores ⌊V + 0.5/257⌋; imagecorruptions truncates V.
    """
    package = family == "imagecorruptions"
    sums = motion_sum(
        pictures, motion_taps(angles, radius, sigma, "package" if package else "magick"), stops=package
    )
    if not package:
        sums += 0.5 / 257
    return np.asarray(np.minimum(sums, 255).astype(np.uint8))


@functools.lru_cache(maxsize=64)
def _zoom_tables(
    size: int, end: float, step: float, family: Family
) -> tuple[Int64[np.ndarray, "z m"], Float32[np.ndarray, "z m"], Float32[np.ndarray, "z m"]]:
    """For every factor, the left neighbour, the right one's weight, and 1 where the sample counts at all."""
    # numpy.arange, not 1 + i·step: the last bits decide to how many pixels a crop is enlarged.
    factors = [float(factor) for factor in np.arange(1, end, step)]
    lefts, rights, present = (np.zeros((len(factors), size), kind) for kind in (np.int64, np.float32, np.float32))
    for z, factor in enumerate(factors):
        left, first, second = zoom_taps(size, factor, "top" if family == "imagecorruptions" else "centre")
        lefts[z, : len(left)] = left
        rights[z, : len(left)] = second
        present[z, : len(left)] = (first + second) > 0
    return lefts, rights, present


@compiled
def _zoom_sum(lanes: Array, tables_y: Any, tables_x: Any, out: Array) -> None:
    # lanes: (h, w, pictures·channels); the innermost loop runs over all pictures of the batch.
    left_y, right_y, present_y = tables_y
    left_x, right_x, present_x = tables_x
    h, w, b = lanes.shape
    row = np.empty((w, b), np.float32)
    for y in range(h):
        out[y] = np.float32(0)
        for z in range(left_y.shape[0]):
            if present_y[z, y] == 0:
                continue
            top, weight = left_y[z, y], right_y[z, y]
            low = min(top + 1, h - 1)
            for x in range(left_x[z].min(), min(left_x[z].max() + 2, w)):
                for k in range(b):
                    row[x, k] = lanes[top, x, k] + weight * (lanes[low, x, k] - lanes[top, x, k])
            for x in range(w):
                if present_x[z, x] == 0:
                    continue
                left, weight = left_x[z, x], right_x[z, x]
                near = min(left + 1, w - 1)
                for k in range(b):
                    out[y, x, k] += row[left, k] + weight * (row[near, k] - row[left, k])


_UNIT = np.arange(256, dtype=np.float32) / np.float32(255)


def zoom_blur(
    pictures: UInt8[np.ndarray, "n h w c"], end: float, step: float, family: Family
) -> UInt8[np.ndarray, "n h w c"]:
    """Mean of the picture and of its zooms by numpy.arange(1, end, step), in float32 (corruptions.md §3.7, §4)."""
    n, h, w, c = pictures.shape
    tables = [_zoom_tables(size, end, step, family) for size in (h, w)]
    lanes = _UNIT[np.ascontiguousarray(pictures.transpose(1, 2, 0, 3)).reshape(h, w, n * c)]
    total = np.empty_like(lanes)
    _zoom_sum(lanes, tables[0], tables[1], total)
    mean = (lanes + total) / np.float32(len(tables[0][0]) + 1)
    levels = (np.clip(mean, 0, 1) * np.float32(255)).astype(np.uint8)
    return np.ascontiguousarray(levels.reshape(h, w, n, c).transpose(2, 0, 1, 3))
