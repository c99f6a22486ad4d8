"""What sets are counted in, and the lossless coder by which they are compared in bytes; no tensor is needed for it."""

from __future__ import annotations

import lzma
from abc import ABC, abstractmethod
from typing import Any, Literal

__all__ = ["BUDGETS", "CODER", "BudgetBy", "InBytes", "coded_size"]

BudgetBy = Literal["params", "strict", "bytes"]
BUDGETS: tuple[BudgetBy, ...] = ("params", "strict", "bytes")
"""What a budget may be counted in: scalars of the paper's convention, scalars with everything, bytes."""

CODER = "xz (LZMA2, preset 9 extreme) of the raw little-endian tensors, one after the other by name"
# Preset 9 asks for a dictionary of 64 MiB, and ten times that in memory; one that holds all of the data codes the same.
_DICTIONARY = (1 << 12, 1 << 26)


def coded_size(data: bytes) -> int:
    """Bytes of `data` after `CODER`; takes about a second a MB. Versions of liblzma may differ by some bytes."""
    least, most = _DICTIONARY
    size = min(max(least, 1 << (len(data) - 1).bit_length()), most)
    settings = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": size}
    return len(lzma.compress(data, format=lzma.FORMAT_XZ, filters=[settings]))


class InBytes(ABC):
    """What a set takes in bytes, for who shows it and has no tensors at hand."""

    @property
    @abstractmethod
    def stored(self) -> int:
        """As it is kept, each number in its own type."""

    @property
    @abstractmethod
    def coded(self) -> int:
        """After `CODER`."""

    @property
    @abstractmethod
    def half(self) -> str:
        """Which tensors are kept in half precision, in words; empty where none is."""

    @abstractmethod
    def kept(self) -> dict[str, Any]:
        """As JSON has it, without what must be coded first."""

    @abstractmethod
    def to_mapping(self) -> dict[str, Any]:
        """As the JSON tables hold it."""
