"""Randomness: one root seed, named child streams, no global generator and no clock.

A stream is nothing but a path of names below a root seed, so it can be made anew at any time and place: the draws
of iteration 137 do not depend on whether iterations 0..136 ran in this process, in an earlier one that was killed,
or in another worker. That is what makes resumed runs bit-equal without storing generator states.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import device as TorchDevice

__all__ = ["Stream"]


@dataclass(frozen=True)
class Stream:
    """A named stream of random draws; `Stream(0).child("student", 3)` is always the same one."""

    seed: int
    path: tuple[str, ...] = ()

    def child(self, *names: str | int) -> Stream:
        """The stream below this one under `names`; independent of its siblings."""
        return Stream(self.seed, (*self.path, *(str(name) for name in names)))

    def integer(self) -> int:
        """The 63-bit seed of this stream, a BLAKE2 hash of root seed and path."""
        # Length-prefixed, so that ("ab", "c") and ("a", "bc") differ.
        text = ":".join([str(self.seed), *(f"{len(name)}.{name}" for name in self.path)])
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1

    def numpy(self) -> np.random.Generator:
        """A fresh NumPy generator (Philox, counter-based) at the start of this stream."""
        return np.random.Generator(np.random.Philox(self.integer()))

    def torch(self) -> torch.Generator:
        """A fresh CPU torch generator at the start of this stream.

        Always on the CPU: draws are moved to the device, so that CPU and GPU runs see the same numbers.
        """
        import torch

        generator = torch.Generator(device="cpu")
        generator.manual_seed(self.integer())
        return generator

    @contextlib.contextmanager
    def lent(self, device: TorchDevice | None = None) -> Iterator[None]:
        """Let code that only knows torch's global generators, of the CPU and of `device`, draw from this stream.

        For layers that draw (dropout, drop-path) and for the initialisations of other libraries. Seeded here, the one
        place where that is done, and put back on leaving: whoever else draws from them is not disturbed.
        """
        import torch.random

        cards = [] if device is None or device.type != "cuda" else [device.index or 0]
        with torch.random.fork_rng(devices=cards):
            torch.default_generator.manual_seed(self.integer())
            for card in cards:
                torch.cuda.default_generators[card].manual_seed(self.integer())
            yield
