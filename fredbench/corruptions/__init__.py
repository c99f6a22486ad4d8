"""The corruptions of Hendrycks & Dietterich (2019) and C-bar's (2021): whole batches, repeatable picture by picture.

`corrupt(pictures, "fog", 3)` corrupts uint8 pictures; `perturb(pictures, "tilt")` makes sequences of them; `write_set`
writes a whole corrupted test set. NAMES are the 15 corruptions in the literature's order, EXTRAS the 4 held-out ones,
CBAR C-bar's, SEQUENCES the ten perturbations of CIFAR-10-P. Nothing here imports torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fredbench.corruptions.sequences import SEQUENCES
from fredbench.corruptions.severities import (
    ALL,
    CBAR,
    CBAR_ALL,
    CBAR_IMAGENET,
    EXTRAS,
    KNOWN,
    NAMES,
    PROFILES,
    STOCHASTIC,
)

if TYPE_CHECKING:
    from fredbench.corruptions.engine import corrupt as corrupt
    from fredbench.corruptions.indices import evenly_spaced as evenly_spaced
    from fredbench.corruptions.perturbing import perturb as perturb
    from fredbench.corruptions.preview import preview as preview
    from fredbench.corruptions.writer import write_set as write_set

__all__ = [
    "ALL", "CBAR", "CBAR_ALL", "CBAR_IMAGENET", "EXTRAS", "KNOWN", "NAMES", "PROFILES", "SEQUENCES", "STOCHASTIC",
    "corrupt", "evenly_spaced", "perturb", "preview", "write_set",
]  # fmt: skip

# The engine brings a compiler and OpenCV along; names and tables alone must stay light.
_LAZY = {
    "corrupt": "fredbench.corruptions.engine",
    "evenly_spaced": "fredbench.corruptions.indices",
    "perturb": "fredbench.corruptions.perturbing",
    "preview": "fredbench.corruptions.preview",
    "write_set": "fredbench.corruptions.writer",
}


def __getattr__(name: str) -> Any:
    # `preview` is a module and a function of it; importing the module must not shadow the function.
    if name in _LAZY:
        found = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
