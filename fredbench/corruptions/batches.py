"""What the engine hands to a corruption: a few pictures with everything that decides their outcome."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8, UInt64

from fredbench.corruptions.severities import Family, Row
from fredbench.corruptions.textures import FrostSource

__all__ = ["Batch"]


@dataclass(frozen=True)
class Batch:
    """A few pictures with their streams' keys and everything else that decides the outcome."""

    pictures: UInt8[np.ndarray, "n h w 3"]
    keys: UInt64[np.ndarray, " n"]
    row: Row
    family: Family
    frost: FrostSource

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.pictures.shape[1], self.pictures.shape[2]
