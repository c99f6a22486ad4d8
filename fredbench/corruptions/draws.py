"""Counter-based random draws: value i of a picture's stream is a hash of the picture's key and i.

A picture's key is a hash of (seed, corruption, severity, the picture's number in its set), so that its draws depend
neither on the batch nor on its place in it nor on the process. There is no generator object and no state.

The mixing function is the finaliser of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014) with Stafford's constants
"variant 13"; a stream is that generator's sequence from the key on.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int8, Int64, UInt8, UInt16, UInt64

from fredbench.corruptions.photons import poisson_tables
from fredbench.foundation.compiling import Array, compiled, inlined
from fredbench.foundation.rng import Stream

__all__ = [
    "angles", "choices", "impulses", "normals", "offsets", "picture_keys", "poisson_counts", "reals", "substream",
    "uniforms",
]  # fmt: skip

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)


@inlined
def _mix(z: Any) -> Any:
    z = (z ^ (z >> np.uint64(30))) * _MIX1
    z = (z ^ (z >> np.uint64(27))) * _MIX2
    return z ^ (z >> np.uint64(31))


@inlined
def _word(key: Any, counter: int) -> Any:
    return _mix(key + (np.uint64(counter) + np.uint64(1)) * _GAMMA)


@compiled
def _keys(base: Any, indices: Array, keys: Array) -> None:
    for i in range(indices.size):
        # Twice mixed: neighbouring numbers must not give keys on the same stretch of the SplitMix sequence.
        keys[i] = _mix(base ^ _mix((np.uint64(indices[i]) + np.uint64(1)) * _GAMMA))


def picture_keys(seed: int, name: str, severity: int, indices: Int64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """The streams' keys of the pictures numbered `indices` under `seed` for one corruption and severity."""
    keys = np.empty(len(indices), np.uint64)
    _keys(np.uint64(Stream(seed).child("corruption", name, severity).integer()), indices, keys)
    return keys


def substream(keys: UInt64[np.ndarray, " n"], number: int) -> UInt64[np.ndarray, " n"]:
    """Keys of independent streams below `keys`, for a corruption that draws two kinds of things."""
    result = np.empty_like(keys)
    _keys(np.uint64(number), keys.view(np.int64), result)
    return result


@functools.cache
def _quantiles() -> Float32[np.ndarray, 65536]:
    """Normal quantiles at the midpoints of 65,536 equal cells, scaled to unit variance; |z| ≤ 4.33.

    Against an exact draw the distribution function is off by less than 2^-16; in grey levels the grid is finer than
    0.01 at the strongest noise of the tables.
    """
    inverse = NormalDist().inv_cdf
    upper = np.array([inverse((i + 0.5) / 65536) for i in range(32768, 65536)])
    table = np.concatenate([-upper[::-1], upper])
    scaled: np.ndarray = (table / np.sqrt(np.mean(table**2))).astype(np.float32)
    return scaled


@compiled
def _normals(keys: Array, table: Array, out: Array) -> None:
    count = out.shape[1]
    whole = count // 4
    for n in range(out.shape[0]):
        key = keys[n]
        row = out[n]
        for i in range(whole):
            word = _word(key, i)
            row[4 * i] = table[word & np.uint64(0xFFFF)]
            row[4 * i + 1] = table[(word >> np.uint64(16)) & np.uint64(0xFFFF)]
            row[4 * i + 2] = table[(word >> np.uint64(32)) & np.uint64(0xFFFF)]
            row[4 * i + 3] = table[word >> np.uint64(48)]
        word = _word(key, whole)
        for i in range(4 * whole, count):
            row[i] = table[word & np.uint64(0xFFFF)]
            word >>= np.uint64(16)


def normals(keys: UInt64[np.ndarray, " n"], *shape: int) -> Float32[np.ndarray, "n ..."]:
    """Standard normal draws of the given shape for each picture."""
    out = np.empty((len(keys), math.prod(shape)), np.float32)
    _normals(keys, _quantiles(), out)
    return out.reshape(len(keys), *shape)


