"""The way through hue, saturation and value and back that brightness and saturate take.

The arithmetic follows the usual hexcone formulas in float64, in the order of operations of scikit-image's
conversions (which the published generators call), because the result is truncated: a last bit can cost a grey level.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import UInt8

from fredbench.foundation.compiling import Array, compiled, inlined

__all__ = ["change_saturation", "raise_value"]


@inlined
def _hue_and_saturation(r: float, g: float, b: float, value: float, spread: float) -> tuple[float, float]:
    # Hue in turns; grey has hue and saturation 0. Where channels tie, the later one decides.
    if spread == 0.0:
        return 0.0, 0.0
    if b == value:
        sector = 4.0 + (r - g) / spread
    elif g == value:
        sector = 2.0 + (b - r) / spread
    else:
        sector = (g - b) / spread
    turns = sector / 6.0
    return turns - math.floor(turns), spread / value


@inlined
def _from_hsv(hue: float, saturation: float, value: float) -> tuple[float, float, float]:
    sector = math.floor(hue * 6.0)
    rest = hue * 6.0 - sector
    p = value * (1.0 - saturation)
    q = value * (1.0 - rest * saturation)
    t = value * (1.0 - (1.0 - rest) * saturation)
    which = int(sector) % 6
    if which == 0:
        return value, t, p
    if which == 1:
        return q, value, p
    if which == 2:
        return p, value, t
    if which == 3:
        return p, q, value
    if which == 4:
        return t, p, value
    return value, p, q


@inlined
def _level(value: float) -> Any:
    return np.uint8(min(max(value, 0.0), 1.0) * 255.0)


@compiled
def _through_hsv(pixels: Array, shift: float, factor: float, offset: float, out: Array) -> None:
    unit = np.arange(256) / 255.0
    for i in range(pixels.shape[0]):
        r, g, b = unit[pixels[i, 0]], unit[pixels[i, 1]], unit[pixels[i, 2]]
        value = max(r, g, b)
        hue, saturation = _hue_and_saturation(r, g, b, value, value - min(r, g, b))
        saturation = min(max(saturation * factor + offset, 0.0), 1.0)
        value = min(max(value + shift, 0.0), 1.0)
        r, g, b = _from_hsv(hue, saturation, value)
        out[i, 0], out[i, 1], out[i, 2] = _level(r), _level(g), _level(b)


def _changed(
    pictures: UInt8[np.ndarray, "n h w 3"], shift: float, factor: float, offset: float
) -> UInt8[np.ndarray, "n h w 3"]:
    out = np.empty(pictures.shape, np.uint8)
    pixels = np.ascontiguousarray(pictures).reshape(-1, 3)
    _through_hsv(pixels, float(shift), float(factor), float(offset), out.reshape(-1, 3))
    return out


def raise_value(pictures: UInt8[np.ndarray, "n h w 3"], shift: float) -> UInt8[np.ndarray, "n h w 3"]:
    """V ← clip(V + shift) on [0, 1], hue and saturation kept."""
    return _changed(pictures, shift, 1.0, 0.0)


def change_saturation(
    pictures: UInt8[np.ndarray, "n h w 3"], factor: float, offset: float
) -> UInt8[np.ndarray, "n h w 3"]:
    """S ← clip(factor·S + offset), hue and value kept; grey pixels count as hue 0 and turn reddish."""
    return _changed(pictures, 0.0, factor, offset)
