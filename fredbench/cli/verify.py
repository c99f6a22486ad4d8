"""`fredbench verify`: re-derive what an artefact or a result file claims."""

from __future__ import annotations

from pathlib import Path

import click

from fredbench.cli.options import examples, format_option, store_option
from fredbench.evaluation.results.verifying import verify_result
from fredbench.foundation.errors import CheckFailedError
from fredbench.report.simple import simple_table
from fredbench.runs.auditing import audit
from fredbench.runs.store import Store

__all__ = ["command"]

_RESULTS = {True: "ok", False: "MISMATCH", None: "not checked"}


@click.command(
    "verify",
    epilog=examples(
        "fredbench verify runs/my-run",
        "fredbench verify result.json --store runs --format json",
    ),
)
@click.argument("path")
@format_option
@store_option
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="FREDBENCH_DATA",
    help="Folder of datasets, to hold a result file against (also FREDBENCH_DATA; default: the user's cache).",
)
def command(path: str, form: str, store: Path, data: Path | None) -> None:
    """Check PATH: a run's folder or name, a synset file, or a result file (.json) of `fredbench submit`.

    Of a run or a synset: header, checksums, budget, decoding, records. Of a result file: its schema; every number that
    follows from the values of students; ledgers and specs; the suite against the shipped one; and, where they are at
    hand, the dataset's fingerprints, the runs' digests, and the accuracies counted again from stored predictions. What
    cannot be looked at here is said and is no failure. Nothing is fetched, trained or changed.

    Exit code 1 when anything does not hold, with its place in the file, 2 when PATH cannot be read at all.
    """
    where = Path(path)
    if where.suffix == ".json" and where.is_file():
        checks = verify_result(where, Store(store), data)
    else:
        checks = audit(where if where.exists() else Store(store).find(path).path)
    lines = [(check.what, check.claimed, check.found, _RESULTS[check.holds]) for check in checks]
    click.echo(simple_table(("check", "claimed", "found", "result"), lines, form))
    wrong = [check.what for check in checks if check.holds is False]
    if wrong:
        raise CheckFailedError(
            f"{path} does not hold what it claims: {'; '.join(wrong)}",
            hint="restore the file from its source, or distill again with --fresh",
        )
