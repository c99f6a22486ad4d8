"""Who takes part in a table: finished runs, each with what it is compared with.

Every distilled run brings its control (a random subset of the same budget and recipe) and its start (the same
parameterization at zero iterations); they are made where missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fredbench.datasets import Dataset
from fredbench.foundation.errors import UsageError
from fredbench.foundation.progress import say
from fredbench.parameterizations.budget import Budget
from fredbench.runs import distillation
from fredbench.runs.preprocessing import training_split
from fredbench.runs.spec import Spec
from fredbench.runs.store import RunFolder, Store
from fredbench.runs.synset import Synset, load

__all__ = ["Entrant", "companion_specs", "companions", "with_companions"]


@dataclass(frozen=True)
class Entrant:
    """A finished run that takes part: its folder, spec and synset."""

    folder: RunFolder
    spec: Spec
    synset: Synset

    @staticmethod
    def of(folder: RunFolder) -> Entrant:
        """Open a finished run; a run that is not finished is a `UsageError`."""
        if not folder.finished:
            raise UsageError(f"{folder.path} is not finished", hint="run its distill command again to go on")
        return Entrant(folder, folder.spec(), load(folder.synset_file))

    @property
    def key(self) -> str:
        """What tells it from other entrants: its run, and where along the run its set was kept."""
        return f"{self.spec.digest()} after {self.synset.header['iterations']}"


def with_companions(entrants: Sequence[Entrant], store: Store, dataset: Dataset) -> list[Entrant]:
    """`entrants`, each followed by its start and its control, made now where the store has none."""
    chosen: dict[str, Entrant] = {}
    for entrant in entrants:
        chosen.setdefault(entrant.spec.digest(), entrant)
        for companion in companions(entrant.spec, dataset, told=True):
            if companion.digest() not in chosen:
                folder = store.folder_for(companion)
                distillation.run(companion, dataset, folder)
                chosen[companion.digest()] = Entrant.of(folder)
    return list(chosen.values())


def companions(spec: Spec, dataset: Dataset, *, told: bool = False) -> list[Spec]:
    """Start and control of a run that is neither: the latter where there are real pictures for one.

    `told`: it is said where there is none.
    """
    if spec.is_control or spec.is_start:
        return []
    budget = Budget(spec.budget, len(dataset.classes), (dataset.channels, *dataset.size))
    *starts, control = companion_specs(spec)
    if not (why := _no_control(spec, dataset, budget.whole_pictures)):
        return [*starts, control]
    if told:
        say(f"note: {why}, so {spec.folder_name()} has no control")
    return starts


def companion_specs(spec: Spec) -> list[Spec]:
    """The runs that a distilled one is compared with, start before control; none for a start or a control."""
    if spec.is_control or spec.is_start:
        return []
    # A choice of real pictures has no start, nor has a set made elsewhere: nothing is distilled here.
    return [*([] if spec.is_choice or spec.is_imported else [spec.start()]), spec.control()]


def _no_control(spec: Spec, dataset: Dataset, pictures: int) -> str:
    """Why no random subset of `pictures` a class can stand beside a run; empty where one can.

    A set that starts from noise may hold more pictures than its smallest class has real ones.
    """
    if not pictures:
        return f"{spec.budget:,} scalars buy no whole picture a class"
    split = training_split(dataset, spec.split)
    counts = np.bincount(split.labels, minlength=len(dataset.classes))
    smallest = int(counts.argmin())
    if counts[smallest] >= pictures:
        return ""
    return (
        f"class {dataset.classes[smallest]!r} has {counts[smallest]} training pictures, {pictures} a class are stored"
    )
