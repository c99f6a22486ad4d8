"""`fredbench data`: bring, check, pack a dataset."""

from __future__ import annotations

from pathlib import Path

import click

from fredbench.cli.options import data_options, examples, format_option
from fredbench.corruptions.checking import check_arrays, corrupted_arrays
from fredbench.datasets import fetch_dataset, load_dataset
from fredbench.datasets.catalogue import absent
from fredbench.datasets.listing import Listing
from fredbench.foundation.errors import CheckFailedError
from fredbench.foundation.progress import say

__all__ = ["command"]

_HEAD = ("dataset", "split", "form", "path", "pictures", "published", "partial", "fingerprint", "result")


@click.group("data", epilog=examples("fredbench data fetch cifar10", "fredbench data verify digits"))
def command() -> None:
    """Bring, check, pack a dataset."""


@command.command(
    "fetch", epilog=examples("fredbench data fetch cifar10", "fredbench data fetch mnist --data ./datasets")
)
@click.argument("dataset")
@data_options
def fetch_command(dataset: str, data: Path | None, offline: bool) -> None:
    """Fetch DATASET's published files into the data folder, checked; prints where they lie.

    Goes on where an interrupted transfer stopped; what is there already is not fetched again.
    """
    for path in fetch_dataset(dataset, root=data, offline=offline):
        click.echo(path)


@command.command(
    "verify", epilog=examples("fredbench data verify digits", "fredbench data verify cifar10 --format json")
)
@click.argument("dataset")
@format_option
@data_options
def verify_command(dataset: str, form: str, data: Path | None, offline: bool) -> None:
    """Check DATASET as it lies: checksums, counts, fingerprints. Exit code 1 when anything does not hold.

    Nothing is fetched; of a set that no command can fetch and that is not there, it says so and what to bring. Of a
    folder of pictures it lists classes, splits, forms and modes, and what is skipped or refused and why. A folder of
    corrupted arrays (such as CIFAR-10-C) is checked file by file, and told from the published ones by its bytes. A
    fingerprint is the SHA-256 of a split's shape, pixels and labels, whatever the form.
    """
    if corrupted_arrays(Path(dataset)):
        return _verify_arrays(Path(dataset), form)
    from fredbench.datasets.verification import verify_dataset
    from fredbench.report.simple import simple_table

    if (told := absent(dataset, root=data)) is not None:
        click.echo(simple_table(_HEAD, [(told.name, "", "", "", 0, None, "", "", "not there")], form))
        say(f"note: {told.what}; {told.provide}")
        return
    pictures = load_dataset(dataset, root=data, offline=True)
    if pictures.source.listing is not None:
        _tell_listing(pictures.source.listing)
    reports = verify_dataset(pictures)
    lines = [
        (
            pictures.name,
            report.split,
            report.form,
            report.path,
            report.pictures,
            report.published,
            report.partial,
            report.fingerprint,
            report.problem or "ok",
        )
        for report in reports
    ]
    click.echo(simple_table(_HEAD, lines, form))
    for note in pictures.notes:
        say(f"note: {note}")
    bad = [f"{report.split}: {report.problem}" for report in reports if report.problem]
    if bad:
        raise CheckFailedError(
            f"{pictures.name} does not hold what it should: {'; '.join(bad)}",
            hint="restore the files named from their source, or fetch the dataset again",
        )


def _tell_listing(listing: Listing) -> None:
    """What lies in a folder of pictures, before anything of it is decoded or refused."""
    from fredbench.datasets.census import census, told

    for line in told(listing, census(listing)):
        say(line)


def _verify_arrays(folder: Path, form: str) -> None:
    from fredbench.report.simple import simple_table

    reports = check_arrays(folder)
    lines = [(report.file, report.content, report.identity, report.problem or "ok") for report in reports]
    click.echo(simple_table(("file", "content", "published", "result"), lines, form))
    bad = [report.problem for report in reports if report.problem]
    if bad:
        raise CheckFailedError(
            f"{folder} does not hold what it should: {'; '.join(bad)}",
            hint="fetch the archive again, or write the set anew with `fredbench corrupt`",
        )


@command.command(
    "pack",
    epilog=examples(
        "fredbench data pack digits --out packed/digits",
        "fredbench data pack 'folder:./flowers?size=64' --out packed/flowers",
    ),
)
@click.argument("dataset")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write; it must not exist or be empty.",
)
@click.option("--name", default="", help="Name to give the packed set.  [default: the dataset's own]")
@data_options
def pack_command(dataset: str, out: Path, name: str, data: Path | None, offline: bool) -> None:
    """Write DATASET as lossless WebP sheets with labels and checksums; prints the folder.

    It loads back to the same pictures as packed:OUT, and by its name from the data folder around it.
    """
    from fredbench.datasets.packing import pack_dataset

    click.echo(pack_dataset(load_dataset(dataset, root=data, offline=offline), out, name=name))
