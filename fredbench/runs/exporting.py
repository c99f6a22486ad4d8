"""Synsets for other tools: folders of pictures, NumPy archives, plain safetensors; decoded, never pickled.

An existing target is refused, and nothing half-written is left under a final name.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors.torch
from PIL import Image

from fredbench.foundation.errors import CompatibilityError, UnknownNameError, UsageError
from fredbench.foundation.files import canonical_json, storage_errors, write_bytes
from fredbench.runs.synset import Synset

__all__ = ["FORMS", "export", "rounding_loss"]

_NOTE = "NOTE.md"


def rounding_loss(synset: Synset) -> tuple[float, float]:
    """What 8-bit pictures lose: RMS error in grey levels (0..255), and the share of values clipped."""
    mean = np.asarray(synset.normalization["mean"], dtype=np.float64)[:, None, None]
    std = np.asarray(synset.normalization["std"], dtype=np.float64)[:, None, None]
    exact = (synset.images.numpy().astype(np.float64) * std + mean) * 255
    error = exact - synset.pixels().numpy()
    clipped = (exact < -0.5) | (exact > 255.5)
    return float(np.sqrt((error**2).mean())), float(clipped.mean())


def export(synset: Synset, form: str, target: Path) -> None:
    """Write `synset` to `target` as `imagefolder`, `npz` or `safetensors`.

    imagefolder: 8-bit PNGs in a folder a class (lossy, see `rounding_loss`), with a note. npz: `images` float32
    (N, C, H, W) in the student's input space, `labels`, `mean`, `std`, `classes`, `card`; opens without pickle.
    safetensors: `images` and `labels`, the rest as JSON under the metadata key `fredbench`. Raises `UsageError` for
    an existing target, `CompatibilityError` for a set that the form cannot hold.
    """
    if form not in FORMS:
        raise UnknownNameError("export form", form, FORMS)
    if target.exists() or target.is_symlink():
        raise UsageError(f"{target} exists already", hint="choose another --out, or move it away")
    FORMS[form](synset, target)


def _npz(synset: Synset, target: Path) -> None:
    file = io.BytesIO()
    np.savez_compressed(
        file,
        images=synset.images.numpy(),
        labels=synset.labels.numpy(),
        mean=np.asarray(synset.normalization["mean"], dtype=np.float64),
        std=np.asarray(synset.normalization["std"], dtype=np.float64),
        classes=np.asarray(synset.classes, dtype=np.str_),
        card=np.asarray(synset.card(), dtype=np.str_),
    )
    write_bytes(target, file.getvalue())


def _safetensors(synset: Synset, target: Path) -> None:
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
    tensors = {"images": synset.images.contiguous(), "labels": synset.labels.contiguous()}
    write_bytes(target, safetensors.torch.save(tensors, metadata={"fredbench": canonical_json(description)}))


def _image_folder(synset: Synset, target: Path) -> None:
    channels = synset.header["dataset"]["shape"][0]
    if channels not in (1, 3):
        raise CompatibilityError(f"PNG holds 1 or 3 channels, this set has {channels}", hint="export it as npz")
    if synset.labels.ndim != 1:
        raise CompatibilityError("class folders cannot hold soft labels", hint="export it as npz or safetensors")
    parent = target.parent
    with storage_errors(target):
        parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=parent))
    try:
        with storage_errors(target):
            _write_pictures(synset, building)
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
        image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else np.ascontiguousarray(picture))
        image.save(folder / names[label] / f"{number:05d}.png")
    rms, clipped = rounding_loss(synset)
    order = "\n".join(
        f"{label}. `{name}`: {given}" for label, (name, given) in enumerate(zip(names, synset.classes, strict=True))
    )
    (folder / _NOTE).write_text(
        f"# Pictures of a distilled set, rounded to 8 bits\n\n"
        f"Rounding is lossy: here it moves values by {rms:.2f} of 255 grey levels (RMS), and {100 * clipped:.1f} % of "
        f"the values lay outside 0..255 and were clipped. Accuracies of the original are those of the exact values; "
        f"take the synset itself, npz or safetensors to reproduce them.\n\n"
        f"Labels and folders:\n\n{order}\n\n{synset.card()}",
        encoding="utf-8",
    )


def class_folders(classes: tuple[str, ...]) -> list[str]:
    """A folder name a class whose sorted order is the label order, as readers of ImageFolder layout assume.

    The class names themselves where they are safe and sorted, else numbered: `03_golden-retriever`.
    """
    safe = ["".join(c if c.isalnum() or c in "-_. " else "-" for c in name).strip(". ") or "class" for name in classes]
    plain = safe == list(classes) and safe == sorted(safe) and len({name.lower() for name in safe}) == len(safe)
    digits = len(str(len(classes) - 1))
    return safe if plain else [f"{label:0{digits}d}_{name}" for label, name in enumerate(safe)]


FORMS: dict[str, Callable[[Synset, Path], None]] = {
    "imagefolder": _image_folder,
    "npz": _npz,
    "safetensors": _safetensors,
}
