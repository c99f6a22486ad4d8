"""Synsets for other tools: folders of pictures, NumPy archives, plain safetensors, Parquet; decoded, never pickled.

An existing target is refused, and nothing half-written is left under a final name.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch

from fredbench.foundation.arrow import parquet
from fredbench.foundation.errors import CompatibilityError, UnknownNameError, UsageError
from fredbench.foundation.files import canonical_json, storage_errors, write_bytes
from fredbench.runs.hub_exporting import png, write_hub
from fredbench.runs.synset import Synset

__all__ = ["FORMS", "OF_PICTURES", "class_folders", "export", "rounding_loss", "split_words"]

_NOTE = "NOTE.md"
_READERS = (
    "torchvision's ImageFolder, timm and datasets number the folders as they are numbered here. A class called like a "
    "split (train, test, val, ...) stands in brackets, since datasets takes a folder with such a word for the split, "
    "and drops the others. Where folders were renamed, say which is meant: "
    '`load_dataset("imagefolder", data_files={"train": "EXPORT/**"}, split="train")`, EXPORT being this folder.'
)


def rounding_loss(synset: Synset) -> tuple[float, float]:
    """What 8-bit pictures lose: RMS error in grey levels (0..255), and the share of values clipped."""
    exact = synset.levels(synset.images.double()).numpy() * 255
    error = exact - synset.pixels().numpy()
    clipped = (exact < -0.5) | (exact > 255.5)
    return float(np.sqrt((error**2).mean())), float(clipped.mean())


def export(synset: Synset, form: str, target: Path) -> None:
    """Write `synset` to `target` as `imagefolder`, `npz`, `safetensors` or `parquet`.

    imagefolder: 8-bit PNGs in a folder a class (lossy, see `rounding_loss`), with a note. npz: `images` float32
    (N, C, H, W) in the student's input space, `labels`, `mean`, `std`, `classes`, `card`, `description` (JSON: how it was
    made, and how its students are trained), and `normalization` as JSON where the set is whitened; opens without
    pickle. safetensors: `images` and `labels`, the rest as JSON under the metadata key `fredbench`. parquet: a
    folder as the Hugging Face Hub has it, of 8-bit PNGs, with a card (see `hub_exporting`). Raises `UsageError` for an
    existing target, `CompatibilityError` for a set that the form cannot hold, or a whitened one as
    pictures without its fit.
    """
    if form not in FORMS:
        raise UnknownNameError("export form", form, FORMS)
    if target.exists() or target.is_symlink():
        raise UsageError(f"{target} exists already", hint="choose another --out, or move it away")
    FORMS[form](synset, target)


def _npz(synset: Synset, target: Path) -> None:
    file = io.BytesIO()
    whitened: dict[str, Any] = {}
    if synset.whitened:
        whitened["normalization"] = np.asarray(canonical_json(synset.normalization), dtype=np.str_)
    np.savez_compressed(
        file,
        images=synset.images.numpy(),
        labels=synset.labels.numpy(),
        mean=np.asarray(synset.normalization["mean"], dtype=np.float64),
        std=np.asarray(synset.normalization["std"], dtype=np.float64),
        classes=np.asarray(synset.classes, dtype=np.str_),
        card=np.asarray(synset.card(), dtype=np.str_),
        description=np.asarray(canonical_json(_description(synset)), dtype=np.str_),
        **whitened,
    )
    write_bytes(target, file.getvalue())


def _description(synset: Synset) -> dict[str, Any]:
    """What an export of decoded pictures says of itself."""
    kept = (
        "dataset",
        "method",
        "objective",
        "iterations",
        "preset",
        "seed",
        "normalization",
        "labels",
        "step_size",
        "student",
    )
    description = {key: synset.header[key] for key in kept if key in synset.header}
    description["decoded_from"] = synset.header["tensors_sha256"]
    return description


def _safetensors(synset: Synset, target: Path) -> None:
    description = _description(synset)
    tensors = {"images": synset.images.contiguous(), "labels": synset.labels.contiguous()}
    write_bytes(target, safetensors.torch.save(tensors, metadata={"fredbench": canonical_json(description)}))


def _image_folder(synset: Synset, target: Path) -> None:
    if synset.labels.ndim != 1:
        raise CompatibilityError("class folders cannot hold soft labels", hint="export it as npz, safetensors or parquet")
    _built(synset, target, lambda folder: _write_pictures(synset, folder))


def _parquet(synset: Synset, target: Path) -> None:
    parquet()  # refused before anything is made where it is not installed
    description = canonical_json(_description(synset))
    _built(synset, target, lambda folder: write_hub(synset, folder, description, _undone(synset) + _lost(synset)))


def _built(synset: Synset, target: Path, write: Callable[[Path], None]) -> None:
    """A folder of pictures, which takes its name once `write` has filled it."""
    channels = synset.header["dataset"]["shape"][0]
    if channels not in (1, 3):
        raise CompatibilityError(f"PNG holds 1 or 3 channels, this set has {channels}", hint="export it as npz")
    synset.levels(synset.images[:1])  # refused before anything is written where the whitening cannot be undone
    parent = target.parent
    with storage_errors(target):
        parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=parent))
    try:
        with storage_errors(target):
            write(building)
            building.chmod(0o755)
            os.rename(building, target)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _write_pictures(synset: Synset, folder: Path) -> None:
    names = class_folders(synset.classes)
    pixels = synset.pixels().numpy().transpose(0, 2, 3, 1)
    for name in names:
        (folder / name).mkdir()
    for number, (picture, label) in enumerate(zip(pixels, synset.labels.tolist(), strict=True)):
        png(picture).save(folder / names[label] / f"{number:05d}.png")
    order = "\n".join(
        f"{label}. `{name}`: {given}" for label, (name, given) in enumerate(zip(names, synset.classes, strict=True))
    )
    (folder / _NOTE).write_text(
        f"# Pictures of a distilled set, rounded to 8 bits\n\n"
        f"{_lost(synset)}\n\n{_undone(synset)}"
        f"Labels and folders:\n\n{order}\n\n{_READERS}\n\n{synset.card()}",
        encoding="utf-8",
    )


def _lost(synset: Synset) -> str:
    rms, clipped = rounding_loss(synset)
    return (
        f"Rounding is lossy: here it moves values by {rms:.2f} of 255 grey levels (RMS), and {100 * clipped:.1f} % of "
        "the values lay outside 0..255 and were clipped. Accuracies of the original are those of the exact values; "
        "take the synset itself, npz or safetensors to reproduce them."
    )


def _undone(synset: Synset) -> str:
    if not synset.whitened:
        return ""
    return (
        "The set was distilled on ZCA-whitened pictures. Here the whitening is undone, for looking at: students of this "
        "set are trained on the whitened values, and tested on pictures that are whitened alike.\n\n"
    )


def class_folders(classes: tuple[str, ...]) -> list[str]:
    """A folder name a class, so that every reader of the layout gives the classes the numbers that they have here.

    torchvision and `datasets` number folders by code points, timm by natural, case-blind order (a2 before a10); and
    `datasets` takes a folder with a split's name in it as a word (`bullet train`) for the split, timm one that is
    called so. The class names themselves where they are safe and in order for all three, else numbered
    (`03_golden-retriever`); a split's name in them is put in brackets (`bullet (train)`), which keeps it from being one.
    """
    safe = [_safe(name) for name in classes]
    told = [re.sub("[()]", "", name) for name in safe]
    plain = told == list(classes) and _in_order(safe) and len({name.casefold() for name in safe}) == len(safe)
    digits = len(str(len(classes) - 1))
    return safe if plain else [f"{label:0{digits}d}_{name}" for label, name in enumerate(safe)]


def split_words(classes: tuple[str, ...]) -> list[str]:
    """Those of `classes` that other tools would take for a split, whole or by a word in them."""
    return [name for name in classes if _SPLIT_WORD.search(name)]


# What `datasets` knows a split by, between its separators (5.2.0, data_files.py), and timm by the whole name.
_SPLIT_WORD = re.compile(
    r"(?<![^-._ 0-9])(train|training|validation|valid|val|dev|test|testing|eval|evaluation)(?![^-._ 0-9])", re.IGNORECASE
)


def _safe(name: str) -> str:
    """`name` as a folder: no separators, no digits that are none in a number (²), no split's name as a word."""
    kept = (c if (c.isalnum() and (c.isdecimal() or not c.isdigit())) or c in "-_. " else "-" for c in name)
    return _SPLIT_WORD.sub(r"(\1)", "".join(kept).strip(". ") or "class")


def _in_order(names: list[str]) -> bool:
    # A leading "__" marks what `datasets` passes over.
    return names == sorted(names) == sorted(names, key=_natural) and not any(name.startswith("__") for name in names)


def _natural(name: str) -> list[Any]:
    """timm's key: runs of digits count as numbers, letters without case."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"(\d+)", name.lower()))]


FORMS: dict[str, Callable[[Synset, Path], None]] = {
    "imagefolder": _image_folder,
    "npz": _npz,
    "safetensors": _safetensors,
    "parquet": _parquet,
}
OF_PICTURES = ("imagefolder", "parquet")
"""Forms that hold 8-bit pictures, not the values that students are trained on."""
