"""The blur corruptions: pure functions of (pictures, parameters, draws)."""

from __future__ import annotations

import functools
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int8, Int64, UInt8

from fredbench.corruptions.exact import exponentials, normalised
from fredbench.corruptions.filters import ZoomTaps, blur_levels, motion_sum, motion_taps, zoom_taps
from fredbench.corruptions.severities import Family
from fredbench.foundation.compiling import Array, compiled, inlined

__all__ = ["defocus_blur", "disc_kernel", "gaussian_blur", "glass_blur", "glass_visits", "motion_blur", "zoom_blur"]


def gaussian_blur(pictures: UInt8[np.ndarray, "n h w c"], sigma: float) -> UInt8[np.ndarray, "n h w c"]:
    """y = G(σ) x, edges replicated."""
    return blur_levels(pictures, sigma)


def _smoothed_rows(
    values: Float32[np.ndarray, "k k"], weights: Float32[np.ndarray, " w"]
) -> Float32[np.ndarray, "k k"]:
    # Border mirrored without the edge; the centre first and then pairs, in float32: OpenCV's own order.
    reach, width = len(weights) // 2, values.shape[1]
    padded = np.pad(values, ((0, 0), (reach, reach)), mode="reflect")
    total = values * weights[reach]
    for r in range(1, reach + 1):
        left, right = padded[:, reach - r : reach - r + width], padded[:, reach + r : reach + r + width]
        total = total + (left + right) * weights[reach + r]
    return np.asarray(total)


def disc_kernel(radius: float, alias_sigma: float) -> Float32[np.ndarray, "k k"]:
    """The disc of corruptions.md §3.4 in float32, antialiased; its sum is not 1 for radii 8 and 10, as published.

    What OpenCV's GaussianBlur makes of the disc without vector units, where its code with them differs in last bits.
    """
    reach = 8 if radius <= 8 else int(radius)
    squares = np.arange(-reach, reach + 1) ** 2
    inside = squares[:, None] + squares[None, :] <= radius**2
    disc = inside.astype(np.float32) / np.float32(np.count_nonzero(inside))
    steps = range(-1, 2) if radius <= 8 else range(-2, 3)
    weights = normalised(exponentials(-(step**2) / (2 * alias_sigma**2) for step in steps)).astype(np.float32)
    return np.ascontiguousarray(_smoothed_rows(_smoothed_rows(disc, weights).T, weights).T)


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


@inlined
def _tap(lines: Array, y: int, places: Array, t: int, c: int, w: int) -> Array:
    return lines[y + places[t, 0], places[t, 1] * c : (places[t, 1] + w) * c]


@compiled
def _defocus(pictures: Array, offsets: Array, starts: Array, weights: Array, out: Array) -> None:
    n, h, w, c = pictures.shape
    pad = np.abs(offsets).max()
    lines = np.empty((h + 2 * pad, (w + 2 * pad) * c), np.uint8)
    places = offsets + pad
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
                t = starts[g]
                while t + 4 <= starts[g + 1]:
                    one, two = _tap(lines, y, places, t, c, w), _tap(lines, y, places, t + 1, c, w)
                    three, four = _tap(lines, y, places, t + 2, c, w), _tap(lines, y, places, t + 3, c, w)
                    for x in range(w * c):
                        group[x] += np.uint16(one[x]) + two[x] + three[x] + four[x]
                    t += 4
                while t < starts[g + 1]:
                    one = _tap(lines, y, places, t, c, w)
                    for x in range(w * c):
                        group[x] += one[x]
                    t += 1
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
    scattered = blur_levels(pictures, sigma)
    _shuffle(scattered, reach, offsets)
    return blur_levels(scattered, sigma)


def motion_blur(
    pictures: UInt8[np.ndarray, "n h w c"], radius: float, sigma: float, angles: Float64[np.ndarray, " n"],
    family: Family,
) -> UInt8[np.ndarray, "n h w c"]:  # fmt: skip
    """One-sided Gaussian along a direction (degrees), as ImageMagick does it (corruptions.md §3.6, §4).

    ImageMagick keeps 16 bits a value and so stores ⌊V + 0.5/257⌋; imagecorruptions truncates V.
    """
    package = family == "imagecorruptions"
    sums = motion_sum(pictures, motion_taps(angles, radius, sigma, "package" if package else "magick"), stops=package)
    if not package:
        sums += 0.5 / 257
    return np.asarray(np.minimum(sums, 255).astype(np.uint8))


class _ZoomAxis(NamedTuple):
    """For every distinct zoom and every output place: left neighbour, both neighbours' weights, whether it counts."""

    left: Int64[np.ndarray, "z m"]
    left_weight: Float64[np.ndarray, "z m"]
    right_weight: Float64[np.ndarray, "z m"]
    present: Bool[np.ndarray, "z m"]


def _zoom_axis(plans: list[ZoomTaps], size: int) -> _ZoomAxis:
    shape = (len(plans), size)
    table = _ZoomAxis(np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape), np.zeros(shape, np.bool_))
    for z, (left, first, second) in enumerate(plans):
        table.left[z, : len(left)] = left
        table.left_weight[z, : len(left)], table.right_weight[z, : len(left)] = first, second
        table.present[z, : len(left)] = first + second > 0
    return table


