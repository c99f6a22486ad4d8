"""Looking at the corruptions: one picture under all of them as one sheet."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image, ImageDraw, ImageFont

from fredbench.corruptions.engine import checked_pictures, corrupt
from fredbench.corruptions.severities import NAMES
from fredbench.corruptions.textures import FrostSource
from fredbench.foundation.errors import UsageError
from fredbench.foundation.files import atomic_path
from fredbench.foundation.progress import Progress

__all__ = ["preview"]

_CELL = 96  # pixels a small picture is enlarged to, at least
_GAP = 4
_HEAD = 22
_BACKGROUND, _INK = (255, 255, 255), (30, 30, 30)


def _enlarged(picture: UInt8[np.ndarray, "h w c"]) -> Image.Image:
    """By a whole factor without smoothing: what is looked at are the pixels."""
    height, width = picture.shape[:2]
    picture = picture[..., 0] if picture.shape[-1] == 1 else picture
    factor = max(1, -(-_CELL // max(height, width)))
    return Image.fromarray(picture).resize((width * factor, height * factor), Image.Resampling.NEAREST)


def preview(
    image: Shaped[np.ndarray, ...], path: Path, *, profile: str = "cifar", seed: int = 0, number: int = 0,
    corruptions: Iterable[str] = NAMES, severities: Iterable[int] = (1, 2, 3, 4, 5),
    frost: FrostSource = "files",
) -> Path:  # fmt: skip
    """Draw one uint8 picture (h, w, 3) or (h, w), clean and under every corruption (a row) and severity (a column).

    `number` is the picture's number in its set, so that the sheet shows what `write_set` would write. The image
    format follows the suffix of `path`, which is returned. Raises UsageError, UnknownNameError, DataError.
    """
    path = Path(path)
    if path.suffix.lower() not in Image.registered_extensions():
        raise UsageError(f"no picture format is named {path.suffix or '(no suffix)'!r}", hint="use FILE.png")
    picture = checked_pictures(np.asarray(image)[None], profile)
    names, levels = list(corruptions), list(severities)
    font = ImageFont.load_default(size=13)
    clean = _enlarged(picture[0])
    head = max(int(font.getlength(name)) for name in names) + 3 * _GAP
    across, down = clean.width + _GAP, clean.height + _GAP
    sheet = Image.new("RGB", (head + across * (len(levels) + 1), _HEAD + down * len(names)), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(["clean", *(f"severity {level}" for level in levels)]):
        draw.text((head + across * column, _GAP), title, _INK, font)
    with Progress("drawing", len(names), unit="corruptions") as progress:
        for row, name in enumerate(names):
            top = _HEAD + down * row
            draw.text((_GAP, top + clean.height // 2 - 8), name, _INK, font)
            sheet.paste(clean, (head, top))
            for column, level in enumerate(levels, start=1):
                made = corrupt(picture, name, level, profile=profile, seed=seed, indices=[number], frost=frost)
                sheet.paste(_enlarged(made[0]), (head + across * column, top))
            progress.advance(note=name)
    with atomic_path(path) as temporary:
        sheet.save(temporary, format=Image.registered_extensions()[path.suffix.lower()])
    return path
