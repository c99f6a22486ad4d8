"""What whoever makes a run should know of it beforehand: of its system, and of its pictures."""

from __future__ import annotations

from fredbench.datasets.catalogue import plain_name, split_name
from fredbench.recipes.methods import METHODS
from fredbench.recipes.systems.common import IMAGENET_SUBSETS

__all__ = ["notes_of"]


def notes_of(method: str, dataset: str, preset: str) -> list[str]:
    """Sentences on a run of `method` (a system's name, or any other) on `dataset` (a name, options included).

    By the preset `paper`, that includes pictures of an ImageNet subset that are resized otherwise than the published
    ones, whose resizing the name asks for: a set's pictures are read before its recipe, so that no preset changes them.
    """
    notes = METHODS.get(method).notes(plain_name(dataset)) if method in METHODS else []
    name, options = split_name(dataset)
    if preset == "paper" and name in IMAGENET_SUBSETS and options.get("antialias") != "no":
        notes.append(
            f"pictures are resized with anti-aliasing, the published ones without: {name}?antialias=no reads them so, "
            "for the run and for the suites that test it"
        )
    return notes
