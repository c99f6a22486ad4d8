"""A grid from its plan to its outcomes: whatever executor makes its tasks, cells are told in the grid's order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from fredbench.execution.inline import GridRun, Outcome, told
from fredbench.execution.making import Maker, Report
from fredbench.execution.plan import Plan, Task
from fredbench.execution.schedule import Executor, carried_out
from fredbench.foundation.errors import FredbenchError
from fredbench.foundation.progress import say

__all__ = ["admission", "outcomes"]


def outcomes(maker: Maker, executor: Executor, *, yes: bool = False) -> Iterator[Outcome]:
    """Make what is missing of a grid, and yield what became of each cell, in order; a line a cell on stderr.

    Without an accelerator a cell that would take more than six hours is refused unless `yes`. The executor is closed
    at the end, however that comes.
    """
    grid_run, plan = maker.grid_run, maker.plan
    _say_what_is_there(grid_run, plan)
    maker.tidy()
    maker.forgive()
    reports: dict[str, Report] = {}
    left = list(enumerate(plan.planned))
    try:
        for report in carried_out(plan, executor, maker.done, admission(grid_run, yes=yes), maker.mark):
            reports[report.task] = report
            while left and all(name in reports for name in plan.parts[left[0][0]]):
                yield from _told(grid_run, plan, left.pop(0)[0], reports)
        for number, _ in left:  # cells without tasks, behind the last report
            yield from _told(grid_run, plan, number, reports)
    finally:
        executor.close()
        maker.tidy()
    _say_what_was_made(plan, reports)


def admission(grid_run: GridRun, *, yes: bool) -> Callable[[Task], None]:
    """What raises for a task that would take more than six hours without an accelerator, unless `yes`."""
    refused: dict[str, FredbenchError | None] = {}

    def admitted(task: Task) -> None:
        if yes or task.kind not in {"expert", "run"}:
            return
        key = task.spec.digest()
        if key not in refused:
            refused[key] = _refusal(grid_run, task)
        if (problem := refused[key]) is not None:
            raise problem

    return admitted


def _refusal(grid_run: GridRun, task: Task) -> FredbenchError | None:
    try:
        with grid_run.failures_told(task.spec):
            grid_run.refuse_long(task.spec)
    except FredbenchError as problem:
        return problem
    return None


def _told(grid_run: GridRun, plan: Plan, number: int, reports: dict[str, Report]) -> Iterator[Outcome]:
    problems = {name: report.problem for name, report in reports.items() if report.problem is not None}
    for outcome in grid_run.outcomes(plan.planned[number], problems, plan):
        say(f"[{number + 1}/{len(plan.planned)}] {outcome.label}: {told(outcome)}")
        yield outcome


def _listed(counts: Sequence[tuple[int, str]]) -> str:
    return ", ".join(f"{count} {what}" for count, what in counts if count)


def _say_what_is_there(grid_run: GridRun, plan: Plan) -> None:
    states = Counter(planned.state for planned in plan.planned)
    listed = _listed([(states[state], state) for state in ("done", "begun", "to do", "refused")])
    cells = f"{len(plan.planned)} cells ({listed})"
    say(f"suite {grid_run.grid.name} on {grid_run.dataset.title}: {cells}, {len(plan.tasks)} tasks")


def _say_what_was_made(plan: Plan, reports: dict[str, Report]) -> None:
    states = Counter(report.state for report in reports.values())
    if states["found"] == len(plan.tasks):
        say("nothing to do: all of it is there")
        return
    listed = _listed([(states["made"], "made here"), (states["found"], "found made"), (states["failed"], "failed")])
    say(f"{len(plan.tasks)} tasks: {listed}")