@compiled
def _uniforms(keys: Array, out: Array) -> None:
    count = out.shape[1]
    scale = np.float32(2.0**-23)
    for n in range(out.shape[0]):
        key = keys[n]
        row = out[n]
        for i in range((count + 1) // 2):
            word = _word(key, i)
            # 24 bits a value, at the cells' midpoints: all that a float32 in [-1, 1) can hold evenly.
            row[2 * i] = np.float32(np.int32(word >> np.uint64(40)) - 8388608) * scale
            if 2 * i + 1 < count:
                row[2 * i + 1] = np.float32(np.int32(word & np.uint64(0xFFFFFF)) - 8388608) * scale


def uniforms(keys: UInt64[np.ndarray, " n"], *shape: int) -> Float32[np.ndarray, "n ..."]:
    """Uniform draws from [-1, 1) of the given shape for each picture."""
    out = np.empty((len(keys), math.prod(shape)), np.float32)
    _uniforms(keys, out)
    return out.reshape(len(keys), *shape)


@compiled
def _reals(keys: Array, low: float, high: float, out: Array) -> None:
    for n in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[n, i] = low + (high - low) * (np.float64(_word(keys[n], i) >> np.uint64(11)) * 2.0**-53)


def reals(keys: UInt64[np.ndarray, " n"], low: float, high: float, *shape: int) -> Float64[np.ndarray, "n ..."]:
    """Uniform draws from [low, high) of the given shape for each picture, of 53 bits."""
    out = np.empty((len(keys), math.prod(shape)))
    _reals(keys, low, high, out)
    return out.reshape(len(keys), *shape)


def angles(keys: UInt64[np.ndarray, " n"], low: float, high: float) -> Float64[np.ndarray, " n"]:
    """One uniform draw from [low, high) a picture (degrees)."""
    return reals(keys, low, high)


@compiled
def _choices(keys: Array, bounds: Array, out: Array) -> None:
    for n in range(keys.size):
        out[n] = np.int64(((_word(keys[n], 0) >> np.uint64(32)) * np.uint64(bounds[n])) >> np.uint64(32))


def choices(keys: UInt64[np.ndarray, " n"], bounds: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """One integer a picture, uniform on 0 … bounds - 1 (bounds below 2^31)."""
    out = np.empty(len(keys), np.int64)
    _choices(keys, bounds, out)
    return out


@compiled
def _impulses(keys: Array, limit: Any, hit: Array, salt: Array) -> None:
    count = hit.shape[1]
    for n in range(hit.shape[0]):
        key = keys[n]
        for i in range((count + 1) // 2):
            word = _word(key, i)
            hit[n, 2 * i] = (word & np.uint64(0x7FFFFFFF)) < limit
            salt[n, 2 * i] = (word >> np.uint64(31)) & np.uint64(1) == np.uint64(1)
            if 2 * i + 1 < count:
                hit[n, 2 * i + 1] = ((word >> np.uint64(32)) & np.uint64(0x7FFFFFFF)) < limit
                salt[n, 2 * i + 1] = word >> np.uint64(63) == np.uint64(1)


def impulses(
    keys: UInt64[np.ndarray, " n"], share: float, *shape: int
) -> tuple[Bool[np.ndarray, "n ..."], Bool[np.ndarray, "n ..."]]:
    """Which values are hit (with probability `share`), and which of those would turn white (one half)."""
    hit = np.empty((len(keys), math.prod(shape)), np.bool_)
    salt = np.empty_like(hit)
    _impulses(keys, np.uint64(round(share * 2**31)), hit, salt)
    return hit.reshape(len(keys), *shape), salt.reshape(len(keys), *shape)


@compiled
def _offsets(keys: Array, reach: int, out: Array) -> None:
    count = out.shape[1]
    span = np.uint64(2 * reach)
    for n in range(out.shape[0]):
        key, row = keys[n], out[n]
        for i in range(count // 4):
            word = _word(key, i)
            row[4 * i] = np.int64(((word & np.uint64(0xFFFF)) * span) >> np.uint64(16)) - reach
            row[4 * i + 1] = np.int64((((word >> np.uint64(16)) & np.uint64(0xFFFF)) * span) >> np.uint64(16)) - reach
            row[4 * i + 2] = np.int64((((word >> np.uint64(32)) & np.uint64(0xFFFF)) * span) >> np.uint64(16)) - reach
            row[4 * i + 3] = np.int64(((word >> np.uint64(48)) * span) >> np.uint64(16)) - reach
        word = _word(key, count // 4)
        for i in range(count // 4 * 4, count):
            row[i] = np.int64(((word & np.uint64(0xFFFF)) * span) >> np.uint64(16)) - reach
            word >>= np.uint64(16)


def offsets(keys: UInt64[np.ndarray, " n"], reach: int, count: int) -> Int8[np.ndarray, "n {count} 2"]:
    """`count` pairs (dx, dy) a picture, each uniform on -reach … reach - 1 (to within 2^-16)."""
    out = np.empty((len(keys), 2 * count), np.int8)
    _offsets(keys, reach, out)
    return out.reshape(len(keys), count, 2)


@inlined
def _count(bits: Any, level: Any, first: Array, tables: Array, shift: Any) -> Any:
    # The upper bits choose a cell, the 16 below them between the cell and its alias.
    cell = bits >> shift
    packed = tables[level, cell]
    kept = ((bits >> (shift - np.uint64(16))) & np.uint64(0xFFFF)) < np.uint64(packed >> np.uint32(16))
    return first[level] + np.uint16(cell if kept else np.uint64(packed & np.uint32(0xFFFF)))


@compiled
def _poisson(keys: Array, levels: Array, first: Array, tables: Array, out: Array) -> None:
    count = levels.shape[1]
    shift = np.uint64(32)
    cells = tables.shape[1]
    while cells > 1:
        cells //= 2
        shift -= np.uint64(1)
    for n in range(levels.shape[0]):
        key, row, made = keys[n], levels[n], out[n]
        for i in range(count // 2):
            word = _word(key, i)
            made[2 * i] = _count(word & np.uint64(0xFFFFFFFF), row[2 * i], first, tables, shift)
            made[2 * i + 1] = _count(word >> np.uint64(32), row[2 * i + 1], first, tables, shift)
        if count % 2:
            word = _word(key, count // 2)
            made[count - 1] = _count(word & np.uint64(0xFFFFFFFF), row[count - 1], first, tables, shift)


def poisson_counts(
    keys: UInt64[np.ndarray, " n"], pictures: UInt8[np.ndarray, "n h w c"], photons: float
) -> UInt16[np.ndarray, "n h w c"]:
    """Photon counts of every value: Poisson with rate photons·value/255, by alias tables (2^-25 a probability)."""
    first, tables = poisson_tables(float(photons))
    out = np.empty(pictures.shape, np.uint16)
    rows = np.ascontiguousarray(pictures).reshape(len(pictures), -1)
    _poisson(keys, rows, first, tables, out.reshape(len(pictures), -1))
    return out
