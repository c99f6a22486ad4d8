"""`fredbench suite plan` and `suite run`: what a grid will make, and making it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fredbench.cli.options import (
    budget_option,
    data_options,
    device_option,
    examples,
    format_option,
    joined,
    store_option,
)
from fredbench.foundation.errors import UsageError
from fredbench.recipes.presets import PRESETS
from fredbench.suites.grids import Grid, Place, grid_named

if TYPE_CHECKING:
    from fredbench.execution.inline import GridRun
    from fredbench.parameterizations.budget import BudgetBy

__all__ = ["asked_grid_run", "plan_command", "run_command", "run_options"]


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
        click.option("--ipc", "ipcs", type=int, multiple=True, help="This budget only (repeatable)."),
        click.option("--dataset", help="Which of the suite's datasets.  [default: its first]"),
        click.argument("name", metavar="NAME-or-FILE"),
    ):
        command = option(command)
    return command


@click.command("plan", epilog=examples("fredbench suite plan smoke", "fredbench suite plan twelve --dataset digits"))
@run_options
def plan_command(form: str, **asked: Any) -> None:
    """Say what a grid will make, and what of it is there; nothing is trained."""
    from fredbench.report.grid_table import plan_table

    grid_run = asked_grid_run(**asked)
    click.echo(plan_table(grid_run, grid_run.planned(), form))


@click.command("run", epilog=examples("fredbench suite run smoke", "fredbench suite run twelve --out twelve.json"))
@run_options
@budget_option
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the results there as JSON too.")
@click.option("--yes", is_flag=True, help="Also make cells that are estimated at above 6 hours.")
def run_command(form: str, out: Path | None, yes: bool, budget_by: BudgetBy | None, **asked: Any) -> None:
    """Make and score the runs of a grid, one after the other, and print their table.

    Run the same command again to go on with a grid that was stopped. A cell that fails is reported, the others go on.
    """
    from fredbench.foundation.environment import environment
    from fredbench.foundation.files import write_json
    from fredbench.report.grid_table import results_document, results_table

    grid_run = asked_grid_run(**asked)
    outcomes = list(grid_run.run(yes=yes))
    made_by = environment(str(grid_run.device), grid_run.threads)
    click.echo(results_table(grid_run, outcomes, form, made_by, budget_by=budget_by))
    if out is not None:
        write_json(out, results_document(grid_run, outcomes, made_by))
    if failed := [outcome for outcome in outcomes if outcome.problem is not None]:
        raise UsageError(
            f"{len(failed)} of {len(outcomes)} cells failed: {'; '.join(o.label for o in failed)}",
            hint="each says above why; the others are kept, so the same command makes only what is missing",
        )


def asked_grid_run(
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
) -> GridRun:
    """The part of the grid `name` that is asked for, with its dataset loaded."""
    from fredbench.datasets import data_root, load_dataset
    from fredbench.execution.inline import GridRun
    from fredbench.foundation.device import resolve_device, use_threads
    from fredbench.runs.store import Store

    grid = grid_named(name)
    place = _part(grid, grid.place(dataset), ipcs, preset, limit)
    return GridRun(
        grid,
        place,
        load_dataset(place.name, root=data, offline=offline),
        Store(store),
        resolve_device(device),
        use_threads(threads),
        data_root(data),
    )


def _part(grid: Grid, place: Place, ipcs: tuple[int, ...], preset: str | None, limit: int | None) -> Place:
    for ipc in ipcs:
        if ipc not in place.ipcs:
            raise UsageError(f"suite {grid.name} has no IPC {ipc} on {place.name}", hint=f"it has {joined(place.ipcs)}")
    chosen = tuple(ipc for ipc in place.ipcs if not ipcs or ipc in ipcs)
    # A number of test pictures asked for here is that of all domains.
    corrupted = place.corrupted_limit if limit is None else None
    return dataclasses.replace(
        place, ipcs=chosen, preset=preset or place.preset, limit=limit or place.limit, corrupted_limit=corrupted
    )
