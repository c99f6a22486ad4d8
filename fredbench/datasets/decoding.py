"""Picture files to uint8 arrays: always RGB, in parallel; `DataError` for what cannot be decoded."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image

from fredbench.datasets.resize import Geometry
from fredbench.foundation.errors import DataError
from fredbench.foundation.progress import Progress

__all__ = ["decode_all", "in_threads", "picture_sizes", "rgb_picture"]

A = TypeVar("A")
B = TypeVar("B")

# Modes whose conversion to 8-bit RGB would clip or scale silently.
_WIDE_MODES = ("I", "F")


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


def rgb_picture(data: bytes, where: str) -> Image.Image:
    """The picture in `data`, decoded whole, as RGB (grey and palette pictures are widened, alpha is dropped).

    Raises `DataError` naming `where` for bytes that are no picture, are cut off, or hold more than 8 bits a
    channel.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data))
            if picture.mode.startswith(_WIDE_MODES):
                raise DataError(
                    f"{where} has {picture.mode} pixels, more than 8 bits a channel",
                    hint="convert it to an 8-bit picture first",
                )
            return picture.convert("RGB")
    except (
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise DataError(
            f"cannot read {where} as a picture: {error}",
            hint="replace the file by a whole copy, or remove it",
        ) from error


def picture_sizes(
    files: Sequence[str], read: Callable[[str], bytes], where: Callable[[str], str]
) -> Int64[np.ndarray, "n 2"]:
    """(height, width) of the pictures named by `files`, from their heads alone; `DataError` for what is none."""

    def size(name: str) -> tuple[int, int]:
        try:
            with Image.open(io.BytesIO(read(name))) as picture:
                return picture.height, picture.width
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(
                f"cannot read {where(name)} as a picture: {error}",
                hint="replace the file by a whole copy, or remove it",
            ) from error

    return np.array(list(in_threads(size, files)), dtype=np.int64).reshape(-1, 2)


def decode_all(
    files: Sequence[str],
    read: Callable[[str], bytes],
    where: Callable[[str], str],
    geometry: Geometry | None,
    *,
    label: str,
) -> UInt8[np.ndarray, "n h w 3"]:
    """All pictures named by `files`, whose bytes `read` gives, brought to one size.

    Without a `geometry` all must be of the first one's size: resizing is never silent (`DataError`).
    """

    def task(name: str) -> UInt8[np.ndarray, "h w 3"]:
        picture = rgb_picture(read(name), where(name))
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
