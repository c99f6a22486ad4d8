"""`fredbench compare`: a run against predictions that were kept, on the same test pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fredbench.cli.options import data_options, device_option, examples, format_option, store_option
from fredbench.foundation.errors import UsageError
from fredbench.foundation.progress import say

__all__ = ["command"]


@click.command(
    "compare",
    epilog=examples(
        "fredbench compare my-run --against results/predictions-smoke.safetensors",
        "fredbench compare --pack smoke.safetensors smoke",
    ),
)
@click.argument("what", metavar="RUN-or-SUITE")
@click.option(
    "--against", type=click.Path(path_type=Path, dir_okay=False), help="Compare the run with the rows of this file."
)
@click.option(
    "--pack",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the predictions that the store has of a grid.",
)
@click.option("--students", type=click.IntRange(min=1), help="Students of the run.  [default: its own number]")
@format_option
@device_option
@store_option
@data_options
def command(
    what: str,
    against: Path | None,
    pack: Path | None,
    students: int | None,
    form: str,
    device: str,
    threads: int | None,
    store: Path,
    data: Path | None,
    offline: bool,
) -> None:
    """Compare a run with kept predictions (--against FILE), picture by picture, or keep those of a grid (--pack FILE).

    The run's students are trained and scored where they are missing; those of the file are never made again.
    """
    if (against is None) == (pack is None):
        raise UsageError("give one of --against FILE and --pack FILE", hint="see `fredbench compare --help`")
    asked: dict[str, Any] = {"device": device, "threads": threads, "data": data, "offline": offline}
    if against is not None:
        _compare(what, against, students, form, store, **asked)
    elif pack is not None:
        _pack(what, pack, store, **asked)


def _pack(suite: str, file: Path, store: Path, **asked: Any) -> None:
    from fredbench.cli.suite_run import asked_grid_run
    from fredbench.execution.comparing import pack_grid

    grid_run = asked_grid_run(name=suite, dataset=None, ipcs=(), preset=None, limit=None, store=store, **asked)
    found, size = pack_grid(grid_run, file)
    say(f"{len(found.rows)} rows × {len(found.domains)} domains, {size:,} bytes")
    click.echo(str(file))


def _compare(
    run: str,
    file: Path,
    students: int | None,
    form: str,
    store: Path,
    *,
    device: str,
    threads: int | None,
    data: Path | None,
    offline: bool,
) -> None:
    from fredbench.datasets import data_root
    from fredbench.evaluation.entrants import Entrant
    from fredbench.evaluation.packed import unpacked
    from fredbench.evaluation.scoring import Evaluation
    from fredbench.execution.comparing import compared_with, domains_as
    from fredbench.foundation.device import resolve_device, use_threads
    from fredbench.report.compare_table import against_table
    from fredbench.runs.sources import dataset_of
    from fredbench.runs.store import Store

    found, entrant = unpacked(file), Entrant.of(Store(store).find(run))
    dataset = dataset_of(entrant.folder, data=data, offline=offline)
    evaluation = Evaluation(
        dataset,
        resolve_device(device),
        use_threads(threads),
        domains_as(found, dataset, data_root(data)),
        students=students,
    )
    click.echo(against_table(*compared_with(found, evaluation, entrant), form))
