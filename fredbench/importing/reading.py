"""What lies in a file or folder of a distilled set: pictures and labels as they were stored, nothing assumed yet.

Forms: synsets and exports of fredbench; tensors of `torch.save` in the containers of the public codes (a tensor with a
labels file beside it: MTT, FreD-TM, DATM, TESLA; `data` of lists: DC, DSA, DM, CAFE, FreD-DC and -DM; a list of two:
IDC, NCFM; a table of images and labels); NumPy's npy and npz (KIP, FRePo); safetensors; folders of class folders.
Tensors are read with weights-only loading, arrays without pickle: no code runs from any file. What a file claims of
its size is compared with the file, and bounded, before memory is taken.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from jaxtyping import Shaped
from torch import Tensor

from fredbench.datasets.image_folder import read_pictures
from fredbench.datasets.walking import pictures_below, walk
from fredbench.foundation.errors import ArtefactError, DataError, UsageError
from fredbench.foundation.files import sha256_of

__all__ = ["Found", "read"]

MOST_VALUES = 2**30
"""Numbers that one array of a set may hold: 4 GiB as float32, a hundred times the largest published 32 px set."""
_IMAGES = ("images", "image", "x", "data", "pictures")
_LABELS = ("labels", "label", "y", "targets", "target")
_RATES = ("lr", "syn_lr", "step_size")
_RESAVE = "re-save it as plain tensors: torch.save({'images': images, 'labels': labels}, 'set.pt')"
_IMAGE_WORD = re.compile(r"images?(?=[^a-z]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """Pictures and labels of a set, as stored.

    images: (N, a, b, c), channels first or last, any number type. labels: (N,) or (N, classes), None where the file has
    none. form: the container, in words. folders: names of the class folders, by which `labels` are numbered. mean, std:
    of the pixels, where the file says so; normalization: all that an export of ours says of that. classes: names in
    label order, where the file lists them. step_size: a learned rate beside the pictures. student: how students of an
    export of ours are trained (network, students, recipe) and its preset. paired: stored as a bare list of two, as
    IDC's undecoded canvases are. notes: what a user should know of the reading.
    """

    images: Shaped[np.ndarray, ...]
    labels: Shaped[np.ndarray, ...] | None
    form: str
    sha256: str
    folders: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    classes: tuple[str, ...] = ()
    step_size: float | None = None
    student: Mapping[str, Any] = field(default_factory=dict)
    normalization: Mapping[str, Any] = field(default_factory=dict)
    paired: bool = False
    notes: tuple[str, ...] = field(default=())


def read(path: Path) -> Found:
    """What lies at `path`; `ArtefactError` for what cannot be read, `UsageError` for what is no set of pictures."""
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise UsageError(f"there is no {path}", hint="give a file or a folder of a distilled set")
    readers = {".pt": _torch, ".pth": _torch, ".npz": _npz, ".npy": _npy, ".safetensors": _safetensors}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UsageError(
            f"{path} ends in {path.suffix or 'nothing'}, which no form of a distilled set does",
            hint=f"forms: {', '.join(readers)}, and folders of class folders",
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


# Folders


def _folder(path: Path) -> Found:
    inside = [
        file
        for file in sorted(path.iterdir())
        if file.suffix.lower() in {".pt", ".npz", ".npy", ".safetensors"}
        and file.is_file()
        and not file.name.startswith(".")
    ]
    tensors = [file for file in inside if _IMAGE_WORD.search(file.stem)]
    best = [file for file in tensors if file.stem.endswith("best")]
    choice = best or tensors or inside
    if len(choice) == 1:
        return read(choice[0])
    if choice:
        raise UsageError(
            f"{path} holds {len(choice)} files that may be the set: {', '.join(file.name for file in choice[:4])}",
            hint="name one of them",
        )
    root = walk(path)
    names = sorted(name for name, node in root.holders.items() if node.holds)
    if not names:
        raise UsageError(f"{path} holds neither tensors nor folders of pictures", hint="give the folder of the classes")
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        pictures = pictures_below(path / name)
        files += pictures
        labels += [label] * len(pictures)
    try:
        split = read_pictures(files, labels, None, str(path))
    except DataError as error:
        raise UsageError(f"{path}: {error.message}", hint=error.hint) from error
    digest = sha256_of_many(files)
    return Found(split.images, split.labels, "a folder of class folders", digest, folders=tuple(names))


def sha256_of_many(files: Sequence[Path]) -> str:
    """One digest of the bytes of several files, in order."""
    import hashlib

    digest = hashlib.sha256()
    for file in files:
        digest.update(sha256_of(file).encode())
    return digest.hexdigest()


# NumPy


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, RuntimeError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise ArtefactError(
            f"{path} cannot be read: {first}", hint="the file is cut or altered; fetch it anew"
        ) from error


def _claimed(file: Any, there: int, where: str) -> None:
    """Refuse an array whose header claims pickled objects, too many numbers, or other than the `there` bytes."""
    major, _ = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    if dtype.hasobject:
        raise UsageError(f"{where} holds pickled objects, which are not read: they can run code", hint=_RESAVE)
    _bounded(shape, where)
    if math.prod(shape) * dtype.itemsize != there - file.tell():
        raise ArtefactError(
            f"{where} claims {shape} of {dtype}, {math.prod(shape) * dtype.itemsize:,} bytes, and has "
            f"{there - file.tell():,}",
            hint="the file is cut or altered; fetch it anew",
        )


def _bounded(shape: Sequence[int], where: str) -> None:
    if math.prod(shape) > MOST_VALUES:
        raise UsageError(
            f"{where} claims {math.prod(shape):,} numbers, above {MOST_VALUES:,}",
            hint="this is no set that one machine distils into; give a part of it",
        )


def _npy(path: Path) -> Found:
    images = _array(path)
    labels = _beside(path, ".npy")
    return Found(images, None if labels is None else _array(labels), "a NumPy array", "", notes=_told(labels))


def _array(path: Path) -> Shaped[np.ndarray, ...]:
    with _reading(path):
        with path.open("rb") as file:
            _claimed(file, path.stat().st_size, str(path))
        found: Shaped[np.ndarray, ...] = np.load(path, allow_pickle=False)
    return found


def _npz(path: Path) -> Found:
    with _reading(path), zipfile.ZipFile(path) as archive:
        names = [member.filename.removesuffix(".npy") for member in archive.infolist()]
        wanted = [*_wanted(names), *({"description"} & set(names))]
        for member in archive.infolist():
            if member.filename.removesuffix(".npy") in wanted:
                with archive.open(member) as file:
                    head = io.BytesIO(file.read(2**16))
                _claimed(head, member.file_size, f"{path}, {member.filename.removesuffix('.npy')}")
    with _reading(path), np.load(path, allow_pickle=False) as opened:
        arrays = {name: opened[name] for name in wanted}
    text = arrays.pop("description", None)
    found = _table(arrays, path, "a NumPy archive", [name for name in names if name not in wanted])
    ours = text is not None and text.dtype.kind == "U" and str(text).startswith("{")
    return _described(found, str(text), path) if ours else found


def _table(arrays: Mapping[str, Any], path: Path, form: str, others: Sequence[str] = ()) -> Found:
    """A set whose pictures and labels stand under names."""
    images = _named(arrays, _IMAGES)
    if images is None:
        there = ", ".join(sorted(map(str, [*arrays, *others]))) or "nothing"
        raise UsageError(
            f"{path} holds {there}, and no pictures by a name that is known",
            hint=f"call them {' or '.join(_IMAGES[:2])}, and the labels {_LABELS[0]}",
        )
    rate, classes = _named(arrays, _RATES), arrays.get("classes")
    mean, std = (_per_channel(arrays[key]) if {"mean", "std"} <= arrays.keys() else () for key in ("mean", "std"))
    labels = _named(arrays, _LABELS)
    return Found(
        np.asarray(images), None if labels is None else np.asarray(labels), form, "",
        classes=() if classes is None else tuple(map(str, np.asarray(classes).ravel().tolist())),
        mean=mean, std=std, step_size=None if rate is None else _rate(rate),
    )  # fmt: skip


def _wanted(names: Sequence[str]) -> list[str]:
    """What is read of a table: one array of pictures, one of labels, and what is small; the rest is left unread."""
    groups = (_IMAGES, _LABELS, _RATES, ("mean",), ("std",), ("classes",))
    return [name for group in groups for name in [next((n for n in group if n in names), None)] if name is not None]


def _per_channel(values: Any) -> tuple[float, ...]:
    try:
        return tuple(np.asarray(values, dtype=np.float64).ravel().tolist())
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"a mean or deviation of {values!r:.40} is no number", hint="leave it out, say --space"
        ) from error


def _named(arrays: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((arrays[name] for name in names if name in arrays), None)


def _rate(value: Any) -> float | None:
    found = np.asarray(value, dtype=np.float64).ravel()
    return float(found[0]) if found.size == 1 and 0 < float(found[0]) < math.inf else None


def _beside(path: Path, ending: str) -> Path | None:
    """The file of labels that belongs to a file of pictures: `images` in its name is `labels`."""
    if not (word := _IMAGE_WORD.search(path.stem)):
        if re.search(r"labels?(?=[^a-z]|$)", path.stem, re.IGNORECASE):
            raise UsageError(f"{path} is called like labels", hint="give the file of the pictures; labels are found")
        return None
    other = "labels" if word.group().lower() == "images" else "label"
    file = path.with_name(f"{path.stem[: word.start()]}{other}{path.stem[word.end() :]}{ending}")
    return file if file.is_file() else None


def _told(labels: Path | None) -> tuple[str, ...]:
    return () if labels is None else (f"labels from {labels.name}",)


# safetensors


def _safetensors(path: Path) -> Found:
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - no mapping
                _bounded(opened.get_slice(name).get_shape(), f"{path}, {name}")
            names = list(opened.keys())
            tensors = {name: opened.get_tensor(name) for name in _wanted(names)}
            others = [name for name in names if name not in tensors]
            text = (opened.metadata() or {}).get("fredbench", "{}")
    except (safetensors.SafetensorError, OSError, ValueError, TypeError) as error:
        raise ArtefactError(
            f"{path} cannot be read: {error}", hint="the file is cut or altered; fetch it anew"
        ) from error
    arrays: dict[str, Any] = {name: _numbers(tensor, path) for name, tensor in tensors.items()}
    return _described(_table(arrays, path, "safetensors", others), text, path)


def _described(found: Found, text: str, path: Path) -> Found:
    """`found` with what the JSON of our exports says of it."""
    try:
        said = json.loads(text)
    except ValueError as error:
        raise ArtefactError(f"{path} has an unreadable description: {error}", hint="export the set again") from error
    if not isinstance(said, dict):
        return found
    statistics, rate = said.get("normalization"), said.get("step_size")
    statistics = statistics if isinstance(statistics, dict) else {}
    if statistics and not {"kind", "mean", "std"} <= statistics.keys():
        raise ArtefactError(f"{path} has a description whose normalization lacks a part", hint="export the set again")
    known = statistics.get("kind") == "mean-std"
    dataset = said.get("dataset")
    return replace(
        found,
        mean=_per_channel(statistics["mean"]) if known else () if statistics else found.mean,
        std=_per_channel(statistics["std"]) if known else () if statistics else found.std,
        normalization=statistics,
        classes=tuple(dataset.get("classes", ())) if isinstance(dataset, dict) else found.classes,
        step_size=found.step_size if rate is None else _rate(rate),
        student={"preset": said.get("preset"), **said["student"]} if isinstance(said.get("student"), dict) else {},
    )


# torch


def _torch(path: Path) -> Found:
    value = _loaded(path)
    if isinstance(value, Tensor):
        _refuse_companions(path)
        labels, rate = _beside(path, path.suffix), _sibling(path, "lr")
        notes = list(_told(labels))
        if any(path.parent.glob("images_zca_*.pt")):
            notes.append("images_zca_*.pt beside it shows that the run was of whitened (ZCA) pictures")
        return Found(
            _numbers(value, path), None if labels is None else _numbers(_loaded(labels), labels), "a tensor", "",
            step_size=None if rate is None else _rate(_numbers(_loaded(rate), rate)), notes=tuple(notes),
        )  # fmt: skip
    return _container(value, path, "")


def _refuse_companions(path: Path) -> None:
    """`UsageError` for tensors that are no pictures of a set, as the files beside them or their own name says."""
    if path.stem.startswith("images_zca_"):
        raise UsageError(
            f"{path} holds pictures for viewing: MTT writes them un-whitened, whatever their name",
            hint="give images_best.pt, or images_NUMBER.pt beside it",
        )
    hallucinators = [*path.parent.glob("weights_best.pt"), *path.parent.glob("styles_*.pt")]
    if hallucinators:
        raise UsageError(
            f"{hallucinators[0].name} beside {path} says that these are HaBa's bases, which are shown by hallucinators",
            hint="decode them by HaBa's code, save pictures and labels as tensors, and import those",
        )


def _container(value: Any, path: Path, where: str) -> Found:
    """Pictures and labels in what a file of several tensors holds."""
    if isinstance(value, Mapping):
        keys = [str(key) for key in value]
        if any(key.endswith(".enc.weight") for key in keys):
            raise UsageError(
                f"{path} holds hallucinators (HaBa): its pictures are bases shown by networks that only its code has",
                hint="decode them there, save the pictures and labels as tensors, and import those",
            )
        if "nf" in value:
            raise UsageError(
                f"{path} holds neural fields (DDiF), whose frequencies the file does not say",
                hint="import images_best.pt, which the same run writes decoded",
            )
        if isinstance(value.get("data"), (list, tuple)):
            return _container(value["data"], path, " under `data`")
        wanted = _wanted(keys)
        plain = {key: _plain(value[key], path) for key in wanted}
        return _table(plain, path, "a table of tensors", [key for key in keys if key not in wanted])
    if isinstance(value, (list, tuple)) and value:
        items = list(value)
        if len(items) == 2 and all(isinstance(item, Tensor) for item in items) and items[0].ndim == 4:
            images, labels = (_numbers(item, path) for item in items)
            return Found(images, labels, f"a pair of tensors{where}", "", paired=not where)
        if len(items) == 3 and all(isinstance(item, Tensor) for item in items) and items[2].numel() == 1:
            images, labels, rate = (_numbers(item, path) for item in items)
            return Found(images, labels, f"pictures, labels and rate{where}", "", step_size=_rate(rate))
        if all(isinstance(item, Tensor) for item in items) and items[0].ndim in {3, 4}:
            # One tensor of pictures a class, whose labels are the places in the list; or one a picture.
            each = [len(item) for item in items] if items[0].ndim == 4 else []
            places = np.repeat(np.arange(len(each)), each) if each else None
            return Found(_joined(items, path), places, f"a list of {len(items)} tensors{where}", "")
        if isinstance(items[-1], (list, tuple, Mapping)):
            # Experiments, one after the other; the field's readers take the last.
            found = _container(items[-1], path, where or " in a list")
            if len(items) == 1:
                return found
            return replace(found, notes=(*found.notes, f"the last of {len(items)} experiments in the file"))
    raise UsageError(
        f"{path} holds {_shape_of(value)}{where}, which is no set of pictures",
        hint=_RESAVE,
    )


def _plain(value: Any, path: Path) -> Shaped[np.ndarray, ...]:
    """A tensor, a number or a list of numbers or names, as an array."""
    if isinstance(value, Tensor):
        return _numbers(value, path)
    try:
        found = np.asarray(value)
    except (TypeError, ValueError):
        found = np.asarray(None)
    if found.dtype.kind not in "fiubU":
        raise UsageError(f"{path} holds {_shape_of(value)} where numbers belong", hint=_RESAVE)
    return found


def _joined(items: Sequence[Tensor], path: Path) -> Shaped[np.ndarray, "n a b c"]:
    arrays = [_numbers(item, path) for item in items]
    if len({array.shape[-3:] for array in arrays}) != 1:
        raise UsageError(f"{path} holds pictures of several sizes", hint="bring all to the dataset's size first")
    _bounded((sum(array.size for array in arrays),), str(path))
    joined: Shaped[np.ndarray, "n a b c"] = (np.concatenate if arrays[0].ndim == 4 else np.stack)(arrays)
    return joined


def _shape_of(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a table of {', '.join(map(str, list(value)[:5]))}"
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, (list, tuple)) else "")


def _sibling(path: Path, word: str) -> Path | None:
    found = _IMAGE_WORD.search(path.stem)
    if found is None:
        return None
    file = path.with_name(f"{path.stem[: found.start()]}{word}{path.stem[found.end() :]}{path.suffix}")
    return file if file.is_file() else None


def _numbers(value: Any, path: Path) -> Shaped[np.ndarray, ...]:
    """A tensor's numbers on the CPU, bounded before they are copied."""
    if not isinstance(value, Tensor):
        raise UsageError(f"{path} holds {_shape_of(value)} where numbers belong", hint=_RESAVE)
    _bounded(tuple(value.shape), str(path))
    try:
        dense = value.detach().cpu()
        dense = dense.to_dense() if dense.layout != torch.strided else dense
        dense = dense.float() if dense.is_floating_point() and dense.dtype != torch.float64 else dense
        return dense.contiguous().numpy()
    except (TypeError, NotImplementedError, RuntimeError) as error:
        raise UsageError(
            f"{path} holds a tensor of {value.dtype} on {value.device}, which has no plain numbers", hint=_RESAVE
        ) from error


