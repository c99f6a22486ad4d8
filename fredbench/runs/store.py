"""Runs on disk: one folder a run, found by spec or name, locked while it is written.

Resuming is a property of storage: what lies under a final name is whole, so a command run again takes up what is
there and makes what is missing.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fredbench.foundation.errors import ArtefactError, UsageError
from fredbench.foundation.files import write_json, write_text
from fredbench.foundation.locks import claimed
from fredbench.foundation.progress import say
from fredbench.runs.spec import Spec
from fredbench.runs.synset import FILE_NAME

__all__ = ["RunFolder", "Store"]


@dataclass(frozen=True)
class RunFolder:
    """One run's folder and the names of what lies in it."""

    path: Path

    @property
    def spec_file(self) -> Path:
        """What was asked, canonical TOML."""
        return self.path / "spec.toml"

    @property
    def synset_file(self) -> Path:
        """The artefact."""
        return self.path / FILE_NAME

    @property
    def checkpoint_file(self) -> Path:
        """State of an unfinished run."""
        return self.path / "checkpoint.safetensors"

    @property
    def state_file(self) -> Path:
        """State of a finished run, from which the same run goes on when more iterations are asked for."""
        return self.path / "state.safetensors"

    @property
    def checkpoints(self) -> Path:
        """Synsets kept along the run, where they were asked for (see `runs.checkpoints`)."""
        return self.path / "checkpoints"

    @property
    def progress_file(self) -> Path:
        """One JSON line for each logged iteration."""
        return self.path / "progress.jsonl"

    @property
    def result_file(self) -> Path:
        """Written last: the run is finished when it is there."""
        return self.path / "result.json"

    @property
    def environment_file(self) -> Path:
        """Versions, device, commit, data fingerprint."""
        return self.path / "environment.json"

    @property
    def seconds_file(self) -> Path:
        """Seconds that evaluations of this run took, by what they were (see `execution.inline`)."""
        return self.path / "seconds.json"

    @property
    def students(self) -> Path:
        """Trained students and their predictions, content-addressed."""
        return self.path / "cells"  # its first name: stores that are older than this property keep their students

    @property
    def finished(self) -> bool:
        """Whether the run is done."""
        return self.result_file.is_file() and self.synset_file.is_file()

    def spec(self) -> Spec:
        """The spec of this run; `ArtefactError` when it is missing or unreadable."""
        if not self.spec_file.is_file():
            raise ArtefactError(f"{self.path} is no run: it has no spec.toml", hint="see `fredbench list runs`")
        try:
            text = self.spec_file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ArtefactError(f"{self.spec_file} cannot be read: {error}", hint="delete the folder") from error
        return Spec.from_toml(text, where=str(self.spec_file))

    def result(self) -> dict[str, Any]:
        """The contents of result.json."""
        try:
            value: dict[str, Any] = json.loads(self.result_file.read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise ArtefactError(
                f"{self.result_file} cannot be read: {error}", hint="distill again with --fresh"
            ) from error
        return value

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for writing; a second process waits, for a stated time (see `claimed`)."""
        with claimed(self.path, "writing", "wait for it, or choose another --name"):
            yield

    def write_spec(self, spec: Spec) -> None:
        """Write spec.toml."""
        write_text(self.spec_file, spec.to_toml())

    def write_result(self, result: dict[str, Any]) -> None:
        """Write result.json, which marks the run as finished."""
        write_json(self.result_file, result)

    def clear(self) -> None:
        """Forget all that was made; the folder itself and the lock on it stay."""
        # The mark of a finished run goes first and the spec last: killed between, the folder is an unfinished
        # run of its own spec, never a finished one of another.
        order = {self.result_file.name: 0, self.spec_file.name: 2}
        items = list(self.path.iterdir()) if self.path.is_dir() else []
        for item in sorted(items, key=lambda item: order.get(item.name, 1)):
            if item.name == ".lock":
                continue
            shutil.rmtree(item) if item.is_dir() else item.unlink()


class Store:
    """A folder of runs."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def folder_for(self, spec: Spec, name: str | None = None, *, replace: bool = False) -> RunFolder:
        """Where the run of `spec` lies or will lie; a name taken by another spec is a `UsageError`.

        With `replace` the other run may be there: it is about to be cleared.
        """
        if name is not None and (not name or Path(name).name != name or name.startswith(".")):
            raise UsageError(f"--name {name!r} is no folder name", hint="use letters, digits, - and _")
        folder = RunFolder(self.root / (name or spec.folder_name()))
        if not replace and folder.spec_file.is_file() and folder.spec().digest() != spec.digest():
            raise UsageError(
                f"{folder.path} holds another run", hint="choose another --name, or replace it with --fresh"
            )
        return folder

    def find(self, run: str) -> RunFolder:
        """The run called `run`: a path, or a name in this store."""
        for path in (Path(run), self.root / run):
            if (path / "spec.toml").is_file():
                return RunFolder(path)
        raise UsageError(f"no run {run!r} in {self.root}", hint="see `fredbench list runs`, or give --store DIR")

    def runs(self) -> list[RunFolder]:
        """Every run in the store, finished or not, in name order."""
        return [RunFolder(file.parent) for file in sorted(self.root.glob("*/spec.toml"))]

    def finished(self, dataset: str) -> list[RunFolder]:
        """Finished runs of a dataset, in name order; one that cannot be read is named, and an error where all are so."""
        found, unreadable = [], []
        for run in self.runs():
            if not run.finished:
                continue
            try:
                found += [run] if run.spec().dataset == dataset else []
            except ArtefactError as error:
                unreadable.append(error)
        if unreadable and not found:
            raise unreadable[0]
        for problem in unreadable:
            say(f"note: left out: {problem.message}")
        return found
