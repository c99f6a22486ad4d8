"""`fredbench corrupt-eval`: the cross-domain accuracy table."""

from __future__ import annotations

from pathlib import Path

import click

from fredbench.cli.options import data_options, device_option, examples, format_option, store_option
from fredbench.datasets import data_root, load_dataset
from fredbench.device import resolve_device, use_threads
from fredbench.domains import TestDomains
from fredbench.errors import CompatibilityError, UsageError
from fredbench.evaluation import PROTOCOLS, Entrant, Evaluation, with_companions
from fredbench.report.table import corruption_table
from fredbench.store import Store
from fredbench.suites import CorruptionSuite, suite_named

__all__ = ["command"]


@click.command(
    "corrupt-eval",
    epilog=examples(
        "fredbench corrupt-eval --suite digitsc",
        "fredbench corrupt-eval --suite cifar10c --limit 1000 --format markdown",
    ),
)
@click.option("--suite", "suite_name", required=True, help="A suite's name or TOML file (see `fredbench suite list`).")
@click.argument("runs", nargs=-1)
@click.option("--severity", "severities", type=int, multiple=True, help="Severity 1 to 5 (repeatable).")
@click.option("--limit", type=int, help="Score that many evenly spaced test pictures.")
@click.option("--students", type=int, help="Students a set.  [default: the run's own number]")
@click.option("--network", help="Test network.  [default: the run's own]")
@click.option(
    "--protocol",
    type=click.Choice(PROTOCOLS),
    default="own",
    show_default=True,
    help="`fred-literal` scores as FreD's published script does (test pictures normalised by .5, lr .01).",
)
@format_option
@device_option
@store_option
@data_options
def command(
    suite_name: str,
    runs: tuple[str, ...],
    severities: tuple[int, ...],
    limit: int | None,
    students: int | None,
    network: str | None,
    protocol: str,
    form: str,
    device: str,
    threads: int | None,
    store: Path,
    data: Path | None,
    offline: bool,
) -> None:
    """Score RUNs (default: every finished run of the suite's dataset) on clean and corrupted test pictures.

    Each distilled row comes with its control and its start; they are made when missing.
    """
    suite = suite_named(suite_name)
    folders = Store(store)
    entrants = chosen_entrants(folders, suite, runs)
    dataset = load_dataset(suite.dataset, root=data, offline=offline)
    evaluation = Evaluation(
        dataset=dataset,
        device=resolve_device(device),
        threads=use_threads(threads),
        domains=TestDomains(
            suite,
            dataset,
            severities=tuple(sorted(set(severities))) or suite.severities,
            limit=limit,
            official=TestDomains.official_folder(suite, data_root(data)),
        ),
        networks=(network,) if network else None,
        students=students,
        protocol="fred-literal" if protocol == "fred-literal" else "own",
    )
    whole = with_companions(entrants, folders, dataset)
    rows = evaluation.rows(whole, evaluation.domains.names())
    click.echo(corruption_table(suite.name, evaluation.domains.severities, rows, form))


def chosen_entrants(store: Store, suite: CorruptionSuite, runs: tuple[str, ...]) -> list[Entrant]:
    """The runs named, or every finished run of the suite's dataset; none at all is an error."""
    if not runs:
        found = [Entrant.of(folder) for folder in store.finished(suite.dataset)]
        if not found:
            raise UsageError(
                f"no finished run of {suite.dataset} in {store.root}",
                hint=f"make one: fredbench distill {suite.dataset} --ipc 1 --preset quick",
            )
        return [entrant for entrant in found if entrant.spec.iterations] or found
    entrants = [Entrant.of(store.find(run)) for run in runs]
    for entrant in entrants:
        if entrant.spec.dataset != suite.dataset:
            raise CompatibilityError(
                f"{entrant.folder.path} is a set of {entrant.spec.dataset}, suite {suite.name} tests {suite.dataset}",
                hint="choose the suite of the run's dataset, see `fredbench suite list`",
            )
    return entrants
