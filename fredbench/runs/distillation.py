"""THE outer loop, one for all methods: step, log, checkpoint, resume.

An iteration's draws come from streams named after it, so a run that was killed and taken up again at a checkpoint
makes the same bits as one that was not. For the same reason a finished run is the beginning of a longer one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from fredbench.runs.assembly import Distillation, expert_spec
from fredbench.datasets import Dataset
from fredbench.foundation.device import check_threads
from fredbench.foundation.environment import environment
from fredbench.foundation.errors import ArtefactError, ResourceError, UsageError
from fredbench.training.experts import FOLDER as EXPERTS
from fredbench.training.experts import ExpertStore
from fredbench.training.kept import FEATURES
from fredbench.foundation.files import remove_abandoned, sha256_of, storage_errors, write_bytes, write_json
from fredbench.foundation.progress import Progress, say
from fredbench.runs.checkpoints import check_none_missed, kept_at, spaced
from fredbench.runs.preprocessing import FOLDER as FITS
from fredbench.runs.records import record
from fredbench.runs.sources import place_of
from fredbench.runs.spec import Spec
from fredbench.runs.starts import FOLDER as STARTS
from fredbench.runs.store import RunFolder, Store

__all__ = ["checkpoint_seconds", "run"]

CHECKPOINT_SECONDS = 5.0
CHECKPOINT_VARIABLE = "FREDBENCH_CHECKPOINT_SECONDS"
_LOG_EVERY = 10


def run(spec: Spec, dataset: Dataset, folder: RunFolder, *, fresh: bool = False, checkpoints: int = 0) -> bool:
    """Make the run of `spec` in `folder`, or take it up where it stopped; False when it was done already.

    checkpoints: that many synsets are kept along the way (see `runs.checkpoints`), the last one being the run's own; a
    run that went past some of them without keeping them is a `UsageError`.

    Everything that can be refused is refused before the folder is touched, such as another number of threads than the
    spec's. Where another process makes the same run, this one waits for it.
    """
    asked = spaced(spec, checkpoints)
    if folder.finished and not fresh:
        check_none_missed(spec, folder, asked, reached=spec.iterations)
        return False
    check_threads(spec.threads)
    began, every = time.monotonic(), checkpoint_seconds()
    store = folder.path.parent
    distillation = Distillation(
        spec,
        dataset,
        torch.device(spec.device),
        lambda real: ExpertStore(store / EXPERTS, expert_spec(spec, dataset), real),
        fits=store / FITS,
        features=store / FEATURES,
        starts=None if fresh else store / STARTS,
    )
    with folder.lock(), storage_errors(folder.path):
        if fresh:
            folder.clear()
        elif folder.finished:  # by another process, while this one waited
            check_none_missed(spec, folder, asked, reached=spec.iterations)
            return False
        folder.write_spec(spec)
        made_in = environment(spec.device, spec.threads)
        write_json(folder.environment_file, {**made_in, **_read_from(dataset), **place_of(dataset)})
        remove_abandoned(folder.checkpoints)
        spent = _resume(distillation, folder.checkpoint_file)
        if not distillation.iteration and not fresh and not asked:
            spent = _go_on(distillation, folder)
        if not distillation.iteration:
            spent += distillation.start_seconds
        check_none_missed(spec, folder, asked, reached=distillation.iteration)
        # The last one is the run's own synset.
        keep = partial(_keep, distillation, dataset, folder, frozenset(asked) - {spec.iterations})
        with _log(folder, distillation.iteration) as log:
            _iterate(distillation, folder, log, began - spent, every, keep)
        seconds = time.monotonic() - began + spent
        if distillation.iteration:
            # Before the set is brought into its feasible set: a run that goes on has not been, at this iteration.
            _store_state(distillation, None, folder.state_file)
        distillation.synset(dataset).save(folder.synset_file)
        ledger, iterations = distillation.ledger, distillation.iteration
        folder.write_result(record(spec, folder, ledger, iterations=iterations, seconds=seconds))
        folder.checkpoint_file.unlink(missing_ok=True)
    return True


def _read_from(dataset: Dataset) -> dict[str, Any]:
    """What was read: the data's fingerprint, and of a tree of pictures the digest of the list of all its files."""
    listing = dataset.source.listing
    read: dict[str, Any] = {"data": {dataset.name: dataset.fingerprint}}
    return read if listing is None else {**read, "listing": listing.digest}


