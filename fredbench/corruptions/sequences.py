"""The perturbation sequences of CIFAR-10-P: which there are and how many pictures each has. No arithmetic, so light.

Source: the generator `ImageNet-P/create_p/make_cifar_p.py` and the evaluator `ImageNet-P/cifar-p-eval.py` of
hendrycks/robustness (Hendrycks & Dietterich, ICLR 2019); the ten that are scored. ImageNet-P is stored as lossy video
and has no constants here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from fredbench.foundation.errors import UnknownNameError

__all__ = ["SEQUENCES", "SequenceKind", "own_sequences", "sequence_named", "sequences_named"]

_MADE_FOR: Final = 32


@dataclass(frozen=True)
class SequenceKind:
    """A perturbation. frames: pictures in a sequence. reference: the picture that each later one is compared with,
    the `first` (noise, drawn afresh for each) or the `previous` one. what: it in words.
    """

    name: str
    frames: int
    reference: Literal["first", "previous"]
    what: str


_KINDS = (
    SequenceKind("gaussian_noise", 31, "first", "the picture, then noise of deviation .02, drawn afresh each time"),
    SequenceKind("shot_noise", 31, "first", "the picture, then Poisson noise of 700 photons, drawn afresh each time"),
    SequenceKind("motion_blur", 21, "previous", "a blur whose direction turns by 9 degrees"),
    SequenceKind("zoom_blur", 31, "previous", "the mean of the picture and ever more of its zooms by .4 %"),
    SequenceKind("snow", 31, "previous", "one layer of flakes whose direction turns by 4 degrees"),
    SequenceKind("brightness", 31, "previous", "value of HSV from -.225 to +.225 by .015"),
    SequenceKind("translate", 16, "previous", "from 7 pixels to the left to 8 to the right by one"),
    SequenceKind("rotate", 31, "previous", "from -15 to +15 degrees by one"),
    SequenceKind("tilt", 31, "previous", "turned out of its plane about both axes, -11.25 to +11.25 degrees by .75"),
    SequenceKind("scale", 31, "previous", "from 70 % to 130 % by 2 %"),
)

SEQUENCES: Final[Mapping[str, SequenceKind]] = {kind.name: kind for kind in _KINDS}
"""The ten by name, in the literature's order."""


def sequence_named(name: str) -> SequenceKind:
    """The perturbation called `name`; UnknownNameError."""
    if name not in SEQUENCES:
        raise UnknownNameError("perturbation", name, SEQUENCES)
    return SEQUENCES[name]


def sequences_named(names: Iterable[str]) -> tuple[str, ...]:
    """Those names without repetition, of which `all` means the ten; UnknownNameError."""
    asked = dict.fromkeys(names)
    known = [sequence_named(name).name for name in asked if name != "all"]
    return tuple(SEQUENCES) if "all" in asked else tuple(known)


def own_sequences(size: tuple[int, int]) -> str:
    """What must be said of sequences at (H, W) pixels: nothing at 32, which their constants were made for."""
    height, width = size
    if (height, width) == (_MADE_FOR, _MADE_FOR):
        return ""
    return f"CIFAR-10-P's constants, made for {_MADE_FOR} pixels, at {height}×{width}: sequences of fredbench's own"
