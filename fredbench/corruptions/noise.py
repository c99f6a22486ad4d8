"""The noise corruptions: pure functions of (pictures, parameters, draws).

All are defined on x = picture/255 and end in clip to [0, 1], ·255 and a truncating cast (corruptions.md §1); the
arithmetic here is done on the 0..255 scale, which is the same but for last bits.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8

from fredbench.foundation.compiling import Array, compiled

__all__ = ["gaussian_noise", "impulse_noise", "shot_noise", "speckle_noise"]


@compiled
def _add_noise(levels: Array, scale: float, noise: Array, relative: bool, out: Array) -> None:
    low, high = noise.dtype.type(0), noise.dtype.type(255)
    for i in range(levels.size):
        level = noise.dtype.type(levels[i])
        shift = scale * noise[i]
        value = level + level * shift if relative else level + high * shift
        out[i] = np.uint8(min(max(value, low), high))


def _noisy(
    pictures: UInt8[np.ndarray, "n h w c"], scale: float, noise: Float[np.ndarray, "n h w c"], relative: bool
) -> UInt8[np.ndarray, "n h w c"]:
    out = np.empty(pictures.shape, np.uint8)
    _add_noise(
        np.ascontiguousarray(pictures).reshape(-1), noise.dtype.type(scale), noise.reshape(-1), relative,
        out.reshape(-1),
    )  # fmt: skip
    return out


def gaussian_noise(
    pictures: UInt8[np.ndarray, "n h w c"], scale: float, normals: Float[np.ndarray, "n h w c"]
) -> UInt8[np.ndarray, "n h w c"]:
    """y = x + scale·N (corruptions.md §3.1)."""
    return _noisy(pictures, scale, normals, False)


def speckle_noise(
    pictures: UInt8[np.ndarray, "n h w c"], scale: float, normals: Float[np.ndarray, "n h w c"]
) -> UInt8[np.ndarray, "n h w c"]:
    """y = x + scale·x·N (corruptions.md §3.1)."""
    return _noisy(pictures, scale, normals, True)


@functools.lru_cache(maxsize=16)
def _photon_levels(photons: float) -> UInt8[np.ndarray, " k"]:
    # One count past full white: every higher count is white too.
    counts = np.arange(math.ceil(photons) + 1)
    return np.asarray((np.clip(counts / photons, 0, 1) * 255).astype(np.uint8))


@compiled
def _look_up(table: Array, places: Array, out: Array) -> None:
    for i in range(places.size):
        out[i] = table[min(places[i], table.size - 1)]


def shot_noise(counts: Integer[np.ndarray, "n h w c"], photons: float) -> UInt8[np.ndarray, "n h w c"]:
    """y = counts/photons, with counts drawn from Poisson(photons·x) for each value (corruptions.md §3.2)."""
    out = np.empty(counts.shape, np.uint8)
    _look_up(_photon_levels(float(photons)), np.ascontiguousarray(counts).reshape(-1), out.reshape(-1))
    return out


def impulse_noise(
    pictures: UInt8[np.ndarray, "n h w c"], hit: Bool[np.ndarray, "n h w c"], salt: Bool[np.ndarray, "n h w c"]
) -> UInt8[np.ndarray, "n h w c"]:
    """Values that are `hit` become 255 where `salt`, 0 elsewhere; values, not pixels (corruptions.md §3.3)."""
    mask = hit.view(np.uint8) * np.uint8(255)
    made: np.ndarray = (pictures & ~mask) | (mask & (salt.view(np.uint8) * np.uint8(255)))
    return made
