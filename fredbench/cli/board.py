"""`fredbench board`: a leaderboard made of result files."""

from __future__ import annotations

from pathlib import Path

import click

from fredbench.cli.options import examples
from fredbench.evaluation.results.entries import collected
from fredbench.foundation.errors import CheckFailedError, UsageError
from fredbench.foundation.progress import say
from fredbench.report.board import write_board

__all__ = ["command"]


@click.command(
    "board",
    epilog=examples(
        "fredbench board results --out site",
        "fredbench board ours.json theirs/ --out site --title 'Ours and theirs'",
    ),
)
@click.argument("places", metavar="DIR_OR_FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the site; the pages of an earlier board in it are replaced.",
)  # fmt: skip
@click.option("--title", default="Leaderboard", show_default=True, help="Title of the front page.")
def command(places: tuple[Path, ...], out: Path, title: str) -> None:
    """Make a static site of the result files at DIR_OR_FILE, folders with all below them; prints its front page.

    Files of `fredbench submit` and the older ones of `suite run --out` are read. Rows stand in one table only where
    data, suite, pictures, protocol and scale agree; the same row from two files is shown once. The pages fetch nothing,
    work from disk, and can be put on any host as they are.

    A file that is broken, or whose numbers do not follow from its own values of students, is named and left out; the
    board is made of the others, and the exit code is then 1. JSON in folders that is no result file is passed over.
    """
    entries, broken = collected(places)
    for problem in broken:
        say(f"left out: {problem.message}")
    if not entries:
        raise UsageError(f"no usable result file: {broken[0].message}", hint=broken[0].hint)
    if (out / "index.html").exists() and not _ours(out / "index.html"):
        raise UsageError(f"{out} holds a page that is no board", hint="choose another --out")
    pages = write_board(out, entries, title=title)
    say(f"{len(entries)} rows, {pages} pages")
    click.echo(str(out / "index.html"))
    if broken:
        raise CheckFailedError(
            f"{len(broken)} file(s) were left out, the first: {broken[0].message}", hint=broken[0].hint
        )


def _ours(page: Path) -> bool:
    return b'name="generator" content="fredbench ' in page.read_bytes()[:4096]
