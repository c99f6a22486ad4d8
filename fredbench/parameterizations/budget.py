"""The ledger: what counts against #Params, what does not, under both conventions.

The literature's budget at IPC n is `n * C * D` scalars (C classes, D scalars a picture). FreD's paper convention
counts stored coefficients only; `params_strict` adds the mask's bits / 32, learned labels, a learned step size and a
decoder's weights. Labels fixed in class order count nothing under either. A third count is of bytes (`Storage`): a
scalar may be kept in eight bytes or in one, and what is kept may be coded without loss.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from fredbench.foundation.coding import CODER, InBytes, coded_size
from fredbench.foundation.errors import BudgetError

__all__ = ["Budget", "Ledger", "Storage", "raw_bytes"]

_HALF = ("float16", "bfloat16")


@dataclass(frozen=True)
class Budget:
    """How many scalars a synset may store: `scalars`, for `classes` classes of pictures of `shape` (ch, H, W)."""

    scalars: int
    classes: int
    shape: tuple[int, int, int]

    @staticmethod
    def for_ipc(ipc: int, classes: int, shape: tuple[int, int, int]) -> Budget:
        """`ipc` whole pictures a class."""
        if ipc < 1:
            raise BudgetError(f"ipc must be at least 1, not {ipc}", hint="give --ipc 1 or more")
        return Budget(ipc * classes * math.prod(shape), classes, shape)

    @property
    def per_class(self) -> int:
        """Scalars for one class, rounded down."""
        return self.scalars // self.classes

    @property
    def picture(self) -> int:
        """Scalars of one whole picture, D = ch * H * W."""
        return math.prod(self.shape)

    @property
    def whole_pictures(self) -> int:
        """Whole pictures a class that fit."""
        return self.per_class // self.picture

    def check(self, ledger: Ledger) -> None:
        """Raise `BudgetError` when `ledger` counts more than the budget under the paper's convention."""
        if ledger.params > self.scalars:
            raise BudgetError(
                f"the synset would store {ledger.params:,} scalars, over the budget of {self.scalars:,}",
                hint="raise --ipc or --params, or store fewer coefficients or instances",
            )


@dataclass(frozen=True)
class Ledger:
    """What a synset stores, item by item; `decoded` is the number of pictures it becomes.

    half_scalars: numbers of two bytes each, where the paper's convention counts bytes (GSDD): two of them are one of
    `params`, and in `params_strict` each is one.
    """

    params: int
    decoded: int
    mask_bits: int = 0
    label_scalars: int = 0
    step_size_scalars: int = 0
    decoder_scalars: int = 0
    half_scalars: int = 0

    @property
    def params_strict(self) -> int:
        """Everything counted: params + mask bits / 32 (rounded up) + labels + step size + decoder + halves left out."""
        extras = self.label_scalars + self.step_size_scalars + self.decoder_scalars
        return self.params + math.ceil(self.mask_bits / 32) + extras + self.half_scalars // 2

    def to_mapping(self) -> dict[str, int]:
        """All items and `params_strict`, for headers and results; numbers of two bytes only where there are some."""
        items = asdict(self)
        # Artefacts of before there were any have no such item.
        if not self.half_scalars:
            del items["half_scalars"]
        return {**items, "params_strict": self.params_strict}


def raw_bytes(tensor: Tensor) -> bytes:
    """The numbers of `tensor` in order, each in its own type, little-endian; also types that NumPy lacks (bfloat16)."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    single = flat.view(torch.uint8)
    if sys.byteorder == "big":
        single = single.reshape(len(flat), -1).flip(1)
    return single.numpy().tobytes()


@dataclass(frozen=True)
class Storage(InBytes):
    """What a synset takes in bytes: all its tensors, free ones too, and a learned step size as one float32.

    What follows from the order of the classes (hard labels) takes none. pixels: of the real training pictures that the
    set stands for, height times width of each, all channels together; None where nobody said how many there are.
    """

    tensors: Mapping[str, Tensor] = field(repr=False, compare=False)
    step_size: float | None = None
    pixels: int | None = None

    @cached_property
    def stored(self) -> int:
        """Bytes as they are kept, each number in its own type."""
        kept = sum(tensor.numel() * tensor.element_size() for tensor in self.tensors.values())
        return kept + (0 if self.step_size is None else 4)

    @cached_property
    def coded(self) -> int:
        """Bytes after `CODER`; takes about a second a MB. Versions of liblzma may differ by some bytes."""
        parts = [raw_bytes(self.tensors[name]) for name in sorted(self.tensors)]
        data = b"".join(parts) + (b"" if self.step_size is None else struct.pack("<f", self.step_size))
        return coded_size(data)

    @property
    def types(self) -> dict[str, str]:
        """The type of each tensor's numbers, by the tensor's name."""
        return {name: str(self.tensors[name].dtype).removeprefix("torch.") for name in sorted(self.tensors)}

    @property
    def half(self) -> str:
        """Which tensors are kept in half precision, in words; empty where none is."""
        found = [f"{name} ({kind})" for name, kind in self.types.items() if kind in _HALF]
        return ", ".join(found)

    def bits_a_pixel(self, size: int) -> float | None:
        """Bits of `size` bytes for each pixel of the real training pictures."""
        return 8 * size / self.pixels if self.pixels else None

    def to_mapping(self) -> dict[str, Any]:
        """As the JSON tables hold it."""
        coded = self.bits_a_pixel(self.coded)
        return {
            **self.kept(),
            "bytes_coded": self.coded,
            "coder": CODER,
            "bits_per_pixel_coded": None if coded is None else round(coded, 8),
        }

    def kept(self) -> dict[str, Any]:
        """The same without what the coder has to be run for."""
        plain = self.bits_a_pixel(self.stored)
        return {
            "bytes": self.stored,
            "types": self.types,
            "real_pixels": self.pixels,
            "bits_per_pixel": None if plain is None else round(plain, 8),
        }
