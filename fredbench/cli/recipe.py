"""`fredbench recipe`: which settings a run would take from the recipes, and where each of them comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from fredbench.cli.options import data_options, examples, format_option, set_option
from fredbench.datasets import load_dataset
from fredbench.foundation.progress import say
from fredbench.recipes.notes import notes_of
from fredbench.recipes.presets import PRESETS
from fredbench.recipes.resolution import Request, explained, method_of
from fredbench.report.simple import simple_table

__all__ = ["command"]

_HEAD = ("section", "setting", "value", "origin", "why")


@click.command(
    "recipe",
    epilog=examples(
        "fredbench recipe digits --ipc 1 --method dm",
        "fredbench recipe digits --ipc 10 --method kip --preset quick --format json",
    ),
)
@click.argument("dataset")
@click.option("--ipc", type=int, help="Budget: whole pictures a class.")
@click.option("--params", type=int, help="Budget: scalars in all.")
@click.option("--method", help="A published system (see `fredbench list methods`).  [default: fred]")
@click.option("--objective", help="What is matched.")
@click.option("--parameterization", help="What is stored.")
@click.option("--preset", type=click.Choice(list(PRESETS)), default="paper", show_default=True, help="Effort.")
@click.option("--iterations", type=int, help="Iterations of the outer loop.")
@click.option("--network", help="Network to distill with and to score by.")
@set_option
@format_option
@data_options
def command(dataset: str, form: str, data: Path | None, offline: bool, **asked: Any) -> None:
    """Say which settings `fredbench distill DATASET` would take from the recipes, each with its origin and reason.

    Origins: script (the authors' published scripts), paper (paper or its tables), inferred (follows from published
    numbers), chosen (ours, where nothing is published). Settings not listed are defaults.
    """
    request, pictures = Request(**asked), load_dataset(dataset, root=data, offline=offline)
    sections = explained(request, pictures)
    for note in notes_of(method_of(request), pictures.name, request.preset):
        say(f"note: {note}")
    lines = [
        (section, name, setting.value if form == "json" else _text(setting.value), setting.origin, setting.why)
        for section, settings in sections.items()
        for name, setting in settings.items()
    ]
    click.echo(simple_table(_HEAD, lines, form))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
