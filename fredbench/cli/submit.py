"""`fredbench submit`: a run's scores as a result file, for a board and for whoever wants to check them."""

from __future__ import annotations

from pathlib import Path

import click

from fredbench.cli.options import data_options, device_option, examples, label_option, store_option
from fredbench.datasets import data_root
from fredbench.evaluation.domains import domains_of
from fredbench.evaluation.labelling import AugmentationProtocol, LabelProtocol
from fredbench.evaluation.results.writing import result_document
from fredbench.evaluation.scoring import PROTOCOLS
from fredbench.execution.api import evaluate
from fredbench.foundation.device import resolve_device, use_threads
from fredbench.foundation.environment import environment
from fredbench.foundation.errors import UsageError
from fredbench.foundation.files import write_json
from fredbench.importing import found_runs
from fredbench.runs.sources import dataset_of
from fredbench.runs.store import Store
from fredbench.suites.corruption import suite_named, usual_suite

__all__ = ["command"]


@click.command(
    "submit",
    epilog=examples(
        "fredbench submit my-run --out my-run.json",
        "fredbench submit images_best.pt --suite cifar10c --limit 1000 --name ours --out ours.json",
    ),
)
@click.argument("run")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, dir_okay=False),
    help="The result file to write, replaced if there.",
)  # fmt: skip
@click.option(
    "--suite", "suite_names", multiple=True,
    help="A suite's name or TOML file (repeatable).  [default: the corruptions of the run's dataset]",
)  # fmt: skip
@click.option("--name", help="What boards call the set.  [default: after its parts]")
@click.option("--severity", "severities", type=int, multiple=True, help="Severity 1 to 5 (repeatable).")
@click.option("--limit", type=int, help="Score that many evenly spaced test pictures.")
@click.option("--corrupted-limit", type=int, help="The same for the corrupted pictures alone, in place of --limit.")
@click.option("--students", type=int, help="Students a set.  [default: the run's own number]")
@click.option("--network", help="Test network.  [default: the run's own]")
@click.option(
    "--protocol", type=click.Choice(PROTOCOLS), default="own", show_default=True,
    help="`fred-literal` scores as FreD's published script does.",
)  # fmt: skip
@label_option
@device_option
@store_option
@data_options
def command(
    run: str,
    out: Path,
    suite_names: tuple[str, ...],
    name: str | None,
    severities: tuple[int, ...],
    limit: int | None,
    corrupted_limit: int | None,
    students: int | None,
    network: str | None,
    protocol: str,
    train_labels: LabelProtocol,
    augmentation: AugmentationProtocol,
    teacher: str | None,
    teacher_epochs: int,
    device: str,
    threads: int | None,
    store: Path,
    data: Path | None,
    offline: bool,
) -> None:
    """Write the scores of RUN, with its control and its start, as one JSON file; prints the file's path.

    RUN is a folder, a name in the store, or a distilled set made elsewhere (see `fredbench import`). Scores that the
    store has, of the same settings, are taken from it; what is missing is made, as by `fredbench corrupt-eval`.

    The file holds what each student had, the digests of set, data and suite, ledger, spec, versions and device, and no
    clock, path or name of a machine: `fredbench verify FILE.json` derives it anew, `fredbench board` shows it.
    """
    suites = [suite_named(each) for each in suite_names]
    chosen_device, chosen_threads = str(resolve_device(device)), use_threads(threads)
    found = found_runs(
        [run], Store(store), dataset=suites[0].dataset if suites else None, data=data, offline=offline,
        device=chosen_device, threads=chosen_threads,
    )  # fmt: skip
    if len(found) > 1:
        raise UsageError(f"{run} fits several datasets", hint="name its suite: --suite cifar10c")
    dataset = dataset_of(found[0], data=data, offline=offline)
    of_severities = tuple(sorted(set(severities)))
    scored = []
    for suite in suites or [usual_suite(found[0].spec().dataset)]:
        rows = evaluate(
            [found[0]], suite=suite, networks=(network,) if network else None, students=students,
            severities=of_severities, limit=limit, corrupted_limit=corrupted_limit,
            protocol="fred-literal" if protocol == "fred-literal" else "own", train_labels=(train_labels,),
            augmentation=(augmentation,), teacher=teacher, teacher_epochs=teacher_epochs, store=store, data=data,
            offline=offline, device=device, threads=threads, dataset=dataset,
        )  # fmt: skip
        domains = domains_of(
            suite, dataset, data_root(data), severities=of_severities, limit=limit, corrupted_limit=corrupted_limit
        )
        scored.append((domains, rows))
    document = result_document(found[0], dataset, scored, environment(chosen_device, chosen_threads), name=name)
    write_json(out, document)
    click.echo(str(out))
