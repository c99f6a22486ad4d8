"""`fredbench score`: import and corrupt-eval at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fredbench.cli.import_set import imported, set_options
from fredbench.cli.options import (
    budget_option,
    data_options,
    device_option,
    examples,
    format_option,
    label_options,
    store_option,
)
from fredbench.evaluation.labelling import AugmentationProtocol, LabelProtocol
from fredbench.execution.api import evaluate
from fredbench.foundation.coding import BudgetBy
from fredbench.foundation.errors import UsageError
from fredbench.report.table import corruption_table
from fredbench.suites.corruption import corruptions_of, suite_named

__all__ = ["command"]


@click.command(
    "score",
    epilog=examples(
        "fredbench score images_best.pt --dataset cifar10 --limit 1000",
        "fredbench score my-run.npz --as digits --preset quick",
    ),
)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--dataset", "--as", "dataset", required=True, help="The dataset that it is of.")
@click.option("--suite", "suite_name", help="A suite's name or TOML file.  [default: the dataset's corruptions]")
@click.option("--severity", "severities", type=int, multiple=True, help="Severity 1 to 5 (repeatable).")
@click.option("--limit", type=int, help="Score that many evenly spaced test pictures.")
@click.option("--students", type=int, help="Students a set.  [default: the preset's]")
@click.option(
    "--network", "networks", multiple=True,
    help="Test network (repeatable: a row each, and their mean).  [default: the set's own]",
)  # fmt: skip
@set_options
@label_options
@budget_option
@format_option
@device_option
@store_option
@data_options
def command(
    path: Path,
    dataset: str,
    suite_name: str | None,
    severities: tuple[int, ...],
    limit: int | None,
    students: int | None,
    networks: tuple[str, ...],
    train_labels: tuple[LabelProtocol, ...],
    augmentation: tuple[AugmentationProtocol, ...],
    teacher: str | None,
    teacher_epochs: int,
    budget_by: BudgetBy | None,
    form: str,
    device: str,
    threads: int | None,
    store: Path,
    data: Path | None,
    offline: bool,
    **said: Any,
) -> None:
    """Score the distilled set at PATH, whoever made it, with the random control of its budget beside it.

    What the file does not say is found out, told, and stands under the table; see `fredbench import`.
    """
    suite = suite_named(suite_name) if suite_name else corruptions_of(dataset)
    if suite is None:
        raise UsageError(f"no suite corrupts {dataset}", hint="name one with --suite, see `fredbench suite list`")
    run = imported(path, store, said, dataset=dataset, data=data, offline=offline, device=device, threads=threads)
    chosen = tuple(sorted(set(severities))) or suite.severities
    rows = evaluate(
        [run], suite=suite, networks=networks, severities=chosen, limit=limit, students=students, store=store,
        data=data, offline=offline, device=device, threads=threads, train_labels=train_labels,
        augmentation=augmentation, teacher=teacher, teacher_epochs=teacher_epochs,
    )  # fmt: skip
    name = next((row.suite for row in rows), suite.name)
    click.echo(corruption_table(name, chosen, rows, form, budget_by=budget_by))
