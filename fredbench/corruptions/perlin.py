"""C-bar's Perlin noise, on the 0..255 scale.

Rules: `imagenet_c_bar/corrupt.py` and `utils/perlin_noise.py` of facebookresearch/augmentation-corruption (Mintun,
Kirillov & Xie, NeurIPS 2021), PerlinNoise.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64, UInt8

from fredbench.foundation.compiling import Array, compiled, inlined

__all__ = ["GRADIENTS", "perlin_noise"]

GRADIENTS = 256
_OCTAVES = 5
_CELL = 32.0 / 224.0  # side of a cell, relative to the picture's


@inlined
def _corner(gradients: Array, order: Array, row: int, column: int, down: float, across: float) -> float:
    # Both tables repeat after 256 entries.
    which = order[(order[row % 256] + column % 256) % 256]
    return float(down * gradients[which, 0] + across * gradients[which, 1])


@inlined
def _noise(gradients: Array, order: Array, y: float, x: float) -> float:
    row, column = int(np.floor(y)), int(np.floor(x))
    down, across = y - row, x - column
    by_row, by_column = down * down * (3.0 - 2.0 * down), across * across * (3.0 - 2.0 * across)
    u = _corner(gradients, order, row, column, down, across)
    v = _corner(gradients, order, row + 1, column, down - 1.0, across)
    near = u + by_row * (v - u)
    u = _corner(gradients, order, row, column + 1, down, across - 1.0)
    v = _corner(gradients, order, row + 1, column + 1, down - 1.0, across - 1.0)
    far = u + by_row * (v - u)
    return 1.5 * (near + by_column * (far - near))


@compiled
def _shuffled(places: Array, order: Array) -> None:
    # From the last entry on, each swaps with any entry: not a fair shuffle, as published.
    for i in range(order.size):
        order[i] = i
    for i in range(order.size - 1, -1, -1):
        order[i], order[places[i]] = order[places[i]], order[i]


@compiled
def _unit(lattice: Array, gradients: Array) -> None:
    for i in range(lattice.shape[0]):
        y, x = lattice[i, 0] / 256.0, lattice[i, 1] / 256.0
        length = np.sqrt(y * y + x * x)
        gradients[i, 0], gradients[i, 1] = (y / length, x / length) if length > 0.0 else (0.0, 0.0)


@compiled
def _perlin(
    pictures: Array, share: float, lattice: Array, places: Array, octaves: int, cell: float, out: Array
) -> None:
    n, side = pictures.shape[:2]
    gradients, order = np.empty((256, 2)), np.empty(256, np.int64)
    # float32 as the published code keeps the picture's part.
    kept = np.float32(1.0 - share)
    for i in range(n):
        _unit(lattice[i], gradients)
        _shuffled(places[i], order)
        for y in range(side):
            for x in range(side):
                turbulence, factor = 0.0, 1.0
                for _ in range(octaves):
                    turbulence += abs(_noise(gradients, order, factor * (y / cell), factor * (x / cell))) / factor
                    factor *= 2.0
                white = 255.0 * share * min(0.5 * turbulence + 0.5, 1.0)
                for d in range(3):
                    value = np.float64(kept * np.float32(pictures[i, y, x, d])) + white
                    out[i, y, x, d] = np.uint8(min(value, 255.0))


def perlin_noise(
    pictures: UInt8[np.ndarray, "n s s 3"], severity: float, lattice: Int64[np.ndarray, "n 256 2"],
    places: Int64[np.ndarray, "n 256"],
) -> UInt8[np.ndarray, "n s s 3"]:  # fmt: skip
    """A share of .05·severity of each picture gives way to a bright turbulence of five octaves.

    `lattice`: the gradients before they are of length 1, whole numbers -256 … 255. `places`: what each entry of the
    permutation swaps with, 0 … 255.
    """
    out = np.empty(pictures.shape, np.uint8)
    cell = _CELL * pictures.shape[1]
    _perlin(np.ascontiguousarray(pictures), severity * 0.5 / 10.0, lattice, places, _OCTAVES, cell, out)
    return out
