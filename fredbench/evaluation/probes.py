"""What is measured of students beside their predictions on a suite's domains, one mechanism for all kinds of it.

A probe names its pieces: a file beside a student, and what makes its tensors. Those that are missing are made, and what
a row says follows from the files alone, so that a probe that was stopped goes on and is asked for again at no cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

import fredbench
from fredbench.corruptions import evenly_spaced
from fredbench.corruptions.engine import checked_pictures
from fredbench.corruptions.sequences import own_sequences
from fredbench.corruptions.severities import PIXELS
from fredbench.datasets import Dataset
from fredbench.evaluation.aggregation import Outcomes
from fredbench.evaluation.attacked import Attacks
from fredbench.evaluation.attacking import DIVERGED, Prey, attack_scores
from fredbench.evaluation.outliers import familiarity, outlier_scores
from fredbench.evaluation.stability import Sequences, ranked, stability
from fredbench.evaluation.students import StudentPlan, stored_predictions
from fredbench.evaluation.threats import Attack
from fredbench.foundation.errors import CompatibilityError, UsageError
from fredbench.networks.base import Network
from fredbench.training.kept import read_tensors
from fredbench.training.preprocessing import Preprocessing

__all__ = ["AttackProbe", "OutlierProbe", "Piece", "Probe", "Seen", "SequenceProbe"]


@dataclass(frozen=True)
class Seen:
    """An entrant's students of one network, and the test pictures as they are given them.

    normalization: what it says of how pictures are prepared; `preprocessing` makes that when it is needed. limit: test
    pictures that are scored clean, None for all.
    """

    students: Sequence[StudentPlan]
    dataset: Dataset
    normalization: Mapping[str, Any]
    preprocessing: Callable[[], Preprocessing]
    device: torch.device
    limit: int | None

    def indices(self, data: Dataset, limit: int | None = None) -> Int64[np.ndarray, " n"]:
        """Evenly spaced test pictures of `data`: `limit`, or as many as are scored clean."""
        total = len(data.test.labels)
        return evenly_spaced(total, min(limit or self.limit or total, total))

    def key(self, domain: str, **more: Any) -> dict[str, Any]:
        """What determines a piece, for the name of its file."""
        return {
            "domain": domain,
            **more,
            "test": self.dataset.test_fingerprint,
            "normalization": dict(self.normalization),
            "engine": fredbench.__version__,
        }


@dataclass(frozen=True)
class Piece:
    """A file beside a student and what makes its tensors."""

    file: Path
    make: Callable[[], Mapping[str, Tensor]]


@runtime_checkable
class Probe(Protocol):
    """A kind of measurement."""

    @property
    def title(self) -> str:
        """What is done meanwhile, in words."""
        ...

    def check(self, seen: Seen) -> None:
        """Refuse students that cannot be measured so, before they are trained."""

    def pieces(self, seen: Seen) -> Iterator[Piece]:
        """All that it takes, there or not."""

    def fields(self, seen: Seen) -> dict[str, Any]:
        """Fields of a row, from the files of all pieces."""


@dataclass(frozen=True)
class AttackProbe:
    """Every student under every attack at every radius, and on the same pictures as they are."""

    asked: Attacks
    title: str = "attacking students"

    def check(self, seen: Seen) -> None:
        """To be transferred pictures are made on another student."""
        if any(attack.transfer for attack in self.asked.attacks) and len(seen.students) < 2:
            raise UsageError("--attack transfer needs two students a set", hint="give --students 2 or more")

    def pieces(self, seen: Seen) -> Iterator[Piece]:
        """A student at a time."""
        for place in range(len(seen.students)):
            for attack, epsilon in [(None, 0.0), *self.asked.pairs()]:
                make = partial(self._made, seen, place, attack, epsilon)
                yield Piece(self._file(seen, place, attack, epsilon), make)

    def fields(self, seen: Seen) -> dict[str, Any]:
        """What attacks left."""
        labels = seen.dataset.test.labels[seen.indices(seen.dataset, self.asked.limit)]

        def outcomes(attack: Attack | None, epsilon: float) -> Outcomes:
            files = [self._file(seen, place, attack, epsilon) for place in range(len(seen.students))]
            return Outcomes([stored_predictions(file) for file in files], labels)

        return {"attacked": attack_scores(self.asked, outcomes(None, 0.0), outcomes)}

    @staticmethod
    def _source(seen: Seen, place: int, attack: Attack | None) -> StudentPlan:
        """The student that pictures are made on: the one itself or, to be transferred, the next."""
        away = 1 if attack is not None and attack.transfer else 0
        return seen.students[(place + away) % len(seen.students)]

    def _file(self, seen: Seen, place: int, attack: Attack | None, epsilon: float) -> Path:
        plan, source = seen.students[place], self._source(seen, place, attack)
        key = seen.key(
            "attack",
            attack=None if attack is None else attack.to_mapping(),
            epsilon=epsilon,
            source="" if source is plan else source.digest(),
            pictures=len(seen.indices(seen.dataset, self.asked.limit)),
        )
        return plan.scores_file(key)

    def _made(self, seen: Seen, place: int, attack: Attack | None, epsilon: float) -> Mapping[str, Tensor]:
        plan, source = seen.students[place], self._source(seen, place, attack)
        plan.ensure()
        source.ensure()
        indices, test = seen.indices(seen.dataset, self.asked.limit), seen.dataset.test
        prey = Prey(
            test.images[indices], test.labels[indices], indices.tolist(), seen.preprocessing(),
            plan.recipe.standardise, seen.device,
        )  # fmt: skip
        student = plan.load()
        other = student if source is plan else source.load()
        return prey.predictions(student, attack, epsilon, source=other).to_tensors()


@dataclass(frozen=True)
class OutlierProbe:
    """How familiar test pictures of one's own and of other datasets look to every student."""

    others: tuple[Dataset, ...]
    title: str = "looking at other pictures"

    def check(self, seen: Seen) -> None:
        """The nearest picture is looked for by features, which not every network has."""
        network = seen.students[0].network_blank()
        if not isinstance(network, Network):
            return
        try:
            network.check_embedding()
        except CompatibilityError as error:
            raise CompatibilityError(
                f"the nearest picture is looked for by features: {error}",
                hint="take another --network, or leave out --ood",
            ) from error

    def pieces(self, seen: Seen) -> Iterator[Piece]:
        """A dataset at a time."""
        for other in self.others:
            for plan in seen.students:
                yield Piece(self._file(seen, plan, other), partial(self._made, seen, plan, other))

    def fields(self, seen: Seen) -> dict[str, Any]:
        """Rates by dataset."""
        found = []
        for other in self.others:
            files = [read_tensors(self._file(seen, plan, other)) for plan in seen.students]
            kept = [(each["inside"], each["outside"]) for each in files]
            found.append(outlier_scores(other.name, kept, other.partial))
        return {"outliers": tuple(found)}

    @staticmethod
    def _file(seen: Seen, plan: StudentPlan, other: Dataset) -> Path:
        return plan.scores_file(seen.key("outliers", other=other.test_fingerprint, limit=seen.limit))

    @staticmethod
    def _made(seen: Seen, plan: StudentPlan, other: Dataset) -> Mapping[str, Tensor]:
        plan.ensure()
        student, pictures, prepared = cast(Network, plan.load()), plan.pictures(), seen.preprocessing()
        bank, _ = pictures.batch(torch.arange(len(pictures), device=pictures.device), plan.stream.child("bank"))
        found = {
            side: familiarity(
                student, prepared(data.test.images[seen.indices(data)], seen.device), bank, plan.recipe.standardise
            )
            for side, data in (("inside", seen.dataset), ("outside", other))
        }
        if not all(bool(scores.isfinite().all()) for scores in found.values()):
            raise UsageError("a student has diverged: its outputs are not finite", hint=DIVERGED)
        return found


