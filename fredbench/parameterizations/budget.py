"""The ledger: what counts against #Params, what does not, under both conventions.

The literature's budget at IPC n is `n * C * D` scalars (C classes, D scalars a picture). FreD's paper convention
counts stored coefficients only; `params_strict` adds the mask's bits / 32, learned labels, a learned step size and a
decoder's weights. Labels fixed in class order count nothing under either.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from fredbench.foundation.errors import BudgetError

__all__ = ["Budget", "Ledger"]


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
    """What a synset stores, item by item; `decoded` is the number of pictures it becomes."""

    params: int
    decoded: int
    mask_bits: int = 0
    label_scalars: int = 0
    step_size_scalars: int = 0
    decoder_scalars: int = 0

    @property
    def params_strict(self) -> int:
        """Everything counted: params + mask bits / 32 (rounded up) + labels + step size + decoder."""
        extras = self.label_scalars + self.step_size_scalars + self.decoder_scalars
        return self.params + math.ceil(self.mask_bits / 32) + extras

    def to_mapping(self) -> dict[str, int]:
        """All items and `params_strict`, for headers and results."""
        return {**asdict(self), "params_strict": self.params_strict}