def _loaded(path: Path) -> Any:
    """What `torch.save` wrote, by weights-only loading; nothing that could run code."""
    if not zipfile.is_zipfile(path):
        raise UsageError(
            f"{path} is cut off, or of torch's form before 1.6, which is not read", hint=f"fetch it anew, or {_RESAVE}"
        )
    with _reading(path), zipfile.ZipFile(path) as archive:
        stored = sum(member.file_size for member in archive.infolist())
    _bounded((stored // 4,), str(path))
    try:
        with torch.serialization.safe_globals(_scalars()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UsageError(f"{path} holds {_refused(error)}, which is not read: it can run code", hint=_RESAVE) from error
    except (RuntimeError, EOFError, OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise ArtefactError(
            f"{path} cannot be read: {first}", hint="the file is cut or altered; fetch it anew"
        ) from error


def _refused(error: pickle.UnpicklingError) -> str:
    name = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f"a pickled {name.group(1)}" if name else "pickled objects"


def _scalars() -> list[Any]:
    """What the accuracies in DC's and CAFE's files are made of: NumPy's numbers, under their old and new names."""
    core: Any = np._core if hasattr(np, "_core") else np.core
    scalar = core.multiarray.scalar
    return [
        scalar,
        (scalar, "numpy.core.multiarray.scalar"),
        np.dtype,
        *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32")),
    ]
