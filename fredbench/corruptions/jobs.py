"""Units of work of a corrupted set: some pictures of one corruption and severity, written to their place in a file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fredbench.corruptions.severities import EngineName
from fredbench.corruptions.textures import FrostSource
from fredbench.foundation.compiling import Array
from fredbench.foundation.files import storage_errors

__all__ = ["Bench", "Job", "Setup"]


@dataclass(frozen=True)
class Setup:
    """What all jobs of a set share; `pictures` and `numbers` are .npy files that every worker maps, not copies."""

    pictures: str
    numbers: str
    profile: str
    seed: int
    frost: str
    archive_jpeg: bool
    engine: EngineName

    def frost_source(self) -> FrostSource:
        """The frost source that `frost` names; a folder is written as `folder:PATH`."""
        if self.frost == "procedural":
            return "procedural"
        return "files" if self.frost == "files" else Path(self.frost.removeprefix("folder:"))


@dataclass(frozen=True)
class Job:
    """Pictures start … stop - 1 of the set under one corruption, to be written at `offset` bytes of file `path`."""

    name: str
    severity: int
    start: int
    stop: int
    path: str
    offset: int

    def as_dict(self) -> dict[str, Any]:
        """For the wire."""
        return dataclasses.asdict(self)


class Bench:
    """The mapped pictures and everything else a process needs to do jobs."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._pictures: Array = np.load(setup.pictures, mmap_mode="r")
        self._numbers: Array = np.load(setup.numbers)

    def do(self, job: Job) -> int:
        """Make the job's pictures, write them, and return how many they are."""
        made = self._make(job)
        with storage_errors(Path(job.path)), open(job.path, "r+b") as file:
            file.seek(job.offset)
            file.write(np.ascontiguousarray(made).data)
        return job.stop - job.start

    def _make(self, job: Job) -> Array:
        setup = self.setup
        part = slice(job.start, job.stop)
        # A plain array over the same memory: compiled loops know one array type, whatever a file's mapping is.
        pictures, numbers = self._pictures[part].view(np.ndarray), self._numbers[part]
        from fredbench.corruptions.engine import as_grey, coloured, corrupt_into

        if setup.engine == "imagecorruptions":
            from fredbench.corruptions.reference import corrupt_with_package

            wide = coloured(pictures)
            made = corrupt_with_package(wide, job.name, job.severity, seed=setup.seed, numbers=numbers)
            return np.asarray(made if pictures.shape[-1] == 3 else as_grey(made, job.name))
        out = np.empty(pictures.shape, np.uint8)
        corrupt_into(
            out, pictures, job.name, job.severity, profile=setup.profile, seed=setup.seed, numbers=numbers,
            frost=setup.frost_source(), archive_jpeg=setup.archive_jpeg,
        )  # fmt: skip
        return out
