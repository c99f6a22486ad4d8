"""`fredbench verify`: re-derive what an artefact claims."""

from __future__ import annotations

from pathlib import Path

import click

from fredbench.cli.options import examples, format_option, store_option
from fredbench.foundation.errors import CheckFailedError
from fredbench.report.simple import simple_table
from fredbench.runs.auditing import audit
from fredbench.runs.store import Store

__all__ = ["command"]


@click.command(
    "verify",
    epilog=examples(
        "fredbench verify runs/my-run",
        "fredbench verify downloaded/synset.safetensors --format json",
    ),
)
@click.argument("path")
@format_option
@store_option
def command(path: str, form: str, store: Path) -> None:
    """Check PATH (a run's folder or name, or a synset file): header, checksums, budget, decoding, records.

    Exit code 1 when anything does not hold, 2 when the artefact cannot be read at all.
    """
    where = Path(path)
    checks = audit(where if where.exists() else Store(store).find(path).path)
    lines = [(check.what, check.claimed, check.found, "ok" if check.holds else "MISMATCH") for check in checks]
    click.echo(simple_table(("check", "claimed", "found", "result"), lines, form))
    wrong = [check.what for check in checks if not check.holds]
    if wrong:
        raise CheckFailedError(
            f"{path} does not hold what it claims: {'; '.join(wrong)}",
            hint="restore the file from its source, or distill again with --fresh",
        )
