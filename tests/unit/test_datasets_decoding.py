"""Pictures of every depth, form and state: 8 bits are read, more are refused or scaled, nothing is cut."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from dataset_forms import random_pictures
from PIL import Image

from fredbench.datasets import load_dataset
from fredbench.datasets.decoding import Reading, rgb_picture
from fredbench.datasets.depth import largest_value
from fredbench.foundation.errors import DataError, UsageError

WIDE = np.stack([np.arange(0, 65536, 256), np.arange(255, 65536, 256), np.arange(65535, 0, -256)], -1)
WIDE = np.tile(WIDE.reshape(16, 16, 3), (2, 2, 1)).astype(np.uint16)
SCALED = np.floor(WIDE / 257 + 0.5).astype(np.uint8)


def png(pixels: np.ndarray, colour: int) -> bytes:
    """A PNG of 16 bits; colour type 0 grey, 2 RGB, 4 grey with alpha, 6 RGBA."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def encoded(ending: str, pixels: np.ndarray) -> bytes:
    """What OpenCV writes of RGB pixels."""
    done, data = cv2.imencode(ending, pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    assert done
    return bytes(data.tobytes())


def saved(form: str, picture: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


OPAQUE = np.full((32, 32, 1), 65535, np.uint16)
DEEP = {
    "png, RGB": png(WIDE, 2),
    "png, RGBA": png(np.concatenate([WIDE, OPAQUE], -1), 6),
    "tiff, RGB": encoded(".tiff", WIDE),
    "ppm": b"P6\n# made by hand\n32 32\n65535\n" + WIDE.astype(">u2").tobytes(),
    "jpeg 2000, RGB": encoded(".jp2", WIDE),
}
GREY = {
    "png, grey": png(WIDE[..., :1], 0),
    "png, grey with alpha": png(np.concatenate([WIDE[..., :1], OPAQUE], -1), 4),
    "tiff, grey": encoded(".tiff", WIDE[..., 0]),
    "pgm": b"P5\n32 32\n65535\n" + WIDE[..., 0].astype(">u2").tobytes(),
}
NEVER = {
    "floating point": saved("TIFF", Image.fromarray(WIDE[..., 0].astype(np.float32))),
    "32 bits": saved("TIFF", Image.fromarray(WIDE[..., 0].astype(np.int32))),
    "SGI": saved("SGI", Image.fromarray(SCALED[..., 0]), bpc=2),
}


@pytest.mark.parametrize("form", [*DEEP, *GREY, *NEVER])
def test_more_than_8_bits_a_channel_are_refused(form: str) -> None:
    with pytest.raises(DataError, match=r"x\.png has .*8 bits are read") as caught:
        rgb_picture({**DEEP, **GREY, **NEVER}[form], "x.png")
    assert "depth=scale" in caught.value.hint


@pytest.mark.parametrize("form", [*DEEP, *GREY])
def test_16_bits_are_scaled_on_request_and_rounded(form: str) -> None:
    pixels = np.asarray(rgb_picture({**DEEP, **GREY}[form], "x.png", Reading(scale=True)))
    wanted = SCALED if form in DEEP else np.repeat(SCALED[..., :1], 3, axis=2)
    np.testing.assert_array_equal(pixels, wanted)


@pytest.mark.parametrize("form", [*NEVER])
def test_what_has_no_known_largest_value_is_not_scaled(form: str) -> None:
    with pytest.raises(DataError, match=r"x\.png"):
        rgb_picture(NEVER[form], "x.png", Reading(scale=True))


def test_netpbm_of_other_largest_values_is_scaled_by_them() -> None:
    low = np.asarray(rgb_picture(b"P5 2 2 100\n" + bytes([0, 50, 100, 33]), "x.pgm"))
    assert low[..., 0].tolist() == [[0, 128], [255, 84]]
    twelve = b"P6 1 1 4095\n" + struct.pack(">3H", 4095, 2048, 0)
    with pytest.raises(DataError, match=r"12 bits a channel \(values to 4,095\)"):
        rgb_picture(twelve, "x.ppm")
    assert np.asarray(rgb_picture(twelve, "x.ppm", Reading(scale=True))).tolist() == [[[255, 128, 0]]]


def test_the_depth_of_avif_and_heif_is_read_from_their_boxes() -> None:
    Image.init()
    if "AVIF" not in Image.SAVE:
        pytest.skip("this Pillow writes no AVIF")
    data = bytearray(saved("AVIF", Image.fromarray(SCALED)))
    picture = Image.open(io.BytesIO(bytes(data)))
    assert largest_value(bytes(data), picture) == 255
    place = data.find(b"av1C")
    data[place + 6] |= 64
    assert largest_value(bytes(data), picture) == 1023
    data[place + 6] |= 32
    assert largest_value(bytes(data), picture) == 4095


@pytest.mark.parametrize(
    "form", ["PNG", "TIFF", "BMP", "GIF", "WEBP", "TGA", "SGI", "ICO", "PCX", "JPEG", "JPEG2000", "AVIF", "PPM", "QOI"]
)
def test_8_bits_are_read_in_every_form(form: str) -> None:
    if form not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {form}")
    pixels = np.asarray(rgb_picture(saved(form, Image.fromarray(SCALED)), "x"))
    assert pixels.shape == (32, 32, 3) and pixels.dtype == np.uint8


def test_wide_pictures_are_refused_in_zips_and_trees_too(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(4):
            (tmp_path / "set" / name / f"{number}.png").write_bytes(DEEP["png, RGB"])
    with pytest.raises(DataError, match=r"a/0\.png has RGB pixels"):
        load_dataset(f"folder:{tmp_path / 'set'}")
    scaled = load_dataset(f"folder:{tmp_path / 'set'}?depth=scale")
    np.testing.assert_array_equal(scaled.train.images[0], SCALED)
    with pytest.raises(UsageError, match="depth=cut"):
        load_dataset(f"folder:{tmp_path / 'set'}?depth=cut")
    packed = tmp_path / "packed"
    packed.mkdir()
    with zipfile.ZipFile(packed / "train.zip", "w") as archive:
        for number in range(8):
            archive.writestr(f"{number}.JPEG", DEEP["png, RGB"])
    np.save(packed / "labels.npy", np.arange(8) % 2)
    (packed / "dataset.json").write_text(
        '{"format": 1, "name": "mine", "picture": [32, 32, 3], "classes": ["a", "b"], "splits": {"train": '
        '{"form": "zip-jpeg", "files": ["train.zip"], "count": 8, "labels": "labels.npy", "sha256": {}}}}'
    )
    with pytest.raises(DataError, match=r"0\.JPEG has RGB pixels"):
        _ = load_dataset(f"packed:{packed}").train


@pytest.mark.parametrize(
    ("data", "said", "hint"),
    [
        (b"", "is empty", "whole copy"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "pointer of Git LFS", "git lfs pull"),
        (b"/annex/objects/MD5E-s1--00.png\n", "pointer of git-annex", "git annex get"),
        (b"<!DOCTYPE html><html>", "a web page", "download it anew"),
        (b"hello", "of no form that Pillow knows", "whole copy"),
        (saved("PNG", Image.fromarray(SCALED))[:90], "cannot read x.png as a picture", "whole copy"),
        (b"\xff\xd8\xff\xc1\x00\x11\x0c\x00\x10\x00\x10\x03" + bytes(40), "12 bits a channel", "depth"),
    ],
)
def test_what_is_no_picture_is_said_in_words(data: bytes, said: str, hint: str) -> None:
    with pytest.raises(DataError, match=r"x\.png") as caught:
        rgb_picture(data, "x.png")
    assert said in caught.value.message and hint in caught.value.hint
    assert "object at" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("limit", [600, 300])
def test_pictures_above_pillows_limit_are_said_to_be_too_large(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(DataError, match=r"x\.jpg has 0 megapixels, more than") as caught:
        rgb_picture(saved("JPEG", Image.fromarray(SCALED)), "x.jpg")
    assert "shrink" in caught.value.hint and "attack" not in str(caught.value)


def test_exif_turns_pictures_on_request_only(tmp_path: Path) -> None:
    pixels = random_pictures(1, (4, 6))[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved("PNG", Image.fromarray(pixels), exif=exif)
    np.testing.assert_array_equal(np.asarray(rgb_picture(data, "x")), pixels)
    np.testing.assert_array_equal(np.asarray(rgb_picture(data, "x", Reading(turn=True))), np.rot90(pixels, -1))


def test_of_an_animation_the_first_picture_is_read() -> None:
    first, second = (Image.fromarray(each) for each in random_pictures(2, (6, 6)))
    data = saved("WEBP", first, save_all=True, append_images=[second], lossless=True)
    np.testing.assert_array_equal(np.asarray(rgb_picture(data, "x")), np.asarray(first))


def test_listing_names_loads_no_reader_of_pictures() -> None:
    """`list datasets` must stay quick: Pillow's sixty readers are loaded when a folder is walked."""
    code = "import sys, fredbench.datasets.catalogue; print('PIL.TiffImagePlugin' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
