"""`fredbench evaluate`: train students on synsets and score the clean test split."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import click

from fredbench.cli.options import (
    attack_options,
    budget_option,
    data_options,
    device_option,
    examples,
    format_option,
    label_options,
    sequence_options,
    store_option,
)
from fredbench.evaluation.labelling import AugmentationProtocol, LabelProtocol
from fredbench.evaluation.rows import Row
from fredbench.evaluation.selection import SELECTIONS, Selection
from fredbench.execution.api import evaluate
from fredbench.foundation.coding import BudgetBy
from fredbench.foundation.device import resolve_device, use_threads
from fredbench.importing import found_runs
from fredbench.report.table import network_table
from fredbench.runs.sources import dataset_of
from fredbench.runs.store import RunFolder, Store

__all__ = ["command"]


@click.command(
    "evaluate",
    epilog=examples(
        "fredbench evaluate runs/my-run",
        "fredbench evaluate my-run --network resnet18 --selection best-on-test --format json",
    ),
)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--network", "asked", multiple=True, help="Test network (repeatable).  [default: the run's own]")
@click.option("--students", type=int, help="Students a set and network.  [default: the run's own number]")
@click.option("--limit", type=int, help="Score that many evenly spaced test pictures.")
@click.option(
    "--dataset", "dataset_name", help="What a set made elsewhere is of.  [default: those at hand that it fits]"
)
@click.option(
    "--selection",
    type=click.Choice(SELECTIONS),
    default="last",
    show_default=True,
    help="Beside the last iterate, the best of the checkpoints that the runs kept, by name.",
)
@click.option(
    "--ood", "others", multiple=True, metavar="DATASET",
    help="Can students tell its test pictures from their own? (repeatable; AUROC, FPR95)",
)  # fmt: skip
@attack_options
@sequence_options
@label_options
@budget_option
@format_option
@device_option
@store_option
@data_options
def command(
    runs: tuple[str, ...],
    asked: tuple[str, ...],
    students: int | None,
    limit: int | None,
    dataset_name: str | None,
    selection: Selection,
    others: tuple[str, ...],
    attacks: tuple[str, ...],
    epsilons: tuple[float, ...],
    attack_limit: int | None,
    sequences: tuple[str, ...],
    sequence_limit: int | None,
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
) -> None:
    """Train students on RUNs and score the clean test split, a column a network and one for their mean.

    A RUN is a folder, a name in the store, or a distilled set made elsewhere (see `fredbench import`).
    Each distilled row comes with its control and its start; they are made when missing.
    """
    folders = Store(store)
    rows: list[Row] = []
    given = found_runs(
        runs, folders, dataset=dataset_name, data=data, offline=offline,
        device=str(resolve_device(device)), threads=use_threads(threads),
    )  # fmt: skip
    for group in _by_dataset(given).values():
        dataset = dataset_of(group[0], data=data, offline=offline)
        rows += evaluate(
            group,
            networks=asked,
            students=students,
            limit=limit,
            selection=selection,
            others=others,
            attacks=attacks,
            epsilons=epsilons,
            attack_limit=attack_limit,
            sequences=sequences,
            sequence_limit=sequence_limit,
            train_labels=train_labels,
            augmentation=augmentation,
            teacher=teacher,
            teacher_epochs=teacher_epochs,
            store=store,
            data=data,
            offline=offline,
            device=device,
            threads=threads,
            dataset=dataset,
        )
    click.echo(network_table([_with_networks(row) for row in rows], form, budget_by=budget_by))


def _by_dataset(runs: Sequence[RunFolder]) -> dict[str, list[RunFolder]]:
    groups: dict[str, list[RunFolder]] = {}
    for run in runs:
        groups.setdefault(run.spec().dataset, []).append(run)
    return groups


def _with_networks(row: Row) -> Row:
    """Rows of this table always say by network, also where each run is scored by its own."""
    return row if row.networks else dataclasses.replace(row, networks={row.network: row.clean})
