"""A grid as an acyclic graph of named tasks: experts, runs, students, scores, each waiting for those that it reads.

A task is named by the digest of what it makes, with the kind of device and the number of threads, and of nothing
else: the same suite has the same names on a laptop and on an engine, and two grids that share a piece share its task.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from fredbench.evaluation.entrants import companions
from fredbench.evaluation.scoring import Protocol
from fredbench.foundation.config import from_mapping
from fredbench.foundation.files import canonical_json
from fredbench.objectives import OBJECTIVES
from fredbench.runs.assembly import expert_spec
from fredbench.runs.spec import Spec
from fredbench.suites.grids import Cell
from fredbench.training.loop import TrainingRecipe
from fredbench.training.trajectories import ExpertSpec

if TYPE_CHECKING:
    from fredbench.execution.inline import GridRun, Planned

__all__ = ["Plan", "Task", "plan_of"]

Kind = Literal["expert", "run", "student", "scores"]


@dataclass(frozen=True)
class Task:
    """A piece of a grid that is made in one go, by one process.

    spec: the run that it makes, reads experts for, or scores. cell: the first of the grid's that asks for it.
    number: of the expert, to be trained by `recipe` from `seed`, or of the student of `network`. needs: names of the
    tasks that come before.
    """

    kind: Kind
    label: str
    name: str
    spec: Spec
    cell: Cell
    needs: tuple[str, ...] = ()
    number: int = 0
    protocol: Protocol = "own"
    network: str = ""
    recipe: TrainingRecipe = field(default_factory=TrainingRecipe)
    seed: int = 0


@dataclass(frozen=True)
class Plan:
    """Tasks in the order in which one process makes them; `parts` are the names of each cell's, for `planned`."""

    planned: tuple[Planned, ...]
    tasks: dict[str, Task]
    parts: tuple[tuple[str, ...], ...]


def plan_of(grid_run: GridRun) -> Plan:
    """The tasks of a grid; nothing is made, and nothing of the store is read but names of folders."""
    planned = tuple(grid_run.planned())
    tasks: dict[str, Task] = {}
    parts = []
    for each in planned:
        own = [] if each.spec is None else list(_tasks(grid_run, each.cell, each.spec))
        for task in own:
            tasks.setdefault(task.name, task)
        parts.append(tuple(task.name for task in own))
    return Plan(planned, _experts_in_a_row(tasks), tuple(parts))


def _name(kind: Kind, **what: Any) -> str:
    return hashlib.sha256(canonical_json({"kind": kind, **what}).encode()).hexdigest()[:20]


def _tasks(grid_run: GridRun, cell: Cell, spec: Spec) -> Iterator[Task]:
    """What a cell needs, in order: its experts, its run, start and control, then students and scores of each."""
    experts = _expert_tasks(grid_run, cell, spec)
    yield from experts
    group = [spec, *companions(spec, grid_run.dataset)]
    runs = [Task("run", each.folder_name(), _name("run", spec=each.digest()), each, cell) for each in group]
    runs[0] = replace(runs[0], needs=tuple(task.name for task in experts))
    yield from runs
    for protocol in cell.protocols:
        for run in runs:
            students = _student_tasks(grid_run, run, protocol)
            yield from students
            yield Task(
                "scores",
                f"scores of {run.label}" + ("" if protocol == "own" else f", {protocol}"),
                _name("scores", spec=run.spec.digest(), asked=grid_run.key_of(cell, protocol)),
                run.spec,
                cell,
                needs=(run.name, *(task.name for task in students)),
                protocol=protocol,
            )


def _student_tasks(grid_run: GridRun, run: Task, protocol: Protocol) -> list[Task]:
    spec, evaluation = run.spec, grid_run.evaluation_of(run.cell, protocol)
    count = evaluation.students or spec.students
    return [
        Task(
            "student",
            f"student {number} of {run.label}" + ("" if protocol == "own" else f", {protocol}"),
            _name("student", spec=spec.digest(), protocol=protocol, network=network, student=number),
            spec,
            run.cell,
            needs=(run.name,),
            number=number,
            protocol=protocol,
            network=network,
        )
        for network in evaluation.networks or (spec.student_network,)
        for number in range(count)
    ]


def _expert_tasks(grid_run: GridRun, cell: Cell, spec: Spec) -> list[Task]:
    if not spec.iterations or "experts" not in (kind := OBJECTIVES.get(spec.objective)).needs:
        return []
    config: Any = from_mapping(kind.Config, spec.objective_settings, where="objective")
    # As the store names them: by the arithmetic of the run.
    recipe, seed = replace(config.expert_recipe(), arithmetic=spec.arithmetic), config.expert_seed
    meant = replace(expert_spec(spec, grid_run.dataset), recipe=recipe, seed=seed)
    return [
        Task(
            "expert",
            f"expert {number} of {meant.folder_name()}, {recipe.epochs} epochs",
            _expert_name(meant, number, recipe),
            spec,
            cell,
            number=number,
            recipe=recipe,
            seed=seed,
        )
        for number in range(config.experts)
    ]


def _expert_name(meant: ExpertSpec, number: int, recipe: TrainingRecipe) -> str:
    return _name("expert", experts=meant.digest(), expert=number, epochs=recipe.epochs)


def _experts_in_a_row(tasks: dict[str, Task]) -> dict[str, Task]:
    """One expert that several runs read to different epochs is trained to the fewest first, and then extended."""
    rows: dict[str, list[Task]] = {}
    for task in tasks.values():
        if task.kind == "expert":
            rows.setdefault(task.label.partition(",")[0], []).append(task)
    chained = dict(tasks)
    for row in rows.values():
        row.sort(key=lambda task: task.recipe.epochs)
        for shorter, longer in pairwise(row):
            chained[longer.name] = replace(longer, needs=(shorter.name,))
    return chained