def _go_on(distillation: Distillation, folder: RunFolder) -> float:
    """Begin where the longest finished run of the same settings beside `folder` ended; the seconds that it took.

    Where a rate follows the length of the run (a cosine), a shorter run is another run, and nothing is taken of it.
    """
    spec = distillation.spec
    if not spec.iterations or distillation.follows_length:
        return 0.0
    shorter = []
    for other in Store(folder.path.parent).runs():
        with contextlib.suppress(ArtefactError):
            found = other.spec() if other.finished and other.state_file.is_file() else None
            if found is not None and 0 < found.iterations < spec.iterations:
                same = dataclasses.replace(found, iterations=spec.iterations).digest() == spec.digest()
                shorter += [(found.iterations, other)] if same else []
    if not shorter:
        return 0.0
    iterations, begun = max(shorter, key=lambda pair: pair[0])
    say(f"going on from {begun.path.name}, which is this run up to iteration {iterations}")
    # The last iteration of a run is logged whatever its number, and is here one of many.
    lines = [line for line in _lines(begun, iterations) if json.loads(line)["iteration"] % _LOG_EVERY == 0]
    write_bytes(folder.progress_file, "".join(f"{line}\n" for line in lines).encode())
    _resume(distillation, begun.state_file)
    return float(begun.result()["seconds"])


def _store_state(distillation: Distillation, seconds: float | None, file: Path) -> None:
    """Write a checkpoint with the seconds spent; without them, so that equal runs leave equal bytes, a final state."""
    tensors = distillation.to_tensors()
    if seconds is not None:
        tensors["seconds"] = torch.tensor(seconds, dtype=torch.float64)
    write_bytes(file, safetensors.torch.save(tensors))


def _resume(distillation: Distillation, file: Path) -> float:
    """Load the state in `file` where it is there; returns the seconds spent before."""
    if not file.is_file():
        return 0.0
    try:
        tensors = safetensors.torch.load(file.read_bytes())
        seconds = float(tensors.pop("seconds", torch.zeros(())))
        distillation.from_tensors(tensors)
    except (safetensors.SafetensorError, KeyError, RuntimeError, ValueError) as error:
        raise ArtefactError(
            f"{file} cannot be taken up: {error}", hint="start over with --fresh"
        ) from error
    return seconds


def checkpoint_seconds() -> float:
    """Seconds between two checkpoints: FREDBENCH_CHECKPOINT_SECONDS, 0 for one after every iteration, or 5.

    What a run makes does not depend on it.
    """
    text = os.environ.get(CHECKPOINT_VARIABLE) or str(CHECKPOINT_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise UsageError(f"{CHECKPOINT_VARIABLE} = {text!r} is no time", hint="give seconds, 0 or more")
    return seconds


def _iterate(
    distillation: Distillation, folder: RunFolder, log: _Log, began: float, every: float, keep: Callable[[], None]
) -> None:
    total = distillation.spec.iterations
    saved = time.monotonic()
    with Progress(f"distilling {folder.path.name}", total, start=distillation.iteration) as progress:
        while distillation.iteration < total:
            report = distillation.step()
            if distillation.iteration % _LOG_EVERY == 0 or distillation.iteration == total:
                values = {name: float(value) for name, value in report.items()}
                _refuse_divergence(values, distillation.iteration)
                log.write(distillation.iteration, values)
                progress.note = " ".join(f"{name} {value:.4g}" for name, value in values.items())
            # Before the state is saved: a run taken up there has all checkpoints that lie behind it.
            keep()
            progress.advance()
            if time.monotonic() - saved >= every and distillation.iteration < total:
                log.flush()
                _store_state(distillation, time.monotonic() - began, folder.checkpoint_file)
                saved = time.monotonic()


def _refuse_divergence(values: Mapping[str, float], iteration: int) -> None:
    """Stop a run whose numbers left the finite ones; what was stored before stays."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise ResourceError(
                f"the run diverged: {name} is {value} at iteration {iteration}",
                hint="lower the rate, as in --set parameterization.lr=..., which makes a run of its own",
            )


def _keep(distillation: Distillation, dataset: Dataset, folder: RunFolder, due: frozenset[int]) -> None:
    """Keep the synset of this iteration where it is one of those that are due."""
    if distillation.iteration in due:
        distillation.snapshot(dataset).save(kept_at(folder, distillation.iteration))


class _Log:
    """progress.jsonl: appended as the run goes on."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, iteration: int, values: Mapping[str, float]) -> None:
        self._file.write(json.dumps({"iteration": iteration, **values}) + "\n")

    def flush(self) -> None:
        self._file.flush()


def _lines(folder: RunFolder, iteration: int) -> list[str]:
    """The log's lines up to `iteration`."""
    kept = []
    if folder.progress_file.is_file():
        for line in folder.progress_file.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # the last line of a killed run may be cut
                if json.loads(line)["iteration"] <= iteration:
                    kept.append(line)
    return kept


@contextlib.contextmanager
def _log(folder: RunFolder, iteration: int) -> Iterator[_Log]:
    """Open the log with the lines up to `iteration` kept, so that a resumed run logs nothing twice."""
    kept = _lines(folder, iteration)
    write_bytes(folder.progress_file, "".join(f"{line}\n" for line in kept).encode())
    with open(folder.progress_file, "a", encoding="utf-8") as file:
        yield _Log(file)
