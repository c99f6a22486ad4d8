"""Reading the official CIFAR pickles without running what a pickle may name.

A pickle is a program; these files need only containers, numbers, text and one plain array. Everything else is
refused by name. Stand-ins of our own replace numpy's constructors, so that not even those can be misused.
"""

from __future__ import annotations

import io
import pickle
import re
from typing import Any

import numpy as np
from jaxtyping import UInt8

from fredbench.foundation.errors import DataError

__all__ = ["restricted_loads"]

_WHOLE_NUMBERS = re.compile(r"[<>|]?[ui][1248]")
# What stands for numpy.ndarray where a pickle names the class: an argument to the stand-ins, not callable.
_ARRAY = object()


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _dtype(code: Any, *_: Any) -> np.dtype[Any]:
    if not _WHOLE_NUMBERS.fullmatch(_text(code)):
        raise pickle.UnpicklingError(f"arrays of {_text(code)!r} are not expected here")
    return np.dtype(_text(code), copy=True)


def _reconstruct(kind: Any, *_: Any) -> UInt8[np.ndarray, " 0"]:
    if kind is not _ARRAY:
        raise pickle.UnpicklingError("only plain arrays are expected here")
    # An empty array, filled by the state that follows in the stream.
    return np.ndarray.__new__(np.ndarray, (0,), dtype=np.uint8)


def _frombuffer(buffer: bytes | bytearray, dtype: np.dtype[Any], shape: tuple[int, ...], order: str) -> Any:
    return np.frombuffer(buffer, dtype).reshape(shape, order="F" if order == "F" else "C")


def _scalar(dtype: np.dtype[Any], data: Any) -> int:
    return int(np.frombuffer(data if isinstance(data, bytes) else str(data).encode("latin-1"), dtype)[0])


def _encode(value: Any, encoding: Any = "latin1") -> bytes:
    # Python 3 writes bytes for protocol 2 as text that this function encodes back.
    if _text(encoding) not in {"latin1", "latin-1"}:
        raise pickle.UnpicklingError(f"the encoding {_text(encoding)!r} is not expected here")
    return value if isinstance(value, bytes) else str(value).encode("latin-1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _ARRAY,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
    **{
        (f"numpy.{core}.{module}", name): stand_in
        for core in ("core", "_core")
        for module, name, stand_in in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _frombuffer),
        )
    },
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which such a file does not need") from None


def restricted_loads(data: bytes, where: str) -> dict[str, Any]:
    """The dictionary in a pickle of containers, numbers, text and integer arrays; keys as text.

    Texts written by Python 2 come as bytes. Raises `DataError` naming `where` for a pickle that is cut off,
    damaged, asks for anything else, or holds no dictionary.
    """
    try:
        value = _Unpickler(io.BytesIO(data), encoding="bytes").load()
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        IndexError,
        OverflowError,
        MemoryError,
        ImportError,
    ) as error:
        reason = str(error) or type(error).__name__
        raise DataError(
            f"{where} is cut off or no batch of the official form: {reason}",
            hint="fetch the archive again and unpack it anew",
        ) from error
    if not isinstance(value, dict):
        raise DataError(f"{where} holds a {type(value).__name__}, not a dictionary", hint="fetch the archive again")
    return {_text(key): item for key, item in value.items()}
