"""Alias tables for shot noise: Poisson draws at the price of one look-up, since only 256 rates occur."""

from __future__ import annotations

import functools
import math

import numpy as np
from jaxtyping import UInt16, UInt32

from fredbench.foundation.compiling import Array, compiled, inlined
from fredbench.foundation.errors import UsageError

__all__ = ["poisson_tables"]


@inlined
def _alias_row(scaled: Array, row: Array, small: Array, large: Array) -> None:
    # Vose's construction; a cell is packed as (threshold of 16 bits, alias of 16 bits).
    few, many = 0, 0
    for i in range(scaled.size):
        if scaled[i] < 1.0:
            small[few] = i
            few += 1
        else:
            large[many] = i
            many += 1
    while few > 0 and many > 0:
        few -= 1
        low, high = small[few], large[many - 1]
        row[low] = (np.uint32(min(65535.0, np.rint(scaled[low] * 65536.0))) << np.uint32(16)) | np.uint32(high)
        scaled[high] -= 1.0 - scaled[low]
        if scaled[high] < 1.0:
            many -= 1
            small[few] = high
            few += 1
    for i in range(few):
        row[small[i]] = (np.uint32(65535) << np.uint32(16)) | np.uint32(small[i])
    for i in range(many):
        row[large[i]] = (np.uint32(65535) << np.uint32(16)) | np.uint32(large[i])


@compiled
def _fill_poisson(photons: float, first: Array, tables: Array) -> None:
    size = tables.shape[1]
    scaled = np.empty(size)
    small, large = np.empty(size, np.int64), np.empty(size, np.int64)
    for level in range(256):
        rate = photons * level / 255.0
        start = max(0, int(np.rint(rate)) - size // 2)
        first[level] = start
        # From the largest probability on by ratios: no exponential, whose last bits a library would decide.
        top = max(start, int(rate)) - start
        scaled[top] = 1.0
        for i in range(top + 1, size):
            scaled[i] = scaled[i - 1] * (rate / (start + i))
        for i in range(top - 1, -1, -1):
            scaled[i] = scaled[i + 1] * ((start + i + 1) / rate)
        total = 0.0
        for i in range(size):
            total += scaled[i]
        for i in range(size):
            scaled[i] *= size / total
        _alias_row(scaled, tables[level], small, large)


@functools.lru_cache(maxsize=16)
def poisson_tables(photons: float) -> tuple[UInt16[np.ndarray, 256], UInt32[np.ndarray, "256 cells"]]:
    """First counts and alias tables of the 256 rates photons·level/255: only 256 grey levels occur.

    A row spans a power of two of counts around its rate, at least nine standard deviations to either side, so that
    small rates have tables that stay in the nearest cache.
    """
    if not 0 < photons <= 700:
        raise UsageError(f"shot noise with {photons} photons is out of range", hint="use a rate in (0, 700]")
    cells = 32
    while cells < 18 * math.sqrt(photons) + 12:
        cells *= 2
    first = np.empty(256, np.uint16)
    tables = np.empty((256, cells), np.uint32)
    _fill_poisson(photons, first, tables)
    return first, tables
