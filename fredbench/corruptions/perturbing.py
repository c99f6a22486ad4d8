"""Sequences of pictures that change a little from one to the next: CIFAR-10-P's ten perturbations.

The noise, blur, snow and brightness are those of the corruptions, with constants of their own.
Source: `ImageNet-P/create_p/make_cifar_p.py` of hendrycks/robustness (Hendrycks & Dietterich, ICLR 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from jaxtyping import Float32, Int64, Shaped, UInt8, UInt64

from fredbench.corruptions import blur, draws, noise, weather
from fredbench.corruptions.engine import as_grey, checked_pictures, coloured, numbered
from fredbench.corruptions.geometry import rotated_and_scaled, tilted
from fredbench.corruptions.sequences import SEQUENCES, sequence_named

__all__ = ["frames_of", "perturb"]

_PROFILE: Final = "cifar"
# A few at a time, so that a batch's frames stay near the processor.
_BATCH_PIXELS: Final = 64 * 32 * 32

_SIGMA, _PHOTONS = 0.02, 700.0
_BLUR_RADIUS, _BLUR_SIGMA = 6.0, 1.8
# Mean and deviation of the layer, its zoom, cut, blur radius and sigma, share of the picture.
_SNOW = (0.05, 0.3, 2.0, 0.5, 10.0, 2.0, 0.85)

_Pictures = UInt8[np.ndarray, "n h w 3"]
_Keys = UInt64[np.ndarray, " n"]


def _noisy(pictures: _Pictures, keys: _Keys, frame: int) -> _Pictures:
    normals = draws.normals(draws.substream(keys, frame), *pictures.shape[1:])
    return noise.gaussian_noise(pictures, _SIGMA, normals)


def _shot(pictures: _Pictures, keys: _Keys, frame: int) -> _Pictures:
    return noise.shot_noise(draws.poisson_counts(draws.substream(keys, frame), pictures, _PHOTONS), _PHOTONS)


def _from_clean(change: Callable[[_Pictures, _Keys, int], _Pictures]) -> Callable[..., _Pictures]:
    """Frame 0 is the picture itself."""
    return lambda pictures, keys, frame: change(pictures, keys, frame) if frame else pictures


def _motion(pictures: _Pictures, keys: _Keys, frame: int) -> _Pictures:
    angles = np.full(len(pictures), 9.0 * (frame - 20))
    return blur.motion_blur(pictures, _BLUR_RADIUS, _BLUR_SIGMA, angles, _PROFILE)


def _snow(pictures: _Pictures, keys: _Keys, frame: int) -> _Pictures:
    # The same draws for every frame, so the same flakes, blown from another side.
    normals, angles = draws.normals(keys, *pictures.shape[1:3]), np.full(len(pictures), 4.0 * frame - 150.0)
    return weather.snow(pictures, _SNOW, normals, angles, _PROFILE)


def _translate(pictures: _Pictures, keys: _Keys, frame: int) -> _Pictures:
    shift, width = frame - 7, pictures.shape[2]
    out = np.zeros_like(pictures)
    out[:, :, max(shift, 0) : width + min(shift, 0)] = pictures[:, :, max(-shift, 0) : width - max(shift, 0)]
    return out


_FRAMES: Final[dict[str, Callable[[_Pictures, _Keys, int], _Pictures]]] = {
    "gaussian_noise": _from_clean(_noisy),
    "shot_noise": _from_clean(_shot),
    "motion_blur": _motion,
    "snow": _snow,
    "brightness": lambda pictures, keys, frame: weather.brightness(pictures, (frame - 15) * 1.5 / 100),
    "translate": _translate,
    "rotate": lambda pictures, keys, frame: rotated_and_scaled(pictures, degrees=frame - 15.0),
    "tilt": lambda pictures, keys, frame: tilted(pictures, 0.75 * (frame - 15)),
    "scale": lambda pictures, keys, frame: rotated_and_scaled(pictures, scale=(2 * frame + 70) / 100),
}


def _zooms(pictures: _Pictures, frames: int) -> Iterator[_Pictures]:
    """The mean of the picture and its zooms so far, in float32 on 0 to 1, truncated."""
    unit = np.arange(256, dtype=np.float32) / np.float32(255)
    total: Float32[np.ndarray, "n h w 3"] = unit[pictures]
    yield pictures
    for frame in range(1, frames):
        total = total + unit[rotated_and_scaled(pictures, scale=1 + 0.004 * frame)]
        yield (total / np.float32(frame + 1) * np.float32(255)).astype(np.uint8)


def _made(name: str, pictures: _Pictures, keys: _Keys) -> Iterator[_Pictures]:
    frames = SEQUENCES[name].frames
    if name == "zoom_blur":
        yield from _zooms(pictures, frames)
        return
    yield from (_FRAMES[name](pictures, keys, frame) for frame in range(frames))


def frames_of(
    images: Any, name: str, *, seed: int = 0, indices: Sequence[int] | Shaped[np.ndarray, ...] | None = None
) -> Iterator[UInt8[np.ndarray, "n h w c"]]:
    """The frames of `perturb` one after the other, each of all pictures, for who needs no two at once."""
    kind = sequence_named(name)
    pictures = checked_pictures(images, _PROFILE)
    numbers: Int64[np.ndarray, " n"] = numbered(indices, len(pictures))
    # As of a corruption that has this one's name and no severity: another stream than all corruptions'.
    keys = draws.picture_keys(seed, f"{name} sequence", 0, numbers)
    for made in _made(kind.name, coloured(pictures), keys):
        yield made if pictures.shape[-1] == 3 else as_grey(made, name)


def perturb(
    images: Any, name: str, *, seed: int = 0, indices: Sequence[int] | Shaped[np.ndarray, ...] | None = None
) -> UInt8[np.ndarray, "n t h w *c"]:
    """Sequences of uint8 pictures (n, h, w, 3), grey ones (n, h, w, 1) or (n, h, w): the t frames of each.

    `name` is one of SEQUENCES, which has t; arguments are otherwise as those of `corrupt` under the profile cifar, and
    a picture's frames depend on seed, perturbation, its number and its pixels only. The constants were made for 32
    pixels; shifts are in pixels at every size, angles and zooms follow it.

    Raises UnknownNameError, UsageError.
    """
    kind = sequence_named(name)
    pictures = checked_pictures(images, _PROFILE)
    count, height, width, channels = pictures.shape
    numbers = numbered(indices, count)
    out = np.empty((count, kind.frames, height, width, channels), np.uint8)
    size = max(1, _BATCH_PIXELS // (height * width))
    for start in range(0, count, size):
        part = slice(start, start + size)
        for frame, made in enumerate(frames_of(pictures[part], name, seed=seed, indices=numbers[part])):
            out[part, frame] = made
    return out[..., 0] if getattr(images, "ndim", 4) == 3 else out
