"""`fredbench suite baseline`: measure the network that corruption errors are taken relative to."""

from __future__ import annotations

from pathlib import Path

import click

from fredbench.cli.options import data_options, device_option, examples, store_option
from fredbench.suites.corruption import suite_named

__all__ = ["baseline_command"]


@click.command(
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

    Corruption errors (mCE) are relative to that network. Its students stay in the store; a stopped run goes on.
    """
    from fredbench import networks
    from fredbench.datasets import data_root, load_dataset
    from fredbench.evaluation.baselines import measure_baseline, to_toml
    from fredbench.evaluation.domains import domains_of
    from fredbench.foundation.device import resolve_device, use_threads
    from fredbench.training.loop import TrainingRecipe

    suite = suite_named(name)
    dataset = load_dataset(suite.dataset, root=data, offline=offline)
    canonical = networks.canonical_name(
        network, channels=dataset.channels, classes=len(dataset.classes), size=dataset.size
    )
    strategy = "color_crop_cutout_flip_scale_rotate" if dataset.flip else "color_crop_cutout_scale_rotate"
    measured = measure_baseline(
        domains_of(suite, dataset, data_root(data), severities=(1, 2, 3, 4, 5)),
        folder=store / f"baseline-{suite.name}" / "cells",
        network=canonical,
        # Layer by layer, as the baselines that suites ship with were measured.
        recipe=TrainingRecipe(epochs=epochs, schedule="steps", lr=0.01, augmentation=strategy, arithmetic="eager"),
        students=students,
        seed=seed,
        device=resolve_device(device),
        threads=use_threads(threads),
    )
    click.echo(to_toml(measured))