def _same_taps(some: ZoomTaps, others: ZoomTaps) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(some, others, strict=True))


@functools.lru_cache(maxsize=32)
def _zoom_plan(
    height: int, width: int, end: float, step: float, family: Family
) -> tuple[_ZoomAxis, _ZoomAxis, Int64[np.ndarray, " z"]]:
    """Both axes' tables of the distinct zooms, and how many factors in a row give each of them."""
    align: Literal["top", "centre"] = "top" if family == "imagecorruptions" else "centre"
    plans: list[tuple[ZoomTaps, ZoomTaps]] = []
    repeats: list[int] = []
    # numpy.arange, not 1 + i·step: the last bits decide to how many pixels a crop is enlarged.
    for factor in np.arange(1, end, step):
        taps = zoom_taps(height, float(factor), align), zoom_taps(width, float(factor), align)
        if plans and all(_same_taps(*pair) for pair in zip(plans[-1], taps, strict=True)):
            repeats[-1] += 1
        else:
            plans.append(taps)
            repeats.append(1)
    down, across = (_zoom_axis([plan[axis] for plan in plans], size) for axis, size in enumerate((height, width)))
    return down, across, np.array(repeats, np.int64)


@inlined
def _scaled(line: Array, weight: float, row: Array) -> None:
    # One row of lanes (w, k), converted to float64 and weighted.
    flat, target = line.reshape(line.size), row.reshape(line.size)
    for k in range(flat.size):
        target[k] = flat[k] * weight


@inlined
def _add_zoomed(
    upper: Array, lower: Array, x: int, near: int, left_weight: float, right_weight: float, times: int, target: Array
) -> None:
    # SciPy's order for a linear zoom: four products in float64, summed one after the other, stored as float32.
    a, b, c, d = upper[x], upper[near], lower[x], lower[near]
    for k in range(target.size):
        value = np.float32(a[k] * left_weight + b[k] * right_weight + c[k] * left_weight + d[k] * right_weight)
        # Repeated additions instead of a product: the reference adds each factor's picture by itself.
        total = target[k] + value
        if times > 1:
            total += value
        if times > 2:
            total += value
        target[k] = total
    for _ in range(3, times):
        for k in range(target.size):
            target[k] += np.float32(a[k] * left_weight + b[k] * right_weight + c[k] * left_weight + d[k] * right_weight)


@inlined
def _add_line(line: Array, times: int, target: Array) -> None:
    for _ in range(times):
        for k in range(target.size):
            target[k] += line[k]


@compiled
def _zoom(pictures: Array, down: Any, across: Any, repeats: Array, out: Array) -> None:
    # lanes: (h, w, pictures·channels), so that the innermost loops run over all pictures of the batch.
    n, h, w, c = pictures.shape
    unit = (np.arange(256) / 255.0).astype(np.float32)
    lanes = np.empty((h, w, n * c), np.float32)
    for y in range(h):
        for i in range(n):
            line = pictures[i, y]
            for x in range(w):
                target = lanes[y, x, 3 * i : 3 * i + 3]
                for d in range(3):
                    target[d] = unit[line[x, d]]
    upper, lower, total = np.empty((w, n * c)), np.empty((w, n * c)), np.empty((w, n * c), np.float32)
    count = np.float32(repeats.sum() + 1)
    for y in range(h):
        total[:] = np.float32(0)
        for z in range(repeats.size):
            if not down.present[z, y]:
                continue
            top = down.left[z, y]
            low = min(top + 1, h - 1)
            if down.right_weight[z, y] == 0 and not across.right_weight[z].any():
                # A whole row of the picture itself: what the products below would give, without them.
                for x in range(w):
                    if across.present[z, x]:
                        _add_line(lanes[top, across.left[z, x]], repeats[z], total[x])
                continue
            first, last = across.left[z].min(), min(across.left[z].max() + 2, w)
            _scaled(lanes[top, first:last], down.left_weight[z, y], upper[first:last])
            _scaled(lanes[low, first:last], down.right_weight[z, y], lower[first:last])
            for x in range(w):
                if across.present[z, x]:
                    left = across.left[z, x]
                    near = min(left + 1, w - 1)
                    weights = across.left_weight[z, x], across.right_weight[z, x]
                    _add_zoomed(upper, lower, left, near, weights[0], weights[1], repeats[z], total[x])
        for x in range(w):
            for k in range(n * c):
                total[x, k] = min((lanes[y, x, k] + total[x, k]) / count, np.float32(1)) * np.float32(255)
        for i in range(n):
            line_out = out[i, y]
            for x in range(w):
                source = total[x, 3 * i : 3 * i + 3]
                for d in range(3):
                    line_out[x, d] = np.uint8(source[d])


def zoom_blur(
    pictures: UInt8[np.ndarray, "n h w 3"], end: float, step: float, family: Family
) -> UInt8[np.ndarray, "n h w 3"]:
    """Mean of the picture and its zooms by numpy.arange(1, end, step), in float32 (corruptions.md §3.7, §4).

    Bit for bit what the published script gives with SciPy's zoom: CIFAR-10-C's own array comes out.
    """
    down, across, repeats = _zoom_plan(pictures.shape[1], pictures.shape[2], end, step, family)
    out = np.empty(pictures.shape, np.uint8)
    _zoom(np.ascontiguousarray(pictures), down, across, repeats, out)
    return out
