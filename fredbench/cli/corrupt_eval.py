"""`fredbench corrupt-eval`: the cross-domain accuracy table."""

from __future__ import annotations

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
from fredbench.datasets import data_root
from fredbench.datasets.shifted import locate_shifted
from fredbench.evaluation.labelling import AugmentationProtocol, LabelProtocol
from fredbench.evaluation.scoring import PROTOCOLS
from fredbench.execution.api import evaluate
from fredbench.foundation.coding import BudgetBy
from fredbench.foundation.device import resolve_device, use_threads
from fredbench.foundation.errors import UsageError
from fredbench.importing import found_runs
from fredbench.report.table import corruption_table
from fredbench.runs.store import RunFolder, Store
from fredbench.suites.corruption import CorruptionSuite, suite_named

__all__ = ["command"]


@click.command(
    "corrupt-eval",
    epilog=examples(
        "fredbench corrupt-eval --suite digitsc",
        "fredbench corrupt-eval --suite cifar10c --limit 1000 --network convnet-d3-w128-in --network resnet18",
    ),
)
@click.option("--suite", "suite_name", required=True, help="A suite's name or TOML file (see `fredbench suite list`).")
@click.argument("runs", nargs=-1)
@click.option("--severity", "severities", type=int, multiple=True, help="Severity 1 to 5 (repeatable).")
@click.option("--limit", type=int, help="Score that many evenly spaced test pictures.")
@click.option("--corrupted-limit", type=int, help="The same for the corrupted pictures alone, in place of --limit.")
@click.option("--students", type=int, help="Students a set.  [default: the run's own number]")
@click.option(
    "--network", "networks", multiple=True,
    help="Test network (repeatable: a row each, and their mean).  [default: the run's own]",
)  # fmt: skip
@click.option(
    "--protocol",
    type=click.Choice(PROTOCOLS),
    default="own",
    show_default=True,
    help="`fred-literal` scores as FreD's published script does (lr .01; CIFAR-10 normalised by .5).",
)
@click.option(
    "--calibration",
    is_flag=True,
    help="Add negative log-likelihood, calibration errors (15 bins), area under risk-coverage, Brier score.",
)
@click.option("--intervals", is_flag=True, help="Add 95 % confidence intervals (Student's t over the students).")
@attack_options
@sequence_options
@label_options
@budget_option
@format_option
@device_option
@store_option
@data_options
def command(
    suite_name: str,
    runs: tuple[str, ...],
    severities: tuple[int, ...],
    limit: int | None,
    corrupted_limit: int | None,
    students: int | None,
    networks: tuple[str, ...],
    protocol: str,
    calibration: bool,
    intervals: bool,
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
    """Score RUNs (default: every finished run of the suite's dataset) on clean and corrupted test pictures.

    A RUN is a folder, a name in the store, or a distilled set made elsewhere (see `fredbench import`).
    Each distilled row comes with its control and its start; they are made when missing.
    """
    suite = suite_named(suite_name)
    if suite.shift is not None:
        locate_shifted(suite.shift, data_root(data))  # Without its arrays nothing else needs to be looked for.
    folders = Store(store)
    chosen = tuple(sorted(set(severities))) or suite.severities
    given = found_runs(
        runs, folders, dataset=suite.dataset, data=data, offline=offline,
        device=str(resolve_device(device)), threads=use_threads(threads),
    )  # fmt: skip
    rows = evaluate(
        given or finished_runs(folders, suite),
        suite=suite,
        networks=networks,
        students=students,
        severities=chosen,
        limit=limit,
        corrupted_limit=corrupted_limit,
        protocol="fred-literal" if protocol == "fred-literal" else "own",
        calibration=calibration,
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
    )
    # The name under which the suite could be built: one on smaller pictures than the published set's says so.
    name = next((row.suite for row in rows), suite.name)
    shown = chosen if suite.corruptions else ()
    click.echo(corruption_table(name, shown, rows, form, intervals=intervals, budget_by=budget_by))


def finished_runs(store: Store, suite: CorruptionSuite) -> list[RunFolder]:
    """Every finished run of the suite's dataset; starts and controls alone only where there is nothing else."""
    # The literature's own pictures of ImageNet subsets go under this name; both at once are not of one table.
    found = store.finished(suite.dataset) or store.finished(f"{suite.dataset}?antialias=no")
    if not found:
        raise UsageError(
            f"no finished run of {suite.dataset} in {store.root}",
            hint=f"make one: fredbench distill {suite.dataset} --ipc 1 --preset quick",
        )
    return [run for run in found if run.spec().iterations or run.spec().is_imported] or found
