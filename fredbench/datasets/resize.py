"""Geometry: how pictures of any size become pictures of one size, with the choice written down.

Published code differs here, and silently (`imagenet_subsets`): MTT and FreD force both sides to 128,
squashing the picture, and their pinned torchvision resized tensors without anti-aliasing, which newer
releases do by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image

from fredbench.foundation.errors import UsageError

__all__ = ["Geometry", "bilinear", "geometry_from"]

_YES = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def _axis_weights(length: int, target: int) -> tuple[Any, Any, Float64[np.ndarray, " t"]]:
    """Lower neighbour, upper neighbour and the latter's weight at each target position."""
    position = (np.arange(target, dtype=np.float64) + 0.5) * (length / target) - 0.5
    position = np.clip(position, 0, length - 1)
    lower = np.floor(position).astype(np.int64)
    return lower, np.minimum(lower + 1, length - 1), position - lower


def bilinear(
    images: UInt8[np.ndarray, "n h w c"], size: tuple[int, int]
) -> UInt8[np.ndarray, "n {size[0]} {size[1]} c"]:
    """Bilinear interpolation to `size` (height, width) without anti-aliasing, in float64.

    Pixel centres lie at half-integers (as `align_corners=False` in torch), borders repeat, results are
    rounded to the nearest grey level, halves up. Own arithmetic, so that no library's next release changes a
    fingerprint.
    """
    top, bottom, down = _axis_weights(images.shape[1], size[0])
    left, right, across = _axis_weights(images.shape[2], size[1])
    pixels = images.astype(np.float64)
    down, across = down[:, None, None], across[:, None]
    rows = pixels[:, top] * (1 - down) + pixels[:, bottom] * down
    values = rows[:, :, left] * (1 - across) + rows[:, :, right] * across
    rounded: UInt8[np.ndarray, "n h w c"] = np.floor(values + 0.5).astype(np.uint8)
    return rounded


@dataclass(frozen=True)
class Geometry:
    """The way to pictures of `size` x `size` pixels.

    `squash` forces both sides (MTT, FreD); `crop` brings the shorter side to `size` and takes the centre
    square (GLaD). `antialias` chooses Pillow's bilinear filter, whose support grows with the reduction;
    without it, plain bilinear interpolation, as torchvision before 0.17 did on tensors. `shorter`, for `crop`, is
    another length of the shorter side to cut the square from (ImageNet-C: 256, then 224 in the middle).

    Raises `UsageError` for a `shorter` that the square does not fit into.
    """

    size: int
    mode: Literal["squash", "crop"] = "squash"
    antialias: bool = True
    shorter: int | None = None

    def __post_init__(self) -> None:
        if self.shorter is not None and (self.mode != "crop" or self.shorter < self.size):
            raise UsageError(
                f"a {self.mode} of {self.size} pixels cannot be taken from a shorter side of {self.shorter}",
                hint="give geometry=crop and a shorter side of at least the size",
            )

    def describe(self) -> str:
        """One line for notes and cards."""
        side = f"shorter side{f' to {self.shorter}' if self.shorter else ''}"
        how = "both sides forced (squashed)" if self.mode == "squash" else f"{side}, then centre crop"
        filtering = "anti-aliased" if self.antialias else "not anti-aliased"
        return f"resized to {self.size}x{self.size}: {how}, bilinear, {filtering}"

    def apply(self, picture: Image.Image) -> UInt8[np.ndarray, "size size c"]:
        """An RGB picture of any size as uint8 (size, size, 3)."""
        width, height = picture.size
        if self.mode == "squash":
            return self._resized(picture, self.size, self.size)
        shorter, target = min(width, height), self.shorter or self.size
        # torchvision's rule: the longer side is cut down to a whole number, the crop's corner is rounded.
        wide = int(target * width / shorter)
        high = int(target * height / shorter)
        whole = self._resized(picture, high, wide)
        top, left = round((high - self.size) / 2), round((wide - self.size) / 2)
        return whole[top : top + self.size, left : left + self.size]

    def apply_array(self, images: UInt8[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "n s s c"]:
        """The same for pictures that are arrays already, of one (grey) or three channels."""
        if images.shape[-1] == 1:
            return self.apply_array(np.repeat(images, 3, axis=3))[..., :1]
        return np.stack([self.apply(Image.fromarray(picture)) for picture in images])

    def _resized(self, picture: Image.Image, height: int, width: int) -> UInt8[np.ndarray, "h w c"]:
        if picture.size == (width, height):
            return np.asarray(picture)
        if self.antialias:
            # Rows first, then columns, as one call did up to Pillow 12; 13 takes tall pictures' columns first, and
            # each pass rounds to whole levels. An axis that keeps its length is left alone.
            across = picture.resize((width, picture.height), Image.Resampling.BILINEAR)
            return np.asarray(across.resize((width, height), Image.Resampling.BILINEAR))
        plain: UInt8[np.ndarray, "h w c"] = bilinear(np.asarray(picture)[None], (height, width))[0]
        return plain


def geometry_from(options: Mapping[str, str], default: Geometry | None, *, where: str) -> Geometry | None:
    """`default` changed by a name's options `size=64`, `geometry=squash|crop` and `antialias=yes|no`.

    Raises `UsageError` for an unknown option or value, or where there is neither a size nor a default.
    """
    changes: dict[str, Any] = {}
    for key, value in options.items():
        if key == "size" and value.isdigit() and 1 <= int(value) <= 4096:
            changes["size"] = int(value)
        elif key == "geometry" and value in {"squash", "crop"}:
            changes["mode"] = value
        elif key == "antialias" and value.lower() in _YES:
            changes["antialias"] = _YES[value.lower()]
        else:
            raise UsageError(
                f"{where} does not understand {key}={value}",
                hint="options: size=N (pixels), geometry=squash|crop, antialias=yes|no (docs/datasets.md has more)",
            )
    if not changes:
        return default
    if default is None:
        if "size" not in changes:
            raise UsageError(
                f"{where} needs a size for its geometry", hint="add size=N, such as ?size=64&geometry=crop"
            )
        return Geometry(**changes)
    return replace(default, **changes)
