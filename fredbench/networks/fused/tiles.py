"""Compiled loops of Winograd's F(4×4, 3×3): maps cut into tiles of 6×6 that overlap by two, and back.

Maps are (n, h, w, c), float32, their height and width multiples of four; a tile stands for 4×4 positions of the
outcome, and tile (y, x) of picture i is row (i·h/4 + y)·w/4 + x. Interpolation points 0, ±1, ±2 and ∞.
Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016), section 4.3.
"""

from __future__ import annotations

import numpy as np

from fredbench.foundation.compiling import Array, compiled_apart

__all__ = ["gradient_tiles", "maps_from_tiles", "tiles_from_maps"]

_0 = np.float32(0)
_2, _4, _5, _8 = np.float32(2), np.float32(4), np.float32(5), np.float32(8)


@compiled_apart
def tiles_from_maps(z: Array, tiles: Array) -> None:
    """`tiles` (rows, 36, c) of the maps z: Bᵀ d B of each 6×6 pixels d, zeros outside the map."""
    h, w, c = z.shape[1:]
    down, across = h // 4, w // 4
    # Two, since loops that write where they read are not vectorised; and here, since the compiler then knows that no
    # other array lies in them.
    pixels, held = np.empty((6, 6, c), np.float32), np.empty((6, 6, c), np.float32)
    for i in range(len(z)):
        for y in range(down):
            for x in range(across):
                for a in range(6):
                    top = 4 * y + a - 1
                    for b in range(6):
                        left = 4 * x + b - 1
                        if 0 <= top < h and 0 <= left < w:
                            for k in range(c):
                                pixels[a, b, k] = z[i, top, left, k]
                        else:
                            for k in range(c):
                                pixels[a, b, k] = _0
                for b in range(6):
                    for k in range(c):
                        d0, d1, d2 = pixels[0, b, k], pixels[1, b, k], pixels[2, b, k]
                        d3, d4, d5 = pixels[3, b, k], pixels[4, b, k], pixels[5, b, k]
                        held[0, b, k] = _4 * d0 - _5 * d2 + d4
                        even, odd = d4 - _4 * d2, d3 - _4 * d1
                        held[1, b, k] = even + odd
                        held[2, b, k] = even - odd
                        even, odd = d4 - d2, _2 * (d3 - d1)
                        held[3, b, k] = even + odd
                        held[4, b, k] = even - odd
                        held[5, b, k] = _4 * d1 - _5 * d3 + d5
                row = (i * down + y) * across + x
                for a in range(6):
                    for k in range(c):
                        d0, d1, d2 = held[a, 0, k], held[a, 1, k], held[a, 2, k]
                        d3, d4, d5 = held[a, 3, k], held[a, 4, k], held[a, 5, k]
                        tiles[row, 6 * a, k] = _4 * d0 - _5 * d2 + d4
                        even, odd = d4 - _4 * d2, d3 - _4 * d1
                        tiles[row, 6 * a + 1, k] = even + odd
                        tiles[row, 6 * a + 2, k] = even - odd
                        even, odd = d4 - d2, _2 * (d3 - d1)
                        tiles[row, 6 * a + 3, k] = even + odd
                        tiles[row, 6 * a + 4, k] = even - odd
                        tiles[row, 6 * a + 5, k] = _4 * d1 - _5 * d3 + d5


@compiled_apart
def maps_from_tiles(tiles: Array, bias: Array, z: Array) -> None:
    """Aᵀ m A + bias of each of `tiles` (rows, 36, c), put in its place of the maps z."""
    down, across, c = z.shape[1] // 4, z.shape[2] // 4, z.shape[3]
    held = np.empty((4, 6, c), np.float32)
    for i in range(len(z)):
        for y in range(down):
            for x in range(across):
                row = (i * down + y) * across + x
                for b in range(6):
                    for k in range(c):
                        m0, m1, m2 = tiles[row, b, k], tiles[row, 6 + b, k], tiles[row, 12 + b, k]
                        m3, m4, m5 = tiles[row, 18 + b, k], tiles[row, 24 + b, k], tiles[row, 30 + b, k]
                        plus, minus, plus2, minus2 = m1 + m2, m1 - m2, m3 + m4, m3 - m4
                        held[0, b, k] = m0 + plus + plus2
                        held[1, b, k] = minus + _2 * minus2
                        held[2, b, k] = plus + _4 * plus2
                        held[3, b, k] = minus + _8 * minus2 + m5
                for a in range(4):
                    for k in range(c):
                        m0, m1, m2 = held[a, 0, k], held[a, 1, k], held[a, 2, k]
                        m3, m4, m5 = held[a, 3, k], held[a, 4, k], held[a, 5, k]
                        plus, minus, plus2, minus2 = m1 + m2, m1 - m2, m3 + m4, m3 - m4
                        z[i, 4 * y + a, 4 * x, k] = m0 + plus + plus2 + bias[k]
                        z[i, 4 * y + a, 4 * x + 1, k] = minus + _2 * minus2 + bias[k]
                        z[i, 4 * y + a, 4 * x + 2, k] = plus + _4 * plus2 + bias[k]
                        z[i, 4 * y + a, 4 * x + 3, k] = minus + _8 * minus2 + m5 + bias[k]


@compiled_apart
def gradient_tiles(above: Array, tiles: Array) -> None:
    """The adjoint of `maps_from_tiles` but for the bias: A g Aᵀ of each 4×4 pixels, as (36, rows, c)."""
    down, across, c = above.shape[1] // 4, above.shape[2] // 4, above.shape[3]
    held = np.empty((6, 4, c), np.float32)
    for i in range(len(above)):
        for y in range(down):
            for x in range(across):
                row = (i * down + y) * across + x
                for b in range(4):
                    for k in range(c):
                        g0, g1 = above[i, 4 * y, 4 * x + b, k], above[i, 4 * y + 1, 4 * x + b, k]
                        g2, g3 = above[i, 4 * y + 2, 4 * x + b, k], above[i, 4 * y + 3, 4 * x + b, k]
                        held[0, b, k] = g0
                        held[1, b, k], held[2, b, k] = (g0 + g2) + (g1 + g3), (g0 + g2) - (g1 + g3)
                        even, odd = g0 + _4 * g2, _2 * g1 + _8 * g3
                        held[3, b, k], held[4, b, k] = even + odd, even - odd
                        held[5, b, k] = g3
                for a in range(6):
                    for k in range(c):
                        g0, g1, g2, g3 = held[a, 0, k], held[a, 1, k], held[a, 2, k], held[a, 3, k]
                        tiles[6 * a, row, k] = g0
                        tiles[6 * a + 1, row, k] = (g0 + g2) + (g1 + g3)
                        tiles[6 * a + 2, row, k] = (g0 + g2) - (g1 + g3)
                        even, odd = g0 + _4 * g2, _2 * g1 + _8 * g3
                        tiles[6 * a + 3, row, k] = even + odd
                        tiles[6 * a + 4, row, k] = even - odd
                        tiles[6 * a + 5, row, k] = g3
