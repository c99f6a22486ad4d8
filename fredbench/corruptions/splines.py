"""C-bar's two corruptions by cubic splines: turning about the middle, and another magnification for each channel.

Rules: `imagenet_c_bar/corrupt.py` of facebookresearch/augmentation-corruption (Mintun, Kirillov & Xie, NeurIPS 2021),
CircularMotionBlur and TransverseChromaticAbberation (sic). Both are linear: their taps are made once for a size.
"""

from __future__ import annotations

import functools
import math
from itertools import permutations
from typing import Any, Final, TypeAlias

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from fredbench.corruptions.exact import exponentials, running_sum, sines_and_cosines
from fredbench.foundation.compiling import Array, compiled, inlined

__all__ = ["ORDERS", "circular_motion_blur", "transverse_chromatic_abberation"]

ORDERS: Final = tuple(permutations(range(3)))
"""Which of the three magnifications each channel gets."""

_ANGLES = 21
_POLE = math.sqrt(3.0) - 2.0  # of the cubic B-spline's inverse


def _weights(positions: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, "4 m"]:
    """Weights of the cubic B-spline's four coefficients from ⌊position⌋ - 1 on."""
    t = positions - np.floor(positions)
    rest = 1.0 - t
    outer = rest * rest * rest / 6.0
    inner = (t * t * (t - 2.0) * 3.0 + 4.0) / 6.0
    after = (rest * rest * (rest - 2.0) * 3.0 + 4.0) / 6.0
    return np.stack([outer, inner, after, 1.0 - outer - inner - after])


def _mirrored(places: Int64[np.ndarray, "*shape"], side: int) -> Int64[np.ndarray, "*shape"]:
    folded = np.abs(places) % (2 * side - 2)
    return np.asarray(np.where(folded < side, folded, 2 * side - 2 - folded))


def _taps(positions: Float64[np.ndarray, " m"], side: int) -> Int64[np.ndarray, "4 m"]:
    """Places of those four, mirrored at the outer pixels' centres."""
    places = np.floor(positions).astype(np.int64) + np.arange(-1, 3)[:, None]
    return _mirrored(places, side)