@dataclass(frozen=True)
class SequenceProbe:
    """The likeliest classes of every student on every frame of perturbation sequences."""

    asked: Sequences
    title: str = "looking at sequences"

    def check(self, seen: Seen) -> None:
        """Pictures of a side too small for the perturbations are refused."""
        checked_pictures(seen.dataset.test.images[:1], "cifar")

    def pieces(self, seen: Seen) -> Iterator[Piece]:
        """A perturbation at a time."""
        for name in self.asked.names:
            for plan in seen.students:
                yield Piece(self._file(seen, plan, name), partial(self._made, seen, plan, name))

    def fields(self, seen: Seen) -> dict[str, Any]:
        """Flips, distances and accuracies by perturbation."""
        kept = {
            name: [read_tensors(self._file(seen, plan, name))["rankings"] for plan in seen.students]
            for name in self.asked.names
        }
        labels, note = seen.dataset.test.labels[self._indices(seen)], own_sequences(seen.dataset.size)
        return {"stability": stability(self.asked, kept, labels, note)}

    def _indices(self, seen: Seen) -> Int64[np.ndarray, " n"]:
        return seen.indices(seen.dataset, self.asked.limit)

    def _file(self, seen: Seen, plan: StudentPlan, name: str) -> Path:
        pictures = len(self._indices(seen))
        key = seen.key("sequence", perturbation=name, seed=self.asked.seed, pictures=pictures, pixels=PIXELS)
        return plan.scores_file(key)

    def _made(self, seen: Seen, plan: StudentPlan, name: str) -> Mapping[str, Tensor]:
        plan.ensure()
        indices, like = self._indices(seen), torch.empty(0, device=seen.device)
        found = ranked(
            cast(Network, plan.load()), seen.dataset.test.images[indices], name, numbers=indices.tolist(),
            seed=self.asked.seed, preprocessing=seen.preprocessing().like(like), standardise=plan.recipe.standardise,
            device=seen.device,
        )  # fmt: skip
        return {"rankings": found}
