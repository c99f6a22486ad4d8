"""Tasks as an array of Slurm jobs (the extra `fredbench[slurm]`): each job works on the whole grid, through the store.

A job makes whatever is ready and not being made by another, until nothing is left; so jobs may come late, end early or
be given twice. This process only looks at the store, and may be ended: the jobs go on.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fredbench.execution.making import Maker, Report, record_of
from fredbench.execution.plan import Task
from fredbench.execution.request import GridRequest
from fredbench.foundation.errors import FredbenchError, UsageError, restored
from fredbench.foundation.locks import holder_of
from fredbench.foundation.progress import say

__all__ = ["JOB_MINUTES", "LOCAL", "OnSlurm", "array_job"]

LOCAL = "local"
"""In place of a partition: jobs are processes of this machine, to try it without Slurm."""
JOB_MINUTES = 240
"""A job's time limit where none is asked for: left to submitit, it would end after five minutes."""
_LOOK_SECONDS = 2.0


def array_job(request: Mapping[str, Any]) -> None:
    """In a job: make what is ready until nothing is left; why something is refused is kept in the store."""
    import torch

    torch.set_num_threads(request["threads"])
    from fredbench.execution.running import admission
    from fredbench.execution.schedule import Here, carried_out
    from fredbench.execution.worker import Workshop

    maker = Workshop(GridRequest.from_mapping(request)).maker
    allowed = admission(maker.grid_run, yes=request["yes"])

    def admitted(task: Task) -> None:
        try:
            allowed(task)
        except FredbenchError as problem:
            maker.note(task, problem)
            raise

    for report in carried_out(maker.plan, Here(maker), maker.done, admitted, maker.mark):
        if report.state != "found":
            say(f"{maker.plan.tasks[report.task].label}: {report.state}")


class OnSlurm:
    """An executor whose `jobs` array jobs do the work; all that it is given counts as begun until the store has it.

    minutes: a job's time limit, after which the next one goes on, or `JOB_MINUTES`. more: further parameters of
    submitit, KEY=VALUE.
    """

    slots = 10**6

    def __init__(
        self,
        request: GridRequest,
        maker: Maker,
        *,
        jobs: int,
        partition: str | None,
        minutes: int | None,
        more: Sequence[str],
    ) -> None:
        try:
            self._submitit: Any = importlib.import_module("submitit")
        except ImportError as error:
            raise UsageError("submitit is not installed", hint="pip install 'fredbench[slurm]'") from error
        self._request, self._maker, self._count = request, maker, jobs
        self._kind = "local" if partition == LOCAL else "slurm"
        self._asked = _parameters(request, maker, None if partition == LOCAL else partition, minutes, more)
        self._tasks: dict[str, Task] = {}
        self._jobs: list[Any] = []
        self._marks: dict[str, str] = {}
        self._moved = False
        self._folder = Path(request.store).with_name(f"{Path(request.store).name}-jobs")

    def submit(self, task: Task) -> None:
        """Wait for it; with the first that is missing, the jobs are queued."""
        self._tasks[task.name] = task
        # Jobs go through the whole grid: those that have ended may have made what is handed out only now.
        if not self._jobs and not self._maker.done(task):
            self._moved = False
            self._queue()
        self._marks[task.name] = self._maker.mark(task)

    def _queue(self) -> None:
        try:
            executor = self._submitit.AutoExecutor(folder=str(self._folder), cluster=self._kind)
        except RuntimeError as error:
            raise UsageError(
                f"no Slurm here: {error}", hint="log in to a submitting node, or --partition local"
            ) from error
        try:
            executor.update_parameters(**self._asked)
            with executor.batch():
                self._jobs = [executor.submit(array_job, self._request.to_mapping()) for _ in range(self._count)]
        except Exception as error:
            first = next(iter(str(error).splitlines()), type(error).__name__)
            raise UsageError(
                f"no jobs can be queued: {first}", hint="mend --partition, --slurm-time, --slurm-set or [resources]"
            ) from error
        say(f"{self._count} jobs queued ({', '.join(job.job_id for job in self._jobs)}), logs in {self._folder}")

    def wait(self, seconds: float) -> Sequence[Report]:
        """What the store has of the tasks by now, and what cannot come any more."""
        time.sleep(max(seconds, _LOOK_SECONDS))
        ended = all(job.done() for job in self._jobs)  # before the store is looked at, which they may just have written
        # Jobs that a time limit ends have not failed in what they had not come to yet, as long as they moved anything.
        marks = {name: self._maker.mark(task) for name, task in self._tasks.items()}
        moved = self._moved or any(mark != self._marks.get(name) for name, mark in marks.items())
        found = [report for task in self._tasks.values() if (report := self._report(task, ended, moved)) is not None]
        self._moved = self._moved or any(report.state == "made" for report in found)
        for report in found:
            del self._tasks[report.task]
        if ended:
            self._jobs, self._marks = [], marks  # what is handed out again is given to new ones
        return found

    def _report(self, task: Task, ended: bool, moved: bool) -> Report | None:
        if self._maker.done(task):
            return Report(task.name, "made")
        if holder_of(self._maker.folder / f"{task.name}.lock") is not None:
            return None
        record = record_of(self._maker.folder, task.name)
        if record is not None and record.problem is not None:
            return Report(task.name, "failed", restored(record.problem))
        if not ended:
            return None
        if moved and record is None:
            return Report(task.name, "busy", holder="the jobs that are queued next")
        return Report(task.name, "died")

    def close(self) -> None:
        """Jobs on Slurm go on; those that are processes of this machine end."""
        if not self._tasks:
            return  # all is settled: the jobs find nothing to do and end
        for job in self._jobs:
            if self._kind == "local":
                job.cancel()
        if self._kind == "slurm":
            say("the jobs go on; the same command looks at them again, `fredbench suite status` says how far they are")


def _parameters(
    request: GridRequest, maker: Maker, partition: str | None, minutes: int | None, more: Sequence[str]
) -> dict[str, Any]:
    resources = maker.grid_run.grid.resources
    asked: dict[str, Any] = {"cpus_per_task": request.threads or 1, "name": maker.grid_run.grid.name}
    gpus = resources.num_gpus or float(request.device == "cuda")
    if gpus:
        asked["gpus_per_node"] = max(1, round(gpus))
    asked |= {"mem_gb": resources.memory} if resources.memory else {}
    asked["timeout_min"] = minutes or JOB_MINUTES
    asked |= {"slurm_partition": partition} if partition else {}
    for pair in more:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--slurm-set {pair!r} is no KEY=VALUE", hint="such as --slurm-set slurm_account=lab")
        asked[key] = int(value) if value.isdecimal() else value
    return asked
