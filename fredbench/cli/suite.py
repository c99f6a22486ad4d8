"""`fredbench suite`: corruption suites and grids of runs, listed, shown, planned and run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from fredbench.cli.options import budget_option, examples, format_option, joined
from fredbench.cli.suite_baseline import baseline_command
from fredbench.cli.suite_ranks import ranks_command
from fredbench.cli.suite_run import asked_grid_runs, plan_command, run_command, run_options, status_command
from fredbench.foundation.errors import UsageError
from fredbench.report.simple import simple_table
from fredbench.suites.corruption import suite_named
from fredbench.suites.grids import grid_named
from fredbench.suites.reading import kind_of, names_of

if TYPE_CHECKING:
    from fredbench.foundation.coding import BudgetBy

__all__ = ["SUITE_HEAD", "command", "suite_lines"]

SUITE_HEAD = ("suite", "kind", "dataset", "title", "profile", "corruptions", "severities", "cells")


def suite_lines() -> list[Sequence[Any]]:
    """The suites that come with fredbench, a line each: corruption suites and grids of runs."""
    return [_grid_line(name) if kind_of(name) == "grid" else _corruption_line(name) for name in _names()]


def _names() -> list[str]:
    return names_of("corruptions", "grid")


def _corruption_line(name: str) -> Sequence[Any]:
    suite = suite_named(name)
    severities = joined(suite.severities)
    return name, "corruptions", suite.dataset, suite.title, suite.profile, len(suite.corruptions), severities, ""


def _grid_line(name: str) -> Sequence[Any]:
    grid = grid_named(name)
    datasets = joined([p.name + (f" ({p.scale})" if p.scale else "") for p in grid.places])
    cells = joined([len(grid.cells(p)) for p in grid.places])
    return name, "runs", datasets, grid.title, "", "", "", cells


@click.group("suite", epilog=examples("fredbench suite list", "fredbench suite run twelve --dataset digits --ipc 1"))
def command() -> None:
    """Suites: corruption suites say where sets are scored, grids which sets are made and scored."""


@command.command("list", epilog=examples("fredbench suite list", "fredbench suite list --format json"))
@format_option
def list_command(form: str) -> None:
    """List the suites that come with fredbench."""
    click.echo(simple_table(SUITE_HEAD, suite_lines(), form))


@command.command("show", epilog=examples("fredbench suite show cifar10c", "fredbench suite show twelve --ipc 1"))
@run_options
@budget_option
@click.option("--definition", is_flag=True, help="Of a grid: what its file says, in place of its table.")
def show_command(name: str, form: str, definition: bool, budget_by: BudgetBy | None, **asked: Any) -> None:
    """Show what a corruption suite holds, or the tables of a grid from the store alone, beside what is published.

    A table a dataset, of those whose data are here; --dataset chooses one.
    Nothing is trained. Cells that are missing are named with the commands that make them.
    """
    grid = kind_of(name) == "grid"
    if grid and not definition:
        from fredbench.report.stored_table import stored_table

        click.echo(stored_table(asked_grid_runs(name=name, **asked), form, budget_by=budget_by))
        return
    choices = {**asked, "budget-by": budget_by}
    if given := [
        f"--{key.removesuffix('s')}"
        for key in ("dataset", "scale", "ipcs", "preset", "limit", "budget-by")
        if choices[key]
    ]:
        raise UsageError(
            f"{joined(given)} choose cells of a grid's table, and {'a definition' if grid else name} has none",
            hint="leave them out",
        )
    values = dataclasses.asdict(grid_named(name) if grid else suite_named(name))
    if form == "json":
        click.echo(json.dumps(values, indent=1))
        return
    click.echo(simple_table(("key", "value"), list(_flat(values)), form))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys and values, tables in lists by number; what is left at none is left out."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
            for number, table in enumerate(value, 1):
                yield from _flat(table, f"{prefix}{key}.{number}.")
        elif value is not None:
            yield f"{prefix}{key}", joined(value) if isinstance(value, (list, tuple)) else value


for _command in (plan_command, run_command, status_command, baseline_command, ranks_command):
    command.add_command(_command)
