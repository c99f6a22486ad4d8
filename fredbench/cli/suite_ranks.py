"""`fredbench suite ranks`: systems over many tables."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fredbench.cli.options import examples, format_option
from fredbench.foundation.errors import UsageError

__all__ = ["ranks_command"]


@click.command(
    "ranks",
    epilog=examples(
        "fredbench suite ranks results/twelve-cifar10-ipc1.json results/twelve-digits-ipc1.json",
        "fredbench suite ranks results/twelve-digits-ipc10.json --out ranks.svg",
    ),
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Draw them there too, as .svg or .png.")
@click.option("--corruptions", is_flag=True, help="A column for each corruption in place of their average.")
@format_option
def ranks_command(files: tuple[Path, ...], out: Path | None, corruptions: bool, form: str) -> None:
    """Rank the systems of kept tables (what `suite run --out` wrote): mean rank, win rate, critical difference.

    Columns are clean and average of each table and budget, each counting once. Systems that one lacks are left out.
    """
    from fredbench.evaluation.ranks import columns_of, ranked

    if out is not None and out.suffix not in {".svg", ".png"}:
        raise UsageError(f"--out {out} is neither .svg nor .png", hint="end its name in one of them")
    documents = []
    for file in files:
        try:
            documents.append(json.loads(file.read_text()))
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise UsageError(
                f"{file} cannot be read as JSON: {error}", hint="write one: fredbench suite run NAME --out FILE"
            ) from error
    found = ranked(columns_of(documents, corruptions=corruptions))

    from fredbench.report.rank_figure import draw_ranks, ranks_table

    click.echo(ranks_table(found, form))
    if out is not None:
        draw_ranks(found, out)
