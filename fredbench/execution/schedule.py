"""Tasks handed out to an executor as they become ready: whatever computes them, the order is decided here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from fredbench.execution.making import MOST_STARTS, Maker, Report
from fredbench.execution.plan import Plan, Task
from fredbench.foundation.errors import FredbenchError, ResourceError
from fredbench.foundation.progress import say

__all__ = ["Executor", "Here", "carried_out"]

_WAIT_SECONDS = 0.25
_TOLD_EVERY_SECONDS = 60.0


@runtime_checkable
class Executor(Protocol):
    """What makes tasks: `slots` of them at a time. An executor knows nothing of what they wait for."""

    slots: int

    def submit(self, task: Task) -> None:
        """Begin a task."""

    def wait(self, seconds: float) -> Sequence[Report]:
        """What ended since the last call; waits up to `seconds` where nothing has."""

    def close(self) -> None:
        """End what is running, whatever it is at."""


class Here:
    """This process, one task after the other."""

    slots = 1

    def __init__(self, maker: Maker) -> None:
        self._maker, self._tasks = maker, list[Task]()

    def submit(self, task: Task) -> None:
        """Remember it."""
        self._tasks.append(task)

    def wait(self, seconds: float) -> Sequence[Report]:
        """Make what was submitted."""
        tasks, self._tasks = self._tasks, []
        return [self._maker.make(task) for task in tasks]

    def close(self) -> None:
        """Nothing runs between calls."""


def carried_out(
    plan: Plan,
    executor: Executor,
    done: Callable[[Task], bool],
    admitted: Callable[[Task], None] = lambda task: None,
    mark: Callable[[Task], str] = lambda task: "",
) -> Iterator[Report]:
    """Have all tasks of a plan made that are not done, and yield what became of each, once, when it is known.

    A task that needs one that failed fails with the same problem. Tasks that another process makes are asked for again
    until they are there, or that process is gone: two of these on one store share the work. `admitted` raises where a
    task is not to be begun. `mark` says how far one is: a task whose process dies is given up after some times without
    its having moved.
    """
    yield from _Schedule(plan, executor, done, admitted, mark).reports()


class _Schedule:
    def __init__(
        self,
        plan: Plan,
        executor: Executor,
        done: Callable[[Task], bool],
        admitted: Callable[[Task], None],
        mark: Callable[[Task], str],
    ) -> None:
        self._plan, self._executor, self._done, self._admitted, self._mark = plan, executor, done, admitted, mark
        self._waiting: set[str] = set()
        self._running: dict[str, Task] = {}
        self._settled: dict[str, Report] = {}
        self._deaths: dict[str, int] = {}
        self._marks: dict[str, str] = {}
        self._later: dict[str, float] = {}
        self._told: dict[str, float] = {}

    def reports(self) -> Iterator[Report]:
        needed = {name for task in self._plan.tasks.values() for name in task.needs}
        for name in self._plan.tasks:
            if name not in needed:
                self._want(name)
        for name in self._plan.tasks:
            if name not in self._waiting:
                yield self._settle(self._settled.get(name) or Report(name, "found"))
        while self._waiting or self._running:
            yield from self._hand_out()
            if self._running:
                yield from self._collect()
            elif self._waiting:
                time.sleep(_WAIT_SECONDS)

    def _want(self, name: str) -> None:
        """The task and all that it needs, unless they are done: what is read by nothing but done tasks is not made."""
        if name in self._waiting or name in self._settled:
            return
        try:
            missing = not self._done(self._plan.tasks[name])
        except FredbenchError as problem:
            self._settled[name] = Report(name, "failed", problem)
            return
        if missing:
            self._waiting.add(name)
            for need in self._plan.tasks[name].needs:
                self._want(need)

    def _settle(self, report: Report) -> Report:
        self._waiting.discard(report.task)
        self._settled[report.task] = report
        return report

    def _hand_out(self) -> Iterator[Report]:
        for name, task in self._plan.tasks.items():
            if name not in self._waiting:
                continue
            needs = [self._settled.get(need) for need in task.needs]
            failed = next((need for need in needs if need is not None and need.problem is not None), None)
            if failed is not None:
                yield self._settle(Report(name, "failed", failed.problem))
            elif (
                len(self._running) < self._executor.slots
                and None not in needs
                and self._later.get(name, 0.0) <= time.monotonic()
            ):
                try:
                    self._admitted(task)
                except FredbenchError as problem:
                    yield self._settle(Report(name, "failed", problem))
                    continue
                self._waiting.discard(name)
                self._running[name] = task
                if name not in self._marks:
                    self._marks[name] = self._mark(task)
                self._executor.submit(task)

    def _collect(self) -> Iterator[Report]:
        for report in self._executor.wait(_WAIT_SECONDS):
            task = self._running.pop(report.task)
            if report.state == "died":
                report = self._after_death(task)
            if report.state in {"died", "busy"}:
                self._waiting.add(task.name)
                self._later[task.name] = time.monotonic() + _WAIT_SECONDS
                self._tell(task, report)
            else:
                yield self._settle(report)

    def _after_death(self, task: Task) -> Report:
        mark = self._mark(task)
        moved = mark != self._marks[task.name]
        self._marks[task.name] = mark
        self._deaths[task.name] = deaths = 0 if moved else self._deaths.get(task.name, 0) + 1
        if deaths < MOST_STARTS:
            return Report(task.name, "died")
        problem = ResourceError(
            f"{task.label}: the process that made it died, {deaths} times",
            hint="see what ended it (memory, a time limit of the cluster); then give the command again",
        )
        return Report(task.name, "failed", problem)

    def _tell(self, task: Task, report: Report) -> None:
        if report.state == "died":
            say(f"{task.label}: the process that made it died; it is made again")
        elif time.monotonic() - self._told.get(task.name, -_TOLD_EVERY_SECONDS) >= _TOLD_EVERY_SECONDS:
            why = f"is being made by {report.holder}; waiting for that"
            say(f"{task.label} {why if report.problem is None else f'waits: {report.problem.message}'}")
            self._told[task.name] = time.monotonic()
