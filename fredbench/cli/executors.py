"""Which executor `suite run` hands its tasks to, as options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from fredbench.foundation.errors import UsageError

if TYPE_CHECKING:
    from fredbench.execution.making import Maker
    from fredbench.execution.request import GridRequest
    from fredbench.execution.schedule import Executor

__all__ = ["EXECUTORS", "Choice", "chosen_executor", "divided_threads", "executor_options"]

EXECUTORS = ("inline", "processes", "ray", "slurm")
_OF_RAY = ("address",)
_OF_SLURM = ("partition", "slurm_time", "slurm_set")


@dataclass(frozen=True)
class Choice:
    """An executor as it was asked for; `divides` says that its workers share this machine's processors."""

    name: str
    workers: int
    build: Callable[[Maker, GridRequest], Executor]

    @property
    def divides(self) -> bool:
        """Whether the threads of one machine are divided among workers."""
        return self.name == "processes"


def executor_options(command: Any) -> Any:
    """`--executor`, `--workers`, and what single executors need."""
    for option in (
        click.option("--slurm-set", multiple=True, metavar="KEY=VALUE", help="slurm: more of submitit (repeatable)."),
        click.option(
            "--slurm-time",
            metavar="MINUTES",
            type=click.IntRange(min=1),
            help="slurm: of a job; the next goes on.  [default: 240]",
        ),
        click.option("--partition", help="slurm: where its jobs are queued; `local` runs them here, to try it."),
        click.option("--address", help="ray: of a cluster, or auto.  [default: one of this machine, for this command]"),
        click.option(
            "--workers", type=click.IntRange(min=1), help="How many tasks at a time.  [default: 2; ray: as fit]"
        ),
        click.option(
            "--executor",
            type=click.Choice(EXECUTORS),
            help="What makes the tasks.  [default: inline, or processes where --workers is given]",
        ),
    ):
        command = option(command)
    return command


def chosen_executor(executor: str | None, asked: dict[str, Any]) -> tuple[Choice, dict[str, Any]]:
    """The executor, and what is left of `asked`; options of another executor are refused."""
    own = {key: asked.pop(key) for key in ("workers", *_OF_RAY, *_OF_SLURM)}
    name = executor or ("processes" if own["workers"] else "inline")
    for key, owner in (dict.fromkeys(_OF_RAY, "ray") | dict.fromkeys(_OF_SLURM, "slurm")).items():
        if own[key] and owner != name:
            raise UsageError(f"--{key.replace('_', '-')} is of --executor {owner}, not {name}", hint="leave it out")
    if name == "inline" and own["workers"]:
        raise UsageError("--executor inline has no workers", hint="leave --workers out, or --executor processes")
    workers = own["workers"] or 2
    return Choice(name, workers, _BUILDERS[name](own["workers"], own)), asked


def divided_threads(name: str, workers: int) -> int:
    """Threads of each of `workers` processes: the suite's own number, or an equal share of this machine's."""
    from fredbench.corruptions.workers import available_processors
    from fredbench.suites.grids import grid_named

    return grid_named(name).resources.cores or max(1, available_processors() // workers)


def _inline(workers: int | None, asked: dict[str, Any]) -> Callable[[Maker, GridRequest], Executor]:
    def build(maker: Maker, request: GridRequest) -> Executor:
        from fredbench.execution.schedule import Here

        return Here(maker)

    return build


def _processes(workers: int | None, asked: dict[str, Any]) -> Callable[[Maker, GridRequest], Executor]:
    def build(maker: Maker, request: GridRequest) -> Executor:
        from fredbench.execution.processes import Processes

        return Processes(request, workers or 2)

    return build


def _ray(workers: int | None, asked: dict[str, Any]) -> Callable[[Maker, GridRequest], Executor]:
    def build(maker: Maker, request: GridRequest) -> Executor:
        from fredbench.execution.on_ray import OnRay

        return OnRay(request, maker.grid_run.grid.resources, address=asked["address"], workers=workers)

    return build


def _slurm(workers: int | None, asked: dict[str, Any]) -> Callable[[Maker, GridRequest], Executor]:
    def build(maker: Maker, request: GridRequest) -> Executor:
        from fredbench.execution.on_slurm import OnSlurm

        return OnSlurm(
            request,
            maker,
            jobs=workers or 2,
            partition=asked["partition"],
            minutes=asked["slurm_time"],
            more=asked["slurm_set"],
        )

    return build


_BUILDERS = {"inline": _inline, "processes": _processes, "ray": _ray, "slurm": _slurm}
