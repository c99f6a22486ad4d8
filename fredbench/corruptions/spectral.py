"""C-bar's noises with a spectrum: random phases at every frequency under a given amplitude, on the 0..255 scale.

Rules: `imagenet_c_bar/corrupt.py` of facebookresearch/augmentation-corruption (Mintun, Kirillov & Xie, NeurIPS 2021),
BlueNoiseSample and BrownishNoise. No library transforms: the last bits of theirs depend on version and processor.
"""

from __future__ import annotations

import functools
import math
from typing import Literal

import numpy as np
from jaxtyping import Float64, UInt8

from fredbench.corruptions.exact import sines_and_cosines
from fredbench.foundation.compiling import Array, compiled

__all__ = ["blue_noise_sample", "brownish_noise", "phase_count", "spectral_fields"]

Colour = Literal["blue", "brown"]


def phase_count(side: int) -> int:
    """How many phases a field of that side takes: a frequency and its image under half a turn share theirs."""
    return side * side // 2


@functools.lru_cache(maxsize=8)
def _amplitudes(side: int, colour: Colour) -> Float64[np.ndarray, " s s"]:
    # Of frequencies shifted by half the side, so that the largest meet in the corners.
    steps = np.arange(side) - side / 2
    squares = steps[:, None] ** 2 + steps[None, :] ** 2
    return np.sqrt(squares) if colour == "blue" else 1.0 / (squares + 1.0)


@functools.lru_cache(maxsize=8)
def _turns(side: int) -> tuple[Float64[np.ndarray, " s s"], Float64[np.ndarray, " s s"]]:
    """Sines and cosines of the whole turns jk/side, reduced first."""
    steps = np.arange(side)
    return sines_and_cosines(np.outer(steps, steps) % side * (360.0 / side))


@compiled
def _spectrum(amplitudes: Array, sines: Array, cosines: Array, real: Array, imaginary: Array) -> None:
    # Phases run down the columns; the second half of them is the first, turned; an odd side's centre has phase 0.
    side, half = amplitudes.shape[0], amplitudes.shape[0] // 2
    count, last = sines.size, amplitudes.size - 1
    for y in range(side):
        for x in range(side):
            place = x * side + y
            place = place if place < count else last - place
            sine, cosine = (sines[place], cosines[place]) if place < count else (0.0, 1.0)
            j, k = (y + half) % side, (x + half) % side
            real[j, k], imaginary[j, k] = amplitudes[y, x] * cosine, amplitudes[y, x] * sine


@compiled
def _real_part(real: Array, imaginary: Array, sines: Array, cosines: Array, g: Array, h: Array, out: Array) -> None:
    # The inverse transform's real part but for its factor: along the rows to g + ih, then down the columns.
    side = real.shape[0]
    g[:] = 0.0
    h[:] = 0.0
    out[:] = 0.0
    for j in range(side):
        gs, hs = g[j], h[j]
        for k in range(side):
            a, b, sine, cosine = real[j, k], imaginary[j, k], sines[k], cosines[k]
            for x in range(side):
                gs[x] += a * cosine[x] - b * sine[x]
                hs[x] += a * sine[x] + b * cosine[x]
    for y in range(side):
        row = out[y]
        for j in range(side):
            gs, hs, sine, cosine = g[j], h[j], sines[y, j], cosines[y, j]
            for x in range(side):
                row[x] += cosine * gs[x] - sine * hs[x]


@compiled
def _to_unit(values: Array) -> None:
    # Divided by the standard deviation; the mean stays.
    total, squares = 0.0, 0.0
    for i in range(values.size):
        total += values[i]
    mean = total / values.size
    for i in range(values.size):
        squares += (values[i] - mean) * (values[i] - mean)
    deviation = math.sqrt(squares / values.size)
    for i in range(values.size):
        values[i] /= deviation


def spectral_fields(
    phases: Float64[np.ndarray, "n p"], side: int, colour: Colour
) -> Float64[np.ndarray, "n {side} {side}"]:
    """Random fields of unit deviation from `phase_count(side)` phases each (degrees).

    Amplitudes are the distance d from frequency 0 (`blue`) or 1/(d² + 1) (`brown`); that one's phase is random too, so
    a brown field has a random mean.
    """
    sines, cosines = sines_and_cosines(phases)
    amplitudes, (turn_sines, turn_cosines) = _amplitudes(side, colour), _turns(side)
    real, imaginary, g, h = np.empty((4, side, side))
    out = np.empty((len(phases), side, side))
    for sine, cosine, field in zip(sines, cosines, out, strict=True):
        _spectrum(amplitudes, sine, cosine, real, imaginary)
        _real_part(real, imaginary, turn_sines, turn_cosines, g, h, field)
        _to_unit(field.reshape(-1))
    return out


@compiled
def _keep(pictures: Array, fields: Array, threshold: float, out: Array) -> None:
    for i in range(fields.size):
        kept = fields[i] > threshold
        for d in range(3):
            out[i, d] = pictures[i, d] if kept else np.uint8(0)


def blue_noise_sample(
    pictures: UInt8[np.ndarray, "n s s 3"], severity: float, phases: Float64[np.ndarray, "n p"]
) -> UInt8[np.ndarray, "n s s 3"]:
    """Black where a blue field is at most .3·severity - 2.5, all channels at once."""
    fields = spectral_fields(phases, pictures.shape[1], "blue")
    out = np.empty(pictures.shape, np.uint8)
    pixels = np.ascontiguousarray(pictures).reshape(-1, 3)
    _keep(pixels, fields.reshape(-1), severity * 3.0 / 10.0 - 2.5, out.reshape(-1, 3))
    return out


@compiled
def _add_fields(pictures: Array, fields: Array, intensity: float, out: Array) -> None:
    n, pixels, channels = pictures.shape
    for i in range(n):
        for x in range(pixels):
            for d in range(channels):
                value = pictures[i, x, d] + intensity * fields[i, d, x]
                out[i, x, d] = np.uint8(min(max(value, 0.0), 255.0))


def brownish_noise(
    pictures: UInt8[np.ndarray, "n s s 3"], severity: float, phases: Float64[np.ndarray, "n 3 p"]
) -> UInt8[np.ndarray, "n s s 3"]:
    """Plus 6.4·severity times a brown field, another for each channel."""
    n, side = pictures.shape[:2]
    fields = spectral_fields(phases.reshape(3 * n, -1), side, "brown").reshape(n, 3, -1)
    out = np.empty(pictures.shape, np.uint8)
    pixels = np.ascontiguousarray(pictures).reshape(n, -1, 3)
    _add_fields(pixels, fields, severity * 64.0 / 10.0, out.reshape(n, -1, 3))
    return out
