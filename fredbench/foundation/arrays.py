"""Pictures and labels as people hold them, brought to one form: uint8 (n, h, w, c) and int64 (n,), or refused in words.

What is read: arrays of any memory layout and byte order, tensors, lists of arrays or of Pillow's pictures; grey levels
as bytes, as booleans, as floats of 0..1, as whole numbers of 0..255 in any type, and 16-bit values that hold 8 bits
(multiples of 257). What could be meant in two ways is an error that says both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped, UInt8

from fredbench.foundation.errors import UsageError

__all__ = ["as_labels", "as_pictures", "distinct_names", "labels_by_name"]

_CHANNELS = (1, 3)
_PILLOW_MODES = ("1", "L", "RGB")


def as_pictures(
    pictures: Any, *, grey: bool = False, channels_first: bool = True, exact: bool = False
) -> UInt8[np.ndarray, "n h w c"]:
    """`pictures` as uint8 (n, h, w, c) with one or three channels, in one piece of memory; nothing is cut or guessed.

    grey: whether (n, h, w) is a batch of grey pictures, else refused; where it may be one picture it is refused too.
    channels_first: whether (n, c, h, w) is turned, else refused. exact: bytes only, else refused. Raises `UsageError`.
    """
    found = _as_array(pictures)
    if exact and found.dtype != np.uint8:
        raise UsageError(
            f"pictures must be uint8 here, not {found.dtype}", hint="scale to 0..255, round, and cast to uint8 first"
        )
    shaped = _batch_of(found, grey, channels_first)
    return np.ascontiguousarray(_grey_levels(shaped))


def _as_array(values: Any) -> Shaped[np.ndarray, ...]:
    """A plain array of whatever holds numbers, in this machine's byte order."""
    if isinstance(values, (list, tuple)) and values and not np.isscalar(values[0]):
        array = _stacked([_one(value, number) for number, value in enumerate(values)])
    else:
        array = _one(values, None)
    return np.asarray(array, dtype=array.dtype.newbyteorder("="))


def _one(value: Any, number: int | None) -> Shaped[np.ndarray, ...]:
    """One array, tensor or Pillow picture as an array; `number` says which of a list it is."""
    which = "it" if number is None else f"picture {number}"
    if hasattr(value, "getbands") and value.mode not in _PILLOW_MODES:
        raise UsageError(
            f"{which} is of Pillow's mode {value.mode}, which holds more or other than RGB",
            hint="convert it first, such as picture.convert('RGB')",
        )
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise UsageError(f"{which} has masked values", hint="fill them first, such as pictures.filled(0)")
    try:
        found = np.asarray(_off_the_device(value))
        # A grey picture of Pillow's is one without doubt, where an array of two dimensions may be anything.
        return found[..., None] if hasattr(value, "getbands") and found.ndim == 2 else found
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"{which} is no array of numbers: {error}", hint="pass a NumPy array") from error


def _off_the_device(value: Any) -> Any:
    """A tensor as an array; anything else as it is. Known by its methods, so that torch need not be imported."""
    if not hasattr(value, "detach"):
        return value
    tensor = value.detach().cpu()
    return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()


def _stacked(arrays: Sequence[Shaped[np.ndarray, ...]]) -> Shaped[np.ndarray, ...]:
    first = arrays[0]
    for number, array in enumerate(arrays):
        if (array.shape, array.dtype) != (first.shape, first.dtype):
            raise UsageError(
                f"picture {number} is {array.dtype} {array.shape}, picture 0 is {first.dtype} {first.shape}",
                hint="bring all to one size, one mode and one type first",
            )
    return np.stack(arrays)


def _batch_of(array: Shaped[np.ndarray, ...], grey: bool, channels_first: bool) -> Shaped[np.ndarray, "n h w c"]:
    """`array` as (n, h, w, c), or the reason why it is not known to be one."""
    shape = array.shape
    if array.ndim == 3:
        turned: np.ndarray = _grey_batch(array, grey)
        return turned
    if array.ndim != 4:
        raise UsageError(
            f"pictures of shape {shape} are no batch (n, h, w, 3), (n, h, w, 1) or (n, h, w)",
            hint="for one picture use picture[None]; reshape flat rows, such as rows.reshape(-1, 28, 28)",
        )
    if shape[3] in _CHANNELS:
        return array
    if shape[1] not in _CHANNELS:
        raise UsageError(
            f"pictures of shape {shape} have neither one nor three channels",
            hint="drop alpha and other planes first, such as pictures[..., :3]",
        )
    if not channels_first:
        raise UsageError(
            f"pictures of shape {shape} have their channels first",
            hint="turn them: numpy.transpose(pictures, (0, 2, 3, 1)), or tensor.permute(0, 2, 3, 1)",
        )
    return array.transpose(0, 2, 3, 1)


def _grey_batch(array: Shaped[np.ndarray, "n h w"], grey: bool) -> Shaped[np.ndarray, "n h w 1"]:
    """(n, h, w) as (n, h, w, 1), unless it may be one picture."""
    if array.shape[2] in _CHANNELS:
        raise UsageError(
            f"shape {array.shape} is that of one picture, not of a batch", hint="for one picture use picture[None]"
        )
    if array.shape[0] == 3 or not grey:
        raise UsageError(
            f"shape {array.shape} may be one picture with its channels first, or {array.shape[0]} grey ones",
            hint="write pictures[..., None] for grey ones, numpy.transpose(picture, (1, 2, 0))[None] for one picture",
        )
    return array[..., None]


