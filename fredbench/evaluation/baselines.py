"""Measuring the network that a suite's corruption errors are taken relative to.

It is trained on the whole real training split and scored on every corruption and severity of the suite; what it was,
how it was trained and what came out becomes the suite file's `[baseline]` table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch

import fredbench
from fredbench.evaluation.domains import TestDomains
from fredbench.evaluation.rows import CLEAN_CROP
from fredbench.evaluation.students import (
    StudentPlan,
    predictions_on,
    store_predictions,
    stored_predictions,
)
from fredbench.foundation.errors import UsageError
from fredbench.foundation.files import remove_abandoned
from fredbench.foundation.progress import Progress, say
from fredbench.foundation.rng import Stream
from fredbench.suites.parts import Baseline
from fredbench.training.batches import RealPictures
from fredbench.training.loop import TrainingRecipe
from fredbench.training.preprocessing import Preprocessing

__all__ = ["measure_baseline", "to_toml"]


def measure_baseline(
    domains: TestDomains,
    *,
    folder: Path,
    network: str,
    recipe: TrainingRecipe,
    students: int,
    seed: int,
    device: torch.device,
    threads: int,
) -> Baseline:
    """Train `students` networks on all of the dataset's training pictures and score them on the suite's domains.

    They and their predictions lie in `folder`, so a stopped measurement goes on. Raises `UsageError` for a suite
    without corruptions, with a limit or without all five severities: the errors are those of whole domains.
    """
    if (
        not domains.suite.corruptions
        or domains.limit is not None
        or domains.corrupted_limit is not None
        or domains.severities != (1, 2, 3, 4, 5)
    ):
        raise UsageError(
            f"{domains.built.name} as asked has no whole corruptions to measure errors on",
            hint="measure a baseline on a suite of corruptions, all pictures, severities 1 to 5",
        )
    plans = [
        _plan(domains, folder, network, recipe, Stream(seed).child("baseline", number), device, threads)
        for number in range(students)
    ]
    remove_abandoned(folder)
    with Progress("training baselines", students) as progress:
        for plan in plans:
            plan.ensure()
            progress.advance()
    reference = domains.clean_domains[-1]
    errors = {name: _errors(domains, plans, name) for name in (reference, *domains.suite.corruptions)}
    (clean,) = errors.pop(reference)
    return Baseline(
        name=f"{network} trained on {domains.dataset.title}",
        network=network,
        training=_training(domains, recipe),
        provenance=_provenance(domains, reference),
        test=domains.dataset.test_fingerprint,
        clean=clean,
        students=students,
        source=domains.source,
        suite=domains.built.name,
        errors=errors,
    )


def _plan(
    domains: TestDomains,
    folder: Path,
    network: str,
    recipe: TrainingRecipe,
    stream: Stream,
    device: torch.device,
    threads: int,
) -> StudentPlan:
    dataset = domains.dataset

    def pictures() -> RealPictures:
        return RealPictures(
            dataset.train.images,
            dataset.train.labels,
            mean=dataset.mean,
            std=dataset.std,
            classes=len(dataset.classes),
            device=device,
        )

    return StudentPlan(
        folder=folder,
        source=f"all training pictures, {dataset.fingerprint}",
        network=network,
        recipe=recipe,
        stream=stream,
        classes=len(dataset.classes),
        shape=(dataset.channels, *dataset.size),
        device=device,
        threads=threads,
        pictures=pictures,
    )


def _errors(domains: TestDomains, plans: Sequence[StudentPlan], name: str) -> tuple[float, ...]:
    """Error in percent, a value a severity, mean over the networks; scores what is not stored."""
    normalization = {"mean": list(domains.dataset.mean), "std": list(domains.dataset.std)}
    preprocessing = Preprocessing(domains.dataset.mean, domains.dataset.std)
    asked = [(plan, plan.scores_file({**domains.key(name), "normalization": normalization})) for plan in plans]
    missing = [(plan, file) for plan, file in asked if not file.is_file()]
    labels = domains.labels_of(name)
    if missing:
        say(f"scoring {name}")
        severities = list(domains.pictures(name))
        for plan, file in missing:
            prepared = (preprocessing(pictures, plan.device) for pictures in severities)
            store_predictions(file, predictions_on(plan.load(), prepared, labels))
    accuracies = [stored_predictions(file).accuracy(labels) for _, file in asked]
    return tuple(round(100 - float(np.mean(column)), 3) for column in zip(*accuracies, strict=True))


def _training(domains: TestDomains, recipe: TrainingRecipe) -> str:
    dataset = domains.dataset
    missing = f" ({dataset.partial['train']})" if "train" in dataset.partial else ""
    epochs = sum(count for _, count in recipe.phases())
    rates = " then ".join(f"{rate:g}" for rate, _ in recipe.phases())
    return (
        f"{epochs} epochs on {len(dataset.train):,} training pictures{missing}, SGD at {rates}, momentum "
        f"{recipe.momentum:g}, weight decay {recipe.weight_decay:g}, batches of {recipe.batch_size}, augmentation "
        f"{recipe.augmentation}"
    )


def _provenance(domains: TestDomains, reference: str) -> str:
    framing = f" ({reference})" if reference == CLEAN_CROP else ""
    return (
        f"measured by fredbench {fredbench.__version__}, `fredbench suite baseline {domains.suite.name}`, on "
        f"{domains.source} pictures of {domains.built.name}{framing}"
    )


def to_toml(baseline: Baseline) -> str:
    """The `[baseline]` table of a suite file; a line a corruption."""
    plain: Mapping[str, Any] = {
        key: getattr(baseline, key)
        for key in ("name", "network", "training", "provenance", "test", "source", "suite", "clean", "students")
    }
    lines = [f"{name} = {json.dumps(list(values))}" for name, values in baseline.errors.items()]
    return "\n".join(
        [
            "# Errors in percent; corruption errors are relative to these.",
            "[baseline]",
            tomli_w.dumps(plain).rstrip(),
            "",
            "[baseline.errors]",
            *lines,
        ]
    )
