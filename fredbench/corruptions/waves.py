"""C-bar's additive waves, on the 0..255 scale: one frequency, uneven rings, a plasma.

Rules: `imagenet_c_bar/corrupt.py` of facebookresearch/augmentation-corruption (Mintun, Kirillov & Xie, NeurIPS 2021),
SingleFrequencyGreyscale, CocentricSineWaves (sic) and PlasmaNoise.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64, Int64, UInt8

from fredbench.corruptions.exact import arctangents, sines_and_cosines
from fredbench.foundation.compiling import Array, compiled

__all__ = ["cocentric_sine_waves", "plasma_noise", "single_frequency_greyscale"]


@compiled
def _mixed(pictures: Array, share: float, waves: Array, intensity: float, out: Array) -> None:
    # waves: (pictures, pixels, 1 or 3).
    n, pixels, channels = pictures.shape
    for i in range(n):
        for x in range(pixels):
            for d in range(channels):
                value = share * pictures[i, x, d] + intensity * waves[i, x, d if waves.shape[2] == 3 else 0]
                out[i, x, d] = np.uint8(min(max(value, 0.0), 255.0))


def _with_waves(
    pictures: UInt8[np.ndarray, "n s s 3"], share: float, waves: Float64[np.ndarray, "n s s c"], intensity: float
) -> UInt8[np.ndarray, "n s s 3"]:
    """share·picture + intensity·waves."""
    n = len(pictures)
    out = np.empty(pictures.shape, np.uint8)
    flat = np.ascontiguousarray(pictures).reshape(n, -1, 3), waves.reshape(n, -1, waves.shape[-1])
    _mixed(flat[0], share, flat[1], intensity, out.reshape(n, -1, 3))
    return out


def single_frequency_greyscale(
    pictures: UInt8[np.ndarray, "n s s 3"], severity: float, frequencies: Float64[np.ndarray, "n 2"],
    phases: Float64[np.ndarray, " n"],
) -> UInt8[np.ndarray, "n s s 3"]:  # fmt: skip
    """Plus 19.6·severity times a plane sine, all channels alike.

    `frequencies`: degrees a column and degrees a row. `phases`: degrees.
    """
    places = np.arange(pictures.shape[1], dtype=np.float64)
    across = sines_and_cosines(places * frequencies[:, :1] + phases[:, None])
    down = sines_and_cosines(places * frequencies[:, 1:])
    waves = across[0][:, None, :] * down[1][:, :, None] + across[1][:, None, :] * down[0][:, :, None]
    return _with_waves(pictures, 1.0, waves[..., None], severity * 196.0 / 10.0)


def cocentric_sine_waves(
    pictures: UInt8[np.ndarray, "n s s 3"], severity: float, centres: Float64[np.ndarray, "n 2"],
    folds: Float64[np.ndarray, " n"], amplitudes: Float64[np.ndarray, " n"], widths: Float64[np.ndarray, " n"],
) -> UInt8[np.ndarray, "n s s 3"]:  # fmt: skip
    """Plus 12.8·severity times saw-tooth rings of `widths` pixels, all channels alike.

    `centres` in pixels (column, row). A ring is pushed out by `amplitudes` pixels times the sine of `folds` times its
    angle.
    """
    places = np.arange(pictures.shape[1], dtype=np.float64)
    x, y = np.broadcast_arrays(
        places[None, None, :] - centres[:, :1, None], places[None, :, None] - centres[:, 1:, None]
    )
    angles = folds[:, None, None] * np.degrees(arctangents(np.ascontiguousarray(x), np.ascontiguousarray(y)))
    widths = widths[:, None, None]
    pushed = np.sqrt(x * x + y * y) + sines_and_cosines(angles)[0] * amplitudes[:, None, None]
    return _with_waves(pictures, 1.0, (np.mod(pushed, widths) / widths - 0.5)[..., None], severity * 128.0 / 10.0)


def _sine(radians: Float[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    return sines_and_cosines(radians * (180.0 / np.pi))[0]


def _plasma(side: int, time: float, rounds: int, sharpness: float, scale: float) -> Float64[np.ndarray, "s s 3"]:
    """Coordinates stirred by sines of each other, and three sines of where that leaves them."""
    down, across = np.meshgrid(np.arange(side) / scale, np.arange(side) / scale, indexing="ij")
    frequency, slowness, damping = 1.0, 1.0, 1.0
    for _ in range(rounds):
        shift = time / slowness
        first = sines_and_cosines((down * frequency + shift) * (180.0 / np.pi))[1] / damping
        second = _sine(across * frequency + shift) / damping
        across, down = across + (first - 0.3 * second), down + (second + 0.3 * first)
        frequency, slowness, damping = frequency * 1.93, slowness * 1.15, damping * (2.25 - sharpness)
    between = (across + down + _sine(np.array([time]))[0]) * 0.5
    return np.stack([_sine(across - time), _sine(between), _sine(down + time)], axis=-1)


def plasma_noise(
    pictures: UInt8[np.ndarray, "n s s 3"], severity: float, times: Float64[np.ndarray, " n"],
    rounds: Int64[np.ndarray, " n"], sharpness: Float64[np.ndarray, " n"], scales: Float64[np.ndarray, " n"],
) -> UInt8[np.ndarray, "n s s 3"]:  # fmt: skip
    """A share of 6.4·severity/255 of each picture gives way to a coloured plasma of 6.4·severity grey levels.

    `times`: phases in radians. `rounds`: 4, 5 or 6. `scales`: pixels to a unit of the plasma's coordinates.
    """
    side, intensity = pictures.shape[1], severity * 64.0 / 10.0
    drawn = zip(times.tolist(), rounds.tolist(), sharpness.tolist(), scales.tolist(), strict=True)
    waves = np.stack([_plasma(side, *one) for one in drawn])
    return _with_waves(pictures, 1.0 - intensity / 255.0, waves, intensity)