def _grey_levels(array: Shaped[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "n h w c"]:
    """Values as grey levels 0..255."""
    if array.dtype == np.uint8 or not array.size:
        return array.astype(np.uint8, copy=False)
    kind = array.dtype.kind
    if kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if kind not in "iuf":
        raise UsageError(f"pictures of {array.dtype} hold no grey levels", hint="pass numbers, best uint8 0..255")
    low, high = array.min(), array.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UsageError("pictures hold values that are not finite", hint="look for NaN and infinity in them")
    if low < 0:
        raise UsageError(
            f"pictures hold values {low:g}..{high:g}, below 0: they are normalised, or signed",
            hint="undo the normalisation: values are 0..255, or floats of 0..1",
        )
    return _of_floats(array, float(high)) if kind == "f" else _of_whole(array, int(high))


def _of_whole(array: Shaped[np.ndarray, "n h w c"], high: int) -> UInt8[np.ndarray, "n h w c"]:
    if high == 1:
        raise UsageError(
            f"{array.dtype} pictures hold 0 and 1 only: two levels of 255, or black and white?",
            hint="cast to bool for black and white, to uint8 for grey levels 0 and 1",
        )
    if high <= 255:
        return array.astype(np.uint8)
    if high <= 65535 and not (array % 257).any():
        return (array // 257).astype(np.uint8)
    raise UsageError(
        f"{array.dtype} pictures hold values up to {high}: more than 8 bits, which would be cut",
        hint="scale them yourself, such as numpy.rint(pictures / 257).astype('uint8') for 16 bits",
    )


def _of_floats(array: Shaped[np.ndarray, "n h w c"], high: float) -> UInt8[np.ndarray, "n h w c"]:
    if high <= 1:
        return np.floor(array.astype(np.float64) * 255 + 0.5).astype(np.uint8)
    if high <= 255 and np.array_equal(array, np.rint(array)):
        return array.astype(np.uint8)
    raise UsageError(
        f"float pictures hold values up to {high:g}: neither 0..1 nor whole grey levels of 0..255",
        hint="clip to 0..1, or round to whole grey levels: numpy.clip(numpy.rint(pictures), 0, 255).astype('uint8')",
    )


def as_labels(labels: Any, count: int) -> Int64[np.ndarray, " n"] | Shaped[np.ndarray, " n"]:
    """Labels of `count` pictures as int64 (n,), or as text where they are names (see `labels_by_name`).

    Read: whole numbers of any type, (n,), (n, 1) or (1, n); one-hot rows (n, classes). Raises `UsageError` for
    fractions, soft labels, several labels a picture and other counts.
    """
    found = _label_array(labels)
    if found.ndim == 2 and (1 in found.shape) and found.size == count:
        found = found.reshape(-1)
    if found.ndim == 2 and len(found) == count and found.dtype.kind in "biuf":
        found = _one_hot(found)
    if found.shape != (count,):
        raise UsageError(
            f"labels of shape {found.shape} are not one a picture, of {count} pictures",
            hint="pass one whole number a picture, or one-hot rows (n, classes)",
        )
    return found if found.dtype.kind == "U" else _whole(found)


def _label_array(labels: Any) -> Shaped[np.ndarray, ...]:
    try:
        found = np.asarray(_off_the_device(labels))
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"labels are no array: {error}", hint="pass one whole number a picture") from error
    if found.dtype.kind in "SO" and all(isinstance(label, (str, bytes)) for label in found.flat):
        return np.array([_as_text(label) for label in found.flat], dtype=np.str_).reshape(found.shape)
    return found


def _one_hot(rows: Shaped[np.ndarray, "n k"]) -> Int64[np.ndarray, " n"]:
    if not (np.isin(rows, (0, 1)).all() and (rows.sum(axis=1) == 1).all()):
        raise UsageError(
            f"labels of shape {rows.shape} are no one-hot rows: a row is not one 1 among 0s",
            hint="real pictures have one label each: pass labels.argmax(axis=1) if that is what is meant",
        )
    places: np.ndarray = rows.argmax(axis=1).astype(np.int64)
    return places


def _whole(labels: Shaped[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    if labels.dtype.kind == "O":
        labels = np.array(labels.tolist())
    if labels.dtype.kind not in "biuf":
        raise UsageError(f"labels of {labels.dtype} are no whole numbers", hint="pass 0, 1, 2, …, or class names")
    if labels.dtype.kind == "f" and not (np.isfinite(labels).all() and np.array_equal(labels, np.rint(labels))):
        raise UsageError("labels hold numbers that are not whole", hint="pass 0, 1, 2, …, or class names")
    return np.array(labels, dtype=np.int64)


def labels_by_name(labels: Shaped[np.ndarray, " n"], names: Sequence[str]) -> Int64[np.ndarray, " n"]:
    """Text labels as positions in `names`; numbers as they are. `UsageError` for a label that is no name."""
    if labels.dtype.kind != "U":
        return labels
    place = {name: number for number, name in enumerate(names)}
    if unknown := sorted(set(labels.tolist()) - set(place)):
        raise UsageError(
            f"labels {', '.join(map(repr, unknown[:5]))} are none of the classes {', '.join(map(repr, names[:10]))}",
            hint="name every label among the classes, or pass whole numbers",
        )
    return np.array([place[label] for label in labels.tolist()], dtype=np.int64)


def _as_text(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def distinct_names(names: Any) -> tuple[str, ...]:
    """Class names as text, whatever they were (numbers, bytes); `UsageError` where two are the same."""
    text = tuple(_as_text(name) for name in names)
    if twice := sorted({name for name in text if text.count(name) > 1}):
        raise UsageError(f"two classes are called {twice[0]!r}", hint="give every class a name of its own")
    return text
