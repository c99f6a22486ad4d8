"""The weather corruptions: pure functions of (pictures, parameters, draws)."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64, UInt8

from fredbench.corruptions.colour import raise_value
from fredbench.corruptions.filters import motion_sum, motion_taps, zoom_taps
from fredbench.corruptions.severities import Family, Row
from fredbench.corruptions.textures import Textures
from fredbench.foundation.compiling import Array, compiled

__all__ = ["brightness", "fog", "fog_draws", "fog_side", "frost", "snow"]


def brightness(pictures: UInt8[np.ndarray, "n h w 3"], shift: float) -> UInt8[np.ndarray, "n h w 3"]:
    """V of HSV raised by `shift` of full scale (corruptions.md §3.11)."""
    return raise_value(pictures, shift)


@compiled
def _flakes(normals: Array, mean: float, sd: float, cut: float, tables_y: Any, tables_x: Any, out: Array) -> None:
    top, top_weight, low_weight = tables_y
    left, left_weight, right_weight = tables_x
    n, h, w = normals.shape
    for i in range(n):
        for y in range(top.size):
            low = min(top[y] + 1, h - 1)
            for x in range(left.size):
                near = min(left[x] + 1, w - 1)
                upper = left_weight[x] * (mean + sd * np.float64(normals[i, top[y], left[x]])) + right_weight[x] * (
                    mean + sd * np.float64(normals[i, top[y], near])
                )
                lower = left_weight[x] * (mean + sd * np.float64(normals[i, low, left[x]])) + right_weight[x] * (
                    mean + sd * np.float64(normals[i, low, near])
                )
                value = top_weight[y] * upper + low_weight[y] * lower
                out[i, y, x, 0] = min(value, 1.0) if value >= cut else 0.0


@compiled
def _fallen(pictures: Array, layers: Array, mix: float, out: Array) -> None:
    n, h, w, c = pictures.shape
    unit = np.arange(256).astype(np.float32) / np.float32(255)
    keep, rest = np.float32(mix), np.float32(1.0 - mix)
    for i in range(n):
        levels, made, layer = pictures[i].reshape(h * w, c), out[i].reshape(h * w, c), layers[i].reshape(h * w)
        for x in range(h * w):
            flake = layer[x] / 255.0 + layer[h * w - 1 - x] / 255.0
            r, g, b = unit[levels[x, 0]], unit[levels[x, 1]], unit[levels[x, 2]]
            pale = (r * np.float32(0.299) + g * np.float32(0.587) + b * np.float32(0.114)) * np.float32(1.5)
            pale += np.float32(0.5)
            made[x, 0] = np.uint8(min(np.float64(keep * r + rest * max(r, pale)) + flake, 1.0) * 255.0)
            made[x, 1] = np.uint8(min(np.float64(keep * g + rest * max(g, pale)) + flake, 1.0) * 255.0)
            made[x, 2] = np.uint8(min(np.float64(keep * b + rest * max(b, pale)) + flake, 1.0) * 255.0)


def snow(
    pictures: UInt8[np.ndarray, "n h w 3"], row: Row, normals: Float[np.ndarray, "n h w"],
    angles: Float64[np.ndarray, " n"], family: Family,
) -> UInt8[np.ndarray, "n h w 3"]:  # fmt: skip
    """Wind-blown flakes, and their half-turned copy, over a paled picture (corruptions.md §3.8, §4).

    `row` is (mean, sd, zoom, cut, blur radius, blur sigma, mix); angles in degrees from [-135, -45). The published
    generators truncate the layer to 8 bits before ImageMagick blurs it; imagecorruptions blurs first, then rounds.
    """
    mean, sd, zoom, cut, radius, sigma, mix = (float(value) for value in row)
    _, h, w, _ = pictures.shape
    package = family == "imagecorruptions"
    tables = [zoom_taps(size, zoom, "whole" if package else "centre") for size in (h, w)]
    flakes = np.empty((len(pictures), len(tables[0][0]), len(tables[1][0]), 1))
    _flakes(normals, mean, sd, cut, tables[0], tables[1], flakes)
    if package:
        sums = motion_sum(flakes, motion_taps(angles, radius, sigma, "package"), stops=True)
        layer = np.rint(sums * 255).astype(np.uint8)[:, :h, :w, 0]
    else:
        quantised = (flakes * 255).astype(np.uint8)
        sums = motion_sum(quantised, motion_taps(angles, radius, sigma, "magick"), stops=False)
        layer = np.minimum(sums + 0.5 / 257, 255).astype(np.uint8)[..., 0]
    out = np.empty(pictures.shape, np.uint8)
    _fallen(np.ascontiguousarray(pictures), np.ascontiguousarray(layer), mix, out)
    return out


@compiled
def _frosted(
    pictures: Array, keep: float, weight: float, pixels: Array, starts: Array, widths: Array, rows: Array,
    columns: Array, out: Array,
) -> None:  # fmt: skip
    n, h, w, c = pictures.shape
    for i in range(n):
        for y in range(h):
            first = starts[i] + ((rows[i] + y) * widths[i] + columns[i]) * c
            here, target = pictures[i, y].reshape(w * c), out[i, y].reshape(w * c)
            for x in range(w * c):
                target[x] = np.uint8(min(keep * here[x] + weight * pixels[first + x], 255.0))


def frost(
    pictures: UInt8[np.ndarray, "n h w 3"], keep: float, weight: float, textures: Textures,
    which: Int64[np.ndarray, " n"], rows: Int64[np.ndarray, " n"], columns: Int64[np.ndarray, " n"],
) -> UInt8[np.ndarray, "n h w 3"]:  # fmt: skip
    """y = keep·I + weight·T with T a crop of texture `which` from (row, column) on (corruptions.md §3.9)."""
    out = np.empty(pictures.shape, np.uint8)
    _frosted(
        np.ascontiguousarray(pictures), float(keep), float(weight), textures.pixels,
        textures.starts[which], textures.widths[which], rows, columns, out,
    )  # fmt: skip
    return out


def fog_side(family: Family, height: int, width: int) -> int:
    """Side of the plasma map: 256 for ImageNet-C, else the next power of two that covers the picture."""
    return 256 if family == "imagenet" else 1 << (max(height, width) - 1).bit_length()


def fog_draws(side: int) -> int:
    """How many uniform draws a plasma map of this side takes."""
    return side * side - 1


@functools.lru_cache(maxsize=32)
def _roughness(side: int, decay: float) -> Float64[np.ndarray, " levels"]:
    """Amplitude of the displacement on each level: wibble squared, wibble = 100, 100/decay, …"""
    levels = side.bit_length() - 1
    wibble = [100.0]
    for _ in range(levels - 1):
        wibble.append(wibble[-1] / decay)
    return np.array(wibble) ** 2


@compiled
def _plasma(uniforms: Array, roughness: Array, side: int, height: Array) -> None:
    # Diamond-square on a torus; per level first the centres, then the midpoints of rows, then those of columns.
    last = side - 1
    height[0, 0] = 0.0
    drawn = 0
    step = side
    for level in range(roughness.size):
        half, amplitude = step // 2, roughness[level]
        for y in range(0, side, step):
            low = (y + step) & last
            for x in range(0, side, step):
                near = (x + step) & last
                corners = height[y, x] + height[low, x] + height[y, near] + height[low, near]
                height[y + half, x + half] = corners / 4 + amplitude * uniforms[drawn]
                drawn += 1
        for y in range(0, side, step):
            above = (y - half) & last
            for x in range(0, side, step):
                middle = x + half
                around = height[above, middle] + height[y + half, middle]
                around += height[y, x] + height[y, (x + step) & last]
                height[y, middle] = around / 4 + amplitude * uniforms[drawn]
                drawn += 1
        for y in range(0, side, step):
            middle, low = y + half, (y + step) & last
            for x in range(0, side, step):
                around = height[middle, x + half] + height[middle, (x - half) & last]
                around += height[y, x] + height[low, x]
                height[middle, x] = around / 4 + amplitude * uniforms[drawn]
                drawn += 1
        step = half


@compiled
def _fogged(pictures: Array, strength: float, uniforms: Array, roughness: Array, side: int, out: Array) -> None:
    n, h, w, c = pictures.shape
    height = np.empty((side, side))
    for i in range(n):
        _plasma(uniforms[i], roughness, side, height)
        low, high = height.min(), height.max()
        lightest = np.float64(pictures[i].max())
        gain = lightest / (lightest + 255.0 * strength)
        for y in range(h):
            for x in range(w):
                haze = strength * 255.0 * ((height[y, x] - low) / (high - low))
                for d in range(c):
                    out[i, y, x, d] = np.uint8(min((pictures[i, y, x, d] + haze) * gain, 255.0))


def fog(
    pictures: UInt8[np.ndarray, "n h w 3"], strength: float, decay: float, uniforms: Float[np.ndarray, "n draws"],
    family: Family,
) -> UInt8[np.ndarray, "n h w 3"]:  # fmt: skip
    """A plasma fractal mixed in, scaled by the picture's maximum (corruptions.md §3.10).

    `uniforms` are draws from [-1, 1), `fog_draws(fog_side(...))` a picture: per level the centres, then the midpoints
    (even row, odd column), then (odd row, even column).
    """
    _, h, w, _ = pictures.shape
    side = fog_side(family, h, w)
    out = np.empty(pictures.shape, np.uint8)
    _fogged(np.ascontiguousarray(pictures), float(strength), uniforms, _roughness(side, float(decay)), side, out)
    return out
