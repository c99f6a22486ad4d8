"""Picture files to uint8 arrays: always RGB, in parallel; `DataError` for what cannot be decoded."""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from fredbench.datasets.depth import NARROW, largest_value, scaled_picture
from fredbench.datasets.resize import Geometry
from fredbench.datasets.walking import formats
from fredbench.foundation.errors import DataError, FredbenchError
from fredbench.foundation.progress import Progress

__all__ = [
    "AS_STORED",
    "Reading",
    "decode_all",
    "depth_in_words",
    "in_threads",
    "opened",
    "picture_sizes",
    "rgb_picture",
]

A = TypeVar("A")
B = TypeVar("B")


def _processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(task: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """`task` over `items` in their order, in as many threads as there are processors.

    Pillow's decoders and hashing release the interpreter's lock. At most a few items a thread are in flight,
    so that reading runs ahead of decoding by little.
    """
    workers = min(16, _processors())
    with ThreadPoolExecutor(workers) as pool:
        feed = iter(items)
        waiting = [pool.submit(task, item) for item in islice(feed, 4 * workers)]
        try:
            while waiting:
                result = waiting.pop(0).result()
                waiting.extend(pool.submit(task, item) for item in islice(feed, 1))
                yield result
        finally:
            for future in waiting:
                future.cancel()


def _megapixels(pixels: int) -> str:
    return f"{pixels / 1e6:.0f} megapixels"


def _too_large(where: str, pixels: int) -> DataError:
    limit = Image.MAX_IMAGE_PIXELS or 0
    return DataError(
        f"{where} has {_megapixels(pixels)}, more than the {_megapixels(limit)} that are read",
        hint="shrink the picture or cut it into pieces, or leave it out of the folder",
    )


# What lies in a picture's place, by its first bytes, and what brings the picture.
_STAND_INS = {
    b"version https://git-lfs": ("a pointer of Git LFS, not the picture", "bring the pictures: git lfs pull"),
    b"/annex/objects/": ("a pointer of git-annex, not the picture", "bring the pictures: git annex get"),
    b"<!doctype html": ("a web page, not a picture", "download it anew: the server sent a page in its place"),
    b"<html": ("a web page, not a picture", "download it anew: the server sent a page in its place"),
}
_REPLACE = "replace the file by a whole copy, or remove it"


def _jpeg_precision(data: bytes) -> int:
    """Bits a sample of a JPEG by its frame header; 0 where there is none."""
    head = re.search(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]\x00.(.)", data, re.DOTALL)
    return head[1][0] if data.startswith(b"\xff\xd8") and head else 0


def _unreadable(data: bytes, where: str, error: BaseException) -> DataError:
    """Why Pillow could not open `data`, in words that name the file and no object of ours."""
    if not data:
        return DataError(f"{where} is empty (0 bytes), not a picture", hint=_REPLACE)
    for start, (what, hint) in _STAND_INS.items():
        if data[:64].lstrip().lower().startswith(start):
            return DataError(f"{where} is {what}", hint=hint)
    if (bits := _jpeg_precision(data)) > 8:
        return _too_deep(where, f"{bits} bits a channel")
    if isinstance(error, UnidentifiedImageError):
        return DataError(f"cannot read {where} as a picture: its bytes are of no form that Pillow knows", hint=_REPLACE)
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"cannot read {where} as a picture: {reason}", hint=_REPLACE)


def _too_deep(where: str, what: str) -> DataError:
    return DataError(
        f"{where} has {what}; 8 bits are read, and nothing is cut in silence",
        hint="convert it to 8 bits first, or have 16 bits scaled to 8: folder:PATH?depth=scale",
    )


@dataclass(frozen=True)
class Reading:
    """How pictures become 8-bit RGB, where there is a choice.

    scale: bring wider whole numbers to 8 bits by their largest value (65,535 for 16 bits), rounded; else they are
    refused. turn: turn pictures as their EXIF orientation says; else pixels stay as stored.
    """

    scale: bool = False
    turn: bool = False


AS_STORED = Reading()


