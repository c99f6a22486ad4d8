"""`fredbench quickstart`: the whole main job on the embedded digits."""

from __future__ import annotations

import time
from pathlib import Path

import click

from fredbench.cli.options import device_option, examples, format_option, store_option
from fredbench.datasets import load_dataset
from fredbench.evaluation.domains import TestDomains
from fredbench.evaluation.entrants import Entrant, with_companions
from fredbench.evaluation.scoring import Evaluation
from fredbench.evaluation.spectra import spectrum_of_pixels
from fredbench.foundation.device import resolve_device, use_threads
from fredbench.foundation.environment import environment
from fredbench.foundation.progress import say
from fredbench.recipes.reproducing import distill_command
from fredbench.recipes.resolution import Request, resolve
from fredbench.report.html import write_page
from fredbench.report.table import corruption_table
from fredbench.runs import distillation
from fredbench.runs.store import Store
from fredbench.suites.corruption import suite_named

__all__ = ["command"]


@click.command(
    "quickstart",
    epilog=examples("fredbench quickstart", "fredbench quickstart --store /tmp/runs --out digits.html"),
)
@click.option("--seed", type=int, default=0, show_default=True, help="Root of every random draw.")
@click.option("--students", type=int, default=3, show_default=True, help="Students a set.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("quickstart.html"),
    show_default=True,
    help="Where the report goes.",
)
@format_option
@device_option
@store_option
def command(seed: int, students: int, out: Path, form: str, device: str, threads: int | None, store: Path) -> None:
    """Distill the embedded digits with FreD, score it against its start and a random control, and write a report.

    Real scanned digits, no network, a few minutes on two cores. Every number is computed here and now.
    """
    began = time.monotonic()
    torch_device, count = resolve_device(device), use_threads(threads)
    dataset, suite, folders = load_dataset("digits"), suite_named("digitsc"), Store(store)
    spec = resolve(
        Request(ipc=1, objective="dm", preset="quick", seed=seed), dataset, device=str(torch_device), threads=count
    )
    say("1/3 distilling the digits with FreD: one picture's budget a class, k = 256, four pictures decoded")
    folder = folders.folder_for(spec)
    distillation.run(spec, dataset, folder)
    say("2/3 students on the distilled set, its start and random subsets; clean and corrupted test pictures")
    entrants = with_companions([Entrant.of(folder)], folders, dataset)
    evaluation = Evaluation(
        dataset=dataset,
        device=torch_device,
        threads=count,
        domains=TestDomains(suite, dataset, severities=suite.severities),
        students=students,
    )
    rows = evaluation.rows(entrants, evaluation.domains.names())
    say("3/3 writing the report")
    write_page(
        out,
        title="FreD on the embedded digits",
        rows=rows,
        severities=suite.severities,
        suite=suite,
        real=spectrum_of_pixels(dataset.train.images),
        synsets={row.label: entrant.synset for row, entrant in zip(rows, entrants, strict=True)},
        environment=environment(str(torch_device), count),
        commands=[
            distill_command(spec, dataset),
            f"fredbench corrupt-eval --suite {suite.name} --students {students} {folder.path.name}",
        ],
    )
    click.echo(corruption_table(suite.name, suite.severities, rows, form))
    say(f"report: {out} ({time.monotonic() - began:.0f} s in all)")
