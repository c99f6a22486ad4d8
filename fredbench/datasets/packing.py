"""Writing packed folders: lossless WebP contact sheets, labels, and a description with checksums."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from fredbench.datasets.catalogue import known_family
from fredbench.datasets.core import Dataset, Split
from fredbench.datasets.decoding import in_threads
from fredbench.datasets.manifest import FORMAT, MANIFEST
from fredbench.foundation.errors import DataError, UsageError
from fredbench.foundation.files import storage_errors, write_json
from fredbench.foundation.progress import Progress

__all__ = ["pack_dataset", "sheet_grid"]

# Sheets of about a million pixels, as those of CIFAR-10 in 25 rows of 40; WebP ends at 16,383 pixels a side.
_SHEET_HEIGHT, _SHEET_WIDTH, _WEBP_LIMIT = 800, 1280, 16_383


def sheet_grid(size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of a contact sheet for pictures of `size` (height, width)."""
    return max(1, _SHEET_HEIGHT // size[0]), max(1, _SHEET_WIDTH // size[1])


def _sheet(images: UInt8[np.ndarray, "n h w c"], grid: tuple[int, int]) -> bytes:
    """At most rows x columns pictures as one WebP sheet, row-major; empty places are black."""
    rows, columns = grid
    count, height, width, channels = images.shape
    places = np.zeros((rows * columns, height, width, channels), dtype=np.uint8)
    places[:count] = images
    pixels = places.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    sheet = pixels.reshape(rows * height, columns * width, channels)
    buffer = io.BytesIO()
    rgb = np.ascontiguousarray(np.broadcast_to(sheet, (*sheet.shape[:2], 3)))
    Image.fromarray(rgb).save(buffer, "WEBP", lossless=True, method=4, quality=80)
    return buffer.getvalue()


def _write_split(folder: Path, name: str, split: Split) -> dict[str, Any]:
    """The files of one split and its part of the description."""
    grid = sheet_grid((split.images.shape[1], split.images.shape[2]))
    each = grid[0] * grid[1]
    starts = range(0, len(split), each)
    digits = max(2, len(str(len(starts) - 1)))
    sha256: dict[str, str] = {}

    def write(file: str, data: bytes) -> None:
        (folder / file).write_bytes(data)
        sha256[file] = hashlib.sha256(data).hexdigest()

    with Progress(f"packing {name}", len(starts), unit="sheets") as progress:
        sheets = in_threads(lambda start: _sheet(split.images[start : start + each], grid), starts)
        for number, data in enumerate(sheets):
            write(f"{name}_{number:0{digits}d}.webp", data)
            progress.advance()
    files = list(sha256)
    labels = io.BytesIO()
    small = split.labels.astype(np.uint8 if split.labels.max() < 256 else np.int64)
    np.save(labels, small, allow_pickle=False)
    write(f"{name}_labels.npy", labels.getvalue())
    return {
        "form": "webp-sheets",
        "files": files,
        "grid": list(grid),
        "count": len(split),
        "labels": f"{name}_labels.npy",
        "sha256": sha256,
    }


def pack_dataset(dataset: Dataset, out: Path, *, name: str = "") -> Path:
    """Write `dataset` as a packed folder at `out`, which must not exist or be empty; returns `out`.

    It loads back to the same arrays and fingerprints: as `name` (default: the dataset's title) below a data
    folder where that is a known set, or as `packed:OUT`. The folder appears under its name when it is
    complete, never before. Raises `UsageError` for an `out` that is in use, `DataError` for pictures that no
    sheet can hold.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not empty", hint="choose another folder with --out")
    if max(dataset.size) > _WEBP_LIMIT or dataset.channels not in {1, 3}:
        raise DataError(
            f"pictures of {dataset.size[1]}x{dataset.size[0]}x{dataset.channels} do not fit a WebP sheet",
            hint="resize them first, such as folder:PATH?size=224",
        )
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
        try:
            description: dict[str, Any] = {
                "format": FORMAT,
                "name": name or dataset.title,
                "picture": [*dataset.size, dataset.channels],
                "classes": list(dataset.classes),
                "flip": dataset.flip,
            }
            family = known_family(description["name"])
            if family is not None and family.wnids and family.classes == dataset.classes:
                description["wnids"] = list(family.wnids)
            if dataset.stored_size and dataset.stored_size != dataset.size:
                description["source_picture"] = list(dataset.stored_size)
            splits = {part: _write_split(work, part, getattr(dataset, part)) for part in ("train", "test")}
            # After the splits were read, when every gap is known.
            description |= {"partial": dataset.partial, "notes": list(dataset.notes), "splits": splits}
            write_json(work / MANIFEST, description)
            os.chmod(work, 0o755)
            if out.exists():
                out.rmdir()
            os.replace(work, out)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return out
