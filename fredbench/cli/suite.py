"""`fredbench suite`: corruption suites, listed, shown, and given a baseline."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from fredbench.cli.options import data_options, device_option, examples, format_option, store_option
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


def _told(value: Any) -> Any:
    """A value of a suite as a cell: tables and lists as one line."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {_told(inner)}" for key, inner in value.items())
    if isinstance(value, (tuple, list)):
        return _joined(value)
    return "" if value is None else value


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
    lines = [(key, _told(value)) for key, value in values.items()]
    click.echo(simple_table(("key", "value"), lines, form))


@command.command(
    "baseline",
    epilog=examples(
        "fredbench suite baseline digitsc",
        "fredbench suite baseline cifar10c --epochs 10 --students 3",
    ),
)
@click.argument("name")
@click.option("--network", default="convnet-d3-w32-in", show_default=True, help="The network to measure.")
@click.option("--epochs", type=click.IntRange(min=1), default=10, show_default=True, help="Passes over the real data.")
@click.option("--students", type=click.IntRange(min=1), default=1, show_default=True, help="Networks to average.")
@click.option("--seed", type=int, default=0, show_default=True, help="Root of every random draw.")
@device_option
@store_option
@data_options
def baseline_command(
    name: str,
    network: str,
    epochs: int,
    students: int,
    seed: int,
    device: str,
    threads: int | None,
    store: Path,
    data: Path | None,
    offline: bool,
) -> None:
    """Train NETWORK on the real training data of suite NAME, and print its errors as the file's [baseline] table.

    Corruption errors (mCE) are relative to that network. Its cells stay in the store; a stopped run goes on.
    """
    from fredbench import networks
    from fredbench.baselines import measure_baseline, to_toml
    from fredbench.datasets import data_root, load_dataset
    from fredbench.device import resolve_device, use_threads
    from fredbench.domains import TestDomains
    from fredbench.training import TrainingRecipe

    suite = suite_named(name)
    dataset = load_dataset(suite.dataset, root=data, offline=offline)
    canonical = networks.canonical_name(
        network, channels=dataset.channels, classes=len(dataset.classes), size=dataset.size
    )
    strategy = "color_crop_cutout_flip_scale_rotate" if dataset.flip else "color_crop_cutout_scale_rotate"
    measured = measure_baseline(
        TestDomains(suite, dataset, (1, 2, 3, 4, 5), official=TestDomains.official_folder(suite, data_root(data))),
        folder=store / f"baseline-{suite.name}" / "cells",
        network=canonical,
        recipe=TrainingRecipe(epochs=epochs, schedule="steps", lr=0.01, augmentation=strategy),
        students=students,
        seed=seed,
        device=resolve_device(device),
        threads=use_threads(threads),
    )
    click.echo(to_toml(measured))
