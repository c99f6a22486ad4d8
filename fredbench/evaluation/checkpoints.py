"""Scoring the checkpoints of runs: students of each, trained and stored as all are, and the choice among them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from fredbench.datasets import Dataset, carve_validation
from fredbench.evaluation.domains import CLEAN, TestDomains, domains_of
from fredbench.evaluation.entrants import Entrant
from fredbench.evaluation.scoring import Evaluation
from fredbench.evaluation.selection import SELECTIONS, Candidate, Selected, Selection
from fredbench.evaluation.statistics import Sample
from fredbench.foundation.errors import UnknownNameError, UsageError
from fredbench.recipes.reproducing import distill_command
from fredbench.runs.checkpoints import kept
from fredbench.suites.corruption import CorruptionSuite

__all__ = ["score_checkpoints"]


def score_checkpoints(
    evaluation: Evaluation, entrants: Sequence[Entrant], by: Selection
) -> dict[str, Mapping[str, Selected]]:
    """By the path of a distilled run and by network: the choice among its checkpoints on clean test pictures.

    Nothing for `last`, and nothing of starts and of choices of real pictures, which have no iterates. `UsageError`,
    before anything is trained, for a run that kept no checkpoint and, by validation, for one that distilled from all
    training pictures.
    """
    if by not in SELECTIONS:
        raise UnknownNameError("selection", by, SELECTIONS)
    if by == "last":
        return {}
    chosen = [entrant for entrant in entrants if entrant.spec.iterations]
    if not chosen:
        raise UsageError(
            f"--selection {by} chooses among iterates, and none of these runs has any",
            hint="name a distilled run, see `fredbench list runs`",
        )
    sets = {entrant.key: _sets(entrant, by, evaluation.dataset) for entrant in chosen}
    held_out = None if by == "best-on-test" else _on_validation(evaluation)
    return {str(entrant.folder.path): _selected(evaluation, held_out, sets[entrant.key], by) for entrant in chosen}


def _sets(entrant: Entrant, by: Selection, dataset: Dataset) -> list[Entrant]:
    """The checkpoints of a run as entrants, its own set last."""
    name = entrant.folder.path.name
    if by == "best-on-validation" and entrant.spec.split == "train":
        raise UsageError(
            f"{name} was distilled from all training pictures, so none is left to choose a checkpoint by",
            hint="distill with --preset fair or --preset quick, which hold validation pictures out",
        )
    found = [dataclasses.replace(entrant, synset=synset) for synset in kept(entrant.folder, entrant.spec)]
    if len(found) < 2:
        again = distill_command(entrant.spec, dataset).partition("  #")[0]
        count = min(10, entrant.spec.iterations)
        named = "" if name == entrant.spec.folder_name() else f" --name {name}"
        raise UsageError(
            f"{name} kept no checkpoints to choose among",
            hint=f"make it again, which ends in the same set: {again}{named} --checkpoints {count} --fresh",
        )
    return found


def _on_validation(evaluation: Evaluation) -> Evaluation:
    """The same evaluation with the held-out training pictures, all of them, in the place of the test split."""
    data = evaluation.dataset
    train, validation = carve_validation(data.train)
    stand_in = Dataset.from_splits(f"{data.title} validation", train, validation, data.classes, flip=data.flip)
    domains: TestDomains = domains_of(CorruptionSuite.clean_only(data.name), stand_in, None)
    return dataclasses.replace(evaluation, dataset=stand_in, domains=domains)


def _selected(
    evaluation: Evaluation, held_out: Evaluation | None, sets: Sequence[Entrant], by: Selection
) -> dict[str, Selected]:
    """The choice for each network."""
    # By what is chosen before by what is shown, so that a stopped evaluation never looked at the test split early.
    judged = None if held_out is None else _accuracies(held_out, sets)
    clean = _accuracies(evaluation, sets)
    iterations = [int(entrant.synset.header["iterations"]) for entrant in sets]

    def candidate(number: int, network: str) -> Candidate:
        seen = None if judged is None else judged[number][network]
        return Candidate(iterations[number], clean[number][network], seen)

    return {
        network: Selected(by, tuple(candidate(number, network) for number in range(len(sets)))) for network in clean[0]
    }


def _accuracies(evaluation: Evaluation, sets: Sequence[Entrant]) -> list[Mapping[str, Sample]]:
    """Clean accuracy by network, a mapping a set."""
    return [row.networks or {row.network: row.clean} for row in evaluation.rows(sets, [CLEAN])]
