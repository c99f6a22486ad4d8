"""Sets in files of `torch.save`, in the containers of the public codes; read by weights-only loading alone."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from fredbench.foundation.errors import ArtefactError, UsageError
from fredbench.importing.found import (
    RESAVE,
    Found,
    beside,
    bounded,
    bounded_list,
    labels_beside,
    rate_of,
    reading_of,
    table,
    told_labels,
    wanted_names,
)

__all__ = ["brain_floats", "numbers_of", "read_torch"]

_DEEPEST = 8
_NUMPYS = (torch.float16, torch.float32, torch.float64)


def read_torch(path: Path) -> Found:
    """A tensor with its labels and rate beside it, or a container of the public codes."""
    value = _loaded(path)
    if isinstance(value, Tensor):
        _refuse_companions(path)
        labels, rate = labels_beside(path, path.suffix), beside(path, "lr")
        notes = list(told_labels(labels))
        whitened = any(path.parent.glob("images_zca_*.pt"))
        if whitened:
            notes.append("images_zca_*.pt beside it shows that the run was of whitened (ZCA) pictures")
        return Found(
            numbers_of(value, path), None if labels is None else numbers_of(_loaded(labels), labels), "a tensor", "",
            brain=_is_brain(value),
            step_size=None if rate is None else rate_of(numbers_of(_loaded(rate), rate)), whitened=whitened,
            notes=tuple(notes),
        )  # fmt: skip
    return _container(value, path, "")


def brain_floats(tensors: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Whether the pictures in a table of tensors are bfloat16; names: all that are there."""
    return any(_is_brain(tensors[name]) for name in wanted_names(names)[:1])


def _is_brain(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.bfloat16


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


def _container(value: Any, path: Path, where: str, depth: int = 0) -> Found:
    """Pictures and labels in what a file of several tensors holds, `depth` containers down."""
    if depth > _DEEPEST:
        raise UsageError(f"{path} holds containers more than {_DEEPEST} deep, or one that holds itself", hint=RESAVE)
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
            return _container(value["data"], path, " under `data`", depth + 1)
        wanted = wanted_names(keys)
        plain = {key: _plain(value[key], path) for key in wanted}
        found = table(plain, path, "a table of tensors", [key for key in keys if key not in wanted])
        return replace(found, brain=brain_floats(value, keys))
    if isinstance(value, (list, tuple)) and value:
        items = list(value)
        if len(items) == 2 and all(isinstance(item, Tensor) for item in items) and items[0].ndim == 4:
            images, labels = (numbers_of(item, path) for item in items)
            said = f"a pair of tensors{where}"
            return Found(images, labels, said, "", paired=not where, brain=_is_brain(items[0]))
        if len(items) == 3 and all(isinstance(item, Tensor) for item in items) and items[2].numel() == 1:
            images, labels, rate = (numbers_of(item, path) for item in items)
            said = f"pictures, labels and rate{where}"
            return Found(images, labels, said, "", step_size=rate_of(rate), brain=_is_brain(items[0]))
        if all(isinstance(item, Tensor) for item in items) and items[0].ndim in {3, 4}:
            # One tensor of pictures a class, whose labels are the places in the list; or one a picture.
            each = [len(item) for item in items] if items[0].ndim == 4 else []
            places = np.repeat(np.arange(len(each)), each) if each else None
            said = f"a list of {len(items)} tensors{where}"
            return Found(_joined(items, path), places, said, "", brain=any(map(_is_brain, items)))
        if isinstance(items[-1], (list, tuple, Mapping)):
            # Experiments, one after the other; the field's readers take the last.
            found = _container(items[-1], path, where or " in a list", depth + 1)
            if len(items) == 1:
                return found
            return replace(found, notes=(*found.notes, f"the last of {len(items)} experiments in the file"))
    raise UsageError(
        f"{path} holds {_shape_of(value)}{where}, which is no set of pictures",
        hint=RESAVE,
    )


def _plain(value: Any, path: Path) -> Shaped[np.ndarray, ...]:
    """A tensor, a number or a list of numbers or names, as an array."""
    if isinstance(value, Tensor):
        return numbers_of(value, path)
    bounded_list(value, str(path))
    try:
        found = np.asarray(value)
    except (TypeError, ValueError):
        found = np.asarray(None)
    if found.dtype.kind not in "fiubU":
        raise UsageError(f"{path} holds {_shape_of(value)} where numbers belong", hint=RESAVE)
    return found


def _joined(items: Sequence[Tensor], path: Path) -> Shaped[np.ndarray, "n a b c"]:
    arrays = [numbers_of(item, path) for item in items]
    if len({array.shape[-3:] for array in arrays}) != 1:
        raise UsageError(f"{path} holds pictures of several sizes", hint="bring all to the dataset's size first")
    bounded((sum(array.size for array in arrays),), str(path))
    joined: Shaped[np.ndarray, "n a b c"] = (np.concatenate if arrays[0].ndim == 4 else np.stack)(arrays)
    return joined


def _shape_of(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a table of {', '.join(map(str, list(value)[:5]))}"
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, (list, tuple)) else "")


def numbers_of(value: Any, path: Path) -> Shaped[np.ndarray, ...]:
    """A tensor's numbers on the CPU, bounded before they are copied."""
    if not isinstance(value, Tensor):
        raise UsageError(f"{path} holds {_shape_of(value)} where numbers belong", hint=RESAVE)
    bounded(tuple(value.shape), str(path))
    try:
        dense = value.detach().cpu()
        dense = dense.to_dense() if dense.layout != torch.strided else dense
        # NumPy lacks some: bfloat16, and the floats of eight bits.
        dense = dense.float() if dense.is_floating_point() and dense.dtype not in _NUMPYS else dense
        return dense.contiguous().numpy()
    except (TypeError, NotImplementedError, RuntimeError) as error:
        raise UsageError(
            f"{path} holds a tensor of {value.dtype} on {value.device}, which has no plain numbers", hint=RESAVE
        ) from error


def _loaded(path: Path) -> Any:
    """What `torch.save` wrote, by weights-only loading; nothing that could run code."""
    if not zipfile.is_zipfile(path):
        raise UsageError(
            f"{path} is cut off, or of torch's form before 1.6, which is not read", hint=f"fetch it anew, or {RESAVE}"
        )
    with reading_of(path), zipfile.ZipFile(path) as archive:
        stored = sum(member.file_size for member in archive.infolist())
    bounded((stored // 4,), str(path))
    try:
        with torch.serialization.safe_globals(_scalars()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UsageError(f"{path} holds {_refused(error)}, which is not read: it can run code", hint=RESAVE) from error
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
