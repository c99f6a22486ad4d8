"""Frost textures: the published photographs, read at run time, or a procedural stand-in on request.

The photographs travel with the `imagecorruptions` package (`imagecorruptions-imaug` on today's stack); they are found
without importing it and none is copied into this project, because their own licence is nowhere stated.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float64, Int64, UInt8

from fredbench.corruptions.scaling import enlarged_cubic, scaled_linear
from fredbench.corruptions.severities import Family
from fredbench.foundation.errors import DataError, UsageError
from fredbench.foundation.rng import Stream

__all__ = ["FILES", "FrostSource", "Textures", "frost_folder", "load_textures"]

# The published scripts draw from the first five of their six files.
FILES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")

FrostSource = Literal["files", "procedural"] | Path


@dataclass(frozen=True)
class Textures:
    """Several RGB textures in one array: texture t has pixels[starts[t] : starts[t] + 3·heights[t]·widths[t]]."""

    pixels: UInt8[np.ndarray, " bytes"]
    starts: Int64[np.ndarray, " t"]
    heights: Int64[np.ndarray, " t"]
    widths: Int64[np.ndarray, " t"]
    source: str
    """Where they come from, with a digest of the pixels, for manifests."""

    def __len__(self) -> int:
        return len(self.starts)


def frost_folder() -> Path:
    """The folder of the photographs in the installed package; DataError saying how to get them."""
    found = importlib.util.find_spec("imagecorruptions")
    for place in (found.submodule_search_locations or []) if found else []:
        folder = Path(place) / "frost"
        if (folder / FILES[0]).is_file():
            return folder
    raise DataError(
        "the frost photographs are not installed",
        hint="pip install imagecorruptions-imaug, name their folder with --frost DIR, "
        "or ask for --frost procedural, which is not the reference",
    )


def _photographs(folder: Path) -> list[UInt8[np.ndarray, "h w 3"]]:
    """The five textures as RGB arrays."""
    pictures = []
    for name in FILES:
        picture = cv2.imread(str(folder / name), cv2.IMREAD_COLOR) if (folder / name).is_file() else None
        if picture is None:
            raise DataError(
                f"no readable frost texture {folder / name}", hint=f"the folder must hold {', '.join(FILES)}"
            )
        pictures.append(np.ascontiguousarray(picture[..., ::-1]))
    return pictures


# Size, mean and standard deviation of R, G, B of the five photographs (corruptions.md §5).
_LOOK = (
    ((600, 900), (78, 149, 166), (27, 16, 15)),
    ((315, 560), (201, 205, 214), (22, 22, 22)),
    ((315, 560), (201, 205, 214), (22, 22, 22)),
    ((350, 527), (138, 153, 166), (29, 29, 29)),
    ((495, 660), (112, 123, 135), (43, 43, 43)),
)  # fmt: skip
_SLOPE = 1.1


def _power_law(height: int, width: int, generator: np.random.Generator) -> Float64[np.ndarray, "h w"]:
    """Noise whose power falls as frequency^-slope of the photographs, of mean 0 and variance 1."""
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf
    noise = np.fft.rfft2(generator.standard_normal((height, width))) * frequency ** (-_SLOPE)
    field = np.fft.irfft2(noise, s=(height, width))
    return np.asarray((field - field.mean()) / field.std())


def _dendrites(height: int, width: int, generator: np.random.Generator) -> Float64[np.ndarray, "h w"]:
    """Thin bright branching lines, of mean 0 and variance 1."""
    canvas = np.zeros((height, width), np.uint8)
    for _ in range(height * width // 3000):
        y, x = generator.uniform(0, height), generator.uniform(0, width)
        heading = generator.uniform(0, 2 * math.pi)
        for _ in range(int(generator.integers(3, 8))):
            length = generator.uniform(4, 16)
            end_y, end_x = y + length * math.sin(heading), x + length * math.cos(heading)
            cv2.line(canvas, (int(x), int(y)), (int(end_x), int(end_y)), 255, 1, cv2.LINE_AA)
            y, x, heading = end_y, end_x, heading + generator.normal(0, 0.6)
    field = canvas.astype(np.float64)
    return np.asarray((field - field.mean()) / field.std())


def _procedural() -> list[UInt8[np.ndarray, "h w 3"]]:
    """Five textures with size, colour, contrast and spectrum of the photographs; NOT the reference."""
    pictures = []
    for number, ((height, width), mean, spread) in enumerate(_LOOK):
        generator = Stream(0).child("procedural frost", number).numpy()
        # Shares of variance .58, .31, .11: with them error and autocorrelation of frost come within 10 %.
        shared = 0.76 * _power_law(height, width, generator) + 0.56 * _dendrites(height, width, generator)
        shared += 0.33 * generator.standard_normal((height, width))
        channels = 0.995 * shared[..., None] + 0.1 * generator.standard_normal((height, width, 3))
        channels = (channels - channels.mean((0, 1))) / channels.std((0, 1))
        pictures.append(np.clip(channels * spread + mean, 0, 255).astype(np.uint8))
    return pictures


def _fitted(texture: UInt8[np.ndarray, "h w 3"], family: Family, height: int, width: int) -> UInt8[np.ndarray, "a b 3"]:
    """The texture at the scale that the generator uses for pictures of this size (corruptions.md §2, §3.9, §4)."""
    if family == "imagenet":
        return texture
    if family == "cifar":
        return scaled_linear(texture, 0.2 * max(height, width) / 32)
    rows, columns = texture.shape[:2]
    return enlarged_cubic(texture, 1.1 * max(1.0, height / rows, width / columns))


@functools.lru_cache(maxsize=2)
def _originals(source: FrostSource) -> tuple[tuple[UInt8[np.ndarray, "h w 3"], ...], str]:
    if source == "procedural":
        pictures, label = _procedural(), "procedural"
    elif source == "files":
        pictures, label = _photographs(frost_folder()), "imagecorruptions"
    elif isinstance(source, Path):
        pictures, label = _photographs(source), "folder"
    else:
        raise UsageError(f"unknown frost source {source!r}", hint="use 'files', 'procedural' or a folder")
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(repr(picture.shape).encode() + picture.tobytes())
    return tuple(pictures), f"{label} sha256:{digest.hexdigest()[:16]}"


@functools.lru_cache(maxsize=4)
def load_textures(source: FrostSource, family: Family, height: int, width: int) -> Textures:
    """The five textures fitted for `height`×`width` pictures; DataError where the photographs are missing.

    `source` is "files" (of the installed package), "procedural" (on request only) or a folder.
    """
    originals, label = _originals(source)
    fitted = [_fitted(texture, family, height, width) for texture in originals]
    if any(texture.shape[0] <= height or texture.shape[1] <= width for texture in fitted):
        raise UsageError(
            f"pictures of {height}×{width} pixels are larger than a frost texture",
            hint="use smaller pictures or another folder of textures",
        )
    sizes = np.array([texture.shape[:2] for texture in fitted], np.int64)
    lengths = 3 * sizes[:, 0] * sizes[:, 1]
    return Textures(
        pixels=np.concatenate([texture.reshape(-1) for texture in fitted]),
        starts=np.cumsum(lengths) - lengths,
        heights=np.ascontiguousarray(sizes[:, 0]),
        widths=np.ascontiguousarray(sizes[:, 1]),
        source=label,
    )
