"""The runs of a grid on one dataset: planned from what the store has, made cell by cell, scored, and timed.

A cell that is refused or fails is reported and the others go on. Everything is kept by the store, so a grid that was
killed and is asked for again makes what is missing only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from fredbench.datasets import Dataset
from fredbench.evaluation.domains import domains_of
from fredbench.evaluation.rows import Row
from fredbench.evaluation.scoring import Entrant, Evaluation, Protocol, Standing, with_companions
from fredbench.foundation.errors import FredbenchError, ResourceError, UsageError
from fredbench.foundation.files import canonical_json, write_json
from fredbench.foundation.progress import say
from fredbench.recipes.reproducing import distill_command
from fredbench.recipes.resolution import Request, resolve
from fredbench.runs import distillation
from fredbench.runs.estimation import duration, estimate, too_long, worth_estimating
from fredbench.runs.spec import Spec
from fredbench.runs.store import RunFolder, Store
from fredbench.suites.corruption import suite_named
from fredbench.suites.grids import Cell, Grid, Place

__all__ = ["GridRun", "Outcome", "Planned", "Scored", "Stored"]


@dataclass(frozen=True)
class Planned:
    """A cell with its spec and folder, or with the reason why it is refused."""

    cell: Cell
    spec: Spec | None = None
    folder: RunFolder | None = None
    problem: FredbenchError | None = None

    @property
    def state(self) -> str:
        """`done`, `begun`, `to do` or `refused`, of the distillation."""
        if self.folder is None:
            return "refused"
        if self.folder.finished:
            return "done"
        return "begun" if self.folder.checkpoint_file.is_file() else "to do"


@dataclass(frozen=True)
class Scored:
    """A row and what it took: seconds of its distillation, and of its students and their scores.

    evaluation: None where a part was made elsewhere, or in a sitting that was killed, so that its time is unknown.
    made_in: the environment of the distillation, which may be of an earlier sitting.
    """

    row: Row
    spec: Spec
    distillation: float
    evaluation: float | None
    made_in: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What became of a cell under a protocol: its row with those of its start and control, or what ended it."""

    cell: Cell
    scored: Scored | None = None
    start: Scored | None = None
    control: Scored | None = None
    problem: FredbenchError | None = None
    protocol: Protocol = "own"

    @property
    def label(self) -> str:
        """What it is called where one line speaks of it."""
        return self.cell.label + ("" if self.protocol == "own" else f" [{self.protocol}]")


