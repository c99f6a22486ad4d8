"""`fredbench doctor`: is everything here that a run needs?"""

from __future__ import annotations

from pathlib import Path

import click

from fredbench.cli.options import data_options, examples, format_option, store_option
from fredbench.foundation.errors import CheckFailedError

__all__ = ["command"]


@click.command("doctor", epilog=examples("fredbench doctor", "fredbench doctor --format json"))
@format_option
@store_option
@data_options
def command(form: str, store: Path, data: Path | None, offline: bool) -> None:
    """Say what is here: versions, devices, data, disk and memory, and how to mend what is missing.

    Nothing is fetched and no picture is decoded. Exit code 1 only when something that every run needs is broken.
    """
    from fredbench.cli.diagnosis import examine
    from fredbench.datasets import data_root
    from fredbench.report.simple import simple_table

    findings = examine(store, data_root(data))
    if form in {"table", "markdown"}:
        # A column of fixes would be wider than any terminal.
        lines = [(finding.topic, finding.state, finding.found) for finding in findings]
        click.echo(simple_table(("what", "state", "found"), lines, form))
        fixes = [f"- {finding.topic}: {finding.fix}" for finding in findings if finding.fix]
        click.echo("\n".join(["", "To mend or to know:", *fixes]) if fixes else "\nNothing to mend.")
    else:
        whole = [(finding.topic, finding.state, finding.found, finding.fix) for finding in findings]
        click.echo(simple_table(("what", "state", "found", "fix"), whole, form))
    broken = [finding for finding in findings if finding.state == "broken"]
    if broken:
        raise CheckFailedError(
            f"broken: {', '.join(finding.topic for finding in broken)}",
            hint="; ".join(finding.fix for finding in broken),
        )
