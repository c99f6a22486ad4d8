"""`fredbench evaluate`: train students on synsets and score the clean test split."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import click

from fredbench import networks
from fredbench.cli.options import data_options, device_option, examples, format_option, store_option
from fredbench.datasets import Dataset, load_dataset
from fredbench.device import resolve_device, use_threads
from fredbench.domains import CLEAN, TestDomains
from fredbench.evaluation import Entrant, Evaluation, with_companions
from fredbench.report.table import network_table
from fredbench.rows import Row
from fredbench.store import Store
from fredbench.suites import CorruptionSuite

__all__ = ["command"]


@click.command(
    "evaluate",
    epilog=examples(
        "fredbench evaluate runs/my-run",
        "fredbench evaluate my-run --network convnet-d3-w128-in --network resnet18 --format json",
    ),
)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--network", "test_networks", multiple=True, help="Test network (repeatable).  [default: the run's own]")
@click.option("--students", type=int, help="Students a set and network.  [default: the run's own number]")
@click.option("--limit", type=int, help="Score that many evenly spaced test pictures.")
@format_option
@device_option
@store_option
@data_options
def command(
    runs: tuple[str, ...],
    test_networks: tuple[str, ...],
    students: int | None,
    limit: int | None,
    form: str,
    device: str,
    threads: int | None,
    store: Path,
    data: Path | None,
    offline: bool,
) -> None:
    """Train students on RUNs and score the clean test split, a column a network.

    Each distilled row comes with its control and its start; they are made when missing.
    """
    folders = Store(store)
    torch_device, torch_threads = resolve_device(device), use_threads(threads)
    asked = tuple(dict.fromkeys(test_networks))
    rows: list[Row] = []
    for name, entrants in _by_dataset([Entrant.of(folders.find(run)) for run in runs]).items():
        dataset = load_dataset(name, root=data, offline=offline)
        _check_networks(asked, dataset)
        evaluation = Evaluation(
            dataset,
            torch_device,
            torch_threads,
            TestDomains(_clean_suite(name), dataset, severities=(1,), limit=limit),
            networks=asked or None,
            students=students,
        )
        rows += evaluation.rows(with_companions(entrants, folders, dataset), (CLEAN,))
    click.echo(network_table([_with_networks(row) for row in rows], form))


def _by_dataset(entrants: Sequence[Entrant]) -> dict[str, list[Entrant]]:
    groups: dict[str, list[Entrant]] = {}
    for entrant in entrants:
        groups.setdefault(entrant.spec.dataset, []).append(entrant)
    return groups


def _check_networks(names: Sequence[str], dataset: Dataset) -> None:
    """An unknown or unfit network is refused before anything is trained."""
    for name in names:
        networks.canonical_name(name, channels=dataset.channels, classes=len(dataset.classes), size=dataset.size)


def _clean_suite(dataset: str) -> CorruptionSuite:
    return CorruptionSuite(f"{dataset} clean", f"{dataset}, clean test pictures", dataset, "cifar", ())


def _with_networks(row: Row) -> Row:
    """Rows of this table always say by network, also where each run is scored by its own."""
    return row if row.networks else dataclasses.replace(row, networks={row.network: row.clean})
