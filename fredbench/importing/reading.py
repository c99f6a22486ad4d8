"""What lies in a file or folder of a distilled set: pictures and labels as they were stored, nothing assumed yet.

Forms: synsets and exports of fredbench; tensors of `torch.save` in the containers of the public codes (a tensor with a
labels file beside it: MTT, FreD-TM, DATM, TESLA; `data` of lists: DC, DSA, DM, CAFE, FreD-DC and -DM; a list of two:
IDC, NCFM; a table of images and labels); NumPy's npy and npz (KIP, FRePo); safetensors; Parquet of the Hugging Face Hub
(`hub`); folders of class folders, or of pictures with a CSV (`picture_files`).
Tensors are read with weights-only loading, arrays without pickle: no code runs from any file. What a file claims of
its size is compared with the file, and bounded, before memory is taken.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fredbench.foundation.errors import ArtefactError, UsageError
from fredbench.foundation.files import sha256_of
from fredbench.importing.arrays import read_npy, read_npz, read_safetensors
from fredbench.importing.found import IMAGE_WORD, Found
from fredbench.importing.hub import hub_files, read_hub
from fredbench.importing.picture_files import read_folder
from fredbench.importing.tensors import read_torch

__all__ = ["read"]

_READERS = {
    ".pt": read_torch,
    ".pth": read_torch,
    ".npz": read_npz,
    ".npy": read_npy,
    ".safetensors": read_safetensors,
}


def read(path: Path, columns: tuple[str, ...] = ()) -> Found:
    """What lies at `path`; `ArtefactError` for what cannot be read, `UsageError` for what is no set of pictures.

    columns: names of the columns of pictures and of labels, of tables that do not call them as usual.
    """
    if path.is_dir():
        return _folder(path, columns)
    if not path.is_file():
        raise UsageError(f"there is no {path}", hint="give a file or a folder of a distilled set")
    if path.suffix.lower() == ".parquet":
        return replace(_checked(read_hub([path], path, columns), path), sha256=sha256_of(path))
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UsageError(
            f"{path} ends in {path.suffix or 'nothing'}, which no form of a distilled set does",
            hint=f"forms: {', '.join(_READERS)}, .parquet, folders of class folders or of pictures with a CSV",
        )
    found = _checked(reader(path), path)
    return replace(found, sha256=sha256_of(path))


def _checked(found: Found, path: Path) -> Found:
    images, labels = found.images, found.labels
    if images.ndim != 4 or not images.size:
        raise UsageError(
            f"{path} holds pictures of shape {tuple(images.shape)}, which is no batch of pictures",
            hint="the pictures of a set are (N, channels, height, width) or (N, height, width, channels)",
        )
    if images.dtype.kind not in "fiu":
        raise UsageError(f"{path} holds pictures of type {images.dtype}", hint="pictures are numbers")
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        bad = int((~np.isfinite(images)).sum())
        raise ArtefactError(f"{path}: {bad:,} values are not finite (NaN or infinite)", hint="fetch the file anew")
    if labels is not None and (labels.ndim == 0 or len(labels) != len(images)):
        raise UsageError(
            f"{path}: {len(images):,} pictures and {labels.size if labels.ndim == 0 else len(labels):,} labels do not "
            "belong together",
            hint="give the labels of these pictures; those of another IPC may lie beside them",
        )
    statistics = (*found.mean, *found.std)
    if not all(map(math.isfinite, statistics)) or not all(value > 0 for value in found.std):
        raise UsageError(
            f"{path} says a mean {found.mean} and a deviation {found.std}, by which nothing is normalised",
            hint="mend the file, or leave its mean and std out and say --space",
        )
    return found


def _folder(path: Path, columns: tuple[str, ...]) -> Found:
    inside = [
        file
        for file in sorted(path.iterdir())
        if file.suffix.lower() in _READERS and file.is_file() and not file.name.startswith(".")
    ]
    tensors = [file for file in inside if IMAGE_WORD.search(file.stem)]
    best = [file for file in tensors if file.stem.endswith("best")]
    choice = best or tensors or inside
    if len(choice) == 1:
        return read(choice[0], columns)
    if choice:
        raise UsageError(
            f"{path} holds {len(choice)} files that may be the set: {', '.join(file.name for file in choice[:4])}",
            hint="name one of them",
        )
    if shards := hub_files(path):
        return replace(_checked(read_hub(shards, path, columns), path), sha256=_sha256_of_all(shards))
    return _checked(read_folder(path, columns), path)


def _sha256_of_all(files: Sequence[Path]) -> str:
    """One digest of the bytes of several files, in order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(sha256_of(file).encode())
    return digest.hexdigest()