@dataclass(frozen=True)
class Stored:
    """What the store has of a cell under a protocol, found without computing anything.

    row: None before all its students are scored on clean pictures; without corruptions before they are on all domains
    (`whole`). published: what the literature prints for it, whether or not it is there.
    """

    planned: Planned
    protocol: Protocol
    row: Row | None = None
    whole: bool = False
    published: Mapping[str, Any] | None = None
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class GridRun:
    """A grid on one dataset. data: the folder of datasets, where published corrupted arrays may lie."""

    grid: Grid
    place: Place
    dataset: Dataset
    store: Store
    device: torch.device
    threads: int
    data: Path | None = None

    @cached_property
    def evaluation(self) -> Evaluation:
        """How cells are scored that ask for nothing else; domains are those of all."""
        suite, place = suite_named(self.place.scored_on), self.place
        return Evaluation(
            dataset=self.dataset,
            device=self.device,
            threads=self.threads,
            domains=domains_of(
                suite,
                self.dataset,
                self.data,
                severities=place.severities,
                limit=place.limit,
                corrupted_limit=place.corrupted_limit,
            ),
            students=place.students,
        )

    def _evaluation(self, cell: Cell, protocol: Protocol) -> Evaluation:
        return dataclasses.replace(self.evaluation, students=cell.students, protocol=protocol)

    def planned(self) -> list[Planned]:
        """Every cell with its spec and folder; nothing is made."""
        return [self._planned(cell) for cell in self.grid.cells(self.place)]

    def _planned(self, cell: Cell) -> Planned:
        try:
            spec = resolve(Request(**cell.request()), self.dataset, device=str(self.device), threads=self.threads)
            return Planned(cell, spec, self.store.folder_for(spec))
        except FredbenchError as error:
            return Planned(cell, problem=error)

    def standing(self, planned: Planned) -> Standing | None:
        """How far the evaluation of a finished cell is, all protocols together; None before it is finished."""
        if planned.folder is None or not planned.folder.finished:
            return None
        entrant, names = Entrant.of(planned.folder), self.evaluation.domains.names()
        each = [self._evaluation(planned.cell, p).standing(entrant, names) for p in self.place.protocols]
        return Standing(*(sum(getattr(s, part.name) for s in each) for part in dataclasses.fields(Standing)))

    def stored(self) -> list[Stored]:
        """Every cell under every protocol as the store has it; nothing is made."""
        return [self._stored(planned, protocol) for planned in self.planned() for protocol in self.place.protocols]

    def _stored(self, planned: Planned, protocol: Protocol) -> Stored:
        spec, folder = planned.spec, planned.folder
        if spec is None or folder is None:
            return Stored(planned, protocol)
        evaluation, names = self._evaluation(planned.cell, protocol), self.evaluation.domains.names()
        row, whole = None, False
        if folder.finished:
            entrant = Entrant.of(folder)
            row = evaluation.stored_row(entrant, names)
            whole = row is not None
            row = row or evaluation.stored_row(entrant, self.evaluation.domains.clean_domains)
        commands = () if whole else self._commands(planned.cell, spec, folder, protocol)
        return Stored(planned, protocol, row, whole, evaluation.published(spec), commands)

    def _commands(self, cell: Cell, spec: Spec, folder: RunFolder, protocol: Protocol) -> tuple[str, ...]:
        """What makes a cell that is missing: its run, where that is not done, and its scores."""
        place = self.place
        words = ["fredbench", "corrupt-eval", folder.path.name, "--suite", place.scored_on]
        words += [word for severity in place.severities for word in ("--severity", str(severity))]
        asked = {"limit": place.limit, "corrupted-limit": place.corrupted_limit, "students": cell.students}
        words += [word for key, value in asked.items() if value is not None for word in (f"--{key}", str(value))]
        words += [] if protocol == "own" else ["--protocol", protocol]
        words += ["--device", spec.device, "--threads", str(spec.threads)]
        scores = shlex.join(words)
        return (scores,) if folder.finished else (distill_command(spec, self.dataset), scores)

    def run(self, *, yes: bool = False) -> Iterator[Outcome]:
        """Make and score what is missing, cell by cell; a line a cell on stderr.

        Without an accelerator a cell that would take more than six hours is refused unless `yes`.
        """
        cells = self.planned()
        counts = {state: sum(cell.state == state for cell in cells) for state in ("done", "begun", "to do", "refused")}
        listed = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        say(f"suite {self.grid.name} on {self.dataset.title}: {len(cells)} cells ({listed})")
        for number, planned in enumerate(cells, 1):
            for outcome in self._outcomes(planned, yes=yes):
                say(f"[{number}/{len(cells)}] {outcome.label}: {_told(outcome)}")
                yield outcome

    def _outcomes(self, planned: Planned, *, yes: bool) -> Iterator[Outcome]:
        """One a protocol; a single one where there is no run to score."""
        if planned.spec is None or planned.folder is None:
            yield Outcome(planned.cell, problem=planned.problem)
            return
        try:
            with _failures_told(planned.spec, self.dataset):
                self._distill(planned.spec, planned.folder, yes=yes)
                group = with_companions([Entrant.of(planned.folder)], self.store, self.dataset)
        except FredbenchError as error:
            yield Outcome(planned.cell, problem=error)
            return
        for protocol in self.place.protocols:
            yield self._outcome(planned.cell, planned.spec, group, protocol)

    def _outcome(self, cell: Cell, spec: Spec, group: Sequence[Entrant], protocol: Protocol) -> Outcome:
        try:
            with _failures_told(spec, self.dataset):
                scored = [self._scored(entrant, cell, protocol) for entrant in group]
                scored = self._compared(scored, group, cell, protocol)
        except FredbenchError as error:
            return Outcome(cell, problem=error, protocol=protocol)
        own, others = scored[0], scored[1:]
        return Outcome(
            cell,
            own,
            start=next((other for other in others if other.spec.is_start), None),
            control=own if own.spec.is_control else next((o for o in others if o.spec.is_control), None),
            protocol=protocol,
        )

    def _compared(
        self, scored: Sequence[Scored], group: Sequence[Entrant], cell: Cell, protocol: Protocol
    ) -> list[Scored]:
        """The same, each row against its start and control on the same test pictures."""
        evaluation = self._evaluation(cell, protocol)
        found = evaluation.compared(group, self.evaluation.domains.names())
        return [
            dataclasses.replace(each, row=dataclasses.replace(each.row, compared=found.get(each.row.run, ())))
            for each in scored
        ]

    def _distill(self, spec: Spec, folder: RunFolder, *, yes: bool) -> None:
        begun = folder.finished or folder.checkpoint_file.is_file()
        if not yes and not begun and worth_estimating(spec):
            cost = estimate(spec, self.dataset, self.store.root)
            if too_long(spec, cost):
                raise UsageError(
                    f"this run would take about {duration(cost.seconds)} on this CPU",
                    hint="add --yes to go on, or --preset quick",
                )
        distillation.run(spec, self.dataset, folder)

    def _scored(self, entrant: Entrant, cell: Cell, protocol: Protocol) -> Scored:
        names, evaluation = self.evaluation.domains.names(), self._evaluation(cell, protocol)
        before, key = evaluation.standing(entrant, names), self._key(cell, protocol)
        with _timed(entrant.folder.seconds_file, key, before):
            (row,) = evaluation.rows([entrant], names)
        folder = entrant.folder
        seconds = _kept(folder.seconds_file).get(key)
        made_in = _kept(folder.environment_file)
        return Scored(row, entrant.spec, float(folder.result()["seconds"]), seconds, made_in)

    def _key(self, cell: Cell, protocol: Protocol) -> str:
        """Digest of what an evaluation is asked for, by which its seconds are kept."""
        domains, place = self.evaluation.domains, self.place
        suite = domains.suite
        tested = [suite.name, suite.profile, suite.seed, list(suite.corruptions), list(domains.severities)]
        asked = [*tested, place.limit, cell.students, domains.source]
        # Named only where they are asked for, so that seconds which were kept before are found.
        asked += [] if place.corrupted_limit is None else [f"corrupted {place.corrupted_limit}"]
        asked += [] if protocol == "own" else [protocol]
        return hashlib.sha256(canonical_json(asked).encode()).hexdigest()[:20]