@contextmanager
def opened(data: bytes, where: str) -> Iterator[Image.Image]:
    """The picture in `data`, its head read; whatever goes wrong with it inside the block becomes a `DataError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(io.BytesIO(data), formats=formats())
        # The warning that Pillow has for this is no error, and its filter is shared between threads.
        if picture.width * picture.height > (Image.MAX_IMAGE_PIXELS or np.inf):
            raise _too_large(where, picture.width * picture.height)
        yield picture
    except FredbenchError:
        raise
    except Image.DecompressionBombError as error:
        pixels = re.search(r"(\d+) pixels", str(error))
        raise _too_large(where, int(pixels[1]) if pixels else 0) from error
    # Decoders meet bytes from anywhere, and end in every kind of error (struct's, KeyError, AssertionError, ...).
    except Exception as error:
        raise _unreadable(data, where, error) from error


def rgb_picture(data: bytes, where: str, reading: Reading = AS_STORED) -> Image.Image:
    """The picture in `data`, decoded whole, as RGB: grey and palette pictures are widened, alpha is dropped.

    Of an animation or a file of many pages the first picture is read. Raises `DataError` naming `where` for bytes
    that are no picture, are cut off, hold more pixels than Pillow's limit, or more than 8 bits a channel.
    """
    with opened(data, where) as picture:
        top = largest_value(data, picture)
        if top is not None and top <= NARROW:
            rgb = picture.convert("RGB")
        else:
            rgb = _narrowed(data, picture, top, where, reading)
        if not reading.turn:
            return rgb
        rgb.getexif().update(picture.getexif())
        return ImageOps.exif_transpose(rgb)


def depth_in_words(top: int | None) -> str:
    """The depth of a channel whose largest value is `top`."""
    if top is None:
        return "floating point or more than 16 bits a channel"
    return f"{top.bit_length()} bits a channel (values to {top:,})"


def _narrowed(data: bytes, picture: Image.Image, top: int | None, where: str, reading: Reading) -> Image.Image:
    pixels = scaled_picture(data, picture, top) if reading.scale and top is not None else None
    if pixels is None:
        raise _too_deep(where, f"{picture.mode} pixels, more than 8 bits a channel: {depth_in_words(top)}")
    return Image.fromarray(pixels)


def picture_sizes(
    files: Sequence[str], read: Callable[[str], bytes], where: Callable[[str], str]
) -> Int64[np.ndarray, "n 2"]:
    """(height, width) of the pictures named by `files`, from their heads alone; `DataError` for what is none."""

    def size(name: str) -> tuple[int, int]:
        with opened(read(name), where(name)) as picture:
            return picture.height, picture.width

    return np.array(list(in_threads(size, files)), dtype=np.int64).reshape(-1, 2)


def decode_all(
    files: Sequence[str],
    read: Callable[[str], bytes],
    where: Callable[[str], str],
    geometry: Geometry | None,
    *,
    label: str,
    reading: Reading = AS_STORED,
) -> UInt8[np.ndarray, "n h w 3"]:
    """All pictures named by `files`, whose bytes `read` gives, brought to one size.

    Without a `geometry` all must be of the first one's size: resizing is never silent (`DataError`).
    """

    def task(name: str) -> UInt8[np.ndarray, "h w 3"]:
        picture = rgb_picture(read(name), where(name), reading)
        return np.asarray(picture) if geometry is None else geometry.apply(picture)

    images: np.ndarray | None = None
    with Progress(label, len(files), unit="pictures") as progress:
        for row, pixels in enumerate(in_threads(task, files)):
            if images is None:
                images = np.empty((len(files), *pixels.shape), dtype=np.uint8)
            if pixels.shape != images.shape[1:]:
                first, this = images.shape[1:3], pixels.shape[:2]
                raise DataError(
                    f"pictures differ in size: {where(files[0])} is {first[1]}x{first[0]}, "
                    f"{where(files[row])} is {this[1]}x{this[0]}",
                    hint="say how to resize them: folder:PATH?size=64, or folder:PATH?size=64&geometry=crop",
                )
            images[row] = pixels
            progress.advance()
    if images is None:
        raise DataError(f"no pictures for {label}", hint="put pictures in each class folder")
    return images
