"""`fredbench experts`: train or extend teacher trajectories."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from fredbench.cli.options import data_options, device_option, examples, set_option, store_option
from fredbench.datasets import load_dataset
from fredbench.foundation.config import from_mapping
from fredbench.foundation.device import resolve_device, use_threads
from fredbench.foundation.memory import exhaustion_told
from fredbench.foundation.progress import say
from fredbench.objectives.trajectory import TMConfig
from fredbench.recipes.presets import PRESETS
from fredbench.recipes.resolution import Request, resolve
from fredbench.runs.assembly import expert_spec, real_pictures
from fredbench.runs.estimation import duration
from fredbench.runs.preprocessing import FOLDER as FITS
from fredbench.training.experts import FOLDER, ExpertStore

__all__ = ["command"]


@click.command(
    "experts",
    epilog=examples(
        "fredbench experts digits --preset quick",
        "fredbench experts cifar10 --preset quick --count 2 --epochs 1",
    ),
)
@click.argument("dataset")
@click.option("--ipc", type=int, default=1, show_default=True, help="Train as far as this budget's matching reads.")
@click.option("--count", type=click.IntRange(min=1), help="How many experts.  [default: as the preset says]")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs of each.  [default: as far as they are read]")
@click.option("--preset", type=click.Choice(list(PRESETS)), default="paper", show_default=True, help="Effort.")
@click.option("--network", help="Network to train (see `fredbench list networks`).")
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
    count: int | None,
    epochs: int | None,
    **asked: Any,
) -> None:
    """Train the experts of DATASET that trajectory matching reads. The last line on stdout is their folder.

    `fredbench distill` does so by itself; this command makes them beforehand, or more of them, or longer ones. What is
    there is kept and extended. Experts of whitened pictures are others: ask for them by --set data.whitening=mtt.
    """
    torch_device = resolve_device(device)
    pictures = load_dataset(dataset, root=data, offline=offline)
    request = Request(objective="tm", parameterization="fred", **asked)
    spec = resolve(request, pictures, device=str(torch_device), threads=use_threads(threads))
    config = from_mapping(TMConfig, spec.objective_settings, where="objective")
    recipe, seed = config.expert_recipe(), config.expert_seed
    recipe = dataclasses.replace(recipe, epochs=epochs or recipe.epochs)
    wanted = count or config.experts
    real = real_pictures(spec, pictures, torch_device, fits=store / FITS)
    source = ExpertStore(store / FOLDER, expert_spec(spec, pictures), real)
    missing = source.missing_epochs(wanted, recipe, seed)
    say(f"{wanted} experts of {spec.network} on {dataset}, {recipe.epochs} epochs each; {missing} epochs to train")
    with exhaustion_told(torch_device, lambda: "set objective.expert_batch lower, or take a narrower --network"):
        if missing:
            say(f"estimate: {duration(missing * source.seconds_an_epoch(recipe, seed))}")
        source(wanted, recipe, seed)
    click.echo(str(source.folder(recipe, seed)))
