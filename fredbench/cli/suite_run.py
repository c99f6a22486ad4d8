"""`fredbench suite plan` and `suite run`: what a grid will make, and making it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fredbench.cli.executors import chosen_executor, divided_threads, executor_options
from fredbench.cli.options import budget_option, data_options, device_option, examples, format_option, store_option
from fredbench.foundation.errors import DataError, UsageError
from fredbench.recipes.presets import PRESETS
from fredbench.suites.grids import grid_named

if TYPE_CHECKING:
    from fredbench.execution.inline import GridRun
    from fredbench.execution.request import GridRequest
    from fredbench.foundation.coding import BudgetBy

__all__ = [
    "asked_grid_run", "asked_grid_runs", "grid_request", "plan_command", "run_command", "run_options", "status_command",
]  # fmt: skip


def run_options(command: Any) -> Any:
    """What `plan`, `run` and `show` share: which part of a grid, and where its runs and data lie."""
    for option in (
        data_options,
        store_option,
        device_option,
        format_option,
        click.option(
            "--limit",
            type=click.IntRange(min=1),
            help="Score that many evenly spaced test pictures.  [default: the suite's]",
        ),
        click.option("--preset", type=click.Choice(list(PRESETS)), help="Effort.  [default: the suite's]"),
        click.option("--scale", help="Which of the suite's scales, such as `paper` or `ci`.  [default: its first]"),
        click.option("--ipc", "ipcs", type=int, multiple=True, help="This budget only (repeatable)."),
        click.option("--dataset", help="Which of the suite's datasets.  [default: its first]"),
        click.argument("name", metavar="NAME-or-FILE"),
    ):
        command = option(command)
    return command


@click.command("plan", epilog=examples("fredbench suite plan smoke", "fredbench suite plan twelve --dataset digits"))
@run_options
@click.option(
    "--estimate/--no-estimate", default=True, show_default=True,
    help="Measure a step of each kind of cell, and say what all of it takes here: 1 to 2 minutes at most.",
)  # fmt: skip
def plan_command(form: str, estimate: bool, **asked: Any) -> None:
    """Say what a grid will make, what of it is there, and what the rest takes on this machine; nothing is made."""
    from fredbench.execution.costs import Costs
    from fredbench.execution.making import Maker
    from fredbench.execution.plan import plan_of
    from fredbench.report.grid_table import plan_table

    grid_run = asked_grid_run(**asked)
    plan = plan_of(grid_run)
    click.echo(plan_table(grid_run, plan.planned, form, Costs(Maker(grid_run, plan)) if estimate else None))


@click.command(
    "run",
    epilog=examples(
        "fredbench suite run smoke",
        "fredbench suite run smoke --executor processes --workers 2 --threads 1 --out smoke.json",
    ),
)
@run_options
@executor_options
@budget_option
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the results there as JSON too.")
@click.option("--yes", is_flag=True, help="Also make cells that are estimated at above 6 hours.")
def run_command(
    form: str, out: Path | None, yes: bool, executor: str | None, budget_by: BudgetBy | None, **asked: Any
) -> None:
    """Make and score the runs of a grid, and print their table.

    Run the same command again to go on with a grid that was stopped. A cell that fails is reported, the others go on.
    Two of these on one store share the work. docs/clusters.md says which executor is for what.
    """
    from fredbench.execution.making import Maker
    from fredbench.execution.plan import plan_of
    from fredbench.execution.running import outcomes
    from fredbench.foundation.environment import environment
    from fredbench.foundation.files import write_json
    from fredbench.report.grid_table import results_document, results_table

    choice, asked = chosen_executor(executor, asked)
    request = grid_request(**asked, yes=yes)
    if choice.divides and request.threads is None:
        request = dataclasses.replace(request, threads=divided_threads(request.name, choice.workers))
    grid_run = request.open()
    maker = Maker(grid_run, plan_of(grid_run))
    made = list(outcomes(maker, choice.build(maker, request.pinned(grid_run)), yes=yes))
    made_by = environment(str(grid_run.device), grid_run.threads)
    click.echo(results_table(grid_run, made, form, made_by, budget_by=budget_by))
    if out is not None:
        write_json(out, results_document(grid_run, made, made_by))
    if failed := [outcome for outcome in made if outcome.problem is not None]:
        raise UsageError(
            f"{len(failed)} of {len(made)} cells failed: {'; '.join(o.label for o in failed)}",
            hint="each says above why; the others are kept, so the same command makes only what is missing",
        )


@click.command("status", epilog=examples("fredbench suite status smoke", "fredbench suite status smoke --format json"))
@run_options
def status_command(form: str, **asked: Any) -> None:
    """Say from the store what of a grid is done, what runs (where, since when), and what failed and why.

    Nothing is made, and who is at work is not disturbed. Give the options that `suite run` was given, --threads too:
    they say which tasks are meant.
    """
    from fredbench.execution.making import Maker
    from fredbench.execution.plan import plan_of
    from fredbench.execution.status import standings
    from fredbench.report.status_table import status_table

    grid_run = asked_grid_run(**asked)
    click.echo(status_table(standings(Maker(grid_run, plan_of(grid_run))), form))


def asked_grid_run(**asked: Any) -> GridRun:
    """The part of a grid that is asked for, with its dataset loaded."""
    return grid_request(**asked).open()


def grid_request(
    *,
    name: str,
    dataset: str | None,
    ipcs: tuple[int, ...],
    preset: str | None,
    limit: int | None,
    device: str,
    threads: int | None,
    store: Path,
    data: Path | None,
    offline: bool,
    scale: str | None = None,
    yes: bool = False,
) -> GridRequest:
    """What the options of `run_options` ask for."""
    from fredbench.execution.request import GridRequest

    folder = None if data is None else str(data)
    return GridRequest(
        name, str(store), dataset, ipcs, preset, limit, device, threads, folder, offline, yes, scale=scale
    )


def asked_grid_runs(*, name: str, dataset: str | None, scale: str | None, **asked: Any) -> list[GridRun]:
    """The same for each of the grid's datasets, unless one is named.

    One whose data are not here, or that has not the budget that is asked for, is left out with a word on stderr; where
    that leaves none, it is an error.
    """
    from fredbench.foundation.progress import say

    places = grid_named(name).of_scale(scale)
    names = [place.name for place in places] if dataset is None else [dataset]
    found, problems = [], []
    for each in names:
        try:
            found.append(asked_grid_run(name=name, dataset=each, scale=scale, **asked))
        except (DataError, UsageError) as error:
            problems.append((each, error))
    if not found:
        raise problems[0][1]
    for each, problem in problems:
        say(f"left out: {each}: {problem}")
    return found
