"""The batch engine: makes each picture's draws from its own key and hands them to the corruption's arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped, UInt8

from fredbench.corruptions import blur, cbar, digital, draws, noise, weather
from fredbench.corruptions.batches import Batch
from fredbench.corruptions.indices import evenly_spaced
from fredbench.corruptions.libraries import check_opencv
from fredbench.corruptions.severities import check_shape, family_of, parameters
from fredbench.corruptions.spatter import spatter
from fredbench.corruptions.textures import FrostSource, Textures, load_textures
from fredbench.foundation.arrays import as_pictures
from fredbench.foundation.errors import UsageError

__all__ = [
    "ARCHIVE_QUALITY", "SMALLEST", "as_grey", "checked_pictures", "coloured", "corrupt", "corrupt_into",
    "evenly_spaced", "numbered",
]  # fmt: skip

ARCHIVE_QUALITY = 85
"""JPEG quality at which the ImageNet-C archive stores every picture (corruptions.md §1)."""

SMALLEST = {"cifar": 8, "imagenet": 32}
"""Pixels that each side needs at least, by profile; below 32 CIFAR-10-C's constants are applied by our own choice."""

_NOISES = frozenset({"gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "brownish_noise"})
_LUMA = np.array([19595, 38470, 7471], np.uint32)  # .299, .587, .114 of 2^16; their sum is 2^16
# Pictures are worked on a few at a time, so that draws and intermediates stay in the processor's cache.
_BATCH_PIXELS = 32 * 32 * 32
# Zooming runs its innermost loops over the pictures: many at once pay, as long as they stay near the processor.
_ZOOM_LANES, _ZOOM_PIXELS = 48, 16 * 224 * 224


def _gaussian_noise(b: Batch) -> UInt8[np.ndarray, "n h w 3"]:
    return noise.gaussian_noise(b.pictures, b.row[0], draws.normals(b.keys, *b.size, 3))


def _speckle_noise(b: Batch) -> UInt8[np.ndarray, "n h w 3"]:
    return noise.speckle_noise(b.pictures, b.row[0], draws.normals(b.keys, *b.size, 3))


def _shot_noise(b: Batch) -> UInt8[np.ndarray, "n h w 3"]:
    return noise.shot_noise(draws.poisson_counts(b.keys, b.pictures, b.row[0]), b.row[0])


def _impulse_noise(b: Batch) -> UInt8[np.ndarray, "n h w 3"]:
    return noise.impulse_noise(b.pictures, *draws.impulses(b.keys, b.row[0], *b.size, 3))


def _glass_blur(b: Batch) -> UInt8[np.ndarray, "n h w 3"]:
    reach, passes = int(b.row[1]), int(b.row[2])
    visits = passes * blur.glass_visits(*b.size, reach)
    return blur.glass_blur(b.pictures, b.row[0], reach, draws.offsets(b.keys, reach, visits))


def _motion_blur(b: Batch) -> UInt8[np.ndarray, "n h w 3"]:
    return blur.motion_blur(b.pictures, b.row[0], b.row[1], draws.angles(b.keys, -45.0, 45.0), b.family)


def _snow(b: Batch) -> UInt8[np.ndarray, "n h w 3"]:
    angles = draws.angles(draws.substream(b.keys, 1), -135.0, -45.0)
    return weather.snow(b.pictures, b.row, draws.normals(b.keys, *b.size), angles, b.family)


def _crops(
    b: Batch, textures: Textures
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    which = draws.choices(b.keys, np.full(len(b.keys), len(textures)))
    rows = draws.choices(draws.substream(b.keys, 1), textures.heights[which] - b.size[0])
    columns = draws.choices(draws.substream(b.keys, 2), textures.widths[which] - b.size[1])
    return which, rows, columns


def _frost(b: Batch) -> UInt8[np.ndarray, "n h w 3"]:
    textures = load_textures(b.frost, b.family, *b.size)
    return weather.frost(b.pictures, b.row[0], b.row[1], textures, *_crops(b, textures))


def _fog(b: Batch) -> UInt8[np.ndarray, "n h w 3"]:
    count = weather.fog_draws(weather.fog_side(b.family, *b.size))
    return weather.fog(b.pictures, b.row[0], b.row[1], draws.uniforms(b.keys, count), b.family)


def _elastic_transform(b: Batch) -> UInt8[np.ndarray, "n h w 3"]:
    moves = draws.uniforms(draws.substream(b.keys, 1), 3, 2)
    return digital.elastic_transform(b.pictures, b.row, moves, draws.uniforms(b.keys, 2, *b.size), b.family)


_MAKERS: dict[str, Callable[[Batch], Any]] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "defocus_blur": lambda b: blur.defocus_blur(b.pictures, b.row[0], b.row[1]),
    "glass_blur": _glass_blur,
    "motion_blur": _motion_blur,
    "zoom_blur": lambda b: blur.zoom_blur(b.pictures, b.row[0], b.row[1], b.family),
    "snow": _snow,
    "frost": _frost,
    "fog": _fog,
    "brightness": lambda b: weather.brightness(b.pictures, b.row[0]),
    "contrast": lambda b: digital.contrast(b.pictures, b.row[0]),
    "elastic_transform": _elastic_transform,
    "pixelate": lambda b: digital.pixelate(b.pictures, b.row[0], b.family),
    "jpeg_compression": lambda b: digital.jpeg_compression(b.pictures, int(b.row[0])),
    "speckle_noise": _speckle_noise,
    "gaussian_blur": lambda b: blur.gaussian_blur(b.pictures, b.row[0]),
    "spatter": lambda b: spatter(b.pictures, b.row, draws.normals(b.keys, *b.size)),
    "saturate": lambda b: digital.saturate(b.pictures, b.row[0], b.row[1]),
    **cbar.MAKERS,
}


def checked_pictures(images: Any, profile: str) -> UInt8[np.ndarray, "n h w c"]:
    """`images` as a batch of bytes with one or three channels; UsageError for another form or a side too small.

    CompatibilityError where OpenCV is too old to corrupt them.
    """
    check_opencv()
    pictures = as_pictures(images, grey=True, channels_first=False, exact=True)
    smallest = SMALLEST.get(profile, 1)
    if len(pictures) and min(pictures.shape[1:3]) < smallest:
        raise UsageError(
            f"pictures of {pictures.shape[1]}×{pictures.shape[2]} pixels are too small for the profile {profile}",
            hint=f"each side needs at least {smallest} pixels"
            + (", or use the profile cifar" if profile != "cifar" else ""),
        )
    return pictures


def coloured(pictures: UInt8[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "n h w 3"]:
    """Pictures of three channels: grey ones are three equal ones."""
    return pictures if pictures.shape[-1] == 3 else np.repeat(pictures, 3, axis=-1)


def as_grey(pictures: UInt8[np.ndarray, "n h w 3"], name: str) -> UInt8[np.ndarray, "n h w 1"]:
    """What corruption `name` made of three equal channels, as one.

    Noise is drawn for each channel, so the first is taken: a mean of three would be another, weaker noise. The others
    leave equal channels equal or tint them (frost, mud, saturate); these become their luma, ITU-R BT.601 in whole
    numbers, which is the value itself where the channels are equal.
    """
    if name in _NOISES:
        return pictures[..., :1]
    luma = (pictures.astype(np.uint32) @ _LUMA + np.uint32(1 << 15)) >> np.uint32(16)
    return luma.astype(np.uint8)[..., None]


def numbered(indices: Sequence[int] | Shaped[np.ndarray, ...] | None, count: int) -> Int64[np.ndarray, " n"]:
    """The numbers of `count` pictures in their set, 0, 1, 2, … where none are given; UsageError for what is none."""
    if indices is None:
        return np.arange(count)
    numbers = np.asarray(indices)
    if numbers.shape != (count,) or (count and (numbers.dtype.kind not in "iu" or numbers.min() < 0)):
        raise UsageError(
            f"indices must be {count} non-negative integers, one a picture, not {numbers.dtype} of shape "
            f"{numbers.shape}",
            hint="leave indices out to number the pictures 0, 1, 2, …",
        )
    return numbers.astype(np.int64)


def _batches(count: int, name: str, pixels: int) -> Iterator[slice]:
    size = max(1, _BATCH_PIXELS // pixels)
    if name == "zoom_blur":
        size = max(1, min(_ZOOM_LANES, _ZOOM_PIXELS // pixels))
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def corrupt_into(
    out: UInt8[np.ndarray, "n h w c"], pictures: UInt8[np.ndarray, "n h w c"], name: str, severity: int, *,
    profile: str, seed: int, numbers: Int64[np.ndarray, " n"], frost: FrostSource = "files",
    archive_jpeg: bool = False,
) -> None:  # fmt: skip
    """`corrupt` for arguments already checked, writing into `out`."""
    height, width = pictures.shape[1:3]
    family = family_of(profile, height, width)
    row = parameters(family, name, severity)
    keys = draws.picture_keys(seed, name, severity, numbers)
    for part in _batches(len(pictures), name, height * width):
        made = _MAKERS[name](Batch(coloured(pictures[part]), keys[part], row, family, frost))
        made = digital.jpeg_compression(made, ARCHIVE_QUALITY) if archive_jpeg else made
        out[part] = made if out.shape[-1] == 3 else as_grey(made, name)


def corrupt(
    images: Any, name: str, severity: int, *, profile: str = "cifar", seed: int = 0,
    indices: Sequence[int] | Shaped[np.ndarray, ...] | None = None, frost: FrostSource = "files",
    archive_jpeg: bool = False,
) -> UInt8[np.ndarray, "n h w *c"]:  # fmt: skip
    """Corrupted copies of uint8 pictures (n, h, w, 3), or grey ones (n, h, w, 1) or (n, h, w), in the same shape.

    An array, a tensor of any device, or a list of pictures; channels first are refused, since what comes back has them
    last. Grey pictures are corrupted as three equal channels and become one again (`as_grey`). Each side needs 32
    pixels, under the profile cifar 8.

    `name` is one of NAMES, EXTRAS or CBAR_ALL (those for square pictures only), `severity` 1 to 5, `profile` "cifar"
    (CIFAR-10-C's constants, and its C-bar's) or "imagenet" (ImageNet-C's; at other sizes than 224×224 as the
    imagecorruptions package applies them). `indices` are the pictures' numbers in their set (0, 1, 2, … if left out):
    a picture's outcome depends on seed, corruption, severity, its number and its pixels only, never on its batch.
    `frost` is "files" (the installed photographs), "procedural" or a folder. `archive_jpeg` adds the JPEG quality 85
    at which ImageNet-C is stored.

    Raises UnknownNameError, UsageError; DataError where frost textures are missing.
    """
    family_of(profile, 32, 32)
    pictures = checked_pictures(images, profile)
    parameters(family_of(profile, *pictures.shape[1:3]), name, severity)
    check_shape([name], *pictures.shape[1:3])
    out = np.empty(pictures.shape, np.uint8)
    corrupt_into(
        out, pictures, name, severity, profile=profile, seed=seed, numbers=numbered(indices, len(pictures)),
        frost=frost, archive_jpeg=archive_jpeg,
    )  # fmt: skip
    return out[..., 0] if getattr(images, "ndim", 4) == 3 else out
