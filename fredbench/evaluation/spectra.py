"""How the energy of pictures is spread over frequencies: radial power spectra, and shares of a few bands.

Power is |X|² / (H W)² of the 2-D discrete Fourier transform X of a channel whose values are of 0..1, so that its sum
over all frequencies is the mean square of the values (Parseval). A frequency's radius is in cycles a picture: of
pictures that are not square, a picture's shorter side. Nothing is windowed: pictures that do not repeat have energy on
the axes from the jump between opposite sides, real and distilled ones alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, UInt8

from fredbench.corruptions import evenly_spaced

__all__ = [
    "BANDS",
    "Spectrum",
    "band_shares",
    "flat_shares",
    "mean_power",
    "radial_mean",
    "radii",
    "spectrum_of_pixels",
]

BANDS = ("low", "middle", "high", "corners")
"""Thirds of the radius up to Nyquist, the zero frequency left out; `corners` are the diagonal ones beyond it."""

# Some seconds of one core at 128 pixels; the mean power of a ring is then known to about 1 %.
_MOST_PICTURES = 2000
_AT_ONCE = 64


@dataclass(frozen=True)
class Spectrum:
    """Mean power at each frequency (H, W), zero frequency first, of so many pictures."""

    power: Float64[np.ndarray, "h w"]
    pictures: int

    @staticmethod
    def of(pictures: Float[np.ndarray, "n c h w"]) -> Spectrum:
        """That of pictures with values of 0..1; values beyond are taken as they are."""
        return Spectrum(mean_power(_parts(pictures)), len(pictures))


def spectrum_of_pixels(images: UInt8[np.ndarray, "n h w c"], *, most: int = _MOST_PICTURES) -> Spectrum:
    """The spectrum of pictures of 0..255: of all, or of `most` that are evenly spaced."""
    chosen = evenly_spaced(len(images), min(most, len(images)))
    places = (chosen[start : start + _AT_ONCE] for start in range(0, len(chosen), _AT_ONCE))
    return Spectrum(mean_power(images[some].transpose(0, 3, 1, 2) / 255.0 for some in places), len(chosen))


def mean_power(parts: Iterable[Float[np.ndarray, "_ c h w"]]) -> Float64[np.ndarray, "h w"]:
    """Mean over pictures and channels of |X|² / (H W)²; `parts` are batches of at least one picture in all."""
    total, count = np.zeros((1, 1)), 0
    for part in parts:
        found = np.abs(np.fft.fft2(part.astype(np.float64))) ** 2 / (part.shape[2] * part.shape[3]) ** 2
        total, count = total + found.sum(axis=(0, 1)), count + part.shape[0] * part.shape[1]
    if not count:
        raise ValueError("a spectrum needs at least one picture")
    mean: np.ndarray = total / count
    return mean


def radii(height: int, width: int) -> Float64[np.ndarray, "h w"]:
    """Radius of each frequency in cycles a picture (its shorter side), zero frequency first."""
    down, across = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :]
    radius: np.ndarray = np.hypot(down, across) * min(height, width)
    return radius


def radial_mean(power: Float64[np.ndarray, "h w"]) -> Float64[np.ndarray, " rings"]:
    """Mean power a frequency in rings around 1, 2, … cycles a picture up to Nyquist, half a cycle to either side."""
    ring = np.floor(radii(*power.shape) + 0.5).astype(np.int64).ravel()
    last = min(power.shape) // 2
    counts = np.bincount(ring, minlength=last + 1)
    means: np.ndarray = np.bincount(ring, power.ravel(), last + 1) / np.maximum(counts, 1)
    return means[1 : last + 1]


def band_shares(power: Float64[np.ndarray, "h w"]) -> tuple[float, ...] | None:
    """Shares in percent of the energy of all frequencies but zero, by `BANDS`; None where there is no such energy."""
    band = _bands(*power.shape)
    energies = [float(power[band == number].sum()) for number in range(len(BANDS))]
    total = sum(energies)
    # What transforms of a flat picture leave is rounding, of the size of the largest power times the precision.
    if total <= 1e-20 * max(float(power[0, 0]), np.finfo(np.float64).tiny):
        return None
    return tuple(100 * energy / total for energy in energies)


def flat_shares(height: int, width: int) -> tuple[float, ...]:
    """Those of white noise, in percent: what share of the frequencies each band holds."""
    band = _bands(height, width)
    return tuple(100 * float((band == number).sum()) / (height * width - 1) for number in range(len(BANDS)))


def _bands(height: int, width: int) -> Float64[np.ndarray, "h w"]:
    """The number of the band of each frequency; -1 for zero."""
    share = radii(height, width) / (min(height, width) / 2)
    # Radii on an edge belong to the lower band, whatever the last bit of a root says.
    band = np.ceil(np.round(3 * share, 9)) - 1
    bands: np.ndarray = np.minimum(band, len(BANDS) - 1)
    return bands


def _parts(pictures: Float[np.ndarray, "n c h w"]) -> Iterator[Float[np.ndarray, "_ c h w"]]:
    yield from (pictures[start : start + _AT_ONCE] for start in range(0, len(pictures), _AT_ONCE))
