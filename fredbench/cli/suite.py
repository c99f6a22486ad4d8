"""`fredbench suite`: corruption suites, listed and shown."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import click

from fredbench.cli.options import examples, format_option
from fredbench.report.table import simple_table
from fredbench.suites import suite_named, suite_names

__all__ = ["SUITE_HEAD", "command", "suite_lines"]

SUITE_HEAD = ("suite", "dataset", "title", "profile", "corruptions", "severities")


def suite_lines() -> list[Sequence[Any]]:
    """The suites that come with fredbench, a line each."""
    return [
        (suite.name, suite.dataset, suite.title, suite.profile, len(suite.corruptions), _joined(suite.severities))
        for suite in map(suite_named, suite_names())
    ]


def _joined(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))


@click.group("suite", epilog=examples("fredbench suite list", "fredbench suite show cifar10c"))
def command() -> None:
    """Corruption suites: which test domains a dataset is scored on."""


@command.command("list", epilog=examples("fredbench suite list", "fredbench suite list --format json"))
@format_option
def list_command(form: str) -> None:
    """List the suites that come with fredbench."""
    click.echo(simple_table(SUITE_HEAD, suite_lines(), form))


@command.command("show", epilog=examples("fredbench suite show cifar10c", "fredbench suite show ./my-suite.toml"))
@click.argument("name")
@format_option
def show_command(name: str, form: str) -> None:
    """Show the suite NAME, one of fredbench's or a TOML file's path."""
    values = dataclasses.asdict(suite_named(name))
    if form == "json":
        click.echo(json.dumps(values, indent=1))
        return
    lines = [(key, _joined(value) if isinstance(value, tuple) else value) for key, value in values.items()]
    click.echo(simple_table(("key", "value"), lines, form))
