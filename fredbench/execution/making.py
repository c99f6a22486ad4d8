"""One task of a plan, made in this process: held so that no other makes it, counted, limited, and reported."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fredbench.evaluation.entrants import Entrant
from fredbench.execution.inline import SCORES, GridRun, student_piece
from fredbench.execution.plan import Plan, Task
from fredbench.foundation.errors import FredbenchError, LockedError, ResourceError, described, restored
from fredbench.foundation.files import remove_abandoned, write_json
from fredbench.foundation.limits import limited
from fredbench.foundation.locks import Holder, now, remove_left, tried
from fredbench.runs import distillation
from fredbench.runs.assembly import expert_spec, real_pictures
from fredbench.runs.preprocessing import FOLDER as FITS
from fredbench.runs.starts import FOLDER as STARTS
from fredbench.training.experts import FOLDER as EXPERTS
from fredbench.training.experts import ExpertStore
from fredbench.training.kept import FEATURES
from fredbench.training.trajectories import listed_epochs, shard

__all__ = ["MOST_STARTS", "TASKS", "Maker", "Record", "Report", "record_of"]

TASKS = "tasks"
"""Folder of a store with the locks of tasks that are being made, and records of those that were begun and not ended."""
MOST_STARTS = 3
"""How often a task is begun whose process dies in it before it came any further, until it is given up."""

State = Literal["made", "found", "busy", "failed", "died"]


@dataclass(frozen=True)
class Report:
    """What became of a task: `made` here, `found` made, `busy` elsewhere, `failed`, or its process `died`.

    problem: of a failure; of a `busy` task, what it needs and another process holds.
    """

    task: str
    state: State
    problem: FredbenchError | None = None
    holder: str = ""

    def to_mapping(self) -> dict[str, Any]:
        """As it travels between processes."""
        problem = None if self.problem is None else described(self.problem)
        return {"task": self.task, "state": self.state, "problem": problem, "holder": self.holder}

    @staticmethod
    def from_mapping(values: Mapping[str, Any]) -> Report:
        """The inverse."""
        problem = None if values["problem"] is None else restored(values["problem"])
        return Report(values["task"], values["state"], problem, values["holder"])


@dataclass(frozen=True)
class Record:
    """What the store keeps of a task that was begun and did not end well.

    starts: how often it was begun since a grid was last asked for, or since it last came further. interrupted: a start
    of it was cut off, so that nobody knows how long it took. problem: what ended it, as `errors.described` has it.
    mark: how far it was when it was last begun (see `Maker.mark`).
    """

    label: str
    starts: int = 0
    interrupted: bool = False
    problem: Mapping[str, str] | None = None
    mark: str = ""
    host: str = ""
    pid: int = 0
    at: float = 0.0


def record_of(folder: Path, name: str) -> Record | None:
    """The record of a task in a store's folder of tasks; None where there is none that can be read."""
    try:
        return Record(**json.loads((folder / f"{name}.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


class Maker:
    """Makes tasks of one grid, and knows which are made."""

    def __init__(self, grid_run: GridRun, plan: Plan) -> None:
        self.grid_run, self.plan = grid_run, plan
        self.folder = grid_run.store.root / TASKS
        self._entrants: dict[str, Entrant] = {}

    def done(self, task: Task) -> bool:
        """Whether the store has what the task makes."""
        return {"expert": self._expert_done, "run": self._run_done, "student": self._student_done,
                "scores": self._scores_done}[task.kind](task)  # fmt: skip

    def make(self, task: Task) -> Report:
        """Make the task unless it is made, or is being made by another process, for which this one does not wait."""
        try:
            return self._made_or_found(task)
        except FredbenchError as problem:
            return Report(task.name, "failed", problem)

    def _made_or_found(self, task: Task) -> Report:
        if self.done(task):
            return Report(task.name, "found")
        with self._lock(task) as other:
            if other is not None:
                return Report(task.name, "busy", holder=str(other))
            if self.done(task):  # by another process, just now
                self._forget(task)
                return Report(task.name, "found")
            return self._made(task)

    def _made(self, task: Task) -> Report:
        before, mark = record_of(self.folder, task.name) or Record(task.label), self.mark(task)
        if mark != before.mark:
            # It moved since it was begun: what a time limit ends again and again gets done all the same.
            before = dataclasses.replace(before, starts=0, mark=mark)
        if before.starts >= MOST_STARTS:
            problem = ResourceError(
                f"{task.label}: the process that made it died, {before.starts} times",
                hint="see what ended it (memory, a time limit of the cluster); then give the command again",
            )
            self.note(task, problem)
            return Report(task.name, "failed", problem)
        begun = dataclasses.replace(before, starts=before.starts + 1, interrupted=True, problem=None, **_here())
        self._write(task, begun)
        resources = self.grid_run.grid.resources
        try:
            with self.grid_run.failures_told(task.spec), limited(resources.seconds, resources.memory):
                self._do(task, timed=not before.interrupted)
        except LockedError as problem:
            # Another process makes something that this task shares with one of its own: no failure, and no start.
            if before.starts or before.interrupted:
                self._write(task, before)
            else:
                self._forget(task)
            return Report(task.name, "busy", problem)
        except FredbenchError as problem:
            self._write(task, dataclasses.replace(before, problem=described(problem), **_here()))
            return Report(task.name, "failed", problem)
        self._forget(task)
        return Report(task.name, "made")

    def _do(self, task: Task, *, timed: bool) -> None:
        run = self.grid_run
        if task.kind == "expert":
            device, fits = run.device, run.store.root / FITS
            real = real_pictures(task.spec, run.dataset, device, fits=fits)
            ExpertStore(run.store.root / EXPERTS, expert_spec(task.spec, run.dataset), real).one(
                task.number, task.recipe, task.seed
            )
        elif task.kind == "run":
            distillation.run(task.spec, run.dataset, run.store.folder_for(task.spec))
        else:
            evaluation, entrant = run.evaluation_of(task.cell, task.protocol), self._entrant(task)
            piece = SCORES if task.kind == "scores" else student_piece(task.network, task.number)
            with run.timed(entrant, task.cell, task.protocol, piece, known=timed):
                if task.kind == "student":
                    evaluation.train_student(entrant, task.network, task.number)
                else:
                    evaluation.rows([entrant], evaluation.domains.names())

    def _expert_done(self, task: Task) -> bool:
        # That a file is what the manifest says of it is checked by who reads it.
        listed = listed_epochs(self._experts_folder(task), task.number)
        return listed >= task.recipe.epochs

    def _experts_folder(self, task: Task) -> Path:
        meant = dataclasses.replace(expert_spec(task.spec, self.grid_run.dataset), recipe=task.recipe, seed=task.seed)
        return self.grid_run.store.root / EXPERTS / meant.folder_name()

    def _run_done(self, task: Task) -> bool:
        return self.grid_run.store.folder_for(task.spec).finished

    def _student_done(self, task: Task) -> bool:
        if not self._run_done(task):
            return False
        evaluation = self.grid_run.evaluation_of(task.cell, task.protocol)
        return not evaluation.lacks_student(self._entrant(task), evaluation.domains.names(), task.network, task.number)

    def _scores_done(self, task: Task) -> bool:
        if not self._run_done(task):
            return False
        evaluation = self.grid_run.evaluation_of(task.cell, task.protocol)
        return evaluation.standing(self._entrant(task), evaluation.domains.names()).whole

    def _entrant(self, task: Task) -> Entrant:
        key = task.spec.digest()
        if key not in self._entrants:
            self._entrants[key] = Entrant.of(self.grid_run.store.folder_for(task.spec))
        return self._entrants[key]

    @contextlib.contextmanager
    def _lock(self, task: Task) -> Iterator[Holder | None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with tried(self.folder / f"{task.name}.lock", task.label) as other:
            yield other

    def _write(self, task: Task, record: Record) -> None:
        write_json(self.folder / f"{task.name}.json", dataclasses.asdict(record))

    def _forget(self, task: Task) -> None:
        (self.folder / f"{task.name}.json").unlink(missing_ok=True)

    def mark(self, task: Task) -> str:
        """How far a task is that goes on where it was cut off, as a text that changes when it moves; else nothing."""
        if task.kind == "run":
            files = [self.grid_run.store.folder_for(task.spec).checkpoint_file]
        elif task.kind == "expert":
            files = [shard(self._experts_folder(task), task.number)]
        else:
            return ""
        with contextlib.suppress(OSError):
            return ", ".join(f"{found.st_mtime_ns} {found.st_size}" for found in map(os.stat, files))
        return ""

    def note(self, task: Task, problem: FredbenchError) -> None:
        """Keep in the store why a task is not made, for who looks at nothing else."""
        self.folder.mkdir(parents=True, exist_ok=True)
        before = record_of(self.folder, task.name) or Record(task.label)
        self._write(task, dataclasses.replace(before, problem=described(problem), **_here()))

    def forgive(self) -> None:
        """Let every task of the plan be begun anew as often as allowed: the command was given again.

        What ended a task before is no longer told of it, since it is about to be tried again.
        """
        for task in self.plan.tasks.values():
            if record_of(self.folder, task.name) is None:
                continue
            with self._lock(task) as other:
                record = record_of(self.folder, task.name)
                if other is not None or record is None:
                    continue
                if record.interrupted:
                    self._write(task, dataclasses.replace(record, starts=0, problem=None))
                else:
                    self._forget(task)

    def tidy(self) -> None:
        """Remove what killed processes left of this plan: locks, half-written files, records of what is made.

        The folder of tasks stays, empty: another command may be about to open a lock in it.
        """
        root = self.grid_run.store.root
        folders = {self.folder, root / FITS, root / FEATURES, root / STARTS}
        for task in self.plan.tasks.values():
            place = self.grid_run.store.folder_for(task.spec)
            folders |= {place.path, place.students}
            if task.kind == "expert":
                folders.add(self._experts_folder(task))
            if (self.folder / f"{task.name}.json").is_file() and self.done(task):
                self._forget(task)
        for folder in sorted(folders):
            if folder.is_dir():
                remove_left(folder)
                remove_abandoned(folder)


def _here() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "at": now()}
