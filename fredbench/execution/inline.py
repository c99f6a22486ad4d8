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
from typing import TYPE_CHECKING, Any

import torch

from fredbench.datasets import Dataset
from fredbench.evaluation.domains import domains_of
from fredbench.evaluation.entrants import Entrant, with_companions
from fredbench.evaluation.rows import Row
from fredbench.evaluation.scoring import Evaluation, Protocol, Standing
from fredbench.foundation.errors import FredbenchError, ResourceError, StorageError, UsageError
from fredbench.foundation.files import canonical_json, write_json
from fredbench.foundation.locks import held
from fredbench.recipes.reproducing import distill_command
from fredbench.recipes.resolution import Request, resolve
from fredbench.runs.estimation import duration, estimate, too_long, worth_estimating
from fredbench.runs.spec import Spec
from fredbench.runs.store import RunFolder, Store
from fredbench.suites.corruption import suite_named
from fredbench.suites.grids import Cell, Grid, Place

if TYPE_CHECKING:
    from fredbench.execution.plan import Plan

__all__ = ["SCORES", "GridRun", "Outcome", "Planned", "Scored", "Stored", "student_piece", "told"]

SCORES = "scores"
"""What the seconds of making an evaluation's predictions are kept under."""


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

    @cached_property
    def _evaluations(self) -> dict[tuple[int | None, Protocol], Evaluation]:
        return {}

    def evaluation_of(self, cell: Cell, protocol: Protocol) -> Evaluation:
        """How a cell is scored; one for all cells that ask for the same, since it keeps what it derived from data."""
        key = cell.students, protocol
        if key not in self._evaluations:
            self._evaluations[key] = dataclasses.replace(self.evaluation, students=cell.students, protocol=protocol)
        return self._evaluations[key]

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
        each = [self.evaluation_of(planned.cell, p).standing(entrant, names) for p in planned.cell.protocols]
        return Standing(*(sum(getattr(s, part.name) for s in each) for part in dataclasses.fields(Standing)))

    def stored(self) -> list[Stored]:
        """Every cell under every protocol as the store has it; nothing is made."""
        return [self._stored(planned, protocol) for planned in self.planned() for protocol in planned.cell.protocols]

    def _stored(self, planned: Planned, protocol: Protocol) -> Stored:
        spec, folder = planned.spec, planned.folder
        if spec is None or folder is None:
            return Stored(planned, protocol)
        evaluation, names = self.evaluation_of(planned.cell, protocol), self.evaluation.domains.names()
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

    def outcomes(self, planned: Planned, problems: Mapping[str, FredbenchError], plan: Plan) -> Iterator[Outcome]:
        """What became of a cell whose tasks are all settled: one a protocol, or a single one where it has no run.

        problems: by the names of the tasks that failed.
        """
        if planned.spec is None or planned.folder is None:
            yield Outcome(planned.cell, problem=planned.problem)
            return
        names = plan.parts[plan.planned.index(planned)]
        failed = [(plan.tasks[name], problems[name]) for name in names if name in problems]
        ended = next((problem for task, problem in failed if task.kind in {"expert", "run"}), None)
        if ended is not None:
            yield Outcome(planned.cell, problem=ended)
            return
        for protocol in planned.cell.protocols:
            own = next((problem for task, problem in failed if task.protocol == protocol), None)
            yield Outcome(planned.cell, problem=own, protocol=protocol) if own else self._outcome(planned, protocol)

    def _outcome(self, planned: Planned, protocol: Protocol) -> Outcome:
        cell, spec, folder = planned.cell, planned.spec, planned.folder
        if spec is None or folder is None:
            raise ValueError(f"{cell.label} was refused")
        try:
            with self.failures_told(spec):
                group = with_companions([Entrant.of(folder)], self.store, self.dataset)
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
        evaluation = self.evaluation_of(cell, protocol)
        found = evaluation.compared(group, self.evaluation.domains.names())
        return [
            dataclasses.replace(each, row=dataclasses.replace(each.row, compared=found.get(each.row.run, ())))
            for each in scored
        ]

    def refuse_long(self, spec: Spec) -> None:
        """Raise `UsageError` for a run that is not begun and would take more than six hours without an accelerator."""
        folder = self.store.folder_for(spec)
        if folder.finished or folder.checkpoint_file.is_file() or not worth_estimating(spec):
            return
        cost = estimate(spec, self.dataset, self.store.root)
        if too_long(spec, cost):
            raise UsageError(
                f"this run would take about {duration(cost.seconds)} on this CPU",
                hint="add --yes to go on, or --preset quick",
            )

    def failures_told(self, spec: Spec) -> contextlib.AbstractContextManager[None]:
        """Let one cell's numerical, memory or disk failure be an error of ours, so that it does not end the others."""
        return _failures_told(spec, self.dataset)

    def _scored(self, entrant: Entrant, cell: Cell, protocol: Protocol) -> Scored:
        evaluation, folder = self.evaluation_of(cell, protocol), entrant.folder
        (row,) = evaluation.rows([entrant], evaluation.domains.names())
        count = evaluation.students or entrant.spec.students
        networks = evaluation.networks or (entrant.spec.student_network,)
        pieces = [SCORES, *(student_piece(network, number) for network in networks for number in range(count))]
        seconds = _seconds(_kept(folder.seconds_file).get(self.key_of(cell, protocol)), pieces)
        made_in = _kept(folder.environment_file)
        return Scored(row, entrant.spec, float(folder.result()["seconds"]), seconds, made_in)

    @contextlib.contextmanager
    def timed(self, entrant: Entrant, cell: Cell, protocol: Protocol, piece: str, *, known: bool) -> Iterator[None]:
        """Keep the seconds spent inside beside the run, as those of a piece of its evaluation.

        known: False where it was begun before and cut off, so that nobody knows how long all of it took.
        """
        began = time.monotonic()
        yield
        spent = round(time.monotonic() - began, 3)
        file, key = entrant.folder.seconds_file, self.key_of(cell, protocol)
        with held(file.with_name(f".{file.name}.lock"), f"another process is writing {file}", "wait for it"):
            kept = dict(_kept(file))
            found = kept.get(key)
            pieces: dict[str, Any] = found if isinstance(found, dict) else {}
            write_json(file, {**kept, key: {**pieces, piece: spent if known else None}})

    def key_of(self, cell: Cell, protocol: Protocol) -> str:
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
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise StorageError(f"{where}{error.strerror or error}", hint="check that path and the space left") from error
    except (RuntimeError, MemoryError) as error:
        first = next(iter(str(error).splitlines()), "")
        raise ResourceError(
            f"{type(error).__name__}: {first}", hint=f"see it alone: {distill_command(spec, dataset)}"
        ) from error


