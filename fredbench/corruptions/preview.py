"""Looking at the corruptions: one picture under all of them, or along sequences, as one sheet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image, ImageDraw, ImageFont

from fredbench.corruptions.engine import checked_pictures, corrupt
from fredbench.corruptions.perturbing import perturb
from fredbench.corruptions.severities import NAMES
from fredbench.corruptions.textures import FrostSource
from fredbench.foundation.errors import UsageError
from fredbench.foundation.files import atomic_path
from fredbench.foundation.progress import Progress

__all__ = ["preview", "preview_sequences"]

_CELL = 96  # pixels a small picture is enlarged to, at least
_GAP = 4
_FRAMES = 8  # of a sequence
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
    picture = checked_pictures(np.asarray(image)[None], profile)
    names, levels = list(corruptions), list(severities)

    def row(name: str) -> Iterator[UInt8[np.ndarray, "h w c"]]:
        yield picture[0]
        for level in levels:
            yield corrupt(picture, name, level, profile=profile, seed=seed, indices=[number], frost=frost)[0]

    return _drawn(Path(path), names, ["clean", *(f"severity {level}" for level in levels)], row, "corruptions")


def preview_sequences(
    image: Shaped[np.ndarray, ...], path: Path, *, names: Iterable[str], seed: int = 0, number: int = 0
) -> Path:
    """Draw one uint8 picture (h, w, 3) or (h, w) along every perturbation: a row of evenly spaced frames.

    Otherwise as `preview`.
    """
    picture = checked_pictures(np.asarray(image)[None], "cifar")

    def row(name: str) -> Iterator[UInt8[np.ndarray, "h w c"]]:
        (frames,) = perturb(picture, name, seed=seed, indices=[number])
        return iter(frames[np.linspace(0, len(frames) - 1, _FRAMES).round().astype(int)])

    titles = ["first", *[""] * (_FRAMES - 2), "last"]
    return _drawn(Path(path), list(names), titles, row, "perturbations")


def _drawn(
    path: Path, names: Sequence[str], titles: Sequence[str],
    row: Callable[[str], Iterator[UInt8[np.ndarray, "h w c"]]], unit: str,
) -> Path:  # fmt: skip
    """A sheet with a row of pictures, all of one size, for each name, written to `path`."""
    if path.suffix.lower() not in Image.registered_extensions():
        raise UsageError(f"no picture format is named {path.suffix or '(no suffix)'!r}", hint="use FILE.png")
    font = ImageFont.load_default(size=13)
    head = max(int(font.getlength(name)) for name in names) + 3 * _GAP
    with Progress("drawing", len(names), unit=unit) as progress:
        rows = []
        for name in names:
            rows.append([_enlarged(picture) for picture in row(name)])
            progress.advance(note=name)
    across, down = rows[0][0].width + _GAP, rows[0][0].height + _GAP
    sheet = Image.new("RGB", (head + across * len(titles), _HEAD + down * len(names)), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        draw.text((head + across * column, _GAP), title, _INK, font)
    for place, (name, cells) in enumerate(zip(names, rows, strict=True)):
        top = _HEAD + down * place
        draw.text((_GAP, top + down // 2 - 10), name, _INK, font)
        for column, cell in enumerate(cells):
            sheet.paste(cell, (head + across * column, top))
    with atomic_path(path) as temporary:
        sheet.save(temporary, format=Image.registered_extensions()[path.suffix.lower()])
    return path
