"""Pictures turned, scaled and tilted: affine maps as Pillow resamples, perspective as OpenCV does, black outside.

The grey levels of published sequences are those libraries'; their arithmetic is repeated here, so that a whole batch
is one loop and no version of theirs decides a bit. Tests hold both against the libraries.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, UInt8

from fredbench.corruptions.exact import sines_and_cosines
from fredbench.foundation.compiling import Array, compiled, inlined

__all__ = ["rotated_and_scaled", "tilted"]

# OpenCV places samples on a grid of 1/32 pixel.
_GRID = 32


@compiled
def _affine(pictures: Array, matrix: Array, out: Array) -> None:
    n, h, w, c = pictures.shape
    for y in range(h):
        for x in range(w):
            # Pixels' middles are mapped; what falls outside is black, what lies within half a pixel of the border is
            # the border's.
            column = matrix[0, 0] * (x + 0.5) + matrix[0, 1] * (y + 0.5) + matrix[0, 2]
            row = matrix[1, 0] * (x + 0.5) + matrix[1, 1] * (y + 0.5) + matrix[1, 2]
            if column < 0.0 or column >= w or row < 0.0 or row >= h:
                for i in range(n):
                    for d in range(c):
                        out[i, y, x, d] = 0
                continue
            column -= 0.5
            row -= 0.5
            left, top = int(np.floor(column)), int(np.floor(row))
            dx, dy = column - left, row - top
            x0, x1 = max(left, 0), min(left + 1, w - 1)
            y0, y1 = max(top, 0), min(top + 1, h - 1)
            for i in range(n):
                for d in range(c):
                    a, b = float(pictures[i, y0, x0, d]), float(pictures[i, y0, x1, d])
                    upper = a + (b - a) * dx
                    a, b = float(pictures[i, y1, x0, d]), float(pictures[i, y1, x1, d])
                    lower = a + (b - a) * dx
                    out[i, y, x, d] = np.uint8(upper + (lower - upper) * dy)


def rotated_and_scaled(
    pictures: UInt8[np.ndarray, "n h w c"], degrees: float = 0.0, scale: float = 1.0
) -> UInt8[np.ndarray, "n h w c"]:
    """Turned clockwise about the middle and scaled, bilinear between four pixels, truncated."""
    h, w = pictures.shape[1:3]
    (sine,), (cosine,) = sines_and_cosines(np.array([float(degrees)]))
    matrix = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0]]) / scale
    for axis, middle in enumerate((w * 0.5, h * 0.5)):
        matrix[axis, 2] = matrix[axis, 0] * (-w * 0.5) + matrix[axis, 1] * (-h * 0.5) + middle
    out = np.empty(pictures.shape, np.uint8)
    _affine(np.ascontiguousarray(pictures), matrix, out)
    return out


@inlined
def _inside(picture: Array, row: int, column: int, d: int) -> int:
    inside = 0 <= row < picture.shape[0] and 0 <= column < picture.shape[1]
    return int(picture[row, column, d]) if inside else 0


@compiled
def _perspective(pictures: Array, source: Array, out: Array) -> None:
    n, h, w, c = pictures.shape
    for y in range(h):
        for x in range(w):
            depth = source[2, 0] * x + source[2, 1] * y + source[2, 2]
            column = int(np.rint((source[0, 0] * x + source[0, 1] * y + source[0, 2]) * (_GRID / depth)))
            row = int(np.rint((source[1, 0] * x + source[1, 1] * y + source[1, 2]) * (_GRID / depth)))
            left, top = column // _GRID, row // _GRID
            dx, dy = column - left * _GRID, row - top * _GRID
            for i in range(n):
                picture = pictures[i]
                for d in range(c):
                    upper = _inside(picture, top, left, d) * (_GRID - dx) + _inside(picture, top, left + 1, d) * dx
                    low = top + 1
                    lower = _inside(picture, low, left, d) * (_GRID - dx) + _inside(picture, low, left + 1, d) * dx
                    total = upper * (_GRID - dy) + lower * dy
                    out[i, y, x, d] = np.uint8((total + _GRID * _GRID // 2) // (_GRID * _GRID))


def _projection(degrees: float, h: int, w: int) -> Float64[np.ndarray, "3 3"]:
    """From a place (column, row, 1) in the picture to one in its tilted image, in homogeneous coordinates.

    The picture lies at depth 1 before a camera of focal length √(w² + h²), is turned about the vertical axis, then
    about the horizontal one, and moved off by the focal length (so that it keeps its size but for 1 in the length).
    """
    (sine,), (cosine,) = sines_and_cosines(np.array([float(degrees)]))
    focal = np.sqrt(float(w * w + h * h))
    flat = np.array([[1.0, 0.0, -w / 2], [0.0, 1.0, -h / 2], [0.0, 0.0, 1.0]])
    about_vertical = np.array([[cosine, 0.0, -sine], [0.0, 1.0, 0.0], [sine, 0.0, cosine]])
    about_horizontal = np.array([[1.0, 0.0, 0.0], [0.0, cosine, -sine], [0.0, sine, cosine]])
    moved = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, focal]])
    seen = np.array([[focal, 0.0, w / 2], [0.0, focal, h / 2], [0.0, 0.0, 1.0]])
    return _times(seen, _times(about_horizontal, _times(about_vertical, flat)) + moved)


def _times(a: Float64[np.ndarray, "3 3"], b: Float64[np.ndarray, "3 3"]) -> Float64[np.ndarray, "3 3"]:
    # In a fixed order: a library's product of matrices may sum in another one on another processor.
    product = a[:, 0, None] * b[0] + a[:, 1, None] * b[1] + a[:, 2, None] * b[2]
    return np.asarray(product)


def _inverse(m: Float64[np.ndarray, "3 3"]) -> Float64[np.ndarray, "3 3"]:
    """By cofactors: single operations in a fixed order."""
    a, b, c, d, e, f, g, h, i = (float(value) for value in m.reshape(9))
    rows = [
        [e * i - f * h, c * h - b * i, b * f - c * e],
        [f * g - d * i, a * i - c * g, c * d - a * f],
        [d * h - e * g, b * g - a * h, a * e - b * d],
    ]
    return np.array(rows) / (a * rows[0][0] + b * rows[1][0] + c * rows[2][0])


def tilted(pictures: UInt8[np.ndarray, "n h w c"], degrees: float) -> UInt8[np.ndarray, "n h w c"]:
    """Turned out of the picture's plane by that angle about both axes, seen in perspective, rounded."""
    h, w = pictures.shape[1:3]
    out = np.empty(pictures.shape, np.uint8)
    _perspective(np.ascontiguousarray(pictures), _inverse(_projection(degrees, h, w)), out)
    return out
