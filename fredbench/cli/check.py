"""`fredbench check`: the regression gate against a reference file, and making one."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from fredbench.cli.options import data_options, device_option, examples, format_option, store_option
from fredbench.foundation.errors import CheckFailedError, UsageError
from fredbench.foundation.progress import say

__all__ = ["command"]

_SHOWN = 3


@click.command(
    "check",
    epilog=examples(
        "fredbench check --reference results/reference-smoke.json",
        "fredbench check --record smoke.json smoke --seed 0 --seed 1 --seed 2 --seed 3 --seed 4",
    ),
)
@click.argument("suite", required=False)
@click.option("--reference", type=click.Path(path_type=Path, dir_okay=False), help="Compare with this file.")
@click.option(
    "--record", type=click.Path(path_type=Path, dir_okay=False), help="Write what SUITE gives as a reference."
)
@click.option(
    "--tier",
    type=click.Choice(["smoke", "stored", "published"]),
    default="smoke",
    show_default=True,
    help="With --record: `smoke` by several seeds, `stored` what the store has, `published` the literature's numbers.",
)
@click.option("--seed", "seeds", type=int, multiple=True, help="Seed of the runs (repeatable).  [default: the suite's]")
@click.option(
    "--false-alarm",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.01,
    show_default=True,
    help="With --record: the probability, over a whole check, that a correct program is refused.",
)
@click.option("--make/--no-make", "make", default=None, help="Make missing cells first.  [default: in the tier smoke]")
@click.option("--all", "every", is_flag=True, help="Show every line that was compared.")
@click.option("--dataset", help="With --record: which of the suite's datasets.  [default: its first]")
@format_option
@device_option
@store_option
@data_options
def command(
    suite: str | None,
    reference: Path | None,
    record: Path | None,
    tier: Any,
    seeds: tuple[int, ...],
    false_alarm: float,
    make: bool | None,
    every: bool,
    dataset: str | None,
    form: str,
    store: Path,
    **asked: Any,
) -> None:
    """Hold a grid's runs against a reference file: exit 0 inside its tolerances, 1 outside or missing.

    A reference of the tier `smoke` is a gate for changes of the code: without --store its cells are made anew in a
    folder that is removed afterwards, since runs that a store has already say nothing of today's code. The tiers
    `stored` and `published` read what the store has.
    """
    if (reference is None) == (record is None):
        raise UsageError("give one of --reference FILE and --record FILE SUITE", hint="see `fredbench check --help`")
    given = click.get_current_context().get_parameter_source("store") is not ParameterSource.DEFAULT
    if reference is not None:
        if suite is not None:
            raise UsageError("a reference names its suite itself", hint=f"leave {suite} out, or --record another file")
        _check(reference, seeds, make, form, store if given else None, every=every, **asked)
    elif record is not None:
        if suite is None:
            raise UsageError(
                "--record needs the suite that is to be recorded", hint="fredbench check --record FILE smoke"
            )
        _record(record, suite, tier, seeds, false_alarm, make, form, store, dataset=dataset, **asked)


def _check(
    file: Path, seeds: tuple[int, ...], make: bool | None, form: str, store: Path | None, *, every: bool, **asked: Any
) -> None:
    from fredbench.evaluation.references import read
    from fredbench.execution.checking import checked
    from fredbench.report.check_table import check_table

    reference = read(file)
    smoke = reference.tier == "smoke"
    with _place(store, fresh=smoke) as place:
        own = seeds if seeds or smoke else reference.seeds
        name = _beside(reference.suite, file)
        grid_run = _grid_run(name, own, place, dataset=reference.dataset, **asked)
        findings, problems = checked(reference, grid_run, make=smoke if make is None else make)
    click.echo(check_table(reference, findings, form, every=every))
    wrong = [finding for finding in findings if not finding.holds]
    if wrong or problems:
        said = [f"{cell} failed: {problem}" for cell, problem in problems.items()] + [str(each) for each in wrong]
        more = f"; and {len(said) - _SHOWN} more" if len(said) > _SHOWN else ""
        raise CheckFailedError(
            f"{len(wrong)} of {len(findings)} lines do not hold: {'; '.join(said[:_SHOWN])}{more}",
            hint="find the change that did it; where it is meant, record the reference anew and read its diff",
        )


def _record(
    file: Path,
    suite: str,
    tier: Any,
    seeds: tuple[int, ...],
    false_alarm: float,
    make: bool | None,
    form: str,
    store: Path,
    *,
    dataset: str | None,
    **asked: Any,
) -> None:
    from fredbench.evaluation.references import written
    from fredbench.execution.checking import recorded
    from fredbench.foundation.environment import environment
    from fredbench.report.simple import simple_table

    grid_run = _grid_run(suite, seeds, store, dataset=dataset, **asked)
    made_in = environment(str(grid_run.device), grid_run.threads)
    made_in = {key: value for key, value in made_in.items() if key != "platform"}
    name = suite if not suite.endswith(".toml") else os.path.relpath(suite, file.parent)
    reference = recorded(
        grid_run, tier, name, made_in, false_alarm=false_alarm, make=tier == "smoke" if make is None else make
    )
    written(reference, file)
    counts: dict[str, int] = {}
    for line in reference.lines:
        counts[line.row] = counts.get(line.row, 0) + 1
    click.echo(simple_table(("row", "lines"), list(counts.items()), form))
    say(f"{len(reference.lines)} lines of {len(reference.seeds)} seed(s) in {file}")


def _beside(suite: str, file: Path) -> str:
    """A suite by name, or its file as it lies beside the reference."""
    return suite if not suite.endswith(".toml") else str(file.parent / suite)


@contextlib.contextmanager
def _place(store: Path | None, *, fresh: bool) -> Iterator[Path]:
    """The store that was named; without one the usual, or a new one where the code of today is what is checked."""
    if store is not None:
        yield store
    elif not fresh:
        yield Path("runs")
    else:
        with tempfile.TemporaryDirectory(prefix="fredbench-check-") as folder:
            yield Path(folder)


def _grid_run(
    name: str,
    seeds: tuple[int, ...],
    store: Path,
    *,
    dataset: str | None,
    device: str,
    threads: int | None,
    data: Path | None,
    offline: bool,
) -> Any:
    from fredbench.cli.suite_run import asked_grid_run

    grid_run = asked_grid_run(
        name=name, dataset=dataset, ipcs=(), preset=None, limit=None, device=device, threads=threads, store=store,
        data=data, offline=offline,
    )  # fmt: skip
    if not seeds:
        return grid_run
    chosen = tuple(dict.fromkeys(seeds))
    # A change that leaves cells out goes on to do so; one that names seeds of its own gets those asked for.
    changes = tuple(
        dataclasses.replace(change, seeds=chosen) if change.seeds else change for change in grid_run.grid.changes
    )
    grid = dataclasses.replace(grid_run.grid, changes=changes)
    return dataclasses.replace(grid_run, grid=grid, place=dataclasses.replace(grid_run.place, seeds=chosen))