@contextlib.contextmanager
def _failures_told(spec: Spec, dataset: Dataset) -> Iterator[None]:
    """Let one cell's numerical or memory failure be an error of ours, so that it does not end the others."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        first = next(iter(str(error).splitlines()), "")
        raise ResourceError(
            f"{type(error).__name__}: {first}", hint=f"see it alone: {distill_command(spec, dataset)}"
        ) from error


@contextlib.contextmanager
def _timed(file: Path, key: str, before: Standing) -> Iterator[None]:
    """Add the seconds spent inside to those kept under `key`, where all that was there before had been timed too."""
    known = _kept(file)
    began = time.monotonic()
    try:
        yield
    finally:
        if not before.whole and (before.untouched or key in known):
            write_json(file, {**known, key: round(known.get(key, 0.0) + time.monotonic() - began, 3)})


def _kept(file: Path) -> Mapping[str, Any]:
    if not file.is_file():
        return {}
    try:
        found: Mapping[str, Any] = json.loads(file.read_text())
    except ValueError:
        # Times and versions are no result: without them a row says that they are unknown.
        return {}
    return found


def _told(outcome: Outcome) -> str:
    """The line of a cell."""
    if outcome.scored is None:
        return f"failed: {outcome.problem}"
    scored, control = outcome.scored, outcome.control
    row = scored.row
    took = "" if scored.evaluation is None else f", scored in {duration(scored.evaluation)}"
    average = "" if row.average is None else f", average {row.average}"
    beside = "" if control is None or control is scored else f" (random: {control.row.clean})"
    return f"distilled in {duration(scored.distillation)}{took}; clean {row.clean}{beside}{average}"
