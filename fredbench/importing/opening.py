"""What a user names on a command line as a run: a run folder, a name in the store, or a set that was made elsewhere.

Where nobody says which dataset a set is of, every known one at hand that it fits is tried: the numbers say which it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fredbench.datasets import data_root, load_dataset
from fredbench.datasets.catalogue import DATASETS, find_source
from fredbench.foundation.errors import ArtefactError, FredbenchError, UsageError
from fredbench.foundation.progress import say
from fredbench.importing.adopting import adopt, adopted
from fredbench.importing.asking import Asked
from fredbench.importing.found import Found
from fredbench.importing.reading import read
from fredbench.runs.store import RunFolder, Store
from fredbench.runs.synset import load

__all__ = ["found_runs"]


def found_runs(
    names: Sequence[str],
    store: Store,
    *,
    dataset: str | None,
    data: Path | None,
    offline: bool,
    device: str,
    threads: int,
    asked: Asked | None = None,
) -> list[RunFolder]:
    """The runs that `names` stand for; files and folders of sets that were made elsewhere are imported.

    dataset: what such sets are of, None to find out. Raises what `Store.find` and `adopt` raise.
    """
    runs: list[RunFolder] = []
    for name in names:
        path = Path(name)
        if not _foreign(path, name, store):
            run = store.find(name)
            if asked is not None and dataset is not None and run.spec().dataset != dataset:
                raise UsageError(
                    f"{run.path} is a run of {run.spec().dataset}, not of {dataset}",
                    hint="name the dataset that it is a run of",
                )
            runs.append(run)
            continue
        known = [dataset] if dataset is not None else fitting(path, data, asked.columns if asked else ())
        problems: list[FredbenchError] = []
        made: list[RunFolder] = []
        for each in known:
            try:
                pictures = load_dataset(each, root=data, offline=offline)
                made.append(adopt(path, pictures, store, asked or Asked(), device=device, threads=threads))
            except (UsageError, ArtefactError) as error:
                problems.append(error)
        if not made:
            raise _refused(path, known, problems, data)
        if dataset is None and len(known) > 1:
            listed = ", ".join(run.spec().dataset for run in made)
            say(f"note: {path} does not say of which dataset it is; of those at hand it fits {listed} (see --dataset)")
        runs += made
    return runs


def _foreign(path: Path, name: str, store: Store) -> bool:
    """Whether `name` is a set that was made elsewhere: a path that is no run's."""
    return path.exists() and not any((place / "spec.toml").is_file() for place in (path, store.root / name))


def _refused(path: Path, known: Sequence[str], problems: Sequence[FredbenchError], data: Path | None) -> FredbenchError:
    if not problems:
        return UsageError(
            f"{path} fits no dataset at hand below {data_root(data)}", hint="name it, as in --dataset cifar10"
        )
    if len(problems) == 1:
        return problems[0]
    told = "; ".join(f"{name}: {error.message}" for name, error in zip(known, problems, strict=True))
    return UsageError(f"{path} fits none of the datasets at hand ({told})", hint="name one with --dataset")


def fitting(path: Path, data: Path | None, columns: tuple[str, ...] = ()) -> list[str]:
    """Names of the known datasets at hand whose pictures have the set's shape and, where it names them, its classes."""
    if adopted(path):
        return [str(load(path).header["dataset"]["name"])]
    found = read(path, columns)
    names = []
    for name in DATASETS:
        family = DATASETS.get(name)
        shape = (family.channels, *family.size)
        turned = (*family.size, family.channels)
        if found.images.shape[1:] not in {shape, turned} or not _says_same(found, family.classes, family.mean):
            continue
        if find_source(family, data_root(data), family.geometry) is not None:
            names.append(name)
    return names


def _says_same(found: Found, classes: Sequence[str], mean: Sequence[float]) -> bool:
    if found.classes and set(found.classes) != set(classes):
        return False
    return not found.mean or (len(found.mean) == len(mean) and bool(np.allclose(found.mean, mean, atol=1e-4)))
