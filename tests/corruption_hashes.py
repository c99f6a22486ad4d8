"""Hashes of every corruption on small made pictures: what a library that moves a pixel is told by.

    python tests/corruption_hashes.py                               # the table as JSON
    python tests/corruption_hashes.py cifar 32x32,96x96 fog,snow    # a part of it: profiles, sizes, corruptions

Needs nothing but what the engine itself needs. The pictures come from whole-number arithmetic, so that no library
decides them.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from fredbench.corruptions import ALL, CBAR, CBAR_ALL, CBAR_IMAGENET, PROFILES, corrupt  # noqa: E402

STORED = ROOT / "tests" / "unit" / "stored" / "corruption_hashes.json"
SIZES = {"32x32": 4, "96x96": 2, "224x224": 1, "150x100": 2}
"""Height and width, and how many pictures of that size are hashed."""
ROWS = (*ALL, "procedural frost", *CBAR_ALL)


def pictures(size: str) -> np.ndarray:
    """Colour gradients, flat fields of every kind of grey, white and black, and fine grain; uint8 (n, h, w, 3)."""
    height, width = map(int, size.split("x"))
    made = np.empty((SIZES[size], height, width, 3), np.uint8)
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    for i, picture in enumerate(made):
        for d in range(3):
            # A linear congruence of the place: grain without any library's generator.
            grain = ((y * width + x + 7919 * i + 104729 * d) * 1103515245 + 12345) % 2**31 // 2**16 % 23
            field = 40 + 170 * (y * (d + 1) + x * (3 - d)) // (3 * (height + width)) + grain - 11
            field[: height // 4, : width // 3] = 31 * i + 67 * d  # flat, where truncation shows
            field[height // 4 : height // 2, : width // 3] = 255
            field[-(height // 4) :, -(width // 3) :] = 0
            round_field = (2 * y - height) ** 2 + (2 * x - width) ** 2 < (min(height, width) // 2) ** 2
            field[round_field] = (grain * 11 + 60 * d)[round_field]
            picture[..., d] = np.clip(field, 0, 255)
    return made


def row(name: str, profile: str, size: str, severities: Iterable[int] = (1, 2, 3, 4, 5)) -> list[str]:
    """A hash a severity of corruption `name`, or of frost with the procedural textures."""
    corruption, source = ("frost", "procedural") if name == "procedural frost" else (name, "files")
    clean, numbers = pictures(size), 3 + 11 * np.arange(SIZES[size])
    outcomes = (
        corrupt(clean, corruption, severity, profile=profile, seed=7, indices=numbers, frost=source)
        for severity in severities
    )
    return [hashlib.sha256(made.tobytes()).hexdigest()[:16] for made in outcomes]


def table(
    profiles: Iterable[str] = PROFILES, sizes: Iterable[str] = tuple(SIZES), names: Iterable[str] = ROWS
) -> dict[str, list[str]]:
    """Five hashes a row, the rows named `corruption/profile/size`."""
    return {
        f"{name}/{profile}/{size}": row(name, profile, size)
        for profile in profiles for size in sizes for name in names if defined(name, profile, size)
    }  # fmt: skip


def defined(name: str, profile: str, size: str) -> bool:
    """Whether there is such a row: C-bar's are of squares, of those ImageNet-C-bar's of 224 pixels."""
    if name not in CBAR_ALL:
        return True
    height, width = size.split("x")
    return (name in CBAR and height == width) if profile == "cifar" else (name in CBAR_IMAGENET and size == "224x224")


def moved(found: dict[str, list[str]], stored: dict[str, list[str]]) -> list[str]:
    """Which of `found` are not as stored: names with the severities that differ."""
    said = []
    for name, made in found.items():
        wrong = [str(i) for i, (a, b) in enumerate(zip(made, stored[name], strict=True), start=1) if a != b]
        said += [f"{name} severity {', '.join(wrong)}"] if wrong else []
    return said


if __name__ == "__main__":
    parts = [argument.split(",") for argument in sys.argv[1:]]
    print(json.dumps(table(*parts), indent=0))