@functools.lru_cache(maxsize=16)
def _turning(
    side: int, severity: float
) -> tuple[Int64[np.ndarray, " p1"], Int64[np.ndarray, " t"], Float64[np.ndarray, " t"]]:
    """Where each pixel's taps begin, the coefficients' places and their weights, all angles together.

    What an angle brings in from beyond the outer pixels' centres is black.
    """
    steps = 2.0 * np.arange(_ANGLES) / (_ANGLES - 1) - 1.0
    shares = exponentials(-2.0 * step * step for step in steps)
    sines, cosines = sines_and_cosines(steps * (severity * 15.0 / 10.0))
    middle = (side - 1) / 2
    down, across = (grid.reshape(-1) - middle for grid in np.meshgrid(np.arange(side), np.arange(side), indexing="ij"))
    taps: list[tuple[Any, Any]] = []
    for share, sine, cosine in zip(shares, sines, cosines, strict=True):
        rows, columns = cosine * down + sine * across + middle, cosine * across - sine * down + middle
        inside = (rows >= 0) & (rows <= side - 1) & (columns >= 0) & (columns <= side - 1)
        pixels, rows, columns = np.flatnonzero(inside), rows[inside], columns[inside]
        for row, vertical in zip(_taps(rows, side), _weights(rows), strict=True):
            for column, level in zip(_taps(columns, side), _weights(columns), strict=True):
                taps.append(((pixels * side + row) * side + column, share * vertical * level))
    keys, which = np.unique(np.concatenate([key for key, _ in taps]), return_inverse=True)
    weights = np.bincount(which, np.concatenate([weight for _, weight in taps])) / running_sum(shares)
    starts = np.searchsorted(keys // side**2, np.arange(side**2 + 1))
    return starts.astype(np.int64), keys % side**2, weights


@compiled
def _to_coefficients(lines: Array, pole: float) -> None:
    # (side, many): each column's values to its spline's coefficients, mirrored at the outer pixels' centres.
    side, many = lines.shape
    first = np.zeros(many)
    factor = 1.0
    for k in range(40):  # pole^40 is 1e-23
        place = k % (2 * side - 2)
        source = lines[place if place < side else 2 * side - 2 - place]
        for i in range(many):
            first[i] += factor * source[i]
        factor *= pole
    lines[0] = first
    for k in range(1, side):
        here, before = lines[k], lines[k - 1]
        for i in range(many):
            here[i] += pole * before[i]
    last, before = lines[side - 1], lines[side - 2]
    for i in range(many):
        last[i] = (pole * before[i] + last[i]) * (pole / (pole * pole - 1.0))
    for k in range(side - 2, -1, -1):
        here, after = lines[k], lines[k + 1]
        for i in range(many):
            here[i] = pole * (after[i] - here[i])
    for k in range(side):
        for i in range(many):
            lines[k, i] *= 6.0


@compiled
def _turned(coefficients: Array, starts: Array, places: Array, weights: Array, out: Array) -> None:
    # Innermost over the channels of all pictures of the batch.
    total = np.empty(coefficients.shape[1])
    for pixel in range(starts.size - 1):
        total[:] = 0.0
        for t in range(starts[pixel], starts[pixel + 1]):
            source, weight = coefficients[places[t]], weights[t]
            for i in range(total.size):
                total[i] += weight * source[i]
        for i in range(total.size):
            value = np.float32(total[i]) * np.float32(255)
            out[i // 3, pixel, i % 3] = np.uint8(min(max(value, np.float32(0)), np.float32(255)))


def circular_motion_blur(pictures: UInt8[np.ndarray, "n s s 3"], severity: float) -> UInt8[np.ndarray, "n s s 3"]:
    """Mean of 21 turns about the middle up to ±1.5·severity degrees, weighted exp(-2u²) of the share u of that.

    The turns' corners are black. Interpolating splines (with their prefilter), in float64.
    """
    n, side = pictures.shape[:2]
    lanes = np.ascontiguousarray((pictures.astype(np.float32) / np.float32(255)).transpose(1, 2, 0, 3), np.float64)
    _to_coefficients(lanes.reshape(side, -1), _POLE)
    turned = np.ascontiguousarray(lanes.swapaxes(0, 1))
    _to_coefficients(turned.reshape(side, -1), _POLE)
    lanes = np.ascontiguousarray(turned.swapaxes(0, 1)).reshape(side * side, -1)
    out = np.empty(pictures.shape, np.uint8)
    _turned(lanes, *_turning(side, float(severity)), out.reshape(n, side * side, 3))
    return out


Magnification: TypeAlias = tuple[Int64[np.ndarray, "3 4 s"], Float64[np.ndarray, "3 4 s"]]
"""Places and weights of every output place's taps, for each of the three scales."""


@functools.lru_cache(maxsize=16)
def _magnification(side: int, severity: float) -> Magnification:
    """The middle `side` pixels of a line enlarged with aligned outer pixels to round(side·scale)."""
    spread = severity * 0.5 / 10.0
    places, weights = np.empty((3, 4, side), np.int64), np.empty((3, 4, side))
    for i, scale in enumerate((1.0, 1.0 + spread / 2, 1.0 + spread)):
        full = round(side * scale)
        edge = (full - side) // 2
        positions = np.arange(edge, edge + side) * ((side - 1) / (full - 1))
        places[i], weights[i] = _taps(positions, side), _weights(positions)
    return places, weights


@inlined
def _enlarge(lines: Array, places: Array, weights: Array, out: Array) -> None:
    for k in range(out.shape[0]):
        a, b, c, d = lines[places[0, k]], lines[places[1, k]], lines[places[2, k]], lines[places[3, k]]
        wa, wb, wc, wd = weights[0, k], weights[1, k], weights[2, k], weights[3, k]
        made = out[k]
        for i in range(made.size):
            made[i] = a[i] * wa + b[i] * wb + c[i] * wc + d[i] * wd


@compiled
def _magnified(pictures: Array, places: Array, weights: Array, orders: Array, out: Array) -> None:
    n, side = pictures.shape[:2]
    plane, tall, turned, wide = np.empty((4, side, side))
    for i in range(n):
        for d in range(3):
            which = orders[i, d]
            for y in range(side):
                for x in range(side):
                    plane[y, x] = pictures[i, y, x, d]
            _enlarge(plane, places[which], weights[which], tall)
            for y in range(side):
                for x in range(side):
                    turned[x, y] = tall[y, x]
            _enlarge(turned, places[which], weights[which], wide)
            for y in range(side):
                for x in range(side):
                    # Rounded, where all others truncate.
                    out[i, y, x, d] = np.uint8(min(wide[x, y] + 0.5, 255.0))


def transverse_chromatic_abberation(
    pictures: UInt8[np.ndarray, "n s s 3"], severity: float, orders: Int64[np.ndarray, "n 3"]
) -> UInt8[np.ndarray, "n s s 3"]:
    """Channels enlarged by 1, 1 + .025·severity and 1 + .05·severity, in one of the `ORDERS` each.

    Smoothing splines (without a prefilter), so that the first is blurred too, as published.
    """
    places, weights = _magnification(pictures.shape[1], float(severity))
    out = np.empty(pictures.shape, np.uint8)
    _magnified(np.ascontiguousarray(pictures), places, weights, orders, out)
    return out
