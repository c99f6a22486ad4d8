"""`fredbench distill`: make a synset."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from fredbench.cli.options import data_options, device_option, examples, set_option, store_option
from fredbench.datasets import Dataset, load_dataset
from fredbench.foundation.device import resolve_device, use_threads
from fredbench.foundation.errors import UsageError
from fredbench.foundation.progress import say
from fredbench.objectives import OBJECTIVES
from fredbench.recipes.notes import notes_of
from fredbench.recipes.presets import PRESETS
from fredbench.recipes.resolution import Request, resolve
from fredbench.runs import distillation
from fredbench.runs.checkpoints import spaced
from fredbench.runs.estimation import duration, estimate, too_long, worth_estimating
from fredbench.runs.spec import Spec
from fredbench.runs.store import Store

__all__ = ["command"]


@click.command(
    "distill",
    epilog=examples(
        "fredbench distill digits --ipc 1 --preset quick",
        "fredbench distill cifar10 --ipc 1 --objective dm --preset quick",
    ),
)
@click.argument("dataset")
@click.option("--ipc", type=int, help="Budget: whole pictures a class.")
@click.option("--params", type=int, help="Budget: scalars in all.")
@click.option("--method", help="A published system (see `fredbench list methods`).  [default: fred]")
@click.option("--objective", help="What is matched.")
@click.option("--parameterization", help="What is stored.")
@click.option("--preset", type=click.Choice(list(PRESETS)), default="paper", show_default=True, help="Effort.")
@click.option("--seed", type=int, default=0, show_default=True, help="Root of every random draw.")
@click.option("--iterations", type=int, help="Iterations of the outer loop; 0 gives the start.")
@click.option("--network", help="Network to distill with and to score by (see `fredbench list networks`).")
@click.option("--name", help="Name of the run's folder.")
@click.option("--fresh", is_flag=True, help="Forget what an earlier run left and start over.")
@click.option(
    "--checkpoints",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Synsets to keep along the run, evenly spaced, the last one its own; what it makes is the same.",
)
@click.option("--yes", is_flag=True, help="Go on although the estimate is above 6 hours.")
@set_option
@device_option
@store_option
@data_options
def command(
    dataset: str,
    device: str,
    threads: int | None,
    store: Path,
    data: Path | None,
    offline: bool,
    name: str | None,
    fresh: bool,
    checkpoints: int,
    yes: bool,
    **asked: Any,
) -> None:
    """Distill DATASET into a synset within a budget. The last line on stdout is the run's folder.

    Run the same command again to go on with a run that was stopped.
    """
    torch_device = resolve_device(device)
    request = Request(**asked)
    pictures = load_dataset(dataset, root=data, offline=offline)
    spec = resolve(request, pictures, device=str(torch_device), threads=use_threads(threads))
    folder = Store(store).folder_for(spec, name, replace=fresh)
    _introduce(spec, pictures)
    done = folder.finished and not fresh
    if not done and not folder.checkpoint_file.is_file():
        spaced(spec, checkpoints)
        _tell_estimate(spec, pictures, store, yes=yes)
    if not distillation.run(spec, pictures, folder, fresh=fresh, checkpoints=checkpoints):
        say("this run is done already; --fresh starts over")
    else:
        ledger = folder.result()["ledger"]
        say(
            f"stored {ledger['params']:,} scalars ({ledger['params_strict']:,} with masks and all), "
            f"decoded into {ledger['decoded']:,} pictures"
        )
    click.echo(str(folder.path))


def _introduce(spec: Spec, dataset: Dataset) -> None:
    say(
        f"{spec.method}: objective {spec.objective}, parameterization {spec.parameterization}, "
        f"{spec.iterations} iterations with {spec.network}, preset {spec.preset}, "
        f"budget {spec.budget:,} scalars, device {spec.device}"
    )
    if not spec.is_choice and (told := OBJECTIVES.get(spec.objective).told(spec.objective_settings)):
        say(told)
    for note in notes_of(spec.method, dataset.name, spec.preset):
        say(f"note: {note}")
    for split, what in dataset.partial.items():
        say(f"note: {dataset.name} is partial here: {split}: {what}")
    for line in dataset.notes:
        say(f"note: {line}")


def _tell_estimate(spec: Spec, dataset: Dataset, store: Path, *, yes: bool) -> None:
    """Say what a long run will cost; without an accelerator refuse above six hours unless `yes`."""
    if not worth_estimating(spec):
        return
    cost = estimate(spec, dataset, store)
    experts = f"{duration(cost.experts)} of it for experts, " if cost.experts else ""
    start = f"{duration(cost.start)} of it for the start, " if cost.start else ""
    say(
        f"estimate: {duration(cost.seconds)} ({start}{experts}{cost.iteration:.3g} s an iteration, measured on "
        f"one step), memory {cost.memory / 1e9:.1f} GB"
    )
    if too_long(spec, cost) and not yes:
        raise UsageError(
            f"this run would take about {duration(cost.seconds)} on this CPU",
            hint=f"add --yes to go on, or try: {quick_command(sys.argv[1:])}",
        )


def quick_command(arguments: list[str]) -> str:
    """The same command line with `--preset quick`."""
    kept, skip = [], False
    for argument in arguments:
        if not skip and argument != "--preset" and not argument.startswith("--preset="):
            kept.append(argument)
        skip = argument == "--preset"
    return f"fredbench {shlex.join(kept)} --preset quick"