def student_piece(network: str, number: int) -> str:
    """What the seconds of a student's training are kept under."""
    return f"student {network} {number}"


def _seconds(kept: Any, pieces: Sequence[str]) -> float | None:
    """The sum over all pieces of an evaluation; None where one was made elsewhere, or cut off."""
    if isinstance(kept, (int, float)):
        return float(kept)  # of all of it, as earlier versions kept it
    found = [kept.get(piece) for piece in pieces] if isinstance(kept, dict) else [None]
    known = [seconds for seconds in found if seconds is not None]
    return round(sum(known), 3) if len(known) == len(found) else None


def _kept(file: Path) -> Mapping[str, Any]:
    if not file.is_file():
        return {}
    try:
        found: Mapping[str, Any] = json.loads(file.read_text())
    except ValueError:
        # Times and versions are no result: without them a row says that they are unknown.
        return {}
    return found


def told(outcome: Outcome) -> str:
    """The line of a cell."""
    if outcome.scored is None:
        return f"failed: {outcome.problem}"
    scored, control = outcome.scored, outcome.control
    row = scored.row
    took = "" if scored.evaluation is None else f", scored in {duration(scored.evaluation)}"
    average = "" if row.average is None else f", average {row.average}"
    beside = "" if control is None or control is scored else f" (random: {control.row.clean})"
    return f"distilled in {duration(scored.distillation)}{took}; clean {row.clean}{beside}{average}"
