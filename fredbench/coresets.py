"""Coresets: a choice of real pictures, stored, counted and scored like every other set."""

from __future__ import annotations

from fredbench.budget import Budget
from fredbench.parameterizations.base import State
from fredbench.parameterizations.pixels import Pixels, PixelsConfig
from fredbench.pictures import RealPictures
from fredbench.rng import Stream

__all__ = ["random_subset"]


def random_subset(real: RealPictures, budget: Budget, rng: Stream, *, draw: int = 0) -> State:
    """The `draw`-th random subset: n pictures a class, uniformly, without replacement.

    The control of every table; its students train on draws 0, 1, .., so that their spread includes the draw.
    """
    return Pixels(PixelsConfig()).init(real, budget, rng.child("random", draw))
