"""Sets in NumPy's files and in safetensors: opened without pickle, their claims of size compared with the file."""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from jaxtyping import Shaped

from fredbench.foundation.errors import ArtefactError, UsageError
from fredbench.importing.found import (
    MOST_LABELS,
    MOST_VALUES,
    RESAVE,
    Found,
    bounded,
    described_by,
    labels_beside,
    reading_of,
    table,
    told_labels,
    wanted_names,
)
from fredbench.importing.tensors import brain_floats, numbers_of

__all__ = ["read_npy", "read_npz", "read_safetensors"]


def read_npy(path: Path) -> Found:
    """An array of pictures, with its labels beside it."""
    images = _array(path)
    labels = labels_beside(path, ".npy")
    return Found(images, None if labels is None else _array(labels), "a NumPy array", "", notes=told_labels(labels))


def read_npz(path: Path) -> Found:
    """An archive of named arrays; what is no part of a set is left unread."""
    with reading_of(path), zipfile.ZipFile(path) as archive:
        names = [member.filename.removesuffix(".npy") for member in archive.infolist()]
        wanted = [*wanted_names(names), *({"description"} & set(names))]
        for member in archive.infolist():
            if member.filename.removesuffix(".npy") in wanted:
                with archive.open(member) as file:
                    head = io.BytesIO(file.read(2**16))
                _claimed(head, member.file_size, f"{path}, {member.filename.removesuffix('.npy')}")
    with reading_of(path), np.load(path, allow_pickle=False) as opened:
        arrays = {name: opened[name] for name in wanted}
    text = arrays.pop("description", None)
    found = table(arrays, path, "a NumPy archive", [name for name in names if name not in wanted])
    ours = text is not None and text.dtype.kind == "U" and str(text).startswith("{")
    return described_by(found, str(text), path) if ours else found


def read_safetensors(path: Path) -> Found:
    """Named tensors, with what an export of ours says under its metadata key."""
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - no mapping
                bounded(opened.get_slice(name).get_shape(), f"{path}, {name}")
            names = list(opened.keys())
            tensors = {name: opened.get_tensor(name) for name in wanted_names(names)}
            others = [name for name in names if name not in tensors]
            text = (opened.metadata() or {}).get("fredbench", "{}")
    except (safetensors.SafetensorError, OSError, ValueError, TypeError) as error:
        raise ArtefactError(
            f"{path} cannot be read: {error}", hint="the file is cut or altered; fetch it anew"
        ) from error
    arrays: dict[str, Any] = {name: numbers_of(tensor, path) for name, tensor in tensors.items()}
    found = replace(table(arrays, path, "safetensors", others), brain=brain_floats(tensors, names))
    return described_by(found, text, path)


def _array(path: Path) -> Shaped[np.ndarray, ...]:
    with reading_of(path):
        with path.open("rb") as file:
            _claimed(file, path.stat().st_size, str(path))
        found: Shaped[np.ndarray, ...] = np.load(path, allow_pickle=False)
    return found


def _claimed(file: Any, there: int, where: str) -> None:
    """Refuse an array whose header claims pickled objects, too many numbers, or other than the `there` bytes."""
    major, _ = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    if dtype.hasobject:
        raise UsageError(f"{where} holds pickled objects, which are not read: they can run code", hint=RESAVE)
    bounded(shape, where)
    names = dtype.kind in "US"
    bounded(
        (math.prod(shape), dtype.itemsize), where, MOST_LABELS if names else 8 * MOST_VALUES,
        "bytes of text" if names else "bytes",
    )  # fmt: skip
    if math.prod(shape) * dtype.itemsize != there - file.tell():
        raise ArtefactError(
            f"{where} claims {shape} of {dtype}, {math.prod(shape) * dtype.itemsize:,} bytes, and has "
            f"{there - file.tell():,}",
            hint="the file is cut or altered; fetch it anew",
        )
