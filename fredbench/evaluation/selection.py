"""Which iterate of a run is scored: the last, as everywhere here, or the best of its checkpoints, as often published.

Trajectory matching, HaBa, FRePo and FreD's trajectory matching print the highest mean test accuracy over up to 51
checkpoints; DC, DSA and DM the last iterate. The first is an upper bound, so it never stands in a number's place: it
stands beside the last iterate's, under its name and with the number of checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from fredbench.evaluation.statistics import Sample

__all__ = ["SELECTIONS", "Candidate", "Selected", "Selection", "explained"]

Selection = Literal["last", "best-on-test", "best-on-validation"]
SELECTIONS: tuple[Selection, ...] = ("last", "best-on-test", "best-on-validation")


@dataclass(frozen=True)
class Candidate:
    """One checkpoint's students: accuracies in percent on clean test pictures and, where chosen by them, validation."""

    iteration: int
    clean: Sample
    validation: Sample | None = None

    def to_mapping(self) -> dict[str, Any]:
        """As the JSON tables hold it."""
        seen = {} if self.validation is None else {"validation": self.validation.to_mapping()}
        return {"iteration": self.iteration, "clean": self.clean.to_mapping(), **seen}


@dataclass(frozen=True)
class Selected:
    """A choice among the checkpoints of a run, in rising order of iteration, of which the last is the run's own set."""

    by: Selection
    candidates: tuple[Candidate, ...]

    @property
    def best(self) -> Candidate:
        """The candidate of the highest mean over students on what it is chosen by; the first of equals."""
        return max(self.candidates, key=self._judged)

    @property
    def gap(self) -> float:
        """What the choice adds to the clean accuracy of the last iterate, in points."""
        return self.best.clean.mean - self.candidates[-1].clean.mean

    def _judged(self, candidate: Candidate) -> float:
        if self.by == "best-on-test":
            return candidate.clean.mean
        if candidate.validation is None:
            raise ValueError(f"the checkpoint after iteration {candidate.iteration} has no validation accuracy")
        return candidate.validation.mean

    def __str__(self) -> str:
        best = self.best
        return f"{best.clean} (best of {len(self.candidates)}, iteration {best.iteration})"

    def to_mapping(self) -> dict[str, Any]:
        """As the JSON tables hold it: what was chosen, of how many, beside the last."""
        best = self.best
        return {
            "by": self.by,
            "checkpoints": len(self.candidates),
            **best.to_mapping(),
            "last": self.candidates[-1].clean.to_mapping(),
            "above_last": round(self.gap, 4),
            "candidates": [candidate.to_mapping() for candidate in self.candidates],
        }


def explained(by: Selection) -> str:
    """What the column of a selection means, for the notes of a table."""
    if by == "best-on-test":
        return (
            "best-on-test: the checkpoint of the highest mean on the very pictures that are shown, as TM, HaBa, FRePo "
            "and FreD's TM are published; an upper bound. All other numbers are of the last iterate."
        )
    return (
        "best-on-validation: the checkpoint of the highest mean on training pictures that were held out of the "
        "distillation. All other numbers are of the last iterate."
    )
