"""Pictures of synthetic sets as PNG bytes: strips a class, masks of kept frequencies, one sheet of a whole set.

Made of the stored bytes alone and without metadata, so the same synset gives the same PNG.
"""

from __future__ import annotations

import io
import math

import numpy as np
from jaxtyping import Bool, Int64, UInt8
from PIL import Image, ImageDraw, ImageFont

from fredbench.foundation.errors import CompatibilityError
from fredbench.parameterizations.frequency import unpack_mask
from fredbench.runs.synset import Synset

__all__ = [
    "class_pictures",
    "frequency_masks",
    "mask_png",
    "picture_sheet",
    "pictures_per_class",
    "strip_png",
]

MOST_PER_CLASS = 16
# About 1.5 MB of PNG a set: noise-like pictures hardly compress, and a page must still fit into an e-mail.
_PIXELS_A_SET = 500_000
_KEPT = (0, 114, 178, 255)
_SHEET_WIDTH = 1400
_GAP = 2


def pictures_per_class(synset: Synset, *, pixels: int = _PIXELS_A_SET) -> int:
    """How many pictures a class to show: at most 16, and at most `pixels` pixels over all classes (at least 1)."""
    _, height, width = synset.header["dataset"]["shape"]
    fitting: int = pixels // (len(synset.classes) * height * width)
    return max(1, min(MOST_PER_CLASS, fitting))


def hard_labels(synset: Synset) -> Int64[np.ndarray, " n"]:
    """The class of each picture; for soft labels the likeliest."""
    labels = synset.labels
    return (labels.argmax(dim=1) if labels.ndim == 2 else labels).numpy().astype(np.int64)


def class_pictures(synset: Synset, side: int | None = None) -> list[UInt8[np.ndarray, "n h w c"]]:
    """The decoded pictures of each class, in label order, rounded to 8 bits; a class may have none.

    side: pixels of the longer side where it is another than the set's own (see `Synset.resized`).
    """
    pixels, labels = synset.pixels(side).numpy().transpose(0, 2, 3, 1), hard_labels(synset)
    return [np.ascontiguousarray(pixels[labels == label]) for label in range(len(synset.classes))]


def frequency_masks(synset: Synset) -> Bool[np.ndarray, "classes h w"] | None:
    """Which frequencies each class keeps, zero frequency top left; None for a set without masks."""
    names = [name for name, role in synset.header["tensors"].items() if role == "mask-bits"]
    if not names:
        return None
    _, height, width = synset.header["dataset"]["shape"]
    return unpack_mask(synset.tensors[names[0]], height * width).numpy().reshape(-1, height, width)


def strip_png(pictures: UInt8[np.ndarray, "n h w c"]) -> bytes:
    """`pictures` side by side, two clear pixels between them."""
    return _png(_side_by_side(pictures))


def mask_png(mask: Bool[np.ndarray, "h w"]) -> bytes:
    """Kept positions in blue, the others clear."""
    return _png(np.where(mask[..., None], np.array(_KEPT), 0).astype(np.uint8))


def picture_sheet(
    synset: Synset, *, per_class: int = MOST_PER_CLASS, scale: int | None = None, side: int | None = None
) -> bytes:
    """One PNG of the set: a line a class with its name, at most `per_class` pictures, its mask at the end.

    side: decoded so that the longer side has so many pixels, where that is not the set's own.
    scale: screen pixels a pixel; by default the largest whole number that keeps the sheet near 1,400 px.
    """
    groups, masks = class_pictures(synset, side), frequency_masks(synset)
    height, width = groups[0].shape[1:3]
    shown = min(per_class, max(len(group) for group in groups))
    columns = shown + (masks is not None)
    scale = scale or max(1, min(4, (_SHEET_WIDTH - 160) // (columns * (width + _GAP))))
    font = ImageFont.load_default(size=14)
    margin = 16 + max(int(font.getlength(name)) for name in synset.classes)
    step_x, step_y = (width + _GAP) * scale, max((height + _GAP) * scale, 18)
    caption = _caption(synset, shown, masks is not None)
    across = max(margin + columns * step_x, 8 + math.ceil(font.getlength(caption)))
    sheet = Image.new("RGB", (across + 8, 34 + len(groups) * step_y + 8), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((8, 9), caption, fill="black", font=font)
    for row, (name, group) in enumerate(zip(synset.classes, groups, strict=True)):
        top = 34 + row * step_y
        draw.text((8, top + step_y / 2), name, fill="black", font=font, anchor="lm")
        for column, picture in enumerate(group[:shown]):
            sheet.paste(_scaled(picture, scale), (margin + column * step_x, top))
        if masks is not None:
            drawn = np.where(masks[row][..., None], np.array(_KEPT[:3]), 232).astype(np.uint8)
            sheet.paste(_scaled(drawn, scale), (margin + shown * step_x, top))
    return _encode(sheet)


def _caption(synset: Synset, shown: int, masked: bool) -> str:
    largest = int(np.bincount(hard_labels(synset)).max())
    many = f"{shown} of {largest} pictures a class" if shown < largest else f"{largest} pictures a class"
    mask = ", last: the frequencies kept" if masked else ""
    undone = ", ZCA whitening undone" if synset.whitened else ""
    return f"{synset.header['method']} on {synset.header['dataset']['name']}: {many}{mask}{undone}"


def _side_by_side(pictures: UInt8[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "h wide 4"]:
    count, height, width, channels = pictures.shape
    if channels not in (1, 3):
        raise CompatibilityError(
            f"pictures of {channels} channels cannot be drawn", hint="grey and RGB sets can; export the others as npz"
        )
    strip = np.zeros((height, max(count * (width + _GAP) - _GAP, 1), 4), dtype=np.uint8)
    for number, picture in enumerate(pictures):
        left = number * (width + _GAP)
        strip[:, left : left + width, :3] = picture
        strip[:, left : left + width, 3] = 255
    return strip


def _scaled(picture: UInt8[np.ndarray, "h w c"], scale: int) -> Image.Image:
    rgb = _side_by_side(picture[None])[..., :3]
    return Image.fromarray(np.ascontiguousarray(rgb.repeat(scale, axis=0).repeat(scale, axis=1)))


def _png(pixels: UInt8[np.ndarray, "h w 4"]) -> bytes:
    return _encode(Image.fromarray(pixels))


def _encode(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return file.getvalue()
