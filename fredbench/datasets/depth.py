"""How large a picture file's values can be, read from its own head: Pillow cuts wide colour to 8 bits without a word.

Pillow opens PNG, TIFF, PPM, SGI, JPEG 2000 and AVIF pictures of 10 to 16 bits as its 8-bit mode RGB, so that the mode
tells nothing; each container says the depth somewhere (places: PNG specification, IHDR; TIFF 6.0, BitsPerSample;
Netpbm's maxval; ISO 15444-1, SIZ; AV1-ISOBMFF, av1C; ISO 14496-15, hvcC; the SGI format's BPC byte).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

__all__ = ["NARROW", "largest_value", "scaled_picture"]

NARROW = 255
"""The largest value of a channel of 8 bits."""
_PNG, _SIZ, _PLANES = b"\x89PNG\r\n\x1a\n", b"\xff\x4f\xff\x51", 40
# What OpenCV decodes to the values that are stored, so that they can be scaled by the largest.
_SCALABLE = {"PNG", "TIFF", "PPM", "JPEG2000"}
_CONTAINERS = {b"meta": 12, b"iprp": 8, b"ipco": 8}


def _png(data: bytes) -> Iterator[int]:
    for match in re.finditer(re.escape(_PNG), data):
        yield from (2**bits - 1 for bits in data[match.start() + 24 : match.start() + 25])


def _pnm(data: bytes) -> Iterator[int]:
    """Netpbm's maxval: the third number of the head, which may hold comments; bitmaps have none."""
    head = re.match(rb"P[2356]" + rb"(?:\s|#[^\n\r]*[\n\r])+(\d+)" * 3, data)
    if head is not None:
        yield int(head[3])


def _jpeg2000(data: bytes) -> Iterator[int]:
    start = data.find(_SIZ)
    if start >= 0 and len(data) > start + _PLANES + 2:
        (count,) = struct.unpack_from(">H", data, start + _PLANES)
        yield from (2 ** ((bits & 127) + 1) - 1 for bits in data[start + _PLANES + 2 :: 3][:count])


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of the item properties in an ISO base media file."""
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        whole = data[at : at + length] if length >= 8 else data[at:]
        if kind in _CONTAINERS:
            yield from _boxes(whole[_CONTAINERS[kind] :])
        yield kind, whole[8:]
        at += len(whole)


def _heif(data: bytes) -> Iterator[int]:
    for kind, content in _boxes(data):
        if kind == b"av1C" and len(content) > 2:
            high, twelve = content[2] & 64, content[2] & 32
            yield 2 ** ((12 if twelve else 10) if high else 8) - 1
        elif kind == b"hvcC" and len(content) > 18:
            yield 2 ** (8 + max(content[17] & 7, content[18] & 7)) - 1


def _sgi(data: bytes) -> Iterator[int]:
    yield 2 ** (8 * data[3]) - 1


_READERS: dict[str, Callable[[bytes], Iterator[int]]] = {
    "PNG": _png,
    "ICO": _png,
    "CUR": _png,
    "PPM": _pnm,
    "JPEG2000": _jpeg2000,
    "AVIF": _heif,
    "HEIF": _heif,
    "SGI": _sgi,
    "ICNS": lambda data: (top for part in (_png, _jpeg2000) for top in part(data)),
}


def _tiff(picture: Any) -> Iterator[int]:
    """The largest value by TIFF's tags; nothing for floating point."""
    if not set(picture.tag_v2.get(339, (1,))) & {3, 6}:
        yield from (2 ** int(bits) - 1 for bits in picture.tag_v2.get(258, (1,)))


def largest_value(data: bytes, picture: Image.Image) -> int | None:
    """The largest value that a channel of `picture`, opened from `data`, can have as stored; None where there is none.

    255 and less for pictures of 8 bits; None for floating point and for whole numbers of unknown range.
    """
    if picture.format == "DDS" and str(getattr(picture, "pixel_format", "")).startswith("BC6"):
        return None  # half floats
    read = _READERS.get(picture.format or "")
    tops = _tiff(picture) if picture.format == "TIFF" else read(data) if read else iter(())
    top = max(tops, default=0)
    if picture.mode.startswith(("I", "F")) and top <= NARROW:
        return 2**16 - 1 if picture.mode.startswith("I;16") else None
    return None if picture.format == "TIFF" and not top else max(top, 1)


def scaled_picture(data: bytes, picture: Image.Image, top: int) -> UInt8[np.ndarray, "h w 3"] | None:
    """The pixels of a wide picture scaled from 0..`top` to 0..255 and rounded; None where OpenCV cannot read it."""
    if picture.format not in _SCALABLE or (picture.format == "TIFF" and top != 2**16 - 1):
        return None
    # Imported here: nothing but wide pictures that are to be scaled needs it.
    import cv2

    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.dtype != np.uint16 or stored.shape[:2] != (picture.height, picture.width):
        return None
    values = np.minimum(np.atleast_3d(stored)[..., :3].astype(np.float64), top)
    whole: UInt8[np.ndarray, "h w c"] = np.floor(values * (NARROW / top) + 0.5).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(whole[..., ::-1], (*whole.shape[:2], 3)))
