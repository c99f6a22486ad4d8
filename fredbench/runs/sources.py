"""The dataset that a run was made of, wherever it lies now.

A run of `folder:PATH` names a path of the day it was made. From another working directory the absolute path that was
recorded beside it is tried, after a move the folder that `--data` names; the fingerprint says whether it is the one.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

from fredbench.datasets import PREFIXES, Dataset, load_dataset
from fredbench.datasets.catalogue import split_name
from fredbench.foundation.environment import DATASET_PATH
from fredbench.foundation.errors import DataError
from fredbench.foundation.progress import say
from fredbench.runs.spec import Spec
from fredbench.runs.store import RunFolder

__all__ = ["dataset_of", "place_of"]



def place_of(dataset: Dataset) -> dict[str, str]:
    """What environment.json says of where `dataset` lies; nothing for pictures in memory."""
    return {} if dataset.source.path is None else {DATASET_PATH: str(dataset.source.path.resolve())}


def dataset_of(run: RunFolder, *, data: Path | None = None, offline: bool = False) -> Dataset:
    """The pictures of `run`, under the name in its spec.

    Raises `DataError` where a folder of the user's is neither in its place nor where `data` says, or holds other
    pictures; else what `load_dataset` raises.
    """
    spec = run.spec()
    prefix, colon, _ = spec.dataset.partition(":")
    if not colon or prefix not in PREFIXES:
        return load_dataset(spec.dataset, root=data, offline=offline)
    other = None
    for place in _places(run, spec, data):
        found = _opened(spec, place, offline)
        if found.fingerprint == spec.fingerprint:
            if str(place) != _path_in(spec):
                say(f"note: {spec.dataset} of {run.path.name} is read from {place}")
            return found
        other = other or place
    if other is not None:
        raise DataError(
            f"{other} differs from the data that {run.path} was made of ({spec.dataset}, {spec.fingerprint[:12]}…)",
            hint="name the folder where those pictures lie now: --data DIR",
        )
    raise DataError(
        f"{spec.dataset}, which {run.path} was made of, is not there",
        hint="name the folder where it lies now: --data DIR",
    )


def _path_in(spec: Spec) -> str:
    return split_name(spec.dataset)[0].partition(":")[2]


def _places(run: RunFolder, spec: Spec, data: Path | None) -> Iterator[Path]:
    """Folders that may hold the pictures: as named, as recorded, below `data` by name, `data` itself."""
    named = Path(_path_in(spec))
    below = [] if data is None else [data / named.name, data]
    seen = set()
    for place in (named, *_recorded(run), *below):
        if place.is_dir() and place.resolve() not in seen:
            seen.add(place.resolve())
            yield place


def _recorded(run: RunFolder) -> list[Path]:
    try:
        found = json.loads(run.environment_file.read_text()).get(DATASET_PATH)
    except (OSError, ValueError, AttributeError):
        return []  # a run of an earlier version, or without its surroundings: only the name is known
    return [Path(found)] if isinstance(found, str) else []


def _opened(spec: Spec, place: Path, offline: bool) -> Dataset:
    base, options = split_name(spec.dataset)
    tail = spec.dataset[len(base) :] if options else ""
    try:
        found = load_dataset(f"{base.partition(':')[0]}:{place}{tail}", offline=offline)
    except DataError as error:
        raise DataError(
            f"{place} is not what {spec.dataset} was: {error.message}",
            hint="name the folder where those pictures lie now: --data DIR",
        ) from error
    return dataclasses.replace(found, name=spec.dataset)
